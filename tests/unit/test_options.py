from example import folder, given

from bgpmesh import disk, options, trial
from bgpmesh.problems import Problems

GOOD = "config mesh 'main'\n\toption enabled '1'\n\toption node 'alfa'\n\tlist etcd 'http://192.0.2.1:2379'\n"


class Router:
    """Options whose files are in a folder of their own."""

    def __init__(self):
        self.folder = folder("options")
        self.said = []
        self.start()

    def start(self):
        self.problems = Problems(self.said.append)
        self.options = options.Options(self.problems, self.said.append)

    def read(self, text):
        """Whether the options are others, after `text` was written."""
        names = ("_WORKED", "_TRIED", "_UNDONE", "_CONNECTED")
        tried = [getattr(trial, name) for name in names]
        for name in names:
            setattr(trial, name, "%s/state/%s" % (self.folder, name))
        before = options.CONFIG, options.STATE, options._GOOD
        options.CONFIG = self.folder + "/config"
        options.STATE = self.folder + "/state"
        options._GOOD = self.folder + "/state/config.good"
        try:
            if text is not None:
                disk.write(options.CONFIG, text, 0o600)
            return self.options.read()
        finally:
            options.CONFIG, options.STATE, options._GOOD = before
            for name, path in zip(names, tried):
                setattr(trial, name, path)

    def keep(self):
        before = options.STATE, options._GOOD
        options.STATE = self.folder + "/state"
        options._GOOD = self.folder + "/state/config.good"
        try:
            self.options.keep()
        finally:
            options.STATE, options._GOOD = before

    def faults(self):
        return [(problem.code, problem.subject) for problem, _ in self.problems.all()]


@given(Router)
def test_options_are_read_and_read_again_when_they_change(router):
    assert router.read(GOOD) and router.options.config.node == "alfa"
    assert not router.read(GOOD)
    assert router.read(GOOD + "\toption port '700'\n") and router.options.config.port == 700
    assert router.faults() == []


@given(Router)
def test_wrong_options_leave_the_last_good_ones_in_force(router):
    router.read(GOOD)
    before = router.options.config
    assert not router.read(GOOD + "\toption port '70000'\n\toption asn 'x'\n")
    assert router.options.config is before
    assert router.faults() == [("config", "asn"), ("config", "port")]
    assert router.read(GOOD + "\toption port '700'\n")
    assert router.faults() == []


@given(Router)
def test_after_a_restart_too(router):
    router.read(GOOD + "\toption port '700'\n")
    router.start()
    assert router.read("config mesh 'main'\n\toption enabled 'maybe'\n")
    assert router.options.config.port == 700
    assert ("config", "enabled") in router.faults()


@given(Router)
def test_what_was_good_once_and_can_be_followed_no_longer_is_not_in_force(router):
    router.read(GOOD)
    router.start()
    text = GOOD + "\toption etcd_api 'v2'\n\toption node '_alfa'\n"  # a name that v2 hides
    disk.write(router.folder + "/state/config.good", text, 0o600)
    assert not router.read(text)
    assert router.options.config is None and router.faults() == [("config", "node")]
    assert router.read(GOOD) and router.faults() == []


@given(Router)
def test_without_good_ones_there_is_nothing_to_start_with(router):
    for text in (None, "", "config mesh 'main'\n\toption port 'x'\n", "option"):
        assert not router.read(text)
        assert router.options.config is None and "config" in [code for code, _ in router.faults()]
    assert router.read(GOOD) and router.faults() == []


@given(Router)
def test_a_router_that_is_not_enabled_keeps_nothing(router):
    router.read(GOOD.replace("'1'", "'0'"))
    assert not router.options.config.enabled
    router.start()
    assert not router.read("option") and router.options.config is None


@given(Router)
def test_what_is_ignored_is_said_once(router):
    text = GOOD + "\toption nonsense '1'\n"
    router.read(text)
    router.read(text)
    assert len([line for line in router.said if "nonsense" in line]) == 1


@given(Router)
def test_flash_that_cannot_be_written_is_a_problem_and_nothing_more(router):
    disk.write(router.folder + "/state", "a file where the folder should be", 0o600)
    assert router.read(GOOD) and router.options.config.node == "alfa"
    assert router.faults() == [("disk", "config")]


@given(Router)
def test_flash_that_has_room_again_gets_the_options_without_being_told(router):
    disk.write(router.folder + "/state", "a file where the folder should be", 0o600)
    router.read(GOOD)
    router.keep()
    assert router.faults() == [("disk", "config")]
    disk.remove(router.folder + "/state")
    router.keep()
    assert router.faults() == [] and disk.read(router.folder + "/state/config.good") == GOOD
    router.read("config mesh 'main'\n\toption port '70000'\n\tlist etcd 'http://192.0.2.1:2379'\n")
    router.keep()
    assert router.faults() == [("config", "port")]
    assert disk.read(router.folder + "/state/config.good") == GOOD
