"""The registry on real etcd servers."""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bgpmesh.etcd import EtcdError, role

ROOT = Path(__file__).resolve().parents[2]
MICROPYTHON = os.environ.get("MICROPYTHON") or "micropython"


def b64(text):
    return base64.b64encode(text.encode()).decode()


async def failure(coroutine):
    """The EtcdError in which it ends."""
    try:
        found = await coroutine
    except EtcdError as error:
        return error
    raise AssertionError(f"no error but {found!r}")


async def until(condition, what, seconds=60):
    """Waits until `await condition()` is true."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def at_last(operation, what):
    """What `await operation()` returns, once it ends in no error."""
    found = []

    async def tried():
        try:
            found.append(await operation())
        except EtcdError:
            return False
        return True

    await until(tried, what)
    return found[0]


def output(program, script, options):
    """What a script of this folder prints, run by this interpreter and given the options as JSON."""
    environment = dict(os.environ, MICROPYPATH=f"{ROOT}/src:.frozen", PYTHONPATH=f"{ROOT}/src")
    run = subprocess.run(
        [program, str(Path(__file__).with_name(script))],
        env=environment,
        input=json.dumps(options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


def session(runtime, script="session.py", **options):
    """Runs a script with this runtime's interpreter and API, and these arguments of the client."""
    assert output(runtime[0], script, {"api": runtime[1], **options}) == "done\n"


def takes_pem(program):
    """Whether TLS on this interpreter reads PEM files; MicroPython's own copy of mbedtls does not."""
    script = "import tls;tls.SSLContext(tls.PROTOCOL_TLS_CLIENT).load_verify_locations(open(%r,'rb').read())"
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    return program == sys.executable or not subprocess.run([program, "-c", script % bundle]).returncode


RUNTIMES = pytest.mark.parametrize(
    "runtime",
    [(sys.executable, "v3"), (MICROPYTHON, "v3"), (sys.executable, "v2")],
    ids=["python3", "micropython", "python3-v2"],
)


def test_what_polls_rest_on_holds_in_a_transaction(apis, server):
    for number in range(5):
        apis["v3"].put(server, f"/mesh/peers/n{number}", "record")
    revision = int(server.post("/v3/kv/range", {"key": "eA=="})["header"]["revision"])
    apis["v3"].put(server, "/mesh/peers/n1", "another")
    apis["v3"].delete(server, "/mesh/peers/n4")
    span = {"key": b64("/mesh/peers/"), "range_end": b64("/mesh/peers0"), "min_mod_revision": revision + 1}
    answer = server.post(
        "/v3/kv/txn", {"success": [{"request_range": span}, {"request_range": dict(span, limit=1)}]}
    )
    for part in answer["responses"]:
        found = part["response_range"]
        assert found["count"] == "4"  # of all keys, whatever the revision
        assert [base64.b64decode(item["key"]) for item in found["kvs"]] == [b"/mesh/peers/n1"]
        assert "more" not in found
    span["min_mod_revision"] = revision - 1
    answer = server.post("/v3/kv/txn", {"success": [{"request_range": dict(span, limit=1)}]})
    found = answer["responses"][0]["response_range"]
    assert (found["count"], found["more"], len(found["kvs"])) == ("4", True, 1)


@RUNTIMES
def test_a_life(server, runtime):
    session(runtime, endpoints=["http://127.0.0.1:1", server.url])


def test_news_of_every_kind(api, server):
    async def main():
        view = api.registry(server)
        await view.poll()
        for number in range(50):
            api.put(server, f"/mesh/peers/n{number}", f"record {number}")
            api.put(server, f"/mesh/alive/n{number}")
            api.put(server, f"/mesh/claims/10.0.0.{number}", f"n{number}")
        api.put(server, "/meshes/peers/other", "of another mesh")
        assert await view.poll() is True
        assert len(view.members) == len(view.alive) == len(view.claims) == 50
        assert view.members["n49"].text == "record 49"
        assert await view.poll() is False
        api.delete(server, "/mesh/peers/n1")
        api.put(server, "/mesh/peers/new", "new")
        api.put(server, "/mesh/peers/n2", "another")
        api.delete(server, "/mesh/alive/n3")
        api.put(server, "/mesh/claims/10.0.0.4", "n5")
        assert await view.poll() is True
        assert "n1" not in view.members and len(view.members) == 50
        assert (view.members["new"].text, view.members["n2"].text) == ("new", "another")
        assert "n3" not in view.alive and len(view.alive) == 49
        assert view.claims["10.0.0.4"] == "n5"
        assert await view.poll() is False
        api.put(server, "/mesh/peers/long", "x" * 1_000_000)
        assert await view.poll() is True
        assert view.members["long"].text is None
        assert await view.poll() is False
        assert view.generation == 0
        view.close()

    asyncio.run(main())


def test_statements_are_read_where_they_are_asked_for(api, server):
    async def main():
        view, bare = api.registry(server, signed=True), api.registry(server)
        assert await view.poll() is False
        await view.put_statement("bravo", "approve\nsignature\n")
        assert await view.poll() is True and await bare.poll() is False
        assert view.statements["bravo"].text == "approve\nsignature\n" and bare.statements == {}
        assert view.members == {} and await view.poll() is False
        # Put back only where nobody has said anything else meanwhile.
        seen = view.statements["bravo"].modified
        await view.put_statement("bravo", "revoke")
        await view.restore_statement("bravo", "earlier", seen)
        await view.restore_statement("bravo", "earlier", 0)
        assert await view.poll() is True and view.statements["bravo"].text == "revoke"
        await view.restore_statement("bravo", "later", view.statements["bravo"].modified)
        assert await view.poll() is True and view.statements["bravo"].text == "later"
        api.delete(server, "/mesh/trust/bravo")
        assert await view.poll() is True and view.statements == {}
        await view.restore_statement("bravo", "again", 0)
        api.put(server, "/mesh/trust/long", "x" * 1_000_000)
        assert await view.poll() is True
        assert view.statements["bravo"].text == "again" and view.statements["long"].text is None
        assert await view.poll() is False and view.generation == 0
        for one in (view, bare):
            one.close()

    asyncio.run(main())


def test_one_of_many_gets_an_address(api, server):
    async def main():
        views = [api.registry(server, f"n{number}") for number in range(8)]
        for number in range(20):
            address = f"10.0.0.{number}"
            owners = await asyncio.gather(*[view.claim(address) for view in views])
            assert len(set(owners)) == 1 and owners[0] in [f"n{n}" for n in range(8)]
            thieves = [view for number, view in enumerate(views) if owners[0] != f"n{number}"]
            stolen = await asyncio.gather(*[view.steal(address, owners[0]) for view in thieves])
            assert sum(stolen) == 1
            await views[0].poll()
            assert views[0].claims[address] == thieves[stolen.index(True)]._node
        for view in views:
            view.close()

    asyncio.run(main())


def test_compaction_and_defragmentation_between_polls(apis, server):
    async def main():
        view = apis["v3"].registry(server)
        apis["v3"].put(server, "/mesh/peers/n1", "record")
        await view.poll()
        for number in range(20):
            apis["v3"].put(server, "/mesh/peers/n1", f"record {number}")
        apis["v3"].delete(server, "/mesh/peers/n1")
        apis["v3"].put(server, "/mesh/peers/n2", "record")
        last = server.post("/v3/kv/range", {"key": "eA=="})["header"]["revision"]
        server.ctl("compact", last)
        server.ctl("defrag")
        assert await view.poll() is True
        assert (list(view.members), view.generation) == (["n2"], 0)
        view.close()

    asyncio.run(main())


def test_a_restart_between_polls_goes_unnoticed(api, server):
    async def main():
        view = api.registry(server)
        api.put(server, "/mesh/peers/n1", "record")
        await view.poll()
        await view.keep_alive()
        server.stop()
        assert (await failure(view.poll())).kind == "refused"
        server.start()
        assert await view.poll() is True  # its own sign of life
        server.stop()
        server.start()
        assert await view.poll() is False
        assert (view.failures, view.generation, list(view.members)) == (0, 0, ["n1"])
        assert await view.keep_alive() is False
        view.close()

    asyncio.run(main())


def test_a_wiped_store(api, server):
    async def main():
        view = api.registry(server, ttl=2)
        for number in range(5):
            api.put(server, f"/mesh/peers/n{number}", "record")
        await view.keep_alive()
        await view.poll()
        server.stop()
        shutil.rmtree(server.data)
        server.start()
        assert await view.poll() is True
        assert (view.members, view.alive, view.claims) == ({}, set(), {})
        assert view.generation == 1
        await view.keep_alive()
        await view.put_record("mine")
        await view.poll()
        assert (view.members["alfa"].text, view.alive) == ("mine", {"alfa"})
        view.close()

    asyncio.run(main())


def test_a_wiped_store_that_has_grown_past_the_last_revision(api, server):
    async def main():
        view = api.registry(server, ttl=2)
        api.put(server, "/mesh/peers/n1", "record")
        api.put(server, "/mesh/peers/n2", "record")
        await view.keep_alive()
        await view.poll()
        server.stop()
        shutil.rmtree(server.data)
        server.start()
        api.put(server, "/mesh/peers/n3", "others were here first")
        for number in range(20):
            api.put(server, "/elsewhere", str(number))

        async def steady():
            await view.poll()
            await view.keep_alive()
            return list(view.members) == ["n3"] and view.alive == {"alfa"}

        await until(steady, "the wiped store is seen as it is")
        assert view.generation >= 1
        view.close()

    asyncio.run(main())


def test_a_restored_store(apis, server, tmp_path):
    async def main():
        view = apis["v3"].registry(server)
        apis["v3"].put(server, "/mesh/peers/n1", "old")
        apis["v3"].put(server, "/mesh/peers/n2", "old")
        server.ctl("snapshot", "save", str(tmp_path / "snapshot"))
        apis["v3"].put(server, "/mesh/peers/n1", "new")
        apis["v3"].put(server, "/mesh/peers/n3", "new")
        apis["v3"].delete(server, "/mesh/peers/n2")
        await view.poll()
        assert sorted(view.members) == ["n1", "n3"]
        server.stop()
        shutil.rmtree(server.data)
        server.ctl(
            "snapshot", "restore", str(tmp_path / "snapshot"), "--data-dir", str(server.data),
            "--name", server.name, "--initial-cluster", f"{server.name}={server.peer_url}",
            "--initial-advertise-peer-urls", server.peer_url,
        )  # fmt: skip
        server.start()
        assert await view.poll() is True
        assert {node: entry.text for node, entry in view.members.items()} == {"n1": "old", "n2": "old"}
        assert view.generation == 1
        view.close()

    asyncio.run(main())


def test_a_server_that_says_nothing_costs_its_time_and_the_next_one_answers(api, make_server):
    servers = [make_server("one").start(), make_server("two").start()]

    async def main():
        view = api.registry(servers, timeout=2)
        await view.poll()
        servers[0].pause()
        started = time.monotonic()
        assert (await failure(view.poll())).kind == "timeout"
        assert time.monotonic() - started < 4
        api.put(servers[1], "/mesh/peers/n1", "there")
        await view.poll()
        assert (view.endpoint, view.generation) == (servers[1].url, 1)  # which is another cluster
        assert list(view.members) == ["n1"]
        view.close()

    asyncio.run(main())


def cluster(make_server):
    servers = [make_server(name) for name in ("one", "two", "three")]
    members = {server.name: server.peer_url for server in servers}
    for server in servers:
        server.members = members
        server.start(wait=False)
    for server in servers:
        server.wait()
    return servers


async def leader_of(servers):
    found = []

    async def look():
        for server in servers:
            status = server.post("/v3/maintenance/status", {})
            if status.get("leader") == status["header"]["member_id"]:
                found.append(server)
        return found

    await until(look, "a leader")
    return found[0]


def test_a_cluster_that_loses_its_leader_and_then_its_majority(api, make_server):
    servers = cluster(make_server)

    async def main():
        leader = await leader_of(servers)
        rest = [server for server in servers if server is not leader]
        view = api.registry([leader] + rest)
        other = api.registry(rest, "beta")
        # On a slow machine another leader may be chosen at any time, which is an error for that time.
        await at_last(view.keep_alive, "a sign of life")
        await at_last(lambda: view.put_record("mine"), "a record")
        await at_last(view.poll, "a poll")
        leader.stop(9)
        await at_last(view.poll, "a poll without the leader")
        assert view.endpoint in [server.url for server in rest]
        await at_last(lambda: other.put_record("of another"), "another's record without the leader")
        await at_last(view.poll, "a poll after it")
        assert sorted(view.members) == ["alfa", "beta"]
        assert (view.generation, view.alive) == (0, {"alfa"})
        assert await at_last(view.keep_alive, "the same lease") is False

        rest[0].stop(9)

        async def is_leaderless():
            error = await failure(view.poll())
            return "majority" in str(error) and f"127.0.0.1:{rest[1].port}" in str(error)

        await until(is_leaderless, "no leader is an error")
        started = time.monotonic()
        error = await failure(view.poll())
        assert "majority" in str(error) and f"127.0.0.1:{rest[1].port}" in str(error), str(error)
        # At once by v3; v2 says so after seven seconds, of which it gets five: one call's time, and no more.
        assert time.monotonic() - started < (4 if api.name == "v3" else 9)
        assert sorted(view.members) == ["alfa", "beta"]

        leader.start(wait=False)
        await at_last(view.poll, "a poll with a majority again")
        assert (view.generation, sorted(view.members)) == (0, ["alfa", "beta"])
        view.close()
        other.close()

    asyncio.run(main())


@RUNTIMES
def test_a_life_with_authentication(apis, server, runtime):
    apis[runtime[1]].enable_authentication(server)
    session(runtime, endpoints=[server.url], user="router", password="router")


def test_authentication(api, server):
    denied = "permission" if api.name == "v3" else "auth"  # v2 has one answer for both

    async def main():
        early = api.registry(server, "early", user="router", password="router")
        assert await early.poll() is False  # not needed yet
        api.enable_authentication(server)
        await early.put_record("mine")
        assert await early.poll() is True

        nobody = api.registry(server)
        error = await failure(nobody.poll())
        assert (error.kind, "etcd_user" in str(error)) == ("auth", True)
        wrong = api.registry(server, user="router", password="wrong")
        error = await failure(wrong.poll())
        assert (error.kind, "'router' or its password is wrong" in str(error)) == ("auth", True)
        reader = api.registry(server, user="reader", password="reader")
        assert await reader.poll() is True
        error = await failure(reader.put_record("mine"))
        assert error.kind == denied
        assert "'reader'" in str(error) and "/mesh/peers/alfa" in str(error)
        assert (await failure(reader.claim("10.0.0.1"))).kind == denied
        elsewhere = api.registry(server, prefix="/other", user="router", password="router")
        error = await failure(elsewhere.poll())
        assert error.kind == denied
        keys = "/other/peers/*, /other/alive/*, /other/claims/*" if api.name == "v3" else "/other/peers/"
        assert keys in str(error)

        server.stop()
        server.start()  # which forgets all tokens
        assert await reader.poll() is False
        await early.put_record("mine again")
        assert await reader.poll() is True
        assert reader.failures == 0
        for view in (early, nobody, wrong, reader, elsewhere):
            view.close()

    asyncio.run(main())


def secured(make_server, certificates):
    """A server that wants TLS, a client certificate, and user `router` with that password."""
    server = make_server(certificates=certificates, client_ca=True).start()
    for argument in (
        "user add root:root",
        "role add root",
        "user grant-role root root",
        "user add router:router",
        "role add router",
        "role grant-permission router --prefix=true readwrite /mesh/",
        "user grant-role router router",
        "auth enable",
    ):
        server.ctl(*argument.split())
    return server


def secured_client(server, certificates, name="client"):
    """The arguments of a client of it that shows the certificate of this name."""
    return {
        "endpoints": [server.url],
        "user": "router",
        "password": "router",
        "ca_file": f"{certificates}/ca.pem",
        "cert_file": f"{certificates}/{name}.pem",
        "key_file": f"{certificates}/{name}.key",
    }


@RUNTIMES
def test_a_life_over_tls_with_authentication(make_server, certificates, runtime):
    if not takes_pem(runtime[0]):
        pytest.skip("this MicroPython reads no PEM files")
    server = secured(make_server, certificates)
    session(runtime, **secured_client(server, certificates))


@RUNTIMES
def test_a_certificate_with_a_common_name_is_named_where_etcd_refuses_it(make_server, certificates, runtime):
    if not takes_pem(runtime[0]):
        pytest.skip("this MicroPython reads no PEM files")
    server = secured(make_server, certificates)
    cases = {"named": secured_client(server, certificates, "named")}
    found = output(runtime[0], "errors.py", {"api": runtime[1], "cases": cases})
    # etcd's v2 API takes the name for the user's, and has no objection.
    assert runtime[1] == "v2" or "'cert_file' must be one whose subject has none" in found, found


@RUNTIMES
def test_a_renewed_client_certificate_is_taken_without_a_restart(make_server, certificates, runtime, tmp_path):
    if not takes_pem(runtime[0]):
        pytest.skip("this MicroPython reads no PEM files")
    server = make_server(certificates=certificates, client_ca=True).start()
    for suffix in ("pem", "key"):
        shutil.copy(certificates / f"expired-client.{suffix}", tmp_path / f"own.{suffix}")
    options = {"endpoints": [server.url], "ca_file": f"{certificates}/ca.pem"}
    options.update(cert_file=f"{tmp_path}/own.pem", key_file=f"{tmp_path}/own.key")
    renewed = {f"{tmp_path}/own.{suffix}": f"{certificates}/client.{suffix}" for suffix in ("pem", "key")}
    given = {"api": runtime[1], "client": options, "renewed": renewed}
    assert output(runtime[0], "renewal.py", given) == "tls\nok\n"


@RUNTIMES
@pytest.mark.parametrize("earlier", ["expired-ca", "other-ca"])
def test_a_renewed_certificate_of_the_authority_is_taken_without_a_restart(
    make_server, certificates, runtime, earlier, tmp_path
):
    if not takes_pem(runtime[0]):
        pytest.skip("this MicroPython reads no PEM files")
    server = make_server(certificates=certificates).start()
    shutil.copy(certificates / f"{earlier}.pem", tmp_path / "ca.pem")
    options = {"endpoints": [server.url], "ca_file": f"{tmp_path}/ca.pem"}
    renewed = {f"{tmp_path}/ca.pem": f"{certificates}/ca.pem"}
    given = {"api": runtime[1], "client": options, "renewed": renewed}
    assert output(runtime[0], "renewal.py", given) == "tls\nok\n"


@RUNTIMES
def test_a_connection_over_tls_that_the_server_has_closed_is_opened_again_unnoticed(
    make_server, certificates, runtime
):
    if not takes_pem(runtime[0]):
        pytest.skip("this MicroPython reads no PEM files")
    server = make_server(certificates=certificates, client_ca=True).start()
    argv = [runtime[0], str(Path(__file__).with_name("steps.py"))]
    environment = dict(os.environ, MICROPYPATH=f"{ROOT}/src:.frozen", PYTHONPATH=f"{ROOT}/src")
    process = subprocess.Popen(
        argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    options = secured_client(server, certificates)
    del options["user"], options["password"]
    try:
        said = []
        for line in (json.dumps({"api": runtime[1], "client": options}), "poll"):
            process.stdin.write(line + "\n")
        said.append(process.stdout.readline())
        server.stop()
        server.start()
        process.stdin.write("poll\n")
        said.append(process.stdout.readline())
        process.stdin.close()
        assert said == ["ok\n", "ok\n"]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("runtime", [sys.executable, MICROPYTHON], ids=["python3", "micropython"])
def test_a_token_that_ends_is_renewed_without_a_failure(make_server, certificates, runtime):
    server = make_server()
    public = subprocess.run(
        ["openssl", "ec", "-in", f"{certificates}/server.key", "-pubout", "-out", f"{certificates}/server.pub"],
        capture_output=True,
    )
    assert not public.returncode, public.stderr
    keys = f"pub-key={certificates}/server.pub,priv-key={certificates}/server.key"
    # Unlike etcd's own, such a token does not live longer by being used.
    server.extra.append(f"--auth-token=jwt,{keys},sign-method=ES256,ttl=1s")
    server.start()
    for argument in ("user add root:root", "user grant-role root root", "auth enable"):
        server.ctl(*argument.split())
    given = {"api": "v3", "client": {"endpoints": [server.url], "user": "root", "password": "root"}, "tokens": 3}
    assert output(runtime, "renewal.py", given) == "ok\n"


def test_a_password_that_is_changed_is_named_and_the_right_one_goes_on(apis, server):
    async def main():
        apis["v3"].enable_authentication(server)
        view = apis["v3"].registry(server, user="router", password="router")
        await view.poll()
        administrator = ("--user", "root:root")
        server.ctl(*administrator, "user", "passwd", "router", "--interactive=false", input="another")
        error = await failure(view.poll())
        assert error.kind == "auth" and "user 'router' or its password is wrong" in str(error)
        server.ctl(*administrator, "user", "passwd", "router", "--interactive=false", input="router")
        await view.poll()
        assert view.failures == 0
        view.close()

    asyncio.run(main())


def rights(server, *granted):
    """Turns authentication on with a user `router` who has these rights, each arguments of grant-permission."""
    for argument in ("user add root:root", "user grant-role root root", "user add router:router", "role add router"):
        server.ctl(*argument.split())
    for argument in granted:
        server.ctl(*["role", "grant-permission", "router", *argument.split()])
    server.ctl("user", "grant-role", "router", "router")
    server.ctl("auth", "enable")


ALL_RIGHTS = (
    "--prefix read /mesh/peers/",
    "--prefix read /mesh/alive/",
    "--prefix readwrite /mesh/claims/",
    "readwrite /mesh/peers/alfa",
    "readwrite /mesh/alive/alfa",
)


@pytest.mark.parametrize(
    "place, missing, polls",
    [
        (0, "read /mesh/peers/*:", False),
        (1, "read /mesh/alive/*:", False),
        (2, "read /mesh/claims/* nor write /mesh/claims/*:", False),
        (3, "write /mesh/peers/alfa:", True),
        (4, "write /mesh/alive/alfa:", True),
    ],
)
def test_the_right_that_is_missing_is_named(apis, server, place, missing, polls):
    async def main():
        rights(server, *ALL_RIGHTS[:place], *ALL_RIGHTS[place + 1 :])
        view = apis["v3"].registry(server, user="router", password="router")
        error = await failure(view.try_rights())
        assert error.kind == "permission" and "may not " + missing in str(error), str(error)
        assert "`bgpmesh etcd-role`" in str(error)
        if polls:
            await view.poll()
        else:
            assert str(await failure(view.poll())) == str(error)
        view.close()

    asyncio.run(main())


@pytest.fixture
def shell(binary, server, tmp_path):
    """shell(script) is what it prints in a shell where etcdctl may change the users of an etcd with authentication."""
    for argument in ("user add root:root", "user grant-role root root", "auth enable"):
        server.ctl(*argument.split())
    environment = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": server.url, "ETCDCTL_USER": "root:root"}
    (tmp_path / "etcdctl").symlink_to(Path(binary).with_name("etcdctl"))
    environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"

    def run(script):
        done = subprocess.run(["sh", "-eu"], env=environment, input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_commands_of_etcd_role_give_all_the_rights_of_a_router_and_no_others(apis, server, shell):
    said = {node: shell(role.commands(node, "/it's a mesh")) for node in ("alfa", "bravo")}
    words = said["alfa"].splitlines()[-2].split("'")
    assert words[:2] == ["uci set bgpmesh.main.etcd_user=", "alfa"] and len(words[3]) == 32

    async def main():
        user = {"user": "alfa", "password": words[3]}
        view = apis["v3"].registry(server, prefix="/it's a mesh", signed=True, **user)
        await view.poll()
        await view.try_rights()
        assert (await failure(view.put_statement("bravo", "approved"))).kind == "permission"
        assert (await failure(view.restore_statement("bravo", "approved", 0))).kind == "permission"
        assert await view.keep_alive() is True
        await view.put_record("{}")
        assert await view.claim("10.0.0.1") == "alfa"
        await view.release("10.0.0.1")
        await view.leave()
        other = apis["v3"].registry(server, "bravo", prefix="/it's a mesh", **user)
        assert (await failure(other.put_record("{}"))).kind == "permission"
        assert (await failure(other.keep_alive())).kind == "permission"
        assert (await failure(other.leave())).kind == "permission"
        elsewhere = apis["v3"].registry(server, prefix="/other", **user)
        assert (await failure(elsewhere.poll())).kind == "permission"
        for registry in (view, other, elsewhere):
            registry.close()

    asyncio.run(main())


def test_those_for_the_owner_give_all_that_approving_takes_and_nothing_else(apis, server, shell):
    said = shell(role.owners_commands("/it's a mesh")).splitlines()[-1]
    assert re.fullmatch(r"ETCDCTL_USER='network-owner:[^']{32}' bgpmesh approve NODE -s FILE", said), said
    user = dict(zip(("user", "password"), said.split("'")[1].split(":", 1)))

    async def main():
        view = apis["v3"].registry(server, prefix="/it's a mesh", signed=True, **user)
        await view.poll()
        await view.put_statement("bravo", "approved")
        await view.poll()
        assert view.statements["bravo"].text == "approved"
        for write in (view.put_record("{}"), view.keep_alive(), view.claim("10.0.0.1"), view.leave()):
            assert (await failure(write)).kind == "permission"
        elsewhere = apis["v3"].registry(server, prefix="/other", **user)
        assert (await failure(elsewhere.poll())).kind == "permission"
        for registry in (view, elsewhere):
            registry.close()

    asyncio.run(main())


def tls_errors(runtime, server, certificates, cases=("right",)):
    """name -> "kind: text" of the errors of polls with different files, on a runtime."""
    if not takes_pem(runtime[0]):
        pytest.skip("this MicroPython reads no PEM files")

    def pair(cert, key):
        return {"cert_file": f"{certificates}/{cert}", "key_file": f"{certificates}/{key}"}

    files = {"endpoints": [server.url], "ca_file": f"{certificates}/ca.pem"}
    client = pair("client.pem", "client.key")
    every = {
        "right": {**files, **client},
        "plain": {"endpoints": [server.url.replace("https", "http")]},
        "no file": {**files, "ca_file": "/nowhere"},
        "no PEM": {**files, "ca_file": "/etc/passwd"},
        "wrong authority": {**files, **client, "ca_file": f"{certificates}/other-ca.pem"},
        "no key": {**files, **pair("client.pem", "nowhere.key")},
        "no certificate": files,
        "expired": {**files, **pair("expired-client.pem", "expired-client.key")},
        "early": {**files, **pair("early-client.pem", "early-client.key")},
        "of another authority": {**files, **pair("stranger.pem", "stranger.key")},
        "key of another": {**files, **pair("client.pem", "named.key")},
    }
    chosen = {name: every[name] for name in cases or every}
    found = output(runtime[0], "errors.py", {"api": runtime[1], "cases": chosen}).strip()
    return dict(line.split("\t") for line in found.split("\n"))


@RUNTIMES
def test_tls_failures_are_named_with_the_option_to_look_at(make_server, certificates, runtime):
    server = make_server(certificates=certificates, client_ca=True).start()
    found = tls_errors(runtime, server, certificates, None)
    assert found.pop("right") == "ok"
    assert "https://" in found.pop("plain")
    words = {
        "no file": "/nowhere",
        "no PEM": "/etc/passwd",
        "wrong authority": "'ca_file' must be what signed it",
        "no key": "/nowhere.key",
        "key of another": "'key_file'",
    }
    for name, text in found.items():
        assert text.startswith("tls: "), (name, text)
        assert words.get(name, "'cert_file' must be one that its CA signed and that has not") in text, (name, text)


@RUNTIMES
@pytest.mark.parametrize(
    "name, words",
    [
        ("elsewhere", "'etcd' must have a name or an address that is in the server's certificate"),
        ("expired", "; this router's clock shows 20"),
        ("early", "; this router's clock shows 20"),
    ],
    ids=["elsewhere", "expired", "early"],
)
def test_a_servers_certificate_of_another_name_or_time_is_refused(make_server, certificates, runtime, name, words):
    server = make_server(certificates=certificates)
    server.extra = ["--cert-file", f"{certificates}/{name}.pem", "--key-file", f"{certificates}/{name}.key"]
    server.start(wait=False)

    def answers():
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0

    deadline = time.monotonic() + 60
    while not answers():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    text = tls_errors(runtime, server, certificates)["right"]
    assert text.startswith("tls: TLS with 127.0.0.1:") and words in text, text


@RUNTIMES
def test_https_to_a_server_without_it(server, certificates, runtime):
    server.url = server.url.replace("http:", "https:")
    found = tls_errors(runtime, server, certificates)
    assert found["right"].startswith("tls: "), found["right"]


@RUNTIMES
def test_a_watch_rings(server, runtime):
    session(runtime, "watching.py", endpoints=[server.url])


@RUNTIMES
def test_a_watch_over_tls_with_authentication(make_server, certificates, runtime):
    if not takes_pem(runtime[0]):
        pytest.skip("this MicroPython reads no PEM files")
    server = secured(make_server, certificates)
    session(runtime, "watching.py", **secured_client(server, certificates))


def test_a_watch_that_is_denied_says_so(apis, server):
    api = apis["v3"]
    api.enable_authentication(server)
    alfa = api.registry(server, prefix="/elsewhere", user="reader", password="reader")

    async def run():
        assert (await failure(alfa.poll())).kind == "permission"
        assert (await failure(alfa.watch(list))).kind == "permission"

    asyncio.run(run())


def test_a_watch_from_a_revision_that_was_compacted_ends(apis, server):
    api = apis["v3"]
    alfa = api.registry(server)

    async def run():
        await alfa.poll()
        for number in range(5):
            api.put(server, "/mesh/peers/beta", str(number))
        revision = server.post("/v3/kv/range", {"key": b64("x")})["header"]["revision"]
        server.post("/v3/kv/compaction", {"revision": revision, "physical": True})
        assert "a watch: it was cancelled" in str(await failure(alfa.watch(list)))
        assert await alfa.poll()
        assert alfa.members["beta"].text == "4"

    asyncio.run(run())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_watch_ends_with_its_server(api, server, number):
    alfa = api.registry(server)

    async def run():
        await alfa.poll()
        watching = asyncio.create_task(failure(alfa.watch(list)))
        await asyncio.sleep(0.5)
        assert not watching.done()
        await asyncio.to_thread(server.stop, number)
        assert (await asyncio.wait_for(watching, 30)).kind in ("closed", "server")

    asyncio.run(run())


def test_a_watch_ends_where_the_cluster_has_no_majority(apis, make_server):
    servers = cluster(make_server)
    alfa = apis["v3"].registry(servers[:1])

    async def run():
        await leader_of(servers)
        await alfa.poll()
        watching = asyncio.create_task(failure(alfa.watch(list)))
        await asyncio.sleep(0.5)
        assert not watching.done()
        for other in servers[1:]:
            await asyncio.to_thread(other.stop, signal.SIGKILL)
        error = await asyncio.wait_for(watching, 60)
        assert error.kind == "leader", error

    asyncio.run(run())


def test_the_keys_are_where_others_look_for_them(api, server):
    async def main():
        view = api.registry(server)
        await view.poll()
        await view.keep_alive()
        await view.put_record('{"x":1}')
        await view.claim("10.0.0.1")
        view.close()

    asyncio.run(main())
    values, leased = api.keys(server)
    assert values == {"/mesh/alive/alfa": "", "/mesh/claims/10.0.0.1": "alfa", "/mesh/peers/alfa": '{"x":1}'}
    assert [key for key in leased if leased[key]] == ["/mesh/alive/alfa"]
