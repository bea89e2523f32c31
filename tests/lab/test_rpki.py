"""An RPKI validator, Debian's stayrtr, and what a router refuses for it."""

from lab.mesh import SOON, clear, has_route, problems, reaches, routed, told, undisturbed
from lab.rpki import SERVER, attach, roas, validator

LAB = {
    "nodes": 4,
    "options": {"poll_interval": "2"},
    # One of each kind asks the validator. Of the others one is of the same AS, one is not.
    "each": {
        1: {"options": {"rpki": SERVER}},
        3: {"options": {"asn": "65003"}},
        4: {"runtime": "python3", "bird": "2", "options": {"rpki": SERVER}},
    },
}
RIGHT = {"192.168.2.0/24": 65000, "fd00:3::/64": 65003}


def seen(lab, router, **wanted):
    """Wait until this is in `rpki` of the router's status."""

    def right():
        status = router.status()
        return status and {**status["rpki"], **wanted} == status["rpki"]

    lab.wait(right, SOON, f"{router.name} to see {wanted}", 0.3)


def accepts(lab, router, *numbers, family=4):
    """Wait until the router has routes to the LANs of these, and to that of the other one that asks the validator."""
    numbers = [*numbers, 5 - router.number]
    routed(lab, router, [f"fd00:{n}::/64" if family == 6 else f"192.168.{n}.0/24" for n in numbers], family)


def test_what_a_validator_finds_invalid_is_refused_counted_and_named(lab, tmp_path):
    two, askers = lab.router(2), [lab.router(1), lab.router(4)]
    attach(lab)
    path = tmp_path / "roas.json"
    settled_but_for_the_validator(lab, askers)
    roas(path, RIGHT)
    with undisturbed(lab):
        with validator(lab, path):
            for one in askers:
                seen(lab, one, connected=True, roas=2, invalid=0)
                clear(lab, one)
                # No ROA speaks of the other prefixes.
                accepts(lab, one, 2, 3)
                accepts(lab, one, 2, 3, family=6)

            # One that another AS may announce, and one that was right and is so no more.
            roas(path, {**RIGHT, "192.168.3.0/24": 65000, "192.168.2.0/24": 65002})
            for one in askers:
                accepts(lab, one)
                accepts(lab, one, 2, 3, family=6)
                seen(lab, one, roas=3, invalid=2)
                told(lab, one, "rpki_invalid", "r3 192.168.3.0/24")
                told(lab, one, "rpki_invalid", "r2 192.168.2.0/24")
                assert clear(lab, one)["state"] == "converged"
            routed(lab, two, [f"192.168.{n}.0/24" for n in (1, 3, 4)])  # who asks no validator

            roas(path, {**RIGHT, "192.168.3.0/24": 65000})
            for one in askers:
                has_route(lab, one, "192.168.2.0/24")
                seen(lab, one, invalid=1)

        # It is gone, and what it has said stays.
        for one in askers:
            told(lab, one, "rpki", SERVER, "does not answer")
            seen(lab, one, connected=False, invalid=1)
            accepts(lab, one, 2)
    for one in askers:
        one.set("rpki", None)
    for one in askers:
        has_route(lab, one, "192.168.3.0/24")
        lab.wait(lambda of=one: problems(of) == [], SOON, "the problems to be over", 0.3)
        reaches(lab, one, lab.router(3))


def settled_but_for_the_validator(lab, askers):
    """Without a word of it all is accepted, and that it is missing is a problem."""
    lab.wait(lab.converged, 2 * SOON, "a session between every two routers")
    for one in askers:
        accepts(lab, one, 2, 3)
        told(lab, one, "rpki", SERVER, "does not answer", "all is accepted")
        assert one.status()["state"] == "degraded"
    for router in lab.routers:
        if router not in askers:
            clear(lab, router)
