from example import ED25519, RSA, folder, member, options
from fake_http import run
from fake_registry import Registry, Store
from test_membership import Router

from bgpmesh import disk, records, trust, usign
from bgpmesh.etcd import EtcdError
from bgpmesh.problems import Problems
from bgpmesh.tinc.keys import Keys

OWNER = usign.Secret(usign.make(bytes(range(56)))[0])
THIEF = usign.Secret(usign.make(bytes(56))[0])
SIGNED = ("option trust 'signed'", "option trust_key '%s'" % usign.line(OWNER.public))


def keys(number):
    return trust.fingerprint(ED25519[number - 1], RSA[number - 1])


def said(verb, node, serial, *approved, secret=OWNER, prefix=""):
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
        self.trust = trust.Trust(config, Keys(RSA[0], ED25519[0]), self.problems, self.said.append)
        self.trust.load()

    def hears(self, **statements):
        """These statements are in etcd, None for those that no longer are; whether others hold now."""
        for node in statements:
            if statements[node] is None:
                del self.store.statements[node]
            else:
                self.store.state(node, statements[node])
        run(self.registry.poll())
        return run(self.trust.learn(self.registry))

    def standing(self, node="bravo", number=2):
        return self.trust.standing(node, [keys(number)])

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
def test_who_is_approved_is_so_with_these_keys_only(_):
    judge = Judge()
    assert judge.hears(bravo=said("approve", "bravo", 1, keys(2)))
    assert judge.standing() == "approved"
    assert judge.standing(number=3) == "unapproved"
    assert judge.standing("carol") == "pending"
    assert judge.trust.standing("bravo", [keys(2), keys(3)]) == "unapproved"
    judge.hears(bravo=said("approve", "bravo", 2, keys(2), keys(3)))
    assert judge.trust.standing("bravo", [keys(2), keys(3)]) == "approved"


def test_one_key_more_or_less_is_another_identity():
    found = [trust.fingerprint(*pair) for pair in ((ED25519[0], RSA[0]), (None, RSA[0]), (ED25519[0], None))]
    assert len(set(found)) == 3
    assert trust.fingerprints(member("alfa", 1)) == [found[0]]


@kept
def test_nobody_but_the_owner_is_heard(_):
    judge = Judge()
    good = said("approve", "bravo", 1, keys(2))
    revoked = said("revoke", "bravo", 9)
    judge.hears()
    for text in (
        said("approve", "bravo", 2, keys(2), secret=THIEF),
        said("approve", "carol", 2, keys(2)),  # of another member
        said("approve", "bravo", 2, keys(2), prefix="/other"),  # of another network
        good.replace("/trust/bravo 1", "/trust/bravo 2"),
        good.replace(keys(2), keys(3)),
        revoked.replace(" revoke ", " approve "),
        good[:-2] + "\n",
        good[:-1],
        good + "\n",
        good.replace(" 1 ", " 01 "),
        good.replace(" 1 ", " -1 "),
        good.replace(" ", "  "),
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
    approval = said("approve", "bravo", 5, keys(2))
    judge.hears(bravo=approval)
    assert judge.hears(bravo=said("revoke", "bravo", 6))
    assert judge.standing() == "revoked"
    for earlier in (approval, said("approve", "bravo", 6, keys(2)), None):
        assert not judge.hears(bravo=earlier)
        assert judge.standing() == "revoked"
    assert judge.hears(bravo=said("approve", "bravo", 7, keys(3)))
    assert judge.standing(number=3) == "approved" and judge.standing() == "unapproved"


@kept
def test_what_was_said_is_kept_over_a_restart_and_written_once(path):
    judge = Judge()
    judge.hears(alfa=said("approve", "alfa", 1, keys(1)), bravo=said("revoke", "bravo", 2))
    text = disk.read(path)
    assert text.count("\n") == 5 and text.startswith(usign.line(OWNER.public))
    later = Judge()
    assert later.standing("alfa", 1) == "approved" and later.standing() == "revoked"
    disk.remove(path)
    assert not later.hears(alfa=said("approve", "alfa", 1, keys(1)), bravo=said("approve", "bravo", 1, keys(2)))
    assert later.standing() == "revoked" and disk.read(path) is None


@kept
def test_what_is_kept_for_another_key_or_network_is_not_believed(path):
    Judge().hears(bravo=said("approve", "bravo", 1, keys(2)))
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
    assert judge.trust.statements == {} and not judge.trust.known
    assert judge.hears() and len(judge.trust.statements) == 3 and judge.trust.known


@kept
def test_a_flash_that_cannot_be_written_is_a_problem_and_no_obstacle(_):
    trust.PATH = "/proc/nonexistent/trust"
    judge = Judge()
    assert judge.hears(bravo=said("revoke", "bravo", 1))
    assert judge.standing() == "revoked" and judge.faults() == ["disk"]


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
            bravo=said("approve", "bravo", 1, keys(2)),
            carol=said("approve", "carol", 1, keys(3), secret=THIEF),
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
    approval, revoked = said("approve", "bravo", 1, keys(2)), said("revoke", "bravo", 2)
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
    judge.hears(bravo=said("approve", "bravo", 1, keys(2)))
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


def mesh(store, *approved):
    """alfa, bravo and carol, who have joined; those named are approved."""
    for number, node in enumerate(("alfa", "bravo", "carol")):
        if node in approved:
            store.state(node, said("approve", node, 1, keys(number + 1)))
    routers = [Router(store, node, *SIGNED, number=at + 1) for at, node in enumerate(("alfa", "bravo", "carol"))]
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
    assert "bgpmesh approve carol %s" % keys(3)[:16] in texts(alfa)["pending", "carol"]
    assert "this router has no part" in texts(carol)["pending", "carol"]
    store.state("carol", said("approve", "carol", 1, keys(3)))
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
    store.state("carol", said("approve", "carol", 1, keys(3)))
    alfa.steps()
    assert alfa.others == ["bravo"] and " revoke " in store.statements["carol"].text


@kept
def test_a_record_with_anothers_name_is_refused_by_name_and_the_last_good_one_holds(_):
    store = Store()
    alfa, bravo, carol = mesh(store, "alfa", "bravo", "carol")
    stolen = member("bravo", 2, ed25519=ED25519[2], key=None, endpoint=("198.51.100.1", 655), serial=1 << 50)
    store.put("bravo", records.encode(stolen))
    alfa.steps()
    assert alfa.membership.others["bravo"].ed25519 == ED25519[1]
    assert "the record of 'bravo' is refused" in texts(alfa)["unapproved", "bravo"]
    bravo.steps()
    assert bravo.ip and bravo.record().ed25519 == ED25519[1]  # it takes its name back rather than to stand aside
    alfa.steps()
    assert texts(alfa) == {} and alfa.membership.others["bravo"].ed25519 == ED25519[1]


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
    store.state("alfa", said("approve", "alfa", 1, keys(1)))
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
