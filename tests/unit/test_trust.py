from example import ED25519, SECRET, folder, identity, member, options, prefixes
from fake_http import run
from fake_registry import Registry, Store
from test_membership import Router, keys_of

from bgpmesh import cache, clock, compat, disk, records, trust, usign
from bgpmesh import identity as own
from bgpmesh.etcd import EtcdError
from bgpmesh.problems import Problems

OWNER = usign.Secret(usign.make(bytes(range(56)))[0])
THIEF = usign.Secret(usign.make(bytes(56))[0])
SIGNED = ("option trust 'signed'", "option trust_key '%s'" % usign.line(OWNER.public))


def shown(number):
    return identity(number).id


def said(verb, node, serial, approved="", secret=OWNER, prefix=""):
    """The owner's statement, as it is stored."""
    text = trust.compose(verb, prefix + "/trust/" + node, serial, approved)
    return text + secret.sign(text.encode()) + "\n"


class Judge:
    """The Trust of router alfa, and the store that it looks at."""

    def __init__(self, *statements):
        self.store = Store()
        self.said = []
        self.problems = Problems(self.said.append)
        self.registry = Registry(self.store, "alfa")
        config = options(*(SIGNED + statements))
        self.trust = trust.Trust(config, self.problems, self.said.append)
        self.trust.load()

    def hears(self, **statements):
        """These statements are in etcd, None for those that no longer are; the nodes of which others hold now."""
        for node in statements:
            if statements[node] is None:
                del self.store.statements[node]
            else:
                self.store.state(node, statements[node])
        run(self.registry.poll())
        changed = run(self.trust.learn(self.registry))
        run(self.trust.verify())
        return sorted(changed)

    def standing(self, node="bravo", number=2):
        return self.trust.standing(node, shown(number))

    def faults(self):
        return [problem.code for problem, _ in self.problems.all()]


def kept(test):
    """Has a test run with what is kept on flash in a folder of its own, and handed in the file's path."""

    def run_test():
        before = trust.PATH, trust.STATE, trust._TIME
        trust._TIME = 600
        trust.STATE = folder("trust")
        trust.PATH = trust.STATE + "/trust"
        try:
            test(trust.PATH)
        finally:
            disk.remove_folder(trust.STATE)
            trust.PATH, trust.STATE, trust._TIME = before

    return run_test


@kept
def test_who_is_not_spoken_of_is_pending(_):
    assert Judge().standing() == "pending"


@kept
def test_who_is_approved_is_so_with_this_identity_only(_):
    judge = Judge()
    assert judge.hears(bravo=said("approve", "bravo", 1, shown(2))) == ["bravo"]
    assert judge.standing() == "approved"
    assert judge.standing(number=3) == judge.trust.standing("bravo", "") == "unapproved"
    assert judge.standing("carol") == "pending"


@kept
def test_nobody_but_the_owner_is_heard(_):
    judge = Judge()
    good = said("approve", "bravo", 1, shown(2))
    revoked = said("revoke", "bravo", 9)
    judge.hears()
    for text in (
        said("approve", "bravo", 2, shown(2), secret=THIEF),
        said("approve", "carol", 2, shown(2)),  # of another member
        said("approve", "bravo", 2, shown(2), prefix="/other"),  # of another network
        good.replace("/trust/bravo 1", "/trust/bravo 2"),
        good.replace(shown(2), shown(3)),
        revoked.replace(" revoke ", " approve "),
        good[:-2] + "\n",
        good[:-1],
        good + "\n",
        good.replace(" 1 ", " 01 "),
        good.replace(" 1 ", " -1 "),
        good.replace(" ", "  "),
        good.replace("\n", " " + shown(3) + "\n", 1),
        revoked.replace("\n", " " + shown(3) + "\n", 1),
        "",
        "\n\n",
        "x" * 5000,
        good.split("\n")[0],
        None,
    ):
        assert not judge.hears(bravo=text if text is not None else "\0")
        assert judge.standing() == "pending" and judge.faults() == ["bad_statement"], text
    assert judge.hears(bravo=good)
    assert judge.standing() == "approved" and judge.faults() == []


@kept
def test_the_later_statement_holds_whatever_is_put_back(_):
    judge = Judge()
    approval = said("approve", "bravo", 5, shown(2))
    judge.hears(bravo=approval)
    assert judge.hears(bravo=said("revoke", "bravo", 6))
    assert judge.standing() == "revoked"
    for earlier in (approval, said("approve", "bravo", 6, shown(2)), None):
        assert not judge.hears(bravo=earlier)
        assert judge.standing() == "revoked"
    assert judge.hears(bravo=said("approve", "bravo", 7, shown(3)))
    assert judge.standing(number=3) == "approved" and judge.standing() == "unapproved"


@kept
def test_what_was_said_is_kept_over_a_restart_and_written_once(path):
    judge = Judge()
    judge.hears(alfa=said("approve", "alfa", 1, shown(1)), bravo=said("revoke", "bravo", 2))
    text = disk.read(path)
    assert text.count("\n") == 5 and text.startswith(usign.line(OWNER.public))
    later = Judge()
    assert later.standing("alfa", 1) == "approved" and later.standing() == "revoked"
    disk.remove(path)
    assert not later.hears(alfa=said("approve", "alfa", 1, shown(1)), bravo=said("approve", "bravo", 1, shown(2)))
    assert later.standing() == "revoked" and disk.read(path) is None


@kept
def test_what_is_kept_for_another_key_or_network_is_not_believed(path):
    Judge().hears(bravo=said("approve", "bravo", 1, shown(2)))
    assert Judge().standing() == "approved"
    assert Judge("option etcd_prefix '/other'").standing() == "pending"
    text = disk.read(path)
    disk.write(path, text.replace(usign.line(OWNER.public), usign.line(THIEF.public)), 0o600)
    assert Judge().standing() == "pending"
    disk.write(path, text.replace("bgpmesh approve", "bgpmesh appr"), 0o600)
    assert Judge().standing() == "pending"


@kept
def test_damage_in_one_line_takes_no_other_with_it(path):
    judge = Judge()
    judge.hears(bravo=said("revoke", "bravo", 1), carol=said("revoke", "carol", 1))
    lines = disk.read(path).split("\n")
    disk.write(path, "\n".join(lines[:1] + lines[2:]), 0o600)
    assert Judge().standing("carol") == "revoked"


@kept
def test_a_slow_router_verifies_a_little_after_each_poll(_):
    judge = Judge()
    for number in (1, 2, 3):
        judge.store.put("n%d" % number, "")
    before, trust._TIME = trust._TIME, -1
    try:
        judge.hears(**{"n%d" % number: said("revoke", "n%d" % number, 1) for number in (1, 2, 3)})
    finally:
        trust._TIME = before
    assert len(judge.trust.statements) == 1 and judge.trust.behind() and not judge.trust.known
    assert len(judge.hears()) == 2 and len(judge.trust.statements) == 3 and judge.trust.known


@kept
def test_a_flash_that_cannot_be_written_is_a_problem_and_no_obstacle(path):
    trust.PATH = "/proc/nonexistent/trust"
    judge = Judge()
    assert judge.hears(bravo=said("revoke", "bravo", 1))
    assert judge.standing() == "revoked" and judge.faults() == ["disk"]
    trust.PATH = path  # there is room again
    judge.hears()
    assert judge.faults() == [] and "revoke" in disk.read(path)


@kept
def test_each_statement_is_verified_once(_):
    judge = Judge()
    count = []
    verify = usign.verify

    def counting(*arguments):
        count.append(1)
        return verify(*arguments)

    usign.verify = counting
    try:
        judge.hears(
            bravo=said("approve", "bravo", 1, shown(2)),
            carol=said("approve", "carol", 1, shown(3), secret=THIEF),
        )
        for _ in range(3):
            judge.hears()
    finally:
        usign.verify = verify
    assert len(count) == 2


@kept
def test_a_flood_about_nodes_that_are_not_there_takes_turns(_):
    judge = Judge()
    judge.store.put("zulu", "")
    names = ["n%02d" % number for number in range(20)]
    judge.hears(zulu=said("revoke", "zulu", 1), **{name: said("revoke", name, 1) for name in names})
    assert judge.standing("zulu") == "revoked"
    assert [judge.standing(name) for name in names].count("revoked") == 8
    judge.hears()
    judge.hears()
    assert [judge.standing(name) for name in names].count("revoked") == 20


@kept
def test_what_is_missing_or_wrong_in_etcd_is_put_back(_):
    judge = Judge()
    approval, revoked = said("approve", "bravo", 1, shown(2)), said("revoke", "bravo", 2)
    judge.hears(bravo=revoked)
    for text in (None, approval, "garbage"):
        judge.hears(bravo=text)
        run(judge.trust.restore(judge.registry))
        assert judge.store.statements["bravo"].text == revoked
        judge.hears()
    revision = judge.store.revision
    run(judge.trust.restore(judge.registry))
    assert judge.store.revision == revision


@kept
def test_a_later_statement_that_came_meanwhile_is_not_overwritten(_):
    judge = Judge()
    judge.hears(bravo=said("approve", "bravo", 1, shown(2)))
    judge.hears(bravo="garbage")
    later = said("revoke", "bravo", 2)
    judge.store.state("bravo", later)
    run(judge.trust.restore(judge.registry))
    assert judge.store.statements["bravo"].text == later


@kept
def test_a_router_that_may_not_put_it_back_goes_on(_):
    judge = Judge()
    judge.hears(bravo=said("revoke", "bravo", 2))
    judge.hears(bravo=None)
    asked = []

    async def refuse(*arguments):
        asked.append(arguments)
        raise EtcdError("permission", "no")

    judge.registry.restore_statement = refuse
    for _ in range(3):
        run(judge.trust.restore(judge.registry))
    assert len(asked) == 1 and judge.standing() == "revoked"


# In the membership


def mesh(store, *approved, statements=()):
    """alfa, bravo and carol, who have joined; those named are approved."""
    for number, node in enumerate(("alfa", "bravo", "carol")):
        if node in approved:
            store.state(node, said("approve", node, 1, shown(number + 1)))
    nodes = ("alfa", "bravo", "carol")
    routers = [Router(store, node, *(SIGNED + statements), number=at + 1) for at, node in enumerate(nodes)]
    for _ in range(3):
        for router in routers:
            router.steps()
    return routers


def texts(router):
    return {(problem.code, problem.subject): problem.text for problem, _ in router.problems.all()}


@kept
def test_members_are_those_who_are_approved(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo")
    assert [router.others for router in (alfa, bravo, carol)] == [["bravo"], ["alfa"], ["alfa", "bravo"]]
    assert alfa.membership.admitted() and not carol.membership.admitted()
    assert "bgpmesh approve carol %s" % shown(3)[:16] in texts(alfa)["pending", "carol"]
    assert "this router has no part" in texts(carol)["pending", "carol"]
    store.state("carol", said("approve", "carol", 1, shown(3)))
    assert alfa.steps() and carol.steps()
    assert alfa.others == ["bravo", "carol"] and carol.membership.admitted()
    assert texts(alfa) == texts(carol) == {}


@kept
def test_who_is_revoked_is_gone_with_the_next_poll(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    assert alfa.others == ["bravo", "carol"]
    store.state("carol", said("revoke", "carol", 2))
    assert alfa.steps() and carol.steps()
    assert alfa.others == ["bravo"] and ("revoked", "carol") in texts(alfa)
    assert not carol.membership.admitted()
    store.state("carol", said("approve", "carol", 1, shown(3)))
    alfa.steps()
    assert alfa.others == ["bravo"] and " revoke " in store.statements["carol"].text


def forged(node, number, thief=3, secret=None, **changes):
    """A record of a node with its id and all of its keys, that another router has made and signed."""
    record = member(node, number, **changes)
    record.id, record.by = shown(number), None

    def sign(digest):
        return identity(thief).sign(digest)

    record.sign = sign
    return records.encode(record, "/peers/" + node, secret)


@kept
def test_a_record_with_anothers_name_is_refused_by_name_and_the_last_good_one_holds(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    for code, text in (
        ("unapproved", records.encode(member("bravo", 2, serial=1 << 50))),
        ("unapproved", records.encode(member("bravo", 2, serial=1 << 50), "/peers/bravo", None, identity(3))),
        ("unapproved", records.farewell(1 << 50, "/peers/bravo", None, identity(3))),
        ("unapproved", records.farewell(1 << 50, "/peers/bravo")),
        ("forged", forged("bravo", 2, endpoint=("198.51.100.1", 655), serial=1 << 50)),
        ("forged", forged("bravo", 2, prefixes=["192.168.9.0/24"], serial=records.LARGEST)),
        ("forged", store.records["bravo"].text.replace('"serial":1', '"serial":2')),
    ):
        store.put("bravo", text)
        for _ in range(2):
            alfa.steps()
            assert alfa.membership.others["bravo"].ed25519 == ED25519[1]
            assert alfa.membership.others["bravo"].serial < 1 << 40 and alfa.membership.others["bravo"].prefixes == []
            assert "the record of 'bravo' is refused" in texts(alfa)[code, "bravo"], texts(alfa)
        bravo.steps()
        assert bravo.ip and bravo.record().ed25519 == ED25519[1]  # it takes its name back rather than to stand aside
        alfa.steps()
        assert texts(alfa) == {} and alfa.membership.others["bravo"].ed25519 == ED25519[1]


@kept
def test_who_knows_the_secret_speaks_for_nobody_else(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol", statements=("option secret '%s'" % SECRET,))
    for text in (
        forged("bravo", 2, secret=SECRET, prefixes=["192.168.9.0/24"], serial=records.LARGEST),
        records.farewell(records.LARGEST, "/peers/bravo", SECRET),
    ):
        store.put("bravo", text)
        alfa.steps()
        assert alfa.others == ["bravo", "carol"] and alfa.membership.others["bravo"].prefixes == []
    bravo.steps()
    alfa.steps()
    assert alfa.others == ["bravo", "carol"] and texts(alfa) == {}


@kept
def test_a_bad_signature_of_a_record_spoils_no_good_one_of_the_same(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    bravo.membership.announce(prefixes("192.168.2.0/24"))
    bravo.steps()
    good = store.records["bravo"].text
    at = good.rindex("ed25519:") + len("ed25519:")
    store.put("bravo", good[:at] + ("0" if good[at] != "0" else "1") + good[at + 1 :])
    alfa.steps()
    assert ("forged", "bravo") in texts(alfa)
    store.put("bravo", good)
    alfa.steps()
    assert texts(alfa) == {} and len(alfa.membership.others["bravo"].prefixes) == 1


@kept
def test_who_leaves_says_so_itself_and_nobody_for_it(_):
    for statements in ((), ("option secret '%s'" % SECRET,)):
        store = Store()
        alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol", statements=statements)
        try:
            run(alfa.membership.remove("bravo"))
            raise AssertionError("it was removed")
        except ValueError as error:
            assert "bgpmesh revoke bravo" in str(error)
        del store.records["bravo"]
        store.revision += 1
        alfa.steps()
        assert alfa.others == ["bravo", "carol"] and ("record_gone", "bravo") in texts(alfa)
        bravo.steps()
        run(bravo.membership.leave())
        alfa.steps()
        assert alfa.others == ["carol"] and texts(alfa) == {}
        assert '"left":true' in store.records["bravo"].text


@kept
def test_keys_are_rotated_without_another_approval(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    coming = keys_of(4)
    coming.generation = 1
    bravo.membership._keys.next = coming
    bravo.membership.rekey()
    bravo.steps()
    alfa.steps()
    assert alfa.membership.others["bravo"].next.ed25519 == coming.ed25519 and texts(alfa) == {}
    bravo.membership._keys.take_next()
    bravo.membership.rekey()
    bravo.membership.runs_as = "bravo__0001"
    bravo.steps()
    alfa.steps()
    assert alfa.membership.others["bravo"].ed25519 == coming.ed25519 and texts(alfa) == {}


@kept
def test_a_slow_router_verifies_records_in_turns_and_acts_on_none_before(_):
    store = Store()
    mesh(store, "alfa", "bravo", "carol")
    disk.remove(trust.PATH)
    before, trust._TIME = trust._TIME, -1
    try:
        later = Router(store, "alfa", *SIGNED, number=1)
        seen = []
        for _ in range(8):
            later.steps()
            seen.append((later.others, later.membership.admitted(), later.membership.behind()))
    finally:
        trust._TIME = before
    assert seen[-1] == (["bravo", "carol"], True, False) and (["bravo"], None, True) in seen, seen
    assert [found for found in seen if found[2] == (found[1] is True)] == [], seen


@kept
def test_a_slow_router_goes_on_from_the_serial_of_its_own_record(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    for _ in range(3):
        carol.membership.announce(prefixes("192.168.3.0/24") if not carol.membership.prefixes else [])
        carol.steps()
    last = carol.record().serial
    before = trust._TIME, clock.is_wrong
    trust._TIME, clock.is_wrong = -1, lambda: True
    try:
        later = Router(store, "carol", *SIGNED, number=3)
        later.membership.announce(prefixes("192.168.33.0/24"))
        later.steps()
        assert later.membership.behind()
        later.steps(4)
    finally:
        trust._TIME, clock.is_wrong = before
    found = [records.decode("carol", text, later.membership.config).serial for text in later.registry.puts]
    assert found and min(found) > last, (found, last)


@kept
def test_members_whose_records_change_all_the_time_keep_no_other_waiting(_):
    judge = Judge()
    names = ("bravo", "carol", "zulu")
    judge.hears(**{node: said("approve", node, 1, shown(2)) for node in names})
    judge.trust._until = 0  # one signature takes longer than there is time for
    found = []
    for turn in range(3):
        for node in names[: 3 if not turn else 2]:
            digest = compat.digest(["%s %d" % (node, turn)])
            try:
                judge.trust.check(node, records.Proof(shown(2), identity(2).sign(digest), digest))
            except trust.Untrusted as error:
                assert error.code == "unverified"
        found += run(judge.trust.verify())
    assert sorted(found) == ["bravo", "carol", "zulu"]


@kept
def test_an_earlier_record_of_its_own_is_a_replay_with_a_secret_or_without(_):
    for statements in ((), ("option secret '%s'" % SECRET,)):
        store = Store()
        alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol", statements=statements)
        earlier = store.records["bravo"].text
        bravo.membership.announce(prefixes("192.168.2.0/24"))
        bravo.steps()
        alfa.steps()
        store.put("bravo", earlier)
        alfa.steps()
        assert "a replay" in texts(alfa)["bad_record", "bravo"]
        assert len(alfa.membership.others["bravo"].prefixes) == 1


@kept
def test_each_record_is_verified_once(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    count = []
    verify = own.verify

    def counting(proof):
        count.append(proof.id)
        return verify(proof)

    own.verify = counting
    try:
        alfa.steps(3)
        again = Router(store, "alfa", *SIGNED, number=1, earlier=alfa)
        again.steps(3)
        assert again.others == ["bravo", "carol"] and count == []
        bravo.membership.announce(prefixes("192.168.2.0/24"))
        bravo.steps()
        count.clear()
        again.steps(3)
        assert count == [shown(2)]
        store.put("bravo", forged("bravo", 2))
        again.steps(3)
        assert count == [shown(2)] * 2
    finally:
        own.verify = verify


@kept
def test_what_flash_has_was_verified_under_this_owner_or_is_to_be(path):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    cached = path + "-members"
    alfa.membership._cache.address = None
    before, cache.PATH = cache.PATH, cached
    try:
        alfa.membership.save()
    finally:
        cache.PATH = before
    assert Router(store, "alfa", *SIGNED, number=1, cached=cached).others == ["bravo", "carol"]
    text = disk.read(cached)
    for other in ("null", '"%s"' % usign.line(THIEF.public)):
        disk.write(cached, text.replace('"%s"' % usign.line(OWNER.public), other), 0o600)
        later = Router(store, "alfa", *SIGNED, number=1, cached=cached)
        assert later.others == []
        later.steps()
        assert later.others == ["bravo", "carol"]


@kept
def test_an_identity_is_made_once_and_damage_is_named(_):
    before = own.PATH, own.STATE
    own.STATE = folder("identity")
    own.PATH = own.STATE + "/identity"
    try:
        made = own.load_or_make()
        digest = compat.digest(["text"])
        assert own.load_or_make().id == made.id
        assert own.verify(records.Proof(made.id, made.sign(digest), digest))
        assert not own.verify(records.Proof(made.id, made.sign(digest), compat.digest(["other"])))
        assert not own.verify(records.Proof(shown(1), made.sign(digest), digest))
        for text in ("", disk.read(own.PATH)[:-1], "x" * 128 + "\n", disk.read(own.PATH) + "\n"):
            disk.write(own.PATH, text, 0o600)
            router = Router(Store(), "alfa", *SIGNED, make=own.load_or_make)
            ((problem, _),) = router.problems.all()
            assert own.PATH in problem.text and "damaged" in problem.text and router.membership.id == ""
            assert disk.read(own.PATH) == text
        disk.remove(own.PATH)
        before_load, own.load_or_make = own.load_or_make, lambda: made
        try:
            router.steps(2)
        finally:
            own.load_or_make = before_load
        assert made.id == router.membership.trust.own and '"id":"%s"' % made.id in router.registry.puts[-1]
        assert router.faults() == ["pending"]
    finally:
        disk.remove_folder(own.STATE)
        own.PATH, own.STATE = before


def hurried(test):
    """Has a test run with time for one signature after each poll."""

    def run_test(path):
        before, trust._TIME = trust._TIME, -1
        try:
            test(path)
        finally:
            trust._TIME = before

    return run_test


def junk(node, turn):
    """A statement of the right form that nobody has signed."""
    text = trust.compose("revoke", "/trust/" + node, 1000 + turn)
    return text + usign.line(OWNER.public[:10] + bytes([turn]) + bytes(63)) + "\n"


@kept
@hurried
def test_what_was_not_looked_at_yet_is_not_put_back_to_what_was_there_before(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    alfa.steps(9)
    assert alfa.others == ["bravo", "carol"]
    for node in ("bravo", "carol"):
        store.state(node, said("revoke", node, 2))
    alfa.steps(4)
    assert alfa.others == []
    assert [" revoke " in store.statements[node].text for node in ("bravo", "carol")] == [True, True]


@kept
@hurried
def test_statements_that_are_wrong_again_and_again_keep_nothing_else_waiting(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol", statements=("option secret '%s'" % SECRET,))
    alfa.steps(9)
    store.state("carol", said("revoke", "carol", 2))

    def polls(router, count, first):
        for turn in range(first, first + count):
            for node in ("alfa", "bravo"):
                store.state(node, junk(node, turn))
            router.steps()

    polls(alfa, 6, 0)
    assert alfa.others == ["bravo"]
    polls(alfa, 1, 6)
    assert not alfa.membership.behind(), "that would be in vain"
    # Nor does one that starts with nothing wait for ever.
    disk.remove(trust.PATH)
    store.state("alfa", said("approve", "alfa", 2, shown(1)))
    new = Router(store, "alfa", *SIGNED, "option secret '%s'" % SECRET, number=1)
    new.steps()
    polls(new, 8, 100)
    assert new.membership.admitted() is True


@kept
def test_who_is_approved_again_after_a_revocation_goes_on_from_its_serial(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    last = bravo.record().serial
    # alfa is away meanwhile.
    store.state("bravo", said("revoke", "bravo", 2))
    bravo.steps(2)
    del store.records["bravo"]
    store.state("bravo", said("approve", "bravo", 3, shown(2)))
    bravo.steps(3)
    assert bravo.record().serial > last
    alfa.steps(2)
    assert alfa.others == ["bravo", "carol"] and texts(alfa) == {}


@kept
def test_who_was_a_stranger_and_is_approved_is_none_to_the_registry(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo")
    told = []
    alfa.registry.admit = told.append
    store.state("carol", said("approve", "carol", 1, shown(3)))
    alfa.steps(2)
    assert alfa.others == ["bravo", "carol"] and "carol" in told


@kept
def test_a_serial_that_nobody_has_answered_for_keeps_its_owner_from_nothing(_):
    for secret, statements in ((None, ()), (SECRET, ("option secret '%s'" % SECRET,))):
        store = Store()
        alfa, bravo, carol = mesh(store, "alfa", "bravo", statements=statements)
        store.put("carol", records.farewell(records.LARGEST, "/peers/carol", secret))
        alfa.steps()
        carol.steps(3)
        # What has its keys and its id is not its own for that.
        store.put("carol", forged("carol", 3, 9, secret, serial=records.LARGEST - 1))
        carol.steps(3)
        assert carol.record().serial < records.LARGEST - 1
        puts = len(carol.registry.puts)
        carol.steps(3)
        assert len(carol.registry.puts) == puts
        store.state("carol", said("approve", "carol", 1, shown(3)))
        for _ in range(3):
            for router in (alfa, carol):
                router.steps()
        assert alfa.others == ["bravo", "carol"] and texts(alfa) == {}
        carol.membership.announce(prefixes("192.168.3.0/24"))
        carol.steps()
        alfa.steps(2)
        assert alfa.membership.others["carol"].prefixes == prefixes("192.168.3.0/24")
        disk.remove(trust.PATH)


@kept
def test_farewells_of_nobody_push_out_no_serial_of_who_has_left(_):
    store = Store()
    statements = ("option secret '%s'" % SECRET,)
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol", statements=statements)
    before = store.records["bravo"].text
    run(bravo.membership.leave())
    alfa.steps()
    for number in range(300):
        store.put("n%d" % number, records.farewell(1, "/peers/n%d" % number, SECRET))
    alfa.steps(2)
    store.put("bravo", before)
    alfa.steps(2)
    assert alfa.others == ["carol"] and "a replay" in texts(alfa)["bad_record", "bravo"]


@kept
def test_another_router_of_a_name_owes_nothing_to_the_serials_of_the_one_before(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    last = member("bravo", 2, serial=records.LARGEST)
    store.put("bravo", records.encode(last, "/peers/bravo", None, identity(2)))
    alfa.steps(2)
    assert alfa.membership.others["bravo"].serial == records.LARGEST
    store.state("bravo", said("revoke", "bravo", 2))
    alfa.steps(2)
    new = Router(store, "bravo", *SIGNED, number=4)
    new.steps(3)
    store.state("bravo", said("approve", "bravo", 3, shown(4)))
    for _ in range(3):
        for router in (new, alfa):
            router.steps()
    assert alfa.others == ["bravo", "carol"] and texts(alfa) == {}


def fails_halfway(router):
    """Has a step end after the owner was heard: what somebody has removed of it cannot be put back."""
    registry = router.registry
    restore = registry.restore_statement

    async def fail(*_):
        raise EtcdError("timeout", "no answer")

    del registry.store.statements["bravo"]
    registry.store.revision += 1
    registry.restore_statement = fail
    try:
        router.steps()
        raise AssertionError("restored")
    except EtcdError:
        registry.restore_statement = restore


@kept
def test_a_step_that_fails_halfway_tells_what_it_saw_with_the_next(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    store.state("carol", said("revoke", "carol", 2))
    fails_halfway(alfa)
    assert alfa.steps() is True and alfa.others == ["bravo"]
    alfa.steps()
    assert alfa.steps() is False


@kept
def test_who_is_revoked_while_its_record_is_gone_is_no_member_either(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    del store.records["carol"]
    store.revision += 1
    alfa.steps(2)
    assert alfa.others == ["bravo", "carol"]
    store.state("carol", said("revoke", "carol", 2))
    fails_halfway(alfa)
    alfa.membership.vouch(["carol"])  # its session is still there
    assert alfa.steps() is True and alfa.others == ["bravo"] and texts(alfa) == {}


@kept
def test_serials_outlast_the_owners_statements(path):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    earlier = store.records["bravo"].text
    bravo.membership.announce(prefixes("192.168.20.0/24"))
    bravo.steps()
    alfa.steps(2)
    before, cache.PATH = cache.PATH, path + "-members"
    try:
        alfa.membership._cache.address = None
        alfa.membership.save()
    finally:
        cache.PATH = before
    store.put("bravo", earlier)
    disk.remove(trust.PATH)
    again = Router(store, "alfa", *SIGNED, number=1, cached=path + "-members")
    again.steps(3)
    assert again.others == ["carol"] and "a replay" in texts(again)["bad_record", "bravo"]


@kept
def test_where_what_the_owner_said_is_damaged_nothing_is_ended_for_that(path):
    store = Store()
    mesh(store, "alfa", "bravo", "carol")
    text = disk.read(path)
    for damaged in (text.replace("approve /trust/alfa", "approbe /trust/alfa"), text[:-20]):
        disk.write(path, damaged, 0o600)
        alfa = Router(store, "alfa", *SIGNED, number=1)
        assert alfa.membership.admitted() in (None, True)
        alfa.steps(2)
        assert alfa.membership.admitted() is True and disk.read(path) == text


@kept
def test_any_number_of_routers_that_wait_for_approval_takes_little_room(_):
    store = Store()
    statements = ("option secret '%s'" % SECRET,)
    alfa, bravo, carol = mesh(store, "alfa", "bravo", statements=statements)
    judge = alfa.membership._judge
    kept = 0
    for number in range(200):
        node = "n%d" % number
        record = records.encode(member(node, 50), None)[:-1] + ',"more":"%s"}' % ("x" * 9000)
        entry = records.Entry(records._signed(record, "/peers/" + node, SECRET, identity(5)), number, number)
        kept += judge(node, entry)
        assert entry.text is None
    assert kept == 64 - 1, "carol waits, too"
    # A member is no stranger, whatever is put into its place.
    assert judge("bravo", records.Entry("junk", 1, 1)) and not judge("zulu", records.Entry("junk", 1, 1))
    text = store.records["carol"].text
    padded = records.encode(member("carol", 3), None)[:-1] + ',"more":"%s"}' % ("x" * 9000)
    store.put("carol", records._signed(padded, "/peers/carol", SECRET, identity(3)))
    alfa.steps(2)
    store.state("carol", said("approve", "carol", 1, shown(3)))
    alfa.steps(3)
    assert alfa.others == ["bravo", "carol"] and text


@kept
def test_two_that_nobody_has_approved_settle_their_name_as_ever(_):
    store = Store()
    first = Router(store, "alfa", *SIGNED, number=1)
    first.steps(2)
    second = Router(store, "alfa", *SIGNED, number=2)
    second.steps()
    assert "name_taken" in second.faults() and "name_taken" not in first.faults()


@kept
def test_who_may_take_part_is_not_known_before_the_owner_was_heard(_):
    store = Store()
    store.state("alfa", said("approve", "alfa", 1, shown(1)))
    alfa = Router(store, "alfa", *SIGNED, number=1)
    assert alfa.membership.admitted() is None
    alfa.steps(2)
    assert alfa.membership.admitted() is True
    assert Router(store, "alfa", *SIGNED, number=1).membership.admitted() is True  # from flash
    assert Router(store, "bravo", *SIGNED, number=2).membership.admitted() is False


@kept
def test_open_trust_asks_nobody(_):
    store = Store()
    alfa = Router(store)
    alfa.steps(2)
    assert alfa.membership.trust is None and alfa.membership.admitted()


@kept
def test_of_two_statements_with_one_serial_the_same_one_holds_for_all(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    store.state("carol", said("revoke", "carol", 5))
    alfa.steps(2)
    store.state("carol", said("approve", "carol", 5, shown(3)))  # an etcd that had lost the first one
    for _ in range(4):
        bravo.steps()
        alfa.steps()
    before = store.revision
    for _ in range(4):
        bravo.steps()
        alfa.steps()
    assert (alfa.others, bravo.others, store.revision) == (["bravo"], ["alfa"], before)


@kept
def test_a_farewell_of_who_was_no_member_counts_like_a_strangers(_):
    store = Store()
    alfa, bravo, _ = mesh(store, "alfa", "bravo", "carol")
    for node, counts in (("bravo", True), ("new", False)):
        text = records.farewell(1 << 40, "/peers/" + node, None, identity(2))
        entry = records.Entry(text, 1, 1)
        assert alfa.membership._judge(node, entry) is counts, node


@kept
def test_a_router_is_not_kept_out_by_its_own_earlier_keys(_):
    store = Store()
    alfa, bravo, _ = mesh(store, "alfa", "bravo", "carol")
    text = store.records["alfa"].text
    store.put("alfa", text)
    store.alive.add("alfa")
    # Its keys were changed, and flash has not heard of the record that says so.
    again = Router(store, "alfa", *SIGNED, number=7, make=lambda: identity(1))
    for _ in range(3):
        again.steps()
    assert again.ip == "10.0.0.1" and again.faults() == [], again.faults()
