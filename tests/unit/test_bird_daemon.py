import os

from example import Clock, Thing, folder, given
from fake_http import run

from bgpmesh import disk
from bgpmesh.bird import daemon
from bgpmesh.bird.control import BirdError, ConfigError, Session
from bgpmesh.model import Text


class Router:
    """A Bird whose files are in a folder of their own; it is also its BIRD and its procd: `order` is what came."""

    def __init__(self):
        self.folder = folder("bird-daemon")
        self.conf = self.folder + "/bird.conf"
        self.runs = True
        self.pid = 99
        self.order = []
        self.fault = None  # what the next configuration ends in
        self.shown = {}
        self.start()

    def start(self):
        """A new agent on the same router."""
        self.bird = daemon.Bird(self)
        self.bird._socket = self

    # procd

    async def instance(self, name, instance):
        return {"running": True, "pid": self.pid} if self.runs else {"running": False}

    async def set(self, name, instances):
        self.order.append("set")

    async def delete(self, name):
        self.order.append("delete")

    # BIRD

    async def version(self):
        return "3.1.7"

    async def sessions(self):
        return {name[1:]: session for name, session in self.shown.items()}

    async def check(self, path):
        self._take("check", path)

    async def configure(self, path, expected):
        self._take("configure " + " ".join(["_" + node for node in sorted(expected)]), path)

    async def parse(self, path):
        self._take("parse", path)

    async def ask(self, command):
        self.order.append(command)
        return [(0, "")]

    def _take(self, order, path):
        self.order.append(order)
        assert path == self.conf + ".new" and disk.read(path)
        if self.fault:
            raise self.fault

    def on_disk(self, step):
        names = ("BIRD_CONF", "_NEW", "RUN", "_parse")
        before = [getattr(daemon, name) for name in names]
        for name, value in zip(names, (self.conf, self.conf + ".new", self.folder, self.parse)):
            setattr(daemon, name, value)
        try:
            return step()
        finally:
            for name, value in zip(names, before):
                setattr(daemon, name, value)

    def apply(self, text, *nodes):
        """The orders that applying this configuration gives."""
        self.order = []
        seats = {node: None for node in nodes}
        plan = Thing(bird=Text(lambda: iter([text])), sessions=seats, names={}, services={daemon.SERVICE: {}})
        self.on_disk(lambda: run(self.bird.apply(plan)))
        return self.order

    def refused(self, text, error):
        self.fault = error
        try:
            self.apply(text)
            raise AssertionError("applied")
        except BirdError as found:
            assert found is error
        self.fault = None
        return self.order

    def look(self, *nodes):
        run(self.bird.verify(Thing(sessions={node: None for node in nodes}, names={}), None))


@given(Router)
def test_a_bird_that_is_not_there_yet_is_started_on_a_file_that_parses(router):
    router.runs = False
    assert router.apply("one", "b") == ["parse", "set"]
    assert disk.read(router.conf) == "one" and router.bird.config == "in force"
    assert os.listdir(router.folder) == ["bird.conf"]


@given(Router)
def test_a_running_one_takes_a_new_configuration_with_a_way_back(router):
    assert router.apply("one", "b", "c") == ["check", "configure _b _c", "set"]
    assert router.apply("one", "b", "c") == ["set"]
    assert router.apply("two", "b") == ["check", "configure _b", "set"]
    assert disk.read(router.conf) == "two"


@given(Router)
def test_what_bird_refuses_never_takes_the_place_of_what_it_accepted(router):
    router.apply("one")
    assert router.refused("two", ConfigError("line 1")) == ["check"]
    assert disk.read(router.conf) == "one" and router.bird.config == "refused"
    assert router.refused("two", BirdError("no answer")) == ["check"]
    assert disk.read(router.conf) == "one" and router.bird.config == "pending"
    assert router.apply("three") == ["check", "configure ", "set"] and router.bird.config == "in force"
    assert os.listdir(router.folder) == ["bird.conf"]


@given(Router)
def test_what_an_agent_was_trying_when_it_ended_is_neither_left_nor_in_force(router):
    router.apply("one", "b")
    router.refused("two", BirdError("no answer"))
    assert sorted(os.listdir(router.folder)) == ["bird.conf", "bird.conf.new"]
    router.start()
    assert router.apply("one", "b") == ["check", "configure _b", "set"]
    assert os.listdir(router.folder) == ["bird.conf"] and router.apply("one", "b") == ["set"]


@given(Router)
def test_a_bird_that_runs_on_something_else_gets_its_configuration_again(router):
    router.apply("one", "b")
    router.shown = {"_b": Session("Established", "", "")}
    router.look("b")
    assert router.bird.clean() and sorted(router.bird.sessions) == ["b"]
    for shown in ({}, {"_c": Session("Idle", "", "")}, {"_b": Session("Idle", "", ""), "_c": Session("Idle", "", "")}):
        router.shown = shown
        router.look("b")
        assert not router.bird.clean()
        assert router.apply("one", "b") == ["check", "configure _b", "set"]
        assert router.bird.clean()


@given(Router)
def test_the_routes_of_a_bird_that_is_gone_for_good_are_taken_away_once(router):
    ran = []

    async def note(argv, timeout):
        ran.append(argv[2])

    def flushed(seconds):
        with Clock(seconds):
            run(router.bird.flush("tinc0"))
        return len(ran)

    before, daemon.compat.run = daemon.compat.run, note
    try:
        router.start()
        assert [flushed(seconds) for seconds in (0, 14, 16, 100)] == [0, 0, 1, 1]
        router.look()
        assert flushed(100) == 1
        router.bird.lost()
        assert flushed(14) == 1
        with Clock(14):
            router.bird.lost()
        assert [flushed(seconds) for seconds in (16, 100)] == [2, 2]
    finally:
        daemon.compat.run = before
    assert ran[0] == "ip -4 route flush dev tinc0 proto 12; ip -6 route flush dev tinc0 proto 12"


@given(Router)
def test_what_was_seen_is_forgotten_when_it_cannot_be_asked(router):
    router.shown = {"_b": Session("Established", "", "")}
    router.look("b")
    assert router.bird.running and router.bird.version == "3.1.7"
    router.bird.lost()
    assert (router.bird.running, router.bird.version, router.bird.sessions) == (False, None, {})


def hung(router, seconds):
    with Clock(seconds):
        return run(router.bird.is_hung())


@given(Router)
def test_a_bird_that_runs_and_has_not_answered_for_a_minute_hangs(router):
    assert [hung(router, seconds) for seconds in (0, 30, 59, 61)] == [False, False, False, True]
    router.look()
    assert not hung(router, 62), "it has answered"
    assert [hung(router, seconds) for seconds in (100, 123)] == [False, True]
    router.on_disk(lambda: run(router.bird.stop()))
    assert [hung(router, seconds) for seconds in (124, 183, 185)] == [False, False, True]


@given(Router)
def test_a_bird_that_is_not_there_or_is_another_one_does_not_hang(router):
    router.runs = False
    assert [hung(router, seconds) for seconds in (0, 100)] == [False, False]
    router.runs = True
    for router.pid in range(5):  # it ends, and is started again, and ends
        assert not hung(router, 101 + 30 * router.pid)
    assert hung(router, 300)


@given(Router)
def test_a_session_that_bird_has_ended_itself_is_tried_again_after_a_while(router):
    ended = Session("Automatic", "", "(shutdown: Route limit exceeded)")
    router.shown = {"_b": ended, "_c": Session("Idle", "", ""), "_d": Session("Established", "", "")}
    for seconds, order in ((0, []), (daemon._PARDON - 1, []), (daemon._PARDON + 1, ['enable "_b"'])):
        router.order = []
        with Clock(seconds):
            router.look("b", "c", "d")
        assert router.order == order, seconds
    router.order = []
    with Clock(daemon._PARDON + 2):
        router.look("b", "c", "d")
    assert router.order == []
    with Clock(2 * daemon._PARDON + 3):
        router.look("b", "c", "d")
    assert router.order == ['enable "_b"']


@given(Router)
def test_it_stops_and_leaves_no_configuration(router):
    router.apply("one")
    router.order = []
    router.on_disk(lambda: run(router.bird.stop()))
    assert router.order == ["delete"] and os.listdir(router.folder) == []
