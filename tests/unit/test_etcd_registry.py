import asyncio

from fake_etcd import Etcd, b64
from fake_http import CLOSE, HANG, Server, answer, run

from bgpmesh.etcd import registry
from bgpmesh.etcd.registry import Registry
from bgpmesh.etcd.v3 import Client, EtcdError


def on(store, steps, nodes=("alfa",), ttl=30, endpoints=1, **options):
    """What steps(registry, ...) returns, with a registry of prefix /t for each node, all on one store."""

    async def main():
        servers = [Server(store.respond) for _ in range(endpoints)]
        for server in servers:
            await server.start()
        urls = ["http://127.0.0.1:%d" % server.port for server in servers]
        registries = [Registry(Client(urls, **options), "/t", node, ttl) for node in nodes]
        try:
            return await steps(*registries)
        finally:
            for registry in registries:
                registry.close()
            for server in servers:
                server.stop()

    return run(main())


async def failure(coroutine):
    """The kind of the EtcdError in which it ends."""
    try:
        found = await coroutine
    except EtcdError as error:
        return error.kind
    raise AssertionError("no error but %r" % found)


def texts(registry):
    return {node: registry.members[node].text for node in registry.members}


def filled(count=3, store=None):
    store = store or Etcd()
    for number in range(count):
        store.put("/t/peers/n%d" % number, "record %d" % number)
        store.put("/t/alive/n%d" % number)
        store.put("/t/claims/10.0.0.%d" % number, "n%d" % number)
    store.put("/tx/peers/other", "of another mesh")
    store.put("/t/peersx", "of nobody")
    return store


def agrees(registry, store):
    """Whether the view is what the store has."""
    found = [{}, {}, {}]
    for key in store.keys:
        for place, name in enumerate((b"/t/peers/", b"/t/alive/", b"/t/claims/")):
            if key.startswith(name):
                found[place][key[len(name) :].decode()] = store.keys[key][0].decode()
    return texts(registry) == found[0] and registry.alive == set(found[1]) and registry.claims == found[2]


def test_before_the_first_poll_there_is_nothing():
    async def steps(registry):
        assert (registry.members, registry.alive, registry.claims) == ({}, set(), {})
        assert (registry.revision, registry.last_success, registry.failures) == (0, None, 0)
        assert (registry.error, registry.generation) == (None, 0)
        return registry.endpoint.startswith("http://127.0.0.1:")

    assert on(Etcd(), steps)


def test_the_first_poll_reads_everything_under_the_prefix():
    store = filled()

    async def steps(registry):
        assert await registry.poll() is True
        assert texts(registry) == {"n0": "record 0", "n1": "record 1", "n2": "record 2"}
        assert registry.alive == {"n0", "n1", "n2"}
        assert registry.claims == {"10.0.0.0": "n0", "10.0.0.1": "n1", "10.0.0.2": "n2"}
        assert registry.revision == store.revision
        assert registry.last_success is not None
        entry = registry.members["n1"]
        assert (entry.created, entry.modified) == (5, 5)
        return len(store.paths)

    assert on(store, steps) == 1


def test_a_poll_without_news_is_one_request_and_changes_nothing():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.paths.clear()
        assert await registry.poll() is False
        store.put("/elsewhere", "x")
        assert await registry.poll() is False
        return len(store.paths), agrees(registry, store)

    assert on(store, steps) == (2, True)


def test_puts_come_with_one_request():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.paths.clear()
        store.put("/t/peers/n1", "another")
        store.put("/t/peers/new", "new")
        store.put("/t/alive/new")
        store.put("/t/claims/10.0.0.9", "new")
        store.put("/t/claims/10.0.0.0", "new")
        assert await registry.poll() is True
        assert registry.members["n1"].text == "another"
        assert (registry.members["n1"].created, registry.members["n1"].modified) == (5, 13)
        return len(store.paths), agrees(registry, store)

    assert on(store, steps) == (1, True)


def test_a_put_of_the_same_is_no_change():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.put("/t/peers/n1", "record 1")
        store.put("/t/alive/n1")
        store.put("/t/claims/10.0.0.1", "n1")
        assert await registry.poll() is False
        return registry.members["n1"].modified

    assert on(store, steps) == 13


def test_deletes_are_found():
    store = filled()

    async def steps(registry):
        await registry.poll()
        for key in ("/t/peers/n1", "/t/alive/n1", "/t/claims/10.0.0.1"):
            store.delete(key)
            assert await registry.poll() is True
            assert await registry.poll() is False
            assert agrees(registry, store), key
        return registry.generation

    assert on(store, steps) == 0


def test_the_last_of_all_may_be_deleted():
    store = Etcd()
    store.put("/t/peers/n", "record")

    async def steps(registry):
        await registry.poll()
        store.delete("/t/peers/n")
        assert await registry.poll() is True
        return registry.members

    assert on(store, steps) == {}


def test_a_delete_is_found_though_looking_for_it_fails_twice():
    store = filled()

    async def steps(registry):
        await registry.poll()
        await registry.keep_alive()
        for _ in range(2):
            await registry.poll()
        store.delete("/t/peers/n1")
        # What tells that a key is gone is answered (the first time after the lease's renewal), what tells which is not.
        for answered in (2, 1):
            store.raw = [None] * answered + [[HANG]]
            assert await failure(registry.poll()) == "timeout"
        await registry.poll()
        return agrees(registry, store)

    assert on(store, steps, timeout=0.3)


def test_a_delete_and_a_put_between_two_polls():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.delete("/t/peers/n1")
        store.put("/t/peers/new", "new")
        assert await registry.poll() is True
        assert agrees(registry, store)
        store.delete("/t/peers/n2")
        store.put("/t/peers/n2", "record 2")
        created = store.revision
        assert await registry.poll() is True  # the same text, but younger
        assert registry.members["n2"].created == created
        store.put("/t/peers/brief", "x")
        store.delete("/t/peers/brief")
        assert await registry.poll() is False
        return agrees(registry, store)

    assert on(store, steps)


def test_many_members_come_page_by_page():
    store = filled(60)

    async def steps(registry):
        await registry.poll()
        assert agrees(registry, store)
        for number in range(60):
            store.put("/t/peers/n%d" % number, "again %d" % number)
        await registry.poll()
        assert agrees(registry, store)
        for number in range(0, 60, 2):
            store.delete("/t/peers/n%d" % number)
            store.delete("/t/alive/n%d" % number)
        await registry.poll()
        assert agrees(registry, store)
        store.paths.clear()
        await registry.poll()
        return len(store.paths)

    assert on(store, steps) == 1


def test_a_store_that_lost_its_last_writes_is_read_anew():
    store = filled()

    async def steps(registry):
        await registry.poll()
        before, revision = store.snapshot(), store.revision
        store.put("/t/peers/n1", "lost")
        store.put("/t/peers/lost", "lost")
        await registry.poll()
        store.restore(before, revision)
        assert await registry.poll() is True
        assert registry.generation == 1
        assert agrees(registry, store)
        assert await registry.poll() is False
        return registry.generation

    assert on(store, steps) == 1


def test_a_wiped_store_is_read_anew():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.wipe()
        assert await registry.poll() is True
        assert (registry.members, registry.alive, registry.claims) == ({}, set(), {})
        store.put("/t/peers/n1", "record")
        await registry.poll()
        return registry.generation, agrees(registry, store)

    assert on(store, steps) == (1, True)


def test_another_cluster_is_read_anew_whatever_its_revision():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.__init__(revision=9999, cluster="78")
        store.put("/t/peers/n1", "there")
        assert await registry.poll() is True
        return registry.generation, agrees(registry, store)

    assert on(store, steps) == (1, True)


def test_a_restored_store_that_has_grown_again_is_known_by_its_term():
    store = filled()

    async def steps(registry):
        store.term = 9
        await registry.poll()
        store.keys[b"/t/peers/n1"][0] = b"of another past"
        store.put("/elsewhere")
        store.term = 2
        assert await registry.poll() is True
        return registry.generation, agrees(registry, store)

    assert on(store, steps) == (1, True)


def test_a_new_leader_is_no_new_store():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.term = 9
        assert await registry.poll() is False
        return registry.generation

    assert on(store, steps) == 0


def test_what_a_restore_changed_unseen_is_found_by_the_audit():
    store = filled()

    async def steps(registry):
        await registry.poll()
        # As after a restore and as many writes as had been lost: what differs is older than the last poll.
        store.keys[b"/t/peers/n1"] = [b"of another past", 3, 3, "0"]
        store.keys[b"/t/claims/10.0.0.1"][0] = b"n2"
        store.keys[b"/t/alive/other"] = store.keys.pop(b"/t/alive/n1")
        for _ in range(60):
            await registry.poll()
        return registry.generation, agrees(registry, store)

    assert on(store, steps) == (1, True)


def test_in_a_large_mesh_who_is_alive_is_left_to_the_polls():
    class Watched(Client):
        async def watch(self, spans, since, ring):
            self.spans = [first for first, _ in spans]

    for count, alive in ((20, ["/t/alive/"]), (100, [])):
        store = filled(count)

        async def steps(registry, alive=alive):
            await registry.poll()
            client = registry._client = Watched([registry.endpoint])
            await registry.watch(lambda: None)
            return client.spans == ["/t/peers/"] + alive + ["/t/claims/"]

        assert on(store, steps), count


def began_again(count, meanwhile, cluster=None, signed=False):
    """A registry that begins with what another one had of `count` members, before meanwhile(store)."""
    store = filled(count)
    for number in range(count if signed else 0):
        store.put("/t/trust/n%d" % number, "statement %d" % number)
        store.put("/t/peers/n%d" % number, "approved %d" % number)

    async def steps(registry):
        await registry.poll()
        known = dict(registry.members)
        again = Registry(registry._client, "/t", "alfa", 30, signed)
        again.recall(known, cluster or registry.cluster)
        meanwhile(store)
        await again.poll()
        assert agrees(again, store) and len(again.statements) == (count if signed else 0)
        assert await again.poll() is False
        return len([node for node in known if again.members.get(node) is known[node]])

    return on(store, steps)


def test_who_begins_again_fetches_what_has_changed():
    def meanwhile(store):
        for key in ("/t/peers/n7", "/t/alive/n8", "/t/claims/10.0.0.9"):
            store.delete(key)
        store.put("/t/peers/n10", "other")
        store.put("/t/peers/new", "new")
        store.put("/t/alive/new")
        store.put("/t/claims/10.0.0.11", "new")

    assert began_again(100, meanwhile) == began_again(100, meanwhile, signed=True) == 98
    # A few are fetched.
    assert began_again(20, meanwhile) == 0


def test_who_begins_again_with_another_store_reads_it_all():
    def one_is_other(store):
        # As after a restore, and as many writes as had been lost.
        store.put("/t/peers/new", "new")
        store.keys[b"/t/peers/n9"] = [b"of another past", 3, 3, "0"]

    def one_is_older(store):
        store.put("/t/peers/new", "new")
        store.keys[b"/t/peers/before"] = [b"of another past", 3, 3, "0"]

    def wiped(store):
        store.wipe()
        store.put("/t/peers/n9", "record")

    assert began_again(100, one_is_other) == 0
    assert began_again(100, one_is_older) == 0
    assert began_again(100, wiped) == 0
    assert began_again(100, lambda store: None, cluster="78") == 0


def test_a_lost_lease_makes_a_new_generation_and_everything_is_read():
    store = filled()

    async def steps(registry):
        await registry.poll()
        assert await registry.keep_alive() is True
        await registry.poll()
        assert "alfa" in registry.alive
        store.expire()
        store.keys[b"/t/peers/n1"][0] = b"of another past"  # with its revisions, as after a restore
        assert await registry.keep_alive() is True
        assert registry.generation == 1
        assert await registry.poll() is True
        return agrees(registry, store) and "alfa" in registry.alive

    assert on(store, steps, ttl=0)


def test_a_lost_lease_has_a_large_mesh_compared_and_not_fetched():
    store = filled(100)

    async def steps(registry, fault=None):
        await registry.poll()
        await registry.keep_alive()
        await registry.poll()
        before = registry.members["n50"]
        store.expire()
        if fault:
            fault()
        assert await registry.keep_alive() is True and registry.generation == 1
        await registry.poll()
        await registry.keep_alive()
        await registry.poll()
        return agrees(registry, store) and "alfa" in registry.alive, registry.members["n50"] is before

    assert on(store, steps, ttl=0) == (True, True)

    async def restored(registry):
        # n7 as put before what was read of it, and as many writes since as were lost.
        return await steps(registry, lambda: store.keys.update({b"/t/peers/n7": [b"of another past", 9, 9, "0"]}))

    store.keys = filled(100).keys
    assert on(store, restored, ttl=0) == (True, False)


def test_the_lease_is_renewed_and_not_granted_again():
    store = Etcd()

    async def steps(registry):
        for _ in range(3):
            await registry.poll()
            await registry.keep_alive()
        return [path for path in store.paths if "kv/txn" not in path]

    assert on(store, steps, ttl=0) == [
        "/v3/lease/grant",
        "/v3/kv/put",
        "/v3/lease/keepalive",
        "/v3/lease/keepalive",
    ]
    store.paths.clear()
    assert on(store, steps, ttl=30) == ["/v3/lease/grant", "/v3/kv/put"]


def test_a_sign_of_life_that_was_deleted_is_put_again():
    store = Etcd()

    async def steps(registry):
        await registry.keep_alive()
        await registry.poll()
        store.delete("/t/alive/alfa")
        assert await registry.keep_alive() is False
        await registry.poll()
        assert "alfa" not in registry.alive
        await registry.keep_alive()
        await registry.poll()
        return "alfa" in registry.alive, registry.generation

    assert on(store, steps) == (True, 0)


def test_a_lease_that_turns_out_lost_at_a_put_is_granted_anew():
    store = Etcd()

    async def steps(registry):
        await registry.keep_alive()
        await registry.poll()
        store.wipe()
        await registry.poll()
        assert await registry.keep_alive() is True
        await registry.poll()
        return "alfa" in registry.alive, registry.generation

    assert on(store, steps) == (True, 2)


def test_a_refused_sign_of_life_grants_no_lease_after_lease():
    store = Etcd()

    async def steps(registry):
        for _ in range(3):
            store.refuse = []
            if not store.leases:
                store.raw = [answer(b'{"header":{"revision":"1"},"ID":"5","TTL":"30"}')]
                store.leases["5"] = 30
            store.refuse = [(403, "etcdserver: permission denied")]
            assert await failure(registry.keep_alive()) == "permission"
        await registry.keep_alive()
        return store.paths

    assert on(store, steps) == ["/v3/lease/grant"] + ["/v3/kv/put"] * 4


def test_an_address_is_claimed_by_the_first():
    store = Etcd()

    async def steps(alfa, beta):
        assert await alfa.claim("10.0.0.1") == "alfa"
        assert await beta.claim("10.0.0.1") == "alfa"
        assert await alfa.claim("10.0.0.1") == "alfa"
        assert await beta.claim("10.0.0.2") == "beta"
        await alfa.poll()
        return alfa.claims

    assert on(store, steps, ("alfa", "beta")) == {"10.0.0.1": "alfa", "10.0.0.2": "beta"}


def test_a_claim_is_released_by_its_owner_only():
    store = Etcd()

    async def steps(alfa, beta):
        await alfa.claim("10.0.0.1")
        await beta.release("10.0.0.1")
        assert b"/t/claims/10.0.0.1" in store.keys
        await alfa.release("10.0.0.1")
        await alfa.release("10.0.0.1")
        return store.keys

    assert on(store, steps, ("alfa", "beta")) == {}


def test_a_claim_is_stolen_only_from_whom_it_was_meant_to():
    store = Etcd()

    async def steps(alfa, beta):
        await alfa.claim("10.0.0.1")
        assert await beta.steal("10.0.0.1", "gone") is False
        assert await beta.steal("10.0.0.2", "gone") is False
        assert await beta.steal("10.0.0.1", "alfa") is True
        assert await beta.steal("10.0.0.1", "alfa") is True  # as when the first answer was lost
        return store.keys[b"/t/claims/10.0.0.1"][0]

    assert on(store, steps, ("alfa", "beta")) == b"beta"


def test_who_leaves_takes_its_own_with_it():
    store = filled()

    async def steps(alfa):
        before = sorted(store.keys)
        await alfa.poll()
        await alfa.keep_alive()
        await alfa.put_record("mine")
        await alfa.claim("10.0.0.9")
        await alfa.poll()
        await alfa.leave()
        assert sorted(store.keys) == before
        return store.leases

    assert on(store, steps) == {}


def test_who_falls_silent_keeps_its_record_and_may_speak_again():
    store = filled()

    async def steps(alfa):
        await alfa.poll()
        await alfa.keep_alive()
        await alfa.put_record("mine")
        for _ in range(2):
            await alfa.fall_silent()
            await alfa.poll()
            assert "alfa" not in alfa.alive and alfa.members["alfa"].text == "mine"
        assert store.leases == {}
        assert await alfa.keep_alive() is True
        await alfa.poll()
        return "alfa" in alfa.alive, alfa.generation

    assert on(store, steps) == (True, 0)


def test_leaving_needs_no_poll_before_and_may_be_repeated():
    store = filled()
    store.put("/t/peers/alfa", "mine")
    store.put("/t/alive/alfa")
    store.put("/t/claims/10.0.0.9", "alfa")

    async def steps(alfa):
        await alfa.leave()
        await alfa.leave()
        return [key for key in store.keys if b"alfa" in key or b"10.0.0.9" in key]

    assert on(store, steps) == []


def test_leaving_with_a_lease_that_is_gone():
    store = Etcd()

    async def steps(alfa):
        await alfa.poll()
        await alfa.keep_alive()
        store.expire()
        await alfa.leave()
        return store.keys

    assert on(store, steps) == {}


def test_failures_are_counted_and_a_good_poll_ends_them():
    store = filled()

    async def steps(registry):
        await registry.poll()
        good = registry.last_success
        store.refuse = [(503, "etcdserver: no leader"), (500, "etcdserver: broken")]
        assert await failure(registry.poll()) == "leader"
        assert await failure(registry.poll()) == "server"
        assert registry.failures == 2
        assert "broken" in registry.error
        assert registry.last_success == good
        assert agrees(registry, store)
        await registry.poll()
        return registry.failures, registry.error

    assert on(store, steps) == (0, None)


def test_a_change_that_came_with_a_failed_poll_is_told_by_the_next():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.delete("/t/peers/n1")
        store.put("/t/peers/new", "new")
        store.raw = [None, answer(b"no", "500 Server Error")]
        assert await failure(registry.poll()) == "server"
        assert await registry.poll() is True
        return agrees(registry, store)

    assert on(store, steps)


def test_an_endpoint_that_is_left_has_everything_compared():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.keys[b"/t/claims/10.0.0.1"][0] = b"n2"  # unseen by a poll
        await registry.poll()
        assert not agrees(registry, store)
        first = registry.endpoint
        store.refuse = [(503, "etcdserver: no leader")]
        await registry.poll()
        assert registry.endpoint != first
        store.paths.clear()
        await registry.poll()
        assert len(store.paths) == 1
        return agrees(registry, store)

    assert on(store, steps, endpoints=2)


def test_an_endpoint_that_is_no_etcd_is_left_for_the_next_one():
    store = filled()

    async def steps(registry):
        await registry.poll()
        first = registry.endpoint
        store.raw = [answer(b'{"header":{}}')]
        assert await failure(registry.poll()) == "protocol"
        await registry.poll()
        return registry.endpoint != first and agrees(registry, store)

    assert on(store, steps, endpoints=2)


def test_answers_that_are_not_a_registry():
    store = filled()
    header = b'{"header":{"cluster_id":"77","revision":"900","raft_term":"2"},"responses":'
    empty = b'[{"response_range":{}},{"response_range":{}},{"response_range":{}}]}'

    async def steps(registry):
        for body in (
            b'{"header":{}}',
            b'{"header":null,"responses":[]}',
            b'{"header":{"cluster_id":"1","revision":"x","raft_term":"1"},"responses":[]}',
            header.replace(b"900", b"9223372036854775808") + empty,
            header + b"null}",
            header + b"[]}",
            header + b"[{},{},{}]}",
            header + b'[{"response_range":{"kvs":[{}]}}]}',
            header + b'[{"response_range":{"kvs":[{"key":"*"}],"count":"1"}}]}',
        ):
            store.raw = [answer(body)]
            assert await failure(registry.poll()) == "protocol", body
            await registry.poll()
            assert agrees(registry, store), body
        return registry.failures

    assert on(store, steps) == 0


def test_answers_that_are_not_a_lease_or_a_claim():
    store = Etcd()

    async def steps(registry):
        nested = b'{"header":{},"ID":' + b"[" * 5000 + b"]" * 5000 + b"}"
        for body in (nested, b'{"header":{}}', b'{"result":[]}', b'{"result":{"TTL":"x"},"header":[]}'):
            for _ in range(2):
                store.raw = [answer(body)]
                assert await failure(registry.keep_alive()) == "protocol", body
            store.raw = [answer(body)]
            assert await failure(registry.claim("10.0.0.1")) == "protocol", body
            store.raw = [answer(body)]
            assert await failure(registry.put_record("mine")) == "protocol", body
            await registry.keep_alive()
        return await registry.claim("10.0.0.1")

    assert on(store, steps, ttl=0) == "alfa"


def test_half_an_answer_leaves_the_view_as_it_was():
    store = filled()

    async def steps(registry):
        await registry.poll()
        store.put("/t/peers/new", "new")
        store.raw = [[b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"header":{"cluster_id":"77"', CLOSE]]
        assert await failure(registry.poll()) == "closed"
        assert "new" not in registry.members
        assert await registry.poll() is True
        store.raw = [[b"HTTP/1.1 200 OK\r\n", HANG]]
        assert await failure(registry.poll()) == "timeout"
        return agrees(registry, store), registry.failures

    assert on(store, steps, timeout=1) == (True, 1)


def test_unusual_names_are_kept_apart_and_bounded():
    store = Etcd()
    names = [
        b"",
        b"a b",
        b"a/b",
        b"\xff\x00",
        b"\\xff\\x00",
        b"\n",
        "ä".encode(),
        b"x" * 63,
        b"x" * 64,
        b"y" * 5000,
    ]
    for name in names:
        store.put(b"/t/peers/" + name, "record")

    async def steps(registry):
        await registry.poll()
        assert len(registry.members) == len(names)
        assert max([len(name) for name in registry.members]) < 1100
        assert all([32 < ord(letter) < 127 for name in registry.members for letter in name])
        store.paths.clear()
        assert await registry.poll() is False
        assert len(store.paths) == 1
        store.delete(b"/t/peers/\xff\x00")
        await registry.poll()
        return "\\xff\\x00" in registry.members, "\\x5cxff\\x5cx00" in registry.members

    assert on(store, steps) == (False, True)


def test_a_record_that_is_too_long_or_no_text_is_a_marker():
    store = Etcd()
    store.put("/t/peers/long", "x" * 20000)
    store.put("/t/peers/bytes", b"\xff\xfe")
    store.put("/t/peers/good", "x" * 16384)

    async def steps(registry):
        await registry.poll()
        return [
            (node, entry.text and len(entry.text))
            for node, entry in sorted(registry.members.items())
        ]

    assert on(store, steps) == [("bytes", None), ("good", 16384), ("long", None)]


def test_a_record_that_is_too_long_to_be_fetched_keeps_nobody_else_out():
    store = filled(40)
    store.put("/t/peers/n17x", "x" * 60000)

    async def steps(registry):
        await registry.poll()
        entry = registry.members["n17x"]
        assert entry.text is None
        assert len(texts(registry)) == 41
        assert registry.members["n18"].text == "record 18"
        store.paths.clear()
        assert await registry.poll() is False
        assert len(store.paths) == 1
        store.put("/t/peers/n17x", "y" * 60000)
        store.put("/t/peers/n9", "new")
        assert await registry.poll() is True
        store.put("/t/peers/n17x", "short")
        await registry.poll()
        return agrees(registry, store)

    assert on(store, steps, limit=40000)


class Meanwhile(Etcd):
    """An Etcd to which a key is put before its next answer but so many."""

    answers = None

    def respond(self, request):
        if self.answers is not None:
            self.answers -= 1
        if self.answers == -1:
            self.put("/t/peers/n17", "record 17 as of now")
        return super().respond(request)


def test_a_record_that_is_put_while_one_behind_it_is_stepped_over_is_none_that_is_too_long():
    for answers in range(12):
        for first in (True, False):
            store = filled(40, Meanwhile())
            store.delete("/t/peers/n17")

            async def steps(registry, answers=answers, first=first, store=store):
                if not first:
                    await registry.poll()
                store.put("/t/peers/n17x", "x" * 60000)
                store.answers = answers
                await registry.poll()
                await registry.poll()
                assert registry.members["n17x"].text is None
                if store.answers < 0:
                    assert registry.members["n17"].text == "record 17 as of now"
                return True

            assert on(store, steps, limit=40000)


def flood(store, count):
    """Keys of nobody, before and behind those of the members."""
    for number in range(count):
        for name in ("!%d" % number, "z%d" % number):
            store.put("/t/peers/" + name, "junk " * 50)
            store.put("/t/alive/" + name)
            store.put("/t/claims/172.16.%d.%s" % (number, name), name)


def test_any_number_of_strangers_keeps_nobody_out_and_takes_little_memory():
    for before in (True, False):
        store = filled(40)

        async def steps(registry, before=before, store=store):
            registry.judge = lambda name, entry: entry.text.startswith("record")
            if not before:
                await registry.poll()
            flood(store, 150)
            for _ in range(2):
                await registry.poll()
            asked = len(store.paths)
            await registry.poll()
            assert len(store.paths) == asked + 1
            names = set(["n%d" % number for number in range(40)])
            for _ in range(2):
                assert names <= set(registry.members) and len(registry.members) == len(names) + 64
                assert registry.passed_over == 300 - 64
                assert names <= registry.alive and len(registry.alive) <= len(names) + 64
                assert names <= set(registry.claims.values()) and len(registry.claims) <= len(names) + 64
                # Others join and leave meanwhile.
                store.put("/t/alive/n99")
                store.put("/t/claims/10.0.0.99", "n99")
                await registry.poll()
                store.put("/t/peers/n99", "record 99")
                store.delete("/t/peers/n0")
                store.delete("/t/alive/n0")
                store.delete("/t/claims/10.0.0.0")
                for _ in range(2):
                    await registry.poll()
                names.add("n99")
                names.discard("n0")
                assert "n0" not in registry.members and "n0" not in registry.alive
            for key in list(store.keys):
                if b"/!" in key or b"/z" in key or b"172.16" in key:
                    store.delete(key)
            for _ in range(3):
                await registry.poll()
            assert agrees(registry, store) and registry.passed_over == 0 and registry.generation == 0
            return True

        assert on(store, steps)


def test_how_many_were_passed_over_is_news():
    store = filled(4)

    async def steps(registry):
        registry.judge = lambda name, entry: entry.text.startswith("record")
        await registry.poll()
        told = []
        for numbers in range(64), (64,), (65,), ():
            for number in numbers:
                store.put("/t/peers/x%02d" % number, "junk")
            if not numbers:
                store.delete("/t/peers/x64")
                store.delete("/t/peers/x65")
            told.append((await registry.poll(), registry.passed_over, await registry.poll()))
        return told

    assert on(store, steps) == [(True, 0, False), (True, 1, False), (True, 2, False), (True, 0, False)]


def test_what_is_a_members_is_found_when_its_record_counts_again():
    store = filled(4)

    async def steps(registry):
        registry.judge = lambda name, entry: entry.text.startswith("record")
        flood(store, 150)
        store.put("/t/peers/m", "junk")
        await registry.poll()
        store.put("/t/alive/m")
        store.put("/t/claims/10.0.0.77", "m")
        for _ in range(2):
            await registry.poll()
        store.put("/t/peers/m", "record m")
        for _ in range(2):
            await registry.poll()
        return "m" in registry.members and "m" in registry.alive and registry.claims.get("10.0.0.77") == "m"

    assert on(store, steps)


def test_a_store_that_is_exchanged_while_it_is_read_is_read_anew():
    store = filled(4)

    async def steps(registry):
        for number in range(100):
            store.put("/t/alive/!%d" % number)
        look = store._txn

        def exchange(body):
            if len(store.paths) == 2:
                store.cluster = "88"
                store.delete("/t/peers/n1")
            return look(body)

        store._txn = exchange
        await registry.poll()
        assert registry.generation == 1
        await registry.poll()
        return sorted(registry.members), registry.generation

    assert on(store, steps) == (["n0", "n2", "n3"], 1)


def test_who_is_admitted_is_no_stranger_any_more():
    store = filled(4)

    async def steps(registry):
        registry.judge = lambda name, entry: entry.text.startswith("record")
        store.put("/t/peers/m", "waits")
        for number in range(150):
            store.put("/t/alive/!%d" % number)
        await registry.poll()
        store.put("/t/alive/m")
        await registry.poll()
        assert "m" not in registry.alive
        registry.admit("m")
        for _ in range(2):
            await registry.poll()
        return "m" in registry.alive

    assert on(store, steps)


def test_values_that_are_too_long_to_be_fetched_keep_nobody_out():
    store = filled(20)

    async def steps(registry):
        for _ in range(2):
            for key in ("/t/claims/!", "/t/claims/10.0.0.7x", "/t/alive/m", "/t/alive/n3", "/t/peers/m", "/t/peers/m2"):
                store.put(key, "x" * 50000)
            await registry.poll()
            assert set(["n%d" % number for number in range(20)]) <= set(registry.members)
            assert registry.members["m"].text is None
            assert registry.claims["10.0.0.3"] == "n3" and registry.claims["!"] == ""
            assert "m" in registry.alive
            store.delete("/t/alive/m")
            await registry.poll()
            assert "m" not in registry.alive and registry.claims["!"] == ""
        return True

    assert on(store, steps, limit=20000)


def test_an_owner_that_is_no_name_is_kept_as_data():
    store = Etcd()
    store.put("/t/claims/10.0.0.1", b"\xff")
    store.put("/t/claims/10.0.0.2", "")

    async def steps(registry):
        await registry.poll()
        assert await registry.claim("10.0.0.1") == "\\xff"
        return registry.claims

    assert on(store, steps) == {"10.0.0.1": "\\xff", "10.0.0.2": ""}


def test_pages_that_lead_nowhere_are_an_error_and_no_endless_search():
    head = b'{"header":{"cluster_id":"77","revision":"12","raft_term":"2"},"responses":[{"response_range":'
    key = b'{"key":"L3QvYWxpdmUvYQ==","create_revision":"4","mod_revision":"5"}'  # /t/alive/a: before /t/peers/
    pages = (b'{"more":true,"count":"9"}', b'{"more":true,"kvs":[' + key + b"]}", b'{"count":1e999}')

    async def steps(alfa):
        for page in pages:
            store.raw = [answer(head + page + b'},{"response_range":{}},{"response_range":{}}]}')] * 2
            assert await failure(alfa.poll()) == "protocol"
            assert len(store.raw) == 1
        store.raw = []
        await alfa.poll()
        assert agrees(alfa, store)

    store = filled()
    on(store, steps)


def crammed(store, steps):
    """As on(), where a poll takes no more than 60 keys."""
    before, registry._MOST = registry._MOST, 60
    try:
        return on(store, steps)
    finally:
        registry._MOST = before


def test_more_keys_than_a_mesh_has_are_refused_before_they_fill_the_memory():
    async def steps(alfa):
        await alfa.poll()
        for number in range(300):
            store.put("/t/alive/%d" % number)
        assert await failure(alfa.poll()) == "limit"
        assert len(alfa.alive) < 300
        for number in range(300):
            store.delete("/t/alive/%d" % number)
        await alfa.poll()
        assert agrees(alfa, store)

    store = filled()
    crammed(store, steps)


def test_any_number_of_claims_keeps_nobody_from_hearing_the_rest():
    async def steps(alfa):
        await alfa.poll()
        for number in range(300):
            store.put("/t/claims/x%d" % number, "n1")
        store.put("/t/peers/n1", "another")
        await alfa.poll()
        assert alfa.overfull and alfa.crowded and alfa.members["n1"].text == "another"
        assert alfa.claims["10.0.0.1"] == "n1" and len(alfa.claims) < 100
        store.paths.clear()
        store.put("/t/peers/n2", "another")
        await alfa.poll()
        assert alfa.members["n2"].text == "another" and len(store.paths) < 3
        # One that starts then is as well off.
        new = Registry(alfa._client, "/t", "n1", 30)
        await new.poll()
        assert new.overfull and sorted(new.members) == sorted(alfa.members) and new.alive == alfa.alive
        for number in range(300):
            store.delete("/t/claims/x%d" % number)
        for _ in range(registry._AUDIT + 1):
            await alfa.poll()
        assert not alfa.overfull and not alfa.crowded
        return agrees(alfa, store)

    store = filled(8)
    assert crammed(store, steps)


def test_each_right_that_is_missing_is_named():
    def denied(*words):
        """What try_rights() says where etcd denies requests with these keys, base64."""

        async def steps(alfa):
            def respond(request):
                for word in words:
                    if word in request.partition(b"\r\n\r\n")[2]:
                        return store._refusal(403, "etcdserver: permission denied")
                return store.respond(request)

            server = await Server(respond).start()
            one = Registry(Client(["http://127.0.0.1:%d" % server.port]), "/t", "alfa", 30)
            try:
                await one.try_rights()
                return None
            except EtcdError as error:
                assert error.kind == "permission" and "`bgpmesh etcd-role`" in str(error)
                return str(error).partition("may not ")[2].partition(":")[0]
            finally:
                one.close()
                server.stop()

        store = filled()
        kept = dict(store.keys)
        said = on(store, steps)
        assert store.keys == kept
        return said

    peers, alive, claims = b"L3QvcGVlcnMv", b"L3QvYWxpdmUv", b"L3QvY2xhaW1zLw=="
    assert denied() is None
    assert denied(peers + b"YWxmYQ==") == "write /t/peers/alfa"
    assert denied(alive) == "read /t/alive/* nor write /t/alive/alfa"
    assert denied(b"delete_range") == "write /t/claims/*"
    assert denied(claims, peers + b'"') == "read /t/peers/*, /t/claims/* nor write /t/claims/*"


def test_a_key_whose_name_is_longer_than_an_answer_is_stepped_over():
    for table in ("claims", "alive", "peers"):
        store = filled(5)

        async def steps(alfa, store=store, table=table):
            await alfa.poll()
            for end in ("", "y", "\xff"):
                store.put("/t/%s/n2%s%s" % (table, "x" * 20000, end), "n1")
            store.put("/t/peers/n3", "another")
            await alfa.poll()
            new = Registry(alfa._client, "/t", "bravo", 30)
            for one in alfa, new:
                await one.poll()
                await one.poll()
                assert one.members["n3"].text == "another" and len(one.members) == len(one.alive) == 5
                store.paths.clear()
                await one.poll()
                assert len(store.paths) == 1  # it costs nothing while nothing changes
            store.delete("/t/%s/n2%sy" % (table, "x" * 20000))
            store.delete("/t/peers/n4")
            for one in alfa, new:
                await one.poll()
                assert len(one.members) == 4

        on(store, steps, limit=16000)


def test_stepping_over_keys_has_an_end_whatever_is_answered():
    long = "/t/peers/" + "x" * 400
    names = []

    def poll_of(name, count):
        """The kind of the error of a poll of a server that answers with too much, and tells of long names only."""

        async def main():
            def respond(request):
                if b"count_only" in request:
                    return answer(b'{"header":{},"responses":[{"response_range":%s}]}' % count)
                if b"/v3/kv/range" not in request:
                    return answer(b'{"x":"%s"}' % (b"y" * 2000))
                names.append(name(len(names)))
                return answer(b'{"header":{},"kvs":[{"key":"%s"}]}' % b64(names[-1].encode()).encode())

            server = await Server(respond).start()
            alfa = Registry(Client(["http://127.0.0.1:%d" % server.port], limit=1000), "/t", "alfa", 30)
            try:
                return await asyncio.wait_for(failure(alfa.poll()), 60)
            finally:
                alfa.close()
                server.stop()

        names.clear()
        return run(main())

    before, registry._MOST = registry._MOST, 20
    try:
        assert poll_of(lambda at: long, b'{"count":"1"}') == "limit" and len(names) == 2
        assert poll_of(lambda at: long + "%03d" % at, b'{"count":"1"}') == "limit" and len(names) < 30
        for count in b"[]", b'{"count":"x"}', b'{"count":1e999}':
            assert poll_of(lambda at: long, count) == "protocol"
    finally:
        registry._MOST = before


def test_no_memory_for_any_answer_is_told_as_that():
    async def steps(alfa):
        await alfa.poll()
        store.put("/t/peers/n1", "another")
        call = alfa._client.call

        async def full(path, request, subject=""):
            if "txn" in path:
                raise EtcdError("limit", "more than there is memory for")
            return await call(path, request, subject)

        alfa._client.call = full
        return await failure(alfa.poll())

    store = filled()
    assert on(store, steps) == "limit"


def test_claims_in_its_own_name_are_bounded_like_a_strangers():
    async def steps(alfa):
        for number in range(200):
            store.put("/t/claims/y%03d" % number, "alfa")
        await alfa.poll()
        return len(alfa.claims), alfa.crowded, alfa.claims["10.0.0.2"]

    store = filled()
    assert on(store, steps) == (3 + registry._OWN + registry._STRANGERS, True, "n2")
