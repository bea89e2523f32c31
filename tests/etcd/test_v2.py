"""What is peculiar to the v2 API: on a real etcd, and on servers that are none."""

import asyncio
import gzip
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bgpmesh import config
from bgpmesh.etcd import EtcdError, other, python_etcd, v2

SRC = Path(__file__).resolve().parents[2] / "src"
GOOD = b"HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 1\r\nX-Etcd-Index: 5\r\nContent-Length: %d\r\n\r\n%s"


@pytest.fixture
def api(apis):
    return apis["v2"]


async def failure(coroutine):
    """The EtcdError in which it ends."""
    try:
        found = await coroutine
    except EtcdError as error:
        return error
    raise AssertionError(f"no error but {found!r}")


def on(server, api, steps, **options):
    """What `await steps(view)` returns, with a view of the server."""

    async def main():
        view = api.registry(server, **options)
        try:
            return await steps(view)
        finally:
            view.close()

    return asyncio.run(main())


def test_a_record_that_is_put_again_keeps_its_seniority(api, server):
    async def steps(view):
        await view.put_record("one")
        await view.poll()
        created = view.members["alfa"].created
        await view.put_record("two")
        await view.poll()
        assert (view.members["alfa"].text, view.members["alfa"].created) == ("two", created)
        assert view.members["alfa"].modified > created
        first = view.members["alfa"]
        await view.poll()
        assert view.members["alfa"] is first

    on(server, api, steps)


def test_a_refresh_wakes_no_watchers_and_keeps_the_key_for_its_ttl(api, server):
    async def steps(view):
        assert await view.keep_alive() is True
        index = view._shown + 1
        woken = []

        def watch():
            try:
                path = f"/keys/mesh/alive?wait=true&recursive=true&waitIndex={index}"
                answer = api.ask(server, "GET", path, timeout=5)  # the key's last refresh outlives that
                woken.append(answer["action"])
            except OSError:
                woken.append("nothing")

        watcher = threading.Thread(target=watch)
        watcher.start()
        for _ in range(8):  # in all longer than the TTL
            await asyncio.sleep(0.5)
            await view.poll()
            assert view.alive == {"alfa"}
            assert await view.keep_alive() is False
        await asyncio.to_thread(watcher.join)
        assert woken == ["nothing"]
        assert view.generation == 0

    on(server, api, steps, ttl=3)


def test_who_removes_the_sign_of_life_ends_the_lease(api, server):
    async def steps(view):
        await view.keep_alive()
        await view.poll()
        api.delete(server, "/mesh/alive/alfa")
        await view.poll()
        assert view.alive == set()
        assert await view.keep_alive() is True
        assert view.generation == 1
        await view.poll()
        assert view.alive == {"alfa"}
        # Without a poll between, the refresh finds out.
        api.delete(server, "/mesh/alive/alfa")
        view._renewed -= 30
        assert await view.keep_alive() is True
        assert view.generation == 2

    on(server, api, steps)


def test_a_claim_on_which_nobodys_name_is_can_be_taken_over(api, server):
    api.put(server, "/mesh/claims/10.0.0.1", "")
    api.put(server, "/mesh/claims/10.0.0.2", "ä b")

    async def steps(view):
        await view.poll()
        assert view.claims == {"10.0.0.1": "", "10.0.0.2": "\\xc3\\xa4\\x20b"}
        for address in sorted(view.claims):
            assert await view.claim(address) == view.claims[address]
            assert await view.steal(address, "another") is False
            assert await view.steal(address, view.claims[address]) is True
        assert await view.steal("10.0.0.3", "") is False
        await view.poll()
        assert view.claims == {"10.0.0.1": "alfa", "10.0.0.2": "alfa"}

    on(server, api, steps)


def test_a_claim_is_given_up_by_its_owner_only(api, server):
    api.put(server, "/mesh/claims/10.0.0.1", "beta")

    async def steps(view):
        await view.release("10.0.0.1")
        await view.release("10.0.0.2")
        await view.poll()
        assert view.claims == {"10.0.0.1": "beta"}

    on(server, api, steps)


def test_directories_and_what_is_no_record_do_no_harm(api, server):
    api.put(server, "/mesh/peers/n1", "record")
    api.put(server, "/mesh/peers/deep" + "/a" * 900, "x")
    api.put(server, "/mesh/claims/10.0.0.1/below", "x")
    api.put(server, "/mesh/peers/raw", b"\xff\xfe")
    api.put(server, "/mesh/peers/x y", "odd")

    async def steps(view):
        await view.poll()
        assert sorted(view.members) == ["n1", "raw", "x\\x20y"]
        assert view.members["n1"].text == "record"
        assert view.claims == {}
        assert await view.claim("10.0.0.1") == ""  # a directory: nobody's, and not to be had
        api.put(server, "/mesh/peers/alfa/below", "x")
        error = await failure(view.put_record("mine"))
        assert error.kind == "request" and "/mesh/peers/alfa" in str(error) and "Not a file" in str(error)

    on(server, api, steps)


def test_a_prefix_may_have_any_characters(api, server):
    prefix = "/a?b#c%41&d=e+_~/_x"

    async def steps(view):
        await view.keep_alive()
        await view.put_record("mine")
        await view.claim("10.0.0.1")
        await view.poll()
        assert (list(view.members), view.alive, view.claims) == (["alfa"], {"alfa"}, {"10.0.0.1": "alfa"})

    on(server, api, steps, prefix=prefix)
    found = api.ask(server, "GET", "/keys/a%3Fb%23c%2541%26d%3De%2B_~/_x/peers")
    assert found["node"]["nodes"][0]["key"] == prefix + "/peers/alfa"


def test_a_store_put_back_from_a_copy(api, server, tmp_path):
    async def steps(view):
        for number in range(3):
            api.put(server, f"/mesh/peers/n{number}", "old")
        server.stop()
        shutil.copytree(server.data, tmp_path / "copy")
        server.start()
        await view.poll()
        api.put(server, "/mesh/peers/n1", "new")
        api.put(server, "/mesh/peers/n3", "new")
        api.delete(server, "/mesh/peers/n2")
        await view.keep_alive()
        await view.poll()
        assert sorted(view.members) == ["n0", "n1", "n3"]
        server.stop()
        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "copy", server.data)
        server.start()
        assert await view.poll() is True
        assert {node: entry.text for node, entry in view.members.items()} == dict.fromkeys(["n0", "n1", "n2"], "old")
        assert (view.generation, view.alive) == (1, set())
        assert await view.keep_alive() is True
        assert view.generation == 1
        assert await view.poll() is True and await view.poll() is False

    on(server, api, steps)


def test_a_store_put_back_that_has_grown_past_what_was_seen(api, server, tmp_path):
    async def steps(view):
        api.put(server, "/mesh/peers/n1", "old")
        server.stop()
        shutil.copytree(server.data, tmp_path / "copy")
        server.start()
        api.put(server, "/mesh/peers/n1", "new")
        await view.poll()
        server.stop()
        shutil.rmtree(server.data)
        shutil.copytree(tmp_path / "copy", server.data)
        server.start()
        for number in range(30):
            api.put(server, "/elsewhere", str(number))
        assert await view.poll() is True
        assert (view.members["n1"].text, view.generation) == ("old", 1)

    on(server, api, steps)


def test_a_wiped_store_in_which_a_key_has_the_index_it_had_before(api, server):
    async def steps(view):
        before = api.put(server, "/mesh/peers/n1", "old")["modifiedIndex"]
        api.put(server, "/mesh/peers/n2", "old")
        await view.poll()
        server.stop()
        shutil.rmtree(server.data)
        server.start()
        assert api.put(server, "/mesh/peers/n1", "new")["modifiedIndex"] == before
        assert await view.poll() is True
        assert {node: entry.text for node, entry in view.members.items()} == {"n1": "new"}
        assert view.generation == 1

    on(server, api, steps)


def test_etcd_without_the_v2_api_is_told_apart_from_an_empty_one(api, make_server):
    server = make_server()
    server.extra.remove("--enable-v2")
    server.start()

    async def steps(view):
        for ask in (view.poll, view.keep_alive, lambda: view.put_record("x"), lambda: view.claim("10.0.0.1")):
            error = await failure(ask())
            assert error.kind == "protocol"
            assert "--enable-v2" in str(error) and "'etcd_api' v3" in str(error)

    on(server, api, steps)


def test_the_loop_runs_on_while_a_server_says_nothing(api, server):
    async def steps(view):
        await view.poll()
        server.pause()
        beats = 0

        async def beat():
            nonlocal beats
            while True:
                await asyncio.sleep(0.01)
                beats += 1

        beating = asyncio.create_task(beat())
        error = await failure(view.poll())
        beating.cancel()
        assert error.kind == "timeout" and "did not answer" in str(error)
        assert beats > 50
        # Nobody waits at the end, either.
        asyncio.create_task(view.poll())
        await asyncio.sleep(0.1)
        return time.monotonic()

    ended = on(server, api, steps, timeout=2)
    assert time.monotonic() - ended < 1.2


def test_one_connection_serves_all_requests(api, server):
    def established():
        with open("/proc/net/tcp") as file:
            rows = [line.split() for line in file.readlines()[1:]]
        return len([row for row in rows if row[2].endswith(f":{server.port:04X}") and row[3] == "01"])

    async def steps(view):
        before = established()  # etcd's gateway has one to etcd
        for _ in range(5):
            await view.poll()
            await view.put_record("x" * 5000)
            await view.claim("10.0.0.1")
        assert established() == before + 1
        view.close()
        assert established() == before
        await view.poll()

    on(server, api, steps)


def test_each_api_counts_the_others_members(apis, server):
    for number in range(3):
        apis["v2"].put(server, f"/mesh/peers/n{number}", "record")
    apis["v2"].put(server, "/mesh/peers/below/n", "record")
    apis["v3"].put(server, "/mesh/peers/n1", "record")
    apis["v3"].put(server, "/mesh/peersx/n2", "record")

    def count(api):
        text = f"config mesh 'main'\noption etcd '{server.url}'\noption etcd_api {api}\noption etcd_prefix /mesh\n"
        options = config.load(text, "alfa")
        return asyncio.run(other.count_members(options, options.etcd[0]))

    assert count("v3") == ("v2", 3)
    assert count("v2") == ("v3", 1)
    for api in apis.values():
        api.enable_authentication(server)
    assert (count("v3"), count("v2")) == (("v2", 0), ("v3", 0))


def test_what_to_install_is_said_where_python_etcd_is_missing():
    script = """
from bgpmesh import config, etcd
try:
    etcd.check_api(config.load("config mesh 'main'\\noption etcd 192.0.2.1\\noption etcd_api v2", "r1"))
except config.ConfigError as error:
    print(error)
"""
    # -S: without the folder where python-etcd is.
    environment = {"PYTHONPATH": str(SRC)}
    said = subprocess.run([sys.executable, "-S", "-c", script], env=environment, capture_output=True, text=True)
    assert "option 'etcd_api' is 'v2'" in said.stdout, said
    assert "bgpmesh-python3" in said.stdout and "python3-etcd" in said.stdout and "No module named" in said.stdout


# -- servers that are no etcd


class Impostor:
    """Listens on a loopback port, and calls serve(client) for each connection in a thread."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.serve = serve
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.each, args=(client,), daemon=True).start()

    def each(self, client):
        try:
            while client.recv(65536) and self.serve(client) is not False:
                pass
        except OSError:
            pass
        finally:
            client.close()


def poll_of(serve, **options):
    """The EtcdError of a poll of an impostor."""
    server = Impostor(serve)

    async def main():
        view = v2.Registry(python_etcd.Client([server.url], **options), "/mesh", "alfa", 30)
        try:
            return await failure(view.poll())
        finally:
            view.close()
            server.listener.close()

    return asyncio.run(main())


def says(data, stay=True):
    def serve(client):
        client.sendall(data)
        return stay

    return serve


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[]", b"1", b"null", b'"x"', b"{", b"<html>", b'{"node":null}', b'{"node":{"dir":true,"nodes":[1]}}',
    b'{"node":{"dir":true,"nodes":[{"key":"/mesh/peers/x"}]}}', b'{"node":{"dir":true,"nodes":7}}',
    b'{"node":{"dir":true,"nodes":[{"key":"/mesh/peers/x","value":7,"createdIndex":1,"modifiedIndex":1}]}}',
    b'{"node":{"dir":true,"nodes":[{"key":7,"value":"x","createdIndex":1,"modifiedIndex":1}]}}', b"[" * 100_000,
    b'{"node":{"dir":true,"nodes":' * 2000, b"\xff",
])  # fmt: skip
def test_an_answer_that_is_not_etcds(body):
    error = poll_of(says(GOOD % (len(body), body)))
    assert (error.kind, "not like etcd" in str(error)) == ("protocol", True)


def test_an_answer_without_the_headers_of_etcd():
    body = b'{"action":"get","node":{"key":"/mesh/peers","dir":true}}'
    error = poll_of(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)))
    assert error.kind == "protocol"
    large = GOOD.replace(b"Index: 5", b"Index: 9223372036854775808") % (len(body), body)
    assert poll_of(says(large)).kind == "protocol"


@pytest.mark.parametrize("index", [b"null", b'"x"', b"[]", b"1e999"])
def test_a_sign_of_life_of_which_it_is_not_said_when_it_was_put(index):
    body = b'{"action":"set","node":{"key":"/mesh/alive/alfa","value":"","modifiedIndex":%s,"createdIndex":1}}' % index
    server = Impostor(says(GOOD % (len(body), body)))

    async def main():
        view = v2.Registry(python_etcd.Client([server.url]), "/mesh", "alfa", 30)
        try:
            assert (await failure(view.keep_alive())).kind == "protocol"
            return (await failure(view.keep_alive())).kind
        finally:
            view.close()
            server.listener.close()

    assert asyncio.run(main()) == "protocol"


@pytest.mark.parametrize("kind, data, words", [
    ("protocol", b"SSH-2.0-OpenSSH_9.2p1\r\n", "not HTTP"),
    ("protocol", b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n<h1>works", "does not speak the v2 API"),
    ("protocol", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "status 302"),
    ("server", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nhalt", "status 502, halt"),
    ("closed", b"", "without an answer"),
    ("closed", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{", "in the middle of an answer"),
    ("tls", b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n", "write https://"),
])  # fmt: skip
def test_what_else_answers_is_named(kind, data, words):
    error = poll_of(says(data, False))
    assert (error.kind, words in str(error)) == (kind, True), str(error)
    assert "127.0.0.1:" in str(error)


def test_an_answer_is_read_no_further_than_the_limit():
    sent = []

    def flood(client):
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1000):
            client.sendall(b"x" * 65536)
            sent.append(65536)
        return False

    error = poll_of(flood, limit=1 << 20)
    assert error.kind == "limit" and "/mesh/peers/" in str(error)
    assert sum(sent) < 32 << 20  # of 64; what the kernel holds for a reader that is slow is sent, too


def test_a_compressed_answer_is_not_taken_to_pieces():
    body = gzip.compress(b'{"x":"' + b"y" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert poll_of(says(head + body)).kind == "protocol"


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["head", "body"])
def test_a_server_that_answers_drop_by_drop_costs_one_call_and_one_thread(begin):
    ended = threading.Event()

    def trickle(client):
        client.sendall(begin)
        while not ended.wait(0.1):
            client.sendall(b"x")
        return False

    server = Impostor(trickle)

    async def main():
        view = v2.Registry(python_etcd.Client([server.url], timeout=0.5), "/mesh", "alfa", 30)
        before = threading.active_count()
        for _ in range(5):
            started = time.monotonic()
            error = await failure(view.poll())
            assert error.kind == "timeout"
            assert time.monotonic() - started < 3
        assert "too long" in str(error)
        ours = [thread for thread in threading.enumerate() if thread.daemon and "ask" in thread.name]
        assert len(ours) == 1, (ours, before)
        ended.set()
        deadline = time.monotonic() + 60
        while "too long" in str(await failure(view.poll())):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        view.close()

    try:
        asyncio.run(main())
    finally:
        ended.set()
        server.listener.close()


def test_nobody_at_the_address_and_no_such_name():
    async def main(url):
        view = v2.Registry(python_etcd.Client([url], timeout=60), "/mesh", "alfa", 30)
        return await failure(view.poll())

    refused = asyncio.run(main("http://127.0.0.1:1"))
    assert (refused.kind, str(refused)) == ("refused", "127.0.0.1:1 refused the connection")
    unknown = asyncio.run(main("http://nowhere.invalid:2379"))
    assert unknown.kind == "unreachable" and "nowhere.invalid:2379 cannot be reached" in str(unknown)
    assert asyncio.run(main("http://[::1]:1")).kind in ("refused", "unreachable")


def test_a_user_of_any_letters_is_sent_as_utf_8(api, server):
    endpoint = python_etcd.Endpoint(server.url, "ä", "ö:€", None, 1000)
    assert endpoint._headers == {"Authorization": "Basic w6Q6w7Y64oKs"}


class Tables:
    """A client of a store that is no more than its tables: keys by name, as (value, createdIndex, modifiedIndex)."""

    def __init__(self):
        self.tables = [{}, {}, {}]
        self.index = 10

    def put(self, table, name, value):
        self.index += 1
        self.tables[table][name] = value, self.index, self.index

    async def call(self, *_):
        return [("1", self.index, 2, [(name, *keys[name]) for name in sorted(keys)]) for keys in self.tables]


def test_strangers_that_went_are_counted_no_more():
    store = Tables()
    view = v2.Registry(store, "/mesh", "alfa", 30)
    view.judge = lambda name, entry: entry.text == "record"

    async def steps():
        store.put(0, "n1", b"record")
        await view.poll()
        for number in range(70):
            store.put(0, "x%d" % number, b"junk")
            store.put(2, "10.0.1.%d" % number, b"x%d" % number)
        assert await view.poll() is True
        assert await view.poll() is False
        assert view.passed_over == 6 and view.crowded
        store.tables = [{"n1": store.tables[0]["n1"]}, {}, {}]
        assert await view.poll() is True
        assert await view.poll() is False
        assert view.passed_over == 0 and not view.crowded
        # Who claims an address before it is a member, one after the other.
        for number in range(70):
            store.put(2, "10.0.2.1", b"new%d" % number)
            await view.poll()
            store.tables[2].clear()
            await view.poll()
        store.put(2, "10.0.2.1", b"last")
        await view.poll()
        assert view.claims == {"10.0.2.1": "last"}

    asyncio.run(steps())
