"""A mesh beyond the number of members that all have sessions with each other: some of them reflect routes.

One test after the other: it grows past that number, loses a reflector, and shrinks again. A ping goes on throughout
between LANs of routers that stay, in both directions.
"""

import json

from lab import netns
from lab.mesh import RUN, SOON, clear, running, sessions, settled
from lab.ping import pinging
from lab.test_graceful import STRAY

LAB = {
    "nodes": 6,
    "boot": (1, 2, 3, 4),
    "options": {"poll_interval": "2", "full_mesh_max": "4", "secret": "sixteen or more characters"},
    "each": {2: {"options": {"asn": "65002"}}, 3: {"bird": "2", "runtime": "python3"}, 6: {"bird": "2"}},
}
LATER = 3 * SOON  # sessions that were held on to are gone by then


def gateways(router, family):
    """Prefix → next hop of what BIRD has put into the router's kernel."""
    found = netns.ip(f"-{family}", "-json", "-netns", router.netns, "route", "show", "protocol", "bird")
    return {route["dst"]: route.get("gateway") for route in json.loads(found or "[]")}


def complete(router, routers):
    """Whether the router's kernel leads to the LANs of these, over the overlay address of each and of no other."""
    numbers = [other.number for other in routers if other is not router]
    addresses = {other["node"]: other["address"] for other in router.peers() or ()}
    for family in (4, 6):
        wanted = {}
        for number in numbers:
            address = addresses.get(f"r{number}", "")
            if family == 6:
                address = f"fd00:99::{int(address.rpartition('.')[2] or 0):x}"
            wanted[f"192.168.{number}.0/24" if family == 4 else f"fd00:{number:x}::/64"] = address
        if gateways(router, family) != wanted:
            return False
    return True


def whole(lab, routers=None):
    routers = routers or running(lab)
    for router in routers:
        what = f"{router.name} to have all routes, each with its member's address as next hop"
        lab.wait(lambda of=router: complete(of, routers), LATER, what, 0.5)
        clear(lab, router)


def sessions_are(lab, wanted):
    """Waits until these are the Established sessions: name → names of the others."""
    def found():
        return {router.name: set(sessions(router)) for router in running(lab)} == wanted

    lab.wait(found, LATER, f"the sessions to be {wanted}", 0.5)


def reflected(names, *reflectors):
    """name → names of those that it has a session with."""
    return {name: set(names) - {name} if name in reflectors else set(reflectors) for name in names}


def pairs(lab):
    one, two, three, four = lab.routers[:4]
    return [(one, three), (three, one), (two, four), (four, two), (three, four), (one, two)]


def few(found):
    assert all(number <= STRAY for number in found.values()), found


def test_growing_past_the_bound_loses_nothing(lab):
    settled(lab)
    names = ["r1", "r2", "r3", "r4"]
    sessions_are(lab, reflected(names, *names))
    with pinging(*pairs(lab)) as found:
        # They are only just there, and will be the reflectors.
        lab.router(5).start()
        lab.router(6).start()
        sessions_are(lab, reflected([*names, "r5", "r6"], "r5", "r6"))
        whole(lab)
    few(found)
    for router in lab.routers:
        for other in lab.routers:
            assert router is other or router.ping(other.lan, seconds=5) and router.ping(other.lan6, seconds=5)


def test_a_reflector_cannot_give_a_prefix_to_another(lab):
    liar, client = lab.router(5), lab.router(4)
    honest = liar.read(RUN + "/bird.conf")
    lies = "route 192.168.77.0/24 unreachable;\n\troute 192.168.3.0/24 unreachable;\n\troute 192.168.5.0/24"
    liar.write(RUN + "/liar.conf", honest.replace("route 192.168.5.0/24", lies, 1))
    before = gateways(client, 4)
    assert liar.bird('configure "/var/run/bgpmesh/liar.conf"')

    def heard(prefix):
        return "via 10.0.0." in client.bird(f"show route import table _r5.ipv4 {prefix}")

    lab.wait(lambda: heard("192.168.77.0/24"), SOON, "the lie to be heard")
    # What it says of r3's prefix came along with it: with its own address, and was refused.
    lab.wait(lambda: liar_is_alone(client), SOON, "the lie to be refused")
    assert gateways(client, 4) == before
    assert liar.bird('configure "/var/run/bgpmesh/bird.conf"')
    lab.wait(lambda: not heard("192.168.77.0/24"), SOON, "the lie to be over")
    whole(lab)


def liar_is_alone(client):
    """Whether the client takes r3's prefix from one reflector and no longer from r5."""
    found = client.bird("show route 192.168.3.0/24")
    return "[_r6 " in found and "[_r5 " not in found


def test_a_reflector_that_dies_costs_no_route(lab):
    survivors = [router for router in lab.routers if router.name != "r6"]
    since = [sessions(router)["r5"] for router in lab.routers[:4]]
    with pinging(*pairs(lab)) as found:
        before = {router.name: set(gateways(router, 4)) - {"192.168.6.0/24"} for router in survivors}
        lab.router(6).stop()

        def gone():
            routes = {router.name: set(gateways(router, 4)) for router in survivors}
            for name in before:
                assert before[name] <= routes[name], (name, routes[name])
            return routes == before

        lab.wait(gone, SOON, "the dead router's route to be gone", 0.1)
        # Another one is chosen beside it, whose session with the first goes on.
        names = [router.name for router in survivors]
        sessions_are(lab, reflected(names, "r1", "r5"))
        whole(lab, survivors)
    few(found)
    assert since == [sessions(router)["r5"] for router in lab.routers[:4]]


def test_shrinking_below_the_bound_loses_nothing(lab):
    with pinging(*pairs(lab)) as found:
        done = lab.router(1).bgpmesh("remove", "r6")
        assert done.returncode == 0, done.stdout
        assert lab.router(5).bgpmesh("leave").returncode == 0
        lab.router(5).stop()
        names = ["r1", "r2", "r3", "r4"]
        sessions_are(lab, reflected(names, *names))
        whole(lab)
    few(found)
