"""What somebody who can write to the registry, but does not know the network's secret, does to a mesh: nothing."""

from example import ED25519, OTHER_SECRET, SECRET, Clock, folder, prefixes
from fake_http import run
from fake_registry import Store
from test_membership import Router

from bgpmesh import cache, clock, disk, held, records
from bgpmesh import secret as network_secret

SIGNS = "option secret '%s'" % SECRET
HOUR = 3600  # seconds
DAY = 24 * HOUR


def member(store, node, *statements, number=1, **given):
    return Router(store, node, SIGNS, *statements, number=number, **given)


def mesh(store, *nodes):
    """Routers with a secret that have joined one after the other and know of each other."""
    found = []
    for number, node in enumerate(nodes):
        found.append(member(store, node, number=number + 1))
        found[-1].steps(2)
    for router in found:
        router.steps(2)
    return found


def number_of(router):
    return ED25519.index(router.membership._keys.ed25519) + 1


def restarted(router, meanwhile=lambda: None):
    """A router that starts anew, with what the other one had on flash before something happened."""
    path = folder("hostile") + "/members"
    before, cache.PATH = cache.PATH, path
    try:
        router.membership._cache = cache.Cache()
        router.membership._unsaved = True
        router.membership.save()
        meanwhile()
        return member(router.registry.store, router.registry.node, number=number_of(router), cached=path)
    finally:
        cache.PATH = before
        disk.remove_folder(path.rpartition("/")[0])


def later(seconds, step):
    """What step() returns while the time of day is so much later."""
    now = clock.now
    clock.now = lambda: now() + seconds
    try:
        return step()
    finally:
        clock.now = now


def texts(router):
    return [problem.text for problem, _ in router.problems.all()]


def expect(router, others, *codes):
    assert (router.others, router.faults()) == (others, list(codes)), (router.others, texts(router))


# Records that are deleted


def test_a_member_whose_record_was_deleted_is_offline_and_goes_on_being_served():
    store = Store()
    alfa, bravo, _ = mesh(store, "alfa", "bravo", "carol")
    del store.records["bravo"]
    assert alfa.steps() is True
    expect(alfa, ["bravo", "carol"], "record_gone")
    assert alfa.membership.online == {"alfa", "carol"}
    assert "bravo" in alfa.membership.entries and "'bravo' is gone from the registry" in texts(alfa)[0]
    assert not alfa.membership.settling() and alfa.steps() is False
    bravo.steps(2)
    alfa.steps()
    expect(alfa, ["bravo", "carol"])
    assert alfa.membership.online == {"alfa", "bravo", "carol"}


def test_a_member_without_a_record_is_given_up_after_the_grace():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    del store.records["bravo"]
    alfa.steps()
    with Clock(DAY - 60):
        alfa.steps()
        expect(alfa, ["bravo"], "record_gone")
    with Clock(DAY + 60):
        assert alfa.steps() is True
        expect(alfa, [])
        assert alfa.steps() is False


def test_the_grace_is_as_long_as_the_options_say():
    for statement, seconds in (("option grace '2'", 2 * HOUR), ("option grace '72'", 3 * DAY)):
        store = Store()
        alfa = member(store, "alfa", statement)
        alfa.steps(2)
        member(store, "bravo", number=2).steps(2)
        alfa.steps(2)
        store.put("bravo", "garbage")
        alfa.steps()
        with Clock(seconds - 60):
            alfa.steps()
            expect(alfa, ["bravo"], "bad_record")
        with Clock(seconds + 60):
            alfa.steps()
            expect(alfa, [], "bad_record")


def test_another_grace_counts_for_who_is_held_on_to_already():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    del store.records["bravo"]
    alfa.steps()
    again = member(store, "alfa", "option grace '1'", earlier=alfa)
    again.steps(2)
    expect(again, ["bravo"], "record_gone")
    with Clock(HOUR + 60):
        again.steps()
        expect(again, [])


def test_a_member_that_is_seen_in_the_mesh_is_not_given_up():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    del store.records["bravo"]
    alfa.steps()
    with Clock(DAY - 60):
        alfa.membership.vouch(["bravo", "nobody"])
    with Clock(DAY + 60):
        alfa.steps()
        expect(alfa, ["bravo"], "record_gone")


def test_the_grace_outlasts_a_restart():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    del store.records["bravo"]
    alfa.steps()
    alfa = restarted(alfa)
    expect(alfa, ["bravo"])
    alfa.steps(2)
    expect(alfa, ["bravo"], "record_gone")


def test_the_grace_outlasts_other_options():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    store.put("bravo", "garbage")
    alfa.steps()
    again = member(store, "alfa", "option port '1655'", earlier=alfa)
    again.steps(2)
    expect(again, ["bravo"], "bad_record")


def test_who_leaves_is_gone_at_once_everywhere():
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    run(bravo.membership.leave())
    assert alfa.steps() is True
    expect(alfa, ["carol"])
    assert "bravo" not in alfa.membership.entries
    assert "bravo" not in store.alive and "bravo" not in store.claims.values()
    # Who has seen the farewell remembers it, without it and after a restart.
    del store.records["bravo"]
    alfa.steps()
    expect(alfa, ["carol"])
    carol.steps()
    expect(carol, ["alfa", "bravo"], "record_gone")  # it has not seen it


def test_the_record_of_who_left_cannot_be_put_back():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    good = store.records["bravo"].text
    run(bravo.membership.leave())
    alfa.steps()
    del store.records["bravo"]
    for again in (alfa, restarted(alfa), member(store, "alfa", "option port '1655'", earlier=alfa)):
        again.steps(2)
        store.put("bravo", good)
        again.steps()
        expect(again, [], "bad_record")
        assert "a replay" in texts(again)[0]
        del store.records["bravo"]
        again.steps()


def test_an_old_farewell_does_not_remove_who_came_back():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    run(bravo.membership.leave())
    farewell = store.records["bravo"].text
    alfa.steps()
    bravo = member(store, "bravo", number=2)
    bravo.steps(2)
    alfa.steps()
    expect(alfa, ["bravo"])
    store.put("bravo", farewell)
    alfa.steps()
    expect(alfa, ["bravo"], "bad_record")


def test_who_comes_back_after_it_left_is_a_junior():
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    run(alfa.membership.leave())
    bravo.steps()
    alfa = member(store, "alfa")
    alfa.steps(2)
    bravo.steps()
    assert bravo.membership.others["alfa"].created > bravo.membership.others["carol"].created
    assert alfa.record().serial > 2


def test_a_farewell_that_is_not_signed_is_none():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    for text in (
        '{"left":true,"serial":9}',
        records.farewell(9, "/peers/bravo", OTHER_SECRET),
        records.farewell(9, "/peers/alfa", SECRET),
        records.farewell(0, "/peers/bravo", SECRET),
    ):
        store.put("bravo", text)
        alfa.steps()
        expect(alfa, ["bravo"], "bad_record")


def test_an_administrator_takes_out_a_router_that_is_gone_for_good():
    store = Store()
    alfa, _, carol = mesh(store, "alfa", "bravo", "carol")
    del store.records["bravo"]
    alfa.steps()
    run(alfa.membership.remove("bravo"))
    for router in (alfa, carol):
        router.steps()
        assert "bravo" not in router.others and router.faults() == []
    for name in ("alfa", "", "../x", "two words"):
        try:
            run(alfa.membership.remove(name))
            raise AssertionError("no error")
        except ValueError as error:
            assert "another member" in str(error)


def test_without_a_secret_a_deletion_counts_at_once():
    store = Store()
    alfa = Router(store, "alfa")
    bravo = Router(store, "bravo", number=2)
    for router in (alfa, bravo, alfa):
        router.steps(2)
    del store.records["bravo"]
    alfa.steps()
    expect(alfa, [])
    bravo.steps(2)
    alfa.steps()
    run(alfa.membership.remove("bravo"))
    assert "bravo" not in store.records


# Records that are overwritten


def test_a_record_that_does_not_count_leaves_the_last_good_one_in_force():
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    first = store.records["bravo"].text
    bravo.membership.announce(prefixes("192.168.2.0/24"))
    bravo.steps(2)
    alfa.steps()
    unsigned = records.encode(bravo.membership.me)
    for text, words in (
        ("garbage", "not signed"),
        ("", "not signed"),
        (None, "longer than"),
        (unsigned, "not signed"),
        (records.encode(bravo.membership.me, "/peers/bravo", OTHER_SECRET), "signed with another secret"),
        (store.records["carol"].text, "signature is wrong"),
        (first, "a replay"),
    ):
        store.put("bravo", text)
        alfa.steps()
        expect(alfa, ["bravo", "carol"], "bad_record")
        assert "'bravo' is refused, and an earlier one holds" in texts(alfa)[0] and words in texts(alfa)[0]
        assert alfa.membership.others["bravo"].prefixes == prefixes("192.168.2.0/24")
    again = restarted(alfa)
    again.steps(2)
    expect(again, ["bravo", "carol"], "bad_record")
    bravo.steps(2)
    for router in (alfa, again):
        router.steps()
        expect(router, ["bravo", "carol"])


def test_a_replay_is_known_after_a_restart():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    old = store.records["bravo"].text
    bravo.membership.announce(prefixes("192.168.2.0/24"))
    bravo.steps(2)
    alfa.steps()
    del store.records["bravo"]
    alfa.steps()
    alfa = restarted(alfa)
    store.put("bravo", old)
    alfa.steps(2)
    expect(alfa, ["bravo"], "bad_record")
    assert "a replay" in texts(alfa)[0]


def test_who_has_lost_all_that_was_known_of_it_is_no_replay():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    started = clock.now()
    bravo = later(5, lambda: restarted(bravo, lambda: store.put("bravo", "spoilt")))
    later(5, lambda: bravo.steps(2))
    assert bravo.record().serial <= started + 7
    for number in range(9):
        bravo.membership.announce(prefixes("192.168.%d.0/24" % number))
        bravo.steps(2)
    alfa.steps()
    del store.records["bravo"]
    alfa.steps()
    anew = member(store, "bravo", number=2)
    later(20, lambda: anew.steps(2))
    alfa.steps()
    expect(alfa, ["bravo"])
    assert [str(prefix) for prefix in alfa.membership.others["bravo"].prefixes] == [
        str(prefix) for prefix in anew.record().prefixes
    ] != ["192.168.8.0/24"]


def test_who_was_cut_off_before_it_kept_its_latest_record_does_not_take_a_replay_for_it():
    for clock_is_wrong in (False, True):
        store = Store()
        alfa, bravo = mesh(store, "alfa", "bravo")
        old = store.records["bravo"].text

        def meanwhile():
            for number in range(3):
                bravo.membership.announce(prefixes("192.168.%d.0/24" % number))
                bravo.steps(2)
            alfa.steps()
            store.put("bravo", old)

        bravo = restarted(bravo, meanwhile)
        alfa.steps()
        expect(alfa, ["bravo"], "bad_record")
        before, clock.is_wrong = clock.is_wrong, lambda: clock_is_wrong
        try:
            bravo.steps(2)
        finally:
            clock.is_wrong = before
        alfa.steps()
        expect(alfa, ["bravo"])
        assert alfa.membership.others["bravo"].prefixes == []
        # Whose record is the one that it has kept writes none.
        kept = store.records["bravo"].text
        bravo = restarted(bravo)
        bravo.steps(3)
        assert store.records["bravo"].text == kept


def test_without_a_clock_that_is_right_serials_begin_at_one():
    wrong = clock.is_wrong
    try:
        clock.is_wrong = lambda: True
        alfa, _ = mesh(Store(), "alfa", "bravo")
    finally:
        clock.is_wrong = wrong
    assert alfa.record().serial == 1


def test_nobody_pushes_our_serial_up_who_cannot_sign():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    first = alfa.record().serial
    alfa.membership.me.serial = records.LARGEST
    for text in (
        records.encode(alfa.membership.me),
        records.encode(alfa.membership.me, "/peers/alfa", OTHER_SECRET),
        records.farewell(records.LARGEST, "/peers/alfa", OTHER_SECRET),
    ):
        store.put("alfa", text)
        alfa.steps(2)
    assert alfa.record().serial == first + 3 and alfa.faults() == []


def test_without_a_secret_the_largest_serial_is_not_the_end():
    store = Store()
    router = Router(store)
    router.steps(2)
    router.membership.me.serial = records.LARGEST
    router.membership.me.endpoint = ("192.0.2.99", 655)
    store.put("alfa", records.encode(router.membership.me))
    router = Router(store)
    router.steps(2)
    assert router.record().serial == 1 and router.record().endpoint is None


def test_who_deletes_a_record_and_puts_it_back_makes_nobody_a_junior():
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    seniority = [alfa.membership.others[node].created for node in ("bravo", "carol")]
    text = store.records["bravo"].text
    del store.records["bravo"]
    alfa.steps()
    store.put("bravo", text)
    bravo.steps()
    bravo.membership.announce(prefixes("192.168.2.0/24"))
    bravo.steps(2)
    for router in (alfa, restarted(alfa)):
        router.steps(2)
        assert [router.membership.others[node].created for node in ("bravo", "carol")] == seniority
    assert bravo.membership.me.created == seniority[0]


# Claims and signs of life


def test_a_claim_that_was_stolen_is_taken_back_and_counts_for_nothing_meanwhile():
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    for thief in ("evil", "carol"):
        store.claims["10.0.0.2"] = thief
        store.alive.add(thief)
        alfa.steps()
        assert alfa.membership.claims == {}
        bravo.steps()
        assert (bravo.ip, store.claims["10.0.0.2"]) == ("10.0.0.2", "bravo")
        assert bravo.faults() == []
    del store.claims["10.0.0.2"]
    bravo.steps()
    assert (bravo.ip, store.claims["10.0.0.2"]) == ("10.0.0.2", "bravo")
    # Nor does a claim in a router's own name move it.
    store.claims = {"10.0.0.2": "evil", "10.0.0.77": "bravo"}
    bravo.steps(2)
    assert bravo.ip == "10.0.0.2" and "10.0.0.77" not in store.claims


def test_a_fixed_address_is_claimed_from_whoever_has_no_record_of_it():
    store = Store()
    mesh(store, "bravo", "carol")
    store.claims["10.0.0.77"] = "evil"
    store.alive.add("evil")
    store.put("evil", "{}")
    alfa = member(store, "alfa", "option address '10.0.0.77'", number=3)
    alfa.steps(2)
    assert (alfa.ip, store.claims["10.0.0.77"]) == ("10.0.0.77", "alfa")


def test_a_claim_does_not_give_away_the_address_of_a_member():
    store = Store()
    _, bravo = mesh(store, "alfa", "bravo")
    store.claims["10.0.0.1"] = "dora"
    dora = member(store, "dora", "option address '10.0.0.1'", number=3)
    dora.steps(2)
    assert (dora.ip, dora.faults()) == (None, ["address_taken"])
    assert "belongs to 'alfa'" in texts(dora)[0]


def test_of_two_with_one_address_the_junior_makes_way():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    store.claims = {}
    bravo.membership._set_address("10.0.0.1")
    bravo.membership.registry.members = {}
    bravo.registry.claims = {}
    run(bravo.membership._keep_record())
    alfa.steps()
    assert alfa.membership.others["bravo"].ip == "10.0.0.1"
    for _ in range(2):
        bravo.steps()
        alfa.steps()
    assert (alfa.ip, bravo.ip) == ("10.0.0.1", "10.0.0.2")
    assert alfa.membership.others["bravo"].ip == "10.0.0.2"


def test_two_with_one_fixed_address_agree_on_the_senior():
    store = Store()
    alfa = member(store, "alfa", "option address '10.0.0.77'")
    bravo = member(store, "bravo", "option address '10.0.0.77'", number=2)
    for _ in range(4):
        alfa.steps()
        bravo.steps()
    assert (alfa.ip, bravo.ip, bravo.faults()) == ("10.0.0.77", None, ["address_taken"])


def test_claims_on_all_addresses_keep_nobody_out():
    store = Store()
    (alfa,) = mesh(store, "alfa")
    for number in range(1, 255):
        store.claims["10.0.0.%d" % number] = "evil%d" % number
        store.alive.add("evil%d" % number)
        store.put("evil%d" % number, "{}")
    bravo = member(store, "bravo", number=2)
    bravo.steps(2)
    alfa.steps(2)
    assert bravo.ip == "10.0.0.10" and bravo.others == ["alfa"] and alfa.others == ["bravo"]
    assert store.claims["10.0.0.1"] == "alfa"


def test_a_record_without_a_signature_takes_nobodys_name():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    evil = Router(Store(), "alfa", number=3)
    evil.steps(2)
    store.put("alfa", evil.registry.store.records["alfa"].text)
    store.alive.add("alfa")
    alfa.steps(2)
    assert (alfa.ip, alfa.faults()) == ("10.0.0.1", [])


# Floods


def test_many_bad_records_share_a_problem_and_the_members_go_on():
    store = Store()
    alfa, _ = mesh(store, "alfa", "bravo")
    for number in range(1000):
        store.put("evil%d" % number, "{}")
    alfa.steps()
    assert alfa.others == ["bravo"]
    assert len(alfa.faults()) == 33
    assert [text for text in texts(alfa) if "968 more records cannot be used" in text]


# What is remembered


def test_the_serials_of_those_that_are_gone_are_bounded():
    serials = held.Serials({"alfa": 7})
    for number in range(1000):
        serials.note("r%d" % number, number)
        serials.went("r%d" % number)
    serials.note("bravo", 3)
    assert len(serials.known) == 257
    assert (serials.get("r999"), serials.get("r1"), serials.get("bravo"), serials.get("alfa")) == (999, 0, 3, 0)
    serials.note("bravo", 2)
    assert serials.get("bravo") == 3


def test_who_left_and_comes_back_is_no_replay_though_the_registry_has_forgotten_it():
    store = Store()
    path = folder("left") + "/members"
    alfa, bravo = mesh(store, "alfa", "bravo")
    ahead = clock.now() + 3600
    alfa.membership._serials.note("alfa", ahead)  # signed while the clock was ahead
    alfa.membership._kept, alfa.membership.me.ao = None, True
    alfa.steps(2)
    bravo.steps(2)
    assert bravo.membership._serials.get("alfa") > ahead
    before, cache.PATH = cache.PATH, path
    try:
        run(alfa.membership.leave())
        alfa.membership.forget()
    finally:
        cache.PATH = before
    assert '"text"' not in disk.read(path)
    bravo.steps(2)
    store.wipe()
    again = member(store, "alfa", cached=path)
    for _ in range(3):
        again.steps()
        bravo.steps()
    assert (bravo.others, bravo.faults()) == (["alfa"], []), texts(bravo)


# Another secret


def given(router, *statements):
    """The router with other options."""
    again = Router(
        router.registry.store, router.registry.node, *statements, number=number_of(router), earlier=router
    )
    # Nothing is told of the other secret before BIRD has what bears a session's new beginning.
    again.steps(2)
    assert '"secrets"' not in store_of(again)[again.registry.node].text or OLD not in statements
    again.membership.bridge()
    return again


def store_of(router):
    return router.registry.store.records


NEW = "option secret '%s'" % OTHER_SECRET
OLD = "option secret_old '%s'" % SECRET


def test_members_are_given_another_secret_one_after_the_other():
    store = Store()
    routers = mesh(store, "alfa", "bravo", "carol")
    names = [router.registry.node for router in routers]
    for statements in ((NEW, OLD), (NEW,)):
        for place in range(3):
            routers[place] = given(routers[place], *statements)
            for _ in range(3):
                for router in routers:
                    router.steps()
                    assert router.others == [name for name in names if name != router.registry.node]
                    assert router.faults() == [], texts(router)
    assert not [node for node in names if '"secrets"' in store.records[node].text]


def test_who_has_told_of_both_secrets_tells_of_both_though_the_registry_is_emptied():
    # An agent that did not tell itself: it found them told in its record.
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    alfa, bravo = given(alfa, NEW, OLD), given(bravo, NEW, OLD)
    alfa.steps(2)
    bravo.steps(2)
    again = Router(store, "alfa", NEW, OLD, number=1)
    again.steps(2)
    store.wipe()
    for _ in range(4):
        again.steps()
        assert len(again.membership.me.secrets) == 2
    assert '"secrets"' in store.records["alfa"].text
    # Nor does one whose other options change meanwhile; with another secret BIRD has to have taken it first.
    store.wipe()
    again.steps()
    del store.records["alfa"]
    again.membership._decode(store.records)
    changed = Router(store, "alfa", NEW, OLD, "option endpoint '192.0.2.1'", number=1, earlier=again)
    assert len(changed.membership.me.secrets) == 2
    changed = Router(store, "alfa", "option secret 'one more, as long as others'", OLD, number=1, earlier=again)
    assert len(changed.membership.me.secrets) == 1


def test_a_member_that_was_forgotten_is_refused_when_the_earlier_secret_is_no_more():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    alfa = given(alfa, NEW, OLD)
    alfa.steps(2)
    expect(alfa, ["bravo"])
    alfa = given(alfa, NEW)
    alfa.steps(2)
    expect(alfa, [], "bad_record")
    bravo.steps()
    expect(bravo, ["alfa"], "bad_record")  # it goes on for the grace, and says so
    bravo = given(bravo, NEW)
    for router in (bravo, alfa, bravo):
        router.steps(2)
    expect(alfa, ["bravo"])
    expect(bravo, ["alfa"])


def test_a_router_with_the_earlier_secret_alone_joins_in_the_meantime():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    alfa, bravo = given(alfa, NEW, OLD), given(bravo, NEW, OLD)
    for router in (alfa, bravo, alfa, bravo):
        router.steps(2)
    carol = member(store, "carol", number=3)
    carol.steps(2)
    for router in (alfa, bravo, carol, alfa, bravo, carol):
        router.steps(2)
    expect(carol, ["alfa", "bravo"])
    expect(alfa, ["bravo", "carol"])


def test_who_starts_with_a_record_from_before_the_other_secret_tells_what_it_told_last():
    store = Store()
    path = folder("bridge") + "/members"
    alfa, _ = mesh(store, "alfa", "bravo")
    before, cache.PATH = cache.PATH, path
    try:
        alfa.membership._cache = cache.Cache()
        alfa.membership.save()
    finally:
        cache.PATH = before
    alfa = given(alfa, NEW, OLD)
    alfa.steps(2)
    told = store.records["alfa"]
    # BIRD is configured before the registry is asked, or after that.
    for first in ("bridge", "step"):
        again = Router(store, "alfa", NEW, OLD, number=number_of(alfa), cached=path)
        assert len(again.membership.me.secrets) == 1
        steps = {"bridge": again.membership.bridge, "step": again.steps}
        assert steps[first]() is True, "a plan is to be made for it"
        assert len(again.membership.me.secrets) == 2
        again.steps(2)
        assert again.membership.bridge() is False
        assert [member.secrets for member in (again.membership.me, again.membership.own())] == [
            network_secret.names([OTHER_SECRET, SECRET])
        ] * 2
        assert '"secrets"' in store.records["alfa"].text and told.created == store.records["alfa"].created


def test_who_is_junior_to_all_others_but_itself_goes_to_another_address():
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    address = alfa.ip
    # Deleted just as dora joins, who cannot know who was there before.
    del store.records["alfa"]
    del store.claims[address]
    store.revision += 1
    dora = member(store, "dora", number=4)
    dora.steps(2)
    assert dora.ip == address
    for later in (0, 60, 110, 130, 131, 132):
        with Clock(later):
            for router in (alfa, bravo, carol):
                router.membership.vouch(["alfa", "bravo", "carol"])
                router.steps()
            assert later > 110 or dora.ip == address, "there was no time for a session yet"
            dora.steps()
    assert alfa.ip == address != dora.ip
    for router in (alfa, bravo, carol, dora):
        router.steps(2)
        assert router.membership.others["alfa" if router is not alfa else "dora"].ip in (address, dora.ip)
    revision = store.revision
    for router in (alfa, bravo, carol, dora):
        router.steps(2)
    assert store.revision == revision and store.claims[address] == "alfa"


def test_who_follows_a_router_from_address_to_address_does_not_keep_it_moving():
    store = Store()
    alfa = mesh(store, "alfa")[0]
    mallory = member(store, "mallory", number=3)
    mallory.steps(2)
    moves = 0
    for later in range(0, 2000, 20):
        before = alfa.ip
        mallory.membership._set_address(before)
        store.put("mallory", records.encode(mallory.membership.me, "/peers/mallory", SECRET))
        with Clock(later):
            alfa.steps()
        moves += alfa.ip != before
    assert moves == 4, "each pause is twice as long as the one before"


def test_claims_that_nobody_has_a_record_for_are_taken_over():
    store = Store()
    alfa, bravo = mesh(store, "alfa", "bravo")
    for number in range(3, 250):
        store.claims["10.0.0.%d" % number] = "bravo"
    carol = member(store, "carol", number=3)
    asked = []
    claim, carol.registry.claim = carol.registry.claim, None

    async def counted(address):
        asked.append(address)
        return await claim(address)

    # The registry passes over more claims than a mesh needs.
    poll = carol.registry.poll

    async def without():
        changed = await poll()
        carol.registry.claims = {}
        return changed

    carol.registry.claim, carol.registry.poll = counted, without
    carol.registry.crowded = True
    carol.steps(2)
    assert carol.ip and len(asked) < 40


def test_of_many_who_join_at_once_nobody_takes_an_address_from_another():
    store = Store()
    joining = [member(store, "n%d" % number, number=number + 1) for number in range(9)]
    for number in range(1, 41):
        store.claims["10.0.0.%d" % number] = "m%d" % number  # who has no record yet
    for router in joining:
        poll = router.registry.poll

        async def before(poll=poll, registry=router.registry):
            changed = await poll()
            registry.claims = {}
            return changed

        router.registry.poll = before
        router.steps()
    assert [store.claims["10.0.0.%d" % number] for number in (1, 17, 18, 40)] == ["m1", "m17", "m18", "m40"]
    assert len(set([router.ip for router in joining])) == len(joining)
