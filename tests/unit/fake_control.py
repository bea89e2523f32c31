"""A control socket for tests, in the same process: each test plays the daemon. Runs on both runtimes."""

import asyncio
import socket

from bgpmesh import compat, disk
from bgpmesh.stream import Stream


class Daemon:
    """Listens at `path` while it is entered; `talk(stream)`, a coroutine, is the daemon's side of each connection.

    A connection is closed where `talk` returns, and kept open where it does not.
    """

    def __init__(self, path, talk):
        self.path = path
        self.connections = 0
        self.open = 0
        self._talk = talk
        self._listener = None
        self._tasks = []

    async def __aenter__(self):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(compat.unix_address(self.path))
        self._listener.listen(5)
        self._listener.setblocking(False)
        self._tasks.append(asyncio.create_task(self._accept()))
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
        self._listener.close()
        disk.remove(self.path)

    async def _accept(self):
        while True:
            await compat.readable(self._listener)
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self.connections += 1
            self._tasks.append(asyncio.create_task(self._serve(Stream(sock))))

    async def _serve(self, stream):
        self.open += 1
        try:
            await self._talk(stream)
        except (OSError, EOFError):
            pass  # the other side has gone
        finally:
            self.open -= 1
            stream.close()


def dialogue(text, asked, answered):
    """[(command, [lines of the reply])] of a transcript whose lines begin with one of two marks.

    What is answered before anything was asked has the command None.
    """
    found = [(None, [])]
    for line in text.split("\n"):
        if line.startswith(asked):
            found.append((line[len(asked) :], []))
        elif line.startswith(answered):
            found[-1][1].append(line[len(answered) :])
    return found
