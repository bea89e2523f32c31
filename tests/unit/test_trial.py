from example import Clock
from test_options import GOOD
from test_options import Router as Plain

from bgpmesh import disk, options, trial

OTHER = GOOD.replace("192.0.2.1", "192.0.2.2")


class Router(Plain):
    """Options that are tried, whose files are in a folder of their own; look() some seconds later than the start."""

    def __init__(self):
        super().__init__()
        self.path = self.folder + "/state"

    def inside(self, step):
        names = ("_WORKED", "_TRIED", "_UNDONE", "_CONNECTED")
        before = [getattr(trial, name) for name in names], options.CONFIG, options.STATE, options._GOOD
        for name in names:
            setattr(trial, name, "%s/state/%s" % (self.folder, name))
        options.CONFIG = self.folder + "/config"
        options.STATE = self.path
        options._GOOD = self.folder + "/state/config.good"
        try:
            return step()
        finally:
            found, options.CONFIG, options.STATE, options._GOOD = before
            for name, path in zip(names, found):
                setattr(trial, name, path)

    def set(self, text, at=0):
        """Whether the options are others, after `text` was written."""
        disk.write(self.folder + "/config", text, 0o600)
        with Clock(at):
            return self.inside(self.options.read)

    def look(self, connected, at):
        with Clock(at):
            return self.inside(lambda: self.options.look(connected))

    @property
    def server(self):
        return self.options.config.etcd[0][1]


def given_router(test):
    def run_test():
        router = Router()
        try:
            test(router)
        finally:
            disk.remove_folder(router.folder)

    return run_test


def working(router):
    """A router on which GOOD was seen to work."""
    router.set(GOOD)
    assert not router.look(True, 1) and not router.look(True, 25)


@given_router
def test_options_that_cut_the_router_off_are_taken_back(router):
    working(router)
    assert router.set(OTHER, 30) and router.server == "192.0.2.2"
    for at in (31, 60, 149):
        assert not router.look(False, at), at
    assert router.look(False, 151) and router.server == "192.0.2.1"
    ((problem, _),) = router.problems.all()
    assert problem.code == "config_undone" and "option 'etcd'" in problem.text and "120 s" in problem.text
    assert "option 'port'" not in problem.text
    assert disk.read(router.folder + "/config") == OTHER, "the owner's file stays"


@given_router
def test_what_was_taken_back_is_not_tried_again_until_it_changes(router):
    working(router)
    router.set(OTHER, 30)
    assert router.look(False, 151) and router.options.settled()
    assert not router.set(OTHER, 152) and not router.look(True, 160) and not router.look(True, 300)
    router.start()
    assert router.set(OTHER, 301) and router.server == "192.0.2.1" and router.faults() == [("config_undone", "")]
    assert not router.look(True, 330)
    assert router.set(OTHER + "\toption port '700'\n", 340) and router.server == "192.0.2.2"
    assert router.faults() == []
    assert router.set(GOOD, 341) and router.server == "192.0.2.1" and router.faults() == []
    assert not router.look(False, 1000)


@given_router
def test_what_works_stays(router):
    working(router)
    assert router.options.settled()
    router.set(OTHER, 30)
    assert not router.look(True, 32), "that may be the sessions from before"
    assert not router.options.settled()
    assert not router.look(False, 40) and not router.look(True, 60)
    assert router.options.settled(), "so there is no need to look often"
    assert not router.look(False, 1000) and router.server == "192.0.2.2"
    router.set(GOOD, 1001)  # and now that is what would be gone back to
    assert not router.look(False, 1002)
    assert router.server == "192.0.2.1"


@given_router
def test_sessions_from_before_a_change_prove_nothing(router):
    working(router)
    router.set(OTHER, 30)
    assert not router.look(True, 40)
    assert not router.look(False, 159) and router.look(False, 161) and router.server == "192.0.2.1"


@given_router
def test_who_had_nothing_before_loses_nothing(router):
    router.set(GOOD)
    assert not router.look(False, 100)
    router.set(OTHER, 101)
    assert not router.look(False, 1000) and router.server == "192.0.2.2"
    working(router)
    assert not router.look(False, 60)  # the registry and all members are away for longer than a moment
    router.set(OTHER, 61)
    assert not router.look(False, 1000) and router.server == "192.0.2.2"


@given_router
def test_a_restart_within_the_trial_goes_on_with_it(router):
    working(router)
    router.set(OTHER, 30)
    assert not router.look(False, 100)
    router.start()
    assert router.set(OTHER) and router.server == "192.0.2.2"
    assert not router.look(False, 110) and router.look(False, 130) and router.server == "192.0.2.1"


@given_router
def test_a_second_change_within_the_trial_is_tried_as_well(router):
    working(router)
    router.set(OTHER, 30)
    assert not router.look(False, 100)
    router.set(OTHER + "\toption port '700'\n", 101)
    assert not router.look(False, 200) and router.look(False, 222)
    assert router.server == "192.0.2.1"


@given_router
def test_with_an_option_of_0_nothing_is_taken_back(router):
    working(router)
    router.set(OTHER + "\toption rollback '0'\n", 30)
    assert not router.look(False, 10000) and router.server == "192.0.2.2"


@given_router
def test_wrong_options_after_one_that_was_taken_back_leave_in_force_what_worked(router):
    working(router)
    router.set(OTHER, 30)
    assert router.look(False, 151)
    router.start()
    assert router.set("config mesh 'main'\n\toption enabled 'maybe'\n", 152) and router.server == "192.0.2.1"


@given_router
def test_a_file_with_a_mistake_keeps_no_options_in_force_that_cut_the_router_off(router):
    working(router)
    router.set(OTHER, 30)
    assert not router.set(OTHER + "\toption port 'x'\n", 50) and router.server == "192.0.2.2"
    assert not router.look(False, 149) and router.look(False, 151)
    assert router.server == "192.0.2.1" and router.faults() == [("config", "port")]
    assert disk.read(router.path + "/config.good") == GOOD
    assert not router.look(False, 153) and not router.look(True, 200) and router.options.settled()
    assert not router.set(OTHER, 201) and router.faults() == [("config_undone", "")]
    assert router.set(OTHER + "\toption port '700'\n", 202) and router.faults() == []


@given_router
def test_a_file_with_a_mistake_and_a_restart_within_the_trial_bring_back_what_worked(router):
    working(router)
    router.set(OTHER, 30)
    router.start()
    assert router.set(OTHER + "\toption port 'x'\n", 50) and router.server == "192.0.2.1"
    assert router.set(OTHER, 51) and router.server == "192.0.2.2"
    assert router.look(False, 172) and router.server == "192.0.2.1", "they are still on trial"


@given_router
def test_what_the_owner_saved_unheard_within_the_trial_is_tried_when_that_is_over(router):
    working(router)
    router.set(OTHER, 30)
    disk.write(router.folder + "/config", OTHER.replace("192.0.2.2", "192.0.2.3"), 0o600)
    assert router.look(False, 151) and router.server == "192.0.2.3" and router.faults() == []


@given_router
def test_flash_without_room_does_not_keep_bad_options_in_force(router):
    working(router)
    write = disk.write_pieces

    def full(path, *how):
        if not path.endswith("/connected"):  # which is in memory
            raise OSError(28, "No space left on device")
        write(path, *how)

    disk.write_pieces, other = full, OTHER.replace("192.0.2.2", "192.0.2.3")
    try:
        set_unseen(router, OTHER, 30)
        for at in (31, 70):  # the marks of the session before are gone by then, and the trial goes on
            assert not router.look(False, at)
            router.inside(router.options.keep)
        set_unseen(router, other, 80)
        assert not router.look(False, 199) and router.look(False, 201) and router.server == "192.0.2.1"
        assert router.faults() == [("config_undone", ""), ("disk", "config")]
        router.inside(router.options.keep)
        assert router.server == "192.0.2.1" and not router.look(False, 1000)
    finally:
        disk.write_pieces = write
    router.inside(router.options.keep)
    assert router.faults() == [("config_undone", "")]
    router.start()
    assert router.set(other, 1001) and router.server == "192.0.2.1", "it is on flash now"


@given_router
def test_a_file_with_a_mistake_does_not_bring_back_what_flash_had_no_room_to_replace(router):
    working(router)
    router.set(OTHER, 30)
    router.set("option", 50)
    write = disk.write_pieces

    def nearly_full(path, *how):
        if path.endswith("/config.good"):
            raise OSError(28, "No space left on device")
        write(path, *how)

    disk.write_pieces = nearly_full
    try:
        assert router.look(False, 151) and router.server == "192.0.2.1"
    finally:
        disk.write_pieces = write
    router.start()
    assert router.set("option", 160) and router.server == "192.0.2.1"


def set_unseen(router, text, at):
    """The same as set(), for flash that has no room for the agent's files."""
    with open(router.folder + "/config", "w") as file:
        file.write(text)
    with Clock(at):
        assert router.inside(router.options.read)


@given_router
def test_check_knows_what_was_taken_back(router):
    working(router)
    router.set(OTHER, 30)
    assert router.inside(lambda: trial.taken_back(OTHER)) is None
    router.look(False, 151)
    assert router.inside(lambda: trial.taken_back(OTHER)) == GOOD
    assert router.inside(lambda: trial.taken_back(GOOD)) is None
