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
    assert run(netifd.prefixes(bus, ["lan"])) == prefixes("192.168.7.0/24", "2001:db8:7::/64", "fd00:7::/60")
    assert bus.called == ("network.interface", "dump")


def test_what_is_no_list_of_tables_is_passed_over():
    for nonsense in (False, "lan", 7, {"address": "192.168.7.1"}, [7, "x", None, []]):
        assert netifd.from_dump({"interface": nonsense}, ("lan",)) == []
        assert found(interface("lan", ipv4_address=nonsense)) == []
    assert found(interface("lan", ipv4_address=[address(7, 24), address([], "24"), address("192.168.7.1", None)])) == []
