"""A mesh of five whose routers are restarted one after the other, as for an upgrade, while all of them are in use."""

import itertools
import re

import pytest

from lab.failover import cut, relay
from lab.mesh import SOON, problems, settled, undisturbed
from lab.ping import pinging

KINDS = {3: {"bird": "2", "runtime": "python3"}, 5: {"tinc": "1.0"}}
LAB = {
    "nodes": 5,
    "options": {"poll_interval": "2", "secret": "sixteen or more characters"},
    # Of several ways the one by way of the lowest address is taken.
    "each": {n: {**KINDS.get(n, {}), "options": {"address": f"10.0.0.{n}"}} for n in range(1, 6)},
}
STRAY = 2  # requests that a busy machine may lose without anybody's fault


def restart(lab, router):
    """As `service bgpmesh restart` does it: drains, stops the agent, bird and tincd in turn, and starts the agent."""
    drain(router)
    stop(lab, router)
    start(router)


def drain(router):
    assert router.ubus_call("bgpmesh", "drain")["untold"] == []


def stop(lab, router):
    for service, instance, program in (
        ("bgpmesh", "agent", "agent"), ("bgpmesh-bird", "bird", "bird"), ("bgpmesh-tinc", "tincd", "tincd"),
    ):
        router.ubus_call("service", "delete", {"name": service, "instance": instance})
        lab.wait(lambda name=program: not router.pids(name), SOON, f"{program} to end")


def start(router):
    router.ubus_call("service", "set", {"name": "bgpmesh", **router.service()})


def meshed(lab):
    """Wait until all have sessions, and every two a tunnel of their own: no third one carries anything for them."""
    settled(lab)
    pairs = [list(pair) for pair in itertools.combinations([router.name for router in lab.routers], 2)]
    for router in lab.routers:
        if router.name != "r5":  # tinc 1.0 does not say
            what = f"{router.name} to know of a tunnel between every two"
            lab.wait(lambda of=router: of.ubus_call("bgpmesh", "tunnels")["tunnels"] == pairs, SOON, what, 0.2)


def test_a_restart_of_each_router_in_turn_costs_the_others_nothing(lab):
    meshed(lab)
    for router in lab.routers:
        others = [other for other in lab.routers if other is not router]
        pairs = zip(others, others[1:] + others[:1])
        with undisturbed(lab, but=[router]), pinging(*pairs) as found:
            restart(lab, router)
            meshed(lab)
        assert max(found.values()) <= STRAY, (router.name, found)
        assert problems(router) == []


def hop(router, other):
    """The name of the router that what is for the other's LAN is sent to."""
    return "r" + re.search(r" via 10\.0\.0\.(\d+) ", router.exec(["ip", "route", "get", other.lan]).stdout)[1]


@pytest.mark.parametrize("pair, by", [((1, 2), 3), ((4, 5), 1)])
def test_what_goes_by_way_of_a_router_has_another_way_before_that_one_stops(lab, pair, by):
    """Of each BIRD: between two whose path is cut it carries what they send each other, until tinc has another path."""
    meshed(lab)
    one, other = [lab.router(number) for number in pair]
    third = lab.router(by)
    with cut(lab, one, other):
        lab.wait(lambda: hop(one, other) == hop(other, one) == third.name, SOON, f"a way by way of {third.name}")
        with pinging((one, other), (other, one), interval=0.01) as found:
            drain(third)
            # The kernels that have acknowledged it are ahead of their BIRDs by a moment.
            lab.wait(lambda: third.name not in (hop(one, other), hop(other, one)), 2, "another way")
            stop(lab, third)
        start(third)
    assert max(found.values()) == 0, found


def test_what_tinc_sends_by_way_of_a_router_outlives_its_restart(lab):
    meshed(lab)
    one, other = lab.router(1), lab.router(2)
    with cut(lab, one, other):
        lab.wait(lambda: relay(one, other) and relay(other, one), SOON, "a path by way of another")
        settled(lab)
        third = lab.router(int(relay(one, other)[1:]))
        with undisturbed(lab, but=[third]), pinging((one, other), (other, one)) as found:
            restart(lab, third)
            settled(lab)
    assert max(found.values()) <= STRAY, (third.name, found)
