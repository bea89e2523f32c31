import os
import socket

from example import Clock, Thing, folder, given
from fake_http import run

from bgpmesh import compat, disk
from bgpmesh.tinc import daemon, memory
from bgpmesh.tinc.control import Node, TincError
from bgpmesh.ubus import UbusError


def free_port():
    """A port that nobody has."""
    with_port = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for port in range(42000, 42100):
        try:
            with_port.bind(compat.inet_address("0.0.0.0", port))
            with_port.close()
            return port
        except OSError:
            pass
    raise AssertionError("no free port")


class Procd:
    def __init__(self):
        self.runs = True
        self.env = {"BGPMESH": "1"}
        self.pid = 7  # of tincd
        self.fails = False
        self.order = []

    async def instance(self, name, instance):
        return {"running": True, "env": self.env, "pid": self.pid} if self.runs else {}

    async def set(self, name, instances):
        if self.fails:
            raise UbusError(0, "no procd")
        self.order.append("set")
        self.pid += self.env != instances["tincd"]["env"]
        self.env = instances["tincd"]["env"]

    async def delete(self, name):
        self.order.append("delete")


def planned(names, dialled=(), **attributes):
    """As much of a Plan of alfa as a Tincd looks at. names: name in tinc -> node."""
    seats = {node: None for node in names.values()}
    return Thing(node="alfa", tinc_name="alfa", names=names, seats=seats, dialled=dialled, **attributes)


class Files(dict):
    """What a Plan has of tinc's files."""

    def unlike(self, other):
        return [name for name in sorted(self) if self[name] != other.get(name)]


class Router:
    """A Tincd whose files are in a folder of their own, and which of its orders reached procd and tincd."""

    def __init__(self, version="1.1"):
        self.version = version
        self.folder = folder("tincd")
        self.procd = Procd()
        self.start()
        self.seen = {}
        self.refuses = self.hangs = False
        self.port = free_port()

    def start(self):
        """A new agent on the same router."""
        self.reports = []
        self.tincd = daemon.Tincd(self.procd, self.version, self.reports.append)
        self.tincd._control = self

    async def nodes(self, _):
        if self.hangs:
            raise TincError("no answer")
        return self.seen

    async def reload(self):
        if self.refuses:
            raise TincError("refused")
        self.procd.order.append("reload")

    async def retry(self, hung):
        self.procd.order.append("retry " + " ".join(hung))

    def on_disk(self, step):
        """What step() returns, with tincd's folder in ours."""
        names = ("TINC", "_HOSTS", "_STALE", "_GONE", "_LEAD")
        before = [getattr(daemon, name) for name in names]
        tinc = self.folder + "/tinc"
        for name, path in zip(names, (tinc, tinc + "/hosts", tinc + ".stale", tinc + ".gone", tinc + ".lead")):
            setattr(daemon, name, path)
        try:
            return step()
        finally:
            for name, path in zip(names, before):
                setattr(daemon, name, path)

    def apply(self, env="1", **files):
        """The orders that applying these files gives; names with `_` for the dot or slash.

        env: another one is another definition for procd.
        """
        self.procd.order = []
        tinc = {name.replace("hosts_", "hosts/").replace("_conf", ".conf"): (files[name], 0o600) for name in files}
        services = {daemon.SERVICE: {"tincd": {"env": {"BGPMESH": env}}}}
        plan = planned({}, tinc=Files(tinc), services=services, port=self.port)
        self.on_disk(lambda: run(self.tincd.apply(plan)))
        return self.procd.order

    def look(self, dialled, online, later=0):
        self.procd.order = []
        with Clock(later):
            run(self.tincd.verify(planned({"b": "b", "c": "c"}, dialled), online))
        return self.procd.order

    def files(self):
        return sorted(os.listdir(self.folder + "/tinc/hosts"))


@given(Router)
def test_what_changed_is_written_and_read_again(router):
    assert router.apply(tinc_conf="a", hosts_b="b") == ["set", "reload"]
    assert router.apply(tinc_conf="a", hosts_b="b") == ["set"]
    assert router.apply(tinc_conf="a", hosts_b="b", hosts_c="c") == ["set", "reload"]
    assert router.files() == ["b", "c"]
    assert router.apply(tinc_conf="a", hosts_c="c") == ["set", "reload"]
    assert router.files() == ["c"]


@given(Router)
def test_a_tincd_that_does_not_run_yet_reads_its_files_when_it_starts(router):
    router.procd.runs = False
    assert router.apply(tinc_conf="a", hosts_b="b") == ["set"]
    router.procd.runs = True
    assert router.apply(tinc_conf="a", hosts_b="b") == ["set"]


@given(Router)
def test_a_port_that_another_program_has_is_named_and_nothing_is_started(router):
    router.procd.runs = False
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        other = socket.socket(socket.AF_INET, kind)
        other.bind(compat.inet_address("0.0.0.0", router.port))
        if kind == socket.SOCK_STREAM:
            other.listen(1)
        try:
            router.apply(tinc_conf="a")
            raise AssertionError("applied")
        except TincError as error:
            assert "port %d" % router.port in str(error) and "option 'port'" in str(error)
            assert router.procd.order == []
        finally:
            other.close()
    assert router.apply(tinc_conf="a") == ["set"]


@given(Router)
def test_a_host_file_of_a_stranger_is_removed(router):
    router.apply(tinc_conf="a", hosts_b="b")
    disk.write(router.folder + "/tinc/hosts/mallory", "Ed25519PublicKey = x\n", 0o600)

    def clean():
        return router.tincd.clean(planned({"b": "b"}))

    assert router.on_disk(clean)  # nobody speaks of it yet
    router.seen = {"b": Node(True, True, True, None), "mallory": Node(True, True, True, None)}
    router.look([], {"b"})
    assert not router.on_disk(clean)
    assert router.apply(tinc_conf="a", hosts_b="b") == ["set", "reload"]
    assert router.files() == ["b"] and router.on_disk(clean)


@given(Router)
def test_a_reload_that_was_not_done_is_done_by_the_next_agent(router):
    router.apply(tinc_conf="a", hosts_b="b")
    router.refuses = True
    try:
        router.apply(tinc_conf="a", hosts_b="b", hosts_c="c")
        raise AssertionError("applied")
    except TincError:
        pass
    router.refuses = False
    router.start()
    assert router.apply(tinc_conf="a", hosts_b="b", hosts_c="c") == ["set", "reload"]
    assert router.apply(tinc_conf="a", hosts_b="b", hosts_c="c") == ["set"]


@given(Router)
def test_who_cannot_be_reached_is_dialled_again_sooner_than_tincd_would(router):
    up = Node(True, True, True, None)
    down = Node(False, False, False, None)
    router.seen = {"b": up, "c": down}
    assert router.look(["b", "c"], {"b", "c"}) == ["retry "]
    assert router.look(["b", "c"], {"b", "c"}) == []
    # Later on it is hung up first: its peer may not have known our key. A slow handshake gets its time.
    orders = [router.look(["b", "c"], {"b", "c"}, later=number / 10) for number in range(1, 300)]
    given_up = [number / 10 for number, order in enumerate(orders) if order == ["retry c"]]
    again = [number / 10 for number, order in enumerate(orders) if order]
    assert 0.2 <= given_up[0] <= 1 and 4 <= given_up[-1] - given_up[-2] <= 10.5
    assert all([0.9 <= after - before <= 2.2 for before, after in zip(again[9:], again[10:])])
    assert router.look(["b", "c"], {"b"}, later=40) == []
    router.seen = {"b": up, "c": up}
    assert router.look(["b", "c"], {"b", "c"}, later=41) == []


@given(Router)
def test_who_is_reached_by_way_of_another_alone_is_dialled_ever_later(router):
    router.seen = {"b": Node(True, True, True, None), "c": Node(True, True, False, None)}
    dialled = [number / 10 for number in range(1, 1000) if router.look(["b", "c"], {"b", "c"}, later=number / 10)]
    pauses = [after - before for before, after in zip(dialled, dialled[1:])]
    assert dialled[0] < 1 and pauses[0] < 0.5 and 15 <= max(pauses) <= 30.2 and pauses[-1] > 10
    router.seen = {"b": Node(True, True, True, None), "c": Node(True, True, True, None)}
    assert router.look(["b", "c"], {"b", "c"}, later=100) == []
    # Who is not dialled by us has the tunnel or not.
    router.seen = {"b": Node(True, True, False, None)}
    assert router.look(["c"], {"b"}, later=101) == []


@given(Router)
def test_it_is_ready_when_all_who_are_online_are_reached_and_have_keys(router):
    plan = planned({"b": "b", "c": "c"})
    cases = (
        ({"b": Node(True, True, True, None), "c": Node(True, True, True, None)}, True),
        ({"b": Node(True, True, True, None), "c": Node(True, False, True, None)}, False),
        ({"b": Node(True, True, True, None), "c": Node(True, False, False, None)}, True),
        ({"b": Node(True, None, True, None), "c": Node(True, None, True, None)}, True),
        ({"b": Node(True, True, True, None), "c": Node(False, True, True, None)}, False),
        ({"b": Node(True, True, True, None)}, False),
    )
    assert not router.tincd.is_ready(plan, {"b", "c"})
    for seen, ready in cases:
        router.seen = seen
        run(router.tincd.verify(plan, {"b", "c"}))
        assert router.tincd.is_ready(plan, {"b", "c"}) is ready
    assert router.tincd.is_ready(plan, {"b"})


@given(Router)
def test_a_tincd_that_takes_ever_more_memory_is_started_again_and_not_for_ever(router):
    def after(seconds, taken):
        """Whether tincd is started again, which had so many kB by then."""
        daemon._memory_of = lambda pid: taken
        with Clock(seconds):
            router.look([], set())
            before = router.procd.pid
            clean = router.on_disk(lambda: router.tincd.clean(planned({})))
            router.apply(tinc_conf="a")
            assert clean == (router.procd.pid == before)
        return not clean

    before = daemon._memory_of
    try:
        limit = daemon._ROOM + 2 * daemon._PER_NODE
        router.seen = {"b": Node(True, True, True, None), "c": Node(True, True, True, None)}
        assert not after(0, limit)
        assert after(10, limit + 1) and not after(20, limit) and after(30, limit + 2)
        assert "tincd is started again: it has taken %d kB of memory" % (limit + 2) in router.reports
        # One that needs as much from the start.
        again = [seconds for seconds in range(40, 30000, 20) if after(seconds, limit + 1)]
        assert 40 < again[0] <= 100 and len(again) < 20 and 1800 <= again[-1] - again[-2] <= 3620
    finally:
        daemon._memory_of = before


def test_the_memory_of_a_process_is_what_it_has_for_itself():
    assert 100 < daemon._memory_of("self 0123ABCD 198.18.0.1 port 655") < 1000000
    assert daemon._memory_of("") == daemon._memory_of("0 of none") == 0


@given(Router)
def test_it_stops_and_leaves_nothing(router):
    router.apply(tinc_conf="a", hosts_b="b")
    router.procd.order = []
    router.on_disk(lambda: run(router.tincd.stop()))
    assert router.procd.order == ["delete"] and not router.tincd.running
    assert os.listdir(router.folder) == []


@given(Router)
def test_a_daemon_that_procd_starts_anew_is_not_told_to_reload(router):
    assert router.apply(tinc_conf="a", hosts_b="b") == ["set", "reload"]
    assert router.apply(env="2", tinc_conf="b", hosts_b="b") == ["set"]
    assert router.apply(env="2", tinc_conf="b", hosts_b="c") == ["set", "reload"]
    assert router.tincd.name == "alfa"


def key(letter):
    return "Address = %s 655\nEd25519PublicKey = %s\n" % (letter, letter * 43)


def started(router, **files):
    """Whether tincd is started again for these files; then it is so once."""
    before = router.procd.pid
    router.apply(**files)
    again = router.procd.pid - before
    assert again == router.tincd.restarts
    assert router.apply(**files) == ["set"] and router.procd.pid == before + again
    return again == 1


@given(Router)
def test_a_tincd_that_remembers_a_members_earlier_key_is_started_again(router):
    assert not started(router, tinc_conf="a", hosts_b=key("B"), hosts_c=key("C"))
    assert not started(router, tinc_conf="a", hosts_b=key("B").replace("B 655", "198.18.0.2 655"), hosts_c=key("C"))
    assert started(router, tinc_conf="a", hosts_b=key("D"), hosts_c=key("C"))
    assert started(router, tinc_conf="a", hosts_b=key("B"), hosts_c=key("C")), "each time"
    # Who has left and comes back may have other keys, too.
    assert not started(router, tinc_conf="a", hosts_b=key("B"))
    assert not started(router, tinc_conf="a", hosts_b=key("B"), hosts_c=key("C"))
    assert not started(router, tinc_conf="a", hosts_b=key("B"))
    router.start()
    assert started(router, tinc_conf="a", hosts_b=key("B"), hosts_c=key("E"))
    assert not started(router, tinc_conf="a", hosts_b=key("B"), hosts_bc=key("F"), hosts_c=key("E"))


@given(Router)
def test_a_member_that_has_ever_other_keys_does_not_keep_tincd_from_its_work(router):
    def clean():
        return router.on_disk(lambda: router.tincd.clean(planned({})))

    def at(seconds):  # however long each step takes
        return Clock(began + seconds - compat.monotonic())

    began = compat.monotonic()
    router.apply(tinc_conf="a", hosts_alfa=key("A"), hosts_b=key("B"), hosts_c=key("C"))
    times = 0
    for now in range(0, 1000, 2):
        with at(now):
            letter = "BD"[now // 2 % 2]
            times += started(router, tinc_conf="a", hosts_alfa=key("A"), hosts_b=key(letter), hosts_c=key("C"))
            # It comes to the same where nothing else is new.
            assert now < 10 or clean() or now % 100 < 20
    assert times == 3 + 9
    assert len([text for text in router.reports if text.startswith("b: ever other keys")]) <= 12
    with at(1000):
        # Who has other keys just once does not wait for it, nor does this router itself.
        assert started(router, tinc_conf="a", hosts_alfa=key("A"), hosts_b=key("E"), hosts_c=key("F"))
        assert started(router, tinc_conf="a", hosts_alfa=key("G"), hosts_b=key("H"), hosts_c=key("F"))
    with at(1002):
        assert not started(router, tinc_conf="a", hosts_alfa=key("G"), hosts_b=key("I"), hosts_c=key("F"))
        assert clean()
    with at(1300):
        assert not clean() and started(router, tinc_conf="a", hosts_alfa=key("G"), hosts_b=key("I"), hosts_c=key("F"))
        assert clean()


@given(Router)
def test_nor_does_one_that_rotates_its_keys_all_the_time(router):
    times = 0
    router.apply(tinc_conf="a", hosts_b=key("B"))
    for number in range(40):
        for letter in "BD":
            times += started(router, tinc_conf="a", **{"hosts_b__%04d" % number: key(letter)})
    assert times == 3


@given(Router)
def test_what_else_is_new_is_read_while_tincd_has_to_wait(router):
    router.apply(tinc_conf="a", hosts_b=key("B"))
    for letter in "CDEF":
        router.apply(tinc_conf="a", hosts_b=key(letter))
    assert router.apply(tinc_conf="a", hosts_b=key("F")) == ["set"]
    router.refuses = True
    try:
        router.apply(tinc_conf="a", hosts_b=key("F"), hosts_c=key("C"))
        raise AssertionError("applied")
    except TincError:
        router.refuses = False
    assert router.apply(tinc_conf="a", hosts_b=key("F"), hosts_c=key("C")) == ["set", "reload"]
    assert router.apply(tinc_conf="a", hosts_b=key("F"), hosts_c=key("C")) == ["set"]
    assert len(router.reports) == 3 + 1


@given(Router)
def test_a_tincd_that_was_not_started_again_is_so_by_the_next_agent(router):
    router.apply(tinc_conf="a", hosts_b=key("B"))
    router.procd.fails = True
    try:
        router.apply(tinc_conf="a", hosts_b=key("C"))
        raise AssertionError("applied")
    except UbusError:
        router.procd.fails = False
    router.start()
    assert started(router, tinc_conf="a", hosts_b=key("C"))


@given(Router)
def test_what_a_tincd_remembers_ends_with_it(router):
    router.apply(tinc_conf="a", hosts_b=key("B"))
    router.apply(tinc_conf="a")
    assert router.apply(env="2", tinc_conf="b") == ["set"]
    assert not started(router, env="2", tinc_conf="b", hosts_b=key("C"))
    router.procd.runs = False
    assert router.apply(env="2", tinc_conf="b", hosts_b=key("D")) == ["set"]
    router.procd.runs = True
    assert router.apply(env="2", tinc_conf="b", hosts_b=key("D")) == ["set"]


@given(Router)
def test_a_tincd_whose_clock_was_set_back_is_started_again(router):
    def clean():
        return router.on_disk(lambda: router.tincd.clean(planned({})))

    before = daemon.clock.lead
    files = {"tinc_conf": "a", "hosts_b": key("B")}
    try:
        # Without a battery it begins in 1970, and is set; a little back is borne.
        for lead in (0, 1795305600, 1795305595, 1795309200, 1795309190):
            daemon.clock.lead = lambda now=lead: now
            assert clean() and not started(router, **files), lead
        daemon.clock.lead = lambda: 1795305600
        assert not clean()
        router.start()
        assert not clean(), "the next agent knows of it, too"
        assert started(router, **files) and clean()
        assert not started(router, **files)
        daemon.clock.lead = lambda: 5
        assert not clean() and started(router, **files) and clean()
    finally:
        daemon.clock.lead = before


@given(Router)
def test_a_tincd_that_hangs_is_started_again(router):
    def look(later):
        try:
            router.look([], set(), later)
        except TincError:
            pass

    def clean(later):
        with Clock(later):
            return router.on_disk(lambda: router.tincd.clean(planned({})))

    files = {"tinc_conf": "a", "hosts_b": key("B")}
    assert not started(router, **files)
    router.hangs = True
    look(0)
    assert clean(25)
    # It has answered meanwhile.
    router.hangs = False
    look(26)
    router.hangs = True
    look(28)
    look(50)
    assert clean(55) and not clean(60)
    with Clock(60):
        assert started(router, **files) and clean(0)
        assert not started(router, **files)
    # One that does not run does not hang.
    look(61)
    router.procd.runs = False
    router.apply(**files)
    assert clean(120)


@given(lambda: Router("1.0"))
def test_tinc_1_0_is_started_again_for_its_own_keys_alone(router):
    assert not started(router, tinc_conf="a", hosts_alfa="RSA\nA\n", hosts_b="RSA\nB\n")
    assert not started(router, tinc_conf="a", hosts_alfa="RSA\nA\n", hosts_b="RSA\nC\n")
    assert not started(router, tinc_conf="a", hosts_alfa="Address = b 655\nRSA\nA\n", hosts_b="RSA\nC\n")
    assert started(router, tinc_conf="a", hosts_alfa="RSA\nD\n", hosts_b="RSA\nC\n")


@given(Router)
def test_what_is_remembered_has_a_bound(router):
    router.apply(tinc_conf="a", hosts_b=key("B"))
    for number in range(40):
        names = {"hosts_%s%d" % ("n" * 40, number * 20 + more): key("C") for more in range(20)}
        router.apply(tinc_conf="a", hosts_b=key("B"), **names)
        router.apply(tinc_conf="a", hosts_b=key("B"))
    assert 8000 < len(disk.read(router.folder + "/tinc.gone")) <= 16384
    assert started(router, tinc_conf="a", **{"hosts_%s799" % ("n" * 40): key("D")})


@given(Router)
def test_who_comes_and_goes_has_nobody_elses_keys_forgotten(router):
    path = router.folder + "/gone"
    for name in ("bravo", "carol__0003", "carol"):
        memory.note(path, name, "%016x" % len(name))
    for turn in range(1, 1000):
        for name in ("mallory", "mallory__%04d" % turn, "bravo"):
            memory.note(path, name, "%016x" % turn)
    assert len(disk.read(path)) < 400
    for name, turn in (("carol__0003", 11), ("carol", 5), ("bravo", 999), ("mallory__0999", 999)):
        assert memory.recall(path, name) == "%016x" % turn, name
    assert memory.recall(path, "dora") == ""


@given(Router)
def test_a_member_is_met_under_either_of_its_names(router):
    up = Node(True, True, True, None)
    down = Node(False, False, False, None)
    plan = planned({"alfa__0001": "alfa", "b": "b", "b__0003": "b", "c__0001": "c"}, ["b"])
    for seen, reached in (
        ({"b": up, "b__0003": down}, ["b"]),
        ({"b": down, "b__0003": up}, ["b"]),
        ({"b": down, "b__0003": down}, []),
        ({"c": up, "c__0001": down}, []),  # c as it was named once, which is nobody now
        ({"c": down, "c__0001": up, "alfa": up}, ["c"]),
    ):
        router.seen = seen
        run(router.tincd.verify(plan, {"b", "c"}))
        assert [node for node in ("alfa", "b", "c") if router.tincd.reaches(node)] == reached, seen


@given(Router)
def test_who_is_hung_up_on_is_so_under_both_names(router):
    router.seen = {"b": Node(False, False, False, None)}
    plan = planned({"b": "b", "b__0001": "b"}, ["b"])
    orders = []
    for tenths in range(30):
        router.procd.order = []
        with Clock(tenths / 10):
            run(router.tincd.verify(plan, {"b"}))
        orders += router.procd.order
    assert "retry b b__0001" in orders


@given(Router)
def test_tunnels_are_told_by_the_members_names(router):
    async def tunnels():
        return [("alfa", "b"), ("alfa__0001", "b"), ("b", "c__0001"), ("alfa", "alfa__0001")]

    router.tunnels = tunnels
    router.seen = {}
    run(router.tincd.verify(planned({"alfa__0001": "alfa", "b": "b", "c__0001": "c"}), set()))
    assert run(router.tincd.tunnels()) == [("alfa", "b"), ("b", "c")]
