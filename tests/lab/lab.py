"""A mesh of routers on this machine, each in its own network namespace, and an etcd they all know."""

import contextlib
import fcntl
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

from . import host, netns, packages, root
from .etcd import Etcd
from .netns import CommandError
from .root import CACHE, PROJECT
from .router import Router

RUNTIMES = ("micropython", "python3")


class LabTimeout(AssertionError):
    """What was waited for did not come; the text says what, and what every router was doing."""


class Lab:
    """`nodes` routers r1, r2, …: namespaces `<name>-r1` and so on, with `<name>-etcd` and `<name>-fabric`.

    `etcds` members make the etcd cluster; `etcd` is the first of them.

    A context manager: up() and, whatever happened, down().

    `runtime`, `tinc`, `bird`: what the routers run. `options` go into every router's UCI file; `each` maps a
    router's number to arguments of its own: `{3: {"nat": True, "tinc": "1.0", "options": {…}}}`. `boot` are
    the numbers of the routers that up() switches on (all); the others wait for their start(). `etcd_args` go
    on etcd's command line. `init` is every router's process 1, normally the stand-in for OpenWrt's. `say` is
    called with one line before what takes long.
    """

    def __init__(
        self, name="mesh", nodes=5, runtime="micropython", tinc="1.1", bird="3", *,
        options=None, each=None, boot=None, etcds=1, etcd_args=(), init=None, installed=None, say=lambda text: None,
    ):
        if not re.fullmatch("[a-z][a-z0-9-]{0,30}", name):
            raise ValueError(f"the lab's name is {name!r}: must be lower-case letters, digits and -")
        if not 1 <= nodes <= 150:
            raise ValueError(f"{nodes} nodes: must be 1 to 150")
        _one_of("runtime", runtime, RUNTIMES)
        _one_of("tinc", tinc, ("1.1", "1.0"))
        _one_of("bird", bird, ("3", "2"))
        self.name = name
        self.nodes = nodes
        self.dir = CACHE / "lab" / name
        self.fabric = name + "-fabric"
        self.say = say
        self.started = None
        self.roots = {}
        self._lock = None
        self._boot = list(range(1, nodes + 1)) if boot is None else list(boot)
        self._router = {"runtime": runtime, "tinc": tinc, "bird": bird, "init": init}
        self._options = options or {}
        self._each = each or {}
        self._etcds = etcds
        self._etcd_args = etcd_args
        self._installed = installed
        self.routers = []
        self.etcds = []

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *exception):
        self.down()

    def up(self):
        """Take away what an earlier lab of this name left, start etcd and the routers.

        `started` is then the time.monotonic() at which the first router was switched on.
        """
        if not Path("/dev/net/tun").exists():
            netns.run(["modprobe", "tun"])
        self.roots = root.build(self.say)
        self.dir.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        self._clear()
        self.dir.mkdir()
        members = range(1, self._etcds + 1)
        self.etcds = [Etcd(self, self._etcd_args, number, len(members)) for number in members]
        servers = {"etcd": [etcd.url for etcd in self.etcds]} if len(members) > 1 else {}
        for number in range(1, self.nodes + 1):
            arguments = {**self._router, **self._each.get(number, {})}
            arguments["options"] = {**servers, **self._options, **(arguments.get("options") or {})}
            self.routers.append(Router(self, number, **arguments))
        for runtime in RUNTIMES:
            install(runtime, self.product(runtime), self._installed)
        host.prepare(self.name, self.nodes)
        netns.ip("netns", "add", self.fabric)
        netns.batch(self.fabric, ["link add br0 type bridge mcast_snooping 0", "link set br0 up"])
        self.say("starting etcd")
        for etcd in self.etcds:
            etcd.switch_on()
        for etcd in self.etcds:
            self.wait(etcd.answers, 60, f"{etcd.name} to answer")
        self.say(f"switching on {len(self._boot)} routers")
        self.started = time.monotonic()
        for number in self._boot:
            self.router(number).launch()
        for number in self._boot:
            self.router(number).booted()

    def _take_lock(self):
        # Two labs of one name would take each other down. A kept lab is not locked: the next one replaces it.
        self._lock = open(self.dir.with_suffix(".lock"), "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.say(f"waiting for another lab named {self.name} to end")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def down(self):
        """End every process, namespace, mount and file of the lab, also of one whose program was killed."""
        self._clear()
        if self._lock:
            self._lock.close()
            self._lock = None

    def _clear(self):
        for name in netns.names(re.escape(self.name) + r"-(r\d+|etcd\d*|fabric)"):
            netns.delete(name)
        for machine in [*self.routers, *self.etcds]:
            machine.halt()
        self.routers = []
        self.etcds = []
        if self.dir.exists():
            shutil.rmtree(self.dir)
        host.release(self.name)

    def router(self, number):
        """Router `number`, counted from 1."""
        return self.routers[number - 1]

    @property
    def etcd(self):
        """The first member of etcd, in most labs the only one; None while the lab is down."""
        return self.etcds[0] if self.etcds else None

    def product(self, runtime):
        """The layer that holds what a package would install."""
        return self.dir / ("product-" + runtime)

    def etcdctl(self, argv, **kw):
        """Run etcdctl on the first etcd machine that is on; as Machine.exec()."""
        running = [etcd for etcd in self.etcds if etcd.running]
        return (running or self.etcds)[0].etcdctl(argv, **kw)

    # -- watching

    def elapsed(self):
        """Seconds since the first router was switched on."""
        return time.monotonic() - self.started

    def wait(self, condition, deadline, what, interval=0.05):
        """Call `condition()` until it returns something true, and return that.

        After `deadline` seconds raises LabTimeout, which says `what` was waited for and what every router
        was doing.
        """
        end = time.monotonic() + deadline
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > end:
                raise LabTimeout(f"waited {deadline} s for {what}\n{self.dump()}")
            time.sleep(interval)

    def established(self):
        """Established BGP sessions, counted at both ends: nodes × (nodes − 1) in a full mesh."""
        return sum(router.established() for router in self.routers if router.running)

    @property
    def reflected(self):
        """Whether there are so many routers that some of them reflect routes for the others."""
        return self.nodes > int(self._options.get("full_mesh_max", 16))

    @property
    def sessions(self):
        """How many sessions there are when all routers are up, counted at both ends."""
        reflectors = self.nodes if not self.reflected else 2 if self.nodes <= 100 else 3
        return reflectors * (2 * self.nodes - reflectors - 1)

    def converged(self):
        """Whether every running router has an Established session with every other one.

        With route reflectors: whether each has the others' networks.
        """
        running = [router for router in self.routers if router.running]
        if self.reflected:
            wanted = {router.network for router in running}
            return all(wanted - {router.network} <= set(router.routes()) for router in running)
        return all(router.established() == len(running) - 1 for router in running)

    def dump(self):
        """What a person wants to see when something did not happen, as text."""
        parts = []
        for router in self.routers:
            if not router.running:
                parts.append(f"== {router.name} is off\n{_last(router.console())}")
                continue
            programs = " ".join(Path(argv[0]).name for _, argv in router.processes())
            try:
                status = router.bgpmesh("status", timeout=5).stdout
            except CommandError as e:
                status = str(e)
            parts.append(f"== {router.name}: {programs}\n{status.rstrip()}\n-- log\n{router.log(15)}")
        return "\n".join(parts)

    # -- faults

    def partition(self, *groups):
        """Cut the fabric: machines (by number, or "etcd") of different groups no longer reach each other.

        Who is not named stays with the first group. heal() undoes it.
        """
        for index, group in enumerate(groups[1:], 1):
            bridge = f"br{index}"
            netns.batch(self.fabric, [
                f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up",
                *[f"link set {self._port(machine)} master {bridge}" for machine in group],
            ])

    def heal(self):
        """End a partition."""
        for link in json.loads(netns.ip("-json", "-netns", self.fabric, "link", "show", "type", "bridge")):
            if link["ifname"] != "br0":
                ports = netns.ip("-json", "-netns", self.fabric, "link", "show", "master", link["ifname"])
                moves = [f"link set {port['ifname']} master br0" for port in json.loads(ports)]
                netns.batch(self.fabric, [*moves, f"link delete {link['ifname']}"])

    def cut(self, one, other):
        """Lose without a word whatever two routers send each other; mend() undoes it."""
        for router, peer in ((one, other), (other, one)):
            wrong = f"neigh replace {peer.wan} lladdr 02:00:00:00:00:99 dev wan nud permanent"
            netns.batch(router.netns, [wrong])

    def mend(self, one, other):
        """End a cut."""
        for router, peer in ((one, other), (other, one)):
            netns.batch(router.netns, [f"neigh del {peer.wan} dev wan"])

    @contextlib.contextmanager
    def bad_cable(self, router, loss=0, delay=0, jitter=0, twice=0, seed=0):
        """A router's cable loses, delays, doubles and overtakes frames meanwhile, both ways: see cable.py."""
        port = router.name
        netns.batch(self.fabric, [
            f"link add {port}-bad type veth peer name {port}-far",
            f"link set {port}-far master br0 up", f"link set {port}-bad up", f"link set {port} nomaster",
        ])
        program = Path(__file__).with_name("cable.py")
        argv = ["ip", "netns", "exec", self.fabric, "python3", program, port, port + "-bad"]
        argv += [loss, delay, jitter, twice, seed]
        process = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE, env=netns.ENV)
        try:
            process.stdout.readline()
            yield
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            netns.batch(self.fabric, [f"link delete {port}-bad", f"link set {port} master br0"])

    def _port(self, machine):
        return machine if isinstance(machine, str) else f"r{machine}"


def install(runtime, layer, installed=None):
    """Lay out in `layer` what a package puts on a router, and the stand-in for OpenWrt's daemons."""
    sbin = layer / "usr" / "sbin"
    ignore = shutil.ignore_patterns("__pycache__")
    if installed:
        packages.unpack(installed, runtime, layer)
    else:
        sbin.mkdir(parents=True)
        launcher = "bgpmesh" if runtime == "micropython" else "bgpmesh-" + runtime
        shutil.copy(PROJECT / "files" / "usr" / "sbin" / launcher, sbin / "bgpmesh")
        shutil.copytree(PROJECT / "src/bgpmesh", layer / "usr/lib/bgpmesh/bgpmesh", ignore=ignore)
    # The stand-in, on CPython, has modules of its own to import.
    for source, target in (("src/bgpmesh", "usr/src/bgpmesh"), ("tests/standin", "usr/lib/standin")):
        shutil.copytree(PROJECT / source, layer / target, ignore=ignore)
    (sbin / "ubus").symlink_to("/usr/lib/standin/ubus.py")
    # Relative, so that they also lead there when looked at through /proc/PID/root.
    (layer / "var").symlink_to("tmp")
    (layer / "run").symlink_to("tmp/run")


def _one_of(what, value, choice):
    if value not in choice:
        raise ValueError(f"{what} is {value!r}: must be {' or '.join(choice)}")


def _last(text, lines=15):
    return "\n".join(text.splitlines()[-lines:])
