import struct

from bgpmesh import fib

LITTLE = struct.pack("H", 1) == b"\1\0"
# As a little-endian kernel prints them; the lines have more blanks.
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wan\t00000000\t010012C6\t0003\t0\t0\t0\t00000000\t0\t0\t0
tinc0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tinc0\t0002A8C0\t0300000A\t0003\t0\t0\t512\t00FFFFFF\t0\t0\t0
tinc0\t070310AC\t0300000A\t0007\t0\t0\t512\tFFFFFFFF\t0\t0\t0
tinc01\t0003A8C0\t0300000A\t0003\t0\t0\t512\t00FFFFFF\t0\t0\t0
"""
ROUTES6 = """\
fd000000000200000000000000000000 40 00000000000000000000000000000000 00 fd000099000000000000000000000003 00000200 00000001 00000000 00000003    tinc0
fd000099000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001    tinc0
fd000000000300000000000000000000 40 00000000000000000000000000000000 00 fd000099000000000000000000000003 00000200 00000001 00000000 00000003      wan
"""  # noqa: E501


def swapped(text):
    """The addresses as a big-endian kernel prints them."""
    lines = []
    for line in text.split("\n"):
        words = line.split("\t")
        for place in (1, 2, 7):
            if len(words) > 7 and words[0] != "Iface":
                words[place] = "".join([words[place][at : at + 2] for at in (6, 4, 2, 0)])
        lines.append("\t".join(words))
    return "\n".join(lines)


def test_prefixes_that_lead_to_others_over_the_interface():
    assert fib.parse_ipv4(ROUTES if LITTLE else swapped(ROUTES), "tinc0") == {"192.168.2.0/24", "172.16.3.7/32"}
    assert fib.parse_ipv6(ROUTES6, "tinc0") == {"fd00:0:2::/64"}
    assert fib.parse_ipv4("", "tinc0") == fib.parse_ipv6("", "tinc0") == set()


def test_the_kernel_is_asked():
    assert fib.routed("no_such") == set()


def test_a_list_that_is_too_long_is_not_looked_at():
    most = fib._MOST
    fib._MOST = 0
    try:
        assert fib.routed("tinc0") is None
    finally:
        fib._MOST = most
