import os
import socket

from example import Clock, Thing, folder, given
from fake_http import run

from bgpmesh import compat, disk
from bgpmesh.tinc import daemon
from bgpmesh.tinc.control import Node, TincError


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
        self.order = []

    async def instance(self, name, instance):
        return {"running": True} if self.runs else {}

    async def set(self, name, instances):
        self.order.append("set")

    async def delete(self, name):
        self.order.append("delete")


class Router:
    """A Tincd whose files are in a folder of their own, and which of its orders reached procd and tincd."""

    def __init__(self):
        self.folder = folder("tincd")
        self.procd = Procd()
        self.start()
        self.seen = {}
        self.refuses = False
        self.port = free_port()

    def start(self):
        """A new agent on the same router."""
        self.tincd = daemon.Tincd(self.procd, "1.1", None)
        self.tincd._control = self

    async def nodes(self):
        return self.seen

    async def reload(self):
        if self.refuses:
            raise TincError("refused")
        self.procd.order.append("reload")

    async def retry(self, hung):
        self.procd.order.append("retry " + " ".join(hung))

    def on_disk(self, step):
        """What step() returns, with tincd's folder in ours."""
        names = ("TINC", "_HOSTS", "_STALE")
        before = [getattr(daemon, name) for name in names]
        tinc = self.folder + "/tinc"
        for name, path in zip(names, (tinc, tinc + "/hosts", tinc + ".stale")):
            setattr(daemon, name, path)
        try:
            return step()
        finally:
            for name, path in zip(names, before):
                setattr(daemon, name, path)

    def apply(self, **files):
        """The orders that applying these files gives; names with `_` for the dot or slash."""
        self.procd.order = []
        tinc = {name.replace("hosts_", "hosts/").replace("_conf", ".conf"): (files[name], 0o600) for name in files}
        plan = Thing(tinc=tinc, services={daemon.SERVICE: {}}, port=self.port)
        self.on_disk(lambda: run(self.tincd.apply(plan)))
        return self.procd.order

    def look(self, dialled, online, later=0):
        self.procd.order = []
        with Clock(later):
            run(self.tincd.verify(Thing(dialled=dialled), online))
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
        return router.tincd.clean(Thing(seats={"b": None}))

    assert router.on_disk(clean)  # nobody speaks of it yet
    router.tincd.nodes = {"b": None, "mallory": None}
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
def test_it_is_ready_when_all_who_are_online_are_reached_and_have_keys(router):
    plan = Thing(seats={"b": None, "c": None}, dialled=[])
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
def test_it_stops_and_leaves_nothing(router):
    router.apply(tinc_conf="a", hosts_b="b")
    router.procd.order = []
    router.on_disk(lambda: run(router.tincd.stop()))
    assert router.procd.order == ["delete"] and not router.tincd.running
    assert os.listdir(router.folder) == []
