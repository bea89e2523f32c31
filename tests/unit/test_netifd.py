from example import prefixes
from fake_http import run

from bgpmesh import netifd


def interface(name, **more):
    found = {"interface": name, "up": True}
    for key in more:
        found[key.replace("_", "-")] = more[key]
    return found


def found(*interfaces, names=("lan",)):
    return [str(prefix) for prefix in netifd.from_dump({"interface": list(interfaces)}, names)]


def address(text, mask):
    return {"address": text, "mask": mask}


LAN = interface(
    "lan",
    ipv4_address=[address("192.168.7.1", 24)],
    ipv6_address=[address("2001:db8:7::1", 64)],
    ipv6_prefix_assignment=[{"address": "fd00:7::", "mask": 60, "local-address": {"address": "fd00:7::1", "mask": 60}}],
)


def test_addresses_and_assignments_become_prefixes():
    assert found(LAN) == ["192.168.7.0/24", "2001:db8:7::/64", "fd00:7::/60"]


def test_only_the_named_interfaces_count_and_only_while_they_are_up():
    guest = interface("guest", ipv4_address=[address("192.168.8.1", 24)])
    down = interface("iot", up=False, ipv4_address=[address("192.168.9.1", 24)])
    assert found(LAN, guest, down, names=("guest", "iot", "none")) == ["192.168.8.0/24"]
    assert found(LAN, names=()) == []
    del down["up"]
    assert found(down, names=("iot",)) == []


def test_two_addresses_of_one_prefix_are_one_prefix():
    twice = interface("lan", ipv4_address=[address("192.168.7.1", 24), address("192.168.7.2", 24)])
    assert found(twice, LAN) == found(LAN)


def test_prefixes_are_sorted():
    one = interface("lan", ipv4_address=[address("192.168.9.1", 24), address("10.1.0.1", 16)])
    assert found(one) == ["10.1.0.0/16", "192.168.9.0/24"]


def test_host_addresses_and_what_is_never_routed_are_left_out():
    odd = interface(
        "lan",
        ipv4_address=[address("192.168.7.1", 32), address("169.254.3.1", 16), address("127.0.0.1", 8)],
        ipv6_address=[address("fe80::1", 64), address("2001:db8::1", 128)],
    )
    assert found(odd) == []


def test_what_is_no_address_is_passed_over():
    odd = interface(
        "lan",
        ipv4_address=[
            {},
            {"address": "192.168.7.1"},
            {"mask": 24},
            address("192.168.7.1", 0),
            address("192.168.7.1", 33),
            address("192.168.7.1", -1),
            address("192.168.7.1", "24"),
            address("192.168.7.1", None),
            address("x", 24),
            address(None, 24),
            "192.168.7.1/24",
            None,
            address("192.168.6.1", 24),
        ],
    )
    assert found(odd) == ["192.168.6.0/24"]


def test_a_dump_without_interfaces():
    assert netifd.from_dump({}, ("lan",)) == []
    assert netifd.from_dump({"interface": []}, ("lan",)) == []
    assert found({}, {"up": True}) == []


class Bus:
    async def call(self, *arguments):
        self.called = arguments
        return {"interface": [LAN]}


def test_netifd_is_asked_over_ubus():
    bus = Bus()
    found = netifd.from_dump(run(netifd.dump(bus)), ["lan"])
    assert found == prefixes("192.168.7.0/24", "2001:db8:7::/64", "fd00:7::/60")
    assert bus.called == ("network.interface", "dump")


def test_what_is_no_list_of_tables_is_passed_over():
    for nonsense in (False, "lan", 7, {"address": "192.168.7.1"}, [7, "x", None, []]):
        assert netifd.from_dump({"interface": nonsense}, ("lan",)) == []
        assert found(interface("lan", ipv4_address=nonsense)) == []
    assert found(interface("lan", ipv4_address=[address(7, 24), address([], "24"), address("192.168.7.1", None)])) == []


def test_an_interface_that_is_down_is_not_missing():
    dump = {"interface": [LAN, interface("guest", up=False), {"up": True}, 7]}
    assert netifd.missing(dump, ["lan", "guest", "LAN", "gest"]) == ["LAN", "gest"]
    assert netifd.missing(dump, []) == []
    assert netifd.missing({}, ["lan"]) == ["lan"]


def test_the_networks_of_all_interfaces_but_the_overlays():
    def networks(*interfaces):
        return [(name, str(prefix)) for name, prefix in netifd.networks({"interface": list(interfaces)}, "tinc0")]

    def on(name, device, l3_device, addresses):
        found = interface(name, device=device, ipv4_address=addresses)
        found["l3_device"] = l3_device
        return found

    wan = on("wan", "eth1", "pppoe-wan", [address("10.0.0.5", 32)])
    assert networks(wan, LAN, LAN) == [
        ("lan", "192.168.7.0/24"),
        ("lan", "2001:db8:7::/64"),
        ("lan", "fd00:7::/60"),
        ("wan", "10.0.0.5/32"),
    ]
    ours = [address("10.0.0.1", 24)]
    assert networks(interface("mesh", device="tinc0", ipv4_address=ours)) == []
    assert networks(on("mesh6", "@mesh", "tinc0", ours), on("loopback", "lo", "lo", ours)) == []
    assert networks(on("lan", "br-lan", "br-lan", ours)) == [("lan", "10.0.0.0/24")]
    assert networks(interface("lan", up=False, ipv4_address=ours), {"up": True, "ipv4-address": ours}) == []
    local = [address("169.254.3.1", 16), address("127.0.0.1", 8)]
    assert networks(interface("lan", ipv4_address=local, ipv6_address=[address("fe80::1", 64)])) == []
