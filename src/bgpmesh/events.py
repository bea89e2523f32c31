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
        self._seen = None  # what tell() was given last
        self._queue = []  # the nodes of which something is still to be sent

    def tell(self, nodes, online, sessions):
        """nodes: those that take part; online: the names of those alive; sessions: node -> bird Session."""
        self._seen = nodes, online, sessions
        changed = [node for node in self._told if node not in nodes]
        changed += [node for node in nodes if self._told.get(node) != self._state(node)]
        if changed and self._queue:
            changed = set(changed) - set(self._queue)
        if changed and not self._queue:
            asyncio.create_task(self._drain())
        self._queue += sorted(changed)

    def _state(self, node):
        """What is seen of a node now; None where it takes no part."""
        nodes, online, sessions = self._seen
        if node not in nodes:
            return None
        session = sessions.get(node)
        return node in online, session.state if session else None

    def _news(self, node):
        """[(kind, name, value)] of what has changed for a node since that was told."""
        before, now = self._told.get(node), self._state(node)
        if not now:
            return [("peer", "change", "left")] if self._told.pop(node, None) else []
        self._told[node] = self._kinds.setdefault(now, now)
        news = []
        if not before:
            news.append(("peer", "change", "joined"))
        elif before[0] != now[0]:
            news.append(("peer", "change", "online" if now[0] else "offline"))
        if now[1] and (not before or before[1] != now[1]):
            news.append(("session", "state", now[1]))
        return news

    async def _drain(self):
        # One after the other, made when it is its turn: those of a large mesh would take more memory than all the rest.
        lost = False
        while self._queue:
            node = self._queue[0]
            for kind, name, value in self._news(node):
                self.counts[(kind, value)] = self.counts.get((kind, value), 0) + 1
                try:
                    if not lost:
                        await self._bus.send_event("bgpmesh." + kind, {"node": node, name: value})
                except (UbusError, MemoryError):
                    lost = True  # who listens through ubus has lost more than these when ubusd is away
            self._queue.pop(0)
