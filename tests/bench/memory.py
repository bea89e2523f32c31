"""What the agent takes of a small router: memory with 50 members, processor time when nothing happens."""

import base64
import json
import os
import socket
import time

from . import outside
from .mesh import Mesh, middle
from .scale import Etcd

MEMBERS = 50
POLLS = 10_000
PRIVATE, RESIDENT, GROWTH = 1024, 4096, 32  # kB
FIRST_REQUEST = 100  # ms
IDLE = 0.1  # % of a processor


def run(report, arguments):
    """The part `memory`."""
    with Mesh("bench", 1) as crowd, Mesh("bench-py", 1, "python3") as crowd_py, Mesh("bench-five", 5) as five:
        report.say(f"memory: a router with {MEMBERS - 1} members put into etcd by hand, twice; a mesh of 5")
        for mesh in (crowd, crowd_py):
            put_members(mesh)
            begun = mesh.begin([1])
            mesh.wait(lambda mesh=mesh: known(mesh) == MEMBERS - 1, 60, "all members to be planned for", 0.2)
        five_numbers = list(range(1, 6))
        begun = five.begin(five_numbers)
        five.settle(five_numbers, begun, 120)
        report.say("memory: 30 s, until what a start makes more frequent has calmed down")
        time.sleep(30)
        for mesh, runtime in ((crowd, "micropython"), (crowd_py, "python3")):
            # Members that are online and cannot be reached: the agent looks more often then.
            name = f"50 members in trouble, {runtime}"
            _idle(report, min(30, arguments.idle), {name: (mesh, "agent")}, None)
            mesh.etcdctl(["del", "--prefix", "/alive/r"])
        for mesh in (crowd, crowd_py):
            mesh.wait(lambda mesh=mesh: _status(mesh).get("state") == "converged", 60, "all members to be offline", 1)
        time.sleep(30)
        _idle(
            report,
            arguments.idle,
            {
                "50 members, micropython": (crowd, "agent"),
                "50 members, python3": (crowd_py, "agent"),
                "mesh of 5, micropython": (five, "agent"),
                "mesh of 5, a tincd": (five, "tincd"),
                "mesh of 5, a bird": (five, "bird"),
            },
            IDLE,
        )
        with Etcd() as etcd, etcd.watched() as watcher:
            time.sleep(10)  # until it has been told that it watches
            ours, theirs = outside.memory(crowd.pid(1, "agent"))[0], outside.memory(watcher.pid)[0]
        report.add("memory", "private, `etcdctl watch`", theirs, "kB", note="a program in Go", digits=0)
        report.beside(
            f"private memory: the agent of a mesh of {MEMBERS}, and `etcdctl watch`, which does nothing but watch",
            ours, theirs, "kB",
        )  # fmt: skip
        for mesh, runtime in ((crowd, "micropython"), (crowd_py, "python3")):
            _memory(report, mesh, runtime)
        for mesh, runtime in ((crowd, "micropython"), (crowd_py, "python3")):
            _first_request(report, mesh, runtime)


def put_members(mesh):
    """49 records as the agents write them, with keys of their own, all of them alive."""
    lines = []
    for number in range(2, MEMBERS + 1):
        body = base64.b64encode(os.urandom(270)).decode()
        pem = [body[at : at + 64] for at in range(0, len(body), 64)]
        rsa = "\n".join(["-----BEGIN RSA PUBLIC KEY-----", *pem, "-----END RSA PUBLIC KEY-----"])
        record = {
            "ip": f"10.0.0.{number}",
            "ip6": f"fd00:99::{number:x}",
            "key": rsa,
            "ed25519": base64.b64encode(os.urandom(33)).decode()[:43],
            "endpoint": f"198.18.1.{number}:655",
            "asn": 65000,
            "router_id": f"10.0.0.{number}",
            "prefixes": [f"192.168.{number}.0/24", f"fd00:{number:x}::/64"],
            "serial": 1,
            "version": "0.1.0",
        }
        lines += [
            ("peers/r%d" % number, json.dumps(record, separators=(",", ":"))),
            ("claims/10.0.0.%d" % number, "r%d" % number),
            ("alive/r%d" % number, ""),
        ]
    for at in range(0, len(lines), 60):
        puts = "".join(f"put /{key} {json.dumps(value)}\n" for key, value in lines[at : at + 60])
        mesh.etcdctl(["txn"], input=f"\n{puts}\n\n")


def _status(mesh):
    try:
        return mesh.bus[1].call("bgpmesh", "status")
    except OSError:
        return {}  # not on the bus yet


def known(mesh):
    return _status(mesh).get("tinc", {}).get("known")


def _idle(report, seconds, whose, limit):
    """Processor time of name -> (mesh, program) at a poll every 10 s: the median of the mesh's routers."""
    report.say(f"memory: idle for {seconds:.0f} s")
    pids = {name: [mesh.pid(n, program) for n in range(1, mesh.nodes + 1)] for name, (mesh, program) in whose.items()}
    before = {pid: outside.cpu(pid) for found in pids.values() for pid in found}
    begun = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - begun
    for name, found in pids.items():
        percent = middle([100 * (outside.cpu(pid) - before[pid]) / took for pid in found])
        asked = limit if name.endswith("micropython") else None
        report.add("memory", f"idle CPU, {name}", percent, "%", asked, f"over {took:.0f} s", digits=3)


def _memory(report, mesh, runtime):
    private, resident, growth = (PRIVATE, RESIDENT, GROWTH) if runtime == "micropython" else (None, None, None)
    pid = mesh.pid(1, "agent")
    at_rest = outside.memory(pid)
    state = _status(mesh)["state"]
    report.add("memory", f"private, {runtime}", at_rest[0], "kB", private, f"RssAnon, {state}", 0)
    report.add("memory", f"resident, {runtime}", at_rest[1], "kB", resident, "VmRSS", 0)
    before = outside.etcd_requests(mesh)
    flash = outside.flash(mesh.routers)
    used = outside.cpu(pid)
    marks = []
    begun = time.monotonic()
    while len(marks) < 10:
        # A tenth more transactions than polls: every sixtieth poll compares all keys, 16 at a time.
        end = before + (len(marks) + 1) * POLLS * 11 // 100
        while outside.etcd_requests(mesh) < end:
            for _ in range(100):
                mesh.bus[1].call("bgpmesh", "sync")
        marks.append(outside.memory(pid)[0])
        report.say(f"{runtime}: {len(marks) * POLLS // 10} polls, private {marks[-1]} kB")
    assert mesh.pid(1, "agent") == pid, "the agent was restarted"
    took = time.monotonic() - begun
    note = f"`sync` as fast as it goes, {took:.0f} s; each 1000: {' '.join(str(mark) for mark in marks)}"
    # Flat: what it grew by after it had got going.
    spent = 1000 * (outside.cpu(pid) - used) / (outside.etcd_requests(mesh) - before)
    report.add("memory", f"CPU of a poll, {runtime}", spent, "ms", note="`sync` and what it plans anew included")
    after = f"{POLLS} polls, {runtime}"
    report.add("memory", "growth over " + after, max(marks) - marks[1], "kB", growth, note, 0)
    report.add("memory", "private after " + after, marks[-1], "kB", private, digits=0)
    touched = sorted({name for name, _ in set(flash.items()) ^ set(outside.flash(mesh.routers).items())})
    note = "a day's polls; " + " ".join(touched[:4])
    report.add("memory", "files on flash touched by " + after, len(touched), "", 0, note, 0)
    report.add("memory", "resident after " + after, outside.memory(pid)[1], "kB", resident, digits=0)


def _first_request(report, mesh, runtime):
    """From `service set` to the first bytes of a request, keys and 50 members being on flash already."""
    took = [milliseconds for milliseconds, _ in first_requests(mesh, 9)]
    report.add(
        "memory",
        f"start to first etcd request, {runtime}",
        middle(took),
        "ms",
        FIRST_REQUEST if runtime == "micropython" else None,
        "of " + ", ".join(f"{value:.0f}" for value in sorted(took)),
        0,
    )


def first_requests(mesh, times):
    """Starts router 1 so many times; for each the milliseconds until its first request, and the peak memory in kB."""
    router = mesh.router(1)
    agent = router.service()["instances"]
    found = []
    with outside.socket_in(router) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 12379))
        server.listen()
        server.settimeout(20)
        if "bgpmesh" in mesh.bus[1].call("service", "list"):
            mesh.bus[1].call("service", "delete", {"name": "bgpmesh"})
            router.set("etcd", "http://127.0.0.1:12379")
        for _ in range(times):
            mesh.wait(lambda: "bgpmesh" not in mesh.bus[1].call("service", "list"), 20, "the agent to end")
            begun = mesh.set_services({1: {"bgpmesh": agent}})
            client, _ = server.accept()
            with client:
                client.settimeout(20)
                client.recv(1)
                took = 1000 * (time.monotonic() - begun)
                found.append((took, outside.peak(mesh.pid(1, "agent"))))
                mesh.bus[1].call("service", "delete", {"name": "bgpmesh"})
    return found
