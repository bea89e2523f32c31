"""What listeners on ubus are told: `bgpmesh.peer` and `bgpmesh.session`."""

import asyncio

from .ubus import UbusError


class Events:
    """Compares what is seen of the members with what was told last, and sends the difference.

    counts: (kind, value) -> how often it was told, such as ("peer", "joined") or ("session", "Established").
    """

    def __init__(self, bus):
        self.counts = {}
        self._bus = bus
        self._told = {}  # node -> (online, state of the session or None)
        self._kinds = {}  # what is told of many is there once
        self._queue = []  # (name, data) that are still to be sent

    def tell(self, nodes, online, sessions):
        """nodes: those that take part; online: the names of those alive; sessions: node -> bird Session."""
        changed = [node for node in self._told if node not in nodes]
        for node in nodes:
            session = sessions.get(node)
            if self._told.get(node) != (node in online, session.state if session else None):
                changed.append(node)
        for node in sorted(changed):
            if node not in nodes:
                self._send("peer", node, "change", "left")
                del self._told[node]
                continue
            session = sessions.get(node)
            now = (node in online, session.state if session else None)
            before = self._told.get(node)
            self._told[node] = self._kinds.setdefault(now, now)
            if not before:
                self._send("peer", node, "change", "joined")
            elif before[0] != now[0]:
                self._send("peer", node, "change", "online" if now[0] else "offline")
            if now[1] and (not before or before[1] != now[1]):
                self._send("session", node, "state", now[1])

    def _send(self, kind, node, name, value):
        self.counts[(kind, value)] = self.counts.get((kind, value), 0) + 1
        self._queue.append(("bgpmesh." + kind, {"node": node, name: value}))
        if len(self._queue) == 1:
            asyncio.create_task(self._drain())

    async def _drain(self):
        # One after the other: a task for each would take more memory than all the rest of a large mesh.
        try:
            while self._queue:
                await self._bus.send_event(*self._queue[0])
                self._queue.pop(0)
        except UbusError:
            pass  # who listens through ubus has lost more than these when ubusd is away
        finally:
            self._queue = []
