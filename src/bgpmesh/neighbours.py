"""The kernel's neighbour table for the overlay: the members' hardware addresses, set rather than asked for.

Asking (ARP, neighbour discovery) is a broadcast that every member receives, and the kernel keeps
only 1024 answers by default. Over rtnetlink (RFC 3549, rtnetlink(7)), because busybox' ip cannot.
"""

import socket
import struct

from . import address, disk
from .tinc.render import hardware_address

_NETLINK = 16  # AF_NETLINK
_NEW, _DELETE, _GET = 28, 29, 30  # RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH
_FLAGS = 0x505  # NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE
_ALL = 0x301  # NLM_F_REQUEST, NLM_F_DUMP
_DONE = 3  # NLMSG_DONE
_PERMANENT = 0x80  # NUD_PERMANENT
_FAMILIES = {4: 2, 6: 10}  # AF_INET, AF_INET6


class Neighbours:
    """The entries for one interface."""

    def __init__(self):
        self._index = None
        self._made = {}  # node -> Seat of the member whose addresses have entries

    def apply(self, interface, wanted):
        """Makes the entries of the members `wanted`: node -> Seat. Others go, an earlier agent's included.

        Does nothing while the interface is not up, for the kernel forgets them when it gets its own
        address; makes all anew for a new interface of that name. True where it is one. Raises OSError.
        """
        folder = "/sys/class/net/" + interface
        flags = disk.read_or_none(folder + "/flags")
        index = int(disk.read_or_none(folder + "/ifindex") or 0) if flags and int(flags, 16) & 1 else None
        fresh = index is not None and index != self._index
        if index != self._index:
            self._index = None
            self._made = {}
        if index is None or self._made == wanted and not fresh:
            return fresh
        sock = socket.socket(_NETLINK, socket.SOCK_RAW)
        try:
            wrong = [node for node in self._made if wanted.get(node) is not self._made[node]]
            gone = {ip: hardware for node in wrong for ip, hardware in _entries(self._made[node])}
            if fresh:
                gone = _there(sock, index)
                self._index = index
            for node in sorted(wanted):
                if node in wrong or node not in self._made:
                    for ip, hardware in _entries(wanted[node]):
                        if gone.pop(ip, None) != hardware:
                            _ask(sock, _NEW, index, ip, hardware)
                    self._made[node] = wanted[node]
            for ip in sorted(gone):
                _ask(sock, _DELETE, index, ip, gone[ip])
            for node in wrong:
                if node not in wanted:
                    del self._made[node]
        finally:
            sock.close()
        return fresh


def _entries(seat):
    """[(address, hardware address)] of a Seat's member; of another make it has one of its own making."""
    member = seat.member
    if not member.version:
        return []
    hardware = hardware_address(member.node)
    return [(ip, hardware) for ip in (member.ip, member.ip6) if ip]


def message(kind, index, ip, hardware):
    """The netlink message that makes or deletes an entry: header, ndmsg, NDA_DST and NDA_LLADDR."""
    family, number = address.parse(ip)
    destination = bytes([number >> shift & 255 for shift in range(address.BITS[family] - 8, -8, -8)])
    link = bytes([int(part, 16) for part in hardware.split(":")])
    body = struct.pack("BxxxiHBB", _FAMILIES[family], index, _PERMANENT, 0, 0)
    body += struct.pack("HH", 4 + len(destination), 1) + destination
    body += struct.pack("HH", 4 + len(link), 2) + link + bytes(-len(link) % 4)
    return struct.pack("IHHII", 16 + len(body), kind, _FLAGS, 0, 0) + body


def _there(sock, index):
    """address -> hardware address of the permanent entries that there are for an interface. Raises OSError."""
    sock.send(struct.pack("IHHIIBxxxiHBB", 28, _GET, _ALL, 0, 0, 0, index, 0, 0, 0))
    found = {}
    while True:
        data, at = sock.recv(8192), 0
        while at < len(data):
            size, kind = struct.unpack_from("IH", data, at)
            if kind != _NEW:
                if kind != _DONE:
                    raise OSError(-struct.unpack_from("i", data, at + 16)[0], "the kernel does not list neighbours")
                return found
            entry = _entry(data[at : at + size], index)
            if entry:
                found[entry[0]] = entry[1]
            at += size + -size % 4


def _entry(data, index):
    """(address, hardware address) of a message of the list; None where it is not a permanent one of that interface."""
    family, where, state = struct.unpack_from("BxxxiH", data, 16)
    if where != index or not state & _PERMANENT or family not in _FAMILIES.values():
        return None
    values, at = {}, 28
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("HH", data, at)
        values[kind] = data[at + 4 : at + size]
        at += max(4, size + -size % 4)
    if 1 not in values or len(values.get(2, b"")) != 6:
        return None
    ip = address.text(4 if family == 2 else 6, int.from_bytes(values[1], "big"))
    return ip, ":".join(["%02x" % byte for byte in values[2]])


def _ask(sock, kind, index, ip, hardware):
    sock.send(message(kind, index, ip, hardware))
    answer = sock.recv(4096)
    fault = -struct.unpack_from("i", answer, 16)[0]
    if fault and not (kind == _DELETE and fault == 2):
        raise OSError(fault, "the kernel does not take %s as neighbour" % ip)
