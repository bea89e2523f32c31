"""A mesh of five whose routers are restarted one after the other, as for an upgrade, while all of them are in use."""

import itertools

from lab.mesh import SOON, problems, settled, undisturbed
from lab.ping import pinging

LAB = {
    "nodes": 5,
    "options": {"poll_interval": "2", "secret": "sixteen or more characters"},
    "each": {3: {"bird": "2", "runtime": "python3"}, 5: {"tinc": "1.0"}},
}
STRAY = 2  # requests that a busy machine may lose without anybody's fault


def restart(lab, router):
    """As `service bgpmesh restart` does it: drains, stops the agent, bird and tincd in turn, and starts the agent."""
    assert router.ubus_call("bgpmesh", "drain")["untold"] == []
    for service, instance, program in (
        ("bgpmesh", "agent", "agent"), ("bgpmesh-bird", "bird", "bird"), ("bgpmesh-tinc", "tincd", "tincd"),
    ):
        router.ubus_call("service", "delete", {"name": service, "instance": instance})
        lab.wait(lambda name=program: not router.pids(name), SOON, f"{program} to end")
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
