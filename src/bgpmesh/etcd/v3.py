"""etcd's v3 API through its JSON gateway: etcd 3.4 and later.

A request is a JSON object posted to /v3/…, named and built as in etcd's rpc.proto. Keys and values
are base64, 64-bit integers are strings, and fields that are zero or empty are left out.
"""

import asyncio
import binascii
import json

from .. import compat
from .http import Connection, HttpError

_MESSAGE = 200  # characters of what a server says is wrong
_AUTHENTICATE = "/v3/auth/authenticate"
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
GRANT = "`bgpmesh etcd-role` prints the commands that grant it"
# What another member of the cluster may do better.
_ELSEWHERE = ("refused", "unreachable", "timeout", "closed", "tls", "protocol", "leader", "server")


class EtcdError(Exception):
    """A request to etcd that failed; the text says what was asked of whom, and what to do.

    kind: "refused", "unreachable", "timeout", "closed", "tls", "protocol" (not etcd), "limit" (answer too
    large), "auth", "permission", "leader" (none), "space" (database full), "lease" (unknown), "server"
    (5xx) or "request" (any other refusal).
    """

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class _Enough(Exception):
    """As much was read as is needed."""


class Cluster:
    """The endpoints of an etcd cluster, asked in turn; what the clients of v3 and v2 have in common.

    endpoints: list of `http://host:port` or `https://host:port`; the one that answered last is asked
    first. user, password: for clusters with authentication. ca_file (default: the system's), cert_file,
    key_file: PEM files for https. timeout: seconds for one call in all. limit: bytes of an answer.
    """

    def __init__(
        self,
        endpoints,
        user=None,
        password=None,
        ca_file=None,
        cert_file=None,
        key_file=None,
        timeout=5,
        limit=1 << 18,
    ):
        self._endpoints = [item for place, item in enumerate(endpoints) if item not in endpoints[:place]]
        self.endpoint = self._endpoints[0]
        self._user = user
        self._password = password or ""
        self._files = (ca_file or SYSTEM_CA, cert_file, key_file)
        self._timeout = timeout
        self._limit = limit
        self._context = None
        self._connection = None
        self._lock = asyncio.Lock()

    def close(self):
        """Closes the connection; the next call opens it again."""
        if self._connection:
            self._connection.close()
            self._connection = None

    async def _in_turn(self, attempt):
        """What `await attempt(deadline)` returns; deadline by compat.monotonic(). Raises EtcdError.

        After a failure that a single member may cause, the next endpoint is asked: what is left of the
        time now, or else in the next call.
        """
        async with self._lock:
            deadline = compat.monotonic() + self._timeout
            failures = []
            while True:
                try:
                    return await attempt(deadline)
                except EtcdError as error:
                    if error.kind in ("tls", "closed"):
                        self._context = None  # the files may have been renewed since they were read
                    if error.kind not in _ELSEWHERE:
                        raise
                    failures.append(error)
                self.turn()
                if len(failures) == len(self._endpoints) or compat.monotonic() > deadline - 0.1:
                    raise EtcdError(failures[0].kind, "; ".join([str(error) for error in failures]))

    def turn(self):
        """The next endpoint is asked from now on."""
        self.close()
        following = self._endpoints.index(self.endpoint) + 1
        self.endpoint = self._endpoints[following % len(self._endpoints)]

    def _tls_context(self):
        """The TLS context for the endpoint, None where it is http."""
        if self.endpoint.startswith("https:") and not self._context:
            try:
                self._context = compat.tls_context(*self._files)
            except (OSError, ValueError) as error:
                from .tls import explain

                files = ", ".join([file for file in self._files if file])
                raise EtcdError("tls", "certificates for %s (%s): %s" % (self.endpoint, files, explain(error)))
        return self._context if self.endpoint.startswith("https:") else None

    def _connect(self):
        return Connection(*split(self.endpoint), self._tls_context(), self._limit)


class Client(Cluster):
    """A client of an etcd cluster, with one connection to one of its members at a time."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._token = None  # "" where the cluster does not authenticate

    async def call(self, path, request, subject=""):
        """Posts the request (a dict) to the path; returns the answer, a dict. Raises EtcdError.

        subject: which keys it is about, for the text of an error. May be sent more than once, so the
        request must bear that.
        """
        return await self._in_turn(lambda deadline: self._call(path, request, subject, deadline))

    async def _call(self, path, request, subject, deadline):
        if self._user and self._token is None:
            await self._authenticate(deadline)
        try:
            return await self._post(path, request, subject, deadline)
        except EtcdError as error:
            if error.kind != "auth" or not self._user:
                raise
        # Tokens end, after five minutes without use or when the server restarts.
        await self._authenticate(deadline)
        return await self._post(path, request, subject, deadline)

    async def _authenticate(self, deadline):
        self._token = ""
        try:
            credentials = {"name": self._user, "password": self._password}
            answer = await self._post(_AUTHENTICATE, credentials, "", deadline)
            self._token = answer.get("token", "")
        except EtcdError as error:
            if "not enabled" not in str(error):
                self._token = None
                raise

    async def watch(self, spans, since, ring):
        """Calls ring() whenever a key of the spans is changed, until the server ends that. Raises EtcdError.

        spans: pairs of a first key and the one behind the last; since: the first revision that counts. It takes a
        connection of its own. A change may be told of twice, and nothing is said of what it was.
        """
        requests = [{"key": encode(key), "range_end": encode(end), "start_revision": since} for key, end in spans]
        body = "\n".join([json.dumps({"create_request": request}) for request in requests])

        def take(piece):
            # Keys and values are base64: what looks like a field here is one.
            if b'"canceled":true' in piece or b'"error":' in piece:
                told = _field(piece, "cancel_reason") or _field(piece, "message") or "it was cancelled"
                raise self._error(500, told, b"", "/v3/watch", "a watch")
            if b'"created":true' not in piece:
                ring()

        try:
            connection = self._connect()
            status, answer = await connection.follow(take, "/v3/watch", body.encode(), self._headers(), self._timeout)
        except HttpError as error:
            raise EtcdError(error.kind, str(error))
        if status != 200:
            raise self._error(status, _field(answer, "message"), answer, "/v3/watch", "a watch")

    async def beginning(self, path, request, size):
        """The first bytes of an answer to a request, however long that is, over a connection of its own.

        size: how many, where it has as many. Raises EtcdError.
        """
        found = []

        def take(piece):
            found.append(piece)
            if sum([len(one) for one in found]) >= size:
                raise _Enough

        body = json.dumps(request).encode()
        try:
            answer = self._connect().follow(take, path, body, self._headers(), self._timeout)
            await asyncio.wait_for(answer, self._timeout)
        except (_Enough, asyncio.TimeoutError):
            pass
        except HttpError as error:
            raise EtcdError(error.kind, str(error))
        return b"".join(found)[:size]

    def _headers(self):
        # Without this header a member that lost its cluster keeps the request until it times out.
        headers = "Grpc-Metadata-hasleader: true\r\n"
        return headers + "Authorization: %s\r\n" % self._token if self._token else headers

    async def _post(self, path, request, subject, deadline):
        headers = self._headers()
        if not self._connection:
            self._connection = self._connect()
        left = max(0.001, deadline - compat.monotonic())
        try:
            body = json.dumps(request, separators=(",", ":")).encode()
            status, body = await self._connection.post(path, body, headers, left)
            answer = json.loads(body)
        except HttpError as error:
            text = str(error)
            if error.kind == "closed" and text.endswith("without an answer") and "https:" not in self.endpoint:
                text += "; if it expects TLS, write https:// before its name"
            raise EtcdError(error.kind, text)
        except MemoryError:
            raise EtcdError("limit", "%s answered with more than there is memory for" % self.endpoint)
        except (ValueError, RuntimeError):  # RuntimeError: nested deeper than the stack
            answer = None
        if isinstance(answer, dict):
            if status == 200 and ("header" in answer or "result" in answer):
                return answer
            error = answer.get("error")
            if isinstance(error, dict):  # that of a streaming call, which has status 200
                status = error.get("http_code")
                status = status if isinstance(status, int) else 500
                answer = error
            text = answer.get("message") or answer.get("error")
        else:
            text = ""
        raise self._error(status, text if isinstance(text, str) else "", body, path, subject)

    def _error(self, status, text, body, path, subject):
        """The EtcdError for an answer with this status and message."""
        # It goes into a problem and the log: one line of bounded length, whatever the server says.
        text = _line(text[:_MESSAGE])
        where = "etcd at %s" % self.endpoint
        if "permission denied" in text:
            return EtcdError(
                "permission",
                "%s: user '%s' has no permission for %s: %s" % (where, self._user, subject or path, GRANT),
            )
        if "user name is empty" in text and not self._user:
            return EtcdError("auth", "%s asks for a user: set 'etcd_user' and 'etcd_password'" % where)
        if "authentication failed" in text:
            return EtcdError("auth", "%s: user '%s' or its password is wrong" % (where, self._user))
        if status == 401 or "auth token" in text or "auth store is old" in text or "user name is empty" in text:
            return EtcdError("auth", "%s: %s" % (where, text))
        if "lease not found" in text:
            return EtcdError("lease", "%s: %s" % (where, text))
        if "leader" in text or "request timed out" in text:
            return EtcdError("leader", "%s: no majority of its members is up and connected (%s)" % (where, text))
        if "space exceeded" in text:
            return EtcdError("space", "%s is full (%s): compact, defragment and disarm its alarm" % (where, text))
        if b"HTTP request to an HTTPS server" in body:
            return EtcdError("tls", "%s expects TLS: write https:// before its name" % where)
        if body.startswith(b"CommonName"):
            return EtcdError(
                "tls",
                "%s refuses certificates with a common name (CN): 'cert_file' must be one whose subject has none, such "
                "as /O=bgpmesh; users are told apart by 'etcd_user'" % where,
            )
        if not text or text == "Not Found":
            if path == _AUTHENTICATE:  # who echoes what it is asked would have the password told
                body = b""
            shown = _line(body[:60].decode()) if _is_text(body[:60]) else repr(body[:60])
            what = "status %d, %s" % (status, shown or "and nothing more")
            if status >= 500:
                return EtcdError("server", "%s answered with %s" % (where, what))
            return EtcdError("protocol", "%s is not etcd 3.4 or later: %s has %s" % (where, path, what))
        kind = "server" if status >= 500 or status == 429 else "request"
        return EtcdError(kind, "%s refused %s: %s (status %d)" % (where, subject or path, text, status))


def encode(data):
    """A key or value (str or bytes) as the gateway takes it."""
    return binascii.b2a_base64(data.encode() if isinstance(data, str) else data)[:-1].decode()


def decode(text):
    """The bytes of a key or value that the gateway gave. Raises ValueError."""
    return binascii.a2b_base64(text)


def _field(data, name):
    """The text that a JSON object somewhere in `data` has under a name; "" where there is none."""
    text = data.partition(b'"%s":"' % name.encode())[2].partition(b'"')[0]
    return text.decode() if _is_text(text) else ""


def _line(text):
    """A text on one line: what is not printable ASCII becomes blanks."""
    return " ".join("".join([char if " " <= char < "\x7f" else " " for char in text]).split())


def _is_text(data):
    return all(32 <= byte < 127 or byte in b"\r\n\t" for byte in data)


def split(endpoint):
    """(host, port) of `http[s]://host:port`."""
    rest = endpoint.rpartition("://")[2].rstrip("/")
    host, colon, port = rest.rpartition(":")
    if not colon or "]" in port:
        host, port = rest, "2379"
    return host.strip("[]"), int(port)
