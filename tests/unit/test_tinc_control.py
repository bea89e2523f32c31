import asyncio

from example import GOLDEN, folder
from fake_control import Daemon, dialogue
from fake_http import descriptors, run

from bgpmesh import compat, disk
from bgpmesh.tinc import control
from bgpmesh.tinc.control import TincError

SAMPLE = dialogue(disk.read(GOLDEN + "/tinc-replies/control-1.1.txt"), ">> ", "<< ")
LOG = disk.read(GOLDEN + "/tinc-replies/log-1.0.txt")
COOKIE = "1E3EB60CF6D28B119D54C08A72299FF087073F6CAF9BCC0ECAA53455205D11F9"


def answer(command, place=0):
    """The lines that the real tincd answered a command with."""
    return [lines for asked, lines in SAMPLE if asked == command][place]


def shown(nodes):
    return {name: (node.reachable, node.keyed, node.direct, node.address) for name, node in nodes.items()}


# What tincd 1.1 says of the nodes


def test_a_node_dump_of_tinc_1_1():
    assert shown(control.parse_nodes(answer("18 3")[:-1])) == {
        "n1": (True, True, True, "172.31.0.3"),
        "n2": (True, True, True, "172.31.0.4"),
    }


def node_line(name="n9", host="172.31.0.9", status="8da", hop="n9"):
    return "18 3 %s 0123456789ab %s port 655 0 0 0 0 700000c %s %s %s 1 1439 1439 1439 1795231101 1500 0 0 0 0" % (
        (name, host, status, hop, hop)
    )


def parsed(**fields):
    return shown(control.parse_nodes([node_line(**fields)]))["n9"]


def test_what_the_words_of_a_node_line_mean():
    assert parsed() == (True, True, True, "172.31.0.9")
    assert parsed(status="858") == (True, False, True, "172.31.0.9")
    assert parsed(status="8ca") == (False, True, True, "172.31.0.9")
    assert parsed(status="0", hop="-", host="unknown") == (False, False, False, None)
    assert parsed(hop="n1") == (True, True, False, None)
    assert parsed(host="2001:db8::9")[3] == "2001:db8::9"


def test_a_node_dump_of_nobody_else():
    assert control.parse_nodes([]) == {}
    assert control.parse_nodes(answer("18 3")[:1]) == {}


def test_a_node_line_that_is_none():
    good = node_line()
    for line in ("", "18 3", "18 -1", "garbage", good.replace("8da", "xyz"), good[:60]):
        try:
            control.parse_nodes([line])
            raise AssertionError("accepted: %s" % line)
        except TincError as error:
            assert "node dump" in str(error) and len(str(error)) < 120


# The control socket


class Tincd:
    """A tincd 1.1 that answers with `replies`: command -> lines. asked: the commands that came."""

    def __init__(self, replies, greeting=("0 n0 17.7", "4 0 18772")):
        self.folder = folder("tinc")
        self.pid_file = self.folder + "/tinc.pid"
        disk.write(self.pid_file, "18772 %s 127.0.0.1 port 655\n" % COOKIE, 0o600)
        self.asked = []
        self.replies = replies
        self.greeting = greeting

    async def talk(self, stream):
        first = (await stream.read_until(b"\n")).decode()
        assert first == "0 ^%s 0" % COOKIE, first
        await stream.write("".join([line + "\n" for line in self.greeting]).encode())
        while True:
            command = (await stream.read_until(b"\n")).decode()
            self.asked.append(command)
            reply = self.replies.get(command)
            if reply is None:
                await stream.read_until(b"\n")  # which never comes
            await stream.write(reply if isinstance(reply, bytes) else "".join([line + "\n" for line in reply]).encode())
            if isinstance(reply, bytes):
                return


def on(tincd, steps):
    """What steps(socket) returns, with that tincd behind the socket; nothing is left open."""

    async def main():
        async with Daemon(tincd.folder + "/tinc.socket", tincd.talk):
            return await steps(control.Socket(tincd.pid_file))

    before = descriptors()
    limit, control.TIMEOUT = control.TIMEOUT, 1
    try:
        return run(main())
    finally:
        control.TIMEOUT = limit
        disk.remove_folder(tincd.folder)
        assert descriptors() <= before


async def failure(coroutine):
    """The text of the TincError that it ends in, which comes within a second."""
    began = compat.monotonic()
    try:
        found = await coroutine
    except TincError as error:
        assert compat.monotonic() - began < 5
        return str(error)
    raise AssertionError("no error but %s" % found)


def test_the_socket_is_asked_for_nodes():
    tincd = Tincd({"18 3": answer("18 3")})

    async def steps(socket):
        return sorted(await socket.nodes())

    assert on(tincd, steps) == ["n1", "n2"]
    assert tincd.asked == ["18 3"]


def test_a_dump_of_many_nodes():
    lines = [node_line("n%d" % number) for number in range(300)]

    async def steps(socket):
        return len(await socket.nodes())

    assert on(Tincd({"18 3": lines + ["18 3"]}), steps) == 300


def test_reload_and_retry():
    tincd = Tincd({"18 1": answer("18 1"), "18 10": answer("18 10"), "18 12 n1": ["18 12 0"]})

    async def steps(socket):
        await socket.reload()
        await socket.retry([])
        await socket.retry(["n1"])

    on(tincd, steps)
    assert tincd.asked == ["18 1", "18 10", "18 12 n1", "18 10"]


def test_a_reload_that_tincd_refuses():
    async def steps(socket):
        return await failure(socket.reload())

    for lines in (answer("18 1", 1), answer("18 99")):
        assert "refused its files" in on(Tincd({"18 1": lines}), steps)


def test_a_tincd_that_is_silent():
    async def steps(socket):
        return await failure(socket.nodes())

    assert "does not answer" in on(Tincd({}), steps)
    assert "does not answer" in on(Tincd({}, ()), steps)
    assert "does not answer" in on(Tincd({"18 3": answer("18 3")[:-1]}), steps)


def test_a_tincd_that_hangs_up():
    async def steps(socket):
        return await failure(socket.nodes())

    for data in (b"", b"18 3 n0", ("\n".join(answer("18 3")[:2]) + "\n").encode()):
        assert "control socket" in on(Tincd({"18 3": data}), steps)


def test_a_tincd_that_says_something_else():
    async def steps(socket):
        return await failure(socket.nodes())

    assert "greets with" in on(Tincd({}, ("garbage",)), steps)
    assert "greets with" in on(Tincd({}, ("0 n0 17.7", "9 9")), steps)
    assert "control socket" in on(Tincd({"18 3": b"\xff\xfe\n18 3\n"}), steps)
    assert "control socket" in on(Tincd({"18 3": b"x" * 200000}), steps)
    assert "node dump" in on(Tincd({"18 3": b"18 3 n0\n18 3\n"}), steps)


def test_no_tincd():
    async def without_socket(tincd):
        return await failure(control.Socket(tincd.pid_file).nodes())

    tincd = Tincd({})
    try:
        assert "control socket" in run(without_socket(tincd))
        disk.write(tincd.pid_file, "", 0o600)
        assert "tincd does not run" in run(without_socket(tincd))
        disk.remove(tincd.pid_file)
        assert "tincd does not run" in run(without_socket(tincd))
    finally:
        disk.remove_folder(tincd.folder)


def test_the_socket_is_asked_for_tunnels():
    tincd = Tincd({"18 4": answer("18 4")})

    async def steps(socket):
        return await socket.tunnels()

    assert on(tincd, steps) == [("n0", "n1"), ("n0", "n2")]


# What tincd 1.0 writes


def test_a_dump_of_tinc_1_0():
    nodes, edges, rest = control.parse_log(LOG)
    assert shown(nodes) == {"a": (True, None, True, "127.0.0.1")}
    assert control.pairs(edges) == [("a", "b")]
    assert rest == [
        "tincd 1.0.36 starting, debug level 0",
        "/dev/net/tun is a Linux tun/tap device (tap mode)",
        "Ready",
        "Flushing event queue",
    ]


def log_of(*lines):
    return "".join(["2026-11-21 07:38:06 tinc[43]: %s\n" % line for line in lines])


def test_what_the_words_of_a_log_line_mean():
    nodes, edges, rest = control.parse_log(
        log_of(
            "Nodes:",
            " far at unknown cipher 0 digest 0 maclength 0 compression 0 options 0 status 0004 nexthop - via - pmtu 0",
            " off at 192.0.2.8 port 655 cipher 0 options c status 000a nexthop off via off pmtu 1518",
            " via at 192.0.2.7 port 655 cipher 0 options c status 0018 nexthop hub via hub pmtu 1518 (min 0 max 1518)",
            " six at 2001:db8::7 port 655 cipher 0 options c status 0018 nexthop six via six pmtu 1518",
            "End of nodes.",
            "Edges:",
            " Nodes: status 18 nexthop x",
            "End of edges.",
        )
    )
    assert edges == rest == []
    assert shown(nodes) == {
        "far": (False, None, False, None),
        "off": (False, None, True, "192.0.2.8"),
        "via": (True, None, False, "192.0.2.7"),
        "six": (True, None, True, "2001:db8::7"),
    }


def test_the_last_of_several_dumps_counts():
    two = LOG + LOG.replace("status 001a nexthop a", "status 0008 nexthop -")
    assert shown(control.parse_log(two)[0]) == {"a": (False, None, False, "127.0.0.1")}


def test_what_tincd_has_to_say_is_not_lost():
    said = ["Got bad packet from n1 (192.0.2.1 port 655)", "Connection closed by n1", "Error while decrypting"]
    assert control.parse_log(log_of(*said))[2] == said
    assert control.parse_log("")[2] == []


class Older:
    """A tincd 1.0 that writes `text` to its log when it is told to by a signal."""

    def __init__(self, text):
        self.folder = folder("tinc")
        self.log = self.folder + "/tinc.log"
        self.text = text
        self.signals = []
        self.said = []

    async def run(self, argv, _):
        assert argv[:2] == ["/usr/sbin/tincd", "--pidfile=" + self.folder + "/tinc.pid"]
        self.signals.append(argv[2])
        if argv[2] == "-kUSR2":
            asyncio.create_task(self._write())
        return 0, b""

    async def _write(self):
        half = len(self.text) // 2
        for part in (self.text[:half], self.text[half:]):
            await asyncio.sleep(0.02)
            with open(self.log, "a") as file:
                file.write(part)


def older(tincd, steps):
    """What steps(log) returns with that tincd."""
    before, compat.run = compat.run, tincd.run
    limit, control.TIMEOUT = control.TIMEOUT, 1
    try:
        return run(steps(control.Log(tincd.folder + "/tinc.pid", tincd.log, tincd.said.append)))
    finally:
        compat.run = before
        control.TIMEOUT = limit
        disk.remove_folder(tincd.folder)


def test_tinc_1_0_is_asked_by_a_signal_and_its_log_is_emptied():
    tincd = Older(LOG)

    async def steps(log):
        found = sorted(await log.nodes())
        assert disk.read(tincd.log) == ""
        assert sorted(await log.nodes()) == found
        assert await asyncio.gather(log.tunnels(), log.tunnels()) == [[("a", "b")]] * 2
        await log.reload()
        await log.retry([])
        return found

    assert older(tincd, steps) == ["a"]
    assert tincd.signals == ["-kUSR2"] * 4 + ["-kHUP"] * 2
    assert "tincd: Ready" in tincd.said
    assert not [line for line in tincd.said if "Nodes" in line or "total bytes" in line]


def test_a_dump_that_came_too_late_is_not_taken_for_a_new_one():
    tincd = Older(LOG)

    async def steps(log):
        disk.write(tincd.log, LOG.replace(" a at 127.0.0.1", " late at 127.0.0.1"), 0o600)
        return sorted(await log.nodes())

    assert older(tincd, steps) == ["a"]


def test_a_tincd_1_0_that_does_not_write():
    async def steps(log):
        return await failure(log.nodes())

    assert "does not write its nodes" in older(Older(""), steps)
    assert "does not write its nodes" in older(Older(LOG[:900]), steps)


def test_no_tincd_1_0():
    tincd = Older("")

    async def refuse(*_):
        return 1, b"No other tincd is running.\n"

    async def absent(*_):
        raise OSError(2, "/usr/sbin/tincd")

    async def steps(log):
        return await failure(log.reload())

    tincd.run = refuse
    assert older(tincd, steps) == "tincd -kHUP: No other tincd is running."
    tincd = Older("")
    tincd.run = absent
    assert "tincd -kHUP: " in older(tincd, steps)


def version(status, output):
    async def answer_(*_):
        return status, output

    before, compat.run = compat.run, answer_
    try:
        return run(control.version())
    except OSError:
        return None
    finally:
        compat.run = before


def test_which_tincd_there_is():
    assert version(0, b"tinc version 1.0.36\nCopyright") == "1.0"
    assert version(0, b"tinc version 1.1pre18 (built ...)\n") == "1.1"
    assert version(0, b"tinc version 1.1pre18-12-gabcdef\n") == "1.1"
    assert version(1, b"tinc version 1.0.36\n") is None
    assert version(0, b"") is None
    assert version(0, b"something else entirely") is None
