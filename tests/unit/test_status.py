import asyncio

from example import SECRET, Thing, member, options, prefixes
from fake_http import run

from bgpmesh import VERSION, compat, records, status
from bgpmesh.bird.control import BirdError, Session
from bgpmesh.etcd import EtcdError
from bgpmesh.model import Problem
from bgpmesh.problems import Problems
from bgpmesh.roster import Seat
from bgpmesh.tinc.control import Node
from bgpmesh.ubus import blob

# The contract: names, and the types of their values. A list holds what its first item describes.
STATUS = {
    "node": str,
    "version": str,
    "runtime": str,
    "uptime": int,
    "state": str,
    "problems": [{"code": str, "subject": str, "text": str, "since": int}],
    "address": str,
    "prefixes": [str],
    "memory": {"private_kb": int},
    "etcd": {"endpoint": str, "api": str, "reachable": bool, "revision": int, "age": int, "failures": int},
    "tinc": {"running": bool, "version": str, "interface": str, "known": int, "reachable": int},
    "bird": {"running": bool, "version": str, "config": str, "sessions": int, "established": int},
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
            "routes_received": int,
            "rtt_ms": (float, type(None)),
            "lan": bool,
            "problem": str,
        }
    ]
}


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
        self.config = options("option secret '%s'" % SECRET)
        self.started = compat.monotonic() - 7.9
        self.problems = Problems(lambda text: None)
        self.membership = self.mesh = None
        self.lan = Thing(seen={"bravo": None})
        self.synced = 0
        self.served = {}
        self.bus = Thing(publish=self.publish)
        super().__init__(**attributes)

    def sync(self):
        self.synced += 1

    def publish(self, path, methods):
        self.served[path] = methods


def running():
    """An agent in a mesh of four others: one with everything, one not reached, one refused, one not decoded."""
    bravo = member("bravo", 2, endpoint=("2001:db8::2", 655), prefixes=["192.168.2.0/24", "2001:db8:2::/48"])
    carol = member("carol", 3, endpoint=None, asn=65003)
    dora = member("dora", 4)
    registry = Thing(
        endpoint="http://192.0.2.10:2379", last_success=compat.monotonic() - 3.5, failures=0, revision=1 << 33
    )
    agent = Agent(
        membership=Thing(
            me=member("alfa", 1),
            registry=registry,
            others={"bravo": bravo, "carol": carol, "dora": dora},
            entries={"alfa": None, "bravo": None, "carol": None, "dora": None, "e" * 100: None},
            online={"alfa", "bravo", "carol"},
        ),
    )
    mesh = agent.mesh = Thing(
        state="degraded",
        judged=0,
        plan=Thing(
            announced=prefixes("192.168.1.0/24"),
            seats={"bravo": Seat(bravo, prefixes("192.168.2.0/24")), "carol": Seat(carol, [])},
        ),
        tincd=Thing(
            running=True,
            version="1.1",
            nodes={
                "bravo": Node(True, True, True, "192.0.2.2", 0.8),
                "carol": Node(True, True, False, None, None),
                "dora": Node(False, False, False, None, 0.7),
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

    async def routes():
        return {"bravo": 1, "carol": 0}

    mesh.bird.routes = routes
    agent.problems.replace("plan", [Problem("prefix_conflict", "bravo 2001:db8:2::/48", "it overlaps")])
    agent.problems.replace("peers", [Problem("peer", "carol", "no session")])
    agent.problems.replace("records", [Problem("bad_record", records.plain("e" * 100), "no JSON")])
    return agent


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
    }
    assert found["tinc"] == {"running": True, "version": "1.1", "interface": "tinc0", "known": 2, "reachable": 2}
    assert found["bird"] == {
        "running": True,
        "version": "3.1.7",
        "config": "in force",
        "sessions": 2,
        "established": 1,
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
        "routes_received": 1,
        "rtt_ms": 0.8,
        "lan": True,
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
        "routes_received": 0,
        "rtt_ms": None,
        "lan": False,
        "problem": "no session",
    }
    assert [found["dora"][name] for name in ("online", "tinc", "bgp", "rtt_ms")] == [False, "down", "", None]
    assert found["e" * 63 + "…"]["problem"] == "no JSON"
    assert found["e" * 63 + "…"]["address"] == ""


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
    before, status._ROUTES = status._ROUTES, 0.05
    try:
        assert rows(agent)["bravo"]["routes_received"] == 0
    finally:
        status._ROUTES = before


def test_ubus_can_carry_the_answers():
    for answer in (status.status(Agent()), status.status(running()), run(status.peers(running()))):
        assert str(sorted(blob.decode_table(blob.encode_table(answer)))) == str(sorted(answer))


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
