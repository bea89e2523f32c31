"""Restarts that nobody notices: of the agent, of BIRD. And a router that takes its leave."""

import re
import signal

import pytest

from lab.mesh import (
    RUN,
    SOON,
    STATE,
    agent,
    clear,
    get,
    has_route,
    problems,
    reaches,
    routed,
    settled,
    told,
    undisturbed,
    without,
)
from lab.ping import pinging

LAB = {
    "nodes": 3,
    "options": {"poll_interval": "2", "secret": "sixteen or more characters"},
    "each": {3: {"bird": "2", "runtime": "python3"}},
}
AO = "/usr/lib/bgpmesh/bgpmesh/bird/ao.py"
STRAY = 2  # requests that a busy machine may lose without anybody's fault
each = pytest.mark.parametrize("number", [1, 3])  # a router of each kind


@pytest.fixture(autouse=True)
def whole(lab):
    meshed(lab)


def meshed(lab):
    """Wait until every two routers have a session, and a tunnel of their own: a third one carries nothing for them."""
    settled(lab)
    pairs = [["r1", "r2"], ["r1", "r3"], ["r2", "r3"]]
    for router in lab.routers:
        what = f"{router.name} to know of a tunnel between every two"
        lab.wait(lambda of=router: of.ubus_call("bgpmesh", "tunnels")["tunnels"] == pairs, SOON, what, 0.2)


def beginning_with(lab, number):
    """The routers, that one first."""
    return sorted(lab.routers, key=lambda router: router.number != number)


def restart_agent(lab, router):
    before = agent(router)
    router.kill("agent", signal.SIGTERM)
    lab.wait(lambda: router.pids("agent") not in ([], [before]), SOON, "procd to start it again")


def announcement(router, number):
    """What the router's BIRD shows of the route to the LAN of router `number`, in both families."""
    return "".join(
        router.bird(f"show route all {prefix} primary") for prefix in (f"192.168.{number}.0/24", f"fd00:{number}::/64")
    )


def preferences(router, number):
    return re.findall(r"local_pref: (\d+)", announcement(router, number))


def test_every_session_is_authenticated_by_what_both_ends_have(lab):
    # Of one kernel all can do the same: MD5, unless it was built with TCP-AO.
    for router in lab.routers:
        conf = router.read(RUN + "/bird.conf")
        able = sum('"auth":["ao"]' in get(lab, f"/peers/{name}") for name in ("r1", "r2", "r3"))
        found = (conf.count("\n\tpassword "), conf.count("\n\tauthentication ao;"))
        assert found == ((0, 2) if able == 3 else (2, 0)), conf


def test_who_alone_has_tcp_ao_goes_on_with_md5(lab):
    one, two, three = lab.routers
    kept = {router: router.read(AO) for router in lab.routers}  # "" where a package has it as bytecode
    try:
        for router in lab.routers:
            router.write(AO, f"async def usable():\n    return {router is one}\n")
            restart_agent(lab, router)
        one.set("prefix", "172.25.0.0/24")
        for router in (two, three):
            has_route(lab, router, "172.25.0.0/24")  # which is in the record that says what it can
        able = [router.name for router in lab.routers if '"auth":["ao"]' in get(lab, f"/peers/{router.name}")]
        assert able == ["r1"]
        settled(lab)
        for router in lab.routers:
            conf = router.read(RUN + "/bird.conf")
            assert (conf.count("\n\tpassword "), conf.count("\n\tauthentication md5;")) == (2, 2), conf
    finally:
        one.set("prefix", None)
        for router in lab.routers:
            if kept[router]:
                router.write(AO, kept[router])
            else:
                router.path(AO).unlink()
            restart_agent(lab, router)


def test_a_drained_router_is_the_last_resort_of_its_peers_until_it_is_over(lab):
    one, two, three = lab.routers
    with undisturbed(lab):
        assert one.ubus_call("bgpmesh", "drain") == {
            "drained": True, "told": ["r2", "r3"], "untold": [], "problem": "",
        }
        for router in (two, three):
            # At once: that they have it is what the answer says.
            assert preferences(router, 1) == ["0", "0"]
            assert announcement(router, 1).count("(65535,0)") == 2
            assert "(65535,0)" not in announcement(router, 5 - router.number)
        told(lab, one, "drained", "bgpmesh drain off")
        assert clear(lab, one)["state"] == "converged"
        # There is no other way, so that traffic still comes.
        reaches(lab, two, one)
        done = one.bgpmesh("drain")
        assert (done.returncode, "2 peers know it" in done.stdout) == (0, True)
        assert one.bgpmesh("drain", "off").returncode == 0
        for router in (two, three):
            lab.wait(lambda to=router: preferences(to, 1) == ["100", "100"], SOON, f"{router.name} to prefer it again")
            assert "(65535,0)" not in announcement(router, 1)
        assert problems(one) == []


@each
def test_the_agent_restarts_without_anybody_noticing(lab, number):
    one, two, three = beginning_with(lab, number)
    with undisturbed(lab), pinging((one, two), (three, one)) as found:
        restart_agent(lab, one)
        settled(lab)
    assert max(found.values()) <= STRAY, found


@each
def test_an_agent_that_is_told_to_end_keeps_what_it_has_just_heard(lab, number):
    one, two, _ = beginning_with(lab, number)
    for prefix in ("172.24.0.0/24", "172.24.1.0/24"):  # of two within a minute one was not written at once
        two.set("prefix", prefix)
        has_route(lab, one, prefix)
    restart_agent(lab, one)
    assert prefix in one.read(STATE + "/members")
    two.set("prefix", None)


@each
def test_bird_is_killed_and_no_packet_is_lost(lab, number):
    one, two, three = beginning_with(lab, number)
    with undisturbed(lab, but=[one]), pinging((one, two), (three, one)) as found:
        (before,) = one.pids("bird")
        two.set("prefix", "172.23.0.0/24")
        has_route(lab, one, "172.23.0.0/24")
        one.kill("bird")
        assert len(one.routes()) == 3
        # What is withdrawn meanwhile goes when the next BIRD has heard of it.
        two.set("prefix", None)
        lab.wait(lambda: one.pids("bird") not in ([], [before]), SOON, "procd to start it again")
        settled(lab)
        routed(lab, one, [two.network, three.network])
    assert max(found.values()) <= STRAY, found


def test_the_routes_of_a_bird_that_does_not_come_back_go_in_the_end(lab):
    one, two = lab.router(1), lab.router(2)
    with without(one, "/usr/sbin/bird"):
        one.kill("bird")
        assert len(one.routes()) == 2
        routed(lab, one, [])
        routed(lab, one, [], 6)
        has_route(lab, two, "192.168.1.0/24", gone=True)
        told(lab, one, "bird_down")
    settled(lab)
    reaches(lab, one, two)


def test_peers_that_cannot_be_told_are_named(lab):
    one, two = lab.router(1), lab.router(2)
    two.link_down()
    try:
        answer = one.ubus_call("bgpmesh", "drain")
        assert (answer["told"], answer["untold"]) == (["r3"], ["r2"])
    finally:
        two.link_up()
        one.ubus_call("bgpmesh", "undrain")
