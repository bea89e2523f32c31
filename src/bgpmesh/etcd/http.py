"""One HTTP/1.1 client connection (RFC 9112) that is kept open between requests."""

import asyncio
import errno

from .. import compat, stream

_HEADERS = 16384
_PIECE = 4096  # bytes of an endless answer that are looked at together
_EPIPE = 32
_GONE = (errno.ECONNRESET, errno.ECONNABORTED, _EPIPE)
_NETWORK = _GONE + (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH)


class HttpError(Exception):
    """A request that got no whole answer.

    kind: "refused", "unreachable", "timeout", "closed", "tls", "protocol" (no HTTP) or "limit" (too large).
    The text says who did what.
    """

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Connection:
    """A connection to `host` and `port`, over TLS where `context` (compat.tls_context) is given.

    Opened with the first request, and after that by the first one that finds it closed.
    limit: how many bytes an answer's body may have.
    """

    def __init__(self, host, port, context=None, limit=8 << 20):
        self.name = ("[%s]:%d" if ":" in host else "%s:%d") % (host, port)
        self.limit = limit
        self._host = host
        self._port = port
        self._context = context
        self._stream = None
        self._heard = False  # whether anything of the present answer has come

    def close(self):
        """Closes the connection; harmless when it is closed already. The next request opens it again."""
        if self._stream:
            self._stream.close()
            self._stream = None

    async def post(self, path, body, headers="", timeout=5):
        """Sends `body` (bytes); as get()."""
        return await self._ask("POST", path, body, "Content-Length: %d\r\n%s" % (len(body), headers), timeout)

    async def get(self, path, headers="", timeout=5):
        """Returns the answer's (status, body). Raises HttpError.

        headers: further header lines as text, each ended by CR LF. timeout: seconds for everything,
        opening the connection included. The server may have closed the
        connection since the last answer: a request that meets this is sent once more, so it must bear that.
        """
        return await self._ask("GET", path, b"", headers, timeout)

    async def follow(self, take, path, body=None, headers="", timeout=5):
        """Sends `body` (bytes; None: a GET), and gives each piece of an answer that has no end to take(bytes).

        Returns (status, body) where the answer is not of status 200, else (200, b"") when the server has ended it.
        timeout: seconds until it begins, the connection included. Raises HttpError, and what `take` raises.
        Is to be called on a connection of its own, which is closed afterwards.
        """
        deadline = compat.monotonic() + timeout
        if body is None:
            request = self._request("GET", path, b"", headers)
        else:
            request = self._request("POST", path, body, "Content-Length: %d\r\n%s" % (len(body), headers))
        try:
            await self._open(deadline, timeout)
            _, status, fields = await self._exchange(self._begin(request), deadline, timeout, False)
            if status == 200:
                work = self._read_chunks(take) if _is_chunked(fields) else self._read_pieces(take, fields)
                await self._exchange(work, None, timeout, False)
                return status, b""
            return status, await self._exchange(self._read_body(status, fields), deadline, timeout, False)
        finally:
            self.close()

    async def _ask(self, method, path, body, headers, timeout):
        deadline = compat.monotonic() + timeout
        request = self._request(method, path, body, headers)
        if self._stream and not self._stream.is_idle():
            self.close()  # the server has, or sent what would be taken for the answer to this request
        if self._stream:
            answer = await self._exchange(self._send_and_read(request), deadline, timeout, True)
            if answer:
                return answer
        await self._open(deadline, timeout)
        return await self._exchange(self._send_and_read(request), deadline, timeout, False)

    def _request(self, method, path, body, headers):
        return ("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (method, path, self.name, headers)).encode() + body

    async def _open(self, deadline, timeout):
        try:
            left = max(0.001, deadline - compat.monotonic())
            self._stream = await stream.open_tcp(self._host, self._port, left, self._context)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                raise HttpError("refused", "%s refused the connection" % self.name)
            if error.errno == errno.ETIMEDOUT:
                raise HttpError("timeout", "%s did not answer within %.2g s" % (self.name, timeout))
            raise HttpError("unreachable", "%s cannot be reached: %s" % (self.name, reason(error)))

    async def _exchange(self, work, deadline, timeout, reused):
        """What the coroutine `work` returns; None where a kept connection turns out to be closed."""
        whole = False
        self._heard = deadline is None  # what has no deadline is the rest of an answer
        try:
            left = None if deadline is None else max(0.001, deadline - compat.monotonic())
            answer = await asyncio.wait_for(work, left)
            whole = True
            return answer
        except asyncio.TimeoutError:
            what = "sent only a part of an answer" if self._heard else "did not answer"
            raise HttpError("timeout", "%s %s within %.2g s" % (self.name, what, timeout))
        except EOFError:
            if self._heard:
                raise HttpError("closed", "%s closed the connection in the middle of an answer" % self.name)
            if reused:
                return None
            raise HttpError("closed", "%s closed the connection without an answer" % self.name)
        except (OSError, ValueError) as error:
            if reused and not self._heard and (self._context or getattr(error, "errno", 0) in _GONE):
                return None
            if self._context and not self._is_network(error):
                from .tls import explain

                raise HttpError("tls", "TLS with %s failed: %s" % (self.name, explain(error)))
            raise HttpError("closed", "the connection to %s broke: %s" % (self.name, reason(error)))
        except MemoryError:
            raise HttpError("limit", "%s answered with more than there is memory for" % self.name)
        finally:
            if not whole:
                self.close()

    def _is_network(self, error):
        """Whether an error of a connection over TLS is none of TLS.

        A server that refuses a client's certificate may have closed before what it says of it is read.
        """
        number = error.errno if isinstance(error, OSError) else 0
        return number in _NETWORK and (self._heard or number not in _GONE)

    async def _send_and_read(self, request):
        version, status, fields = await self._begin(request)
        try:
            body = await self._read_body(status, fields)
        except HttpError as error:
            if error.kind != "limit" or status == 200:
                raise
            raise HttpError("protocol", "%s (status %d)" % (error, status))  # to ask for less would not help
        framed = status in (204, 304) or b"content-length" in fields or _is_chunked(fields)
        if version == b"HTTP/1.0" or fields.get(b"connection", b"").lower() == b"close" or not framed:
            self.close()
        return status, body

    async def _begin(self, request):
        """Sends the request; the head of its answer, as _read_head."""
        await self._stream.write(request)
        while True:
            head = await self._read_head()
            if head[1] >= 200:  # 1xx: another answer follows (RFC 9110, section 15.2)
                return head

    async def _read_body(self, status, fields):
        if status in (204, 304):
            return b""
        if _is_chunked(fields):
            chunks = []
            await self._read_chunks(chunks.append, self.limit)
            return b"".join(chunks)
        if b"content-length" in fields:
            size = self._size(fields[b"content-length"], 10)
            if size > self.limit:
                self._overflow()
            return await self._stream.read_exactly(size)
        return await self._read_rest()

    async def _read_head(self):
        """An answer's (version, status, fields): bytes, a number, a dict with names in lower case."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = await self._stream.read_some()
            if not more:
                raise EOFError
            self._heard = True
            head += more
            if head[:7] != b"HTTP/1."[: len(head)]:
                self._refuse(head)
            if len(head) > _HEADERS:
                raise HttpError("limit", "%s answered with more than %d bytes of headers" % (self.name, _HEADERS))
        end = head.find(b"\r\n\r\n")
        self._stream.unread(head[end + 4 :])
        lines = head[:end].split(b"\r\n")
        words = lines[0].split(b" ", 2)
        if len(words) < 2 or len(words[1]) != 3 or not words[1].isdigit():
            self._refuse(head)
        fields = {}
        for line in lines[1:]:
            colon = line.find(b":")
            if colon <= 0:
                self._refuse(line)
            fields[line[:colon].lower()] = line[colon + 1 :].strip()
        return words[0], int(words[1]), fields

    async def _read_chunks(self, take, limit=0):
        """Gives a chunked body's pieces to take(); its trailers are read and dropped (RFC 9112, section 7.1).

        limit: how many bytes there may be in all; 0: any number, and large chunks come in several pieces.
        """
        total = 0
        while True:
            line = await self._read_line()
            size = self._size(line.split(b";")[0].strip(), 16)
            if size == 0:
                break
            total += size
            if limit and total > limit:
                self._overflow()
            while not limit and size > _PIECE:
                take(await self._stream.read_exactly(_PIECE))
                size -= _PIECE
            take(await self._stream.read_exactly(size))
            end = await self._stream.read_exactly(2)
            if end != b"\r\n":
                self._refuse(end)
        room = _HEADERS
        while line:
            line = await self._read_line()
            room -= len(line) + 2
            if room < 0:
                raise HttpError("limit", "%s answered with more than %d bytes of trailers" % (self.name, _HEADERS))

    async def _read_pieces(self, take, fields):
        left = self._size(fields.get(b"content-length", b"0"), 10)
        while left > 0:
            piece = await self._stream.read_some()
            if not piece:
                raise EOFError
            take(piece)
            left -= len(piece)

    async def _read_line(self):
        try:
            return await self._stream.read_until(b"\r\n", 4096)
        except ValueError:
            raise HttpError("protocol", "%s answered with a line of more than 4096 bytes" % self.name)

    async def _read_rest(self):
        chunks = []
        total = 0
        while True:
            data = await self._stream.read_some()
            if not data:
                return b"".join(chunks)
            total += len(data)
            if total > self.limit:
                self._overflow()
            chunks.append(data)

    def _size(self, digits, base):
        """The length that digits tell."""
        try:
            size = int(digits.decode(), base)
        except ValueError:
            size = -1
        if size < 0:
            self._refuse(digits)
        return size

    def _overflow(self):
        raise HttpError("limit", "%s answered with more than %d bytes" % (self.name, self.limit))

    def _refuse(self, data):
        raise HttpError("protocol", "%s answered with something that is not HTTP: %r" % (self.name, bytes(data[:40])))


def _is_chunked(fields):
    return b"chunked" in fields.get(b"transfer-encoding", b"").lower()


def reason(error):
    """What an error says, in one line."""
    said = error.args[-1] if error.args else error
    if isinstance(error, OSError) and isinstance(said, int):
        said = compat.reason(error)
    return " ".join(str(said).split())
