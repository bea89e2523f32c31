"""The routers of a large mesh whose power returns to all of them at the same moment: what etcd sees of it.

A router is the agent's own code for the registry, in the agent's rhythm; all of them are tasks of one CPython
process, whose processor time is most of what they wait for. etcd is a real one.
"""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bgpmesh import agent, compat, config, converge, etcd
from bgpmesh.problems import Retry

from .outside import memory
from .scale import SIZES, Etcd, keys, member
from .wire import Wire

MEMBERS = min(1000, max(SIZES))
NEWCOMERS = min(100, MEMBERS)  # routers that know nobody yet: each reads all records
POLL = 10  # seconds, as option poll_interval has it
LATE = 300  # seconds until it is given up
OPTIONS = """
config mesh 'main'
	option enabled '1'
	option etcd '%s'
	option node '%s'
"""
# A small request of somebody else, ten a second; seconds that each takes, a line each.
PROBE = """
import sys, time, urllib.request
while True:
    begun = time.monotonic()
    urllib.request.urlopen(sys.argv[1] + "/v3/kv/range", b'{"key":"AA=="}', timeout=60).read()
    print(time.monotonic() - begun, flush=True)
    time.sleep(0.1)
"""


def run(report, arguments):
    """The part `crowd`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8 * MEMBERS)), hard))
    for count, known in ((NEWCOMERS, False), (MEMBERS, True)):
        with Etcd() as server:
            crowd = [member(number) for number in range(1, MEMBERS + 1)]
            server.put(pair for one in crowd for pair in keys(one)[:-1])
            what = "that know the others from flash" if known else "that know nobody"
            report.say(f"crowd: {count} routers {what}, of {MEMBERS} members")
            found = asyncio.run(_start(server, [one.node for one in crowd[:count]], known, report.say))
        for name, (value, unit) in found.items():
            report.add("crowd", f"{count} routers {what}: {name}", value, unit)


async def _start(server, nodes, known, say):
    """name -> (figure, unit) of these routers' start, until each of them knows that all are alive."""
    wire = Wire()
    cluster, entries = None, {}
    for _ in range(1 + known):
        wire.bytes = wire.requests = 0
        one = _registry(server, "one")
        one.recall(entries, cluster)
        await one.poll()
        cluster, entries = one.cluster, dict(one.members)
        one.close()
    first = wire.bytes, wire.requests
    wire.bytes = wire.requests = 0
    crowd = [Router(_registry(server, node), entries if known else {}, cluster) for node in nodes]
    before = _processor(server.process)
    begun = told = time.monotonic()
    rate = asyncio.create_task(_rate(wire))
    tasks = [asyncio.create_task(router.run()) for router in crowd]
    probe = subprocess.Popen([sys.executable, "-c", PROBE, server.url], stdout=subprocess.PIPE, text=True)
    try:
        while not all(len(router.registry.alive) == len(nodes) for router in crowd):
            if time.monotonic() - begun > LATE:
                raise OSError(f"after {LATE} s not every router knew that all are alive")
            await asyncio.gather(*[task for task in tasks if task.done()])  # none ends but by a fault
            if time.monotonic() - told > 10:
                told = time.monotonic()
                knows = sorted(len(router.registry.alive) for router in crowd)
                failed = sum(router.failures for router in crowd)
                say(f"crowd: {knows[0]} to {knows[-1]} are seen alive; {wire.requests} requests, {failed} failed")
            await asyncio.sleep(0.1)
        seconds = time.monotonic() - begun
        spent = _processor(server.process) - before
        peak = memory(server.process.pid)[1]
        bytes_, requests = wire.bytes, wire.requests
    finally:
        probe.terminate()
        waits = sorted(float(line) for line in probe.stdout.read().split())
        for task in [*tasks, rate]:
            task.cancel()
        await asyncio.gather(*tasks, rate, return_exceptions=True)
        for router in crowd:
            router.close()
        wire.close()
    return {
        "until each knew that all are alive": (seconds, "s"),
        "the first look of one: bytes": (first[0] / 1e3, "kB"),
        "the first look of one: requests": (first[1], ""),
        "requests, all": (requests, ""),
        "requests that failed": (sum(router.failures for router in crowd), ""),
        "requests, in the busiest second": (max(wire.busy), ""),
        "bytes, all": (bytes_ / 1e6, "MB"),
        "etcd's processor time": (spent, "s"),
        "etcd's resident memory": (peak / 1024, "MB"),
        "somebody else's small request, median": (1000 * statistics.median(waits), "ms"),
        "somebody else's small request, worst": (1000 * waits[-1], "ms"),
    }


def _registry(server, node):
    return etcd.open_registry(config.load(OPTIONS % (server.url, node), node))


async def _rate(wire):
    """Counts the requests of each second into `wire.busy`."""
    wire.busy, before = [], 0
    while True:
        await asyncio.sleep(1)
        wire.busy.append(wire.requests - before)
        before = wire.requests


def _processor(process):
    """Seconds of processor time that a process has taken."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Router:
    """One of them. entries, cluster: what it has on flash."""

    def __init__(self, registry, entries, cluster):
        self.registry = registry
        self._spread = len(entries) * agent._FIRST
        self._due = asyncio.Event()
        self._watch = None
        self.failures = 0  # polls and watches that failed
        registry.recall(entries, cluster)

    async def run(self):
        """Polls as the agent does, and listens between polls."""
        await asyncio.sleep(compat.random_fraction() * self._spread)
        retry = Retry(converge.QUICK, POLL)
        while True:
            try:
                await self.registry.poll()
                await self.registry.keep_alive()
                retry.succeeded()
                if not self._watch or self._watch.done():
                    self._watch = asyncio.create_task(self._listen())
            except etcd.EtcdError:
                self.failures += 1
                retry.failed()
            await converge.sleep(self._due, retry.wait() or POLL)

    async def _listen(self):
        try:
            await self.registry.watch(self._hear)
        except etcd.EtcdError:
            self.failures += 1

    def _hear(self):
        spread = MEMBERS**2 * agent._SPREAD
        asyncio.get_running_loop().call_later(agent._MOMENT + compat.random_fraction() * spread, self._due.set)

    def close(self):
        if self._watch:
            self._watch.cancel()
        self.registry.close()
