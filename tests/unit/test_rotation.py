import os

from example import ED25519, RSA, Clock, Thing, folder, member, options
from fake_http import run
from fake_registry import Store
from test_membership import Router as Joined

from bgpmesh import cache, clock, compat, disk, records
from bgpmesh.problems import Problems
from bgpmesh.tinc import keys, rotation

DAY = 86400
BUILT = 1767225600


class Maker:
    """In place of the programs that make keys: each key is another one of RSA and ED25519."""

    def __init__(self, path):
        self.path = path
        self.made = 0
        self.fails = False

    async def __call__(self, argv, kind, generation):
        if self.fails:
            raise OSError(28, "full")
        number = self.made % 3
        self.made += kind == "ed25519_key"
        public = RSA[number] if kind == "rsa_key" else "Ed25519PublicKey = " + ED25519[number]
        for half, text in (("priv", "private"), ("pub", public + "\n")):
            disk.write(keys._path(kind, generation, half), text, 0o600)
        return public


class Router:
    """alfa of a mesh with bravo, whose flash is a folder, and what its rotation does."""

    def __init__(self):
        self.folder = folder("rotation")
        self.kept = keys.STATE, keys._make, clock.now, clock.is_wrong, cache.PATH
        cache.PATH = self.folder + "/members"
        keys.STATE = self.folder
        self.maker = keys._make = Maker(self.folder)
        self.now = BUILT + 100 * DAY
        clock.now = lambda: self.now
        clock.is_wrong = lambda: self.now < BUILT
        self.seats = {"bravo": None}
        self.reached = ["bravo"]
        self.store = Store()
        self.bravo = Joined(self.store, "bravo", "option poll_interval '1'", number=9)
        self.bravo.steps(2)
        self.start()

    def start(self):
        """A new agent on the same router."""
        self.keys = run(keys.load_or_make("1.1", lambda text: None))
        self.joined = Joined(self.store, "alfa", "option poll_interval '1'", number=1)
        self.joined.registry.failures = 0
        self.membership = self.joined.membership
        self.membership._keys = self.keys
        self.problems = Problems(lambda text: None)
        self.rotation = rotation.Rotation(self.keys, self.problems, lambda text: None)
        self.mesh = Thing(
            tincd=Thing(version="1.1", reaches=lambda node: node in self.reached),
            plan=Thing(seats=self.seats),
            state="converged",
            refresh=lambda: None,
        )
        self.later = 0
        self.look()

    async def hears_nothing(self):
        return False

    def look(self, later=0):
        """A poll, what its tincd is told, and a step, so many seconds after the last; then a poll of its own."""
        self.later += later
        with Clock(self.later):
            self.joined.steps(1)
            run(self.rotation.step(self.membership.config, self.membership, self.mesh))
            if self.membership.me:
                self.membership.runs_as = self.membership.me.tinc
            self.joined.steps(2)
        return self.rotation.text

    def begin(self):
        return self.rotation.begin(self.membership)

    def record(self):
        return self.joined.record()

    def files(self):
        return sorted([name for name in os.listdir(self.folder) if "_key" in name])

    def rotate(self):
        """A whole rotation."""
        assert self.begin() == ""
        for _ in range(6):
            self.look(4)
        assert self.rotation.text == "", self.rotation.text


def given_router(test):
    def run_test():
        router = Router()
        try:
            test(router)
        finally:
            keys.STATE, keys._make, clock.now, clock.is_wrong, cache.PATH = router.kept
            disk.remove_folder(router.folder)

    return run_test


@given_router
def test_the_next_keys_are_published_beside_the_old_and_take_their_place_after_a_few_polls(router):
    assert router.begin() == ""
    router.look()
    found = router.record()
    assert (found.generation, found.ed25519) == (0, ED25519[0])
    assert (found.next.generation, found.next.ed25519, found.next.key) == (1, ED25519[1], RSA[1])
    assert router.membership.me.tinc == "alfa"
    router.look()
    router.look(7.5)
    assert router.record().next and router.membership.me.tinc == "alfa"
    router.look(1)
    found = router.record()
    assert (found.generation, found.ed25519, found.key, found.next) == (1, ED25519[1], RSA[1], None)
    assert router.membership.me.tinc == "alfa__0001"
    assert len(router.files()) == 8
    router.look()
    assert router.rotation.text == "" and len(router.files()) == 4 and "rsa_key.1.priv" in router.files()
    assert not router.problems.all()


@given_router
def test_who_polls_seldom_is_given_the_time(router):
    slow = Joined(router.store, "carol", "option poll_interval '300'", number=8)
    slow.steps(2)
    router.begin()
    router.look()
    router.look()
    router.look(890)
    assert router.record().next and router.rotation.text == "the others take up the next keys"
    router.store.alive.discard("carol")  # it will see them when it is back
    router.look()
    router.look()
    assert router.record().generation == 1


@given_router
def test_the_record_keeps_both_until_tincd_is_told_of_the_new_ones(router):
    router.begin()
    router.look()
    router.look()
    with Clock(9):
        assert run(router.rotation.step(router.membership.config, router.membership, router.mesh))
        router.joined.steps(3)
        assert router.record().next
        router.membership.runs_as = "alfa__0001"
        router.joined.steps(1)
        assert router.record().generation == 1


@given_router
def test_an_agent_that_is_killed_at_any_step_goes_on(router):
    assert router.begin() == ""
    for _ in range(2):
        router.start()
        router.look()
        assert router.record().next.ed25519 == ED25519[1] and router.maker.made == 2
    router.look(9)
    router.start()
    assert "name_taken" not in [problem.code for problem, _ in router.joined.problems.all()]
    router.look()
    router.look()
    assert router.record().generation == 1 and len(router.files()) == 4
    assert router.keys.ed25519 == ED25519[1] and not router.keys.unfinished


@given_router
def test_half_a_pair_is_made_anew(router):
    router.begin()
    disk.write(router.folder + "/rsa_key.1.priv", "cut off", 0o600)
    router.start()
    router.look()
    assert router.record().next.key == RSA[1] and disk.read(router.folder + "/rsa_key.1.priv") == "private"


@given_router
def test_it_waits_for_a_member_that_is_met_and_does_not_see_the_registry(router):
    router.begin()
    router.look()
    router.store.alive.discard("bravo")
    for _ in range(3):
        router.look(30)
    assert router.rotation.text == "waits for 'bravo'" and router.record().generation == 0
    assert [(problem.code, problem.subject) for problem, _ in router.problems.all()] == [("rotation", "bravo")]
    router.reached = []  # switched off, it will learn of the keys when it is back
    router.look()
    assert router.record().generation == 1 and not router.problems.all()


@given_router
def test_a_router_that_has_no_plan_meanwhile_goes_on_when_it_has_one(router):
    router.begin()
    router.look()
    router.look()
    plan, router.mesh.plan = router.mesh.plan, None  # as where it has lost its address
    for _ in range(3):
        router.look(60)
    assert router.record().generation == 0 and router.record().next
    router.mesh.plan = plan
    router.look(60)
    assert router.record().generation == 1


@given_router
def test_with_trust_signed_nobody_keeps_it_from_beginning_by_saying_to_be_of_another_make(router):
    router.membership.others["bravo"].version = ""
    router.membership.config.trust = "signed"
    assert router.begin() == ""


@given_router
def test_what_keeps_it_from_beginning_is_told(router):
    assert router.begin() == ""
    assert "under way" in router.begin()
    router.membership.others["bravo"].version = ""
    router.rotation._state.next = 0
    assert "'bravo' is of another make" in router.begin()
    router.membership.me = None
    assert "not a member yet" in router.begin()


@given_router
def test_the_name_of_another_member_is_never_taken(router):
    router.membership.others["alfa__0001"] = router.membership.others["bravo"]
    router.begin()
    router.look()
    assert router.record().next.generation == 2


@given_router
def test_flash_without_room_is_a_problem_and_tried_again_later(router):
    router.begin()
    router.maker.fails = True
    router.look()
    assert [problem.code for problem, _ in router.problems.all()] == ["rotation"]
    router.maker.fails = False
    router.look(1)
    assert not router.record().next
    router.look(10)
    assert router.record().next and not router.problems.all()


@given_router
def test_keys_are_rotated_when_they_are_older_than_the_option_says(router):
    router.membership.config.key_lifetime = 10
    disk.write(router.folder + "/keys.json", '{"generation":0,"next":0,"since":%d}\n' % router.now, 0o600)
    router.start()
    router.membership.config.key_lifetime = 10
    router.look()  # nothing of earlier ones is there
    for days in (1, 8.9):
        router.now = BUILT + (100 + days) * DAY
        router.look()
        assert router.rotation.text == "", days
    router.now = BUILT + 110 * DAY
    router.mesh.state = "degraded"
    router.look()
    assert router.rotation.text == ""
    router.mesh.state = "converged"
    router.membership.others["bravo"].next = records.Next(1, None, ED25519[2])
    router.look()
    assert router.rotation.text == "", "one at a time"
    router.membership.others["bravo"].next = None
    router.look()
    assert router.rotation.text != ""


@given_router
def test_nobody_keeps_a_rotation_waiting_for_ever(router):
    disk.write(router.folder + "/keys.json", '{"generation":0,"next":0,"since":%d}\n' % router.now, 0o600)
    router.start()
    router.membership.config.key_lifetime = 10
    router.look()
    router.now = BUILT + 110 * DAY
    # bravo says that it rotates its own, and never does; then it has a tunnel and no sign of life.
    router.membership.others["bravo"].next = records.Next(1, None, ED25519[2])
    router.look()
    router.look(5 * 3600)
    assert router.rotation.text == ""
    router.look(2 * 3600)
    assert router.rotation.text != ""
    router.store.alive.discard("bravo")
    router.look()
    router.look()
    router.look(5 * 3600)
    assert router.rotation.text == "waits for 'bravo'" and router.record().generation == 0
    router.look(2 * 3600)
    assert router.record().generation == 1


@given_router
def test_a_clock_that_cannot_be_right_rotates_nothing(router):
    router.membership.config.key_lifetime = 1
    router.look()
    for now in (0, BUILT - 1):
        router.now = now
        router.look()
    assert router.rotation.text == "" and keys.load_state().since == 0
    # Keys that were made while it was wrong are as old as its first right time.
    compat.set_mtime(router.folder + "/rsa_key.pub", 1000)
    router.now = BUILT + 50 * DAY
    router.look()
    assert router.rotation.text == "" and keys.load_state().since == router.now
    router.now += 2 * DAY
    router.look()
    assert router.rotation.text != ""


@given_router
def test_without_the_option_keys_live_for_ever(router):
    router.now += 10000 * DAY
    router.look()
    assert router.rotation.text == ""


@given_router
def test_which_keys_are_in_use_is_found_without_the_file_that_says_so(router):
    router.rotate()
    for text in ("", "{", "[]", '{"generation":"x","next":0,"since":0}'):
        disk.write(router.folder + "/keys.json", text, 0o600)
        assert keys.load_state().current == 1
    disk.remove(router.folder + "/keys.json")
    assert keys.load_state().current == 0


def test_a_member_has_a_file_for_each_of_its_names():
    from bgpmesh import plan

    bravo = member("bravo", 2, generation=3)
    bravo.next = records.Next(4, RSA[2], ED25519[2])
    me = member("alfa", 1, generation=1)
    made = plan.make(options(), me, [bravo], {}, {"bravo"}, {}, ["bravo"], "1.1")
    files = made.tinc
    assert [name for name in sorted(files) if "hosts/" in name] == [
        "hosts/alfa__0001",
        "hosts/bravo__0003",
        "hosts/bravo__0004",
    ]
    assert ED25519[1] in files["hosts/bravo__0003"][0] and ED25519[2] in files["hosts/bravo__0004"][0]
    conf = files["tinc.conf"][0]
    assert "Name = alfa__0001\n" in conf and "/rsa_key.1.priv\n" in conf and "/ed25519_key.1.priv\n" in conf
    assert "ConnectTo = bravo__0003\nConnectTo = bravo__0004\n" in conf
    assert made.names == {"alfa__0001": "alfa", "bravo__0003": "bravo", "bravo__0004": "bravo"}
    assert made.rotating == ["bravo"]
