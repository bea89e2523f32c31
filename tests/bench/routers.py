"""As many real routers as this machine takes: agents, tincd and BIRD of each, with route reflectors."""

import os
import time

from lab.lab import Lab, LabTimeout

NODES = (25, 50, 75, 100)
DEADLINE = 120  # seconds until each has the routes to all others
_REST = 30  # seconds over which the processors are watched, and for which nothing has happened before


def run(report, arguments):
    """The part `routers`."""
    for nodes in NODES:
        report.say(f"routers: {nodes} of them, switched on at once")
        with Lab("bench", nodes) as lab:
            try:
                lab.wait(lab.converged, DEADLINE, f"{nodes} routers to have the routes to all others", 0.5)
            except LabTimeout as error:
                report.say(f"routers: {nodes} are too many for this machine: {str(error).splitlines()[0]}")
                return
            report.add("routers", f"{nodes}: from the first one's start to all routes", lab.elapsed(), "s", digits=0)
            time.sleep(_REST)
            before, began = _busy(), time.monotonic()
            time.sleep(_REST)
            used = (_busy() - before) / (time.monotonic() - began)
            report.add("routers", f"{nodes}: processors in use at rest", used, f"of {os.cpu_count()}")


def _busy():
    """Seconds that the processors have worked so far."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
