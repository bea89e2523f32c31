"""A registry that is given by its name, after one that does not exist."""

from lab.mesh import settled

LAB = {"nodes": 2, "options": {"etcd": "http://nowhere.invalid:2379 http://registry.test:2379"}, "boot": ()}


def test_the_registry_is_found_by_its_name(lab):
    for router in lab.routers:
        router.start()
        router.write("/etc/hosts", "127.0.0.1 localhost\n198.18.255.1 registry.test\n")
    settled(lab)
    assert lab.router(1).status()["etcd"]["endpoint"] == "http://registry.test:2379"


def test_check_names_the_server_that_has_no_address(lab):
    text = lab.router(1).bgpmesh("check").stdout
    assert "BAD   DNS: 'nowhere.invalid' has no address" in text
    assert "ok    etcd: http://registry.test:2379 has 2 members, 2 alive" in text
