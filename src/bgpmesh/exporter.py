"""What monitoring reads: over HTTP on option `http`, and as a file for node-exporter's textfile collector."""

import asyncio
import json
import socket

from . import compat, disk, metrics, status
from .model import TAKE, Problem
from .problems import Retry
from .stream import Stream
from .tally import Tally

_AT_ONCE = 4  # connections; another one is closed
_PATIENCE = 10  # seconds for a request and its answer
_HEAD = 4096  # bytes of a request
_INDEX = "/metrics for Prometheus, /status and /peers as JSON, POST /sync with the option http_token\n"
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
_REASONS[405] = "Method Not Allowed"


class Refused(Exception):
    """A request that is not answered with what it asks for. code: of HTTP; headers: lines to add."""

    def __init__(self, code, text, headers=""):
        super().__init__(text)
        self.code = code
        self.headers = headers


async def exposition(agent):
    """The metrics of an Agent, as pieces of text."""
    peers = await status.peers(agent)
    mesh = agent.mesh
    view = metrics.View(
        status.status(agent),
        peers,
        agent.membership.polls if agent.membership else Tally(),
        mesh.applies if mesh else {},
        mesh.events.counts if mesh else {},
        agent.problems.codes,
    )
    return metrics.exposition(view)


# The file


async def write_file(agent, path):
    """Writes the metrics of an Agent; a failure is a problem that stays until a write succeeds."""
    try:
        disk.make_folder(path.rpartition("/")[0], 0o755)
        disk.write_pieces(path, await exposition(agent), 0o644)
        agent.problems.replace("textfile", [])
    except OSError as error:
        text = "cannot write the metrics to %s: %s" % (path, compat.reason(error))
        agent.problems.replace("textfile", [Problem("disk", "metrics", text)])


# HTTP


async def serve(agent, where):
    """Answers at `where`, (address, port), until it is cancelled; where that cannot be had it is tried again."""
    retry = Retry()
    while True:
        try:
            listener = _listen(where[0], where[1])
        except OSError as error:
            text = "option 'http': cannot listen on %s port %d: %s" % (where[0], where[1], compat.reason(error))
            agent.problems.replace("http", [Problem("http", "http", text)])
            retry.failed()
            await asyncio.sleep(retry.wait())
            continue
        agent.problems.replace("http", [])
        try:
            await _accept(agent, listener)
        finally:
            listener.close()


def _listen(ip, port):
    listener = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
    try:
        compat.cloexec(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(compat.inet_address(ip, port))
        listener.listen(_AT_ONCE)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def _accept(agent, listener):
    open_ones = []
    while True:
        await compat.readable(listener)
        try:
            sock, _ = listener.accept()
        except OSError:
            await asyncio.sleep(0.1)  # it was gone before we came to it, or there is no descriptor left
            continue
        compat.cloexec(sock)
        sock.setblocking(False)
        open_ones = [task for task in open_ones if not task.done()]
        if len(open_ones) < _AT_ONCE:
            open_ones.append(asyncio.create_task(_talk(agent, Stream(sock))))
        else:
            sock.close()


async def _talk(agent, stream):
    try:
        await asyncio.wait_for(_answer(agent, stream), _PATIENCE)
    except (OSError, EOFError, ValueError, asyncio.TimeoutError):
        pass  # it is gone, too slow, or speaks something else
    finally:
        stream.close()


async def _answer(agent, stream):
    head = (await stream.read_until(b"\r\n\r\n", _HEAD)).decode()
    lines = head.split("\r\n")
    headers = ""
    try:
        code, kind, pieces = await _look_up(agent, lines[0], _authorization(lines))
    except Refused as error:
        code, kind, pieces = error.code, "text/plain; charset=utf-8", [str(error) + "\n"]
        headers = error.headers
    reply = "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\nConnection: close\r\n%s"
    chunked = lines[0].endswith(" HTTP/1.1")  # so that who reads can tell an end from a break
    reply = reply % (code, _REASONS[code], kind, headers)
    await stream.write((reply + ("Transfer-Encoding: chunked\r\n\r\n" if chunked else "\r\n")).encode())
    for piece in pieces:
        data = piece.encode()
        if chunked:
            data = b"%x\r\n" % len(data) + data + b"\r\n"
        await stream.write(data)
    if chunked:
        await stream.write(b"0\r\n\r\n")


def _authorization(lines):
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "authorization":
            return value.strip()
    return ""


async def _look_up(agent, line, authorization):
    """(code, type, pieces of text) that a request line is answered with. Raises Refused."""
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Refused(400, "this is no request of HTTP/1")
    method, path = words[0], words[1].partition("?")[0]
    if path not in ("/", "/metrics", "/status", "/peers", "/sync"):
        raise Refused(404, "there is no %s; there is %s" % (path, _INDEX.strip()))
    allowed = "POST" if path == "/sync" else "GET"
    if method != allowed:
        raise Refused(405, "%s takes %s" % (path, allowed), "Allow: %s\r\n" % allowed)
    if path == "/metrics":
        return 200, "text/plain; version=0.0.4; charset=utf-8", await exposition(agent)
    if path == "/":
        return 200, "text/plain; charset=utf-8", [_INDEX]
    if path == "/status":
        answer = status.status(agent)
    elif path == "/peers":
        answer = await status.peers(agent)
    else:
        _check_token(agent.config.http_token, authorization)
        agent.sync()
        answer = {"queued": True}
    return 200, "application/json", [json.dumps(answer) + "\n"]


def _check_token(token, authorization):
    """Raises Refused where the header does not bear the token of the options."""
    if not token:
        raise Refused(403, "no token is set: uci set bgpmesh.main.http_token=…; " + TAKE)
    # Digests: how long the comparison takes tells nothing about the token.
    if compat.sha256(authorization.encode()) != compat.sha256(b"Bearer " + token.encode()):
        raise Refused(401, "the token is not that of option 'http_token'", "WWW-Authenticate: Bearer\r\n")
