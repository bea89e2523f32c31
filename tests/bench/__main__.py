"""`make bench`: measures, prints a table, ends in one JSON object. Exit status 1 where a limit is missed.

PARTS=start,join,noop,memory,failover,graph,footprint RUNS=3 IDLE=180 FAILURES=20 in the environment choose
what is measured, how often and how long. Only where they are asked for, since they take long or have no limits:
`loss` (sessions that end while packets get lost, LOSSY=3600), `hotspots` (where CPython spends its time). SCALE=1 is
PARTS=scale,crowd,routers: SIZES=100,1000,5000 members, all of whom lose their power, and as many real routers as this
machine takes; DRAW=docs/scale.svg has it draw a picture.
"""

import argparse
import json
import os
import signal
import sys
import time
import traceback

from lab.lab import LabTimeout
from lab.netns import CommandError

from . import crowd, failover, footprint, graph, hotspots, join, loss, memory, noop, routers, scale, start
from .report import Report

PARTS = {
    "start": start.run,
    "join": join.run,
    "noop": noop.run,
    "memory": memory.run,
    "failover": failover.run,
    "graph": graph.run,
    "footprint": footprint.run,
    "loss": loss.run,
    "hotspots": hotspots.run,
    "routers": routers.run,
    "scale": scale.run,
    "crowd": crowd.run,
}


def main():
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    env = os.environ
    large = env.get("SCALE", "0") not in ("", "0")
    usual = "scale,crowd,routers" if large else "start,join,noop,memory,failover,graph,footprint"
    parser.add_argument("--parts", default=env.get("PARTS") or usual, help="which, with commas between")
    parser.add_argument("--runs", type=int, default=int(env.get("RUNS") or 3), help="how often, for a median")
    parser.add_argument(
        "--idle",
        type=float,
        default=float(env.get("IDLE") or 180),
        help="seconds over which idle processor time is measured",
    )
    parser.add_argument(
        "--failures", type=int, default=int(env.get("FAILURES") or 20), help="how often each failure is brought about"
    )
    parser.add_argument(
        "--lossy", type=float, default=float(env.get("LOSSY") or 3600), help="seconds for which packets are lost"
    )
    parser.add_argument("--draw", default=env.get("DRAW"), help="the file for the picture of the part `scale`")
    arguments = parser.parse_args()
    names = arguments.parts.split(",")
    if set(names) - set(PARTS):
        parser.error(f"no such part: {arguments.parts}; there are {', '.join(PARTS)}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    report = Report()
    begun = time.monotonic()
    loads = [os.getloadavg()]
    for name in names:
        try:
            PARTS[name](report, arguments)
        except (LabTimeout, CommandError, OSError) as error:
            traceback.print_exc()
            report.missed.append(name)
            report.say(f"{name} could not be measured to its end: {str(error).splitlines()[0]}")
        loads.append(os.getloadavg())
    print("\n" + report.table() + "\n")
    highest = max(load[0] for load in loads)
    print(f"{os.cpu_count()} processors, load average from {loads[0][0]:.1f} to {highest:.1f}")
    print("missed: " + ", ".join(report.missed) if report.missed else "every limit was kept")
    result = {
        "ok": not report.missed,
        "missed": report.missed,
        "cpus": os.cpu_count(),
        "load": [round(load[0], 2) for load in loads],
        "seconds": round(time.monotonic() - begun),
        "parts": report.values,
    }
    print(json.dumps(result), flush=True)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
