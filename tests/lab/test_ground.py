"""The ground the lab's routers stand on, with a process 1 that does nothing."""

import os
import signal
from pathlib import Path

import pytest

from lab import host, netns
from lab.lab import Lab, LabTimeout
from lab.mesh import SOON
from lab.root import CACHE

LAB = {"nodes": 2, "init": ["sleep", "infinity"]}


def left_behind(name):
    """What there is of the lab `name` on this machine: other labs may come and go meanwhile."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = ["namespace " + space for space in netns.names(f"{name}-.*")]
    found += ["mount " + line for line in mounts if name in line]
    found += ["file " + str(path) for path in (CACHE / "lab").glob(name + "/*")]
    if netns.mounted() and not netns.names(".*"):
        found.append("mount /run/netns")
    return found


def living(pids):
    """Those of the processes that still run; one that its parent has yet to take note of does not."""
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe")]


def test_the_routers_reach_each_other_over_the_fabric(lab):
    one, two = lab.router(1), lab.router(2)
    lab.wait(lambda: one.ping(two.wan, source=one.wan), SOON, "r1 to reach r2")
    lab.wait(lambda: one.ping("2001:db8:18::2", source="2001:db8:18::1"), SOON, "r1 to reach r2 by IPv6")
    assert not one.ping(two.lan)


def test_etcd_answers_a_router(lab):
    lab.etcdctl(["put", "/a", "b"])
    assert lab.etcdctl(["get", "/a", "--print-value-only"]).stdout == "b\n"
    reply = lab.router(1).exec(["etcdctl", "--endpoints", lab.router(1).options["etcd"], "get", "/a"])
    assert reply.stdout == "/a\nb\n"


def test_etcd_keeps_what_it_stored_until_it_is_wiped(lab):
    lab.etcdctl(["put", "/kept", "1"])
    lab.etcd.stop()
    assert not lab.etcd.answers()
    lab.etcd.start()
    assert lab.etcdctl(["get", "/kept"]).stdout == "/kept\n1\n"
    lab.etcd.wipe()
    assert lab.etcdctl(["get", "/kept"]).stdout == ""


def test_a_reboot_keeps_etc_and_loses_tmp(lab):
    router = lab.router(1)
    router.write("/etc/kept", "1")
    router.write("/var/run/lost", "1")
    assert router.exec(["cat", "/etc/kept", "/tmp/run/lost"]).stdout == "11"
    router.reboot()
    assert router.exec(["cat", "/etc/kept"]).stdout == "1"
    assert not router.path("/tmp/run/lost").exists()
    assert router.exec(["hostname"]).stdout == "r1\n"


def test_a_switched_off_router_is_off(lab):
    one, two = lab.router(1), lab.router(2)
    two.stop()
    assert not two.running
    assert not one.ping(two.wan, source=one.wan)
    two.start()
    lab.wait(lambda: one.ping(two.wan, source=one.wan), SOON, "r1 to reach r2 again")


def test_a_cable_can_be_pulled(lab):
    one, two = lab.router(1), lab.router(2)
    two.link_down()
    assert not one.ping(two.wan, source=one.wan)
    two.link_up()
    lab.wait(lambda: one.ping(two.wan, source=one.wan), SOON, "the cable to work again")


def test_a_partition_parts_the_fabric_until_it_heals(lab):
    one, two = lab.router(1), lab.router(2)
    lab.partition([1, "etcd"], [2])
    assert not one.ping(two.wan, source=one.wan)
    lab.wait(lambda: one.ping("198.18.255.1", source=one.wan), SOON, "r1 to reach etcd")
    lab.heal()
    lab.wait(lambda: one.ping(two.wan, source=one.wan), SOON, "the fabric to be whole again")


def test_a_timeout_tells_what_the_routers_were_doing(lab):
    with pytest.raises(LabTimeout, match="waited 0 s for the impossible\n== r1: sleep"):
        lab.wait(lambda: False, 0, "the impossible")


@pytest.mark.parametrize("runtime", ["micropython", "python3"])
@pytest.mark.parametrize("tinc, bird", [("1.1", "3"), ("1.0", "2")])
def test_a_router_has_the_programs_it_was_asked_for(runtime, tinc, bird):
    with Lab("ground-programs", 1, runtime, tinc, bird, init=LAB["init"]) as lab:
        router = lab.router(1)
        assert f"tinc version {tinc}" in router.exec(["/usr/sbin/tincd", "--version"]).stdout
        assert f"BIRD version {bird}." in router.exec(["/usr/sbin/bird", "--version"]).stdout
        launcher = router.exec(["cat", "/usr/sbin/bgpmesh"]).stdout
        assert f"exec {runtime} " in launcher


def test_behind_nat_a_router_reaches_out_and_is_not_reached():
    with Lab("ground-nat", 2, init=LAB["init"], each={2: {"nat": True}}) as lab:
        one, two = lab.router(1), lab.router(2)
        assert "endpoint" not in two.options
        lab.wait(lambda: two.ping(one.wan, source=two.wan), SOON, "r2 to reach r1")
        assert not one.ping(two.wan, source=one.wan)


def test_nothing_is_left_behind():
    with Lab("ground-clean", 2, init=LAB["init"]) as lab:
        pids = [pid for machine in (*lab.routers, lab.etcd) for pid, _ in machine.processes()]
        assert len(living(pids)) == 3
        assert len(netns.names("ground-clean-.*")) == 4
        assert not any("overlay" in line for line in left_behind("ground-clean"))
    assert left_behind("ground-clean") == []
    assert living(pids) == []


def test_what_a_killed_program_left_is_taken_away():
    child = os.fork()
    if child == 0:
        Lab("ground-killed", 2, init=LAB["init"]).up()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    pids = [pid for name in netns.names("ground-killed-.*") for pid in netns.pids(name)]
    assert [netns.inner_pid(pid) for pid in pids].count(1) == 3
    Lab("ground-killed").down()
    assert left_behind("ground-killed") == []
    assert living(pids) == []


def test_large_labs_get_room_in_the_neighbour_tables_and_the_last_gives_it_back(monkeypatch, tmp_path):
    default = {"gc_thresh1": "128", "gc_thresh2": "512", "gc_thresh3": "1024"}
    for name, value in default.items():
        (tmp_path / name).write_text(value)
    monkeypatch.setattr(host, "TABLES", [tmp_path])
    monkeypatch.setattr(host, "STATE", tmp_path / "state" / "host.json")
    monkeypatch.setattr(netns, "mounted", lambda: True)

    def limits():
        return {name: (tmp_path / name).read_text() for name in default}

    host.prepare("small", 5)
    assert limits() == default
    host.prepare("large", 25)
    host.prepare("larger", 100)
    assert limits() == {"gc_thresh1": "20200", "gc_thresh2": "40400", "gc_thresh3": "60600"}
    host.release("larger")
    host.release("small")
    assert limits() != default
    host.release("large")
    assert limits() == default
