"""A reload and polls that find nothing new must touch nothing."""

import json
import time

from . import outside
from .mesh import Mesh

NODES = 5


def run(report, arguments):
    """The part `noop`."""
    report.say("noop: a mesh of 5, then reloads and polls with nothing new")
    numbers = list(range(1, NODES + 1))
    with Mesh("bench", NODES) as mesh:
        mesh.settle(numbers, mesh.begin(numbers), 120)
        agents = [mesh.pid(number, "agent") for number in numbers]
        mesh.wait(lambda: _quiet(mesh, numbers), 90, "files and etcd to rest", 1)
        before = _seen(mesh, numbers)
        polls = outside.etcd_requests(mesh)
        for router in mesh.routers:
            router.reload()
        time.sleep(1)
        for number in numbers:
            mesh.bus[number].call("bgpmesh", "sync")
        # The reload, the sync and two polls of their own.
        enough = polls + 4 * NODES
        mesh.wait(lambda: outside.etcd_requests(mesh) >= enough, 60, "four polls of each router", 0.5)
        time.sleep(1)
        after = _seen(mesh, numbers)
        assert agents == [mesh.pid(number, "agent") for number in numbers], "an agent was restarted"
    files = sorted(set(before["files"].items()) ^ set(after["files"].items()))
    names = sorted({name for name, _ in files})
    size = sum(facts[-1] for name, facts in after["files"].items() if name in names and not name.endswith("/"))
    report.add("noop", "files touched", len(names), limit=0, note=" ".join(names[:4]), digits=0)
    report.add("noop", "bytes written", size, limit=0, digits=0)
    for what, note in (
        ("sessions", "Established since another time"),
        ("reloads", "bird's last reconfiguration, tincd's log"),
        ("daemons", "started anew"),
    ):
        report.add("noop", what, len(set(after[what]) - set(before[what])), limit=0, note=note, digits=0)
    report.add("noop", "writes to etcd", after["revision"] - before["revision"], limit=0, digits=0)


def _quiet(mesh, numbers):
    first = _seen(mesh, numbers)
    time.sleep(5)
    return first == _seen(mesh, numbers)


def _seen(mesh, numbers):
    """Everything that a no-op must leave alone."""
    found = {"files": {}, "sessions": [], "reloads": [], "daemons": []}
    for number in numbers:
        router = mesh.router(number)
        for folder in ("/etc/bgpmesh", "/tmp/run/bgpmesh"):
            base = router.path(folder)
            for path in [base, *base.rglob("*")]:
                facts = path.lstat()
                name = f"{router.name}:{folder}/{path.relative_to(base)}" + "/" * path.is_dir()
                found["files"][name] = (facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
        for line in router.bird("show protocols").splitlines():
            words = line[5:].split() if line[:4].isdigit() else line.split()
            if len(words) > 1 and words[1] == "BGP":
                found["sessions"].append((number, *words))
        for line in router.bird("show status").splitlines():
            if "Last reconfiguration" in line:
                found["reloads"].append((number, line))
        found["reloads"].append((number, router.log().count("Got 'reload' command")))
        found["daemons"] += [(number, pid) for name in ("tincd", "bird") for pid in router.pids(name)]
    found["revision"] = json.loads(mesh.etcdctl(["get", "/", "-w", "json"]).stdout)["header"]["revision"]
    return found
