"""Members are those whom the network's owner has approved, and no others: on tinc 1.1 and 1.0, whatever is in etcd."""

import json
import signal
import time

from bgpmesh import compat, ed25519, records, usign
from bgpmesh.identity import Identity
from bgpmesh.tinc.render import hardware_address
from lab.mesh import (
    RUN,
    SOON,
    STATE,
    agent,
    clear,
    delete,
    forgets,
    get,
    named,
    put,
    reaches,
    sessions,
    settled,
    state,
    told,
    undisturbed,
)
from lab.ping import pinging

# Made here: nobody needs it to stay secret.
OWNER, PUBLIC = usign.make(bytes(range(56)))
SECRET = "a secret of all members"
SEED = bytes(32)
STRANGER = Identity(f"{SEED.hex()}{ed25519.public(SEED).hex()}\n")
POLL = 5  # seconds
LAB = {
    "nodes": 3,
    "options": {
        "poll_interval": str(POLL), "secret": SECRET, "trust": "signed", "trust_key": PUBLIC.split("\n")[1],
    },
    "each": {2: {"tinc": "1.0"}},
}


def say(router, *argv):
    """Has the owner say something from this router, with the key in a place that is not flash."""
    router.write("/tmp/owner.sec", OWNER)
    done = router.bgpmesh(*argv, "-s", "/tmp/owner.sec")
    assert done.returncode == 0, done.stderr
    return done.stdout


def row(router, node):
    return next((row for row in router.peers() or () if row["node"] == node), None)


def apart(lab, router, *others):
    """Wait until none of the others has a session or a tunnel with the router, nor anything of it in a file."""
    for other in others:
        forgets(lab, other, router.name)
        lab.wait(lambda other=other: (row(other, router.name) or {}).get("tinc") == "down", SOON,
                 f"{other.name} to have no tunnel to {router.name}")
        assert router.name not in sessions(other)


def test_who_is_not_approved_waits_and_is_named_with_what_to_do(lab):
    one, two, three = lab.routers
    for node in (one, two, three):
        text = told(lab, node, "pending", node.name, "this router has no part in the mesh")
        identity = node.status()["trust"]["identity"]
        assert f"bgpmesh approve {node.name} {identity[:16]}" in text
        assert "identity  " + identity[:16] + ", pending" in node.bgpmesh("status").stdout
    assert identity in say(one, "approve", "r3", identity[:16])
    for node in ("r1", "r2"):
        say(three, "approve", node)
    lab.wait(lambda: (row(one, "r3") or {}).get("bgp") == "Established", SOON, "a session of r1 and r3")
    settled(lab)
    for router in lab.routers:
        assert {row["trust"] for row in router.peers()} == {"approved"}
    reaches(lab, one, three)


def test_a_router_that_was_never_approved_waits_beside_the_mesh(lab):
    """Its own record is right in all but that."""
    one, two = lab.routers[:2]
    changes = {"ip": "10.0.0.77", "ip6": "", "prefixes": ["192.168.77.0/24"], "ed25519": "A" * 43, "key": "",
               "router_id": "10.0.0.77", "serial": 1}
    put(lab, "/peers/r9", signed("r9", {**claims(lab, "r3"), **changes}, STRANGER))
    for router in (one, two):
        told(lab, router, "pending", "r9", f"bgpmesh approve r9 {STRANGER.id[:16]}")
        assert row(router, "r9")["trust"] == "pending" and not named(router, "r9", RUN)
        clear(lab, router)
    delete(lab, "/peers/r9")


def test_who_has_the_secret_of_a_stolen_router_speaks_for_no_other(lab):
    one, two, three = lab.routers
    before = [sessions(router) for router in lab.routers]
    own = claims(lab, "r2")
    key = one.read(RUN + "/tinc/hosts/r2")
    text = get(lab, "/peers/r2")
    theirs = ',"id":' + text.partition(',"id":')[2].rpartition(',"sig"')[0]
    for code, record in (
        ("unapproved", signed("r2", {**own, "ed25519": "B" * 43, "key": ""}, STRANGER)),
        ("unapproved", signed("r2", own)),
        ("unapproved", signed("r2", {"left": True, "serial": records.LARGEST})),
        ("forged", signed("r2", {**own, "prefixes": ["172.31.1.0/24"], "serial": records.LARGEST}, shown=theirs)),
        ("forged", signed("r2", {**own, "endpoint": "198.18.9.9:655", "serial": 10**15}, shown=theirs)),
        ("forged", signed("r2", {"left": True, "serial": records.LARGEST}, shown=theirs)),
    ):
        # Of what is there for less than a poll not all would know: the agent writes its own back.
        two.kill("agent", signal.SIGSTOP)
        put(lab, "/peers/r2", record)
        for router in (one, three):
            told(lab, router, code, "r2", "the record of 'r2' is refused")
            assert router.read(RUN + "/tinc/hosts/r2") == key
            assert "172.31.1.0" not in router.read(RUN + "/bird.conf") and state(router) == "converged"
        two.kill("agent", signal.SIGCONT)
        lab.wait(lambda record=record: get(lab, "/peers/r2") != record, SOON, "r2 to write its own record back")
        settled(lab)
    assert [sessions(router) for router in lab.routers] == before
    removed = one.bgpmesh("remove", "r2")
    assert removed.returncode == 1 and "bgpmesh revoke r2" in removed.stdout


def test_who_says_that_the_others_hardware_addresses_are_its_own_gets_nothing_of_theirs(lab):
    """The tunnel between the one on tinc 1.1 and the one on 1.0 goes on as if nothing had been said."""
    one, two, three = lab.routers
    said = "Ignoring unauthorized ADD_SUBNET"
    before = {router: router.log().count(said) for router in (one, two)}
    with undisturbed(lab, but=[three]), pinging((one, two), (two, one)) as lost:
        three.kill("agent", signal.SIGSTOP)
        own = three.read(RUN + "/tinc/hosts/r3")
        theirs = "".join(f"Subnet = {hardware_address(router.name)}#0\n" for router in (one, two))
        three.write(RUN + "/tinc/hosts/r3", own + theirs)
        three.kill("tincd", signal.SIGHUP)
        for router in (one, two):
            lab.wait(lambda to=router: to.log().count(said) > before[to], SOON, f"{router.name} to hear of it")
        for router, other in ((one, two), (two, one)):
            assert all(router.ping(other.lan) for _ in range(10))
        # The next agent writes the file again.
        three.kill("agent")
        lab.wait(lambda: three.read(RUN + "/tinc/hosts/r3") == own, SOON, "r3's own file to be as it was")
    assert max(lost.values()) < 10, lost
    settled(lab)


def test_who_is_revoked_has_no_tunnel_and_no_session_and_stays_so(lab):
    one, two, three = lab.routers
    approval = get(lab, "/trust/r3")
    hosts = three.read(RUN + "/tinc/hosts/r1")
    said = time.monotonic()
    say(one, "revoke", "r3")
    apart(lab, three, one, two)
    assert time.monotonic() - said < 2 * POLL
    for router in (one, two):
        told(lab, router, "revoked", "r3")
        clear(lab, router)
    told(lab, three, "revoked", "r3", "this router has no part")
    # Its tunnels are cut by the others, too: it goes on as if it had heard of nothing.
    three.kill("agent", signal.SIGSTOP)
    three.write(RUN + "/tinc/hosts/r1", hosts)
    three.write(RUN + "/tinc/tinc.conf", three.read(RUN + "/tinc/tinc.conf") + "ConnectTo = r1\n")
    three.kill("tincd", signal.SIGHUP)
    # Whoever may write to etcd puts the approval back, or removes what there is; who restarts remembers.
    put(lab, "/trust/r3", approval + "\n")
    lab.wait(lambda: " revoke " in (get(lab, "/trust/r3") or ""), SOON, "the revocation to be put back")
    delete(lab, "/trust/r3")
    lab.wait(lambda: " revoke " in (get(lab, "/trust/r3") or ""), SOON, "the revocation to be put back again")
    kept = [router.path(STATE + "/trust").stat().st_mtime_ns for router in (one, two)]
    lab.etcd.stop()
    for router in (one, two):
        before = agent(router)
        router.kill("agent", signal.SIGKILL)
        lab.wait(lambda router=router, before=before: router.pids("agent") not in ([], [before]), SOON, "an agent")
        told(lab, router, "etcd_unreachable")
        assert not named(router, "r3", RUN) and "_r3 " not in router.bird("show protocols")
        assert row(router, "r3") is None or row(router, "r3")["tinc"] == "down"
    lab.etcd.start()
    for router in (one, two):
        clear(lab, router)
    assert [router.path(STATE + "/trust").stat().st_mtime_ns for router in (one, two)] == kept
    apart(lab, three, one, two)
    three.kill("agent", signal.SIGCONT)


def test_who_was_revoked_can_be_approved_again(lab):
    say(lab.router(1), "approve", "r3")
    settled(lab)


def test_turning_it_on_disturbs_nobody(lab):
    with undisturbed(lab):
        for mode in ("open", "signed"):
            for router in lab.routers:
                # As on a router that has never heard of an owner.
                router.path(STATE + "/trust").unlink(missing_ok=True)
                router.set("trust", mode)
            for router in lab.routers:
                lab.wait(lambda: (status := router.status()) and status["trust"]["mode"] == mode, SOON, mode)
                assert clear(lab, router)["trust"]["standing"] == ("approved" if mode == "signed" else "")


def claims(lab, node):
    """What the record of a node says, without its signatures."""
    record = json.loads(get(lab, f"/peers/{node}"))
    return {name: record[name] for name in record if name not in ("sig", "id", "by")}


def signed(node, record, identity=None, shown=""):
    """A record as one writes it that has the network's secret, with an Identity, or with the text of another's."""
    key = f"/peers/{node}"
    text = json.dumps(record, separators=(",", ":"))[:-1]
    if identity:
        text += f',"id":"{identity.id}"'
        text += f',"by":"ed25519:{identity.sign(compat.digest([key, chr(10), text + "}"]))}"'
    text += shown
    digest = compat.hmac_sha256(SECRET.encode(), f"{key}\n{text}}}".encode())
    return f'{text},"sig":"hmac-sha256:{digest}"}}'
