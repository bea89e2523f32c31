"""Where "each pair once" stops being better than three tunnels each."""

import time

from lab.lab import LabTimeout

from . import outside
from .mesh import Mesh, middle

# What is appended to the router's copy of tinc/graph.py.
PAIRS = "FULL_MESH = 1000\n"
THREE = "FULL_MESH = 0\n"
BOTH = (
    "FULL_MESH = 1000\n\n\ndef dials(node, members):\n"
    "    return sorted([member.node for member in members if member.endpoint and member.node != node])\n"
)
GRAPHS = (("each pair once", PAIRS), ("three each", THREE), ("both ways", BOTH))
SIZES = {"each pair once": (10, 16, 25), "three each": (10, 16, 25, 50), "both ways": (10, 16, 25, 50)}
DEADLINE = 300
SPAN = 20  # seconds over which processor time is counted
KEPT = ("rsa_key.priv", "rsa_key.pub", "ed25519_key.priv", "ed25519_key.pub")


def run(report, arguments):
    """The part `graph`. Keys are made once: what is compared is the tunnels."""
    for nodes in (10, 16, 25, 50):
        for name, text in GRAPHS:
            if nodes in SIZES[name]:
                try:
                    _measure(report, nodes, name, text, arguments.runs)
                except LabTimeout as error:
                    if text != BOTH:
                        raise
                    report.say(f"graph: {nodes} routers, {name}, did not get there: {error}")
    found = report.values["graph"]
    for nodes, ours in ((10, "each pair once"), (25, "three each"), (50, "three each")):
        for figure, unit in (("", "s"), (", nine in ten", "s"), (", CPU of a tincd", "s")):
            what = figure or ", all sessions"
            this, other = (found.get(f"{nodes}, {name}{figure}") for name in (ours, "both ways"))
            if other:
                report.beside(f"{nodes} routers{what}: {ours}, and a ConnectTo from both ends", this, other, unit)


def _measure(report, nodes, name, text, runs):
    report.say(f"graph: {nodes} routers, {name}, {runs} times")
    numbers = list(range(1, nodes + 1))
    times, nineties, used, private, resident, agents = [], [], [], [], [], []
    with Mesh("bench", nodes, graph=text) as mesh:
        # The first start makes the keys and is not counted.
        for turn in range(runs + 1):
            if turn:
                mesh.end(numbers, keep=KEPT)
                mesh.forget()
            begun = mesh.begin(numbers)
            settled = mesh.settle(numbers, begun, DEADLINE)
            if not turn:
                continue
            times.append(settled.all)
            nineties.append(settled.ninety)
            report.say(f"{nodes}, {name}: {settled.all:.2f} s, nine in ten after {settled.ninety:.2f} s")
            time.sleep(max(0, SPAN - (time.monotonic() - begun)))
            pids = [mesh.pid(number, "tincd") for number in numbers]
            used.append(middle([outside.cpu(pid) for pid in pids]))
            private.append(middle([outside.memory(pid)[0] for pid in pids]))
            resident.append(middle([outside.memory(pid)[1] for pid in pids]))
            agents.append(middle([outside.memory(mesh.pid(number, "agent"))[0] for number in numbers]))
    note = "of " + ", ".join(f"{value:.2f}" for value in times)
    name = f"{nodes}, {name}"
    report.add("graph", name, middle(times), "s", note=note)
    report.add("graph", name + ", nine in ten", middle(nineties), "s")
    report.add("graph", name + ", CPU of a tincd", middle(used), "s", note=f"in the first {SPAN} s", digits=3)
    report.add("graph", name + ", private memory of a tincd", middle(private), "kB", digits=0)
    report.add("graph", name + ", resident memory of a tincd", middle(resident), "kB", digits=0)
    report.add("graph", name + ", private memory of an agent", middle(agents), "kB", digits=0)
