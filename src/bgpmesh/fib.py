"""What the kernel routes over the overlay: whether the routes that BIRD has learned have arrived there."""

import binascii
import struct

from . import address

_MOST = 1 << 18  # bytes of the kernel's list: the router of somebody with a full table has other means to look at it
_IPV4, _IPV6 = "/proc/net/route", "/proc/net/ipv6_route"


def routed(interface):
    """The prefixes, as texts, that lead to other routers over an interface; None where the list is too long.

    Raises OSError.
    """
    found = set()
    for path, parse in ((_IPV4, parse_ipv4), (_IPV6, parse_ipv6)):
        try:
            with open(path, "rb") as file:
                data = file.read(_MOST)
        except OSError:
            if path == _IPV6:
                continue  # a kernel without IPv6
            raise
        if len(data) == _MOST:
            return None
        found |= parse(data.decode(), interface)
    return found


def parse_ipv4(text, interface):
    """The same from the text of /proc/net/route."""
    found = set()
    for line in text.split("\n"):
        words = line.split()
        if len(words) > 7 and words[0] == interface and words[2].strip("0"):
            length = bin(int(words[7], 16)).count("1")
            found.add("%s/%d" % (ipv4(words[1]), length))
    return found


def parse_ipv6(text, interface):
    """The same from the text of /proc/net/ipv6_route."""
    found = set()
    for line in text.split("\n"):
        words = line.split()
        if len(words) > 9 and words[9] == interface and words[4].strip("0"):
            found.add("%s/%d" % (address.text(6, int(words[0], 16)), int(words[1], 16)))
    return found


def ipv4(digits):
    """The address that the kernel prints so: in network order, as a number of its own order."""
    return address.text(4, int(binascii.hexlify(struct.pack("I", int(digits, 16))), 16))
