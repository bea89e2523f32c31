"""What a running mesh bears: killed daemons, a dying agent, restarts of procd, cables, full and read-only flash."""

import json
import os
import signal
import subprocess
import time

import pytest

from lab.mesh import (
    RUN,
    STATE,
    agent,
    clear,
    end_lease,
    files,
    get,
    problems,
    reaches,
    sessions,
    settled,
    state,
    told,
    undisturbed,
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
        lab.wait(lambda: one.pids(daemon) not in ([], [before]), 5, f"procd to start {daemon} again")
        settled(lab, 30)
    reaches(lab, one, lab.router(2))


def test_a_killed_tincd_does_not_take_the_routers_own_sessions_along(lab):
    # They live longer than it takes to bring it back: nine seconds of hold time.
    with undisturbed(lab, but=[lab.router(1)]):
        before = sessions(lab.router(1))
        (pid,) = lab.router(1).pids("tincd")
        os.kill(pid, signal.SIGKILL)
        lab.wait(lambda: lab.router(1).pids("tincd") not in ([], [pid]), 5, "procd to start tincd again")
        reaches(lab, lab.router(1), lab.router(2), 9)
        settled(lab, 30)
        assert sessions(lab.router(1)) == before


def test_a_daemon_that_cannot_run_is_named_and_found_again_when_it_can(lab):
    one = lab.router(1)
    one.write("/etc/hidden", "")
    with undisturbed(lab, but=[one]):
        one.exec(["mount", "--bind", "/etc/hidden", "/usr/sbin/bird"])
        try:
            one.kill("bird")
            text = told(lab, one, "bird", deadline=30)
            assert "cannot run /usr/sbin/bird" in text and "installed" in text
            status = one.status()
            assert (status["state"], status["bird"]["running"]) == ("degraded", False)
            assert one.bgpmesh("status").returncode == 4
            assert one.bgpmesh("check").returncode == 1
        finally:
            one.exec(["umount", "/usr/sbin/bird"])
        settled(lab, 40)
    assert problems(one) == []


def test_the_agent_can_be_killed_while_nothing_happens(lab):
    one = lab.router(1)
    before = agent(one)
    with undisturbed(lab):
        watched = files(one, RUN)
        os.kill(before, signal.SIGKILL)
        lab.wait(lambda: one.pids("agent") not in ([], [before]), 5, "procd to start it again")
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
        lab.wait(lambda: len(one.pids("agent")) == len(two.pids("agent")) == 1, 10, "both agents to run")
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

    lab.wait(seen, 20, f"{router.name} to have the routes {wanted}")


def test_the_agent_can_be_killed_at_any_moment_of_its_first_start(lab):
    four = lab.router(4)
    with undisturbed(lab, but=[four]):
        assert four.bgpmesh("leave").returncode == 0
        four.stop()
        # As new from the shop: without keys, cache and last good configuration.
        subprocess.run(["rm", "-rf", str(four.dir / "upper/etc/bgpmesh")], check=True)
        four.launch()
        four.booted()
        for turn in range(6):
            lab.wait(lambda: four.pids("agent"), 10, "procd to start the agent")
            time.sleep(turn * 0.1)
            four.kill("agent")
        settled(lab, 60)
    assert len(set(json.loads(get(lab, f"/peers/{router.name}"))["ip"] for router in lab.routers)) == 4


def test_ubusd_and_procd_can_restart(lab):
    one = lab.router(1)
    init = one.pid
    with undisturbed(lab):
        before = agent(one)
        for _ in range(3):
            os.kill(init, signal.SIGUSR1)
            lab.wait(lambda: state(one) == "converged", 15, "the agent's objects to be back")
        names = one.exec(["ubus", "list"]).stdout.split()
        assert {"bgpmesh", "luci.bgpmesh"} <= set(names)
        assert agent(one) == before


def test_a_frozen_agent_harms_nobody_and_after_its_lease_is_only_offline(lab):
    one, two = lab.router(1), lab.router(2)
    with undisturbed(lab):
        two.kill("agent", signal.SIGSTOP)
        try:
            end_lease(lab, two)
            lab.wait(lambda: row(one, "r2")["online"] is False, 15, "r2 to be told offline", 0.3)
            found = row(one, "r2")
            assert (found["bgp"], found["problem"]) == ("Established", "")
            clear(lab, one)
            assert one.ping(two.lan)
        finally:
            two.kill("agent", signal.SIGCONT)
        lab.wait(lambda: row(one, "r2")["online"], 15, "r2 to be online again", 0.3)


def row(router, node):
    (found,) = [peer for peer in router.peers() if peer["node"] == node]
    return found


# -- power and cables


def test_a_router_that_dies_is_routed_around_and_taken_back(lab):
    three, others = lab.router(3), [lab.router(number) for number in (1, 2, 4)]
    with undisturbed(lab, but=[three]):
        three.stop()
        lab.wait(lambda: all("192.168.3.0/24" not in router.routes() for router in others), 15, "its route to go")
        three.start()
        lab.wait(lambda: all("192.168.3.0/24" in router.routes() for router in others), 30, "its route to be back")
        settled(lab)
    reaches(lab, lab.router(1), three)


def test_a_cable_that_was_out_for_longer_than_the_hold_time_heals(lab):
    three, others = lab.router(3), [lab.router(number) for number in (1, 2, 4)]
    with undisturbed(lab, but=[three]):
        three.link_down()
        lab.wait(lambda: not sessions(three), 20, "its sessions to end")
        lab.wait(lambda: not any("r3" in sessions(router) for router in others), 20, "those of the others")
        three.link_up()
        settled(lab, 40)
    reaches(lab, three, lab.router(1))


def test_two_halves_work_on_and_find_each_other_again(lab):
    one, two, three, four = lab.routers
    lab.partition([1, 2, "etcd"], [3, 4])
    try:
        lab.wait(lambda: set(sessions(one)) == {"r2"}, 20, "the sessions across to end")
        lab.wait(lambda: set(sessions(three)) == {"r4"}, 20, "the sessions across to end")
        # tincd itself needs PingInterval and PingTimeout to see that a way through the other half is gone.
        lab.wait(lambda: one.ping(two.lan) and three.ping(four.lan), 20, "each half to work")
        told(lab, three, "etcd_unreachable")
    finally:
        lab.heal()
    settled(lab, 40)
    for other in (two, three, four):
        reaches(lab, one, other)


# -- flash


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_flash_that_cannot_be_written_is_said_and_what_was_on_it_stays_whole(lab, fault):
    one = lab.router(1)
    before = {path.name: path.read_bytes() for path in one.path(STATE).iterdir()}
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
            one.set("prefix", "172.22.0.0/24")
            found = told(lab, one, "disk", STATE)
            assert {"full": "No space left", "read-only": "Read-only"}[fault] in found
            # What the router does does not depend on it.
            lab.wait(lambda: "172.22.0.0/24" in lab.router(2).routes(), 15, "the new prefix")
            after = {path.name: path.read_bytes() for path in one.path(STATE).iterdir() if path.name in before}
            assert after == before
            if fault == "full":
                one.exec(["rm", "/etc/bgpmesh/filling"])
            else:
                one.exec(["mount", "-o", "remount,rw,bind", "/etc/bgpmesh"])
            one.reload()
            clear(lab, one, 40)
            assert "172.22.0.0/24" in one.read(STATE + "/config.good")
        finally:
            one.exec(["umount", "-l", "/etc/bgpmesh"])
            one.set("prefix", None)
        clear(lab, one)
        lab.wait(lambda: "172.22.0.0/24" not in lab.router(2).routes(), 15, "the prefix to be gone")
