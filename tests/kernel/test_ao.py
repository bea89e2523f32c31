"""TCP-AO (RFC 5925) on a kernel that has it: BIRD 2 and 3 with what is rendered for them, beside sessions with MD5."""

import json
import platform
from pathlib import Path

import pytest
from example import OTHER_SECRET, SECRET, member, options
from kernel.guest import Guest
from lab import root

from bgpmesh import secret
from bgpmesh.bird import render
from bgpmesh.roster import Seat
from bgpmesh.tinc import graph

HERE = Path(__file__).parent
WAIT = 300  # seconds, for what takes ten on a machine with nothing else to do
BIRD = {"alfa": 3, "bravo": 2, "carol": 3, "dora": 3}
# What is said of a router: whether it can have TCP-AO, and its secret.
STAGES = {
    "mixed": {"alfa": (True, SECRET), "bravo": (True, SECRET), "carol": (False, SECRET), "dora": (True, OTHER_SECRET)},
    "all": {node: (True, SECRET) for node in BIRD},
    "changed": {node: (True, SECRET if node == "dora" else OTHER_SECRET) for node in BIRD},
}
# pair -> how its session is authenticated, of those that have one in the end
SESSIONS = {
    "mixed": {("alfa", "bravo"): "ao", ("alfa", "carol"): "other", ("bravo", "carol"): "other"},
    "all": {(node, other): "ao" for node in BIRD for other in BIRD if node < other},
    "changed": {("alfa", "bravo"): "ao", ("alfa", "carol"): "ao", ("bravo", "carol"): "ao"},
}


def address(node):
    return "10.0.0.%d" % (sorted(BIRD).index(node) + 1)


def conf(node, stage):
    """A router's bird.conf."""
    routers = {}
    for number, (name, (ao, own)) in enumerate(sorted(stage.items()), 1):
        routers[name] = member(name, number, ao=ao, secrets=secret.names([own]))
    me = routers.pop(node)
    # BFD takes no part in this, and a machine that stands still for a second would end sessions by it.
    config = options("option secret '%s'" % stage[node][1], "option bfd_interval '0'", node=node)
    return "".join(render.conf(config, me, me.prefixes, [Seat(one, one.prefixes) for one in routers.values()]))


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    """The routers, with what sessions there are at stage `mixed`."""
    if platform.machine() != "x86_64":
        pytest.skip("the kernel is one for x86-64, and the roots are not")
    roots = root.build()
    routers = [{"node": node, "address": address(node), "interface": "tinc0", "bird": BIRD[node]} for node in BIRD]
    files = {
        "mesh.py": HERE / "mesh.py",
        "mesh.json": json.dumps({"stage": "mixed", "routers": routers}).encode(),
        "usr/lib/micropython/bgpmesh": HERE.parents[1] / "src" / "bgpmesh",
    }
    for name, stage in STAGES.items():
        files.update({f"{name}/{node}.conf": conf(node, stage).encode() for node in BIRD})
    programs = {f"bird-{number}/bird": roots[f"bird-{number}"] / "usr/sbin/bird" for number in (2, 3)}
    with Guest(tmp_path_factory.mktemp("guest"), ["micropython", "/mesh.py"], files, programs) as guest:
        reached(guest, "mixed")
        yield guest


def reached(guest, stage):
    """What is seen when the sessions of a stage are there, and no other ones."""
    return guest.until(lambda seen: seen["stage"] == stage and settled(seen), WAIT, f"the sessions of stage {stage}")


def settled(seen):
    """Whether both ends see the stage's sessions, and each router has its peers' routes, and no other."""
    for node, router in seen["routers"].items():
        pairs = SESSIONS[seen["stage"]].items()
        peers = {other: how for pair, how in pairs if node in pair for other in pair if other != node}
        routes = {"192.168.%s.0/24" % address(other)[-1]: address(other) for other in peers}
        if sessions(router) != peers or router["routes"] != routes:
            return False
    return True


def sessions(router):
    """peer -> "ao" or "other": how a router's sessions that are established are authenticated."""
    found = {}
    for peer, (state, good) in router.get("sessions", {}).items():
        if state == "Established":
            found[peer] = "other" if good is None else "ao" if good else "no packet by TCP-AO"
    return found


def asked(node, other):
    """Which of two is asked for a session by the other one."""
    return other if graph.leads(node, other) else node


def count(seen, node, name):
    """A counter of a router's kernel."""
    return seen["routers"][node].get("tcp", {}).get(name, 0)


def knocked(guest):
    """What is seen after all have connected to all, without any authentication."""
    guest.tell("knock")
    return guest.until(lambda seen: seen["answered"] is not None, WAIT, "an end of connecting")


def test_where_both_can_sessions_have_tcp_ao_and_all_others_md5(guest):
    seen = guest.last()
    assert settled(seen)
    assert [router["ao"] for router in seen["routers"].values()] == ["True"] * 4  # of BIRD 2 and 3, on MicroPython
    for node in BIRD:
        assert (count(seen, node, "TCPAOGood") > 0) == (node in ("alfa", "bravo"))


def test_with_another_secret_there_is_no_session(guest):
    # Between those that can, it is asked for by TCP-AO as well.
    wrong = {("alfa", "dora"): "TCPAOBad", ("bravo", "dora"): "TCPAOBad", ("carol", "dora"): "TCPMD5Failure"}
    seen = guest.until(
        lambda seen: all(count(seen, asked(*pair), name) for pair, name in wrong.items()), WAIT, "wrong signatures"
    )
    assert settled(seen)


def test_without_authentication_nobody_is_answered(guest):
    seen = knocked(guest)
    assert seen["answered"] == []
    for node in BIRD:
        assert (count(seen, node, "TCPAORequired") > 0) == (node != "carol")
        assert count(seen, node, "TCPMD5NotFound")


def test_sessions_begin_anew_when_both_can(guest):
    # Carol can have TCP-AO now, and dora has been given the secret. No BIRD is started again.
    guest.tell("all")
    reached(guest, "all")
    seen = knocked(guest)
    assert seen["answered"] == [] and count(seen, "carol", "TCPAORequired")


def test_sessions_begin_anew_when_the_secret_changes(guest):
    # It is the new key that is used: dora, who has the old one, is left without a session.
    guest.tell("changed")
    reached(guest, "changed")
