"""A mesh of five routers that were told nothing but where etcd is."""

import json
import re
import signal

import pytest

from lab import netns
from lab.mesh import (
    RUN,
    SOON,
    STATE,
    Reloads,
    clear,
    delete,
    files,
    forgets,
    grep,
    has_route,
    keys,
    knows,
    listening,
    put,
    put_all,
    reaches,
    routed,
    sessions,
    settled,
    stranger,
    sync,
    undisturbed,
    without,
)

LAB = {"nodes": 5}

STATUS = {
    "node": str, "version": str, "runtime": str, "uptime": int, "state": str, "doing": str,
    "problems": list,
    "address": str, "prefixes": list,
    "trust": {"mode": str, "standing": str, "identity": str},
    "memory": {"private_kb": int},
    "etcd": {
        "endpoint": str, "api": str, "reachable": bool, "revision": int, "age": int, "failures": int,
        "latency_ms": float,
    },
    "tinc": {
        "running": bool, "version": str, "interface": str, "known": int, "reachable": int,
        "rx_bytes": int, "tx_bytes": int, "generation": int, "rotation": str,
    },
    "latency": {"median_ms": (float, type(None)), "worst_ms": (float, type(None))},
    "rpki": {"validator": str, "connected": bool, "roas": int, "invalid": int},
    "bird": {"running": bool, "version": str, "config": str, "sessions": int, "established": int, "reflectors": list},
}
PEER = {
    "node": str, "address": str, "endpoint": str, "asn": int, "prefixes": list, "online": bool, "lan": bool,
    "tinc": str,
    "bgp": str, "bgp_since": str, "bgp_age": int, "via": list, "routes_received": int,
    "rtt_ms": (float, type(None)), "loss_percent": int, "trust": str, "identity": str, "problem": str,
}


def has_the_shape(value, shape):
    assert set(value) == set(shape)
    for name, kind in shape.items():
        if isinstance(kind, dict):
            has_the_shape(value[name], kind)
        else:
            assert isinstance(value[name], kind) and (kind is bool or not isinstance(value[name], bool)), name
    return True


def records(lab):
    """node → record of the members."""
    return {key.rpartition("/")[2]: value for key, value in keys(lab).items() if key.startswith("/peers/")}


def kept(router):
    """The same as the router has it on its flash."""
    lines = [json.loads(line) for line in router.read(STATE + "/members").splitlines()]
    return {line["node"]: line["text"] for line in lines if "node" in line}


def polled(lab, router):
    """Wait for a poll that came at once: ten seconds would be the interval."""
    lab.wait(lambda: router.status()["etcd"]["age"] in (0, 1), 8, f"{router.name} to ask etcd")


@pytest.fixture(autouse=True)
def whole(lab):
    settled(lab)


def test_every_lan_reaches_every_other_one_in_both_families(lab):
    # What a person typed: where etcd is, the name, the second family, and where the router is reached.
    for router in lab.routers:
        assert set(router.options) == {"enabled", "etcd", "node", "network6", "endpoint"}
        assert len(sessions(router)) == 4
    for one in lab.routers:
        for other in lab.routers:
            if one is not other:
                reaches(lab, one, other)


def test_the_kernel_has_the_routes_of_the_others_lans_and_no_others(lab):
    for router in lab.routers:
        others = [other for other in lab.routers if other is not router]
        routed(lab, router, [f"192.168.{other.number}.0/24" for other in others], 4)
        routed(lab, router, [f"fd00:{other.number}::/64" for other in others], 6)


def test_status_keeps_its_contract(lab):
    for router in lab.routers:
        status = clear(lab, router)
        assert has_the_shape(status, STATUS)
        assert status["node"] == router.name
        assert status["state"] == "converged"
        assert status["problems"] == []
        assert status["runtime"] == "micropython"
        assert status["prefixes"] == [f"192.168.{router.number}.0/24", f"fd00:{router.number}::/64"]
        assert 0 <= status["uptime"] < 3600
        assert 100 < status["memory"]["private_kb"] < 1024
        etcd = status["etcd"]
        assert (etcd["endpoint"], etcd["api"], etcd["reachable"], etcd["failures"]) == (
            "http://198.18.255.1:2379", "v3", True, 0)
        assert etcd["revision"] > 0 and 0 <= etcd["age"] <= 11
        tinc = status["tinc"]
        assert (tinc["running"], tinc["version"], tinc["interface"]) == (True, "1.1", "tinc0")
        assert (tinc["known"], tinc["reachable"]) == (4, 4)
        bird = status["bird"]
        assert re.match(r"3\.\d", bird.pop("version"))
        assert bird == {"running": True, "config": "in force", "sessions": 4, "established": 4, "reflectors": []}
    addresses = {router.status()["address"] for router in lab.routers}
    assert addresses == {f"10.0.0.{number}" for number in range(1, 6)}


def test_peers_keeps_its_contract(lab):
    for router in lab.routers:

        def rows(router=router):
            found = json.loads(router.bgpmesh("peers", "-j").stdout)["peers"]
            return all(row["routes_received"] == 2 for row in found) and found

        peers = lab.wait(rows, SOON, f"{router.name} to have two routes of each")
        assert [peer["node"] for peer in peers] == sorted({"r1", "r2", "r3", "r4", "r5"} - {router.name})
        for peer in peers:
            assert has_the_shape(peer, PEER)
            number = peer["node"][1:]
            assert peer["endpoint"] == f"198.18.0.{number}:655"
            assert peer["prefixes"] == [f"192.168.{number}.0/24", f"fd00:{number}::/64"]
            assert (peer["online"], peer["bgp"], peer["problem"]) == (True, "Established", "")
            assert peer["asn"] == 65000
            assert peer["tinc"] in ("direct", "indirect")
            assert peer["bgp_since"] == sessions(router)[peer["node"]]


@pytest.mark.parametrize("name", ["bgpmesh", "luci.bgpmesh"])
def test_the_ubus_objects_answer_with_and_without_an_argument_that_uhttpd_adds(lab, name):
    router = lab.router(2)
    for arguments in ({}, {"ubus_rpc_session": "0" * 32}):
        assert has_the_shape(router.ubus_call(name, "status", arguments), STATUS)
        assert len(router.ubus_call(name, "peers", arguments)["peers"]) == 4
        assert router.ubus_call(name, "sync", arguments) == {"queued": True}


def test_the_command_line_speaks_to_a_person(lab):
    router = lab.router(3)
    status = router.bgpmesh("status")
    assert status.returncode == 0
    for words in ("r3, converged", "192.168.3.0/24", "4 of 4 peers reachable", "4 of 4 sessions Established"):
        assert words in status.stdout
    peers = router.bgpmesh("peers")
    assert peers.returncode == 0
    assert [line.split()[0] for line in peers.stdout.splitlines()] == ["NODE", "r1", "r2", "r4", "r5"]
    version = router.bgpmesh("--version")
    assert version.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", version.stdout)
    for wrong in ([], ["stauts"], ["status", "--json"], ["sync", "now"]):
        usage = router.bgpmesh(*wrong)
        assert usage.returncode == 2 and usage.stdout.startswith("usage: bgpmesh"), wrong


def test_the_round_trip_to_every_peer_is_measured(lab):
    def measured():
        times = [peer["rtt_ms"] for peer in lab.router(1).peers()]
        return None not in times and times

    # Who did not answer at first is asked again ever later, after a minute at most.
    assert all(0 < time < 1000 for time in lab.wait(measured, 3 * SOON, "an answer from every peer"))


def test_what_was_learned_and_every_tunnel_are_shown(lab):
    one, two = lab.routers[:2]

    def learned():
        found = two.ubus_call("luci.bgpmesh", "routes")
        return found["total"] == 8 and found

    found = lab.wait(learned, SOON, "two routes of each")
    wanted = [(peer["node"], prefix) for peer in two.peers() for prefix in peer["prefixes"]]
    assert [(row["node"], row["prefix"]) for row in found["routes"]] == sorted(wanted)
    hops = {row["next_hop"] for row in found["routes"] if row["node"] == "r1"}
    number = one.status()["address"].rpartition(".")[2]
    assert hops == {f"10.0.0.{number}", f"fd00:99::{number}"}
    names = [router.name for router in lab.routers]
    pairs = [[first, second] for first in names for second in names if first < second]
    lab.wait(lambda: two.ubus_call("luci.bgpmesh", "tunnels")["tunnels"] == pairs, SOON, "a tunnel of every pair")


def test_check_finds_every_layer_in_order(lab):
    check = lab.router(4).bgpmesh("check")
    assert check.returncode == 0, check.stdout
    layers = re.findall("^ok    ([^:]+):", check.stdout, re.M)
    wanted = (
        "configuration, changes, clock, DNS, etcd, auth, agent, kernel, tinc port, interface, firewall, BIRD, "
        "prefixes, members, failover"
    )
    assert layers == wanted.split(", ")
    found = json.loads(lab.router(4).bgpmesh("check", "-j").stdout)
    assert found["ok"] and [layer["name"] for layer in found["layers"] if layer["ok"]] == layers
    assert "5 members, 5 alive" in check.stdout


def test_a_sync_or_a_reload_with_nothing_new_writes_nothing_and_disturbs_nobody(lab):
    for router in lab.routers:
        # It waits a minute before it keeps the last of those who joined.
        lab.wait(lambda router=router: kept(router) == records(lab), 2 * SOON, f"{router.name} to keep the members")
    watched = [(router, files(router, RUN, STATE)) for router in lab.routers]
    with undisturbed(lab), Reloads(*lab.routers) as reloads:
        for ask in (lambda router: router.bgpmesh("sync"), lambda router: router.reload()):
            for router in lab.routers:
                ask(router)
                polled(lab, router)
                clear(lab, router)
    for router, before in watched:
        assert files(router, RUN, STATE) == before
        assert (reloads.tinc(router), reloads.bird(router)) == (0, 0)


def test_three_members_that_join_together_cost_one_reload(lab):
    names = [f"/peers/new{number}" for number in (51, 52, 53)]
    with undisturbed(lab):
        with Reloads(*lab.routers) as reloads:
            put_all(lab, {name: stranger(int(name[-2:])) for name in names})
            sync(lab)
            for router in lab.routers:
                knows(lab, router, "new53")
                lab.wait(lambda router=router: reloads.tinc(router), SOON, f"{router.name}'s tincd to say so")
            for router in lab.routers:
                clear(lab, router)
        for router in lab.routers:
            assert (reloads.tinc(router), reloads.bird(router)) == (1, 1), router.name
        delete(lab, *names[1:])
        sync(lab)
        for router in lab.routers:
            forgets(lab, router, "new53")
            knows(lab, router, "new51")
            assert grep(router, "new53", RUN) == []
        delete(lab, names[0])
        sync(lab)
        for router in lab.routers:
            forgets(lab, router, "new51")


def test_a_member_that_is_not_alive_is_offline_and_not_a_problem(lab):
    router = lab.router(1)
    put(lab, "/peers/away", stranger(60))
    sync(lab)
    try:
        knows(lab, router, "away")
        clear(lab, router)
        (row,) = [peer for peer in router.peers() if peer["node"] == "away"]
        assert (row["online"], row["tinc"], row["problem"]) == (False, "down", "")
        assert row["prefixes"] == ["172.20.60.0/24"]
        assert router.bgpmesh("status").returncode == 0
    finally:
        delete(lab, "/peers/away")
        sync(lab)


def test_who_listens_on_ubus_hears_of_members_and_sessions(lab):
    one, two = lab.router(1), lab.router(2)
    with listening(lab, one) as events:
        put(lab, "/peers/guest", stranger(61))
        sync(lab)
        joined = ("bgpmesh.peer", {"node": "guest", "change": "joined"})
        lab.wait(lambda: joined in events(), SOON, "the event of the new member")
        delete(lab, "/peers/guest")
        sync(lab)
        left = ("bgpmesh.peer", {"node": "guest", "change": "left"})
        lab.wait(lambda: left in events(), SOON, "the event of the member that left")
        two.kill("agent", signal.SIGSTOP)
        delete(lab, "/alive/r2")
        one.bgpmesh("sync")
        offline = ("bgpmesh.peer", {"node": "r2", "change": "offline"})
        lab.wait(lambda: offline in events(), SOON, "r2 to be told offline")
        two.kill("agent", signal.SIGCONT)
        online = ("bgpmesh.peer", {"node": "r2", "change": "online"})
        lab.wait(lambda: online in events(), SOON, "r2 to be told online")

        def told():
            return [data["state"] for name, data in events() if name == "bgpmesh.session" and data["node"] == "r2"]

        assert told() == []
        with without(two, "/usr/sbin/bird"):
            two.kill("bird")
            lab.wait(lambda: "r2" not in sessions(one), SOON, "the session to drop")
            one.bgpmesh("sync")
            lab.wait(told, SOON, "the event of the session that ended")
            assert "Established" not in told()
        lab.wait(lambda: told()[-1] == "Established", SOON, "the event of the new session")


def test_a_renumbered_lan_is_announced_within_seconds(lab):
    one, two = lab.router(1), lab.router(2)
    description = one.standin()
    lan = description["interfaces"][0]
    old, new = "192.168.1.0/24", "192.168.201.0/24"
    lan["ipv4-address"][0]["address"] = "192.168.201.1"
    netns.ip("-netns", one.netns, "address", "add", "192.168.201.1/24", "dev", "br-lan")
    with undisturbed(lab):
        one.write("/etc/standin.json", json.dumps(description))
        # Without netifd's word the agent would look within a minute.
        lab.wait(lambda: new in keys(lab)["/peers/r1"], 15, "the record to have the new prefix")
        sync(lab)
        has_route(lab, two, new)
        has_route(lab, two, old, gone=True)
        lab.wait(lambda: two.ping("192.168.201.1"), SOON, "the new LAN to answer")
        one.write("/etc/standin.json", json.dumps(one.standin()))
        lab.wait(lambda: new not in keys(lab)["/peers/r1"], 15, "the record to have the old prefix again")
        sync(lab)
        has_route(lab, two, old)
        has_route(lab, two, new, gone=True)
    netns.ip("-netns", one.netns, "address", "delete", "192.168.201.1/24", "dev", "br-lan")


def test_who_leaves_is_gone_everywhere_and_can_come_back(lab):
    five, others = lab.router(5), lab.routers[:4]
    address = five.status()["address"]
    assert keys(lab)["/claims/" + address] == "r5"
    with undisturbed(lab, but=[five]):
        leave = five.bgpmesh("leave")
        assert leave.returncode == 0 and "left the mesh" in leave.stdout
        assert not {"/peers/r5", "/alive/r5", "/claims/" + address} & set(keys(lab))
        lab.wait(lambda: len(five.processes()) == 1, SOON, "its daemons to end")
        # A process shows no more before the kernel has let go of what it held.
        lab.wait(lambda: "tinc0" not in netns.ip("-netns", five.netns, "link"), SOON, "its interface to go")
        assert five.routes(4) == five.routes(6) == []
        gone = five.bgpmesh("status")
        assert gone.returncode == 3 and "service bgpmesh start" in gone.stdout
        assert five.bgpmesh("sync").returncode == 1
        assert five.bgpmesh("check").returncode == 1
        sync(lab, but=[five])
        for router in others:
            forgets(lab, router, "r5")
            assert "r5" not in [peer["node"] for peer in router.peers()]
            has_route(lab, router, f"192.168.{five.number}.0/24", gone=True)
            clear(lab, router)
        five.reboot()
        settled(lab)
