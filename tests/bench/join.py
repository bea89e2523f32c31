"""A router that joins a mesh of ten: from its agent's start to Established with all."""

import random
import time

from .mesh import Mesh, middle

MESH = 10
LIMIT = 2.5


def run(report, arguments):
    """The part `join`."""
    runs = max(3, arguments.runs)
    report.say(f"join: a router joins {MESH} others, {runs} times")
    took, first, hands = [], [], []
    everybody = list(range(1, MESH + 2))
    *old, new = everybody
    with Mesh("bench", MESH + 1) as mesh:
        begun = mesh.begin(old)
        mesh.settle(old, begun, 120)
        for turn in range(runs):
            if turn:
                mesh.bus[new].call("bgpmesh", "leave")
                mesh.wait(lambda: all(_sessions(mesh, n) == MESH - 1 for n in old), 60, "the others to see it go")
                mesh.end([new])
            # A member that nobody has met before: of one of the same name tincd remembers other keys.
            mesh.router(new).set("node", f"new{turn}" if turn < runs - 1 else None)
            # The others poll quickly for a while after a change; a join comes unannounced.
            time.sleep(random.uniform(8, 18))
            begun = mesh.begin([new])
            met = []

            def look(now, met=met):
                if not met and mesh.router(new).established():
                    met.append(now)

            took.append(mesh.settle(everybody, begun, 120, look=look).all)
            first += met[:1]
            report.say(f"join: {took[-1]:.2f} s, its first session after {first[-1]:.2f} s")
        files = mesh.take_files()
        mesh.end(everybody, keep=("rsa_key.priv", "ed25519_key.priv"))
        mesh.put_files(files)
        begun = mesh.set_services({number: files[number][1] for number in old})
        mesh.settle(old, begun, 120)
        for turn in range(runs):
            if turn:
                for name in files[new][1]:
                    mesh.bus[new].call("service", "delete", {"name": name})
                mesh.wait(lambda: all(mesh.router(n).established() < MESH for n in old), 60, "it to be gone")
            begun = mesh.set_services({new: files[new][1]})
            hands.append(mesh.settle(everybody, begun, 60).all)
    note = "of " + ", ".join(f"{value:.2f}" for value in took)
    report.add("join", "Established with all", middle(took), "s", LIMIT, note)
    report.add("join", "first session", middle(first), "s")
    note = "of %s; the others knew it already" % ", ".join(f"{value:.2f}" for value in hands)
    report.add("join", "by hand", middle(hands), "s", note=note)


def _sessions(mesh, number):
    return mesh.router(number).bird("show protocols").count(" BGP ")
