"""What the kernel routes over the overlay: whether the routes that BIRD has learned have arrived there."""

import binascii
import struct

from . import address

_PIECE = 4096  # bytes
_MOST = 64  # pieces of the kernel's list: whoever has a full table has other means to look at it
_IPV4, _IPV6 = "/proc/net/route", "/proc/net/ipv6_route"


def routed(interface):
    """The prefixes, as texts, that lead to other routers over an interface; None where the list is too long.

    Raises OSError.
    """
    found = set()
    for path, parse in ((_IPV4, parse_ipv4), (_IPV6, parse_ipv6)):
        try:
            text = _read(path)
        except OSError:
            if path == _IPV6:
                continue  # a kernel without IPv6
            raise
        if text is None:
            return None
        found |= parse(text, interface)
    return found


def _read(path):
    """A list of the kernel's as text; None where it is too long."""
    pieces = []
    with open(path, "rb") as file:
        while len(pieces) < _MOST:
            piece = file.read(_PIECE)  # MicroPython makes room for all that is asked for
            if not piece:
                return b"".join(pieces).decode()
            pieces.append(piece)
    return None


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
