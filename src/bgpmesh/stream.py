"""A byte stream over TCP, TLS or a Unix socket: what etcd, ubus, BIRD and tinc are spoken to through.

Built on plain non-blocking sockets because asyncio's own streams differ between the runtimes and
leak their descriptor when a connect times out on MicroPython.
"""

import asyncio
import errno
import socket

from . import compat

_READS = 4  # that need not wait, one after the other, before everybody else has a turn


class Stream:
    """One open connection. Every method that waits can be bounded with asyncio.wait_for."""

    def __init__(self, raw, sock=None):
        self._tls = sock is not None
        self._sock = sock or raw  # what bytes go through: the socket, or TLS on it
        self._raw = (
            raw if raw.fileno() >= 0 else sock
        )  # what can be waited for: CPython's TLS takes the descriptor over
        self._buffer = b""
        self._at = 0  # what of the buffer has been read
        self._reads = 0  # since one had to wait

    async def read_some(self, size=4096):
        """The next bytes, at least one; b'' at the end of the stream. Raises OSError."""
        if self._at < len(self._buffer):
            return self._rest()
        if self._reads >= _READS:  # who sends without end must not keep the rest of the agent from running
            self._reads = 0
            await asyncio.sleep(0)
        while True:
            data = compat.try_recv(self._sock, size)
            if data is not None:
                self._reads += 1
                return data
            self._reads = 0
            await compat.readable(self._raw)

    def is_idle(self):
        """Whether nothing has come that was not read, nor the end. Where something has, what follows is out of step."""
        if self._at < len(self._buffer):
            return False
        try:
            return compat.try_recv(self._sock, 1) is None
        except OSError:
            return False

    def unread(self, data):
        """Puts bytes back, to be read again first."""
        self._buffer = data + self._rest()

    def _rest(self):
        data = self._buffer[self._at :] if self._at else self._buffer
        self._buffer = b""
        self._at = 0
        return data

    async def read_exactly(self, size):
        """Exactly `size` bytes. Raises EOFError where the stream ends before."""
        chunks = []
        while size > 0:
            data = await self.read_some()
            if not data:
                raise EOFError("the other side closed the connection")
            if len(data) > size:
                self.unread(data[size:])
                data = data[:size]
            chunks.append(data)
            size -= len(data)
        return b"".join(chunks)

    async def read_until(self, separator, limit=65536):
        """Bytes up to and without `separator`, which is consumed.

        Raises EOFError where the stream ends before, ValueError where it is not within `limit` bytes.
        """
        while True:
            end = self._buffer.find(separator, self._at)
            if end >= 0:
                data = self._buffer[self._at : end]
                self._at = end + len(separator)
                return data
            if len(self._buffer) - self._at > limit:
                raise ValueError("no end of line within %d bytes" % limit)
            before = self._rest()
            more = await self.read_some()
            if not more:
                raise EOFError("the other side closed the connection")
            self._buffer = before + more if before else more

    async def write(self, data):
        """Sends all of `data`. Raises OSError."""
        view = memoryview(data)
        while view:
            sent = compat.try_send(self._sock, view)
            if sent:
                view = view[sent:]
            elif not self._tls:
                await compat.writable(self._raw)
            else:
                # A handshake waits for the server's part. Seldom: the socket is full.
                try:
                    await asyncio.wait_for(compat.readable(self._raw), 0.1)
                except asyncio.TimeoutError:
                    pass

    def close(self):
        """Closes the connection; harmless when it is closed already."""
        self._sock.close()
        self._raw.close()


async def _connect(family, address):
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        compat.cloexec(sock)
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(6, 1, 1)  # TCP_NODELAY: before TLS, or the handshake waits for acknowledgements
        try:
            sock.connect(address)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                raise
            await compat.writable(sock)
            sock.connect(address)  # the second call tells how the first one ended
    except BaseException:
        sock.close()
        raise
    return sock


async def open_unix(path, timeout):
    """A Stream to the Unix socket at `path`. `timeout` in seconds; raises OSError."""
    return Stream(await _bounded(_connect(socket.AF_UNIX, compat.unix_address(path)), timeout, path))


async def open_tcp(host, port, timeout, context=None):
    """A Stream to a host name or address, over TLS where `context` (compat.tls_context) is given.

    Each address of the name is tried in turn, all within `timeout` seconds; raises OSError.
    """
    what = "%s port %d" % (host, port)
    return await _bounded(_open_tcp(host, port, context, timeout, what), timeout, what)


async def _open_tcp(host, port, context, timeout, what):
    until = compat.monotonic() + timeout
    failure = None
    addresses = await compat.resolve(host, port)
    for place, address in enumerate(addresses):
        # One that does not answer leaves the others their time.
        left = max(0.001, (until - compat.monotonic()) / (len(addresses) - place))
        try:
            sock = await _bounded(_connect(compat.address_family(address), address), left, what)
        except OSError as error:
            failure = error
            continue
        try:
            return Stream(sock, compat.tls_wrap(context, sock, host) if context else None)
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(errno.ENOENT, "no address for %s" % host)


async def _bounded(connecting, timeout, what):
    try:
        return await asyncio.wait_for(connecting, timeout)
    except asyncio.TimeoutError:
        raise OSError(errno.ETIMEDOUT, "no connection to %s within %.2g s" % (what, timeout))
