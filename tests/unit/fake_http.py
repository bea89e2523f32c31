"""An HTTP server for tests, in the same process, that answers as it is told. Runs on both runtimes."""

import asyncio
import os

from bgpmesh import compat

CLOSE = "close"  # the server closes the connection
HANG = "hang"  # and here it says nothing more


def run(coroutine):
    """What asyncio.run returns, with nothing left over from an earlier run."""
    if compat.RUNTIME == "micropython":
        asyncio.new_event_loop()
    return asyncio.run(coroutine)


def descriptors():
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def slowly(data, delay):
    """Parts that send data byte by byte, with `delay` seconds before each."""
    parts = []
    for place in range(len(data)):
        parts += [delay, data[place : place + 1]]
    return parts


def answer(body, status="200 OK", headers=""):
    """An answer of HTTP/1.1 with a length."""
    head = "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, headers, len(body))
    return head.encode() + body


class Server:
    """respond(request) is called for each request with its bytes and returns an answer: bytes, or a list of
    parts: bytes to send, numbers of seconds to wait, CLOSE, HANG.

    greeting: parts that are sent to each connection first. requests: all that came. connections: how many.
    """

    def __init__(self, respond, greeting=()):
        self.requests = []
        self.connections = 0
        self.open = 0  # how many are open now
        self.silent = False  # whether one of them is at HANG
        self.port = 0
        self._respond = respond
        self._greeting = greeting
        self._server = None

    async def start(self, port=0):
        """Listens on a loopback port, which `port` then is; a free one where none is given."""
        while True:
            self.port = port or 20000 + int(compat.random_fraction() * 12000)
            try:
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
                return self
            except OSError:
                if port:
                    raise

    def stop(self):
        """Listens no more; connections stay."""
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        try:
            if await self._send(writer, self._greeting):
                while True:
                    request = await self._read(reader)
                    if request is None:
                        break
                    self.requests.append(request)
                    parts = self._respond(request)
                    if not await self._send(writer, [parts] if isinstance(parts, bytes) else parts):
                        break
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass
            finally:
                self.open -= 1

    async def _read(self, reader):
        data = b""
        while b"\r\n\r\n" not in data:
            more = await reader.read(4096)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = head.split(b"Content-Length: ")[1:]
        size = int(length[0].split(b"\r\n")[0]) if length else 0
        while len(body) < size:
            body += await reader.read(4096)
        return head + b"\r\n\r\n" + body

    async def _send(self, writer, parts):
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            elif part == CLOSE:
                return False
            elif part == HANG:
                self.silent = True
                await asyncio.sleep(60)
            else:
                await asyncio.sleep(part)
        return True
