"""What must hold: throughout, whatever is done to the mesh, and once it is left alone again."""

import asyncio
import base64
import contextlib
import json
import re
import string
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

from lab import netns
from lab.mesh import answer, rss_kb, sessions
from lab.netns import CommandError

from bgpmesh.tinc import daemon, graph, render
from bgpmesh.tinc.control import Socket, TincError
from bgpmesh.ubus import UbusError

from .faults import CROWD, NODES, REFUSED, STOLEN

RUN, STATE = "/tmp/run/bgpmesh", "/etc/bgpmesh"
LOOK = 1.0  # seconds between two looks at all routers
ALL = (*NODES, *CROWD, REFUSED)
# What Watch looks at: on every router, on a member, and on who is refused.
ALWAYS, MEMBER, STRANGER = ("log", "memory"), ("routes", "files", "tunnels"), ("refusal",)
# kB that a process may have for itself, ever, and more than in its first calm. BIRD keeps up to 512 free pages. tincd
# keeps what it has heard for as long as there is ever more of it: its agent starts it again then, a look later.
MEMORY = {"agent": 3072, "tincd": daemon._ROOM + daemon._PER_NODE * len(ALL) + 512, "bird": 8192}
GROWTH = {"agent": 768, "bird": 3072}
AGAIN = 10  # seconds that an agent has to write again what there was no room for

# What keeps a router from being looked at for a moment: something was just replaced, or has ended, or is held up; and
# `ip` says a word amid its JSON where the table changed meanwhile.
_NOT_NOW = (FileNotFoundError, ProcessLookupError, CommandError, TincError, asyncio.TimeoutError, json.JSONDecodeError)

# What no log may ever have in it.
_FAULTS = re.compile(
    r"Traceback|a fault of the agent itself|MemoryError|[Ss]egmentation|Assertion|\bBUG\b|<BUG>|Uncaught|core dumped"
)
# BIRD 3.1.7 ends where a session is lost once more before its peer's restart is over, and tinc0 with it: next hops that
# change take the mark off routes that are long-lived stale, and marking them again is not foreseen. procd starts it
# again, and its peers keep its routes: that nothing comes of it is what the other invariants see to.
_BORNE = "Assertion 'irh->stale_set == irh->stale_valid + 1' failed at proto/bgp/attrs.c"
_GONE = re.compile(r"if\d+")
_ED25519 = r"Ed25519PublicKey = [A-Za-z0-9+/]{43}\n"
_PEM = r"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END (?P=kind)-----\n"
_KEY = re.compile(f"{_ED25519}|{_PEM}").fullmatch
# Ours, and what tincd adds that has heard of a key; or that alone.
_ADDED = f"(\n# The following line was automatically added by tinc\n{_ED25519})"
_HOST_FILE = re.compile(
    f"{re.escape(render.HEADER)}(Address = .*\n)*{_ED25519}{_PEM}Subnet = [0-9a-f:]{{17}}\n{_ADDED}*|{_ADDED}+"
).fullmatch
_OPTIONS = re.compile(r"config mesh 'main'\n(\t.*'\n)+\toption trust_key '.*'\n").fullmatch  # sorted: the last one
# What tells whether a file is whole; the cache, bird.conf, keys and host files are looked at besides.
_WHOLE = {
    STATE + "/identity": re.compile("[0-9a-f]{128}\n").fullmatch,
    # The owner's key, and a statement with its signature in two lines for each node.
    STATE + "/trust": lambda text: text.endswith("\n") and len(text.splitlines()) % 2,
    STATE + "/keys.json": re.compile(r'\{"generation":\d+,"next":\d+,"since":\d+\}\n').fullmatch,
    STATE + "/config.good": _OPTIONS,
    STATE + "/config.worked": _OPTIONS,
    RUN + "/tinc/tinc.conf": re.compile(r".*\nKeyExpire = 3600\n(ConnectTo = \w+\n)*", re.S).fullmatch,
    RUN + "/tinc/tinc-up": re.compile(r'#!/bin/sh\n.*\nip -6 addr add \S+ dev "\$INTERFACE"\n', re.S).fullmatch,
    RUN + "/tinc/tinc-down": render.down().__eq__,
}


class Violation(Exception):
    """An invariant does not hold; the text says which, and on which router."""


class Watch(threading.Thread):
    """Looks at all routers again and again, until stop(). What it sees that must not be is in `violations`.

    Keeps the logs of all routers in `folder`, also of those that are switched off later. `looks`: check → how often
    it was made on a router; `missed`: how often it could not be.
    """

    def __init__(self, field, folder):
        super().__init__(daemon=True)
        self.field = field
        self.folder = folder
        self.violations = []
        self.looks = Counter()
        self.missed = Counter()
        self.asserted = 0  # how often a BIRD has ended as _BORNE says
        self._end = threading.Event()
        self._logs = {node: _Log(folder / f"{node}.log") for node in ALL}
        self._seen = {}  # (router, path) → what identified the file when it was last found whole

    def run(self):
        try:
            while not self._end.wait(LOOK):
                self.look()
        except Exception as e:
            self.violations.append(f"the watch has ended: {e!r}\n{traceback.format_exc()}")

    def stop(self):
        """End it. What it has never seen is a violation, too."""
        self._end.set()
        self.join()
        unseen = [check for check in ALWAYS + MEMBER + STRANGER if not self.looks[check]]
        if unseen:
            self.violations.append(f"the watch has never looked at {', '.join(unseen)}")

    def look(self):
        """One look at every router that is on."""
        for node in ALL:
            with self.field.lock:
                router = self.field.router(node)
                if node in self.field.off or not router.running:
                    continue
                # One that is being revoked is a member to some, and not to others.
                besides = () if node in self.field.dismissed else MEMBER if self.member(node) else STRANGER
                for check in ALWAYS + besides:
                    try:
                        getattr(self, check)(router)
                    except Violation as e:
                        self.violations.append(f"{node}: {e}")
                    except _NOT_NOW:
                        self.missed[check] += 1
                        continue
                    self.looks[check] += 1

    def member(self, node):
        """Whether a node may have a part in the mesh."""
        return node in ALL and node not in self.field.refused

    def refusal(self, router):
        """Who is refused has no session with a member, though it may have some with its like."""
        met = sorted(filter(self.member, sessions(router)))
        if met:
            raise Violation(f"is refused, and has a session with {met}")

    def log(self, router):
        """No traceback, and no fault of the agent itself."""
        for line in self._logs[router.name].follow(router):
            if _BORNE in line:
                self.asserted += 1
            elif _FAULTS.search(line):
                raise Violation(f"the log says: {line}")

    def routes(self, router):
        """What BIRD has put into the kernel is what others announce; the default routes are as they were."""
        for family, gateway in ((4, "198.18.255.1"), (6, "2001:db8:18::ffff")):
            table = json.loads(netns.ip(f"-{family}", "-json", "-netns", router.netns, "route", "show") or "[]")
            allowed = self.announced(router, family)
            for route in table:
                if route.get("protocol") != "bird":
                    continue
                # An agent that was killed goes on from what flash has, which is not written at every change.
                kept = route["dst"] in self.field.withdrawn and f'"{route["dst"]}' in router.read(STATE + "/members")
                known = kept or route["dst"] in allowed
                # An interface that has gone since `ip` began is a number to it, and so are its routes gone.
                if not known or route.get("dev") != "tinc0" and not _GONE.fullmatch(route.get("dev", "")):
                    raise Violation(f"BIRD has put a route into the kernel that nobody announces: {route}")
            default = [route.get("gateway") for route in table if route["dst"] == "default"]
            if default != [gateway]:
                raise Violation(f"the default routes are {default}, no longer {gateway} alone")

    def announced(self, router, family):
        """The prefixes that the other routers announce, or might until lately."""
        others = [self.field.router(node) for node in filter(self.member, ALL) if node != router.name]
        if family == 6:
            return {f"fd00:{other.number:x}::/64" for other in others}
        besides = {prefix for prefix, node in list(self.field.announced) if node != router.name}
        return {f"192.168.{other.number}.0/24" for other in others} | besides

    def files(self, router):
        """Each file of the agent is whole, and no host file is of somebody who was refused."""
        hosts = router.path(RUN + "/tinc/hosts")
        if hosts.is_dir():
            for path in hosts.iterdir():
                if path.name.startswith("."):
                    continue  # not there yet
                if not self.member(_node(path.name)):
                    raise Violation(f"there is a host file of {path.name}")
                if not path.stat().st_size and self.crammed(router):
                    continue  # tincd's, which had no room to write down a key that it heard of
                self.whole(router, path, _HOST_FILE)
        for path in router.path(STATE).iterdir():
            if path.suffix in (".priv", ".pub"):
                self.whole(router, path, _KEY)
        for path, check in _WHOLE.items():
            self.whole(router, router.path(path), check)
        self.whole(router, router.path(RUN + "/bird.conf"), lambda text: self.parses(router))
        if router.name not in self.field.spoilt:
            self.whole(router, router.path(STATE + "/members"), _is_cache)
        elif _is_cache(router.read(STATE + "/members")):
            self.field.spoilt.discard(router.name)  # written anew

    def crammed(self, router):
        """Whether there is no room in a router's memory, or was none until lately."""
        since = self.field.crammed.get(router.name, 0)
        return since is None or time.monotonic() - since < AGAIN

    def whole(self, router, path, check):
        """A file is as check() of its text says, or it is not there: unfinished() sees which there must be."""
        with contextlib.suppress(FileNotFoundError):
            info = path.stat()
            identity = (info.st_ino, info.st_mtime_ns, info.st_size)
            if self._seen.get((router.name, str(path))) == identity:
                return
            text = path.read_text(errors="replace")
            if not check(text):
                after = path.stat()
                if (after.st_ino, after.st_mtime_ns, after.st_size) == identity:
                    raise Violation(f"{path.name} is not whole: {text[:2000]!r}")
            self._seen[router.name, str(path)] = identity

    @staticmethod
    def parses(router):
        try:
            done = router.exec(["bird", "-p", "-c", "/var/run/bgpmesh/bird.conf"], check=False, timeout=30)
        except CommandError:
            return not router.running
        return done.returncode == 0

    def tunnels(self, router):
        """Nobody is reached who was refused."""
        nodes = asyncio.run(asyncio.wait_for(Socket(str(router.path(RUN + "/tinc.pid"))).nodes(), 0.5))
        refused = [name for name, node in nodes.items() if node.reachable and not self.member(_node(name))]
        if refused:
            raise Violation(f"there is a tunnel to {refused}")

    def memory(self, router):
        for (program, _), size in _sizes(router).items():
            if size > MEMORY[program]:
                raise Violation(f"{program} has taken {size} kB for itself")


class _Log:
    """A router's log, copied to where it outlives the router."""

    def __init__(self, path):
        self._path = path
        self._identity = None
        self._offset = 0

    def follow(self, router):
        """The lines since the last look."""
        source = router.path("/tmp/log/messages")
        identity = (router.pid, source.stat().st_ino)
        if identity != self._identity:
            self._identity, self._offset = identity, 0
        with open(source, "rb") as file:
            file.seek(self._offset)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        with open(self._path, "ab") as copy:
            copy.write(data)
        return data.decode(errors="replace").splitlines()


def _is_cache(text):
    try:
        return all(isinstance(json.loads(line), dict) for line in text.splitlines()) and text.endswith("\n")
    except (ValueError, RecursionError):  # nested deeper than the stack
        return False


def _node(name):
    """Whose host file has this name: rotated keys have a number there."""
    return re.sub(r"__\d{4}$", "", name)


# -- once the mesh is left alone


def unfinished(field):
    """What is not yet as it should be on a mesh that nothing is done to, as text; "" when all is."""
    for node in NODES:
        router = field.router(node)
        for look in (_converged, _processes, _tables, _files, _dials, _pairs, _keys):
            try:
                fault = look(router)
            except (CommandError, OSError, ValueError) as e:  # it changes at this moment, or makes no sense
                fault = repr(e)
            if fault:
                return f"{node}: {fault}"
    return _registry(field)


def _converged(router):
    try:
        status = answer(router)
    except (UbusError, OSError, asyncio.TimeoutError) as e:
        return f"the agent does not answer: {e!r}"
    refused = {("pending", REFUSED), *(("revoked", node) for node in STOLEN)}
    problems = [each for each in status["problems"] if (each["code"], each["subject"]) not in refused]
    if status["state"] != "converged" or problems:
        return f"is {status['state']}: {[(each['code'], each['subject'], each['text']) for each in problems]}"
    if router.established() != len(NODES) - 1:
        return f"{router.established()} sessions are Established"
    return ""


def _processes(router):
    """init, and one of each of the three."""
    for program in ("agent", "tincd", "bird"):
        if len(router.pids(program)) != 1:
            return f"{len(router.pids(program))} processes of {program}"
    known = ("bird", "tincd", "ping")
    others = [argv for _, argv in router.processes()[1:] if Path(argv[0]).name not in known]
    others = [argv for argv in others if argv[-2:] != ["bgpmesh", "run"]]
    return f"has left processes: {others}" if others else ""


def _tables(router):
    """Routes, sessions and neighbours: those of the other six, no fewer and no more."""
    others = [number for number in range(1, len(NODES) + 1) if number != router.number]
    for family, wanted in (
        (4, [f"192.168.{number}.0/24" for number in others]),
        (6, [f"fd00:{number:x}::/64" for number in others]),
    ):
        if router.routes(family) != sorted(wanted):
            return f"BIRD's routes in the kernel are {router.routes(family)}"
    protocols = re.findall(r"\b_(\w+) +BGP", router.bird("show protocols"))
    if sorted(protocols) != [f"r{number}" for number in others]:
        return f"BIRD's sessions are {protocols}"
    shown = netns.ip("-json", "-netns", router.netns, "neighbour", "show", "dev", "tinc0", "nud", "permanent")
    found = sorted(entry["dst"] for entry in json.loads(shown or "[]") if not entry["dst"].startswith("ff"))
    peers = json.loads(router.exec(["bgpmesh", "peers", "-j"], check=False, timeout=20).stdout or "{}").get("peers", [])
    wanted = sorted(peer["address"] for peer in peers if peer["address"])
    if [entry for entry in found if ":" not in entry] != wanted or len(found) != 2 * len(wanted):
        return f"the neighbours on tinc0 are {found}"
    shown = netns.ip("-netns", router.netns, "address", "show", "dev", "tinc0", "scope", "global")
    found = re.findall(r"inet6? (\S+)", shown)
    if sorted(found) != sorted(re.findall(r"addr add (\S+) dev", router.read(RUN + "/tinc/tinc-up"))):
        return f"the addresses on tinc0 are {found}"
    return ""


def _files(router):
    """The host files of all seven, the keys in use and what else there must be; nothing half-done, nothing left."""
    names = _names(router, RUN + "/tinc/hosts")
    if sorted(map(_node, names)) != sorted(NODES):
        return f"the host files are {sorted(names)}"
    for folder, needed, borne in (
        (RUN, {"bird.conf", "bird.ctl", "connected", "tinc", "tinc.pid", "tinc.socket"}, _MARKS),
        (RUN + "/tinc", {"hosts", "tinc-down", "tinc-up", "tinc.conf"}, set()),
        (STATE, {"config.good", "identity", "trust", *(path.name for path in _key_files(router))}, _IN_TIME),
    ):
        found = _names(router, folder)
        if not needed <= found <= needed | borne:
            return f"lacks {sorted(needed - found)} in {folder}, and has left {sorted(found - needed - borne)}"
    return ""


# What is there from some time on, or for some time, or where there was room for it.
_MARKS = {"bird.pid", "tinc.gone", "tinc.lead"}
_IN_TIME = {"config.tried", "config.worked", "keys.json", "members"}


def _names(router, folder):
    return {path.name for path in router.path(folder).iterdir()}


def _key_files(router):
    """Where the keys are that are in use: RSA's private and public half, then Ed25519's."""
    generation = json.loads(router.read(STATE + "/keys.json") or '{"generation":0}')["generation"]
    names = [render.key_file(kind, generation, half) for kind in ("rsa_key", "ed25519_key") for half in ("priv", "pub")]
    return [router.path(f"{STATE}/{name}") for name in names]


def _dials(router):
    """tinc.conf has the router's share of the tunnels, and those it holds on to."""
    names = {name for name in _names(router, RUN + "/tinc/hosts") if _node(name) != router.name}
    share = graph.dials(router.name, [SimpleNamespace(node=node, endpoint=True) for node in NODES])
    dialled = set(re.findall(r"^ConnectTo = (\w+)$", router.read(RUN + "/tinc/tinc.conf"), re.M))
    if not {name for name in names if _node(name) in share} <= dialled <= names:
        return f"tinc.conf dials {sorted(dialled)}, and the router's share is {share}"
    return ""


def _pairs(router):
    """The halves of the keys in use are each other's, and tincd's files have them."""
    rsa, rsa_public, ed25519, ed25519_public = (path.read_text() for path in _key_files(router))
    # RFC 8017, A.1: modulus and exponent are the public half, behind 4 bytes of header, and are in the private one.
    pair = base64.b64decode(_body(rsa_public))[4:] in base64.b64decode(_body(rsa))
    # tinc has 64 bytes of the private half before the public one, and base64 that begins with the lowest bits.
    if not pair or _number(_body(ed25519)) >> 512 != _number(ed25519_public.split()[-1]):
        return "the halves of its keys are no pair"
    (own,) = (name for name in _names(router, RUN + "/tinc/hosts") if _node(name) == router.name)
    host = router.read(f"{RUN}/tinc/hosts/{own}")
    if rsa_public not in host or ed25519_public not in host:
        return f"the host file {own} has other keys than those in use"
    return ""


def _body(pem):
    return "".join(pem.splitlines()[1:-1])


def _number(text):
    digits = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    return sum(digits.index(digit) << 6 * at for at, digit in enumerate(text))


def _keys(router):
    """Tunnels to the other six alone, and a key for packets with each, as BGP always has something to send."""
    try:
        nodes = asyncio.run(Socket(str(router.path(RUN + "/tinc.pid"))).nodes())
    except TincError as e:
        return f"tincd does not answer: {e}"
    strange = sorted(name for name, node in nodes.items() if node.reachable and _node(name) not in NODES)
    if strange:
        return f"there is a tunnel to {strange}"
    lacking = sorted(name for name, node in nodes.items() if node.reachable and not node.keyed)
    return f"tincd has agreed on no key with {lacking}" if lacking else ""


def _registry(field):
    """etcd has all members' records, signs of life and claims, and nothing else."""
    try:
        keys = field.etcdctl(["get", "--prefix", "--keys-only", "/"]).stdout.split()
        owners = field.etcdctl(["get", "--prefix", "--print-value-only", "/claims/"]).stdout.split()
    except CommandError as e:
        return f"etcd: {e}"
    tables = {name: sorted(key.split("/")[2] for key in keys if key.startswith(f"/{name}/")) for name in TABLES}
    refused = {REFUSED, *STOLEN} - field.off
    members = refused.union(NODES)
    # The address of who is refused may be taken from it.
    known = refused.union(owners) == members and len(set(owners)) == len(owners) == len(tables["claims"])
    right = tables["peers"] == tables["alive"] == sorted(members) and sum(map(len, tables.values())) == len(keys)
    if not known or not right:
        return f"etcd has {keys}"
    return ""


TABLES = ("peers", "alive", "claims", "trust")


def memory(field):
    """(router, program, pid) → kB that it has for itself; no fault ends the agent and the bird of who is refused."""
    return {(node, *process): size for node in ALL for process, size in _sizes(field.router(node)).items()}


def _sizes(router):
    """(program, pid) → kB, of the agent, tincd and bird."""
    found = {}
    for pid, argv in router.processes():
        program = "agent" if argv[-2:] == ["bgpmesh", "run"] else Path(argv[0]).name
        if program in MEMORY:
            with contextlib.suppress(OSError, IndexError):  # it ends
                found[program, pid] = rss_kb(pid)
    return found


def unreached(field, nodes=NODES):
    """Pairs, in both families, of whom the LAN of one of these routers does not reach that of the other router."""
    pairs = []
    for one in map(field.router, nodes):
        for other in map(field.router, NODES):
            if one is not other:
                pairs += [(one, address) for address in (other.lan, other.lan6)]
    # The first one may have been lost like others; the second has the time that a tunnel takes to find its way.
    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(lambda pair: pair[0].ping(pair[1]) or pair[0].ping(pair[1], seconds=3), pairs))
    return [f"{one.name} → {there}" for (one, there), answer in zip(pairs, answered) if not answer]
