"""A path that fails without a word: how long two LANs with another path do not reach each other."""

import random
import time

from lab.failover import guarded, when_their_path_is_cut, when_their_relay_dies
from lab.lab import Lab

from .mesh import middle

NODES = 4
LIMIT = 1  # second
LIMIT_WITHOUT = 10  # where there is no BFD
FAILURES = {"path cut": when_their_path_is_cut, "relay dies": when_their_relay_dies}
# What routers have by default.
BIRD = {"hold time 9;": "hold time 180;", "keepalive time 3;": "keepalive time 60;"}
TINCD = {"PingInterval = 4": "PingInterval = 60", "PingTimeout = 4": "PingTimeout = 5"}


def run(report, arguments):
    """The part `failover`."""
    runs = arguments.failures
    report.say(f"failover: a mesh of {NODES}: a path is cut, and a router that carries another's traffic dies")
    dice = random.Random(runs)
    rates = []
    without = {"bfd_interval": "0"}
    few = max(1, runs // 4)
    ways = (
        ("", {}, {}, runs, LIMIT),
        (" without BFD", without, {}, few, LIMIT_WITHOUT),
        (" between clients of reflectors", {"full_mesh_max": "2"}, {}, few, LIMIT_WITHOUT),
        (" at BGP's 60 and 180 s", without, {"bird": BIRD}, few, None),
        (" at BGP's 60 and 180 s and tinc's 60 and 5 s", without, {"bird": BIRD, "tinc": TINCD}, few, None),
    )
    for what, options, timers, times, limit in ways:
        with Lab("bench", NODES, options=options, boot=[]) as lab:
            set_timers(lab, timers)
            for router in lab.routers:
                router.start()
            guarded(lab)
            rates.append(rate(lab.router(1)) / (NODES - 1))
            for name, measure in FAILURES.items():
                took = []
                for turn in range(times):
                    took.append(measure(lab, *dice.sample(lab.routers, 2)))
                    report.say(f"failover: {name}{what}: {took[-1]:.2f} s, {turn + 1} of {times}")
                report.add("failover", name + what, middle(took), "s", limit)
                report.add("failover", name + what + ", worst", max(took), "s", limit)
    found = report.values["failover"]
    for name in FAILURES:
        for what, _, _, _, limit in ways:
            if limit is None:
                report.beside(f"{name}: LANs out of reach, with BFD, and{what}", found[name], found[name + what], "s")
    report.add("failover", "BFD sends to each peer", rates[0] - rates[1], "bytes/s", note="on the wire", digits=0)


def set_timers(lab, timers):
    """Changes what the routers' agents write: package -> {text: what stands there instead}."""
    for package, changes in timers.items():
        path = lab.product("micropython") / "usr/lib/bgpmesh/bgpmesh" / package / "render.py"
        text = path.read_text()
        for before, after in changes.items():
            assert before in text, before
            text = text.replace(before, after)
        path.write_text(text)


def rate(router, seconds=40):
    """Bytes that a router sends in a second."""
    counts = []
    for pause in (8, seconds):  # the first: until what came with the sessions is over
        time.sleep(pause)
        counts.append(int(router.exec(["cat", "/sys/class/net/wan/statistics/tx_bytes"]).stdout))
    return (counts[1] - counts[0]) / seconds
