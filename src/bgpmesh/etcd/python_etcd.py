"""etcd's v2 API through python-etcd 0.4.5 (`import etcd`). Only for CPython: it uses threads.

Of python-etcd this takes the requests, the results and the errors. How an answer is fetched is our own
(`Endpoint.api_execute`): there python-etcd bounds neither time nor size, takes every 404 for a missing key,
sends requests again and follows redirects, and calls methods that urllib3 2.6 does not have.
"""

import asyncio
import base64
import http.client
import json
import threading
from urllib.parse import quote, urlencode

import urllib3
from etcd import Client as PythonEtcd
from etcd import EtcdCompareFailed, EtcdException, EtcdKeyNotFound

from .. import compat
from . import registry, v3
from .http import Connection, HttpError, reason
from .v3 import EtcdError

_EXPECTED = (100, 101, 105)  # error codes that are answers: no such key, compare failed, key exists
_UNAUTHORIZED = 110
_GRACE = 0.1  # seconds for a thread to say itself that its time is over


class Client(v3.Cluster):
    """A client of an etcd cluster by the v2 API, with one connection to one of its members at a time.

    limit: bytes of an answer, which is a whole directory: 4 MB are the records of some thousand members.
    """

    def __init__(self, *arguments, limit=4 << 20, **options):
        super().__init__(*arguments, limit=limit, **options)
        self._busy = set()  # endpoints whose thread is still at what nobody waits for any more

    async def call(self, work, subject):
        """What work(endpoint) returns, a function that runs in a thread and asks an Endpoint. Raises EtcdError.

        subject: which keys it is about, for the text of an error. After a failure that a single member
        may cause, the next endpoint is asked: what is left of the time now, or else in the next call.
        May be done more than once, so it must bear that.
        """
        return await self._in_turn(lambda deadline: self._attempt(work, subject, deadline))

    def _connect(self):
        return Endpoint(self.endpoint, self._user, self._password, self._tls_context(), self._limit)

    async def watch(self, directory, since, ring):
        """Calls ring() as soon as a key below the directory has changed, and returns. Raises EtcdError.

        since: the first index that counts. It takes a connection of its own, and no thread.
        """
        path = "/v2/keys%s/?wait=true&recursive=true&waitIndex=%d" % (quote(directory), since)
        headers = "".join(["%s: %s\r\n" % header for header in _headers(self._user, self._password).items()])
        connection = Connection(*v3.split(self.endpoint), self._tls_context(), self._limit)
        try:
            status, answer = await connection.follow(lambda _: ring(), path, None, headers, self._timeout)
        except HttpError as error:
            raise EtcdError(error.kind, str(error))
        if status != 200:
            raise EtcdError("request", "%s refused a watch: %r" % (self.endpoint, answer[:100]))

    async def _attempt(self, work, subject, deadline):
        where = self.endpoint
        if where in self._busy:
            raise EtcdError("timeout", "%s has not yet ended an answer that took too long" % where)
        if not self._connection:
            self._connection = self._connect()
        endpoint = self._connection
        endpoint.subject = subject
        endpoint.deadline = deadline
        loop = asyncio.get_running_loop()
        answer = loop.create_future()

        def settle(result, error):
            if answer.done():
                return
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(result)

        def ask():
            result = failure = None
            try:
                result = endpoint.ask(work)
            except Exception as error:  # whatever it is, it is raised where the answer is waited for
                failure = error
            self._busy.discard(where)
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:
                pass  # the loop has ended, nobody waits

        self._busy.add(where)
        try:
            # A thread of an executor would be waited for at the end, and hold up SIGTERM.
            threading.Thread(target=ask, daemon=True).start()
        except RuntimeError as error:
            self._busy.discard(where)
            raise EtcdError("limit", "no thread to ask %s: %s" % (where, error))
        try:
            return await asyncio.wait_for(answer, max(0, deadline - compat.monotonic()) + _GRACE)
        except asyncio.TimeoutError:
            raise EtcdError("timeout", "%s did not answer within %.2g s" % (where, self._timeout))


def _headers(user, password):
    credentials = ("%s:%s" % (user, password)).encode()
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()} if user else {}


class Endpoint(PythonEtcd):
    """One member of the cluster, asked by one thread at a time.

    deadline, by compat.monotonic(), and subject are those of the present call.
    """

    def __init__(self, url, user, password, context, limit):
        scheme, _, rest = url.partition("://")
        self.name = rest
        host, _, port = rest.rpartition(":")
        super().__init__(host, int(port), protocol=scheme)
        self.http = urllib3.PoolManager(1, maxsize=1, ssl_context=context)
        self.deadline = 0
        self.subject = ""
        self._user = user
        self._limit = limit
        self._headers = _headers(user, password)

    def close(self):
        """Closes the connection."""
        self.http.clear()

    def ask(self, work):
        """work(self), with python-etcd's errors as EtcdError."""
        try:
            return work(self)
        except EtcdException as error:
            payload = error.payload or {}
            if "errorCode" in payload:
                raise self._refusal(payload["status"], payload)
            raise self._odd()
        except RecursionError:  # JSON that is nested too deeply
            raise self._odd()

    def list(self, directory, quorum):
        """What is directly in a directory: (cluster, index, term, keys).

        keys: list of (name, value as bytes, createdIndex, modifiedIndex), without directories. quorum: whether a
        majority is to agree, or what this member knows is enough. term is None where the directory is not there.
        """
        try:
            found = self.read(directory, quorum=quorum)
        except EtcdKeyNotFound:
            found = None
        keys = []
        try:
            for leaf in found.leaves if found else ():
                if not leaf.dir:
                    name = registry.as_name(_bytes(leaf.key[len(directory) + 1 :]))
                    keys.append((name, _bytes(leaf.value), int(leaf.createdIndex), int(leaf.modifiedIndex)))
            fields = self._answer.fields
            term = fields.get("x-raft-term")
            index = int(fields["x-etcd-index"])
            if not 0 <= index < 1 << 63:  # ubus, by which it is told on, takes no other
                raise ValueError
            return fields["x-etcd-cluster-id"], index, term and int(term), keys
        except registry.MALFORMED:
            raise self._odd()

    def owner(self, key):
        """The (name, modifiedIndex) of the node whose name is the key's value, (None, 0) where there is no key."""
        try:
            found = self.read(key, quorum=True)
        except EtcdKeyNotFound:
            return None, 0
        try:
            return registry.as_name(_bytes(found.value or "")), int(found.modifiedIndex)
        except registry.MALFORMED:
            raise self._odd()

    def remove(self, key, **condition):
        """Deletes a key where it is there and the condition of python-etcd's delete() holds."""
        try:
            self.delete(key, **condition)
        except (EtcdKeyNotFound, EtcdCompareFailed):
            pass

    def api_execute(self, path, method, params=None, timeout=None):
        """python-etcd's hook for one request; returns an _Answer, raises EtcdError or what python-etcd does."""
        left = self.deadline - compat.monotonic()
        if left <= 0:
            raise EtcdError("timeout", "%s took too long" % self.name)
        url = self.base_uri + quote(path)
        headers = dict(self._headers)
        query = urlencode(params or {})
        body = None
        if method == self._MPUT:
            body = query
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif query:
            url += "?" + query
        try:
            response = self.http.urlopen(
                method,
                url,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(total=left),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                enforce_content_length=True,
            )
            data = b""
            more = response.read(self._limit + 1)
            while more and len(data) <= self._limit:
                data += more
                more = response.read(self._limit + 1)  # an answer that ends too early is told by the last read
            if len(data) > self._limit:
                response.close()
                text = "%s answered with more than %d bytes; delete what does not belong there: %s"
                raise EtcdError("limit", text % (self.name, self._limit, self.subject))
        except urllib3.exceptions.HTTPError as error:
            raise self._failure(error, left)
        except MemoryError:
            raise EtcdError("limit", "%s answered with more than there is memory for" % self.name)
        self._answer = _Answer(response.status, data, response.headers)
        if response.status not in (200, 201):
            self._check(response.status, data)
        return self._handle_server_response(self._answer)

    def _failure(self, error, left):
        """The EtcdError for a request that got no whole answer."""
        if isinstance(error, urllib3.exceptions.NewConnectionError):
            cause = error.__cause__ or error.__context__
            if isinstance(cause, ConnectionRefusedError):
                return EtcdError("refused", "%s refused the connection" % self.name)
            return EtcdError("unreachable", "%s cannot be reached: %s" % (self.name, reason(cause or error)))
        if isinstance(error, urllib3.exceptions.TimeoutError):
            text = "%s did not answer within %.2g s" % (self.name, left)
            if isinstance(error, urllib3.exceptions.ReadTimeoutError):
                text += "; where it has lost its cluster's majority, it takes longer to say so"
            return EtcdError("timeout", text)
        if isinstance(error, urllib3.exceptions.SSLError):
            from .tls import explain

            return EtcdError("tls", "TLS with %s failed: %s" % (self.name, explain(error)))
        cause = error.args[-1] if error.args else error
        if isinstance(cause, ConnectionResetError):  # http.client's RemoteDisconnected, too
            text = "%s closed the connection without an answer" % self.name
            if self.protocol == "http":
                text += "; if it expects TLS, write https:// before its name"
            return EtcdError("closed", text)
        if isinstance(cause, http.client.IncompleteRead):
            return EtcdError("closed", "%s closed the connection in the middle of an answer" % self.name)
        if isinstance(cause, http.client.HTTPException):
            text = "%s answered with something that is not HTTP: %r" % (self.name, reason(cause)[:40])
            return EtcdError("protocol", text)
        if isinstance(error, urllib3.exceptions.ProtocolError):
            return EtcdError("closed", "the connection to %s broke: %s" % (self.name, reason(cause)))
        return EtcdError("unreachable", "%s cannot be reached: %s" % (self.name, reason(error)))

    def _check(self, status, data):
        """Raises EtcdError for an error that is none of those that python-etcd tells apart rightly."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("errorCode"), int):
            raise self._foreign(status, data)
        if found["errorCode"] not in _EXPECTED:
            raise self._refusal(status, found)

    def _foreign(self, status, data):
        """The EtcdError for an error answer that is not of the v2 API's keys."""
        where = "etcd at %s" % self.base_uri
        if b"HTTP request to an HTTPS server" in data:
            return EtcdError("tls", "%s expects TLS: write https:// before its name" % where)
        text = " ".join(data[:60].decode("ascii", "backslashreplace").split()) or "nothing more"
        if status >= 500:
            return EtcdError("server", "%s answered with status %d, %s" % (where, status, text))
        return EtcdError(
            "protocol",
            "%s does not speak the v2 API (status %d, %s): etcd 3.5 and earlier need --enable-v2, later ones do not "
            "have it; option 'etcd_api' v3 on all routers would be right there" % (where, status, text),
        )

    def _refusal(self, status, found):
        """The EtcdError for an answer with an error code of etcd."""
        where = "etcd at %s" % self.base_uri
        text = "%s: %s" % (found.get("message"), found.get("cause"))
        code = found["errorCode"]
        if code == _UNAUTHORIZED and not self._user:
            return EtcdError("auth", "%s asks for a user: set 'etcd_user' and 'etcd_password'" % where)
        if code == _UNAUTHORIZED:
            return EtcdError(
                "auth",
                "%s: user '%s' or its password is wrong, or its role has no permission for %s: grant it that"
                % (where, self._user, self.subject),
            )
        if "leader" in text.lower() or "request timed out" in text:
            return EtcdError("leader", "%s: no majority of its members is up and connected (%s)" % (where, text))
        kind = "server" if status >= 500 else "request"
        return EtcdError(kind, "%s refused %s: %s (status %d)" % (where, self.subject, text, status))

    def _odd(self):
        return EtcdError("protocol", "%s answers, but not like etcd" % self.base_uri)


class _Answer:
    """An answer as python-etcd takes it: status, data (bytes) and fields, its headers whatever their case."""

    def __init__(self, status, data, fields):
        self.status = status
        self.data = data
        self.fields = fields

    def getheaders(self):
        """The headers."""
        return self.fields


def _bytes(text):
    """A key or value as bytes; JSON can have text that is no UTF-8."""
    return text.encode("utf-8", "surrogatepass")
