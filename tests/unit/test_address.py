from bgpmesh import address
from bgpmesh.address import Prefix, is_name, parse, parse_endpoint, parse_prefix, text


def fault(function, *arguments):
    try:
        function(*arguments)
    except ValueError as error:
        return str(error)
    return None


def test_what_is_a_name():
    for host in ("192.0.2.1", "2001:db8::1"):
        assert not is_name(host)
    for host in ("north.example.org", "north", "192.0.2.1.example", "1.2.3"):
        assert is_name(host)


def test_ipv4_addresses():
    assert parse("10.0.0.1") == (4, 0x0A000001)
    assert parse("255.255.255.255") == (4, 0xFFFFFFFF)
    assert text(4, 0) == "0.0.0.0"
    assert text(*parse("192.0.2.254")) == "192.0.2.254"


def test_ipv4_is_strict():
    for bad in (
        "",
        "10",
        "10.0.0",
        "10.0.0.0.0",
        "10.0.0.300",
        "10.0.0.-1",
        "10.0.0.01",
        "10.0.0.+1",
        "1.2.3.4 ",
    ):
        assert fault(parse, bad) == "not an IPv4 address", bad
    for bad in (
        "10.0.0.1_0",
        " 10.0.0.1",
        "10.0.0.1\n",
        "0x0a.0.0.1",
        "1..2.3",
        ".1.2.3",
        "1.2.3.",
        "1.2.3.٣",
    ):
        assert fault(parse, bad) == "not an IPv4 address", bad


def test_ipv6_text_is_canonical():
    # the examples of RFC 5952, section 4
    for given, canonical in (
        ("2001:0db8::0001", "2001:db8::1"),
        ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:DB8::ABCD", "2001:db8::abcd"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("::1", "::1"),
        ("fe80::", "fe80::"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
        ("::ffff:192.0.2.1", "::ffff:c000:201"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ):
        assert text(*parse(given)) == canonical, given


def test_ipv6_is_strict():
    for bad in (
        ":",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        "1:2:3:4:5:6:7:8::",
        "::1:2:3:4:5:6:7:8",
    ):
        assert fault(parse, bad) == "not an IPv6 address", bad
    for bad in (
        "12345::",
        "g::",
        "::1%eth0",
        "[::1]",
        "::+1",
        "::0x1",
        "::1_0",
        ":: 1",
        "::00001",
        ":1::",
        "1::2:",
    ):
        assert fault(parse, bad) == "not an IPv6 address", bad
    for bad in ("1.2.3.4::", "::1.2.3", "::1.2.3.256", "::1.2.3.4:5", "::1:2:3:4:5:6:7.8.9.10", "::-1"):
        assert fault(parse, bad) == "not an IPv6 address", bad


def test_prefixes_read_back():
    for given in ("0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "fd00:1::/64", "::1/128"):
        assert str(parse_prefix(given)) == given
    assert repr(parse_prefix("10.0.0.0/8")) == "Prefix('10.0.0.0/8')"
    assert str(parse_prefix("FD00:0::/64")) == "fd00::/64"


def test_prefixes_with_host_bits_are_refused_with_the_right_one():
    assert fault(parse_prefix, "10.0.0.1/24") == "has host bits set: 10.0.0.0/24 would be right"
    assert fault(parse_prefix, "fd00::1/64") == "has host bits set: fd00::/64 would be right"


def test_prefixes_need_a_length_in_range():
    right = "not a prefix: a length from /0 to /%d has to follow the address"
    for bad in ("10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/255.0.0.0"):
        assert fault(parse_prefix, bad) == right % 32, bad
    assert fault(parse_prefix, "fd00::/129") == right % 128
    assert fault(parse_prefix, "10.0.0/8") == "not an IPv4 address"


def test_a_prefix_knows_what_lies_inside():
    lan = parse_prefix("192.168.4.0/22")
    assert lan.contains(parse("192.168.4.0")) and lan.contains(parse("192.168.7.255"))
    assert not lan.contains(parse("192.168.3.255")) and not lan.contains(parse("192.168.8.0"))
    assert not parse_prefix("0.0.0.0/0").contains(parse("::1"))
    assert not parse_prefix("::/0").contains(parse("10.0.0.1"))
    assert text(4, lan.last()) == "192.168.7.255"
    assert text(4, parse_prefix("10.0.0.0/8").last()) == "10.255.255.255"


def test_prefixes_cover_and_overlap():
    wide, narrow, other = parse_prefix("10.0.0.0/8"), parse_prefix("10.1.0.0/16"), parse_prefix("11.0.0.0/8")
    assert wide.covers(narrow) and wide.covers(wide) and not narrow.covers(wide)
    assert wide.overlaps(narrow) and narrow.overlaps(wide)
    assert not wide.overlaps(other) and not wide.overlaps(parse_prefix("a00::/8"))


def test_prefixes_are_values():
    assert parse_prefix("10.0.0.0/8") == Prefix(4, 10 << 24, 8)
    assert parse_prefix("10.0.0.0/8") != parse_prefix("10.0.0.0/9")
    assert parse_prefix("::/0") != parse_prefix("0.0.0.0/0")
    assert parse_prefix("::/0") != "::/0"
    assert len({parse_prefix("10.0.0.0/8"), parse_prefix("10.0.0.0/8"), parse_prefix("10.0.0.0/9")}) == 2


def test_prefixes_sort_by_family_network_and_length():
    order = ["9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/9", "172.16.0.0/12", "::/0", "fd00::/8"]
    shuffled = [parse_prefix(order[index]) for index in (5, 2, 0, 3, 1, 4)]
    assert [str(prefix) for prefix in sorted(shuffled, key=lambda prefix: prefix.key())] == order


def test_the_hosts_of_a_prefix():
    lan = parse_prefix("10.0.0.0/24")
    assert lan.hosts() == 254
    assert text(*lan.host(1)) == "10.0.0.1" and text(*lan.host(254)) == "10.0.0.254"
    assert fault(lan.host, 255) == "10.0.0.0/24 has no host 255: 1 to 254 would be right"
    assert fault(lan.host, 0) == "10.0.0.0/24 has no host 0: 1 to 254 would be right"
    assert text(*parse_prefix("fd00::/64").host(10)) == "fd00::a"
    assert parse_prefix("fd00::/64").hosts() == (1 << 64) - 1
    for small, hosts in (
        ("10.0.0.4/30", ["10.0.0.5", "10.0.0.6"]),
        ("10.0.0.4/31", ["10.0.0.4", "10.0.0.5"]),
    ):
        prefix = parse_prefix(small)
        assert [text(*prefix.host(n + 1)) for n in range(prefix.hosts())] == hosts
    assert text(*parse_prefix("10.0.0.4/32").host(1)) == "10.0.0.4"


def test_what_is_a_host_address():
    lan = parse_prefix("10.0.0.0/24")
    assert lan.is_host(parse("10.0.0.1")) and lan.is_host(parse("10.0.0.254"))
    for bad in ("10.0.0.0", "10.0.0.255", "10.0.1.1", "9.255.255.255", "::1"):
        assert not lan.is_host(parse(bad)), bad
    assert not parse_prefix("fd00::/64").is_host(parse("fd00::"))
    assert parse_prefix("fd00::/64").is_host(parse("fd00::ffff:ffff:ffff:ffff"))
    assert parse_prefix("10.0.0.4/31").is_host(parse("10.0.0.4"))


def test_what_is_never_routed():
    for special in (
        "127.0.0.0/8",
        "127.1.0.0/16",
        "169.254.1.0/24",
        "224.0.0.0/4",
        "239.1.0.0/16",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "0.0.0.0/0",
    ):
        assert parse_prefix(special).is_special(), special
    for special in ("::1/128", "fe80::/10", "fe80::/64", "ff02::/16", "::/0", "::ffff:10.0.0.0/104"):
        assert parse_prefix(special).is_special(), special
    for usual in (
        "10.0.0.0/8",
        "192.168.1.0/24",
        "203.0.113.0/24",
        "fd00::/8",
        "2001:db8::/32",
        "64:ff9b::/96",
    ):
        assert not parse_prefix(usual).is_special(), usual


def test_the_prefix_of_one_host():
    assert str(address.host_prefix(parse("192.0.2.1"))) == "192.0.2.1/32"
    assert str(address.host_prefix(parse("2001:db8::1"))) == "2001:db8::1/128"


def test_endpoints():
    for given, found in (
        ("192.0.2.1", ("192.0.2.1", 655)),
        ("192.0.2.1:1655", ("192.0.2.1", 1655)),
        ("r1.example.net:65535", ("r1.example.net", 65535)),
        ("my_router", ("my_router", 655)),
        ("[2001:DB8::1]", ("2001:db8::1", 655)),
        ("[2001:db8::1]:1", ("2001:db8::1", 1)),
    ):
        assert parse_endpoint(given, 655) == found, given


def test_endpoints_that_are_none():
    host = "not a host name, an IPv4 address or an IPv6 address in brackets"
    for bad in (
        "",
        ":655",
        "a b",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "a/b",
        "user@host",
        "a\nb",
        "ä",
        "x" * 64,
        "x." * 127,
    ):
        assert fault(parse_endpoint, bad, 655) == host, bad
    port = "the port is not a whole number from 1 to 65535"
    for bad in ("a:", "a:0", "a:65536", "a:http", "a: 1", "[::1]:", "192.0.2.1:0655"):
        assert fault(parse_endpoint, bad, 655) == port, bad
    assert fault(parse_endpoint, "10.0.0.300", 655) == "not an IPv4 address"
    assert fault(parse_endpoint, "10.0.1", 655) == "not an IPv4 address"
    assert (
        fault(parse_endpoint, "2001:db8::1", 655) == "an IPv6 address needs brackets, as in [2001:db8::1]:655"
    )
    assert fault(parse_endpoint, "[2001:db8::1", 655) == "']' is missing after the IPv6 address"
    assert fault(parse_endpoint, "[2001:db8::1]655", 655) == "only :port may follow ']'"
    assert fault(parse_endpoint, "[192.0.2.1]", 655) == "not an IPv6 address"


def test_numbers():
    assert address.parse_number("655", 1, 65535) == 655
    for bad in ("0", "65536", "", "x", "-1", "+1", "01", "1_0", " 1", "1\n", "1.0", "٣"):
        assert fault(address.parse_number, bad, 1, 65535) == "not a whole number from 1 to 65535", bad
