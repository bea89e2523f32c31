"""Where a router among 1,000 spends its processor time and memory, as CPython's own profilers see it."""

import tempfile

from bgpmesh import address

from .scale import Etcd, Lone, keys, member

MEMBERS = 1000
STEPS = (("enter", 1), ("plan", 10), ("apply", 1), ("poll", 1000), ("look", 100))


def run(report, arguments):
    """The part `hotspots`."""
    report.say(f"hotspots: a router among {MEMBERS:,}, on CPython")
    with Etcd() as etcd, tempfile.TemporaryDirectory() as folder:
        crowd = [member(number) for number in range(1, MEMBERS + 1)]
        etcd.put(pair for one in crowd for pair in keys(one))
        lone = Lone("python3", folder, etcd.url, 0, "profile")
        try:
            for name, times in STEPS:
                tell(report, name, lone.step(name, times))
            one = crowd[0]
            one.serial += 1
            one.prefixes = [one.prefixes[0], address.parse_prefix("fd02::/64")]
            etcd.put(keys(one)[:1])
            found = lone.step("change")
            tell(report, "change", found)
            for file, size in found["memory"]:
                report.add("hotspots", f"memory asked for in {file}", size / 1024, "kB", digits=0)
        finally:
            lone.close()


def tell(report, step, found):
    """The functions that take most of a step."""
    for where, part in found["functions"]:
        report.add("hotspots", f"{step}: {where}", 100 * part, "%", digits=0)
