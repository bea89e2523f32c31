"""Two routers with OpenWrt's 192.168.1.0/24 on their LAN: what most meshes meet first."""

import json

from lab.mesh import SOON, clear, has_route, problems, sessions, settled, told

LAB = {"nodes": 3, "boot": (1, 3)}
SAME = "192.168.1.0/24"


def lan(router, address):
    """Has netifd of the router say that its LAN has this address."""
    description = router.standin()
    description["interfaces"][0]["ipv4-address"][0]["address"] = address
    router.write("/etc/standin.json", json.dumps(description))


def test_the_first_keeps_the_prefix_and_both_name_the_other_and_what_to_do(lab):
    settled(lab)
    one, two, three = lab.routers
    two.start()
    lan(two, "192.168.1.1")
    lab.wait(lambda: len(sessions(two)) == 2, SOON, "the second to join all the same")
    for router in (one, two, three):
        text = told(lab, router, "prefix_conflict", f"r2 {SAME}")
        assert "'r1'" in text and "renumber" in text
    assert SAME in one.status()["prefixes"] and SAME not in two.status()["prefixes"]
    has_route(lab, three, SAME)
    # The one that has to do something is the one whose state is not well.
    lab.wait(lambda: two.status()["state"] == "degraded", SOON, "r2 to be degraded")
    clear(lab, one)
    clear(lab, three)
    assert two.status()["state"] == "degraded"


def test_renumbering_the_second_ends_it(lab):
    one, two, three = lab.routers
    lan(two, two.lan)
    for router in (one, two, three):
        lab.wait(lambda router=router: not problems(router), SOON, f"{router.name} to name nothing any more")
        clear(lab, router)
    has_route(lab, three, "192.168.2.0/24")
