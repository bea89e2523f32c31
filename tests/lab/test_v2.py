"""A mesh on CPython whose members meet in etcd's v2 key space, and a router that looks for them in v3's."""

import pytest

from lab.etcd import ETCD_ADDRESS
from lab.mesh import SOON, answer, clear, keys, reaches, running, settled, stranger, told, undisturbed

MESH = {"runtime": "python3", "options": {"etcd_api": "v2"}}
# r4 runs MicroPython, and v3 as long as nobody says otherwise.
LAB = {
    "nodes": 4,
    "each": {1: MESH, 2: {**MESH, "tinc": "1.0", "bird": "2"}, 3: MESH},
    "boot": range(1, 4),
    "options": {"poll_interval": "2"},
    "etcd_args": ["--enable-v2"],
}


@pytest.fixture(autouse=True)
def whole(lab):
    if not lab.etcd.running:
        lab.etcd.start()
    settled(lab)


def etcdctl(lab, *argv, check=True):
    """etcdctl by the v2 API; what it prints."""
    return lab.etcd.exec(["env", "ETCDCTL_API=2", "etcdctl", *argv], check=check).stdout


def old_keys(lab):
    """key → value of the v2 key space."""
    names = [name for name in etcdctl(lab, "ls", "-r", "-p", "/").split() if not name.endswith("/")]
    return {name: etcdctl(lab, "get", name).removesuffix("\n") for name in names}


def claims(lab):
    return {key: value for key, value in old_keys(lab).items() if key.startswith("/claims/")}


def test_the_members_meet_under_v2_and_nothing_is_under_v3(lab):
    names = [router.name for router in running(lab)]
    assert names == ["r1", "r2", "r3"]
    found = set(old_keys(lab))
    for router in running(lab):
        status = router.status()
        assert (status["runtime"], status["etcd"]["api"], status["etcd"]["reachable"]) == ("python3", "v2", True)
        assert claims(lab)[f"/claims/{status['address']}"] == router.name
        found -= {f"/claims/{status['address']}", f"/peers/{router.name}", f"/alive/{router.name}"}
        for other in running(lab):
            if other is not router:
                reaches(lab, router, other)
    assert found == set()
    assert keys(lab) == {}
    check = lab.router(1).bgpmesh("check")
    assert "3 members, 3 alive" in check.stdout and "v3" not in check.stdout


def test_an_outage_is_said_and_nothing_else_happens(lab):
    one = lab.router(1)
    with undisturbed(lab):
        lab.etcd.stop()
        for router in running(lab):
            told(lab, router, "etcd_unreachable", ETCD_ADDRESS, "refused")
        reaches(lab, one, lab.router(3))
        lab.etcd.start()
        for router in running(lab):
            clear(lab, router)


def test_an_etcd_that_says_nothing_keeps_nobody_waiting_for_the_agent(lab):
    one = lab.router(1)
    with undisturbed(lab):
        lab.etcd.link_down()
        told(lab, one, "etcd_unreachable")
        for _ in range(20):
            assert answer(one)["state"] == "degraded"
        alive = {f"/alive/{router.name}" for router in running(lab)}
        for key in alive & set(old_keys(lab)):
            # On a slow machine the lease may have ended already.
            etcdctl(lab, "rm", key, check=False)
        assert not alive & set(old_keys(lab))
        lab.etcd.link_up()
        lab.wait(lambda: alive <= set(old_keys(lab)), SOON, "all to be alive again", 0.5)
        for router in running(lab):
            clear(lab, router)


def test_a_wiped_store_is_filled_again_by_its_members(lab):
    addresses = {f"/claims/{router.status()['address']}": router.name for router in running(lab)}
    wanted = set(addresses) | {f"/{table}/{name}" for table in ("peers", "alive") for name in addresses.values()}
    with undisturbed(lab):
        lab.etcd.wipe()
        lab.wait(lambda: set(old_keys(lab)) == wanted, SOON, "records, claims and signs of life to be back", 0.5)
        for router in running(lab):
            clear(lab, router)
    assert claims(lab) == addresses


def test_a_router_that_speaks_the_other_api_is_told_so(lab):
    four = lab.router(4)
    with undisturbed(lab):
        four.start()
        lab.wait(lambda: (four.status() or {}).get("address"), SOON, "r4 to have an address, all alone", 0.5)
        lab.wait(lambda: "/peers/r4" in keys(lab), SOON, "r4 to be a member, all alone")
        check = four.bgpmesh("check")
        assert check.returncode == 1
        (line,) = [line for line in check.stdout.splitlines() if "BAD   etcd" in line]
        assert "no other members under its v3 API" in line and "but under v2: 3" in line
        assert "bgpmesh.main.etcd_api='v2'" in check.stdout
        # It takes CPython to follow that.
        four.set("etcd_api", "v2")
        text = told(lab, four, "config", "etcd_api")
        assert "bgpmesh-python3" in text and "python3-etcd" in text
        four.set("etcd_api", "v3")
        # Those of v2 hear that there is another, without anything being wrong with theirs.
        check = lab.router(1).bgpmesh("check").stdout
        assert "3 members, 3 alive (under its v3 API, which this mesh does not speak: 1)" in check
        assert four.bgpmesh("leave").returncode == 0
        four.stop()


def test_a_member_that_leaves_takes_its_keys_along(lab):
    three = lab.router(3)
    etcdctl(lab, "set", "/peers/away", str(stranger(70)).replace("'", '"'))
    with undisturbed(lab, but=[three]):
        assert three.bgpmesh("leave").returncode == 0
        lab.wait(lambda: not [key for key in old_keys(lab) if "r3" in key], SOON, "r3 to be gone from etcd", 0.3)
        assert "r3" not in claims(lab).values()
        assert "/peers/away" in old_keys(lab)
        etcdctl(lab, "rm", "/peers/away")
        three.reboot()
        settled(lab)
