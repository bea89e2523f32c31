"""A router that is told nothing but the secret, and has a member for a neighbour."""

import json

from lab.mesh import RUN, SOON, clear, sessions, settled, told

SECRET = "correct horse battery staple"
LAB = {"nodes": 3, "options": {"secret": SECRET}, "boot": (1, 2)}


def announced(router):
    """What umdns makes of the announcements of a router: what its neighbours hear of it."""
    found = {}
    services = router.ubus_call("service", "get_data", {"type": "mdns"})
    for instances in services.values():
        for data in instances.values():
            for service in data.get("mdns", data).values():
                assert service["service"] == "_bgpmesh._udp.local"
                found[service["instance"]] = {"iface": "br-lan", "host": router.name, "txt": service["txt"]}
    return {"_bgpmesh._udp": found}


def hear(router, neighbours):
    router.write("/etc/standin.json", json.dumps({**router.standin(), "neighbours": neighbours}))


def test_a_router_without_a_registry_takes_that_of_a_neighbour_with_its_secret(lab):
    settled(lab)
    one, three = lab.router(1), lab.router(3)
    heard = announced(one)
    assert list(heard["_bgpmesh._udp"]) == ["r1"]
    assert SECRET not in str(heard)
    etcd = three.options.pop("etcd")
    three.start()
    text = told(lab, three, "no_registry", "etcd")
    assert "uci set bgpmesh.main.etcd" in text and three.status()["state"] == "waiting"
    assert "BAD   etcd: option 'etcd' is not set" in three.bgpmesh("check").stdout
    hear(three, heard)
    lab.wait(lambda: len(sessions(three)) == 2, SOON, "it to join")
    assert clear(lab, three)["etcd"]["endpoint"] == etcd
    assert {peer["node"]: peer["lan"] for peer in three.peers()} == {"r1": True, "r2": False}
    # It knows the registry from now on, and so does `check`.
    assert f"ok    etcd: {etcd} has 3 members" in three.bgpmesh("check").stdout
    hear(three, {})
    three.reboot()
    lab.wait(lambda: len(sessions(three)) == 2, SOON, "it to join without its neighbour")


def test_a_neighbour_with_another_secret_is_named_and_not_followed(lab):
    three = lab.router(3)
    heard = announced(lab.router(1))
    (said,) = heard["_bgpmesh._udp"].values()
    said["txt"] = [text.replace("etcd=http://198.18.255.1", "etcd=http://203.0.113.66") for text in said["txt"]]
    three.stop()
    three.path("/etc/bgpmesh/registry").unlink()
    three.start()
    hear(three, heard)
    text = told(lab, three, "no_registry", "etcd", "203.0.113.66")
    assert "uci set" in text and three.status()["state"] == "waiting"
    assert not three.path(RUN + "/tinc").exists()
