"""A path that fails without a word: how long two LANs with another path do not reach each other."""

import random

from lab.failover import when_their_path_is_cut, when_their_relay_dies
from lab.lab import Lab

from .mesh import middle

NODES = 4
LIMIT = 1
FAILURES = {"path cut": when_their_path_is_cut, "relay dies": when_their_relay_dies}


def run(report, arguments):
    """The part `failover`."""
    runs = arguments.failures
    report.say(f"failover: a mesh of {NODES}: a path is cut, and a router that carries another's traffic dies")
    dice = random.Random(runs)
    for what, options, times in (("", {}, runs), (" without BFD", {"bfd_interval": "0"}, 3)):
        with Lab("bench", NODES, options=options) as lab:
            for name, measure in FAILURES.items():
                took = []
                for turn in range(times):
                    took.append(measure(lab, *dice.sample(lab.routers, 2)))
                    report.say(f"failover: {name}{what}: {took[-1]:.2f} s, {turn + 1} of {times}")
                limit = None if options else LIMIT
                report.add("failover", name + what, middle(took), "s", limit)
                report.add("failover", name + what + ", worst", max(took), "s", limit)
