"""A registry with TLS, client certificates and users with few rights; wrong clocks, missing rights."""

import pytest

from bgpmesh import usign
from lab.authority import CLIENT, SERVER, Authority
from lab.etcd import ETCD_ADDRESS, SECURE_URL
from lab.mesh import SOON, clear, delete, forgets, get, knows, put, sessions, settled, stranger, told, undisturbed
from lab.router import Router

# Made here: nobody needs it to stay secret.
OWNER, PUBLIC = usign.make(bytes(range(56)))
LAB = {
    "nodes": 2,
    "boot": (),
    "each": {1: {"runtime": "micropython"}, 2: {"runtime": "python3"}},
    "options": {
        "poll_interval": "1",
        "etcd": SECURE_URL,
        "ca_file": "/etc/tls/ca.pem",
        "cert_file": "/etc/tls/client.pem",
        "key_file": "/etc/tls/client.key",
        "etcd_password": "not yet",
    },
}


@pytest.fixture(scope="module")
def authority(lab):
    return Authority(lab.dir / "authority")


def failures(router):
    status = router.status()
    return status["etcd"]["failures"] if status else 0


def lines(router):
    """How often the log says that the registry cannot be reached, and that this is over."""
    return sum("etcd_unreachable:" in line for line in router.log().splitlines())


def quiet(lab, router, count):
    """Waits for some more polls that fail: the log has no more lines for them."""
    seen = failures(router)
    lab.wait(lambda: failures(router) > seen + 3, SOON, f"{router.name} to have polled again")
    assert lines(router) == count, router.log()


def set_clock(router, years):
    """Has the agent's clock show a time that is so many years off; only that clock jumps, as it does on a router."""
    router.write("/etc/clock", f"{years * 31557600:+d}")


def faked(service):
    """A procd service whose clock is that of set_clock()."""
    env = {"LD_PRELOAD": "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "FAKETIME_NO_CACHE": "1"}
    env.update(FAKETIME_TIMESTAMP_FILE="/etc/clock", FAKETIME_DONT_FAKE_MONOTONIC="1")
    service["instances"]["agent"]["env"] = env
    return service


def test_a_clock_that_is_set_late_and_a_user_that_is_made(lab, authority):
    authority.issue("client", "/O=mesh", CLIENT)
    authority.issue("server", "/O=etcd", SERVER, [ETCD_ADDRESS, "127.0.0.1"])
    for argv in ("user add root:root", "user grant-role root root", "auth enable"):
        lab.etcdctl(argv.split())
    lab.etcd.env["ETCDCTL_USER"] = "root:root"
    lab.etcd.secure(authority.folder)
    for router in lab.routers:
        router.options["etcd_user"] = router.name
        router.service = lambda given=router.service: faked(given())
        for name in ("ca.pem", "client.pem", "client.key"):
            router.write("/etc/tls/" + name, (authority.folder / name).read_text())
        set_clock(router, -50)
        router.start()
    for router in lab.routers:
        text = told(lab, router, "etcd_unreachable", "this router's clock shows 197")
        assert "before the package was made: that is why" in text and "sysntpd" in text
    for router in lab.routers:
        quiet(lab, router, 1)
        env = faked(Router.service(router))["instances"]["agent"]["env"]
        check = router.exec(["env", *[f"{name}={env[name]}" for name in env], "bgpmesh", "check"], check=False).stdout
        assert "BAD   clock: it shows 197" in check and "BAD   etcd: " in check
        set_clock(router, 0)
    # Nobody tells them: they look again.
    for router in lab.routers:
        told(lab, router, "etcd_unreachable", f"'{router.name}' or its password is wrong")
    for router in lab.routers:
        commands = router.bgpmesh("etcd-role").stdout
        said = lab.etcd.run(["sh", "-eu"], input=commands).stdout
        password = said.split("etcd_password='")[1].split("'")[0]
        router.set("etcd_password", password)
    settled(lab)
    for router in lab.routers:
        assert router.bgpmesh("check").returncode == 0
        assert password not in router.log() + router.bgpmesh("status", "-j").stdout


def test_a_clock_that_jumps_changes_nothing(lab):
    before = [lines(router) for router in lab.routers]
    with undisturbed(lab):
        jump(lab, 30)
    birds, tincds = [[router.pids(name) for router in lab.routers] for name in ("bird", "tincd")]
    jump(lab, -30)
    # tincd's timers go by the clock, and it would wait for sixty years.
    again = [router.pids("tincd") for router in lab.routers]
    assert all(old != new for old, new in zip(tincds, again))
    assert [router.pids("bird") for router in lab.routers] == birds
    with undisturbed(lab):
        jump(lab, 0)
    assert [lines(router) for router in lab.routers] == before


def jump(lab, years):
    """The clocks of all are so many years off, and they hear of a member, and that it is gone."""
    for router in lab.routers:
        set_clock(router, years)
    number = 100 + years
    put(lab, f"/peers/r{number}", stranger(number))
    for router in lab.routers:
        knows(lab, router, f"r{number}")
        clear(lab, router)
    delete(lab, f"/peers/r{number}")
    for router in lab.routers:
        forgets(lab, router, f"r{number}")
    settled(lab)


def test_a_router_may_not_write_what_is_anothers(lab):
    one, two = lab.routers
    password = one.options["etcd_password"]
    with undisturbed(lab):
        for key in ("/peers/r2", "/alive/r2", "/peers/r3", "/elsewhere"):
            lab.etcd.env["ETCDCTL_USER"] = f"r1:{password}"
            try:
                done = lab.etcdctl(["put", "--", key, "hostile"], check=False)
                assert done.returncode and "permission denied" in done.stdout
                done = lab.etcdctl(["del", "--", key], check=False)
                assert done.returncode and "permission denied" in done.stdout
            finally:
                lab.etcd.env["ETCDCTL_USER"] = "root:root"
        clear(lab, two)


def test_a_right_that_is_taken_away_is_named_and_costs_neither_sessions_nor_log(lab):
    one = lab.router(1)
    before = lines(one)
    right = ["bgpmesh-r1", "/claims/", "--prefix"]
    with undisturbed(lab):
        lab.etcdctl(["role", "revoke-permission", *right])
        told(lab, one, "etcd_unreachable", "may not read /claims/* nor write /claims/*", "bgpmesh etcd-role")
        quiet(lab, one, before + 1)
        check = one.bgpmesh("check").stdout
        assert "BAD   auth: " in check and "may not read /claims/* nor write /claims/*" in check
        lab.etcdctl(["role", "grant-permission", "--prefix", right[0], "readwrite", right[1]])
        clear(lab, one)
        assert lines(one) == before + 2


def test_tokens_that_end_all_at_once_go_unnoticed(lab):
    with undisturbed(lab):
        before = [lines(router) for router in lab.routers]
        polls = {router.name: router.status()["etcd"]["revision"] for router in lab.routers}
        for router in lab.routers:
            # The same password again: what counts is that etcd forgets the tokens.
            argv = ["user", "passwd", router.name, "--interactive=false"]
            lab.etcdctl(argv, input=router.options["etcd_password"])
        put(lab, "/peers/r9", stranger(9))
        for router in lab.routers:
            lab.wait(lambda: "_r9" in router.bird("show protocols"), SOON, "the mesh to be heard of")
            assert router.status()["etcd"]["revision"] > polls[router.name]
        assert [lines(router) for router in lab.routers] == before
        assert sessions(lab.router(1))
        lab.etcdctl(["del", "/peers/r9"])


def say(router, *argv, user=None):
    """Has the owner say something from this router, as etcd's user `name:password`, or as the router's own."""
    router.write("/tmp/owner.sec", OWNER)
    as_user = [f"ETCDCTL_USER={user}"] if user else []
    return router.exec(["env", *as_user, "bgpmesh", *argv, "-s", "/tmp/owner.sec"], check=False)


def test_the_owner_has_a_user_that_may_approve_and_routers_have_none(lab):
    one, two = lab.routers
    user = lab.etcd.run(["sh", "-eu"], input=one.bgpmesh("etcd-role", "-o").stdout).stdout.split("'")[1]
    for router in lab.routers:
        router.set("trust_key", PUBLIC.split("\n")[1])
    for router in lab.routers:
        lab.wait(lambda router=router: '"id":' in get(lab, f"/peers/{router.name}"), SOON, "a record with an identity")
    denied = say(one, "approve", "r1")
    assert denied.returncode == 1 and "user 'r1' may not write /trust/r1: `bgpmesh etcd-role -o`" in denied.stdout
    for router in lab.routers:
        done = say(one, "approve", router.name, user=user)
        assert done.returncode == 0, done.stdout
    with undisturbed(lab):
        for router in lab.routers:
            router.set("trust", "signed")
        for router in lab.routers:
            lab.wait(lambda router=router: (router.status() or {}).get("trust", {}).get("standing") == "approved", SOON,
                     f"{router.name} to be approved")
    approval = get(lab, "/trust/r2")
    assert say(two, "revoke", "r2", user=user).returncode == 0
    told(lab, two, "revoked", "r2")
    told(lab, one, "revoked", "r2")
    lab.wait(lambda: not sessions(one), SOON, "r1 to have no session with r2")
    # Who may write there puts the approval back. Routers may not mend that, which costs nothing: they remember.
    before = [lines(router) for router in lab.routers]
    put(lab, "/trust/r2", approval)
    for _ in range(3):
        revisions = {router.name: router.status()["etcd"]["revision"] for router in lab.routers}
        put(lab, "/elsewhere", "a change")
        for router in lab.routers:
            lab.wait(lambda router=router: router.status()["etcd"]["revision"] > revisions[router.name], SOON,
                     f"{router.name} to have polled")
    assert told(lab, two, "revoked", "r2") and not sessions(one)
    assert [lines(router) for router in lab.routers] == before and get(lab, "/trust/r2") == approval
    assert say(one, "approve", "r2", user=user).returncode == 0
    settled(lab)
