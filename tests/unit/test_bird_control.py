import asyncio

from example import GOLDEN, folder
from fake_control import Daemon, dialogue
from fake_http import descriptors, run

from bgpmesh import compat, disk
from bgpmesh.bird import control
from bgpmesh.bird.control import BirdError, ConfigError

VERSIONS = ("2.0.12", "2.17.5", "3.1.7")
CONF = "/var/run/bgpmesh/bird.conf.new"
CONFIGURE = 'configure "%s" timeout 30' % CONF
GREETING = "0001 BIRD 3.1.7 ready."
UP = ["1000-BIRD 3.1.7", "1011-Router ID is 10.0.0.1", " Hostname is vm", "0013 Daemon is up and running"]
RECOVERS = UP[:-1] + ["0024-Graceful restart recovery in progress", "   Waiting for 2 channels to recover"] + UP[-1:]
BUSY = UP[:-1] + ["0013 Reconfiguration in progress"]
ACCEPTED = [
    "0002-Reading configuration from " + CONF,
    "0022-Undo scheduled in 30 s",
    "0004 Reconfiguration in progress",
]
REFUSED = ["0002-Reading configuration from " + CONF, "8002 %s:47:15 syntax error, unexpected '{'" % CONF]
CONFIRMED = ["0018 Reconfiguration confirmed"]


def sample(version, name):
    """[(command, lines)] of a conversation with a real BIRD, the greeting left out."""
    found = dialogue(disk.read("%s/bird-replies/%s/%s.txt" % (GOLDEN, version, name)), "> ", "< ")
    assert found[0] == (None, ["0001 BIRD %s ready." % version])
    return found[1:]


class Pieces:
    """As much of a Stream as reading a reply needs: gives the data in pieces of that size."""

    def __init__(self, data, size):
        self._data = data
        self._size = size

    async def read_some(self):
        piece, self._data = self._data[: self._size], self._data[self._size :]
        return piece


def read(*lines):
    """The reply in these lines, read as from the socket: in one piece and in small ones."""
    data = "".join([line + "\n" for line in lines]).encode()
    found = run(control._read_reply(Pieces(data, 1 << 20)))
    for size in (1, 7, 64):
        if size > 1 or len(data) < 4096:
            assert run(control._read_reply(Pieces(data, size))) == found
    return control.parse_reply(found)


def reply(version, name, command):
    """The reply to a command in a sample."""
    return [read(*lines) for asked, lines in sample(version, name) if asked == command][0]


# Replies


def test_every_reply_of_every_version_is_read_to_its_last_line():
    count = 0
    for version in VERSIONS:
        for name in (
            "configure-check",
            "configure-syntax-error",
            "configure-timeout",
            "configure-timeout-expire",
            "peer-killed",
            "restricted",
            "show-protocols",
            "show-protocols-all-nosuch",
            "show-protocols-pattern",
        ):
            for command, lines in sample(version, name):
                found = read(*lines)
                wanted = len([line for line in lines if not line.startswith("+")])
                assert len(found) == wanted, (version, name, command)
                count += 1
    assert count > 60


def test_codes_go_on_for_lines_that_begin_with_a_space():
    assert read("1002-one", " two", "  three", "1006-four", " five", "0000 ") == [
        (1002, "one"),
        (1002, "two"),
        (1002, " three"),
        (1006, "four"),
        (1006, "five"),
        (0, ""),
    ]


def test_an_error_after_the_line_that_sounds_like_success():
    for version in VERSIONS:
        found = reply(version, "configure-syntax-error", "configure")
        assert [code for code, _ in found] == [2, 8002]
        try:
            control._refuse(found)
            raise AssertionError("accepted")
        except ConfigError as error:
            assert ":47:15 syntax error, unexpected '{'" in str(error)


def test_what_bird_says_unasked_is_passed_over():
    assert read("+Config timeout expired, starting undo", "0013 Daemon is up and running") == [
        (13, "Daemon is up and running")
    ]
    assert read("1000-BIRD", "+unasked", " more", "+", "0013 up") == [(1000, "BIRD"), (1000, "more"), (13, "up")]
    data = b"0013 up\n+unasked\n+\n"
    assert control.parse_reply(run(control._read_reply(Pieces(data, 1 << 20)))) == [(13, "up")]


def test_a_long_line():
    assert read("1002-" + "x" * 60000, "0000 ")[0][1] == "x" * 60000


def test_what_is_no_reply():
    for lines in (("garbage",), ("",), ("xxxx-",), ("1000-a", "garbage")):
        try:
            found = read(*lines)
            raise AssertionError("read %r" % found)
        except (ValueError, EOFError):
            pass


# Sessions and routes


def test_sessions_of_every_version():
    for version in VERSIONS:
        found = control.parse_protocols(reply(version, "show-protocols", "show protocols"))
        assert sorted(found) == ["badas", "dis", "n-dash.x", "n2", "n3", "pas"]
        assert (found["n2"].state, found["n2"].info) == ("Established", "")
        assert (found["pas"].state, found["pas"].info) == ("Passive", "")
        assert (found["dis"].state, found["dis"].info) == ("Down", "")
        assert (found["badas"].state, found["badas"].info) == ("Idle", "BGP Error: Bad peer AS")
        assert (found["n3"].state, found["n3"].info) == ("Active", "Socket: Connection refused")
        for name in found:
            assert found[name].since.startswith("2026-11-21 04:") and len(found[name].since) == 19
        killed = control.parse_protocols(reply(version, "peer-killed", "show protocols n2"))
        assert killed["n2"].info == "Socket: Connection closed"


def test_sessions_of_a_bird_without_any():
    assert (
        control.parse_protocols(read("2002-Name Proto", "1002-dev1 Device --- up 2026-11-21 04:40:05", "0000 ")) == {}
    )
    assert control.parse_protocols(read("0000 ")) == {}
    assert control.parse_protocols(read("9001 syntax error")) == {}


def test_routes_of_every_version():
    for version in VERSIONS:
        assert control.parse_routes(reply(version, "show-protocols-pattern", 'show protocols all "n2"')) == {"n2": 2}
        assert control.parse_routes(reply(version, "show-protocols-all-nosuch", "show protocols all nosuch")) == {}
        down = control.parse_routes(reply(version, "peer-killed", "show protocols all n2"))
        assert down == {"n2": 0}


def test_whom_bfd_watches_of_every_version():
    for version in VERSIONS:
        assert control.parse_watched(reply(version, "show-bfd-sessions", "show bfd sessions")) == {"10.0.0.2"}
    assert control.parse_watched(read("0000 ")) == control.parse_watched(read("9001 there is no BFD")) == set()


def test_routes_of_several_sessions():
    text = "  Routes:         9 imported, 0 filtered, 1 exported, %d preferred"
    found = read(
        "1002-_a BGP", "1006-  x", text % 3, text % 4, "1002-_b BGP", "1006-", "1002-_c BGP", "1006-", text % 7, "0000 "
    )
    assert control.parse_routes(found) == {"_a": 7, "_b": 0, "_c": 7}
    assert control.parse_imported(found) == {"_a": 18, "_b": 0, "_c": 9}
    assert control.parse_exported(found) == {"_a": 2, "_b": 0, "_c": 1}


def test_announcements_sent_by_every_version():
    for version in VERSIONS:
        # One of each family.
        assert control.parse_sent(reply(version, "show-protocols-pattern", 'show protocols all "n2"')) == {"n2": 2}
        assert control.parse_sent(reply(version, "peer-killed", "show protocols all n2")) == {"n2": 0}


def test_routes_announced_now_by_every_version():
    for version in VERSIONS:
        shown = reply(version, "show-protocols-pattern", 'show protocols all "n2"')
        assert control.parse_exported(shown) == {"n2": 2}
        assert control.parse_exported(reply(version, "peer-killed", "show protocols all n2")) == {"n2": 0}


# The socket


class Bird:
    """A BIRD that answers with `replies`: command -> replies, the last one again and again.

    A reply is a list of lines, or bytes after which it hangs up; without one it is silent. asked: what came.
    """

    def __init__(self, replies, greeting=GREETING):
        self.folder = folder("bird")
        self.path = self.folder + "/bird.ctl"
        self.replies = {command: list(replies[command]) for command in replies}
        self.greeting = greeting
        self.asked = []
        self.talking = 0

    async def talk(self, stream):
        self.talking += 1
        assert self.talking == 1, "two conversations at once"
        try:
            await stream.write((self.greeting + "\n").encode())
            while True:
                command = (await stream.read_until(b"\n")).decode()
                self.asked.append(command)
                left = self.replies.get(command)
                if not left:
                    await stream.read_until(b"\n")  # which never comes
                found = left.pop(0) if len(left) > 1 else left[0]
                if isinstance(found, bytes):
                    await stream.write(found)
                    return
                for line in found:  # in pieces, as over a busy socket
                    await stream.write((line + "\n").encode()[:7])
                    await asyncio.sleep(0)
                    await stream.write((line + "\n").encode()[7:])
        finally:
            self.talking -= 1


def on(bird, steps, patience=10):
    """What steps(socket) returns, with that BIRD behind the socket; nothing is left open. patience: seconds."""

    async def main():
        async with Daemon(bird.path, bird.talk):
            return await steps(control.Socket(bird.path))

    before = descriptors()
    limit, control.TIMEOUT = control.TIMEOUT, patience
    try:
        return run(main())
    finally:
        control.TIMEOUT = limit
        disk.remove_folder(bird.folder)
        assert descriptors() <= before


async def failure(coroutine, kind=BirdError):
    """The text of the error of exactly that kind in which it ends, soon after the time limit."""
    began = compat.monotonic()
    try:
        found = await coroutine
    except BirdError as error:
        assert type(error) is kind, repr(error)
        assert compat.monotonic() - began < 5
        return str(error)
    raise AssertionError("no error but %r" % found)


def test_the_version():
    async def steps(socket):
        return await socket.version()

    assert on(Bird({"show status": [UP]}), steps) == "3.1.7"
    for version in VERSIONS:
        lines = [lines for asked, lines in sample(version, "configure-timeout") if asked == "show status"][0]
        assert on(Bird({"show status": [lines]}), steps) == version


def test_sessions_and_routes_are_asked_for():
    shown = [lines for asked, lines in sample("3.1.7", "show-protocols-pattern") if asked == 'show protocols all "n2"'][
        0
    ]
    bird = Bird({"show protocols": [shown], 'show protocols all "_*"': [shown]})

    async def steps(socket):
        state = (await socket.sessions())["n2"].state
        return state, (await socket.routes())["n2"], (await socket.exports())["n2"]

    assert on(bird, steps) == ("Established", 2, (2, 2))


def test_sessions_are_taken_apart_again_only_when_they_changed():
    bird = Bird({"show protocols": [protocols("_n2"), protocols("_n2"), protocols("_n2", "_n3")]})

    async def steps(socket):
        first = await socket.sessions()
        second = await socket.sessions()
        third = await socket.sessions()
        return first is second, sorted(first), sorted(third)

    assert on(bird, steps) == (True, ["_n2"], ["_n2", "_n3"])


def test_one_conversation_at_a_time():
    async def steps(socket):
        return await asyncio.gather(socket.version(), socket.version(), socket.version())

    assert on(Bird({"show status": [UP]}), steps) == ["3.1.7"] * 3


def test_a_bird_that_is_silent():
    async def steps(socket):
        text = await failure(socket.version())
        assert await failure(socket.version()) == text  # the lock is free again
        return text

    assert "does not answer" in on(Bird({}), steps, 1)
    assert "does not answer" in on(Bird({"show status": [UP[:-1]]}), steps, 1)


def test_a_bird_that_accepts_and_does_not_greet():
    bird = Bird({})

    async def mute(stream):
        await stream.read_until(b"\n")

    bird.talk = mute

    async def steps(socket):
        return await failure(socket.version())

    assert "does not answer" in on(bird, steps, 1)


def test_a_bird_that_hangs_up():
    whole = "".join([line + "\n" for line in UP]).encode()

    async def steps(socket):
        return await failure(socket.version())

    for data in (b"", whole[:4], whole[: len(whole) // 2], whole[:-1]):
        assert "control socket" in on(Bird({"show status": [data]}), steps)


def test_a_bird_that_says_something_else():
    async def steps(socket):
        return await failure(socket.version())

    assert "greets with" in on(Bird({}, "0016 Access restricted"), steps)
    assert "control socket" in on(Bird({}, "SSH-2.0-dropbear"), steps)
    assert "control socket" in on(Bird({"show status": [b"\xff\xfe\xff\xff-\n0013 up\n"]}), steps)
    assert "control socket" in on(Bird({"show status": [b"1000-" + b"x" * 200000]}), steps)


def test_no_bird():
    path = folder("bird")

    async def steps():
        return await failure(control.Socket(path + "/bird.ctl").version())

    try:
        assert "bird does not run" in run(steps())
        disk.write(path + "/bird.ctl", "", 0o600)
        assert "bird does not run" in run(steps())
    finally:
        disk.remove_folder(path)


# A new configuration


def protocols(*names):
    rows = [" %-10s BGP        ---        start  2026-11-21 04:40:05  Connect       " % name for name in names]
    return [
        "2002-Name       Proto      Table      State  Since         Info",
        "1002-dev1  Device --- up 2026-11-21 04:40:05  ",
    ] + (rows + ["0000 "])


def configured(bird, expected=("_r2", "_r3"), kind=None):
    """(text of the error or None, commands) of giving that BIRD a configuration."""

    async def steps(socket):
        coroutine = socket.configure(CONF, list(expected))
        return await failure(coroutine, kind) if kind else await coroutine

    return on(bird, steps, 1), bird.asked


def willing(**changes):
    replies = {
        "show status": [UP],
        CONFIGURE: [ACCEPTED],
        "show protocols": [protocols("_r3", "_r2")],
        "configure confirm": [CONFIRMED],
    }
    replies.update(changes)
    return replies


def test_a_configuration_is_taken_looked_at_and_confirmed():
    assert configured(Bird(willing())) == (
        None,
        ["show status", CONFIGURE, "show status", "show protocols", "configure confirm"],
    )


def test_what_a_peer_has_said_need_not_be_text():
    reply = control.parse_reply(b"1006-    Last error:  Received: Administrative shutdown \xff\x80!\n0000 \n")
    assert reply[0] == (1006, "    Last error:  Received: Administrative shutdown ??!")


def test_the_three_ways_to_accept():
    for last in (
        "0003 Reconfigured",
        "0004 Reconfiguration in progress",
        "0005 Reconfiguration already in progress, queueing new config",
    ):
        replies = willing()
        replies[CONFIGURE] = [ACCEPTED[:-1] + [last]]
        assert configured(Bird(replies))[1][-1] == "configure confirm"


def test_a_busy_bird_is_waited_for_before_and_after():
    replies = willing()
    replies["show status"] = [BUSY, BUSY, UP, BUSY, UP]
    _, asked = configured(Bird(replies))
    assert asked == ["show status"] * 3 + [CONFIGURE] + ["show status"] * 2 + ["show protocols", "configure confirm"]


def test_a_recovery_is_waited_for_and_not_for_ever():
    replies = willing()
    before, control.RECOVERY_TIME = control.RECOVERY_TIME, 600
    try:
        replies["show status"] = [RECOVERS, RECOVERS, UP]
        assert configured(Bird(replies))[1][:4] == ["show status"] * 3 + [CONFIGURE]
        control.RECOVERY_TIME = -1
        replies["show status"] = [RECOVERS]
        assert configured(Bird(replies))[1][:2] == ["show status", CONFIGURE]
    finally:
        control.RECOVERY_TIME = before


def test_a_bird_that_stays_busy_is_given_nothing():
    replies = willing()
    replies["show status"] = [BUSY]
    text, asked = configured(Bird(replies), kind=BirdError)
    assert "still busy" in text
    assert set(asked) == {"show status"}


def test_a_refused_configuration():
    replies = willing()
    replies[CONFIGURE] = [REFUSED]
    text, asked = configured(Bird(replies), kind=ConfigError)
    assert text == "%s:47:15 syntax error, unexpected '{'" % CONF
    assert asked == ["show status", CONFIGURE]


def test_a_restricted_bird():
    replies = willing()
    replies[CONFIGURE] = [["8007 Access denied"]]
    assert configured(Bird(replies), kind=ConfigError)[0] == "Access denied"


def test_sessions_that_come_after_a_while():
    replies = willing()
    replies["show protocols"] = [protocols(), protocols("_r2"), protocols("_r2", "_r3")]
    _, asked = configured(Bird(replies))
    assert asked.count("show protocols") == 3 and asked[-1] == "configure confirm"


def test_other_sessions_than_expected_are_not_confirmed():
    for names in ((), ("_r2",), ("_r2", "_r3", "_r4"), ("_r2", "_r9")):
        replies = willing()
        replies["show protocols"] = [protocols(*names)]
        text, asked = configured(Bird(replies), kind=BirdError)
        assert "shows the sessions " + ", ".join(names) in text
        assert "configure confirm" not in asked


def test_no_sessions_where_none_are_expected():
    replies = willing()
    replies["show protocols"] = [protocols()]
    assert configured(Bird(replies), ())[0] is None


def test_an_answer_to_configure_cut_in_half():
    for data in (
        b"",
        b"0002-Reading conf",
        b"0002-Reading configuration\n",
        b"0002-Reading configuration\n0003 Reconf",
    ):
        replies = willing()
        replies[CONFIGURE] = [data]
        text, asked = configured(Bird(replies), kind=BirdError)
        assert "control socket" in text
        assert asked == ["show status", CONFIGURE]


def test_silence_at_each_step():
    for command in (CONFIGURE, "show protocols", "configure confirm", "show status"):
        replies = willing()
        del replies[command]
        text, asked = configured(Bird(replies), kind=BirdError)
        assert "does not answer" in text
        assert asked[-1] == command


def test_check():
    async def good(socket):
        return await socket.check(CONF)

    async def bad(socket):
        return await failure(socket.check(CONF), ConfigError)

    command = 'configure check "%s"' % CONF
    assert on(Bird({command: [[REFUSED[0], "0020 Configuration OK"]]}), good) is None
    assert "syntax error" in on(Bird({command: [REFUSED]}), bad)
