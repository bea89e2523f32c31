"""That the invariants see what they must: each is broken by hand on a mesh that has nothing wrong."""

import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos import invariants
from chaos.faults import CROWD, FAULTS, NODES, PROGRAMS, REFUSED, STOLEN
from chaos.field import CLOCK, Field


@pytest.fixture(scope="module")
def field():
    found = Field("chaos-seen", lambda text: None)
    try:
        found.up()
        found.switch_on(NODES[4:])
        found.lab.wait(lambda: not invariants.unfinished(found), 150, "the mesh to be as it should", 0.5)
        yield found
    finally:
        found.down()


@pytest.fixture
def look(field, tmp_path):
    """Gives a function that looks once at all routers and returns what must not be; before there is nothing."""
    watch = invariants.Watch(field, tmp_path)
    watch.look()
    assert watch.violations == [] and not watch.missed
    assert watch.looks == {"log": 8, "memory": 8, "routes": 7, "files": 7, "tunnels": 7, "refusal": 1}

    def again():
        watch.look()
        return watch.violations

    return again


# What is done on r1, how it is undone, and words of what is said of it.
BROKEN = {
    "a route that nobody announces": (
        "ip route add 203.0.113.0/24 dev tinc0 proto bird", "ip route delete 203.0.113.0/24", "203.0.113.0/24"),
    "a route of IPv6 that nobody announces": (
        "ip -6 route add fd00:77::/64 dev tinc0 proto bird", "ip -6 route delete fd00:77::/64", "fd00:77::/64"),
    "a route that a cache alone knows of": (
        "cp /etc/bgpmesh/members /tmp/kept; ip route add 172.31.1.0/24 dev tinc0 proto bird;"
        r""" echo '{"node":"r3","text":"{\"prefixes\":[\"172.31.1.0/24\"]}"}' >> /etc/bgpmesh/members""",
        "mv /tmp/kept /etc/bgpmesh/members; ip route delete 172.31.1.0/24", "172.31.1.0/24"),
    "a default route besides": (
        "ip route add default via 198.18.0.2 metric 9", "ip route delete default metric 9", "default routes"),
    "no default route of IPv6": (
        "ip -6 route delete default", "ip -6 route add default via 2001:db8:18::ffff", "default routes"),
    "a host file of a stranger": (
        "touch /tmp/run/bgpmesh/tinc/hosts/evil", "rm /tmp/run/bgpmesh/tinc/hosts/evil", "host file of evil"),
    "a host file of one that was revoked": (
        "touch /tmp/run/bgpmesh/tinc/hosts/r9", "rm /tmp/run/bgpmesh/tinc/hosts/r9", "host file of r9"),
    "a route to one that was revoked": (
        "ip route add 192.168.9.0/24 dev tinc0 proto bird", "ip route delete 192.168.9.0/24", "192.168.9.0/24"),
    "half a host file": (
        "cd /tmp/run/bgpmesh/tinc/hosts; cp r2 /tmp/r2; head -c 100 /tmp/r2 > r2",
        "mv /tmp/r2 /tmp/run/bgpmesh/tinc/hosts/r2", "r2 is not whole"),
    "a host file without the end of its RSA key": (
        "cd /tmp/run/bgpmesh/tinc/hosts; cp r2 /tmp/r2; sed '/BEGIN/,$ { /BEGIN/!d }' /tmp/r2 > r2",
        "mv /tmp/r2 /tmp/run/bgpmesh/tinc/hosts/r2", "r2 is not whole"),
    "a host file without its RSA key": (
        "cd /tmp/run/bgpmesh/tinc/hosts; cp r2 /tmp/r2; sed '/BEGIN/,$d' /tmp/r2 > r2",
        "mv /tmp/r2 /tmp/run/bgpmesh/tinc/hosts/r2", "r2 is not whole"),
    "half a bird.conf": (
        "cd /tmp/run/bgpmesh; cp bird.conf /tmp/conf; sed '$d' /tmp/conf > bird.conf",
        "mv /tmp/conf /tmp/run/bgpmesh/bird.conf", "bird.conf is not whole"),
    "half an identity": (
        "cd /etc/bgpmesh; mv identity /tmp/kept; head -c 100 /tmp/kept > identity",
        "mv /tmp/kept /etc/bgpmesh/identity", "identity is not whole"),
    "half of what the owner says": (
        "cd /etc/bgpmesh; mv trust /tmp/kept; sed '$d' /tmp/kept > trust", "mv /tmp/kept /etc/bgpmesh/trust",
        "trust is not whole"),
    **{
        f"half of {name}": (
            f"cd {folder}; cp -a {name} /tmp/kept; head -c -20 /tmp/kept > {name}",
            f"mv /tmp/kept {folder}/{name}", f"{name} is not whole")
        for folder, name in (
            ("/etc/bgpmesh", "rsa_key.priv"), ("/etc/bgpmesh", "rsa_key.pub"), ("/etc/bgpmesh", "ed25519_key.priv"),
            ("/etc/bgpmesh", "ed25519_key.pub"), ("/etc/bgpmesh", "config.good"),
            ("/tmp/run/bgpmesh/tinc", "tinc.conf"), ("/tmp/run/bgpmesh/tinc", "tinc-up"),
            ("/tmp/run/bgpmesh/tinc", "tinc-down"))
    },
    "half of the options that worked": (
        "cd /etc/bgpmesh; head -c 100 config.good > config.worked", "cd /etc/bgpmesh; cp config.good config.worked",
        "config.worked is not whole"),
    "half of which keys are in use": (
        """echo '{"generation":0,"ne' > /etc/bgpmesh/keys.json""", "rm /etc/bgpmesh/keys.json",
        "keys.json is not whole"),
    "a traceback": (
        "echo 'bgpmesh[7]: Traceback (most recent call last):' >> /tmp/log/messages", ": > /tmp/log/messages",
        "Traceback"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_must_never_be_is_seen(field, look, what):
    do, undo, words = BROKEN[what]
    one = field.router("r1")
    one.exec(["sh", "-c", do])
    try:
        (violation,) = look()
        assert violation.startswith("r1: ") and words in violation
    finally:
        one.exec(["sh", "-c", undo])


def test_a_tunnel_to_who_is_refused_is_seen(field, look):
    one, refused = field.router("r1"), field.router(REFUSED)
    os.kill(one.pids("agent")[0], signal.SIGSTOP)
    folder = invariants.RUN + "/tinc/"
    host, conf = folder + "hosts/" + REFUSED, folder + "tinc.conf"
    before = one.read(conf)
    try:
        one.write(host, f"Address = {refused.wan}\n" + refused.read(host))
        one.write(conf, before + f"ConnectTo = {REFUSED}\n")
        one.kill("tincd", signal.SIGHUP)
        field.lab.wait(lambda: any("tunnel to ['r8']" in found for found in look()), 30, "the tunnel to be seen", 0.3)
    finally:
        one.write(conf, before)
        one.exec(["rm", "-f", host])
        one.kill("tincd", signal.SIGHUP)
        one.kill("agent", signal.SIGCONT)
    whole(field)


def test_what_is_left_to_who_is_refused_from_now_on_is_seen(field, look, monkeypatch):
    monkeypatch.setattr(field, "refused", {*field.refused, "r2"})  # which has six sessions
    seen = look()
    assert "r2: is refused, and has a session with ['r1', 'r3', 'r4', 'r5', 'r6', 'r7']" in seen
    for words in ("a host file of r2", "a tunnel to ['r2']", "192.168.2.0/24"):
        assert len([violation for violation in seen if words in violation]) == 6, words


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_greedy_agent_is_seen(field, look, monkeypatch, program):
    sizes = [size for (_, name, _), size in invariants.memory(field).items() if name == program]
    assert len(sizes) == len(NODES) + 1 and all(100 < size < invariants.MEMORY[program] for size in sizes)
    monkeypatch.setitem(invariants.MEMORY, program, 100)
    assert len(look()) == len(NODES) + 1  # and the one that is refused


LEFT = {
    "a process": ("sleep 600 > /dev/null 2>&1 &", "kill $(pidof sleep)", "left processes"),
    "a neighbour": (
        "ip neighbour add 10.0.0.99 lladdr 02:00:00:00:00:99 dev tinc0 nud permanent",
        "ip neighbour delete 10.0.0.99 dev tinc0", "neighbours on tinc0"),
    "a file": (
        "touch /tmp/run/bgpmesh/.bird.conf.new", "rm /tmp/run/bgpmesh/.bird.conf.new", "left ['.bird.conf.new']"),
    "a host file less": (
        "mv /tmp/run/bgpmesh/tinc/hosts/r5 /tmp/", "mv /tmp/r5 /tmp/run/bgpmesh/tinc/hosts/", "host files are"),
    "a host file of earlier keys": (
        "cd /tmp/run/bgpmesh/tinc/hosts; cp r5 r5__0007", "rm /tmp/run/bgpmesh/tinc/hosts/r5__0007", "r5__0007"),
    "an earlier key": (
        "cd /etc/bgpmesh; cp rsa_key.priv rsa_key.9.priv", "rm /etc/bgpmesh/rsa_key.9.priv", "['rsa_key.9.priv']"),
    "a folder that keys were made in": (
        "mkdir /tmp/run/bgpmesh/keys", "rmdir /tmp/run/bgpmesh/keys", "left ['keys']"),
    "a file among tincd's": (
        "touch /tmp/run/bgpmesh/tinc/rsa_key.priv", "rm /tmp/run/bgpmesh/tinc/rsa_key.priv", "left ['rsa_key.priv']"),
    "a key that is another's half": (
        "cd /etc/bgpmesh; cp -a rsa_key.priv /tmp/; openssl genrsa -traditional 2048 > rsa_key.priv 2> /dev/null",
        "mv /tmp/rsa_key.priv /etc/bgpmesh/", "no pair"),
    "a public key that is another's half": (
        "cd /etc/bgpmesh; cp -a ed25519_key.pub /tmp/; sed 's/= .../= AAA/' /tmp/ed25519_key.pub > ed25519_key.pub",
        "mv /tmp/ed25519_key.pub /etc/bgpmesh/", "no pair"),
    "a host file of other keys": (
        "cd /tmp/run/bgpmesh/tinc/hosts; cp -a r1 /tmp/; sed 's/PublicKey = .../PublicKey = AAA/' /tmp/r1 > r1",
        "mv /tmp/r1 /tmp/run/bgpmesh/tinc/hosts/", "r1 has other keys"),
    "a tunnel less to dial": (
        "cd /tmp/run/bgpmesh/tinc; cp -a tinc.conf /tmp/; sed '/ConnectTo/d' /tmp/tinc.conf > tinc.conf",
        "mv /tmp/tinc.conf /tmp/run/bgpmesh/tinc/", "tinc.conf dials []"),
    "an address": (
        "ip address add 10.0.0.98/32 dev tinc0", "ip address delete 10.0.0.98/32 dev tinc0", "addresses on tinc0"),
}


def whole(field):
    """Wait until all is as it should be; even in a calm mesh a plan is made anew now and then."""
    field.lab.wait(lambda: not invariants.unfinished(field), 150, "the mesh to be as it should", 0.5)


@pytest.mark.parametrize("what", LEFT)
def test_what_is_left_over_is_seen(field, what):
    do, undo, words = LEFT[what]
    one = field.router("r1")
    one.exec(["sh", "-c", do])
    try:
        field.lab.wait(lambda: words in invariants.unfinished(field), 60, f"{words} to be seen", 0.2)
    finally:
        one.exec(["sh", "-c", undo])
    whole(field)


def test_a_tunnel_that_no_key_was_agreed_on_for_is_seen(field, monkeypatch):
    async def nodes(_):
        return {"r2": SimpleNamespace(reachable=True, keyed=False), "r3": SimpleNamespace(reachable=True, keyed=True)}

    monkeypatch.setattr(invariants.Socket, "nodes", nodes)
    field.lab.wait(lambda: "no key with ['r2']" in invariants.unfinished(field), 60, "the missing key to be seen", 0.2)


def test_a_key_left_in_etcd_is_seen(field):
    field.put("/claims/10.0.0.99", "evil")
    field.lab.wait(lambda: invariants.unfinished(field).startswith("etcd has"), 60, "the key to be seen", 0.2)
    assert field.delete("/claims/10.0.0.99")
    whole(field)


def test_a_lan_that_is_not_reached_is_seen(field):
    seven = field.router("r7")
    os.kill(seven.pids("tincd")[0], signal.SIGSTOP)
    try:
        assert "r1 → 192.168.7.1" in invariants.unreached(field, ["r1"])
    finally:
        seven.kill("tincd", signal.SIGCONT)
    whole(field)


def test_a_bad_cable_holds_up_what_passes(field):
    with FAULTS["bad-cable"].act(field, router="r1", kind=(0, 300, 0, 0), seed=1):
        times = re.findall(r"time=([0-9.]+)", ping(field, "5").stdout)
        assert times and min(map(float, times)) > 590
    assert passes(field, "1")


def test_a_bad_cable_loses_and_doubles(field):
    with FAULTS["bad-cable"].act(field, router="r1", kind=(0, 0, 0, 1), seed=1):
        assert "duplicates" in ping(field, "1").stdout
    with FAULTS["bad-cable"].act(field, router="r1", kind=(1, 0, 0, 0), seed=1):
        assert not passes(field, "0.3")


def test_a_bad_cable_has_one_overtake_the_other(field):
    argv = ["ping", "-n", "-c", "30", "-i", "0.01", "-W", "1", "198.18.0.2"]
    with FAULTS["bad-cable"].act(field, router="r1", kind=(0, 20, 60, 0), seed=1):
        came = list(map(int, re.findall("icmp_seq=([0-9]+)", field.router("r1").exec(argv).stdout)))
    assert came != sorted(came) == list(range(1, 31))


def test_a_cut_is_one_way(field):
    with FAULTS["cut-off"].act(field, router="r1", way="from", others=["r2"]):
        assert not passes(field, "0.3") and passes(field, "1", "198.18.0.3")
        rules = ["nft", "list", "table", "inet", "chaos_cut"]
        assert "198.18.0.2" in field.router("r1").exec(rules).stdout
    assert passes(field, "1")


def test_a_full_disk_is_full_and_has_room_again(field):
    one = field.router("r1")
    for fault, folder in (("flash-full", "/etc/bgpmesh"), ("memory-full", "/tmp")):
        write = ["sh", "-c", f"head -c 20000 /dev/zero > {folder}/probe && rm {folder}/probe"]
        with FAULTS[fault].act(field, router="r1"):
            assert "No space left" in one.exec(write, check=False).stdout
        assert one.exec(write, check=False).returncode == 0
        one.exec(["rm", "-f", folder + "/probe"])
    whole(field)


def test_a_clock_jumps_and_jumps_back(field):
    def off():
        asked = [*CLOCK, "date", "+%s"]
        return int(field.router("r1").exec(asked).stdout) - time.time()

    for program in PROGRAMS:
        (pid,) = field.router("r1").pids(program)
        assert "libfaketime" in Path(f"/proc/{pid}/maps").read_text()
    before = field.router("r1").pids("tincd")
    with FAULTS["clock-jumped"].act(field, router="r1", jump="-40000000"):
        assert -40000010 < off() < -39999990
        # For a year it would neither dial nor ask for keys.
        field.lab.wait(lambda: field.router("r1").pids("tincd") not in ([], before), 30, "tincd to be started again")
    assert abs(off()) < 10
    whole(field)


def passes(field, seconds, address="198.18.0.2"):
    return ping(field, seconds, address).returncode == 0


def ping(field, seconds, address="198.18.0.2"):
    """Three echo requests from r1, below the mesh."""
    argv = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", seconds, address]
    return field.router("r1").exec(argv, check=False)


def test_twenty_join_at_once_and_those_that_go_on_when_they_are_revoked_are_left_alone(field, tmp_path):
    with FAULTS["twenty-join"].act(field):
        assert field.guests == set(CROWD) and field.alone()
        crowd = [field.router(node) for node in CROWD]
        field.lab.wait(lambda: all(router.established() for router in crowd), 60, "all to have a session", 0.5)
    assert field.joined == [len(CROWD)] and not field.alone()
    field.lab.wait(lambda: field.dismiss() and not invariants.unfinished(field), 150, "two to be left alone", 0.5)
    assert {node for node in CROWD if field.router(node).running} == set(STOLEN)

    def turned_away():
        logs = [field.router(node).log() for node in NODES]
        return [sum(log.count(f"had unknown identity ({node})") for log in logs) for node in STOLEN]

    before = turned_away()
    field.refuse()
    field.lab.wait(lambda: all(now > then for now, then in zip(turned_away(), before)), 60, "them to try again", 0.5)
    watch = invariants.Watch(field, tmp_path)
    watch.look()
    assert watch.violations == [] and watch.looks["refusal"] == 1 + len(STOLEN)
