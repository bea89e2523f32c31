"""Rotation of tinc's keys under a steady ping, and one that is cut off at each of its steps."""

import contextlib
import json

import pytest

from lab.mesh import SOON, STATE, get, sessions, settled
from lab.ping import Ping

LAB = {
    "nodes": 3,
    "options": {"poll_interval": "1"},
    "each": {2: {"tinc": "1.0"}, 3: {"runtime": "python3", "bird": "2"}},
}
LOST = 1  # second of packets that a rotation may lose


@pytest.fixture(autouse=True)
def whole(lab):
    settled(lab)


@contextlib.contextmanager
def steady(lab, bearable=LOST):
    """What is done inside ends no session, and loses at most so many seconds of packets between any two."""
    before = {router.name: sessions(router) for router in lab.routers}
    pings = {(one, two): Ping(one, two) for one in lab.routers for two in lab.routers if one is not two}
    try:
        yield
        settled(lab)
    finally:
        lost = {f"{one.name}→{two.name}": round(ping.lost(), 2) for (one, two), ping in pings.items()}
        print("seconds of packets lost:", lost)
    assert {router.name: sessions(router) for router in lab.routers} == before, lab.dump()
    assert max(lost.values()) <= bearable, f"{lost}\n{lab.dump()}"


def record(lab, router):
    return json.loads(get(lab, f"/peers/{router.name}"))


def rotated(lab, router, generation):
    """Wait until nothing is left of earlier keys, nor anything to be done."""

    def done():
        found = record(lab, router)
        status = router.status()
        return (
            status
            and status["tinc"]["rotation"] == ""
            and found.get("generation") == generation
            and "next" not in found
            and not [file for other in lab.routers for file in host_files(other, router) if not is_of(file, generation)]
        )

    lab.wait(done, 2 * SOON, f"{router.name} to have keys of generation {generation} and no others", 0.5)
    names = [path.name for path in router.path(STATE).iterdir() if "_key" in path.name and path.suffix == ".priv"]
    assert names and all(f".{generation}." in name for name in names), names
    for path in router.path(STATE).glob("*.priv"):
        assert path.stat().st_mode & 0o777 == 0o600


def host_files(router, other):
    return [path.name for path in router.path("/tmp/run/bgpmesh/tinc/hosts").glob(other.name + "*")]


def is_of(name, generation):
    return name.endswith(f"__{generation:04d}")


@pytest.mark.parametrize("numbers", [(1,), (2, 3)])
def test_keys_change_without_an_outage(lab, numbers):
    """Of one router, and of two at once."""
    routers = [lab.router(number) for number in numbers]
    before = [record(lab, router) for router in routers]
    with steady(lab):
        for router in routers:
            assert router.bgpmesh("rotate").returncode == 0
            assert router.bgpmesh("rotate").returncode == 1, "one at a time"
        for router in routers:
            rotated(lab, router, 1)
    for router, old in zip(routers, before):
        new = record(lab, router)
        assert new["key"] != old["key"] and (new["ed25519"] != old["ed25519"] or not new["ed25519"])
        assert (router.status()["tinc"]["generation"], router.status()["address"]) == (1, old["ip"])


def test_a_rotation_that_is_cut_off_at_each_step_is_finished_by_the_next_agent(lab):
    one = lab.router(1)
    steps = (
        ("the start", lambda: '"next":2' in one.read(STATE + "/keys.json")),
        ("a private key", lambda: one.path(STATE + "/rsa_key.2.priv").exists()),
        ("its public half", lambda: one.path(STATE + "/rsa_key.2.pub").exists()),
        ("the record of both", lambda: "next" in record(lab, one)),
        ("all to know both", lambda: all(len(host_files(other, one)) == 2 for other in lab.routers[1:])),
        ("the switch", lambda: '"generation":2' in one.read(STATE + "/keys.json")),
        ("the record of the new keys", lambda: record(lab, one).get("generation") == 2),
    )
    # A busy machine takes longer for an agent and a tincd than the 0.9 s after which BFD ends sessions.
    for router in lab.routers:
        router.set("bfd_multiplier", "30")
    settled(lab)
    # Killed right after the switch, the agent is away for the second in which procd lets it be.
    with steady(lab, LOST + 2):
        assert one.bgpmesh("rotate").returncode == 0
        for what, reached in steps:
            lab.wait(reached, SOON, what, 0.01)
            one.kill("agent")
        rotated(lab, one, 2)


@pytest.mark.parametrize("number, generation", [(1, 3), (2, 2)])
def test_a_rotation_outlives_power_cuts(lab, number, generation):
    """Once the next keys are published, and at the switch."""
    one = lab.router(number)
    assert one.bgpmesh("rotate").returncode == 0
    coming = lab.wait(lambda: record(lab, one).get("next"), SOON, "the next keys to be published")
    one.reboot()
    switched = f'"generation":{generation}'
    lab.wait(lambda: switched in one.read(STATE + "/keys.json"), SOON, "the switch", 0.01)
    one.reboot()
    rotated(lab, one, generation)
    assert record(lab, one)["key"] == coming["key"]
    settled(lab)
