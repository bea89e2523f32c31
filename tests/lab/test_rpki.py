"""An RPKI validator, Debian's stayrtr, and what a router refuses for it."""

from lab.mesh import SOON, clear, has_route, problems, reaches, routed, told, undisturbed
from lab.rpki import SERVER, attach, roas, validator

LAB = {
    "nodes": 3,
    "options": {"poll_interval": "2"},
    # One peer is of the same AS, the other is not.
    "each": {1: {"options": {"rpki": SERVER}}, 3: {"options": {"asn": "65003"}}},
}
RIGHT = {"192.168.2.0/24": 65000, "fd00:3::/64": 65003}


def seen(lab, router, **wanted):
    """Wait until this is in `rpki` of the router's status."""

    def right():
        status = router.status()
        return status and {**status["rpki"], **wanted} == status["rpki"]

    lab.wait(right, SOON, f"{router.name} to see {wanted}", 0.3)


def test_what_a_validator_finds_invalid_is_refused_counted_and_named(lab, tmp_path):
    one, two = lab.router(1), lab.router(2)
    attach(lab)
    path = tmp_path / "roas.json"
    settled_but_for_the_validator(lab)
    roas(path, RIGHT)
    with undisturbed(lab):
        with validator(lab, path):
            seen(lab, one, connected=True, roas=2, invalid=0)
            clear(lab, one)
            # No ROA speaks of the other prefixes.
            routed(lab, one, ["192.168.2.0/24", "192.168.3.0/24"])
            routed(lab, one, ["fd00:2::/64", "fd00:3::/64"], 6)

            # One that another AS may announce, and one that was right and is so no more.
            roas(path, {**RIGHT, "192.168.3.0/24": 65000, "192.168.2.0/24": 65002})
            routed(lab, one, [])
            routed(lab, one, ["fd00:2::/64", "fd00:3::/64"], 6)
            seen(lab, one, roas=3, invalid=2)
            told(lab, one, "rpki_invalid", "r3 192.168.3.0/24")
            told(lab, one, "rpki_invalid", "r2 192.168.2.0/24")
            assert clear(lab, one)["state"] == "converged"
            routed(lab, two, ["192.168.1.0/24", "192.168.3.0/24"])  # who asks no validator

            roas(path, {**RIGHT, "192.168.3.0/24": 65000})
            has_route(lab, one, "192.168.2.0/24")
            seen(lab, one, invalid=1)

        # It is gone, and what it has said stays.
        told(lab, one, "rpki", SERVER, "does not answer")
        seen(lab, one, connected=False, invalid=1)
        routed(lab, one, ["192.168.2.0/24"])
    one.set("rpki", None)
    has_route(lab, one, "192.168.3.0/24")
    lab.wait(lambda: problems(one) == [], SOON, "the problems to be over", 0.3)
    reaches(lab, one, lab.router(3))


def settled_but_for_the_validator(lab):
    """Without a word of it all is accepted, and that it is missing is a problem."""
    lab.wait(lab.converged, 2 * SOON, "a session between every two routers")
    one = lab.router(1)
    routed(lab, one, ["192.168.2.0/24", "192.168.3.0/24"])
    told(lab, one, "rpki", SERVER, "does not answer", "all is accepted")
    assert one.status()["state"] == "degraded"
    for router in lab.routers[1:]:
        clear(lab, router)
