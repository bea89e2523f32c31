import asyncio

from fake_http import CLOSE, HANG, Server, answer, descriptors, run, slowly

from bgpmesh import compat, stream
from bgpmesh.etcd.http import Connection, HttpError

GOOD = answer(b"{}")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Grpc-Trailer-Content-Type\r\n\r\n"


def ask(replies, count=1, timeout=20, limit=1000, greeting=()):
    """What `count` requests to a server with these replies come to, and the server.

    Each comes to (status, body) or an HttpError. A client never costs more than its time, and a failed one
    leaves no descriptor open.
    """
    replies = list(replies)

    async def main():
        server = await Server(lambda request: replies.pop(0), greeting).start()
        connection = Connection("127.0.0.1", server.port, None, limit)
        before = descriptors()
        results = []
        for _ in range(count):
            started = compat.monotonic()
            try:
                results.append(await connection.post("/v3/kv/range", b'{"key":"eA=="}', "A: b\r\n", timeout))
            except HttpError as error:
                results.append(error)
            assert compat.monotonic() - started < timeout + 3
        connection.close()
        deadline = compat.monotonic() + 30
        while server.open and not server.silent and compat.monotonic() < deadline:
            await asyncio.sleep(0.01)
        assert descriptors() <= before + server.open
        server.stop()
        return results, server

    return run(main())


def fault(replies, **options):
    """(kind, text after the server's name) of the error that one request to such a server ends in."""
    [error], server = ask(replies, **options)
    assert isinstance(error, HttpError), error
    name = "127.0.0.1:%d " % server.port
    assert name in str(error)
    return error.kind, str(error).replace(name, "")


def test_a_request_is_http_1_1_with_its_body_and_headers():
    [result], server = ask([GOOD])
    assert result == (200, b"{}")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v3/kv/range HTTP/1.1"
    assert sorted(lines[1:]) == [b"A: b", b"Content-Length: 14", b"Host: 127.0.0.1:%d" % server.port]
    assert body == b'{"key":"eA=="}'


def test_requests_share_one_connection():
    results, server = ask([GOOD] * 3, 3)
    assert results == [(200, b"{}")] * 3
    assert server.connections == 1


def test_the_status_is_returned_with_the_body_of_an_error():
    results, server = ask(
        [answer(b"no", "500 Internal Server Error"), answer(b"", "401 Unauthorized"), GOOD], 3
    )
    assert results == [(500, b"no"), (401, b""), (200, b"{}")]
    assert server.connections == 1


def test_chunks_are_joined_and_trailers_dropped():
    body = b"3\r\nabc\r\n1;name=value\r\nd\r\n0\r\n"
    replies = [
        CHUNKED + body + b"Grpc-Trailer-Content-Type: application/grpc\r\n\r\n",
        CHUNKED + body + b"\r\n",
        GOOD,
    ]
    results, server = ask(replies, 3)
    assert results == [(200, b"abcd"), (200, b"abcd"), (200, b"{}")]
    assert server.connections == 1


def test_an_answer_may_come_byte_by_byte():
    data = CHUNKED + b"A\r\n0123456789\r\n0\r\nA: b\r\n\r\n"
    results, server = ask([slowly(data, 0), slowly(GOOD, 0)], 2)
    assert results == [(200, b"0123456789"), (200, b"{}")]
    assert server.connections == 1


def test_header_names_are_taken_in_any_case_and_blanks_around_values_dropped():
    [result], _ = ask([b"HTTP/1.1 200 OK\r\ncontent-LENGTH:2  \r\n\r\n{}"])
    assert result == (200, b"{}")


def test_an_interim_answer_is_passed_over():
    [result], _ = ask([b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD])
    assert result == (200, b"{}")


def test_an_answer_without_a_body_ends_with_its_headers():
    results, _ = ask([b"HTTP/1.1 204 No Content\r\n\r\n", GOOD], 2)
    assert results == [(204, b""), (200, b"{}")]


def test_a_body_without_a_length_ends_with_the_connection():
    results, server = ask([[b"HTTP/1.1 200 OK\r\n\r\n{", b"}", CLOSE], GOOD], 2)
    assert results == [(200, b"{}"), (200, b"{}")]
    assert server.connections == 2


def test_a_connection_that_the_server_announces_to_close_is_not_used_again():
    closing = answer(b"{}", headers="Connection: Close\r\n")
    results, server = ask([[closing, HANG], GOOD], 2)
    assert results == [(200, b"{}")] * 2
    assert server.connections == 2
    old = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    assert ask([[old, HANG], GOOD], 2)[1].connections == 2


def test_a_kept_connection_that_was_closed_meanwhile_is_opened_again():
    results, server = ask([[GOOD, CLOSE], [GOOD, CLOSE], GOOD], 3)
    assert results == [(200, b"{}")] * 3
    assert server.connections == 3
    assert len(server.requests) == 3


def test_a_kept_connection_that_is_closed_at_a_request_is_opened_again_once():
    results, server = ask([GOOD, [CLOSE], [CLOSE], GOOD], 3)
    assert results[0] == results[2] == (200, b"{}")
    assert results[1].kind == "closed"
    assert len(server.requests) == 4


def test_what_nobody_asked_for_answers_no_request():
    stray = answer(b"stray")
    assert ask([GOOD + stray, answer(b"second")], 2)[0] == [(200, b"{}"), (200, b"second")]

    async def main():
        replies = [[GOOD, 0.05, stray], answer(b"second")]
        server = await Server(lambda _: replies.pop(0)).start()
        connection = Connection("127.0.0.1", server.port)
        try:
            await connection.post("/", b"")
            while connection._stream.is_idle():
                await asyncio.sleep(0.01)
            return await connection.post("/", b"")
        finally:
            connection.close()
            server.stop()

    assert run(main()) == (200, b"second")


def test_a_first_request_is_not_sent_twice():
    kind, text = fault([[CLOSE], GOOD])
    assert (kind, text) == ("closed", "closed the connection without an answer")


def test_a_request_that_was_half_answered_is_not_sent_twice():
    results, server = ask([GOOD, [b"HTTP/1.1 200", CLOSE], GOOD], 2)
    assert results[1].kind == "closed"
    assert len(server.requests) == 2


def test_half_an_answer():
    for data in (
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        CHUNKED,
        CHUNKED + b"3",
        CHUNKED + b"3\r\nab",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\nA: b\r\n",
    ):
        assert fault([[data, CLOSE]]) == ("closed", "closed the connection in the middle of an answer"), data


def test_half_an_answer_and_then_silence():
    for data in (b"H", GOOD[:-1], CHUNKED + b"3\r\nabc\r\n0\r\n"):
        assert fault([[data, HANG]], timeout=0.6) == (
            "timeout",
            "sent only a part of an answer within 0.6 s",
        ), data


def test_no_answer():
    assert fault([[HANG]], timeout=0.2) == ("timeout", "did not answer within 0.2 s")


def test_a_server_that_sends_a_byte_now_and_then_gets_no_more_time_than_any_other():
    assert fault([slowly(answer(b"x" * 900), 0.05)], timeout=0.4)[0] == "timeout"
    assert fault([slowly(CHUNKED + b"1\r\nx\r\n" * 100, 0.05)], timeout=0.4)[0] == "timeout"


def test_something_else_than_http():
    kind, text = fault([], greeting=[b"SSH-2.0-OpenSSH_9.2p1\r\n", HANG])
    assert (kind, text) == (
        "protocol",
        "answered with something that is not HTTP: b'SSH-2.0-OpenSSH_9.2p1\\r\\n'",
    )
    for data in (
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"{}",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 2xx OK\r\n\r\n",
        b"HTTP/1.1 -20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        CHUNKED + b"x\r\nabc\r\n",
        CHUNKED + b"-1\r\nabc\r\n",
        CHUNKED + b"1\r\nabc\r\n",
        CHUNKED + b"1\r\nabc0\r\n\r\n",
        CHUNKED + b"\xff\r\nabc\r\n",
        CHUNKED + b"1" * 5000,
    ):
        assert fault([[data, HANG]])[0] == "protocol", data


def test_garbage_is_shown_in_part_only():
    assert len(fault([[b"\xff" * 5000, HANG]])[1]) < 250


def test_a_body_has_as_many_bytes_as_are_allowed():
    assert ask([answer(b"x" * 1000)], limit=1000)[0] == [(200, b"x" * 1000)]
    assert ask([CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"], limit=1000)[0] == [(200, b"x" * 1000)]


def test_a_larger_body_is_refused():
    text = "answered with more than 1000 bytes"
    assert fault([answer(b"x" * 1001)]) == ("limit", text)
    assert fault([answer(b"")[:-5] + b"9" * 30 + b"\r\n\r\n"]) == ("limit", text)
    assert fault([CHUNKED + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n0\r\n\r\n"]) == ("limit", text)
    assert fault([CHUNKED + b"ffffffffffffffffffff\r\n"]) == ("limit", text)
    assert fault([[b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, HANG]]) == ("limit", text)


def test_an_error_that_is_larger_is_no_answer_of_which_a_part_could_be_asked_for():
    text = "answered with more than 1000 bytes (status 404)"
    assert fault([answer(b"x" * 1001, "404 Not Found")]) == ("protocol", text)
    head = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert fault([head + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"]) == ("protocol", text)


def test_headers_and_trailers_without_end_are_refused():
    many = b"A: b\r\n" * 3000
    assert fault([[b"HTTP/1.1 200 OK\r\n" + many, HANG]]) == (
        "limit",
        "answered with more than 16384 bytes of headers",
    )
    assert fault([[CHUNKED + b"0\r\n" + many, HANG]]) == (
        "limit",
        "answered with more than 16384 bytes of trailers",
    )


def test_a_request_may_be_cancelled():
    replies = [[HANG], GOOD]

    async def main():
        server = await Server(lambda request: replies.pop(0)).start()
        connection = Connection("127.0.0.1", server.port)
        before = descriptors()
        try:
            await asyncio.wait_for(connection.post("/", b""), 0.1)
            raise AssertionError
        except asyncio.TimeoutError:
            pass
        await asyncio.sleep(0.05)
        assert descriptors() <= before + 1  # the server's end
        assert await connection.post("/", b"") == (200, b"{}")
        connection.close()
        server.stop()

    run(main())


def test_nobody_listens():
    async def main():
        server = await Server(None).start()
        server.stop()
        await asyncio.sleep(0.05)
        before = descriptors()
        connection = Connection("127.0.0.1", server.port)
        for _ in range(3):
            try:
                await connection.post("/", b"")
            except HttpError as error:
                assert error.kind == "refused"
                assert str(error) == "127.0.0.1:%d refused the connection" % server.port
            else:
                raise AssertionError
        assert descriptors() == before

    run(main())


def test_why_a_server_cannot_be_reached_is_said_in_words():
    async def cut_off(*_):
        raise OSError(101)

    async def main():
        before, stream.open_tcp = stream.open_tcp, cut_off
        try:
            await Connection("192.0.2.1", 2379).get("/")
        except HttpError as error:
            return error.kind, str(error)
        finally:
            stream.open_tcp = before

    kind, text = run(main())
    assert kind == "unreachable" and text.startswith("192.0.2.1:2379 cannot be reached: Network "), text


def test_a_host_that_does_not_exist():
    async def main():
        before = descriptors()
        try:
            await Connection("host.invalid", 2379).post("/", b"", timeout=60)
        except HttpError as error:
            assert error.kind == "unreachable"
            assert str(error).startswith("host.invalid:2379 cannot be reached: ")
        else:
            raise AssertionError
        assert descriptors() <= before + 2  # of CPython's thread for names

    run(main())


def test_a_name_with_an_ipv6_address_has_brackets():
    assert Connection("2001:db8::1", 2379).name == "[2001:db8::1]:2379"
