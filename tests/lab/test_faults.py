"""What a running mesh bears: killed daemons, a dying agent, restarts of procd, cables, full and read-only flash."""

import json
import os
import signal
import subprocess
import time

import pytest

from lab.mesh import (
    RUN,
    SOON,
    STATE,
    agent,
    clear,
    end_lease,
    files,
    get,
    has_route,
    problems,
    reaches,
    sessions,
    settled,
    told,
    undisturbed,
    without,
)

LAB = {"nodes": 4, "options": {"poll_interval": "2"}}


@pytest.fixture(autouse=True)
def whole(lab):
    settled(lab)


# -- processes


@pytest.mark.parametrize("daemon", ["tincd", "bird"])
def test_a_killed_daemon_is_back_at_once_and_no_session_between_others_ends(lab, daemon):
    one = lab.router(1)
    (before,) = one.pids(daemon)
    with undisturbed(lab, but=[one]):
        os.kill(before, signal.SIGKILL)
        lab.wait(lambda: one.pids(daemon) not in ([], [before]), SOON, f"procd to start {daemon} again")
        settled(lab)
    reaches(lab, one, lab.router(2))


def test_a_killed_tincd_does_not_take_the_routers_routes_along(lab):
    # Its peers may find the path dead before procd has brought it back; they keep the routes for longer.
    one, *others = lab.routers
    (pid,) = one.pids("tincd")
    with undisturbed(lab, but=[one]):
        os.kill(pid, signal.SIGKILL)

        def kept(router):
            # A BIRD whose session is back drops what it had kept, and has it again with the peer's first message.
            return "192.168.1.0/24" in router.routes() or "r1" in sessions(router)

        def back():
            assert all(kept(router) for router in others), lab.dump()
            return one.pids("tincd") not in ([], [pid]) and all(one.ping(router.lan) for router in others)

        lab.wait(back, SOON, "procd to start tincd again, and the tunnels to be back")
        settled(lab)


def test_a_bird_that_has_lost_sight_of_the_overlay_looks_again(lab):
    # As 3.1.7 may where an interface goes, and is back with another address.
    one, two = lab.router(1), lab.router(2)
    assert "overlay: disabled" in one.bird('disable "overlay"')
    has_route(lab, one, two.network, gone=True)
    has_route(lab, one, two.network)
    settled(lab)
    reaches(lab, one, two)


def test_a_daemon_that_cannot_run_is_named_and_found_again_when_it_can(lab):
    one = lab.router(1)
    with undisturbed(lab, but=[one]):
        with without(one, "/usr/sbin/bird"):
            one.kill("bird")
            told(lab, one, "bird", "cannot run /usr/sbin/bird", "installed")
            status = one.status()
            assert (status["state"], status["bird"]["running"]) == ("degraded", False)
            assert one.bgpmesh("status").returncode == 4
            assert one.bgpmesh("check").returncode == 1
        settled(lab)
    assert problems(one) == []


def test_the_agent_can_be_killed_while_nothing_happens(lab):
    one = lab.router(1)
    before = agent(one)
    with undisturbed(lab):
        watched = files(one, RUN)
        os.kill(before, signal.SIGKILL)
        lab.wait(lambda: one.pids("agent") not in ([], [before]), SOON, "procd to start it again")
        clear(lab, one)
        assert files(one, RUN) == watched


def test_the_agent_can_be_killed_at_any_moment_of_a_change(lab):
    one, two = lab.router(1), lab.router(2)
    with undisturbed(lab):
        for turn in range(15):
            # Another prefix each time: the files of two routers and both their birds have to change.
            one.set("prefix", f"172.21.{turn}.0/24")
            for router, delay in ((one, turn * 0.03), (two, turn * 0.11)):
                # The delay is what is tried out: the agent is at another instruction each time.
                time.sleep(delay)
                router.kill("agent")
        lab.wait(lambda: len(one.pids("agent")) == len(two.pids("agent")) == 1, SOON, "both agents to run")
        wanted = ["172.21.14.0/24", "192.168.1.0/24"]
        for router in lab.routers[1:]:
            announced(lab, router, wanted)
        one.set("prefix", None)
        for router in lab.routers[1:]:
            announced(lab, router, wanted[1:])
        settled(lab)


def announced(lab, router, wanted):
    def seen():
        return [prefix for prefix in router.routes() if prefix.startswith(("172.", "192.168.1."))] == wanted

    lab.wait(seen, SOON, f"{router.name} to have the routes {wanted}")


def test_the_agent_can_be_killed_at_any_moment_of_its_first_start(lab):
    four = lab.router(4)
    assert four.bgpmesh("leave").returncode == 0
    four.stop()
    # As new from the shop: without keys, cache and last good configuration.
    subprocess.run(["rm", "-rf", str(four.dir / "upper/etc/bgpmesh")], check=True)
    four.launch()
    four.booted()
    for turn in range(6):
        lab.wait(lambda: four.pids("agent"), SOON, "procd to start the agent")
        time.sleep(turn * 0.1)
        four.kill("agent")
    settled(lab)
    assert len(set(json.loads(get(lab, f"/peers/{router.name}"))["ip"] for router in lab.routers)) == 4


def test_ubusd_and_procd_can_restart(lab):
    one = lab.router(1)
    init = one.pid
    with undisturbed(lab):
        before = agent(one)
        for _ in range(3):
            os.kill(init, signal.SIGUSR1)
            clear(lab, one)
            names = {"bgpmesh", "luci.bgpmesh"}
            lab.wait(lambda: names <= listed(one), SOON, "the agent's objects to be back", 0.2)
        assert agent(one) == before


def listed(router):
    """The objects on the router's ubus."""
    return set(router.exec(["ubus", "list"], check=False).stdout.split())


def test_a_frozen_agent_harms_nobody_and_after_its_lease_is_only_offline(lab):
    one, two = lab.router(1), lab.router(2)
    with undisturbed(lab):
        two.kill("agent", signal.SIGSTOP)
        try:
            end_lease(lab, two)
            lab.wait(lambda: row(one, "r2")["online"] is False, SOON, "r2 to be told offline", 0.3)
            found = row(one, "r2")
            assert (found["bgp"], found["problem"]) == ("Established", "")
            clear(lab, one)
            reaches(lab, one, two)
        finally:
            two.kill("agent", signal.SIGCONT)
        lab.wait(lambda: row(one, "r2")["online"], SOON, "r2 to be online again", 0.3)


def row(router, node):
    (found,) = [peer for peer in router.peers() if peer["node"] == node]
    return found


# -- power and cables


def test_a_router_that_dies_is_routed_around_and_taken_back(lab):
    three, others = lab.router(3), [lab.router(number) for number in (1, 2, 4)]
    with undisturbed(lab, but=[three]):
        three.stop()
        for router in others:
            has_route(lab, router, "192.168.3.0/24", gone=True)
        three.start()
        for router in others:
            has_route(lab, router, "192.168.3.0/24")
        settled(lab)
    reaches(lab, lab.router(1), three)


def test_a_cable_that_was_out_for_longer_than_the_hold_time_heals(lab):
    three, others = lab.router(3), [lab.router(number) for number in (1, 2, 4)]
    with undisturbed(lab, but=[three]):
        three.link_down()
        lab.wait(lambda: not sessions(three), SOON, "its sessions to end")
        lab.wait(lambda: not any("r3" in sessions(router) for router in others), SOON, "those of the others")
        three.link_up()
        settled(lab)
    reaches(lab, three, lab.router(1))


def test_two_halves_work_on_and_find_each_other_again(lab):
    one, two, three, four = lab.routers
    lab.partition([1, 2, "etcd"], [3, 4])
    try:
        lab.wait(lambda: set(sessions(one)) == {"r2"}, SOON, "the sessions across to end")
        lab.wait(lambda: set(sessions(three)) == {"r4"}, SOON, "the sessions across to end")
        # tincd itself needs PingInterval and PingTimeout to see that a way through the other half is gone.
        reaches(lab, one, two)
        reaches(lab, three, four)
        told(lab, three, "etcd_unreachable")
    finally:
        lab.heal()
    settled(lab)
    for other in (two, three, four):
        reaches(lab, one, other)


# -- flash


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_flash_that_cannot_be_written_is_said_and_what_was_on_it_stays_whole(lab, fault):
    one = lab.router(1)
    with undisturbed(lab):
        if fault == "full":
            # A flash of its own, filled to the last byte with the router's own files on it.
            one.exec(["sh", "-c", "mkdir /tmp/flash && mount -t tmpfs -o size=64k tmpfs /tmp/flash"
                      " && cp -a /etc/bgpmesh/. /tmp/flash && mount --move /tmp/flash /etc/bgpmesh"])
            one.exec(["sh", "-c", "cat /dev/zero > /etc/bgpmesh/filling 2> /dev/null || true"])
        else:
            one.exec(["mount", "--bind", "/etc/bgpmesh", "/etc/bgpmesh"])
            one.exec(["mount", "-o", "remount,ro,bind", "/etc/bgpmesh"])
        try:
            before = whole_files(one.path(STATE))
            assert {"ed25519_key.priv", "rsa_key.priv", "config.good"} <= set(before)
            one.set("prefix", "172.22.0.0/24")
            told(lab, one, "disk", STATE, {"full": "No space left", "read-only": "Read-only"}[fault])
            # What the router does does not depend on it.
            has_route(lab, lab.router(2), "172.22.0.0/24")
            assert whole_files(one.path(STATE)) == before
            if fault == "full":
                one.exec(["rm", "/etc/bgpmesh/filling"])
            else:
                one.exec(["mount", "-o", "remount,rw,bind", "/etc/bgpmesh"])
            one.reload()
            clear(lab, one)
            assert "172.22.0.0/24" in one.read(STATE + "/config.good")
        finally:
            one.exec(["umount", "-l", "/etc/bgpmesh"])
            one.set("prefix", None)
        clear(lab, one)
        has_route(lab, lab.router(2), "172.22.0.0/24", gone=True)


def whole_files(folder):
    """name → content of the files in a folder, but for what is still being written."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}
