"""A path that fails without a word: how long two LANs with another path do not reach each other."""

import random
import time

from lab.failover import guarded, when_their_path_is_cut, when_their_relay_dies
from lab.lab import Lab

from .mesh import middle

NODES = 4
LIMIT = 1
FAILURES = {"path cut": when_their_path_is_cut, "relay dies": when_their_relay_dies}
USUAL = {"hold time 9;": "hold time 180;", "keepalive time 3;": "keepalive time 60;"}  # what routers have by default


def run(report, arguments):
    """The part `failover`."""
    runs = arguments.failures
    report.say(f"failover: a mesh of {NODES}: a path is cut, and a router that carries another's traffic dies")
    dice = random.Random(runs)
    rates = []
    without = {"bfd_interval": "0"}
    ways = ("", {}, {}, runs), (" without BFD", without, {}, 3), (" at BGP's 60 and 180 s", without, USUAL, 3)
    for what, options, timers, times in ways:
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
                limit = None if options else LIMIT
                report.add("failover", name + what, middle(took), "s", limit)
                report.add("failover", name + what + ", worst", max(took), "s", limit)
    report.add("failover", "BFD sends to each peer", rates[0] - rates[1], "bytes/s", note="on the wire", digits=0)


def set_timers(lab, changes):
    """Changes what the routers' agents write into bird.conf."""
    path = lab.product("micropython") / "usr/lib/bgpmesh/bgpmesh/bird/render.py"
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
