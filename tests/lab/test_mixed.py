"""One mesh of everything: both runtimes, tinc 1.0 and 1.1, BIRD 2 and 3, two routers behind NAT, and a secret."""

import json
import re

import pytest

from lab.mesh import (
    RUN,
    SOON,
    clear,
    delete,
    forgets,
    get,
    grep,
    has_route,
    knows,
    named,
    problems,
    put,
    reaches,
    sessions,
    settled,
    told,
    undisturbed,
)

SECRET = "correct horse battery staple"
KINDS = {
    1: {"runtime": "micropython", "tinc": "1.1", "bird": "3"},
    2: {"runtime": "python3", "tinc": "1.0", "bird": "2"},
    3: {"runtime": "micropython", "tinc": "1.1", "bird": "2", "nat": True},
    4: {"runtime": "python3", "tinc": "1.0", "bird": "3", "nat": True},
    5: {"runtime": "micropython", "tinc": "1.0", "bird": "3"},
    6: {"runtime": "python3", "tinc": "1.1", "bird": "3"},
}
# r6 is the one that does not know the secret.
LAB = {"nodes": 6, "each": KINDS, "boot": range(1, 6), "options": {"poll_interval": "2", "secret": SECRET}}


@pytest.fixture(autouse=True)
def whole(lab):
    if lab.router(6).running:
        lab.router(6).stop()
        delete(lab, "/peers/r6", "/alive/r6")
    settled(lab)


def test_every_lan_reaches_every_other_one_whatever_its_router_runs(lab):
    routers = lab.routers[:5]
    for router in routers:
        kind = KINDS[router.number]
        status = router.status()
        assert (status["runtime"], status["tinc"]["version"]) == (kind["runtime"], kind["tinc"])
        assert status["bird"]["version"].startswith(kind["bird"])
        assert len(sessions(router)) == 4
        for other in routers:
            if other is not router:
                reaches(lab, router, other)


def test_two_members_behind_nat_reach_each_other_though_nobody_can_dial_them(lab):
    three, four = lab.router(3), lab.router(4)
    for one, other in ((three, four), (four, three)):
        (row,) = [peer for peer in one.peers() if peer["node"] == other.name]
        assert (row["endpoint"], row["bgp"], row["problem"]) == ("", "Established", "")
        assert row["tinc"] in ("direct", "indirect")
        reaches(lab, one, other)
    assert "Address" not in three.read(f"{RUN}/tinc/hosts/r4")


def test_records_are_signed_and_sessions_authenticated(lab):
    one, two = lab.router(1), lab.router(2)
    for router in lab.routers[:5]:
        assert re.search(r',"sig":"hmac-sha256:[0-9a-f]{64}"}$', get(lab, f"/peers/{router.name}"))
    address = two.status()["address"]
    dial = f"import socket; socket.create_connection(('{address}', 179), 2)"
    # Without the pair's password the kernel does not even answer (RFC 2385).
    plain = one.exec(["python3", "-c", dial], check=False)
    assert "TimeoutError" in plain.stdout
    # The secret itself is in no file but the owner's, and on no command line.
    assert grep(one, SECRET, RUN) == []
    assert SECRET not in one.log() + one.bgpmesh("status", "-j").stdout + str(one.processes())


def test_who_does_not_know_the_secret_is_refused_by_name_and_nobody_else_suffers(lab):
    six, others = lab.router(6), lab.routers[:5]
    for secret, words in ((None, "not signed, and this network has a secret"), ("x" * 16, "the signature is wrong")):
        with undisturbed(lab):
            six.options.pop("secret", None)
            if secret:
                six.options["secret"] = secret
            six.start()
            for router in others:
                told(lab, router, "bad_record", "member 'r6' is left out", words)
                assert named(router, "r6", RUN) == []
            assert sessions(six) == {}
            # Not even its tunnel: a member knows the keys of members only.
            assert six.status()["tinc"]["reachable"] == 0
            assert not others[0].ping(six.lan)
            assert six.bgpmesh("leave").returncode == 0
            six.stop()
            for router in others:
                clear(lab, router)
    with undisturbed(lab):
        six.options["secret"] = SECRET
        six.start()
        for router in others:
            knows(lab, router, "r6")
        settled(lab)
        reaches(lab, six, others[3])
        assert six.bgpmesh("leave").returncode == 0
        six.stop()
        for router in others:
            forgets(lab, router, "r6")


def test_a_record_changed_or_replayed_by_somebody_without_the_secret_changes_nothing(lab):
    one, two = lab.router(1), lab.router(2)
    old = get(lab, "/peers/r1")
    with undisturbed(lab, but=[one]):
        one.set("prefix", "172.24.0.0/24")
        has_route(lab, two, "172.24.0.0/24")
        # Its owner mends what is not its own word, and meanwhile nobody believes it.
        for forged in (old, get(lab, "/peers/r1").replace("172.24.0", "172.25.0")):
            put(lab, "/peers/r1", forged)
            lab.wait(lambda: "172.24.0.0/24" in get(lab, "/peers/r1"), SOON, "r1 to mend it")
            for router in lab.routers[1:5]:
                clear(lab, router)
                assert "172.25.0.0/24" not in router.routes()
        lab.wait(lambda: not problems(two), SOON, "r2 to believe r1 again")
        has_route(lab, two, "172.24.0.0/24")
        one.set("prefix", None)
        has_route(lab, two, "172.24.0.0/24", gone=True)
    assert json.loads(get(lab, "/peers/r1"))["serial"] > json.loads(old)["serial"]
    lab.wait(lambda: not problems(two), SOON, "nothing to be wrong")
