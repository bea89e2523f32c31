import asyncio
import json

from fake_etcd import Etcd
from fake_http import CLOSE, HANG, Server, answer, descriptors, run

from bgpmesh import compat
from bgpmesh.etcd.v3 import Client, EtcdError, decode, encode

RANGE = {"key": encode("/peers/alfa")}


def on(responders, steps, **options):
    """What steps(client, servers) returns, for a client of servers with these respond functions."""

    async def main():
        servers = [Server(respond) for respond in responders]
        for server in servers:
            await server.start()
        client = Client(["http://127.0.0.1:%d" % server.port for server in servers], **options)
        try:
            return await steps(client, servers)
        finally:
            client.close()
            for server in servers:
                server.stop()

    return run(main())


async def read(client):
    """A read of one key."""
    return await client.call("/v3/kv/txn", {"success": [{"request_range": RANGE}]}, "/peers/alfa")


async def failure(client):
    """The EtcdError in which a read ends."""
    try:
        found = await read(client)
    except EtcdError as error:
        return error
    raise AssertionError("no error but %r" % found)


def fault(reply, **options):
    """(kind, text) of the error in which a read ends where the server answers so; its address is URL."""

    async def steps(client, servers):
        error = await failure(client)
        return error.kind, str(error).replace("http://127.0.0.1:%d" % servers[0].port, "URL")

    return on([lambda request: reply], steps, **options)


def refused(status, message, **options):
    """The same where it answers with this status and message."""
    body = '{"error":"%s","code":2,"message":"%s"}' % (message, message)
    return fault(answer(body.encode(), "%d Some Text" % status), **options)


def test_keys_and_values_are_base64():
    assert encode("/peers/alfa") == "L3BlZXJzL2FsZmE="
    assert encode(b"\xff\x00") == "/wA="
    assert decode("/wA=") == b"\xff\x00"
    long = "x" * 1000
    assert "\n" not in encode(long)
    assert decode(encode(long)) == long.encode()


def test_a_call_returns_the_answer():
    store = Etcd()
    store.put("/peers/alfa", "record")

    async def steps(client, servers):
        answer = await read(client)
        assert answer["header"]["revision"] == "2"
        [item] = answer["responses"][0]["response_range"]["kvs"]
        assert decode(item["value"]) == b"record"
        assert client.endpoint == "http://127.0.0.1:%d" % servers[0].port
        return servers[0].requests[0]

    request = on([store.respond], steps)
    assert request.startswith(b"POST /v3/kv/txn HTTP/1.1\r\n")
    assert b"\r\nGrpc-Metadata-hasleader: true\r\n" in request
    assert b"Authorization" not in request


def test_errors_say_what_to_do():
    user = {"user": "router", "password": "wrong"}
    assert refused(400, "etcdserver: user name is empty") == (
        "auth",
        "etcd at URL asks for a user: set 'etcd_user' and 'etcd_password'",
    )
    assert refused(400, "etcdserver: authentication failed, invalid user ID or password", **user) == (
        "auth",
        "etcd at URL: user 'router' or its password is wrong",
    )
    assert refused(403, "etcdserver: permission denied") == (
        "permission",
        "etcd at URL: user 'None' has no permission for /peers/alfa: "
        "`bgpmesh etcd-role` prints the commands that grant it",
    )
    assert refused(503, "etcdserver: no leader") == (
        "leader",
        "etcd at URL: no majority of its members is up and connected (etcdserver: no leader)",
    )
    assert refused(504, "etcdserver: request timed out")[0] == "leader"
    assert refused(429, "etcdserver: mvcc: database space exceeded")[0] == "space"
    assert refused(404, "etcdserver: requested lease not found")[0] == "lease"
    assert refused(400, "etcdserver: duplicate key given in txn request") == (
        "request",
        "etcd at URL refused /peers/alfa: etcdserver: duplicate key given in txn request (status 400)",
    )
    assert refused(500, "etcdserver: something")[0] == "server"
    assert refused(429, "etcdserver: too many requests")[0] == "server"


def test_an_error_of_a_streaming_call_comes_with_status_200():
    body = b'{"error":{"grpc_code":7,"http_code":403,"message":"etcdserver: permission denied"}}'
    assert fault(answer(body))[0] == "permission"
    assert fault(answer(b'{"error":{"message":"etcdserver: odd"}}'))[0] == "server"


def test_what_is_not_etcd():
    assert fault(answer(b"<html>nginx</html>", "404 Not Found")) == (
        "protocol",
        "etcd at URL is not etcd 3.4 or later: /v3/kv/txn has status 404, <html>nginx</html>",
    )
    assert fault(answer(b'{"code":5, "message":"Not Found"}', "404 Not Found"))[0] == "protocol"
    nested = b"[" * 5000 + b"]" * 5000
    assert fault(answer(b'{"message":' + nested + b"}"))[0] == "protocol"
    assert fault(answer(b'{"message":7}', "502 Bad Gateway"))[0] == "server"
    assert fault(answer(b'{"error":{"message":' + nested + b',"http_code":404}}'))[0] == "protocol"
    for body in (b"", b"{}", b"[]", b"null", b'"x"', b"{", b"\xff", b"[" * 3000, b'{"error":null}'):
        assert fault(answer(body))[0] == "protocol", body
    assert fault(answer(b"Bad Gateway", "502 Bad Gateway")) == (
        "server",
        "etcd at URL answered with status 502, Bad Gateway",
    )
    tls = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    assert fault([tls, CLOSE]) == ("tls", "etcd at URL expects TLS: write https:// before its name")
    assert fault([b"220 smtp ready\r\n", HANG])[0] == "protocol"


def test_a_password_is_in_no_error():
    options = {"user": "router", "password": "sesame"}
    for status in (400, 401, 403, 404, 500):
        assert "sesame" not in refused(status, "etcdserver: anything", **options)[1]
    for status in ("200 OK", "400 Bad Request", "502 Bad Gateway"):

        async def steps(client, servers):
            return str(await failure(client))

        said = on([lambda request, status=status: answer(request.partition(b"\r\n\r\n")[2], status)], steps, **options)
        assert "authenticate has status" in said or "answered with status" in said
        assert "sesame" not in said, said


def test_every_endpoint_is_tried_and_the_one_that_works_is_kept():
    store = Etcd()
    broken = answer(b"Bad Gateway", "502 Bad Gateway")

    async def steps(client, servers):
        servers[0].stop()
        await asyncio.sleep(0.05)
        for _ in range(3):
            await read(client)
        assert client.endpoint.endswith(":%d" % servers[2].port)
        return [len(server.requests) for server in servers]

    assert on([None, lambda request: broken, store.respond], steps) == [0, 1, 3]


def test_an_endpoint_with_a_large_page_of_an_error_is_left():
    store = Etcd()
    page = answer(b"<p>" * 1000, "404 Not Found")

    async def steps(client, servers):
        await read(client)
        return client.endpoint.endswith(":%d" % servers[1].port)

    assert on([lambda request: page, store.respond], steps, limit=2000)


def test_an_endpoint_that_stops_working_is_left():
    stores = [Etcd(), Etcd()]

    async def steps(client, servers):
        await read(client)
        stores[0].refuse = [(503, "etcdserver: no leader")] * 9
        await read(client)
        await read(client)
        assert client.endpoint.endswith(":%d" % servers[1].port)
        stores[1].refuse = [(503, "etcdserver: no leader")] * 9
        stores[0].refuse = []
        await read(client)
        return client.endpoint.endswith(":%d" % servers[0].port)

    assert on([store.respond for store in stores], steps)


def test_when_none_works_the_error_tells_of_each():
    broken = answer(b"Bad Gateway", "502 Bad Gateway")

    async def steps(client, servers):
        error = await failure(client)
        for server in servers:
            assert str(server.port) in str(error)
        return error.kind, [len(server.requests) for server in servers]

    assert on([lambda request: broken] * 3, steps) == ("server", [1, 1, 1])


def test_a_refusal_that_every_member_would_repeat_is_asked_of_one():
    stores = [Etcd(), Etcd()]
    stores[0].refuse = [(403, "etcdserver: permission denied")]

    async def steps(client, servers):
        assert (await failure(client)).kind == "permission"
        return [len(store.paths) for store in stores]

    assert on([store.respond for store in stores], steps) == [1, 0]


def test_a_server_that_hangs_costs_its_time_once_and_the_next_is_asked_then():
    store = Etcd()

    async def steps(client, servers):
        before = descriptors()
        started = compat.monotonic()
        error = await failure(client)
        assert error.kind == "timeout"
        assert 0.8 < compat.monotonic() - started < 1.9
        started = compat.monotonic()
        await read(client)
        assert compat.monotonic() - started < 0.9
        client.close()
        assert descriptors() <= before + 2  # the servers' ends
        return True

    assert on([lambda request: [HANG], store.respond], steps, timeout=1)


def test_renewing_a_token_takes_no_more_time_than_any_call():
    replies = [
        answer(b'{"header":{},"token":"a.1"}'),
        [0.7, answer(b'{"message":"etcdserver: invalid auth token"}', "401 Unauthorized")],
        [0.7, answer(b'{"header":{},"token":"a.2"}')],
        [0.7, answer(b'{"header":{}}')],
    ]

    async def steps(client, servers):
        started = compat.monotonic()
        assert (await failure(client)).kind == "timeout"
        return compat.monotonic() - started < 1.9

    assert on([lambda request: replies.pop(0)], steps, user="router", password="x", timeout=1)


def test_a_token_is_fetched_once_and_sent_with_every_request():
    store = Etcd()
    store.user = ("router", "sesame")

    async def steps(client, servers):
        await read(client)
        await read(client)
        return [request for request in servers[0].requests if b"\r\nAuthorization: token." in request]

    assert len(on([store.respond], steps, user="router", password="sesame")) == 2
    assert store.paths == ["/v3/auth/authenticate", "/v3/kv/txn", "/v3/kv/txn"]


def test_a_token_that_ended_is_renewed():
    store = Etcd()
    store.user = ("router", "sesame")

    async def steps(client, servers):
        await read(client)
        store.tokens.clear()
        store.paths.clear()
        await read(client)
        assert store.paths == ["/v3/kv/txn", "/v3/auth/authenticate", "/v3/kv/txn"]
        store.refuse = [(400, "etcdserver: revision of auth store is old")]
        await read(client)
        return True

    assert on([store.respond], steps, user="router", password="sesame")


def test_a_wrong_password_is_asked_about_once_per_call():
    store = Etcd()
    store.user = ("router", "sesame")

    async def steps(client, servers):
        assert (await failure(client)).kind == "auth"
        assert store.paths == ["/v3/auth/authenticate"]
        assert (await failure(client)).kind == "auth"
        store.user = ("router", "other")
        await read(client)
        return True

    assert on([store.respond], steps, user="router", password="other")


def test_a_user_does_no_harm_where_etcd_has_no_authentication():
    store = Etcd()

    async def steps(client, servers):
        await read(client)
        await read(client)
        assert store.paths == ["/v3/auth/authenticate", "/v3/kv/txn", "/v3/kv/txn"]
        store.user = ("router", "sesame")  # and now it is turned on
        await read(client)
        return True

    assert on([store.respond], steps, user="router", password="sesame")


def test_calls_at_the_same_time_go_one_after_the_other():
    store = Etcd()

    async def steps(client, servers):
        await asyncio.gather(*[read(client) for _ in range(5)])
        return servers[0].connections, len(servers[0].requests)

    assert on([store.respond], steps) == (1, 5)


def test_a_certificate_file_that_is_missing_is_named():
    async def main():
        client = Client(["https://127.0.0.1:1"], ca_file="/nowhere/ca.pem")
        return await failure(client)

    error = run(main())
    assert error.kind == "tls"
    assert "/nowhere/ca.pem" in str(error)


def watched(parts):
    """How often a watch rings that the server answers with these parts, and the EtcdError it ends in, or None."""

    async def steps(client, servers):
        rings = []
        try:
            await client.watch([("/peers/", "/peers0"), ("/alive/", "/alive0")], 7, lambda: rings.append(1))
        except EtcdError as error:
            return len(rings), error, servers[0]
        return len(rings), None, servers[0]

    return on([lambda request: parts], steps, timeout=2)


def chunk(text):
    return b"%x\r\n%s\r\n" % (len(text), text.encode())


WATCH = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CREATED = chunk('{"result":{"header":{"revision":"6"},"created":true}}\n')
EVENT = chunk('{"result":{"header":{"revision":"7"},"events":[{"kv":{"key":"L3A=","value":"eDA="}}]}}\n')


def test_a_watch_asks_for_all_spans_and_rings_for_what_comes():
    rings, error, server = watched([WATCH + CREATED, CREATED, 0.1, EVENT, 0.1, EVENT + EVENT, b"0\r\n\r\n", CLOSE])
    assert (rings, error) == (3, None)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v3/watch ") and b"hasleader" in head
    spans = [json.loads(line)["create_request"] for line in body.decode().split("\n")]
    assert [(decode(span["key"]), decode(span["range_end"]), span["start_revision"]) for span in spans] == [
        (b"/peers/", b"/peers0", 7),
        (b"/alive/", b"/alive0", 7),
    ]


def test_a_watch_lives_longer_than_an_answer_may_take():
    rings, error, _ = watched([WATCH + CREATED, 2.5, EVENT, b"0\r\n\r\n", CLOSE])
    assert (rings, error) == (1, None)


def test_a_change_may_be_larger_than_an_answer_and_than_the_memory():
    rings, error, _ = watched([WATCH + CREATED, b"800000\r\n"] + [b"x" * 8192] * 1024 + [b"\r\n0\r\n\r\n", CLOSE])
    assert (rings, error) == (2048, None)


def test_how_a_watch_ends():
    cancelled = chunk('{"result":{"header":{},"created":true,"canceled":true,"cancel_reason":"permission denied"}}')
    failed = chunk('{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}')
    for parts, kind in (
        ([WATCH + CREATED, EVENT, CLOSE], "closed"),
        ([WATCH + CREATED, EVENT[:9], CLOSE], "closed"),
        ([WATCH + CREATED + cancelled, HANG], "permission"),
        ([WATCH + CREATED + failed, HANG], "leader"),
        ([WATCH + CREATED + chunk('{"result":{"canceled":true,"compact_revision":"9"}}'), HANG], "server"),
        ([WATCH + b"zz\r\n", HANG], "protocol"),
        ([HANG], "timeout"),
        ([answer(b'{"error":"x","code":7,"message":"permission denied"}', "403 Forbidden")], "permission"),
        ([answer(b"404 page not found", "404 Not Found")], "protocol"),
        ([b"nonsense\r\n\r\n", CLOSE], "protocol"),
    ):
        _, error, _ = watched(parts)
        assert error and error.kind == kind, (kind, error)


def test_what_a_server_says_is_one_line_of_bounded_length():
    kind, text = refused(400, "a\\nbgpmesh: all is well\\r\\u001b[2J \\u00e9" + "x" * 5000)
    assert kind == "request" and "a bgpmesh: all is well [2J x" in text
    assert len(text) < 400 and not [char for char in text if not " " <= char < "\x7f"]
    kind, text = fault(answer(b"<html>\nno\r\n\tetcd"))
    assert kind == "protocol" and "<html> no etcd" in text
