import struct

from example import member

from bgpmesh import neighbours
from bgpmesh.neighbours import Neighbours, message
from bgpmesh.tinc.render import hardware_address


def test_a_message_as_the_kernel_takes_it():
    # What iproute2 sends for `ip neighbour replace 10.0.0.2 lladdr 02:00:00:00:00:05 dev 3 nud permanent`,
    # but for its flags NLM_F_ACK and the sequence number.
    found = message(28, 3, "10.0.0.2", "02:00:00:00:00:05")
    length, kind, flags, _, _ = struct.unpack_from("IHHII", found)
    assert (length, kind, flags) == (len(found), 28, 0x505)
    assert struct.unpack_from("BxxxiHBB", found, 16) == (2, 3, 0x80, 0, 0)
    assert found[28:36] == struct.pack("HH", 8, 1) + bytes([10, 0, 0, 2])
    assert found[36:] == struct.pack("HH", 10, 2) + bytes([2, 0, 0, 0, 0, 5]) + b"\0\0"


def test_a_message_for_ipv6():
    found = message(29, 7, "fd00::a", "02:00:00:00:00:05")
    assert struct.unpack_from("BxxxiHBB", found, 16) == (10, 7, 0x80, 0, 0)
    assert found[28:48] == struct.pack("HH", 20, 1) + bytes([0xFD] + [0] * 14 + [10])
    assert len(found) == struct.unpack_from("I", found)[0] == 60


class Kernel:
    """A kernel's neighbour table and interface in place of the real ones."""

    def __init__(self):
        self.index = 3
        self.up = True
        self.asked = []
        self.refuses = None
        self.there = {}  # what an earlier agent has made

    def apply(self, table, wanted):
        before = neighbours._ask, neighbours.disk, neighbours.socket, neighbours._there
        neighbours._ask, neighbours.disk, neighbours.socket = self._ask, self, self
        neighbours._there = lambda sock, index: dict(self.there)
        try:
            self.asked = []
            table.apply("tinc0", wanted)
        finally:
            neighbours._ask, neighbours.disk, neighbours.socket, neighbours._there = before
        return self.asked

    def _ask(self, _, kind, index, ip, hardware):
        assert index == self.index
        if ip == self.refuses:
            raise OSError(1, ip)
        self.asked.append(("new" if kind == 28 else "delete", ip, hardware))

    # disk

    def read_or_none(self, path):
        if self.index is None:
            return None
        return ("0x1003\n" if self.up else "0x1002\n") if path.endswith("/flags") else "%d\n" % self.index

    # socket

    SOCK_RAW = 3

    def socket(self, *_):
        return self

    def close(self):
        pass


def hardware(number):
    return hardware_address("r%d" % number)


BRAVO, CAROL = member("r2", 2), member("r3", 3, ip6="fd00::3")
ONE = {"r2": BRAVO}
TWO = {"r2": BRAVO, "r3": CAROL}


def test_entries_are_made_changed_and_deleted():
    kernel, table = Kernel(), Neighbours()
    assert kernel.apply(table, ONE) == [("new", "10.0.0.2", hardware(2))]
    assert kernel.apply(table, ONE) == []
    assert kernel.apply(table, TWO) == [("new", "10.0.0.3", hardware(3)), ("new", "fd00::3", hardware(3))]
    # r4 comes, and takes the address that r2 gives up.
    moved = {"r2": member("r2", 5), "r4": member("r4", 2), "r3": CAROL}
    assert kernel.apply(table, moved) == [("new", "10.0.0.5", hardware(2)), ("new", "10.0.0.2", hardware(4))]
    assert kernel.apply(table, {"r2": moved["r2"], "r4": moved["r4"]}) == [
        ("delete", "10.0.0.3", hardware(3)),
        ("delete", "fd00::3", hardware(3)),
    ]


def test_what_an_earlier_agent_has_made_is_kept_or_goes():
    kernel, table = Kernel(), Neighbours()
    kernel.there = {"10.0.0.2": hardware(2), "10.0.0.3": hardware(9), "10.0.0.200": hardware(7)}
    assert kernel.apply(table, TWO) == [
        ("new", "10.0.0.3", hardware(3)),
        ("new", "fd00::3", hardware(3)),
        ("delete", "10.0.0.200", hardware(7)),
    ]
    assert kernel.apply(table, TWO) == []
    assert kernel.apply(Neighbours(), {})[0] == ("delete", "10.0.0.2", hardware(2))


def test_the_kernels_list_is_read():
    def entry(index, state, family, ip, hardware):
        body = struct.pack("BxxxiHBB", family, index, state, 0, 1) + struct.pack("HH", 4 + len(ip), 1) + ip
        body += struct.pack("HH", 10, 2) + hardware + b"\0\0" if hardware else b""
        return struct.pack("IHHII", 16 + len(body), 28, 2, 0, 0) + body

    class Kernel:
        parts = [
            entry(3, 0x80, 2, bytes([10, 0, 0, 2]), bytes([2, 0, 0, 0, 0, 5]))
            + entry(4, 0x80, 2, bytes([10, 0, 0, 9]), bytes([2, 0, 0, 0, 0, 5]))
            + entry(3, 0x40, 10, bytes(16), bytes(6)),
            entry(3, 0x80, 10, bytes([0xFD] + [0] * 14 + [10]), bytes([2, 0, 0, 0, 0, 0xAB]))
            + entry(3, 0x80, 10, bytes([0xFD] + [0] * 15), b"")
            + struct.pack("IHHIII", 20, 3, 2, 0, 0, 0),
        ]

        def send(self, data):
            assert struct.unpack_from("IHH", data) == (len(data), 30, 0x301)

        def recv(self, size):
            return self.parts.pop(0)

    assert neighbours._there(Kernel(), 3) == {"10.0.0.2": "02:00:00:00:00:05", "fd00::a": "02:00:00:00:00:ab"}


def test_a_record_that_is_another_with_the_same_addresses_touches_no_entry():
    kernel, table = Kernel(), Neighbours()
    kernel.apply(table, TWO)
    assert kernel.apply(table, {"r2": BRAVO, "r3": member("r3", 3, ip6="fd00::3", serial=2)}) == []


def test_a_member_of_another_make_is_left_to_arp():
    kernel, table = Kernel(), Neighbours()
    assert kernel.apply(table, {"r2": member("r2", 2, version=""), "r3": CAROL})[0][1] == "10.0.0.3"


def test_nothing_is_made_without_an_interface_that_is_up():
    kernel, table = Kernel(), Neighbours()
    kernel.up = False
    assert kernel.apply(table, ONE) == []
    kernel.index = None
    assert kernel.apply(table, ONE) == []


def test_all_are_made_anew_for_another_interface_of_that_name():
    kernel, table = Kernel(), Neighbours()
    kernel.apply(table, ONE)
    kernel.index = 4
    assert len(kernel.apply(table, ONE)) == 1
    kernel.up = False
    kernel.apply(table, ONE)
    kernel.up = True
    assert len(kernel.apply(table, ONE)) == 1


def test_what_the_kernel_refused_is_asked_for_again():
    kernel, table = Kernel(), Neighbours()
    kernel.refuses = "fd00::3"
    try:
        kernel.apply(table, TWO)
        raise AssertionError("made")
    except OSError:
        pass
    kernel.refuses = None
    assert ("new", "fd00::3", hardware(3)) in kernel.apply(table, TWO)
