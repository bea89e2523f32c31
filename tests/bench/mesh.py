"""A lab whose routers are up before the agents are, which are then started all at once."""

import functools
import json
import shutil
import subprocess
import threading
import time
from base64 import b64decode
from statistics import median

from lab import packages
from lab.lab import Lab, LabTimeout
from lab.netns import ENV

from bgpmesh.tinc.render import hardware_address

from . import outside

SERVICES = ("bgpmesh", "bgpmesh-bird", "bgpmesh-tinc")
_LOOK = 0.02  # seconds between two looks


built = functools.cache(packages.build)  # the packages, once for all parts


class Mesh(Lab):
    """A Lab with every router up but for its agent. `bus`: router's number -> outside.Bus.

    The routers have what the packages install, unless `installed` says otherwise. `graph` is appended to their copies
    of tinc/graph.py, which are then this tree's. However many there are, all have sessions with all.
    """

    def __init__(self, name, nodes, *arguments, graph=None, **keywords):
        keywords.setdefault("installed", None if graph else built())
        super().__init__(
            name, nodes, *arguments, each={n: {"agent": False} for n in range(1, nodes + 1)}, boot=[],
            options={"full_mesh_max": "1000"}, **keywords
        )
        self.graph = graph
        self.bus = {}

    def up(self):
        super().up()
        if self.graph:
            for runtime in ("micropython", "python3"):
                path = self.product(runtime) / "usr/lib/bgpmesh/bgpmesh/tinc/graph.py"
                path.write_text(path.read_text() + "\n\n" + self.graph)
        for router in self.routers:
            router.launch()
        for router in self.routers:
            router.booted()
            socket = router.path("/tmp/run/ubus/ubus.sock")
            self.wait(socket.exists, 30, f"ubusd of {router.name}")
        for router in self.routers:
            self.bus[router.number] = outside.Bus(router)
            self.bus[router.number].look_up("service")

    def down(self):
        for bus in self.bus.values():
            bus.close()
        self.bus = {}
        super().down()

    # -- starting and stopping

    def set_services(self, wanted):
        """Sets services on many routers at once: number -> {name: instances}. Returns when that began."""
        begun = time.monotonic()
        for name in sorted({name for services in wanted.values() for name in services}):
            asked = [number for number, services in wanted.items() if name in services]
            for number in asked:
                self.bus[number].begin("service", "set", {"name": name, "instances": wanted[number][name]})
            for number in asked:
                self.bus[number].finish()
        return begun

    def begin(self, numbers):
        """Starts the agents of these routers at once. Returns when that began."""
        return self.set_services({n: {"bgpmesh": self.router(n).service()["instances"]} for n in numbers})

    def end(self, numbers, keep=()):
        """Ends agents and daemons of these routers; of their files stay those of `keep` in /etc/bgpmesh."""
        for name in SERVICES:
            for number in numbers:
                if name in self.bus[number].call("service", "list"):
                    self.bus[number].call("service", "delete", {"name": name})
        for number in numbers:
            bus = self.bus[number]
            self.wait(lambda b=bus: not set(SERVICES) & set(b.call("service", "list")), 30, "daemons to end")
            shutil.rmtree(self.router(number).path("/tmp/run/bgpmesh"), ignore_errors=True)
            state = self.router(number).path("/etc/bgpmesh")
            for path in list(state.iterdir()) if state.exists() else ():
                if path.name not in keep:
                    path.unlink()

    def forget(self):
        """Empties etcd."""
        self.etcdctl(["del", "--prefix", ""])

    # -- by hand

    def take_files(self):
        """What a person would have written by hand, from a mesh that has converged.

        number -> ({path: (text, mode)}, services). The files are the agents' own. What an agent does
        besides, the neighbours of the overlay, is appended to tinc-up.
        """
        found = {}
        for router in self.routers:
            base = router.path("/tmp/run/bgpmesh")
            files = [base / "bird.conf", *(path for path in (base / "tinc").rglob("*") if path.is_file())]
            texts = {}
            for path in files:
                texts[str(path.relative_to(base))] = path.read_text(), path.stat().st_mode & 0o777
            shown = router.exec(["ip", "-json", "neigh", "show", "dev", "tinc0", "nud", "permanent"]).stdout
            names = {hardware_address(other.name): other.name for other in self.routers}
            lines = [
                f"neigh replace {item['dst']} lladdr {item['lladdr']} dev tinc0 nud permanent\n"
                for item in json.loads(shown)
                if item.get("lladdr") in names
            ]
            text, mode = texts["tinc/tinc-up"]
            texts["tinc/tinc-up"] = (text + "ip -batch - << EOF\n" + "".join(lines) + "EOF\n", mode)
            services = self.bus[router.number].call("service", "list")
            found[router.number] = texts, {name: _bare(services[name]["instances"]) for name in SERVICES[1:]}
        return found

    def put_files(self, found):
        """Puts back what take_files() gave."""
        for number, (texts, _) in found.items():
            base = self.router(number).path("/tmp/run/bgpmesh")
            for name, (text, mode) in texts.items():
                path = base / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                path.chmod(mode)

    # -- watching

    def settle(self, numbers, begun, deadline, peers=None, look=None):
        """Waits until each of these routers has `peers` Established sessions (default: all the others).

        Returns Settled, seconds after `begun`. `look(now)` is called at each look. Raises LabTimeout.
        """
        want = len(numbers) - 1 if peers is None else peers
        left = {number: 0 for number in numbers}
        done = {}
        ninety = None
        while True:
            for number in list(left):
                left[number] = self.router(number).established()
                if left[number] >= want:
                    done[number] = time.monotonic() - begun
                    del left[number]
            now = time.monotonic() - begun
            if look:
                look(now)
            if ninety is None and sum(left.values()) + want * len(done) >= 0.9 * want * len(numbers):
                ninety = now
            if not left:
                # Those seen first may have lost a session since.
                left = {n: 0 for n in numbers if self.router(n).established() < want}
                if not left:
                    return Settled(now, ninety, done)
            if now > deadline:
                raise LabTimeout(
                    f"{sum(left.values()) + want * len(done)} of {want * len(numbers)} sessions after {deadline} s"
                )
            # A look costs every router a little: with many of them less often.
            time.sleep(_LOOK * max(1, len(left) / 5))

    def ping_through(self, begun, deadline=20):
        """Seconds from `begun` until the first router's LAN reaches the last one's."""
        first, last = self.router(1), self.router(self.nodes)
        self.wait(lambda: first.ping(last.lan), deadline, "a ping from LAN to LAN", 0.02)
        return time.monotonic() - begun

    def pid(self, number, name):
        """The only process `name` (or `agent`) of a router."""
        return self.router(number).pids(name)[0]


class Settled:
    """all: when the last session was Established; ninety: when nine in ten were; done: router -> its last."""

    def __init__(self, everything, ninety, done):
        self.all = everything
        self.ninety = ninety
        self.done = done


def _bare(instances):
    return {name: {"command": item["command"], "stdout": True, "stderr": True} for name, item in instances.items()}


class EtcdWatch:
    """The puts into a lab's etcd with the time at which each was seen. A context manager."""

    def __init__(self, lab):
        self._lab = lab
        self.puts = []  # (time.monotonic(), key, value)

    def __enter__(self):
        argv = [*self._lab.etcd.enter(), "etcdctl", "watch", "--prefix", "/", "-w", "json"]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(argv, env=ENV, **pipes)
        threading.Thread(target=self._read, daemon=True).start()
        while not self.puts:  # until it is known to watch
            self._lab.etcdctl(["put", "/bench", ""])
        return self

    def __exit__(self, *exception):
        self._process.kill()
        self._process.wait()

    def _read(self):
        for line in self._process.stdout:
            now = time.monotonic()
            for event in json.loads(line).get("Events", ()):
                pair = event["kv"]
                if "version" in pair:  # a delete has none
                    key, value = (b64decode(pair.get(name, "")).decode() for name in ("key", "value"))
                    self.puts.append((now, key, value))

    def first(self, wanted):
        """When the first put was seen of which wanted(key, value) is true, or None."""
        return next((when for when, key, value in self.puts if wanted(key, value)), None)


def middle(values):
    """The median of what is not None; None of nothing."""
    found = [value for value in values if value is not None]
    return median(found) if found else None
