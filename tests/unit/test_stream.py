import asyncio
import errno
import socket

from example import folder
from fake_control import Daemon
from fake_http import descriptors, run

from bgpmesh import compat, disk, stream


class NothingLeft:
    """Checks that no descriptor is left open."""

    def __enter__(self):
        self._before = descriptors()

    def __exit__(self, kind, *_):
        assert kind or descriptors() <= self._before, (self._before, descriptors())


def listener(backlog=5):
    """A listening socket on a free loopback port, and the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        port = 32100 + int(compat.random_fraction() * 600)
        try:
            sock.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
            sock.listen(backlog)
            return sock, port
        except OSError:
            pass


async def failure(coroutine):
    """The errno in which it ends."""
    try:
        await coroutine
    except OSError as error:
        return error.errno
    raise AssertionError("no error")


def talking(talk, steps):
    """What steps(stream) returns, with talk(stream) at the other end of a Unix socket."""
    path = folder("stream")

    async def main():
        async with Daemon(path + "/socket", talk):
            found = await stream.open_unix(path + "/socket", 20)
            try:
                return await steps(found)
            finally:
                found.close()

    try:
        with NothingLeft():
            return run(main())
    finally:
        disk.remove_folder(path)


# Connecting


def test_connection_refused():
    async def main():
        sock, port = listener()
        sock.close()
        for _ in range(3):
            assert await failure(stream.open_tcp("127.0.0.1", port, 20)) == errno.ECONNREFUSED

    with NothingLeft():
        run(main())


def crowded():
    """The sockets of a port that answers nobody, the listening one among them, and the port."""
    # A full backlog: the kernel drops what else comes.
    sock, port = listener(0)
    found = [sock]
    for _ in range(4):
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setblocking(False)
        found.append(one)
        try:
            one.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        except OSError:
            pass
    return found, port


def test_a_connect_that_is_not_answered_ends_in_time():
    async def main():
        socks, port = crowded()
        try:
            await asyncio.sleep(0.05)
            began = compat.monotonic()
            assert await failure(stream.open_tcp("127.0.0.1", port, 0.3)) == errno.ETIMEDOUT
            assert compat.monotonic() - began < 10
        finally:
            for one in socks:
                one.close()

    with NothingLeft():
        run(main())


def test_no_unix_socket():
    path = folder("stream")

    async def main():
        assert await failure(stream.open_unix(path + "/none", 20)) == errno.ENOENT
        disk.write(path + "/file", "", 0o600)
        assert await failure(stream.open_unix(path + "/file", 20)) == errno.ECONNREFUSED

    try:
        with NothingLeft():
            run(main())
    finally:
        disk.remove_folder(path)


def test_ipv6():
    async def main():
        return await failure(stream.open_tcp("::1", 1, 20))

    with NothingLeft():
        # EADDRNOTAVAIL (99) where the machine has no IPv6
        assert run(main()) in (errno.ECONNREFUSED, 99)


def test_a_connection_is_not_inherited():
    async def main():
        sock, port = listener()
        found = await stream.open_tcp("127.0.0.1", port, 20)
        try:
            return await sockets()
        finally:
            found.close()
            sock.close()

    async def sockets():
        _, output = await compat.run(["ls", "-l", "/proc/self/fd"], 30)
        return output.count(b"socket:")

    with NothingLeft():
        before = run(sockets())
        assert run(main()) - before == (0 if compat.RUNTIME == "python3" else 1)  # the test's own that listens


# Reading and writing


def test_lines_in_pieces_and_together():
    async def talk(found):
        for piece in (b"on", b"e\ntwo\nth", b"", b"ree\n", b"\nfour"):
            await found.write(piece)
            await asyncio.sleep(0.01)

    async def steps(found):
        lines = []
        for _ in range(4):
            lines.append(await found.read_until(b"\n"))
        assert await failure_kind(found.read_until(b"\n")) == "EOFError"
        return lines

    assert talking(talk, steps) == [b"one", b"two", b"three", b""]


async def failure_kind(coroutine):
    try:
        await coroutine
    except (EOFError, ValueError) as error:
        return "EOFError" if isinstance(error, EOFError) else "ValueError"
    raise AssertionError("no error")


def test_an_exact_number_of_bytes():
    async def talk(found):
        await found.write(b"0123456")
        await asyncio.sleep(0.01)
        await found.write(b"789")

    async def steps(found):
        assert await found.read_exactly(0) == b""
        assert await found.read_exactly(3) == b"012"
        assert await found.read_exactly(6) == b"345678"
        assert await failure_kind(found.read_exactly(2)) == "EOFError"

    talking(talk, steps)


class Pieces:
    """A socket that these pieces come from, one at a time."""

    def __init__(self, pieces):
        self.pieces = pieces

    def fileno(self):
        return 0


def test_lines_and_exact_numbers_in_turn_wherever_the_pieces_end():
    data = b"4\r\nabcd\r\n1\r\n"

    async def read(found):
        line = await found.read_until(b"\r\n")
        part = await found.read_exactly(int(line))
        return [line, part, await found.read_exactly(2), await found.read_until(b"\r\n")]

    receive = compat.try_recv
    compat.try_recv = lambda sock, size: sock.pieces.pop(0)
    try:
        for first in range(1, len(data) - 1):
            for second in range(first + 1, len(data)):
                found = stream.Stream(Pieces([data[:first], data[first:second], data[second:]]))
                assert run(read(found)) == [b"4", b"abcd", b"\r\n", b"1"], (first, second)
    finally:
        compat.try_recv = receive


def test_bytes_put_back_are_read_first():
    async def talk(found):
        await found.write(b"world")
        await asyncio.sleep(0.2)

    async def steps(found):
        assert await found.read_some() == b"world"
        found.unread(b"world")
        found.unread(b"hello ")
        assert await found.read_exactly(11) == b"hello world"

    talking(talk, steps)


def test_a_line_without_end():
    async def talk(found):
        await found.write(b"x" * 100000)
        await found.read_some()

    async def steps(found):
        return await failure_kind(found.read_until(b"\n"))

    assert talking(talk, steps) == "ValueError"


def test_the_end():
    async def talk(found):
        await found.write(b"last")

    async def steps(found):
        return await found.read_some(), await found.read_some(), await found.read_some()

    assert talking(talk, steps) == (b"last", b"", b"")


def test_much_is_written_to_a_slow_reader():
    data = bytes(range(251)) * 1600
    got = []

    async def talk(found):
        await asyncio.sleep(0.05)
        while True:
            some = await found.read_some(65536)
            if not some:
                break
            got.append(some)

    async def steps(found):
        await found.write(data)
        found.close()
        deadline = compat.monotonic() + 30
        while sum([len(some) for some in got]) < len(data) and compat.monotonic() < deadline:
            await asyncio.sleep(0.01)

    talking(talk, steps)
    assert b"".join(got) == data


def test_writing_to_who_has_gone():
    async def talk(found):
        pass

    async def steps(found):
        for _ in range(3):
            await asyncio.sleep(0.02)
            try:
                await found.write(b"x" * 100000)
            except OSError as error:
                return error.errno
        return None

    assert talking(talk, steps) in (errno.EPIPE if hasattr(errno, "EPIPE") else 32, errno.ECONNRESET)


def test_a_read_that_is_given_up_can_be_begun_again():
    async def talk(found):
        await found.read_until(b"\n")
        await found.write(b"answer\n")
        await found.read_some()

    async def steps(found):
        try:
            await asyncio.wait_for(found.read_until(b"\n"), 0.1)
            raise AssertionError("no error")
        except asyncio.TimeoutError:
            pass
        await found.write(b"question\n")
        return await found.read_until(b"\n")

    assert talking(talk, steps) == b"answer"


def test_who_sends_without_end_keeps_nobody_else_from_running():
    async def talk(found):
        while True:
            await found.write(bytes(65536))

    async def steps(found):
        turns = []

        async def other():
            while True:
                turns.append(1)
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await asyncio.sleep(0.2)  # what has been sent by now waits for nobody
        turns.clear()
        for _ in range(12):
            await found.read_some()
        task.cancel()
        return len(turns)

    assert talking(talk, steps) > 0


def test_closing_twice():
    async def talk(found):
        await found.read_some()

    async def steps(found):
        found.close()
        found.close()

    talking(talk, steps)


def test_an_address_that_does_not_answer_leaves_the_next_one_its_time():
    async def main():
        socks, silent = crowded()
        sock, port = listener()
        before = compat.resolve

        async def both(host, port):
            return [socket.getaddrinfo("127.0.0.1", silent)[0][-1], socket.getaddrinfo("127.0.0.1", port)[0][-1]]

        try:
            await asyncio.sleep(0.05)
            compat.resolve = both
            (await stream.open_tcp("etcd.example", port, 2)).close()
        finally:
            compat.resolve = before
            for one in socks + [sock]:
                one.close()

    with NothingLeft():
        run(main())
