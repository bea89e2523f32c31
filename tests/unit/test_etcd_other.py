from fake_etcd import Etcd
from fake_http import CLOSE, Server, answer, run

from bgpmesh import check, compat, config, etcd
from bgpmesh.etcd import other
from bgpmesh.model import TAKE

OLD = b'{"action":"get","node":{"key":"/t/peers","dir":true,"nodes":[%s]}}'
NODE = b'{"key":"/t/peers/n%d","value":"x","modifiedIndex":4,"createdIndex":4}'


def options(api, port, *more):
    lines = ["config mesh 'main'", "option etcd 'http://127.0.0.1:%d'" % port, "option etcd_prefix '/t'"]
    lines += ["option etcd_api '%s'" % api] + list(more)
    return config.load("\n".join(lines), "alfa")


def count(api, respond, *more):
    """What count_members gives with this API in the options, and the requests that came."""

    async def main():
        server = await Server(respond).start()
        found = options(api, server.port, *more)
        try:
            return await other.count_members(found, found.etcd[0]), server.requests
        finally:
            server.stop()

    return run(main())


def test_members_of_v2_are_counted_without_python_etcd():
    nodes = [NODE % number for number in range(3)] + [b'{"key":"/t/peers/below","dir":true}']
    found, requests = count("v3", lambda _: answer(OLD % b",".join(nodes)))
    assert found == ("v2", 3)
    lines = requests[0].split(b"\r\n")
    assert lines[0] == b"GET /v2/keys/t/peers HTTP/1.1"
    assert len(requests) == 1 and not [line for line in lines if line.startswith(b"Authorization")]


def test_a_user_is_sent_along():
    found, requests = count("v3", lambda _: answer(OLD % b""), "option etcd_user 'me'", "option etcd_password 'pw'")
    assert found == ("v2", 0)
    assert b"\r\nAuthorization: Basic bWU6cHc=\r\n" in requests[0]


def test_a_prefix_is_quoted():
    _, requests = count("v3", lambda _: answer(OLD % b""), "option etcd_prefix '/a?b%c'")
    assert requests[0].startswith(b"GET /v2/keys/a%3Fb%25c/peers HTTP/1.1\r\n")


def test_members_of_v3_are_counted():
    store = Etcd()
    for number in range(4):
        store.put("/t/peers/n%d" % number, "record")
    store.put("/t/peersx", "no member")
    found, requests = count("v2", store.respond)
    assert found == ("v3", 4)
    assert len(requests) == 1


def test_an_api_that_is_not_there_or_says_no_counts_nobody():
    refused = b'{"errorCode":110,"message":"The request requires user authentication","index":0}'
    for reply in (
        answer(b"404 page not found\n", "404 Not Found"),
        answer(b'{"errorCode":100,"message":"Key not found","cause":"/t","index":3}', "404 Not Found"),
        answer(refused, "401 Unauthorized"),
        answer(b"<html>"),
        answer(b"[]"),
        answer(b'{"node":7}'),
        answer(b'{"node":{"nodes":7}}'),
        answer(b'{"node":{"nodes":[7]}}'),
        answer(b"[" * 20000),
        answer(b'{"header":{},"count":1e999}'),
        b"SSH-2.0\r\n",
        [CLOSE],
    ):
        assert count("v3", lambda _, reply=reply: reply)[0] == ("v2", 0), reply
        assert count("v2", lambda _, reply=reply: reply)[0] == ("v3", 0), reply


def test_more_than_an_answer_may_have_is_many():
    nodes = b",".join([NODE % number for number in range(5000)])
    assert count("v3", lambda _: answer(OLD % nodes))[0] == ("v2", other.MANY)


def looked_at(nodes, others):
    """What check says of an etcd with these members under v3, and so many under v2; and the remedy, if bad."""
    store = Etcd()
    for node in nodes:
        store.put("/t/peers/" + node, "record")

    def respond(request):
        if request.startswith(b"GET"):
            return answer(OLD % b",".join([NODE % number for number in range(others)]))
        return store.respond(request)

    async def main():
        server = await Server(respond).start()
        try:
            return await check.registry(options("v3", server.port)), None
        except check.Bad as error:
            return str(error), error.remedy
        finally:
            server.stop()

    return run(main())


def test_check_says_where_the_others_are():
    for nodes in ((), ("alfa",)):
        text, remedy = looked_at(nodes, 5)
        assert "no other members under its v3 API" in text and "but under v2: 5" in text
        assert "uci set bgpmesh.main.etcd_api='v2'; " + TAKE in remedy
    text, remedy = looked_at(("alfa", "beta"), 5)
    assert remedy is None
    assert text.endswith(" has 2 members, 0 alive (under its v2 API, which this mesh does not speak: 5)")
    text, remedy = looked_at(("alfa",), 0)
    assert remedy is None and text.endswith(" has 1 members, 0 alive")


def test_v2_is_a_configuration_error_where_python_etcd_is_not():
    found = options("v2", 2379)
    try:
        import etcd as library

        there = hasattr(library, "Client")
    except ImportError:
        there = False
    assert there == (compat.RUNTIME == "python3")
    try:
        etcd.check_api(found)
        assert there
    except config.ConfigError as error:
        assert not there
        for word in ("option 'etcd_api' is 'v2'", "bgpmesh-python3", "python3-etcd", "v3 would be right"):
            assert word in str(error), error
    etcd.check_api(options("v3", 2379))


def test_v2_hides_names_that_begin_with_an_underscore():
    try:
        etcd.check_api(options("v2", 2379, "option node '_r1'"))
        raise AssertionError("no error")
    except config.ConfigError as error:
        assert "option 'node' is '_r1'" in str(error) and "hides" in str(error)
    etcd.check_api(options("v3", 2379, "option node '_r1'"))
