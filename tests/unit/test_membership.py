import example
from example import ED25519, RSA, SECRET, Clock, folder, options, prefixes
from fake_http import run
from fake_registry import Registry, Store

from bgpmesh import VERSION, cache, compat, disk, held, identity, records
from bgpmesh.etcd import EtcdError
from bgpmesh.membership import Membership
from bgpmesh.model import TAKE
from bgpmesh.problems import Problems
from bgpmesh.tinc.keys import Keys


def keys_of(number):
    """Keys that no other number has."""
    if number <= len(ED25519):
        return Keys(RSA[number - 1], ED25519[number - 1])
    return Keys(None, "%03d" % number + "A" * 40)


class Router:
    """A router named `node` on a store, and what it said. `steps()` is as many exchanges with the registry."""

    def __init__(self, store, node="alfa", *statements, number=1, cached=None, earlier=None, make=None):
        self.said = []
        self.problems = earlier.problems if earlier else Problems(self.said.append)
        self.registry = Registry(store, node)
        config = options(*statements, node=node)
        before = cache.PATH, identity.load_or_make
        cache.PATH = cached or "/nonexistent/members"
        identity.load_or_make = make or (lambda: example.identity(number))
        try:
            self.membership = Membership(config, keys_of(number), self.registry, self.problems, self.said.append)
            self.membership.load(earlier and earlier.membership)
        finally:
            cache.PATH, identity.load_or_make = before
        if not earlier:
            self.membership.announce([])

    def steps(self, count=1):
        changed = [run(self.membership.step()) for _ in range(count)]
        return changed[-1]

    @property
    def ip(self):
        return self.membership.me.ip if self.membership.me else None

    @property
    def others(self):
        return sorted(self.membership.others)

    def faults(self):
        """The codes of its problems."""
        return [problem.code for problem, _ in self.problems.all()]

    def record(self):
        """The record that is stored under its name, decoded."""
        text = self.registry.store.records[self.registry.node].text
        return records.decode(self.registry.node, text, self.membership.config, self.membership.key())


def mesh(store, *nodes):
    """Routers that have joined one after the other and know of each other."""
    found = []
    for number, node in enumerate(nodes):
        found.append(Router(store, node, number=number + 1))
        found[-1].steps(2)
    for router in found:
        router.steps(2)
    return found


# Joining


def test_no_record_is_written_before_it_is_known_what_to_announce():
    store = Store()
    router = Router(store)
    router.membership.prefixes = None
    router.steps(2)
    assert router.ip and "alfa" not in store.records
    assert router.membership.announce(prefixes("192.168.1.0/24"))
    router.steps()
    assert [str(prefix) for prefix in router.record().prefixes] == ["192.168.1.0/24"]


def test_a_router_joins_an_empty_mesh():
    store = Store()
    router = Router(store, "alfa", "option endpoint '192.0.2.1'")
    router.membership.announce(prefixes("192.168.1.0/24"))
    assert router.ip is None
    assert router.steps() is True
    assert router.ip == "10.0.0.1"
    assert store.claims == {"10.0.0.1": "alfa"}
    assert store.alive == {"alfa"}
    found = router.record()
    assert (found.ip, found.endpoint, found.serial, found.version) == ("10.0.0.1", ("192.0.2.1", 655), 1, VERSION)
    assert (found.key, found.ed25519) == (RSA[0], ED25519[0])
    assert found.prefixes == prefixes("192.168.1.0/24")
    assert (found.full_mesh_max, found.reflector) == (16, "auto")
    assert router.faults() == []


def test_steps_without_news_write_nothing_and_change_nothing():
    store = Store()
    router = Router(store)
    router.steps(2)
    revision = store.revision
    assert router.steps(3) is False
    assert store.revision == revision and len(router.registry.puts) == 1


def test_three_join_and_know_each_other():
    alfa, bravo, carol = mesh(Store(), "alfa", "bravo", "carol")
    assert [router.ip for router in (alfa, bravo, carol)] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert alfa.others == ["bravo", "carol"]
    assert carol.others == ["alfa", "bravo"]
    assert bravo.membership.online == {"alfa", "bravo", "carol"}
    assert bravo.membership.claims["10.0.0.3"] == "carol"
    members = [alfa.membership.me, bravo.membership.others["alfa"], carol.membership.others["alfa"]]
    assert len(set([member.created for member in members])) == 1


def test_the_overlays_ipv6_address_goes_with_the_ipv4_one():
    store = Store()
    store.claims["10.0.0.1"] = "other"
    router = Router(store, "alfa", "option network6 'fd00:99::/64'")
    router.steps()
    assert (router.record().ip, router.record().ip6) == ("10.0.0.2", "fd00:99::2")


def test_a_member_that_dies_is_offline_and_stays_a_member():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    store.alive.discard("bravo")
    assert alfa.steps() is True
    assert alfa.others == ["bravo"] and alfa.membership.online == {"alfa"}
    bravo.steps()
    assert alfa.steps() is True
    assert alfa.membership.online == {"alfa", "bravo"}


def test_a_member_that_leaves_is_gone():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    run(bravo.membership.leave())
    assert alfa.steps() is True
    assert alfa.others == []
    assert store.claims == {"10.0.0.1": "alfa"}


def test_new_prefixes_are_written_with_a_higher_serial():
    store = Store()
    router = Router(store)
    router.steps(2)
    assert router.membership.announce(prefixes("192.168.1.0/24")) is True
    assert router.membership.announce(prefixes("192.168.1.0/24")) is False
    assert router.steps() is True
    assert (router.record().serial, router.record().prefixes) == (2, prefixes("192.168.1.0/24"))


def test_an_unreachable_registry_changes_nothing():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    store.reachable = False
    for _ in range(2):
        try:
            alfa.steps()
            raise AssertionError("no error")
        except EtcdError:
            pass
    assert (alfa.ip, alfa.others, alfa.membership.online) == ("10.0.0.1", ["bravo"], {"alfa", "bravo"})
    store.reachable = True
    assert alfa.steps(2) is False


# Records of others that cannot be used


def test_a_bad_record_is_said_and_the_others_go_on():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    for node, text in (("carol", "garbage"), ("dora", None), ("../etc", "{}"), ("e\x1b[31m", "{}")):
        store.put(node, text)
    alfa.steps()
    assert alfa.others == ["bravo"]
    assert alfa.faults() == ["bad_record"] * 4
    subjects = [problem.subject for problem, _ in alfa.problems.all()]
    assert "carol" in subjects and "e?[31m" in subjects
    store.put("carol", store.records["bravo"].text)
    alfa.steps()
    assert alfa.others == ["bravo", "carol"] and alfa.faults() == ["bad_record"] * 3
    del store.records["dora"]
    alfa.steps()
    assert alfa.faults() == ["bad_record"] * 2


def test_a_member_whose_record_goes_bad_is_left_out():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    store.put("bravo", store.records["bravo"].text[:-1])
    assert alfa.steps() is True
    assert alfa.others == []
    bravo.steps()
    alfa.steps()
    assert alfa.others == ["bravo"] and alfa.faults() == []


# Its own record


def test_its_own_record_is_put_right_with_a_higher_serial():
    store = Store()
    router = Router(store)
    router.steps(2)
    good = store.records["alfa"].text
    for serial, text in enumerate(("garbage", "", None, good[:-1], good.replace("10.0.0.1", "10.0.0.7"))):
        store.put("alfa", text)
        router.steps(2)
        assert router.record().serial == serial + 2
        assert (router.ip, router.record().ip) == ("10.0.0.1", "10.0.0.1")
        assert router.faults() == []
        assert router.steps() is False


def test_its_own_record_is_written_again_when_it_was_deleted():
    store = Store()
    router = Router(store)
    router.steps(2)
    del store.records["alfa"]
    router.steps(2)
    assert router.record().serial == 2


def test_after_a_restart_the_serial_goes_on():
    store = Store()
    router = Router(store)
    router.membership.announce(prefixes("192.168.1.0/24"))
    router.steps(2)
    again = Router(store)
    again.membership.announce(prefixes("192.168.9.0/24"))
    again.steps(2)
    assert (again.ip, again.record().serial) == ("10.0.0.1", 2)


# Addresses


def test_the_first_free_address_is_claimed():
    store = Store()
    store.claims = {"10.0.0.1": "dora", "10.0.0.3": "dora", "10.0.0.200": "dora"}
    router = Router(store)
    router.steps()
    assert router.ip == "10.0.0.2"


def test_a_members_address_is_not_claimed_even_without_a_claim():
    store = Store()
    mesh(store, "bravo", "carol")
    store.claims = {}
    router = Router(store, number=9)
    router.steps()
    assert router.ip == "10.0.0.3"


def test_two_that_join_at_once_get_different_addresses():
    store = Store()
    alfa, bravo = Router(store), Router(store, "bravo", number=2)
    run(alfa.registry.poll())
    run(bravo.registry.poll())
    alfa.registry.poll = bravo.registry.poll = unchanged
    alfa.steps()
    bravo.steps()
    assert (alfa.ip, bravo.ip) == ("10.0.0.1", "10.0.0.2")


async def unchanged():
    return False


def test_a_claim_of_its_own_is_used_again_and_all_others_are_released():
    store = Store()
    store.claims = {
        "10.0.0.7": "alfa",
        "10.0.0.9": "alfa",
        "172.16.0.1": "alfa",
        "garbage": "alfa",
        "10.0.0.255": "alfa",
    }
    router = Router(store)
    router.steps(2)
    assert router.ip == "10.0.0.7"
    assert store.claims == {"10.0.0.7": "alfa"}


def test_who_is_kept_out_is_alive_to_nobody_and_keeps_its_place():
    for statements in ((), ("option secret '%s'" % SECRET,)):
        store = Store()
        alfa, bravo = Router(store, "alfa", *statements), Router(store, "bravo", *statements, number=2)
        for router in (alfa, bravo, alfa, bravo):
            router.steps()
        before = dict(store.claims), sorted(store.records)
        bravo.membership.kept_out = True
        bravo.steps(3)
        alfa.steps()
        assert alfa.membership.online == {"alfa"} and alfa.others == ["bravo"]
        assert (store.claims, sorted(store.records), bravo.ip) == (before + ("10.0.0.2",))
        bravo.membership.kept_out = False
        bravo.steps()
        alfa.steps()
        assert alfa.membership.online == {"alfa", "bravo"} and (bravo.ip, bravo.faults()) == ("10.0.0.2", [])


def test_who_is_kept_out_from_the_start_takes_nothing():
    store = Store()
    router = Router(store)
    router.membership.kept_out = True
    router.steps(2)
    assert (router.ip, store.records, store.claims, store.alive) == (None, {}, {}, set())
    router.membership.kept_out = False
    router.steps(2)
    assert router.ip == "10.0.0.1" and store.alive == {"alfa"}


def test_a_fixed_address():
    store = Store()
    router = Router(store, "alfa", "option address '10.0.0.77'")
    router.steps(2)
    assert (router.ip, store.claims) == ("10.0.0.77", {"10.0.0.77": "alfa"})


def test_two_routers_with_one_fixed_address():
    store = Store()
    alfa = Router(store, "alfa", "option address '10.0.0.77'")
    bravo = Router(store, "bravo", "option address '10.0.0.77'", number=2)
    for _ in range(3):
        alfa.steps()
        bravo.steps()
    assert (alfa.ip, bravo.ip) == ("10.0.0.77", None)
    assert store.claims == {"10.0.0.77": "alfa"}
    assert "bravo" not in store.records
    ((problem, _),) = bravo.problems.all()
    assert problem.code == "address_taken"
    assert "address 10.0.0.77 belongs to 'alfa'" in problem.text
    assert problem.text.endswith("uci delete bgpmesh.main.address; " + TAKE)
    assert alfa.faults() == []
    run(alfa.membership.leave())
    bravo.steps(2)
    assert (bravo.ip, bravo.faults()) == ("10.0.0.77", [])


def test_a_router_whose_fixed_address_was_given_to_it_loses_the_problem():
    store = Store()
    store.claims["10.0.0.77"] = "bravo"
    store.alive.add("bravo")
    router = Router(store, "alfa", "option address '10.0.0.77'")
    router.steps(2)
    assert router.faults() == ["address_taken"]
    store.claims["10.0.0.77"] = "alfa"
    router.steps(2)
    assert (router.ip, router.faults()) == ("10.0.0.77", [])


def test_a_fixed_address_is_taken_over_from_a_router_that_left_nothing_else():
    store = Store()
    store.claims["10.0.0.77"] = "bravo"
    router = Router(store, "alfa", "option address '10.0.0.77'")
    router.steps(2)
    assert (router.ip, router.faults()) == ("10.0.0.77", [])
    assert store.claims["10.0.0.77"] == "alfa"


def test_a_changed_fixed_address_moves_the_router():
    store = Store()
    router = Router(store)
    router.steps(2)
    again = Router(store, "alfa", "option address '10.0.0.77'", earlier=router)
    assert again.ip is None
    again.steps(2)
    assert (again.ip, again.record().ip) == ("10.0.0.77", "10.0.0.77")
    assert store.claims == {"10.0.0.77": "alfa"}


def test_a_lost_claim_makes_way_for_another_address():
    store = Store()
    router = Router(store)
    router.steps(2)
    store.claims["10.0.0.1"] = "bravo"
    assert router.steps() is True
    assert router.ip == "10.0.0.2"
    assert (router.record().ip, router.record().serial) == ("10.0.0.2", 2)


def test_a_deleted_claim_is_made_again():
    store = Store()
    router = Router(store)
    router.steps(2)
    del store.claims["10.0.0.1"]
    router.steps(2)
    assert (router.ip, store.claims) == ("10.0.0.1", {"10.0.0.1": "alfa"})


def test_an_exhausted_network():
    store = Store()
    store.claims = {"10.0.0.1": "bravo", "10.0.0.2": "carol"}
    store.alive = {"bravo", "carol"}
    router = Router(store, "alfa", "option network '10.0.0.0/30'")
    router.steps(2)
    assert (router.ip, router.faults()) == (None, ["no_address"])
    assert "widen option 'network'" in router.problems.all()[0][0].text
    assert "alfa" not in store.records
    del store.claims["10.0.0.1"]
    router.steps(2)
    assert (router.ip, router.faults()) == ("10.0.0.1", [])


def test_an_abandoned_claim_is_taken_over_when_nothing_is_free():
    store = Store()
    store.claims = {"10.0.0.1": "bravo", "10.0.0.2": "carol", "172.16.0.1": "dora", "garbage": "dora", "10.0.0.3": "d"}
    store.alive = {"bravo", "carol"}
    router = Router(store, "alfa", "option network '10.0.0.0/30'")
    router.steps(2)
    assert router.faults() == ["no_address"]
    store.alive = {"carol"}
    router.steps(2)
    assert (router.ip, store.claims["10.0.0.1"]) == ("10.0.0.1", "alfa")
    assert router.faults() == []


def test_a_claim_of_a_member_that_is_only_offline_is_not_taken_over():
    store = Store()
    mesh(store, "bravo", "carol")
    store.alive = set()
    router = Router(store, "alfa", "option network '10.0.0.0/30'", number=9)
    router.steps(2)
    assert (router.ip, router.faults()) == (None, ["no_address"])


# Names


def test_a_name_that_another_router_has():
    store = Store()
    first = Router(store)
    first.steps(2)
    second = Router(store, number=2)
    second.membership.announce(prefixes("192.168.1.0/24"))
    for _ in range(3):
        second.steps()
        first.steps()
    assert (second.ip, second.faults()) == (None, ["name_taken"])
    assert second.registry.puts == []
    assert first.record().ed25519 == ED25519[0]
    store.alive.discard("alfa")
    second.steps(2)
    assert (second.ip, second.faults()) == (None, ["name_taken"])  # its lease may only be late
    with Clock(2 * second.membership.config.poll_interval + 5):
        second.steps(2)
        assert (second.ip, second.faults()) == ("10.0.0.1", [])
        assert second.record().ed25519 == ED25519[1]



def test_who_can_write_claims_has_no_say_in_whose_an_address_is():
    for more, ip in ((), "10.0.0.1"), (("option address '10.0.0.9'",), "10.0.0.9"):
        store = Store()
        alfa = Router(store, "alfa", "option secret '%s'" % SECRET, *more)
        alfa.steps(3)
        registry, changes = alfa.registry, []
        poll, steal = registry.poll, registry.steal

        def claims(address=ip, store=store, changes=changes):
            changes.append(address)
            store.revision += 1
            store.claims[address] = "x%d" % len(changes)

        async def polled(claims=claims, poll=poll):
            claims()
            return await poll()

        async def stolen(address, owner, claims=claims, steal=steal):
            claims(address)  # between the look and what follows from it
            return await steal(address, owner)

        registry.poll, registry.steal = polled, stolen
        for _ in range(5):
            alfa.steps()
            assert (alfa.ip, alfa.faults()) == (ip, []) and changes
        del store.records["alfa"]
        alfa.steps(2)
        assert alfa.ip == alfa.record().ip == ip
        registry.poll, registry.steal = poll, steal
        alfa.steps(2)
        assert store.claims[ip] == "alfa"


def test_claims_in_its_own_name_are_given_up_a_few_in_each_step():
    store = Store()
    alfa = Router(store)
    alfa.steps(2)
    for number in range(20):
        store.claims["10.0.1.%d" % number] = "alfa"
    store.claims["odd\\x20name"] = "alfa"  # no key is called so
    store.revision += 1
    for left in (12, 4, 0, 0):
        alfa.steps()
        assert len(store.claims) == left + 2
    before = store.revision
    alfa.steps()
    assert store.revision == before


def test_a_record_that_is_refused_or_overwritten_is_not_written_without_end():
    store = Store()
    alfa = Router(store, "alfa", "option secret '%s'" % SECRET)
    alfa.membership.announce(prefixes(*["172.16.%d.0/24" % number for number in range(256)] + ["172.17.0.0/24"]))
    alfa.steps(50)
    assert len(alfa.registry.puts) < 12 and "record_overwritten" in alfa.faults()
    with Clock(120):
        alfa.steps(50)
        assert 12 < len(alfa.registry.puts) < 24
    alfa.membership.announce(prefixes("172.16.0.0/24"))
    with Clock(130):
        alfa.steps(2)
        assert alfa.record().prefixes and alfa.faults() == []
    # Two routers that were set up from one backup, each with a LAN of its own.
    store = Store()
    twins = [Router(store, "alfa", "option secret '%s'" % SECRET) for _ in range(2)]
    for number, router in enumerate(twins):
        router.membership.announce(prefixes("192.168.%d.0/24" % number))
    for _ in range(50):
        for router in twins:
            router.steps()
    assert sum([len(router.registry.puts) for router in twins]) < 24
    assert "record_overwritten" in twins[0].faults() + twins[1].faults()


def test_what_changes_all_the_time_is_kept_on_flash_all_the_same():
    place = folder("busy")
    before, cache.PATH = cache.PATH, place + "/members"
    try:
        router = Router(Store())
        router.steps(2)
        for later, kept in ((0, False), (200, False), (300, True)):
            with Clock(later):
                router.membership.save(moving=True)
            assert bool(disk.read_or_none(cache.PATH)) is kept
    finally:
        cache.PATH = before
        disk.remove_folder(place)


def test_its_own_name_with_one_key_the_same_is_its_own():
    store = Store()
    Router(store).steps(2)
    again = Router(store)
    again.membership._keys = Keys(RSA[0], None)  # now with tinc 1.0
    again.steps(2)
    assert again.faults() == []
    assert again.record().ed25519 is None


# Seniority


def test_seniority_survives_a_restart():
    store = Store()
    path = folder("membership") + "/members"
    alfa, bravo = mesh(store, "alfa", "bravo")
    cache.PATH, before = path, cache.PATH
    alfa.membership.save()
    cache.PATH = before
    created = bravo.membership.others["alfa"].created
    for again in (Router(store, cached=path), Router(store, earlier=alfa), Router(store)):
        again.steps(2)
        assert again.membership.me.created == created
        again.membership.announce(prefixes("192.168.1.0/24"))
        assert again.membership.me.created == created
        again.steps(2)
        assert again.membership.me.created == created
    disk.remove_folder(path.rpartition("/")[0])


def test_a_router_that_has_not_joined_yet_is_junior_to_all():
    store = Store()
    router = Router(store)
    router.steps()
    assert router.membership.me.created > 1 << 60


# Signatures


def signed(store, node, number, serial):
    config = options("option secret '%s'" % SECRET, node=node)
    router = Router(Store(), node, "option secret '%s'" % SECRET, number=number)
    router.steps(2)
    me = router.membership.me
    me.serial = serial
    me.ip = me.router_id = "10.0.0.%d" % number
    store.put(node, records.encode(me, "/peers/" + node, config.secret))
    store.alive.add(node)


def test_a_record_with_a_lower_serial_is_a_replay():
    store = Store()
    signed(store, "bravo", 2, 7)
    alfa = Router(store, "alfa", "option secret '%s'" % SECRET)
    alfa.steps(2)
    assert alfa.others == ["bravo"]
    signed(store, "bravo", 2, 6)
    alfa.steps()
    assert (alfa.others, alfa.faults()) == (["bravo"], ["bad_record"])
    text = alfa.problems.all()[0][0].text
    assert "'bravo' is refused, and an earlier one holds" in text
    assert "serial 6 is lower than one seen before, 7: a replay" in text
    signed(store, "bravo", 2, 7)
    alfa.steps()
    assert (alfa.others, alfa.faults()) == (["bravo"], [])


def test_a_replay_of_its_own_record_is_answered_with_a_higher_serial():
    store = Store()
    router = Router(store, "alfa", "option secret '%s'" % SECRET)
    router.steps(2)
    old = store.records["alfa"].text
    first = router.record().serial
    for number in range(3):
        router.membership.announce(prefixes("192.168.%d.0/24" % number))
        router.steps(2)
    assert router.record().serial == first + 3
    store.put("alfa", old)
    router.steps(2)
    assert router.record().serial == first + 4
    assert router.faults() == []


def test_unsigned_members_are_refused_where_there_is_a_secret():
    store = Store()
    mesh(store, "bravo")
    alfa = Router(store, "alfa", "option secret '%s'" % SECRET, number=2)
    alfa.steps(2)
    assert (alfa.others, alfa.faults()) == ([], ["bad_record"])
    assert '"sig":"hmac-sha256:' in store.records["alfa"].text


# A registry that was wiped


def test_members_missing_from_a_wiped_registry_are_kept_for_a_while_and_then_given_up():
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    store.wipe()
    assert alfa.steps() is True
    assert alfa.others == ["bravo", "carol"]
    assert alfa.membership.online == {"bravo", "carol"}
    assert alfa.membership.settling()
    alfa.steps(2)
    assert alfa.ip == "10.0.0.1" and store.claims == {"10.0.0.1": "alfa"}
    bravo.steps(2)
    alfa.steps()
    assert alfa.others == ["bravo", "carol"] and alfa.membership.settling()
    with Clock(held.SETTLE + 1):
        assert alfa.steps() is True
        assert alfa.others == ["bravo"] and not alfa.membership.settling()
        assert alfa.membership.online == {"alfa", "bravo"}
    carol.steps(2)
    assert carol.ip == "10.0.0.3"
    alfa.steps()
    assert alfa.others == ["bravo", "carol"]


def test_after_a_wipe_everybody_gets_the_same_address_again():
    store = Store()
    routers = mesh(store, "alfa", "bravo", "carol")
    store.wipe()
    for _ in range(3):
        for router in reversed(routers):
            router.steps()
    assert [router.ip for router in routers] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert [router.others for router in routers] == [["bravo", "carol"], ["alfa", "carol"], ["alfa", "bravo"]]
    assert [router.faults() for router in routers] == [[], [], []]
    assert not [router for router in routers if router.membership.settling()]


def test_after_a_wipe_a_record_is_read_again_even_at_the_same_revision():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    entry = store.records["bravo"]
    store.wipe()
    store.revision = entry.modified - 1
    store.put("bravo", entry.text.replace("10.0.0.2", "10.0.0.9"))
    assert store.records["bravo"].modified == entry.modified
    alfa.steps()
    assert alfa.membership.others["bravo"].ip == "10.0.0.9"
    assert alfa.membership.others["bravo"].created == entry.modified


def test_a_registry_that_was_wiped_while_the_agent_was_down():
    store = Store()
    path = folder("membership") + "/members"
    alfa, bravo = mesh(store, "alfa", "bravo")
    cache.PATH, before = path, cache.PATH
    alfa.membership.save()
    cache.PATH = before
    store.wipe()
    again = Router(store, cached=path)
    assert again.others == ["bravo"]
    again.steps(2)
    assert again.others == ["bravo"] and again.membership.settling()
    assert again.ip == "10.0.0.1"
    disk.remove_folder(path.rpartition("/")[0])


# The cache


def test_a_start_from_the_cache_without_a_registry():
    store = Store()
    path = folder("membership") + "/members"
    alfa, bravo = mesh(store, "alfa", "bravo")
    store.put("carol", "garbage")
    alfa.steps()
    cache.PATH, before = path, cache.PATH
    alfa.membership.save()
    cache.PATH = before
    again = Router(store, cached=path)
    assert (again.ip, again.others) == ("10.0.0.1", ["bravo"])
    assert again.membership.online == {"bravo"}
    assert not again.membership.known
    assert again.said == ["2 members are known from the last time"]
    again.steps(2)
    assert again.membership.known and (again.ip, again.others) == ("10.0.0.1", ["bravo"])
    disk.remove_folder(path.rpartition("/")[0])


def cached(text):
    """A router that starts with this text in its cache."""
    path = folder("membership") + "/members"
    disk.write(path, text, 0o600)
    try:
        return Router(Store(), cached=path)
    finally:
        disk.remove_folder(path.rpartition("/")[0])


def test_the_address_is_kept_from_the_cache():
    router = cached('{"address":"10.0.0.55"}\n')
    assert router.ip == "10.0.0.55"
    router.steps(2)
    assert router.ip == "10.0.0.55"
    assert router.registry.store.claims == {"10.0.0.55": "alfa"}


def test_a_cached_address_that_is_taken_is_given_up():
    router = cached('{"address":"10.0.0.55"}\n')
    router.registry.store.claims["10.0.0.55"] = "bravo"
    router.steps(2)
    assert router.ip == "10.0.0.1"


def test_a_cache_of_garbage_is_as_good_as_none():
    for text in (
        "",
        "garbage",
        "{}",
        "[]",
        '7\n"address"\nnull\n',
        '{"address":"10.0.0."}',
        '{"address":"172.16.0.1"}',
        '{"address":"10.0.0.0"}',
        '{"address":7}',
        '{"address":null}',
        '{"address":["10.0.0.5"]}',
        '{"address":"10.0.0.55',
        '{"node":"bravo"}',
        '{"node":"bravo","created":1,"modified":2,"text":7}',
        '{"node":"bravo","created":"1","modified":2,"text":"{}"}',
        '{"node":"bravo","created":1,"modified":null,"text":"{}"}',
        '{"node":"bravo","created":1,"modified":2,"text":null}',
        '{"node":7,"created":1,"modified":2,"text":"{}"}',
        '{"node":null,"created":1,"modified":2,"text":"{}"}',
        '{"node":["a"],"created":1,"modified":2,"text":"{}"}',
        '{"node":"bravo","created":1,"modified":2,"text":"{}',
    ):
        router = cached(text)
        assert (router.ip, router.others) == (None, []), text
        router.steps(2)
        assert (router.ip, router.faults()) == ("10.0.0.1", []), text


def test_nothing_is_saved_before_the_registry_has_answered():
    path = folder("membership") + "/members"
    cache.PATH, before = path, cache.PATH
    try:
        router = Router(Store())
        router.membership.save()
        assert not compat.exists(path)
        router.steps(2)
        router.membership.save()
        assert disk.read(path).startswith('{"address":"10.0.0.1","cluster":"77","approved_by":null}\n')
        # While it cannot be reached it has no id, and what was kept stays as it is.
        again = Router(Store(), cached=path)
        again.registry.cluster = None
        again.membership.save()
        assert disk.read(path).startswith('{"address":"10.0.0.1","cluster":"77","approved_by":null}\n')
    finally:
        cache.PATH = before
        disk.remove_folder(path.rpartition("/")[0])


def test_a_cache_that_cannot_be_written_is_a_problem_until_it_can():
    path = folder("membership")
    cache.PATH, before = path + "/no/members", cache.PATH
    try:
        router = Router(Store())
        router.steps(2)
        router.membership.save()
        assert router.faults() == ["disk"]
        disk.make_folder(path + "/no")
        router.membership.save()
        assert router.faults() == []
    finally:
        cache.PATH = before
        disk.remove_folder(path)


def test_other_options_right_after_a_record_was_written_forget_no_serial():
    store = Store()
    statements = ("option secret '%s'" % SECRET,)
    alfa = Router(store, "alfa", *statements)
    alfa.steps(3)
    earlier = store.records["alfa"].text
    alfa.membership.announce(prefixes("192.168.1.0/24"))
    alfa.steps()
    last = alfa.record().serial
    again = Router(store, "alfa", *statements, earlier=alfa)
    store.put("alfa", earlier)  # which etcd has not told alfa of
    again.steps(2)
    assert again.record().serial > last
