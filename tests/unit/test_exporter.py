import asyncio
import json

from example import Thing, folder, options
from fake_http import descriptors, run
from test_status import running
from test_stream import listener

from bgpmesh import compat, disk, exporter, stream
from bgpmesh.model import TAKE

TOKEN = "correct horse battery"


def free_port():
    sock, port = listener()
    sock.close()
    return port


def agent(*statements):
    found = running()
    found.config = options("option secret 'a secret of the network'", *statements)
    return found


async def until(condition):
    """What it returned that was true, within a minute."""
    deadline = compat.monotonic() + 60
    while not condition():
        assert compat.monotonic() < deadline, "it did not come about within a minute"
        await asyncio.sleep(0.005)
    return condition()


async def ended(task):
    """Ends a task."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


async def fetched(port, request):
    """The answer to bytes: (status line, headers, body), with chunks put together; None where there is none."""
    found = await stream.open_tcp("127.0.0.1", port, 20)
    data = b""
    try:
        await found.write(request)
        while True:
            more = await found.read_some()
            if not more:
                break
            data += more
    except OSError:
        pass  # closed with what was sent unread
    finally:
        found.close()
    if not data:
        return None
    head, _, body = data.decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    if "Transfer-Encoding: chunked" in lines:
        body = unchunked(body)
    return lines[0], lines[1:], body


def unchunked(text):
    parts = []
    data = text.encode()
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert data == b"\r\n"
            return b"".join(parts).decode()
        parts.append(data[:length])
        assert data[length : length + 2] == b"\r\n"
        data = data[length + 2 :]


def serving(agent, steps):
    """What steps(port) returns while the agent answers there; nothing is left open."""

    async def main():
        port = free_port()
        task = asyncio.create_task(exporter.serve(agent, ("127.0.0.1", port)))
        await asyncio.sleep(0)  # in which it begins to listen
        try:
            return await steps(port)
        finally:
            await ended(task)
            await until(lambda: descriptors() <= idle[0])

    async def look():
        await asyncio.sleep(0)
        idle.append(descriptors())

    idle = []
    run(look())
    return run(main())


def asked(agent, line, *headers):
    request = "\r\n".join((line,) + headers + ("", "")) + "\r\n"
    return serving(agent, lambda port: fetched(port, request.encode()))


def test_metrics():
    status, headers, body = asked(agent(), "GET /metrics HTTP/1.1", "Host: x")
    assert status == "HTTP/1.1 200 OK"
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in headers
    assert '\nbgpmesh_peer_session_up{peer="bravo"} 1\n' in body and body.startswith("# HELP bgpmesh_build_info ")
    assert asked(agent(), "GET /metrics HTTP/1.0")[2].split("\n")[:2] == body.split("\n")[:2]


def test_status_and_peers_are_those_of_ubus_and_tell_no_secret():
    _, headers, body = asked(agent("option http_token '%s'" % TOKEN), "GET /status HTTP/1.1")
    assert json.loads(body)["node"] == "alfa" and "Content-Type: application/json" in headers
    _, _, rows = asked(agent(), "GET /peers?now HTTP/1.1")
    assert [row["node"] for row in json.loads(rows)["peers"]][:3] == ["bravo", "carol", "dora"]
    assert "a secret" not in body + rows and TOKEN not in body


def test_sync_asks_for_the_token():
    owner = agent("option http_token '%s'" % TOKEN)
    for header in ("Host: x", "Authorization: Bearer wrong", "Authorization: %s" % TOKEN, "Authorization:"):
        status, headers, body = asked(owner, "POST /sync HTTP/1.1", header)
        assert status.startswith("HTTP/1.1 401 ") and "WWW-Authenticate: Bearer" in headers, header
        assert TOKEN not in body
    assert owner.synced == 0
    status, _, body = asked(owner, "POST /sync HTTP/1.1", "Host: x", "authorization: Bearer " + TOKEN)
    assert status == "HTTP/1.1 200 OK" and json.loads(body) == {"queued": True} and owner.synced == 1


def test_without_a_token_nobody_may_sync():
    owner = agent()
    status, _, body = asked(owner, "POST /sync HTTP/1.1", "Authorization: Bearer ")
    assert status.startswith("HTTP/1.1 403 ") and owner.synced == 0
    assert "uci set bgpmesh.main.http_token=…; " + TAKE in body


def test_what_is_not_there_or_is_not_so_asked_for():
    for line, code, word in (
        ("GET /nothing HTTP/1.1", "404", "/metrics"),
        ("GET /sync HTTP/1.1", "405", "POST"),
        ("POST /metrics HTTP/1.1", "405", "GET"),
        ("HEAD /status HTTP/1.1", "405", "GET"),
        ("GET /metrics", "400", "HTTP"),
        ("nonsense", "400", "HTTP"),
        ("GET /metrics HTTP/2.0", "400", "HTTP"),
    ):
        status, _, body = asked(agent(), line)
        assert status.startswith("HTTP/1.1 %s " % code) and word in body, line
    assert "POST /sync" in asked(agent(), "GET / HTTP/1.1")[2]


def test_what_is_no_request_is_closed():
    for data in (b"\x16\x03\x01\xff\xfe\r\n\r\n", b"GET /" + b"x" * 9000):
        assert serving(agent(), lambda port, data=data: fetched(port, data)) is None, data[:10]


def test_who_says_nothing_does_not_keep_others_out():
    async def steps(port):
        idle = []
        for _ in range(4):
            idle.append(await stream.open_tcp("127.0.0.1", port, 20))
        assert await fetched(port, b"GET / HTTP/1.0\r\n\r\n") is None  # one too many
        found = None
        while not found:
            found = await fetched(port, b"GET / HTTP/1.0\r\n\r\n")
        for each in idle:
            each.close()
        return found

    before, exporter._PATIENCE = exporter._PATIENCE, 1
    try:
        assert serving(agent(), steps)[0] == "HTTP/1.1 200 OK"
    finally:
        exporter._PATIENCE = before


def test_a_port_that_is_taken_is_a_problem_until_it_is_free():
    owner = agent()
    taken, port = listener()
    before, exporter.Retry = exporter.Retry, lambda: Thing(failed=lambda: None, wait=lambda: 0.02)

    async def main():
        task = asyncio.create_task(exporter.serve(owner, ("127.0.0.1", port)))
        (problem,) = await until(lambda: owner.problems.of("http"))
        assert "option 'http': cannot listen on 127.0.0.1 port %d" % port in problem.text
        taken.close()
        await until(lambda: not owner.problems.of("http"))
        found = await fetched(port, b"GET / HTTP/1.0\r\n\r\n")
        await ended(task)
        return found

    try:
        assert run(asyncio.wait_for(main(), 120))[0] == "HTTP/1.1 200 OK"
    finally:
        exporter.Retry = before


# The file


def written(path):
    """An agent that was told to write its metrics there."""
    owner = agent()
    run(exporter.write_file(owner, path))
    return owner


def test_the_file_is_written_for_the_collector():
    top = folder("exporter")
    try:
        owner = written(top + "/prometheus/bgpmesh.prom")
        text = disk.read(top + "/prometheus/bgpmesh.prom")
        assert text.endswith("\n") and "bgpmesh_members 4\n" in text and owner.problems.of("textfile") == []
    finally:
        disk.remove_folder(top)


def test_a_file_that_cannot_be_written_is_a_problem():
    top = folder("exporter")
    try:
        disk.write(top + "/prometheus", "in the way", 0o600)
        (problem,) = written(top + "/prometheus/bgpmesh.prom").problems.of("textfile")
        assert "cannot write the metrics to %s/prometheus/" % top in problem.text
    finally:
        disk.remove_folder(top)
