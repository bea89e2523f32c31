"""A network secret: what somebody does who can write to etcd and does not know it, and another one for all."""

import contextlib
import itertools
import json
import re

from lab.mesh import (
    RUN,
    SOON,
    STATE,
    agent,
    clear,
    delete,
    forgets,
    get,
    grep,
    keys,
    named,
    problems,
    put,
    rss_kb,
    sessions,
    settled,
    stranger,
    sync,
    told,
    undisturbed,
)
from lab.ping import pinging
from lab.router import uci

SECRET = "correct horse battery staple"
OTHER = "another secret for all of them"
LAB = {"nodes": 3, "options": {"poll_interval": "2", "secret": SECRET}, "each": {3: {"bird": "2"}}}


@contextlib.contextmanager
def nothing_lost(lab):
    """Inside, every router's LAN reaches every other one's all the time."""
    with pinging(*itertools.permutations(lab.routers, 2), interval=0.1) as found:
        yield
    assert set(found.values()) == {0}, f"{found}\n{lab.dump()}"


def put_many(lab, values):
    """Puts keys, a hundred in each transaction."""
    lines = [f"put {key} {json.dumps(value) if value else chr(34) * 2}" for key, value in values.items()]
    for first in range(0, len(lines), 100):
        lab.etcdctl(["txn"], input="\n" + "\n".join(lines[first : first + 100]) + "\n\n\n")


def own(lab):
    """The keys of the routers that are there."""
    names = {router.name for router in lab.routers}
    return {key for key, value in keys(lab).items() if names & {key.rpartition("/")[2], value}}


def test_who_can_write_to_etcd_and_lacks_the_secret_changes_nothing(lab):
    settled(lab)
    one, two, three = lab.routers
    old = {router: get(lab, f"/peers/{router.name}") for router in lab.routers}
    one.set("prefix", "172.24.0.0/24")
    lab.wait(lambda: "172.24.0.0/24" in two.routes() + three.routes(), SOON, "a newer record of r1")
    before = own(lab)
    memory = {router: rss_kb(agent(router)) for router in lab.routers}
    strangers = {f"evil{number}": stranger(100 + number) for number in range(3)}

    def all_hold():
        for router in lab.routers:
            others = sorted(other.name for other in lab.routers if other is not router)
            assert sorted(sessions(router)) == others, lab.dump()
            assert sorted(peer["node"] for peer in router.peers() if peer["address"]) == others
            for name in strangers:
                assert named(router, name, RUN, STATE) == [] and grep(router, "172.20.10", RUN) == []

    with undisturbed(lab), nothing_lost(lab):
        # It deletes: all there is, again and again.
        for _ in range(3):
            delete(lab, *before)
            sync(lab)
            all_hold()
        lab.wait(lambda: before <= set(keys(lab)), SOON, "all to be written back")
        # It overwrites, and replays.
        for router in lab.routers:
            other = lab.routers[router.number % 3].name
            for text in ("garbage", stranger(99), get(lab, f"/peers/{other}"), old[router], "x" * 100000):
                put(lab, f"/peers/{router.name}", text)
                sync(lab)
        all_hold()
        # It joins, with signs of life and claims on what the others have, and on all that is left.
        for name, record in strangers.items():
            put(lab, f"/peers/{name}", record)
            put(lab, f"/alive/{name}", "")
        put_many(lab, {f"/claims/10.0.0.{number}": "evil1" for number in range(1, 255)})
        sync(lab)
        for router in lab.routers:
            told(lab, router, "bad_record", "evil1", "not signed")
        all_hold()
        # It floods.
        for table, value in (("peers", "junk"), ("alive", ""), ("claims", "evil2")):
            put_many(lab, {f"/{table}/{where}{number}": value for number in range(700) for where in "!z"})
        for table in ("peers", "alive", "claims"):
            put(lab, f"/{table}/!huge", "x" * 1_000_000)
        sync(lab)
        for router in lab.routers:
            told(lab, router, "bad_record", "more records cannot be used")
            lab.wait(lambda router=router: router.status()["etcd"]["failures"] == 0, SOON, "a poll of it")
            assert rss_kb(agent(router)) - memory[router] < 2048
        all_hold()

    # What a router says of itself, and what it owns, it has seen to, and goes on seeing to.
    with undisturbed(lab, but=[three]):
        assert three.bgpmesh("leave").returncode == 0
        for router in (one, two):
            forgets(lab, router, "r3")
        three.stop()
        three.start()
        settled(lab)
    with undisturbed(lab), nothing_lost(lab):
        for prefix in ("/peers/", "/alive/", "/claims/"):
            lab.etcdctl(["del", "--prefix", prefix])
        lab.wait(lambda: own(lab) == set(keys(lab)) and len(own(lab)) == 9, SOON, "each to write its own")
        lab.wait(lambda: not any(problems(router) for router in lab.routers), SOON, "nothing to be wrong")
    one.set("prefix", None)
    settled(lab)


def test_a_router_that_is_gone_for_good_is_removed_by_who_knows_the_secret(lab):
    one, two, three = lab.routers
    three.stop()
    try:
        delete(lab, "/peers/r3", "/alive/r3")
        for router in (one, two):
            told(lab, router, "record_gone", "r3")
        lab.wait(lambda: not [row for row in one.peers() if row["online"] and row["node"] == "r3"], SOON, "r3 offline")
        assert "protocol bgp _r3 " in one.read(RUN + "/bird.conf")
        assert one.bgpmesh("remove", "r3").returncode == 0
        for router in (one, two):
            forgets(lab, router, "r3")
            clear(lab, router)
    finally:
        three.start()
    settled(lab)


def test_another_secret_for_all_costs_not_a_single_packet(lab):
    settled(lab)
    printed = lab.router(1).bgpmesh("secret").stdout
    assert "bgpmesh.main.secret_old=" in printed and SECRET not in printed
    passwords = set()

    def password():
        return re.search('password "(.*)"', lab.router(1).read(RUN + "/bird.conf"))[1]

    def given(router, **options):
        router.options = {**{name: router.options[name] for name in router.options if "secret" not in name}, **options}
        router.write("/etc/config/bgpmesh", uci(router.options))
        router.reload()
        clear(lab, router)
        passwords.add(password())

    with nothing_lost(lab):
        for router in lab.routers:
            given(router, secret=OTHER, secret_old=SECRET)
            assert not [code for other in lab.routers for code, _, _ in problems(other) if code == "bad_record"]
        settled(lab)
        passwords.add(password())
        for router in lab.routers:
            given(router, secret=OTHER)
        settled(lab)
    assert len(passwords) == 2
    for router in lab.routers:
        assert problems(router) == [] and grep(router, "bridge", RUN) == []
        assert SECRET not in router.log() + router.bgpmesh("status", "-j").stdout
        assert OTHER not in router.log() + router.bgpmesh("status", "-j").stdout
        assert "Missing authentication option" not in router.log()
    assert not [key for key, value in keys(lab).items() if SECRET in value or OTHER in value]
