import asyncio
import time

from example import SECRET, Thing, member, options, prefixes
from fake_http import run

from bgpmesh import VERSION, compat, records, status
from bgpmesh.bird import rpki
from bgpmesh.bird.control import BirdError, Session
from bgpmesh.etcd import EtcdError
from bgpmesh.model import Problem
from bgpmesh.problems import Problems
from bgpmesh.roster import Seat
from bgpmesh.tally import Tally
from bgpmesh.tinc.control import Node, TincError
from bgpmesh.ubus import blob

# The contract: names, and the types of their values. A list holds what its first item describes.
STATUS = {
    "node": str,
    "version": str,
    "runtime": str,
    "uptime": int,
    "state": str,
    "doing": str,
    "problems": [{"code": str, "subject": str, "text": str, "since": int}],
    "address": str,
    "prefixes": [str],
    "trust": {"mode": str, "standing": str, "identity": str},
    "memory": {"private_kb": int},
    "etcd": {
        "endpoint": str,
        "api": str,
        "reachable": bool,
        "revision": int,
        "age": int,
        "failures": int,
        "latency_ms": (float, type(None)),
    },
    "tinc": {
        "running": bool,
        "version": str,
        "interface": str,
        "known": int,
        "reachable": int,
        "generation": int,
        "rotation": str,
        "rx_bytes": int,
        "tx_bytes": int,
    },
    "latency": {"median_ms": (float, type(None)), "worst_ms": (float, type(None))},
    "rpki": {"validator": str, "connected": bool, "roas": int, "invalid": int},
    "bird": {"running": bool, "version": str, "config": str, "sessions": int, "established": int, "reflectors": list},
}
PEERS = {
    "peers": [
        {
            "node": str,
            "address": str,
            "endpoint": str,
            "asn": int,
            "prefixes": [str],
            "online": bool,
            "tinc": str,
            "bgp": str,
            "bgp_since": str,
            "bgp_age": (int, type(None)),
            "via": list,
            "routes_received": int,
            "rtt_ms": (float, type(None)),
            "loss_percent": int,
            "lan": bool,
            "trust": str,
            "identity": str,
            "problem": str,
        }
    ],
    "total": int,
}
ROUTES = {
    "routes": [{"prefix": str, "node": str, "next_hop": str, "rtt_ms": (float, type(None))}],
    "total": int,
}
TUNNELS = {"tunnels": [[str]]}


def fits(value, shape, where=""):
    if isinstance(shape, dict):
        assert isinstance(value, dict) and sorted(value) == sorted(shape), (where, sorted(value))
        for name in shape:
            fits(value[name], shape[name], where + "." + name)
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for item in value:
            fits(item, shape[0], where + "[]")
    else:
        kinds = shape if isinstance(shape, tuple) else (shape,)
        assert type(value) in kinds, (where, value)


class Agent(Thing):
    """As much of an agent as `status` looks at: here nothing is known yet."""

    def __init__(self, **attributes):
        self.config = options("option secret '%s'" % SECRET, "option rpki 'validator.example.net'")
        self.started = compat.monotonic() - 7.9
        self.problems = Problems(lambda text: None)
        self.membership = self.mesh = None
        self.lan = Thing(seen={"bravo": None})
        self.synced = 0
        self.rotated = []  # what each rotation that is asked for answers
        self.served = {}
        self.bus = Thing(publish=self.publish)
        super().__init__(**attributes)

    def sync(self):
        self.synced += 1

    def rotate(self):
        return self.rotated.pop()

    def rotation(self):
        return ""

    def publish(self, path, methods):
        self.served[path] = methods


def running():
    """An agent in a mesh of four others: one with everything, one not reached, one refused, one not decoded."""
    bravo = member("bravo", 2, endpoint=("2001:db8::2", 655), prefixes=["192.168.2.0/24", "2001:db8:2::/48"])
    carol = member("carol", 3, endpoint=None, asn=65003)
    dora = member("dora", 4)
    registry = Thing(
        endpoint="http://192.0.2.10:2379", last_success=compat.monotonic() - 3.01, failures=0, revision=1 << 33
    )
    polls = Tally()
    polls.note(compat.ticks_us(), True)
    polls.last = 0.0125
    agent = Agent(
        membership=Thing(
            polls=polls,
            known=True,
            kept_out=False,
            prefixes=[],
            me=member("alfa", 1),
            registry=registry,
            others={"bravo": bravo, "carol": carol, "dora": dora},
            entries={"alfa": None, "bravo": None, "carol": None, "dora": None, "e" * 100: None},
            trust=Thing(
                seen={"bravo": ("approved", "ab" * 32), "dora": ("pending", "cd" * 32)},
                own_standing=lambda: "approved",
            ),
            id="ef" * 32,
            online={"alfa", "bravo", "carol"},
        ),
    )
    mesh = agent.mesh = Thing(
        state="degraded",
        judged=0,
        latency=Thing(rtt={"bravo": 0.8, "carol": 20.0, "dora": 3.5}, loss={"carol": 0.123}),
        applies={"tinc": Tally(), "bird": Tally()},
        events=Thing(counts={("peer", "joined"): 3, ("session", "Established"): 1, ("session", "Idle"): 2}),
        plan=Thing(
            announced=prefixes("192.168.1.0/24"),
            seats={"bravo": Seat(bravo, prefixes("192.168.2.0/24")), "carol": Seat(carol, [])},
            peers={"bravo", "carol"},
            reflectors=[],
        ),
        tincd=Thing(
            running=True,
            version="1.1",
            nodes={
                "bravo": Node(True, True, True, "192.0.2.2"),
                "carol": Node(True, True, False, None),
                "dora": Node(False, False, False, None),
            },
        ),
        bird=Thing(
            running=True,
            version="3.1.7",
            config="in force",
            sessions={
                "bravo": Session("Established", "2026-11-21 04:40:06", ""),
                "carol": Session("Connect", "2026-11-21 04:40:05", "Socket: No route to host"),
            },
            rpki=rpki.View(True, "Established", 12, [("bravo", "172.20.3.0/24")]),
        ),
    )
    mesh.tincd.reaches = lambda node: mesh.tincd.nodes[node].reachable

    def judge():
        mesh.judged += 1

    def missing(node):
        found = [problem.text for problem in agent.problems.of("peers") if problem.subject == node]
        return found[0] if found else None

    mesh.judge = judge
    mesh.missing = missing
    mesh.via = lambda node: [] if node in mesh.plan.peers else mesh.plan.reflectors

    async def routes():
        return {"bravo": 1, "carol": 0}

    async def learned(limit):
        rows = [("192.168.2.0/24", "bravo", "10.0.0.2"), ("172.20.2.0/24", "bravo", "10.0.0.2")]
        return rows[:limit], len(rows)

    async def tunnels():
        return [("alfa", "bravo"), ("bravo", "carol")]

    mesh.bird.routes = routes
    mesh.bird.learned = learned
    mesh.tincd.tunnels = tunnels
    agent.problems.replace("plan", [Problem("prefix_conflict", "bravo 2001:db8:2::/48", "it overlaps")])
    agent.problems.replace("peers", [Problem("peer", "carol", "no session")])
    agent.problems.replace("records", [Problem("bad_record", records.plain("e" * 100), "no JSON")])
    return agent


def test_what_the_validator_has_said():
    found = {"validator": "validator.example.net:323", "connected": True, "roas": 12, "invalid": 1}
    assert status.status(running())["rpki"] == found
    found.update(connected=False, roas=0, invalid=0)
    assert status.status(Agent())["rpki"] == found
    agent = Agent()
    agent.config = options()
    assert status.status(agent)["rpki"]["validator"] == ""


def test_status_of_an_agent_that_has_just_started():
    agent = Agent()
    found = status.status(agent)
    fits(found, STATUS)
    assert found["uptime"] == 7
    assert found["etcd"] == {
        "endpoint": "",
        "api": "v3",
        "reachable": False,
        "revision": 0,
        "age": -1,
        "failures": 0,
        "latency_ms": None,
    }
    assert found["bird"]["config"] == "pending"


def test_status_of_a_running_agent():
    agent = running()
    found = status.status(agent)
    assert agent.mesh.judged == 1
    fits(found, STATUS)
    assert found["node"] == "alfa" and found["version"] == VERSION and found["runtime"] == compat.RUNTIME
    assert found["state"] == "degraded"
    assert found["address"] == "10.0.0.1" and found["prefixes"] == ["192.168.1.0/24"]
    assert found["etcd"] == {
        "endpoint": "http://192.0.2.10:2379",
        "api": "v3",
        "reachable": True,
        "revision": 1 << 33,
        "age": 3,
        "failures": 0,
        "latency_ms": 12.5,
    }
    assert found["latency"] == {"median_ms": 3.5, "worst_ms": 20.0}
    assert found["tinc"] == {
        "running": True,
        "version": "1.1",
        "interface": "tinc0",
        "known": 2,
        "reachable": 2,
        "generation": 0,
        "rotation": "",
        "rx_bytes": 0,
        "tx_bytes": 0,
    }
    assert found["bird"] == {
        "running": True,
        "version": "3.1.7",
        "config": "in force",
        "sessions": 2,
        "established": 1,
        "reflectors": [],
    }
    assert [problem["code"] for problem in found["problems"]] == ["bad_record", "peer", "prefix_conflict"]
    assert found["problems"][1] == {"code": "peer", "subject": "carol", "text": "no session", "since": 0}


def test_a_registry_that_fails_is_not_reachable():
    agent = running()
    agent.membership.registry.failures = 2
    found = status.status(agent)["etcd"]
    assert (found["reachable"], found["failures"], found["age"]) == (False, 2, 3)
    agent.membership.registry.last_success = None
    agent.membership.registry.failures = 0
    found = status.status(agent)["etcd"]
    assert (found["reachable"], found["age"]) == (False, -1)


def test_the_processs_memory_is_told():
    assert 50 < status.private_kb() < 500000


def test_no_secret_is_told():
    agent = running()
    assert SECRET not in str(status.status(agent)) + str(run(status.peers(agent)))


def rows(agent):
    found = run(status.peers(agent))
    fits(found, PEERS)
    return {row["node"]: row for row in found["peers"]}


def test_peers_of_an_agent_that_has_just_started():
    assert rows(Agent()) == {}


def test_peers():
    agent = running()
    assert [row["node"] for row in run(status.peers(agent))["peers"]] == ["bravo", "carol", "dora", "e" * 63 + "…"]
    found = rows(agent)
    ages = [found[node].pop("bgp_age") for node in ("bravo", "carol")]
    assert ages[1] == ages[0] + 1
    assert found["bravo"] == {
        "node": "bravo",
        "address": "10.0.0.2",
        "endpoint": "[2001:db8::2]:655",
        "asn": 65000,
        "prefixes": ["192.168.2.0/24"],
        "online": True,
        "tinc": "direct",
        "bgp": "Established",
        "bgp_since": "2026-11-21 04:40:06",
        "via": [],
        "routes_received": 1,
        "rtt_ms": 0.8,
        "loss_percent": 0,
        "lan": True,
        "trust": "approved",
        "identity": "ab" * 32,
        "problem": "it overlaps",
    }
    assert found["carol"] == {
        "node": "carol",
        "address": "10.0.0.3",
        "endpoint": "",
        "asn": 65003,
        "prefixes": [],
        "online": True,
        "tinc": "indirect",
        "bgp": "Connect",
        "bgp_since": "2026-11-21 04:40:05",
        "via": [],
        "routes_received": 0,
        "rtt_ms": 20.0,
        "loss_percent": 12,
        "lan": False,
        "trust": "",
        "identity": "",
        "problem": "no session",
    }
    assert [found["dora"][name] for name in ("online", "tinc", "bgp", "rtt_ms")] == [False, "down", "", 3.5]
    assert found["e" * 63 + "…"]["problem"] == "no JSON"
    assert found["e" * 63 + "…"]["address"] == ""


def test_no_two_peers_have_the_same_name():
    agent = running()
    for name in ("e" * 63, "e" * 101, "e" * 99 + "x", "f" * 70):
        agent.membership.entries[name] = None
    names = [row["node"] for row in run(status.peers(agent))["peers"]]
    assert names == ["bravo", "carol", "dora", "e" * 63, "e" * 63 + "…", "f" * 63 + "…"]


def test_a_member_without_a_session_is_seen_by_way_of_the_reflectors():
    agent = running()
    agent.mesh.plan.peers = {"carol"}
    agent.mesh.plan.reflectors = ["carol"]
    found = rows(agent)["bravo"]
    # Its session is only held on to until it is not needed any more.
    assert (found["bgp"], found["via"], found["routes_received"]) == ("", ["carol"], 1)
    assert rows(agent)["carol"]["via"] == []
    bird = status.status(agent)["bird"]
    assert (bird["sessions"], bird["established"], bird["reflectors"]) == (1, 0, ["carol"])

    async def learned(limit):
        return [("192.168.2.0/24", "carol", "10.0.0.2"), ("192.168.3.0/24", "carol", "10.0.0.3")], 2

    agent.mesh.bird.learned = learned
    shown = [(row["prefix"], row["node"]) for row in run(status.routes(agent))["routes"]]
    assert shown == [("192.168.2.0/24", "bravo"), ("192.168.3.0/24", "carol")]


def test_peers_without_a_plan_or_a_bird_that_answers():
    agent = running()

    async def fail():
        raise BirdError("no")

    agent.mesh.bird.routes = fail
    assert rows(agent)["bravo"]["routes_received"] == 0
    agent.mesh.plan = None
    assert rows(agent)["bravo"]["prefixes"] == []
    fits(status.status(agent), STATUS)


def test_peers_with_a_bird_that_hangs():
    agent = running()

    async def hang():
        await asyncio.sleep(3600)

    agent.mesh.bird.routes = hang
    before, status._DAEMONS = status._DAEMONS, 0.05
    try:
        assert rows(agent)["bravo"]["routes_received"] == 0
    finally:
        status._DAEMONS = before


def test_a_sessions_age():
    now = time.time()
    assert 60 <= status._age("%04d-%02d-%02d %02d:%02d:%02d" % time.localtime(now - 60)[:6]) <= 61
    assert 60 <= status._age("%04d-%02d-%02d %02d:%02d:%02d.250" % time.localtime(now - 60)[:6]) <= 61
    assert status._age("2037-01-01 00:00:00") == 0  # the last years that 32 bits hold
    for text in ("", "yesterday", "10:20:30", "2026-11-21"):
        assert status._age(text) is None


def test_routes():
    agent = running()
    before, status._ROWS = status._ROWS, 1
    try:
        found = run(status.routes(agent))
    finally:
        status._ROWS = before
    fits(found, ROUTES)
    row = {"prefix": "192.168.2.0/24", "node": "bravo", "next_hop": "10.0.0.2", "rtt_ms": 0.8}
    assert found == {"routes": [row], "total": 2}
    assert [row["prefix"] for row in run(status.routes(agent))["routes"]] == ["172.20.2.0/24", "192.168.2.0/24"]

    async def fail(_):
        raise BirdError("no")

    agent.mesh.bird.learned = fail
    assert run(status.routes(agent)) == run(status.routes(Agent())) == {"routes": [], "total": 0}


def test_tunnels():
    agent = running()
    found = run(status.tunnels(agent))
    fits(found, TUNNELS)
    assert found == {"tunnels": [["alfa", "bravo"], ["bravo", "carol"]]}

    async def fail():
        raise TincError("no")

    agent.mesh.tincd.tunnels = fail
    assert run(status.tunnels(agent)) == run(status.tunnels(Agent())) == {"tunnels": []}


def test_what_it_waits_for():
    agent = running()
    mesh, membership = agent.mesh, agent.membership

    def said():
        return status.status(agent)["doing"]

    mesh.state = "converged"
    assert said() == ""
    mesh.state = "syncing"
    assert said() == "waits for BGP sessions: 1 of 2 are Established"
    mesh.tincd.nodes["bravo"].reachable = False
    assert said() == "waits for tunnels: 1 of 2 are up"
    mesh.bird.running = False
    assert said() == "starts tincd and bird"
    membership.prefixes = None
    assert said() == "asks netifd for the prefixes of lan"
    membership.kept_out = True
    assert said().startswith("stays out of the mesh")
    membership.kept_out = False
    membership.me = None
    assert said() == "has an address claimed"
    membership.known = False
    assert said() == "waits for the registry http://192.0.2.10:2379"
    agent.membership = None
    assert said().startswith("looks for a registry")
    agent.mesh = None
    assert said() == "finds or makes this router's keys"
    agent.config = None
    assert said() == ""


def test_ubus_can_carry_the_answers():
    for answer in (status.status(Agent()), status.status(running()), run(status.peers(running()))):
        assert str(sorted(blob.decode_table(blob.encode_table(answer)))) == str(sorted(answer))


def test_a_large_mesh_has_as_many_peers_as_ubus_can_carry():
    agent = running()
    for number in range(60):
        agent.membership.entries["g%02d" % number] = None
    status.publish(agent)
    before = status._PEERS, blob.LIMIT
    try:
        for status._PEERS, blob.LIMIT, most in ((1500, before[1], 64), (20, before[1], 20), (1500, 8192, 30)):
            answer = called(agent, "luci.bgpmesh", "peers")
            rows = answer["peers"]
            assert answer["total"] == 64 and (len(rows) == most or blob.LIMIT == 8192 and 5 < len(rows) < most)
            assert [row["node"] for row in rows][:3] == ["bravo", "carol", "dora"]
            blob.encode_frame(blob.DATA, 1, 1, [(blob.ATTR_OBJID, 1), (blob.ATTR_DATA, answer)])
    finally:
        status._PEERS, blob.LIMIT = before


# Methods


def called(agent, path, method):
    handler = agent.served[path][method][1]
    answer = handler({})
    return answer if isinstance(answer, dict) else run(answer)


def test_two_objects_have_the_methods():
    agent = running()
    status.publish(agent)
    assert sorted(agent.served) == ["bgpmesh", "luci.bgpmesh"]
    for path in agent.served:
        fits(called(agent, path, "status"), STATUS)
        fits(called(agent, path, "peers"), PEERS)
        fits(called(agent, path, "routes"), ROUTES)
        fits(called(agent, path, "tunnels"), TUNNELS)
        assert called(agent, path, "sync") == {"queued": True}
    assert agent.synced == 2
    assert "leave" not in agent.served["luci.bgpmesh"]


def test_leave():
    agent = running()
    status.publish(agent)
    left = []

    async def leave():
        left.append(1)

    agent.leave = leave
    assert called(agent, "bgpmesh", "leave") == {"left": True} and left == [1]

    async def fail():
        raise EtcdError("unreachable", "the registry does not answer")

    agent.leave = fail
    assert called(agent, "bgpmesh", "leave") == {"left": False, "problem": "the registry does not answer"}
