"""One router of a mesh that is only in etcd: the agent's own code but for ubus, the kernel and the daemons.

    micropython lone.py FOLDER ETCD_URL [SECRET [profile]]

Runs on both runtimes; `profile` is for CPython. Reads the name of a step from stdin, answers with a line of JSON, until
stdin ends. tincd and BIRD are whoever listens on their control sockets in FOLDER/run.
"""

import asyncio
import gc
import json
import sys

from wire import Wire

from bgpmesh import model

profiling = None
if sys.argv[4:] == ["profile"]:
    import profiling

model.RUN = sys.argv[1] + "/run"
model.STATE = sys.argv[1] + "/etc"

from bgpmesh import agent, compat, config, converge, etcd, fib, latency, stream  # noqa: E402
from bgpmesh import plan as planning  # noqa: E402
from bgpmesh.membership import Membership  # noqa: E402
from bgpmesh.problems import Problems  # noqa: E402
from bgpmesh.tinc.keys import Keys  # noqa: E402

OPTIONS = """
config mesh 'main'
	option enabled '1'
	option etcd '%s'
	option node 'north'
	option network '10.0.0.0/16'
	option network6 'fd00:99::/64'
	option endpoint '198.18.0.1:655'
	option prefix '192.168.0.0/24'
"""


class Procd:
    """procd, under which both daemons run as they were told to."""

    def __init__(self):
        self._set = {}

    async def set(self, name, instances):
        self._set[name] = instances

    async def instance(self, name, instance):
        return dict(self._set.get(name, {}).get(instance, {}), running=True) if name != "bird" else {}


class Bus:
    def subscribe(self, *_):
        pass

    async def send_event(self, *_):
        pass


class Files:
    """What disk.write_pieces puts in place. bytes, count: since the last look."""

    def __init__(self, disk):
        self.bytes = self.count = 0
        self._write = disk.write_pieces
        disk.write_pieces = self.write

    def write(self, path, pieces, mode, old=False):
        self.count += 1
        self._write(path, self._counted(pieces), mode, old)

    def _counted(self, pieces):
        for piece in pieces:
            self.bytes += len(piece)
            yield piece


class Lone:
    """The router. Each method that a line of stdin may name is a step."""

    def __init__(self, folder, url, secret):
        text = OPTIONS % url + ("\toption secret '%s'\n" % secret if secret else "")
        self.config = config.load(text, "north")
        self.problems = Problems(lambda text: print(text, file=sys.stderr))
        self.wire, self.files = Wire(), Files(agent.disk)
        registry = etcd.open_registry(self.config)
        self.member = Membership(self.config, Keys(None, "N" * 43), registry, self.problems, lambda text: None)
        self.member.announce(planning.local_prefixes(self.config, [])[0])
        self.mesh = converge.Convergence(Bus(), Procd(), self.problems, "1.1", lambda text: None)
        self.mesh.membership = self.member

    async def start(self):
        """Nothing yet: what the code takes."""

    async def poll(self):
        """One exchange with the registry."""
        return await self.member.step()

    async def enter(self):
        """The first one: until nothing is to be done."""
        while await self.member.step():
            pass

    async def plan(self):
        """A plan, without applying it."""
        self.mesh._make_plan()
        self.mesh._stale = False
        self.mesh._due = []

    async def apply(self):
        """Rounds of the daemons' loop until the router has converged."""
        for _ in range(20):
            self.mesh._applied_at = -converge._GAP
            await self.mesh.step()
            if self.mesh.state == "converged":
                return
        raise ValueError("%s: %s" % (self.mesh.state, [problem.text for problem, _ in self.problems.all()]))

    async def change(self):
        """What another member's change costs: a poll, and all that follows."""
        while not await self.member.step():
            pass
        self.told = self.wire.bytes, self.wire.requests
        self.mesh.refresh()
        await self.apply()

    async def look(self):
        """One look at the daemons."""
        await self.mesh.step()

    async def save(self):
        """The cache, which is not written where something was a minute ago."""
        self.member.save()

    async def keep(self):
        """The cache, as before the agent ends."""
        self.member.save(True)

    async def rest(self):
        """Nothing any more."""


def cpu():
    """Milliseconds of processor time so far."""
    with open("/proc/self/schedstat") as file:
        return int(file.read().split()[0]) / 1000000


def heap():
    """Bytes of the heap that are in use, what is no longer needed left out; 0 where the runtime does not say."""
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


async def main():
    lone = Lone(*(sys.argv[1:4] + [""])[:3])
    while True:
        words = sys.stdin.readline().split()
        if not words:
            break
        try:
            print(json.dumps(await measure(lone, words[0], int(words[1]))))
        except (MemoryError, etcd.EtcdError) as error:
            print(json.dumps({"full": str(error)}))
        compat.flush()
    lone.member.registry.close()


async def measure(lone, step, times):
    """What a step costs, done so many times: each time. bytes, requests: of what is exchanged with etcd."""
    lone.wire.bytes = lone.wire.requests = lone.files.bytes = lone.files.count = 0
    lone.told = None
    profiler = profiling and profiling.Profiler()
    used, began = cpu(), compat.ticks_us()
    for _ in range(times):
        await getattr(lone, step)()
    took = compat.ticks_diff(compat.ticks_us(), began) / 1000
    used = cpu() - used
    found = profiler.end() if profiler else {}
    size, requests = lone.told or (lone.wire.bytes, lone.wire.requests)
    found.update(
        {
            "ms": took / times,
            "cpu": used / times,
            "bytes": size / times,
            "requests": requests / times,
            "written": lone.files.bytes / times,
            "files": lone.files.count / times,
            "heap": heap(),
        }
    )
    return found


async def nobody(*_):
    return {}


fib.routed = lambda interface: None  # not to be seen here
latency.measure = nobody
assert agent and stream
asyncio.run(main())
