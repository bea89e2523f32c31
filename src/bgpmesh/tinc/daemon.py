"""The tincd of this router: its files, its procd service, and what it sees of the mesh."""

import os
import socket

from .. import clock, compat, disk, records
from ..plan import TINC, TINC_LOG, TINC_PID
from ..problems import Retry
from . import control, graph, memory

SERVICE = "bgpmesh-tinc"
_DISCARD = 9  # a port that nobody listens on (RFC 863)
_HOSTS = TINC + "/hosts"
_AUDIT = 300  # seconds between two comparisons of all files
_STALE = TINC + ".stale"  # there while the files are ahead of what tincd has read
_ANEW = "tincd has to start again"  # in _STALE where it would not read them
_GONE = TINC + ".gone"  # keys that were in host files, and that tincd remembers
_LEAD = TINC + ".lead"  # the furthest that the clock was ahead, of clock.lead(), since tincd was started
_HUNG = 30  # seconds for which tincd may be running and not answer
_BURST = 3  # times that tincd is started again for other keys of one node, and then
_APART = 100  # seconds for each: a member that has ever others must not keep everybody's tincd from its work
_ROOM, _PER_NODE = 8192, 16  # kB that tincd may take for itself, and more for each node
_SET_BACK = 20  # seconds by which the clock may go back without consequences
_AFTER = "BGPMESH_AFTER"  # in tincd's environment: the pid of the one that it was started to replace


class Tincd:
    """version: "1.0" or "1.1". nodes: node -> control.Node as last seen. running: whether it answered.

    name: the name in tinc that it was last told to run under, None before. restarts: whether the last apply() has
    procd start it again.
    """

    def __init__(self, procd, version, report):
        self.version = version
        self.nodes = {}
        self.running = False
        self.name = None
        self.restarts = False
        self._names = {}  # name in tinc -> node
        self._lead = None  # what is in _LEAD
        self._silent = None  # since when it does not answer
        self._taken = 0  # kB of memory that it had for itself when it answered last
        self._in_place = None  # the files that were compared with the folder last
        self._compared_at = None  # when all of them were
        self._strangers = []  # names in tinc of no member
        self._rekeyed = set()  # nodes of which tincd remembers other keys than there are
        self._waits = False  # whether it has to go by them for a while, and was told the rest
        self._told = False  # whether that was reported
        self._patience = {}  # node -> when all its _APART will have passed, by compat.monotonic()
        self._procd = procd
        self._report = report
        self._dial = Retry(0.25, 4 if version == "1.0" else 2)
        self._detour = Retry(0.25)
        self._hang_up = Retry(0.5, 8)  # a handshake over a slow link takes seconds
        self._unreached = []  # when it was last time to hang up
        self._relief = Retry(60, 3600)  # whatever it takes, it gets its time
        if version == "1.0":
            self._control = control.Log(TINC_PID, TINC_LOG, report)
        else:
            self._control = control.Socket(TINC_PID)

    async def apply(self, plan):
        """Makes files, service and daemon what the plan says; touches only what differs.

        Raises OSError, UbusError, control.TincError, also where tincd could not run; to be called again then.
        """
        disk.make_folder(_HOSTS)
        stale, anew = self._write(plan.tinc, plan.tinc_name, self._known_in_place(plan))
        self._in_place = plan.tinc
        if stale:
            self._waits = False
        if not anew:
            self._rekeyed.clear()
        before = await self._procd.instance(SERVICE, "tincd")
        if not before.get("running"):
            _look_at_ground(plan.port)
        wanted = dict(plan.services[SERVICE]["tincd"])
        wanted["env"] = dict(wanted["env"])
        earlier = before.get("env", {}).get(_AFTER)
        why = self._ails()
        if anew and self._may_forget():
            why = "the keys it goes by are in no file"
        elif anew and not self._told:
            nodes = ", ".join(sorted(self._rekeyed))
            self._report("%s: ever other keys; tincd goes on without the newest for a while" % nodes)
        self._told = anew and not why
        if why and before.get("running"):
            earlier = str(before.get("pid"))
            self._report("tincd is started again: " + why)
        if why or not before.get("running"):
            self._silent = None
        if earlier:
            wanted["env"][_AFTER] = earlier
        await self._procd.set(SERVICE, {"tincd": wanted})
        if why and self._is_bloated():
            self._relief.failed()
        # Where its definition is another procd starts it again, and it reads all of its files.
        same = before.get("env") == wanted["env"]
        if not before.get("running") or not same:
            disk.remove(_GONE)
            disk.remove(_LEAD)
            self._lead = None
            self._forget(plan.tinc_name)
            anew = False
        self.restarts = bool(before.get("running")) and not same
        if stale and before.get("running") and same:
            await self._control.reload()
            self._dial.succeeded()
            self._hang_up.succeeded()
        if not anew and (stale or self._waits):
            disk.remove(_STALE)
        self._waits = anew
        self.name = plan.tinc_name

    async def verify(self, plan, online):
        """Looks at the running daemon. Raises control.TincError where it cannot be asked.

        A member that is online and could not be reached is dialled again soon: tincd itself waits
        ever longer, and both may just have started. So is one that is reached by way of another alone,
        which both of us depend on until then; but ever later, for there may be no way to it but that.
        """
        self._names = plan.names
        try:
            found = await self._control.nodes(plan.names)
        except control.TincError:
            self._silent = self._silent or compat.monotonic()
            raise
        self._silent = None
        self._taken = _memory_of(disk.read_or_none(TINC_PID) or "")
        self.nodes = {}
        self._strangers = [name for name in found if name not in plan.names]
        for name in found:
            # A name of earlier keys is nobody's; one under which a member is not met hides no other.
            node = plan.names.get(name, None if name in plan.seats or name == plan.node else name)
            if node and (node not in self.nodes or found[name].reachable):
                self.nodes[node] = found[name]
        self.running = True
        if not self._is_bloated():
            self._relief.succeeded()
        lacking = [node for node in plan.dialled if node in online and not self.has_tunnel(node)]
        unreached = [node for node in lacking if not self.reaches(node)]
        if not lacking:
            self._detour.succeeded()
        if not unreached:
            self._unreached = []
            self._dial.succeeded()
            self._hang_up.succeeded()
            if lacking and self._detour.due():
                await self._control.retry([])
                self._detour.failed()
        elif self._dial.due():
            hung = []
            if self._hang_up.due():
                hung = [node for node in unreached if node in self._unreached]
                self._unreached = unreached
                self._hang_up.failed()
            await self._control.retry([name for name in sorted(plan.names) if plan.names[name] in hung])
            self._dial.failed()

    def is_ready(self, plan, online):
        """Whether every member that is online is reached, and packets can be encrypted for those next to us."""
        seen = [self.nodes.get(node) for node in plan.seats if node in online]
        return self.running and all([node and node.reachable and not _lacks_key(node) for node in seen])

    def warm_up(self, plan):
        """Has a key agreed on with each member next to us that is ours to lead, by one datagram.

        tinc 1.1 agrees on keys when there is something to send. When both ends begin at the same moment
        neither gets one for ten seconds, so one begins, before BGP has something to send on both.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            for node in sorted(plan.seats):
                seen = self.nodes.get(node)
                if seen and _lacks_key(seen) and graph.leads(plan.node, node):
                    sock.sendto(b"", compat.inet_address(plan.seats[node].member.ip, _DISCARD))
        finally:
            sock.close()

    def lost(self):
        """Forgets what was seen: the daemon could not be asked."""
        self.running = False
        self.nodes = {}

    async def tunnels(self):
        """[(node, node)] of every tunnel in the mesh, this router's own included. Raises control.TincError."""
        found = [[self._names.get(name, name) for name in pair] for pair in await self._control.tunnels()]
        return control.pairs([pair for pair in found if pair[0] != pair[1]])

    def reaches(self, node):
        """Whether there is a tunnel to the node, direct or by way of others."""
        return node in self.nodes and self.nodes[node].reachable

    def has_tunnel(self, node):
        """Whether there is a tunnel to the node, not by way of others."""
        return self.reaches(node) and self.nodes[node].direct

    def _ails(self):
        """Why a tincd that runs has to be started again, "" where it has not."""
        if self._silent and compat.monotonic() - self._silent > _HUNG:
            return "it has not answered for %d seconds" % _HUNG
        if self._is_bloated() and self._relief.due():
            return "it has taken %d kB of memory" % self._taken
        return "the clock, which its timers go by, was set back" if self._is_late() else ""

    def _is_bloated(self):
        """Whether tincd has taken more memory than its mesh needs.

        1.1pre18 keeps every message to all that it has seen until 10 seconds went by without another one: beside a
        link that comes and goes more often than that, for ever.
        """
        return self._taken > _ROOM + _PER_NODE * len(self.nodes)

    def _is_late(self):
        """Whether the clock was set back since tincd was started: for as long it would neither try to connect nor
        ask for a key again. Notes how far ahead the clock is."""
        lead = clock.lead()
        if self._lead is None:
            text = disk.read_or_none(_LEAD) or ""
            self._lead = int(text) if text.isdigit() else 0
        if lead > self._lead + _SET_BACK:
            self._lead = lead
            try:
                disk.write(_LEAD, str(lead), 0o600)
            except OSError:
                pass  # it is for the agent's next start
        return lead < self._lead - _SET_BACK

    def _may_forget(self):
        """Whether tincd may be started again now for the keys that it remembers."""
        soon = compat.monotonic() + (_BURST - 1) * _APART
        return not self._rekeyed or any([self._patience.get(node, soon) <= soon for node in self._rekeyed])

    def _forget(self, own):
        """Notes that tincd remembers nothing any more. own: its own name, for whose keys it never waits."""
        now = compat.monotonic()
        self._patience = {node: self._patience[node] for node in self._patience if self._patience[node] > now}
        for node in self._rekeyed:
            if node != records.node_of(own):
                self._patience[node] = self._patience.get(node, now) + _APART
        self._rekeyed.clear()

    def clean(self, plan):
        """Whether there is nothing to be done but for another plan.

        There may be a file of a stranger: tincd itself adds one for a node whose key it hears of.
        """
        if self._ails() or self._rekeyed and self._may_forget():
            return False
        strangers = [name for name in self._strangers if name not in plan.names]
        return not any([compat.exists(_HOSTS + "/" + name) for name in strangers])

    async def stop(self):
        """Stops the service and removes its files. Raises UbusError, OSError."""
        await self._procd.delete(SERVICE)
        disk.remove_folder(TINC)
        disk.remove(_GONE)
        disk.remove(_LEAD)
        self.lost()

    def _known_in_place(self, plan):
        """The files that are in the folder; None where it is time to look at all of them.

        A change costs as much in a large mesh as in a small one then.
        """
        known, self._in_place = self._in_place, None
        recent = self._compared_at is not None and compat.monotonic() - self._compared_at < _AUDIT
        if known is None or known is plan.tinc or not recent or not self.clean(plan):
            self._compared_at = compat.monotonic()
            return None
        return known

    def _write(self, files, own, known):
        """Makes the files what they are to be; whether tincd has yet to read them, and has to start again for that.

        known: the files that are there, None where all are to be looked at.
        """
        mark = disk.read(_STALE)
        stale = mark is not None and not self._waits
        there = sorted(os.listdir(_HOSTS)) if known is None else (name[6:] for name in known if name[:6] == "hosts/")
        for name in there:
            if "hosts/" + name not in files:
                stale, mark = True, mark or ""
                disk.write(_STALE, mark, 0o600)
                memory.note(_GONE, name, self._key(name, disk.read_or_none(_HOSTS + "/" + name), own))
                disk.remove(_HOSTS + "/" + name)
        for name in files if known is None else files.unlike(known):
            text, mode = files[name]
            path = TINC + "/" + name
            before = disk.read_or_none(path)
            if before != text:
                stale, mark = True, mark or ""
                if name.startswith("hosts/") and self._is_remembered(name[6:], before, text, own):
                    mark = _ANEW
                    self._rekeyed.add(records.node_of(name[6:]))
                disk.write(_STALE, mark, 0o600)
                disk.write(path, text, mode, old=True)
        return stale, mark == _ANEW

    def _key(self, name, text, own):
        return memory.key(text, self.version, name == own)

    def _is_remembered(self, name, before, text, own):
        """Whether tincd may go by another key under this name than the one in the text of its host file."""
        found = self._key(name, text, own)
        earlier = self._key(name, before, own) or memory.recall(_GONE, name)
        return bool(found and earlier) and found != earlier


def _memory_of(pid):
    """kB that a process has for itself, 0 where that cannot be told (source: proc(5)). pid: begins with it."""
    status = disk.read_or_none("/proc/%s/status" % pid.split(" ")[0]) or ""
    found = status.split("RssAnon:")[1:]
    return int(found[0].split()[0]) if found else 0


def _lacks_key(node):
    return node.reachable and node.direct and node.keyed is False


def _look_at_ground(port):
    """Raises TincError where tincd would not find what it needs to run."""
    if not compat.exists("/dev/net/tun"):
        raise control.TincError("there is no /dev/net/tun: opkg install kmod-tun")
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        sock = socket.socket(socket.AF_INET, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if kind == socket.SOCK_STREAM else 0)
            sock.bind(compat.inet_address("0.0.0.0", port))
        except OSError as error:
            raise control.TincError(
                "port %d is taken by another program (%s): stop that one, or set option 'port'"
                % (port, compat.reason(error))
            )
        finally:
            sock.close()
