"""The bird of this router: its configuration, its procd service, and its sessions."""

import os

from .. import compat, disk
from ..model import RUN
from ..plan import BIRD_CONF, BIRD_SOCKET
from . import control, render

SERVICE = "bgpmesh-bird"
_NEW = BIRD_CONF + ".new"
_ENDED = "Automatic"  # what BIRD says of a session that it has ended itself, of a peer that sent too many routes
_PARDON = 30  # seconds until that one is tried again
_HUNG = 60  # seconds for which BIRD may be running and not answer


class Bird:
    """version: as it says itself, or None before it was asked. sessions: node -> control.Session as last seen.

    running: whether it answered. config: "in force", "refused" or "pending". rpki: an rpki.View, None where there is
    no validator, or it was not looked at yet.
    """

    def __init__(self, procd):
        self.version = None
        self.sessions = {}
        self.running = False
        self.config = "pending"
        self.rpki = None
        self._silent = None  # (pid of the one that runs and does not answer, since when)
        self._lost_at = compat.monotonic()  # since when it does not answer; None while it does, or has no routes left
        self._doubted = False  # whether BIRD may run on another configuration than bird.conf
        self._procd = procd
        self._socket = control.Socket(BIRD_SOCKET, self._node)
        self._names = {}  # of the last plan
        self._ended_at = None  # since when there are sessions that BIRD has ended itself

    async def apply(self, plan):
        """Makes configuration and service what the plan says; touches only what differs.

        bird.conf is always one that BIRD has accepted: a new one is tried under another name, and
        takes the place when BIRD runs on it. Raises OSError, UbusError, control.BirdError.
        """
        self._names = plan.names
        instance = await self._procd.instance(SERVICE, "bird")
        if self._differs(plan.bird):
            self.config = "pending"
            try:
                if instance.get("running"):
                    await self._socket.check(_NEW)
                    await self._socket.configure(_NEW, plan.sessions)
                else:
                    await _parse(_NEW)
            except control.ConfigError:
                self.config = "refused"
                raise
            os.rename(_NEW, BIRD_CONF)
            self._doubted = False
        await self._procd.set(SERVICE, plan.services[SERVICE])
        self.config = "in force"

    def _differs(self, conf):
        """Whether BIRD is to be given a configuration, which is in _NEW then."""
        there = disk.digest(BIRD_CONF)
        # An agent that ended while it tried another one has left that: BIRD may have taken it.
        sure = there and not self._doubted and not compat.exists(_NEW)
        # To make all of it takes long: one that follows another, and most likely differs, is made and written at once.
        if sure and (conf.known or self.config != "in force") and conf.digest == there:
            return False
        disk.make_folder(RUN, 0o755)
        disk.write_pieces(_NEW, conf.pieces(), 0o600)
        if sure and conf.known == there:
            disk.remove(_NEW)
            return False
        return True

    def doubt(self):
        """Has the next apply() give BIRD its configuration again: it may have been read while it was replaced."""
        self._doubted = True

    def clean(self):
        """Whether BIRD is taken to run on bird.conf."""
        return not self._doubted

    async def ask_validator(self, config, plan):
        """Looks what the RPKI validator has said; the Problems with it. Raises control.BirdError."""
        self.rpki = None
        if not config.rpki or not self.running or self.config != "in force":
            return []
        from . import rpki  # which takes room that most routers need not give

        self.rpki = await rpki.look(self._socket, config.asn, plan.seats, plan.reflectors)
        return rpki.problems(self.rpki, config)

    async def verify(self, plan, _):
        """Looks at the running daemon. Raises control.BirdError where it cannot be asked."""
        if not self.version:
            self.version = await self._socket.version()
        self._names = plan.names
        found = await self._socket.sessions()
        strange = any([node not in plan.sessions for node in found])
        self.sessions = {node: found[node] for node in found if node in plan.sessions} if strange else found
        if self.config == "in force" and not len(self.sessions) == len(found) == len(plan.sessions):
            self.doubt()
        self.running = True
        self._silent = None
        self._lost_at = None
        await self._pardon()

    async def _pardon(self):
        ended = [node for node in self.sessions if self.sessions[node].state == _ENDED]
        now = compat.monotonic()
        if not ended:
            self._ended_at = None
        elif self._ended_at is None:
            self._ended_at = now
        elif now - self._ended_at >= _PARDON:
            self._ended_at = None
            for node in ended:
                await self._socket.ask('enable "%s"' % render.protocol_name(node))

    async def left(self):
        """The members that a BIRD of an earlier agent's has sessions with; none where it does not answer."""
        try:
            return list(await self._socket.sessions())
        except control.BirdError:
            return []

    def _node(self, protocol):
        # A name that is there already takes no room of its own.
        node = render.node_name(protocol)
        return self._names.get(node, node)

    def lost(self):
        """Forgets what was seen: the daemon could not be asked."""
        if self.running:
            self._lost_at = compat.monotonic()
        self.running = False
        self.version = None
        self.sessions = {}

    async def is_hung(self):
        """Whether the BIRD that procd has running has not answered for too long; to be asked whenever it does not.

        Raises UbusError.
        """
        pid = (await self._procd.instance(SERVICE, "bird")).get("pid")  # there is one while it runs
        if not self._silent or self._silent[0] != pid:
            self._silent = pid, compat.monotonic()
        return pid is not None and compat.monotonic() - self._silent[1] >= _HUNG

    async def flush(self, interface):
        """Takes away the routes that a killed BIRD has left, once none has come back to look after them in time."""
        if self._lost_at is not None and compat.monotonic() - self._lost_at > render.RESTART_TIME:
            self._lost_at = None
            flush = "ip -%d route flush dev %s proto 12"  # RTPROT_BIRD: busybox' ip knows no names
            try:
                await compat.run(["/bin/sh", "-c", "; ".join([flush % (family, interface) for family in (4, 6)])], 5)
            except OSError:
                pass  # what has no processes left has other problems, which are said

    def up(self, node):
        """Whether the session with a member is Established."""
        session = self.sessions.get(node)
        return bool(session) and session.state == "Established"

    async def renew_routes(self):
        """Has BIRD put its routes into the kernel again. Raises control.BirdError.

        The kernel drops them with an interface. When that is back at once, BIRD sees nothing change, and believes
        them there until its next scan.
        """
        for command in ("reload filters out", "reload out"):  # BIRD 3.1, and before
            if (await self._socket.ask(command + ' "kernel*"'))[-1][0] < 8000:
                return

    async def rejoin(self, networks):
        """Has BIRD look at the overlay's interface again where it does not know these networks to be on it.

        Those are what all next hops are reached through. 3.1.7 may lose one where an interface goes, and is back at
        once with another address. Raises control.BirdError.
        """
        known = [text.split(None, 1)[0] for _, text in await self._socket.ask('show route protocol "overlay"') if text]
        if [network for network in networks if str(network) not in known]:
            for command in ("disable", "enable"):
                await self._socket.ask(command + ' "overlay"')

    async def is_recovering(self):
        """Whether it waits for its peers' routes and gives the kernel none yet. Raises control.BirdError."""
        return await self._socket.is_recovering()

    async def routes(self):
        """node -> routes received and in use. Raises control.BirdError."""
        found = await self._socket.routes()
        return {render.node_name(name): found[name] for name in found}

    async def exports(self):
        """node -> (announcements sent since its session is up, routes announced now). Raises control.BirdError."""
        found = await self._socket.exports()
        return {render.node_name(name): found[name] for name in found}

    async def learned(self, limit):
        """([(prefix, node, next hop)], number of all): the routes in use, `limit` at most. Raises control.BirdError."""
        routes, total = await self._socket.learned(limit)
        return [(prefix, render.node_name(name), hop) for prefix, name, hop in routes], total

    async def stock_runs(self):
        """Whether the router's own bird runs, which takes our kernel routes for its leftovers. Raises UbusError."""
        return bool((await self._procd.instance("bird", "bird")).get("running"))

    async def stop(self):
        """Stops the service and removes its configuration. Raises UbusError, OSError."""
        self._silent = None
        await self._procd.delete(SERVICE)
        disk.remove(BIRD_CONF)
        self.lost()


async def _parse(path):
    try:
        status, output = await compat.run(["/usr/sbin/bird", "-p", "-c", path], control.TIMEOUT)
    except OSError as error:
        raise control.BirdError("%s; is the package bird2 or bird3 installed?" % compat.reason(error))
    if status:
        raise control.ConfigError(output.decode().strip()[-200:])
