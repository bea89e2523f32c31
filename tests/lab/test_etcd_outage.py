"""A mesh whose etcd is away, slow, wrong, wiped or put back: routes and sessions stay."""

import contextlib
import shutil
import subprocess
import time

import pytest

from lab import netns
from lab.etcd import ETCD_ADDRESS, ETCD_URL
from lab.mesh import (
    SOON,
    agent,
    answer,
    clear,
    delete,
    end_lease,
    has_route,
    keys,
    knows,
    problems,
    put,
    reaches,
    rss_kb,
    sessions,
    settled,
    stranger,
    sync,
    told,
    undisturbed,
)

DEAD = "http://198.18.255.250:2379"  # nobody there
# A poll every two seconds; the first server of r2's list does not exist.
LAB = {"nodes": 4, "options": {"poll_interval": "2"}, "each": {2: {"options": {"etcd": [DEAD, ETCD_URL]}}}}


@pytest.fixture(autouse=True)
def whole(lab):
    if not lab.etcd.running:
        lab.etcd.start()
    settled(lab)


@contextlib.contextmanager
def impostor(lab, kind):
    """Something else at etcd's address and port."""
    argv = ["ip", "netns", "exec", lab.etcd.netns, "python3", "-c", IMPOSTOR, kind]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=netns.ENV, text=True) as process:
        try:
            assert process.stdout.readline() == "listening\n"
            yield
        finally:
            process.kill()


# Answers every request in one way; "slow" hands all on to the etcd at 127.0.0.1, and holds it up both ways.
IMPOSTOR = """
import socket, sys, threading, time
kind = sys.argv[1]
listener = socket.create_server(("198.18.255.1", 2379), backlog=64)
print("listening", flush=True)
HEAD = "HTTP/1.1 %s\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n%s"
ANSWERS = {
    "errors": HEAD % ("500 Internal Server Error", 16, '{"error": "oh"}\\n'),
    "half": HEAD % ("200 OK", 500, '{"header":{"cluster_id":"1","member_id":"2","revision":"99999'),
    "ssh": "SSH-2.0-OpenSSH_9.2p1 Debian-2\\r\\n",
    "website": HEAD % ("404 Not Found", 34, "<html><h1>It works!</h1></html>\\r\\n\\r"),
    "silence": "",
    "flood": "x" * 65536,
}
def pump(source, target):
    try:
        while data := source.recv(65536):
            time.sleep(0.7)
            target.sendall(data)
    except OSError:
        pass
    finally:
        source.close()
        target.close()
def serve(client):
    if kind == "slow":
        server = socket.create_connection(("127.0.0.1", 2379))
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        return pump(client, server)
    try:
        while True:
            if kind != "ssh" and not client.recv(65536):
                return
            if kind == "silence":
                continue
            if kind == "flood":
                for _ in range(1000):
                    client.sendall(ANSWERS[kind].encode())
            client.sendall(ANSWERS[kind].encode())
            if kind in ("half", "ssh", "flood"):
                return
    except OSError:
        pass
    finally:
        client.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def test_of_several_servers_a_dead_one_is_passed_over(lab):
    two = lab.router(2)
    assert two.status()["etcd"]["endpoint"] == ETCD_URL
    check = two.bgpmesh("check").stdout
    assert "198.18.255.250" in check and "4 members" in check


def test_an_outage_is_said_and_nothing_else_happens(lab):
    one = lab.router(1)
    pids = {router: agent(router) for router in lab.routers}
    with undisturbed(lab):
        began = time.monotonic()
        lab.etcd.stop()
        for router in lab.routers:
            told(lab, router, "etcd_unreachable", ETCD_ADDRESS, "refused")
        before = {router: rss_kb(pid) for router, pid in pids.items()}
        status = one.status()
        assert (status["state"], status["etcd"]["reachable"]) == ("degraded", False)
        shown = one.bgpmesh("status")
        assert shown.returncode == 4 and "not reachable" in shown.stdout
        check = one.bgpmesh("check")
        assert check.returncode == 1 and "BAD   etcd" in check.stdout
        # For how long, as far as a person can see it, and how often it was tried.
        lab.wait(lambda: one.status()["etcd"]["failures"] > 5, SOON, "the sixth failure", 0.5)
        lab.wait(lambda: one.status()["problems"][0]["since"] >= 4, SOON, "the problem to be 4 s old", 0.5)
        status = one.status()
        (problem,) = status["problems"]
        # The last answer was no earlier than a poll before the outage.
        assert problem["since"] - 1 <= status["etcd"]["age"] <= time.monotonic() - began + 4
        reaches(lab, one, lab.router(3))
        # Whoever asks again and again does not make it grow.
        for router in lab.routers:
            for _ in range(10):
                router.bgpmesh("sync")
            assert rss_kb(pids[router]) <= before[router] + 64
        lab.etcd.start()
        for router in lab.routers:
            clear(lab, router)
            assert agent(router) == pids[router]


def test_a_reboot_during_an_outage_comes_up_from_what_is_on_flash(lab):
    three = lab.router(3)
    lab.wait(lambda: three.read("/etc/bgpmesh/members").count('"node"') == 4, 2 * SOON, "the cache to be written", 0.5)
    address = three.status()["address"]
    with undisturbed(lab, but=[three]):
        lab.etcd.stop()
        three.reboot()
        lab.wait(lambda: len(sessions(three)) == 3, SOON, "its sessions, without etcd")
        reaches(lab, three, lab.router(1))
        status = three.status()
        assert (status["address"], status["etcd"]["age"]) == (address, -1)
        told(lab, three, "etcd_unreachable")
        three_sessions = sessions(three)
        lab.etcd.start()
        for router in lab.routers:
            clear(lab, router)
        assert sessions(three) == three_sessions


def test_a_leave_that_etcd_cannot_be_told_of_stops_nothing(lab):
    four = lab.router(4)
    with undisturbed(lab):
        lab.etcd.stop()
        left = four.bgpmesh("leave", timeout=40)
        assert left.returncode == 1 and ETCD_ADDRESS in left.stdout
        assert len(sessions(four)) == 3
        lab.etcd.start()
        for router in lab.routers:
            clear(lab, router)


# What is there, and words of what is said about it.
IMPOSTORS = {
    "errors": ("500",),
    "half": ("in the middle of an answer",),
    "ssh": ("not HTTP", "SSH-2.0"),
    "website": ("is not etcd", "404"),
    "silence": ("did not answer",),
    "flood": ("not HTTP",),
}


def test_whatever_else_answers_on_etcds_port_is_named_and_does_no_harm(lab):
    with undisturbed(lab):
        before = {router: rss_kb(agent(router)) for router in lab.routers}
        lab.etcd.stop()
        for kind, words in IMPOSTORS.items():
            with impostor(lab, kind):
                sync(lab)
                for router in lab.routers:
                    told(lab, router, "etcd_unreachable", *words)
                    assert rss_kb(agent(router)) <= before[router] + 300
        reaches(lab, lab.router(1), lab.router(3))
        lab.etcd.start()
        for router in lab.routers:
            clear(lab, router)


def test_a_slow_etcd_makes_nothing_fail(lab):
    one = lab.router(1)
    listen = "--listen-client-urls=http://127.0.0.1:2379"
    with undisturbed(lab):
        lab.etcd.stop()
        lab.etcd.args.append(listen)
        try:
            lab.etcd.start()
            with impostor(lab, "slow"):
                for router in lab.routers:
                    clear(lab, router)
                put(lab, "/peers/slow", stranger(70))
                for router in lab.routers:
                    knows(lab, router, "slow")
                assert one.status()["etcd"]["reachable"]
                assert "etcd_unreachable" not in [code for code, _, _ in problems(one)]
                # Whoever asks the agent is answered at once all the same.
                for _ in range(20):
                    assert answer(one)["etcd"]["reachable"]
        finally:
            lab.etcd.args.remove(listen)
            lab.etcd.stop()
            lab.etcd.start()
        delete(lab, "/peers/slow")


def test_an_outage_longer_than_all_leases_makes_nobody_leave(lab):
    one = lab.router(1)
    with undisturbed(lab):
        # The server lives on without hearing of anybody.
        lab.etcd.link_down()
        told(lab, one, "etcd_unreachable")
        for router in lab.routers:
            end_lease(lab, router)
        assert not [key for key in keys(lab) if key.startswith("/alive/")]
        lab.etcd.link_up()
        alive = {f"/alive/{router.name}" for router in lab.routers}
        lab.wait(lambda: alive <= set(keys(lab)), SOON, "all to be alive again", 0.3)
        for router in lab.routers:
            clear(lab, router)


def test_a_wiped_store_is_filled_again_by_its_members(lab):
    addresses = {router.name: router.status()["address"] for router in lab.routers}
    wanted = {f"/claims/{address}" for address in addresses.values()}
    wanted |= {f"/{table}/{name}" for table in ("peers", "alive") for name in addresses}
    # One that is away stays away, and is not made a problem.
    put(lab, "/peers/away", stranger(72))
    for router in lab.routers:
        knows(lab, router, "away")
    with undisturbed(lab):
        lab.etcd.wipe()
        lab.wait(lambda: set(keys(lab)) == wanted, SOON, "records, claims and signs of life to be back", 0.3)
        for router in lab.routers:
            clear(lab, router)
        assert {router.name: router.status()["address"] for router in lab.routers} == addresses
    assert {key: value for key, value in keys(lab).items() if "/claims/" in key} == {
        f"/claims/{address}": name for name, address in addresses.items()
    }


def test_a_store_put_back_from_an_old_snapshot_is_brought_up_to_date(lab):
    one = lab.router(1)
    put(lab, "/peers/bygone", stranger(71))
    lab.etcdctl(["snapshot", "save", "/etc/snapshot"])
    lab.etcd.exec(["etcdutl", "snapshot", "restore", "/etc/snapshot", "--data-dir=/etc/restored", "--name=lab",
                   "--initial-cluster=lab=http://localhost:2380"])
    delete(lab, "/peers/bygone")
    with undisturbed(lab):
        one.set("prefix", "172.23.0.0/24")
        has_route(lab, lab.router(2), "172.23.0.0/24")
        lab.etcd.stop()
        data = lab.etcd.dir / "upper" / "etc"
        shutil.rmtree(data / "etcd")
        (data / "restored").rename(data / "etcd")
        lab.etcd.start()
        lab.wait(lambda: "172.23.0.0/24" in keys(lab)["/peers/r1"], SOON, "the owner to mend its record", 0.3)
        knows(lab, lab.router(2), "bygone")
        delete(lab, "/peers/bygone")
        for router in lab.routers:
            clear(lab, router)
        has_route(lab, lab.router(2), "172.23.0.0/24")
        one.set("prefix", None)
        has_route(lab, lab.router(2), "172.23.0.0/24", gone=True)
