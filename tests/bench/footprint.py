"""What it takes to have the agent and to leave it alone: flash, the start, wake-ups, writes at rest."""

import time

from lab import packages, root

from bgpmesh import cache

from . import memory, outside
from .mesh import Mesh, built, middle

NODES = 3
INSTALLED, TOGETHER = 250, 1000  # kB, the second with MicroPython
PEAK = 4608  # kB
FASTER = 1  # a start with bytecode to one with sources
WAKEUPS = 60  # a minute


def run(report, arguments):
    """The part `footprint`."""
    _flash(report, built())
    with Mesh("bench-mpy", 1) as bytecode, Mesh("bench-src", 1, installed=None) as sources:
        _starts(report, bytecode, sources)
    with Mesh("bench", NODES) as mesh:
        _rest(report, mesh, arguments.idle)


def _flash(report, installed):
    sizes = {}
    for path in sorted(installed.glob("*.ipk")):
        name = path.name.split("_")[0]
        sizes[name] = packages.size(path) / 1000
        limit = INSTALLED if name == "bgpmesh" else None
        note = f"packed {path.stat().st_size / 1000:.0f} kB"
        report.add("footprint", f"installed, {name}", sizes[name], "kB", limit, note, 0)
    micropython = (root.build()["base"] / "usr/bin/micropython").stat().st_size / 1000
    report.add("footprint", "bgpmesh and MicroPython", sizes["bgpmesh"] + micropython, "kB", TOGETHER, digits=0)


def _starts(report, bytecode, sources):
    """Start to the first request, turn by turn, with 50 members on flash."""
    for mesh in (bytecode, sources):
        memory.put_members(mesh)
        mesh.begin([1])
    for mesh in (bytecode, sources):
        mesh.wait(lambda mesh=mesh: _kept(mesh) >= memory.MEMBERS - 1, 120, "all members to be on flash", 0.2)
    took, peaks = {bytecode: [], sources: []}, {bytecode: [], sources: []}
    for mesh in (bytecode, sources) * 3:
        for milliseconds, peak in memory.first_requests(mesh, 3):
            took[mesh].append(milliseconds)
            peaks[mesh].append(peak)
    for name, mesh in (("as installed", bytecode), ("from sources", sources)):
        note = "of " + ", ".join(f"{value:.0f}" for value in sorted(took[mesh]))
        report.add("footprint", f"start to first etcd request, {name}", middle(took[mesh]), "ms", None, note, 0)
        limit = PEAK if mesh is bytecode else None
        report.add("footprint", f"peak resident until then, {name}", middle(peaks[mesh]), "kB", limit, "VmHWM", 0)
    ratio = middle(took[bytecode]) / middle(took[sources])
    report.add("footprint", "start, as installed to from sources", ratio, limit=FASTER)


def _kept(mesh):
    """How many members router 1 has on flash."""
    path = mesh.router(1).path(cache.PATH)
    return path.read_text().count("BEGIN RSA") if path.exists() else 0


def _rest(report, mesh, seconds):
    """Wake-ups and writes to flash of a converged mesh that is left alone."""
    numbers = list(range(1, NODES + 1))
    mesh.settle(numbers, mesh.begin(numbers), 120)
    mesh.wait(lambda: not _changes(mesh, 20), 120, "files to rest", 0)
    pids = {name: [mesh.pid(number, name) for number in numbers] for name in ("agent", "tincd", "bird")}
    before = {pid: outside.wakeups(pid) for found in pids.values() for pid in found}
    report.say(f"footprint: at rest for {seconds:.0f} s")
    changed = _changes(mesh, seconds)
    for name, found in pids.items():
        each = [(outside.wakeups(pid) - before[pid]) * 60 / seconds for pid in found]
        limit = WAKEUPS if name == "agent" else None
        report.add("footprint", f"wake-ups a minute, {name}", middle(each), "", limit, f"over {seconds:.0f} s", 0)
    note = " ".join(changed[:4])
    report.add("footprint", "files on flash touched at rest", len(changed), limit=0, note=note, digits=0)


def _changes(mesh, seconds):
    """The files and folders on the routers' flash that are touched within some seconds."""
    before = outside.flash(mesh.routers)
    time.sleep(seconds)
    return sorted({name for name, _ in set(before.items()) ^ set(outside.flash(mesh.routers).items())})
