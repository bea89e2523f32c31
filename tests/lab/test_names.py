"""A registry that is given by its name, after one that does not exist; and members whose endpoints are names."""

from bgpmesh.tinc import graph
from lab.mesh import RUN, SOON, delete, put, sessions, settled, stranger, told

LAB = {
    "nodes": 2,
    "options": {"etcd": "http://nowhere.invalid:2379 http://registry.test:2379"},
    "each": {1: {"options": {"endpoint": "one.test"}}, 2: {"options": {"endpoint": "two.test"}}},
    "boot": (),
}
HOSTS = "127.0.0.1 localhost\n198.18.255.1 registry.test\n198.18.0.1 one.test\n198.18.0.2 two.test\n"


def test_the_registry_and_the_members_are_found_by_their_names(lab):
    for router in lab.routers:
        router.start()
        router.write("/etc/hosts", HOSTS)
    settled(lab)
    one, two = lab.routers
    assert one.status()["etcd"]["endpoint"] == "http://registry.test:2379"
    assert [peer["endpoint"] for peer in one.peers()] == ["two.test:655"]
    dialling, number = (one, 2) if graph.leads("r1", "r2") else (two, 1)
    assert f"Address = 198.18.0.{number} 655\n" in dialling.read(f"{RUN}/tinc/hosts/r{number}")


def test_check_names_the_server_that_has_no_address(lab):
    text = lab.router(1).bgpmesh("check").stdout
    assert "BAD   DNS: 'nowhere.invalid' has no address" in text
    assert "ok    etcd: http://registry.test:2379 has 2 members, 2 alive" in text


def test_a_name_server_that_does_not_answer_costs_nobody_elses_tunnel(lab):
    one, two = lab.routers
    node = next(f"silent{number}" for number in range(99) if graph.leads("r1", f"silent{number}"))
    one.write("/etc/resolv.conf", "nameserver 198.18.0.99\n")
    put(lab, f"/peers/{node}", stranger(90, endpoint="silent.test:655"))
    put(lab, f"/alive/{node}", "")
    lab.wait(lambda: f"ConnectTo = {node}" in one.read(RUN + "/tinc/tinc.conf"), SOON, "it to be dialled")
    before = one.pids("tincd")
    one.kill("tincd")
    lab.wait(lambda: one.pids("tincd") not in ([], before), SOON, "another tincd")
    # A tincd that asked itself would have no tunnel for a minute.
    lab.wait(lambda: one.ping(two.lan), SOON, "a tunnel")
    lab.wait(lambda: "r2" in sessions(one), SOON, "the session with r2")
    told(lab, one, "peer", "silent.test", "no address is found")
    delete(lab, f"/peers/{node}", f"/alive/{node}")
    one.write("/etc/resolv.conf", "")
    settled(lab)
