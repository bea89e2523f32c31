"""Members in little memory: of a large mesh they are most of what the agent keeps.

On MicroPython an object with a Member's attributes takes 1.7 kB. Here what is the member's alone is one row of bytes,
and what most members have in common is one tuple for all of them; attributes are made from both when asked for.
"""

import binascii
import struct

from . import address
from .records import ID_LENGTH, Member

# ip, router_id, serial, the endpoint's port, prefixes, and the sizes of ip6, host, ed25519, and id with by.
_HEAD = ">IIQHHBBBB"
_PEM = ("RSA PUBLIC KEY", "PUBLIC KEY")
# What tinc's keys of 2048 bits have around the modulus (RFC 8017, RSAPublicKey), and their exponent, 65537.
_DER = b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00", b"\x02\x03\x01\x00\x01"
_COMMON = ("asn", "version", "secrets", "signed", "ao", "full_mesh_max", "reflector", "poll_interval", "generation")
_ID = ID_LENGTH // 2  # bytes
_KINDS = 64  # of what members have in common that are remembered

_common = {}


class Compact(Member):
    """A Member that takes no other values any more, but for `created`."""

    next = None
    proof = None  # of a record whose text is at hand

    def __init__(self, node, created, data, common):
        self.node = node
        self.created = created
        self._data = data
        self._common = common

    @property
    def folder(self):
        """What comes before its name in the record's key."""
        return self._common[-1]

    def marks(self):
        """[(kind, number)] of what no other member may have as well: equal numbers are to be looked at closer."""
        data, head = self._data, struct.unpack_from(_HEAD, self._data)
        found = [(0, head[0]), (1, head[1])]
        if head[5]:
            found.append((0, int.from_bytes(data[_START + 9 : _START + 16], "big") << 1 | 1))
        if head[7]:
            at = _START + head[5] + head[6]
            found.append((2, int.from_bytes(data[at : at + 7], "big")))
        at = _keys_at(data, head)
        if len(data) > at:
            found.append((2, _rsa_mark(data, at)))
        if self.next:
            if self.next.ed25519:
                found.append((2, int.from_bytes(self.next.ed25519.encode()[:7], "big")))
            if self.next.key:
                found.append((2, _rsa_mark(_pack_key(self.next.key))))
        return found

    def spans(self, family):
        """Its prefixes of a family, as span() has them."""
        data, head = self._data, struct.unpack_from(_HEAD, self._data)
        at = _START + head[5] + head[6] + head[7]
        found = []
        for _ in range(head[4]):
            length = data[at]
            size = 5 if length < 64 else 17
            if family == (4 if length < 64 else 6):
                number = int.from_bytes(data[at + 1 : at + size], "big")
                found.append(number << 8 | (length if family == 4 else length - 64))
            at += size
        return found

    def __getattr__(self, name):
        if name in _COMMON:
            found = self._common[_COMMON.index(name)]
            return list(found) if name == "secrets" else found
        if name not in _MAKERS:
            raise AttributeError(name)
        return _MAKERS[name](self._data, struct.unpack_from(_HEAD, self._data))


def pack(member, folder=""):
    """The same Member as a Compact, which it may be already. folder: what comes before its name in the record's key."""
    if isinstance(member, Compact):
        return member
    values = tuple([getattr(member, name) for name in _COMMON])
    values = values[:2] + (tuple(values[2]),) + values[3:] + (folder,)
    if len(_common) >= _KINDS:
        _common.clear()
    host, port = member.endpoint or ("", 0)
    ip6 = _bytes6(address.parse(member.ip6)[1]) if member.ip6 else b""
    ed25519 = (member.ed25519 or "").encode()
    numbers = address.parse(member.ip)[1], address.parse(member.router_id)[1], member.serial, port
    shown = binascii.unhexlify(member.id + member.by) if member.id else b""
    sizes = len(member.prefixes), len(ip6), len(host), len(ed25519), len(shown)
    parts = [struct.pack(_HEAD, *(numbers + sizes)), ip6, host.encode(), ed25519]
    for prefix in member.prefixes:
        # A length from 64 on is one of IPv6.
        four = prefix.family == 4
        parts += [bytes([prefix.length + (0 if four else 64)])]
        parts += [struct.pack(">I", prefix.network) if four else _bytes6(prefix.network)]
    parts += [shown, _pack_key(member.key)]
    found = Compact(member.node, member.created, b"".join(parts), _common.setdefault(values, values))
    if member.next:
        found.next = member.next
    return found


def span(prefix):
    """A Prefix as a number: by address, then by length."""
    return prefix.network << 8 | prefix.length


def _pack_key(text):
    """A digit for its kind and the key itself, or "t" and the text where that does not come back as it was.

    Of the most usual ones, "m" and the modulus.
    """
    if not text:
        return b""
    lines = text.split("\n")
    for place, kind in enumerate(_PEM):
        if lines[0] == "-----BEGIN %s-----" % kind:
            try:
                data = b"%d" % place + binascii.a2b_base64("".join(lines[1:-1]))
            except ValueError:
                break
            usual = data[:1] == b"0" and len(data) == 271 and data[1:10] == _DER[0] and data[-5:] == _DER[1]
            if usual:
                data = b"m" + data[10:-5]
            if _unpack_key(data) == text:
                return data
    return b"t" + text.encode()


def _unpack_key(data):
    if not data:
        return None
    kind, data = data[:1], data[1:]
    if kind == b"t":
        return data.decode()
    if kind == b"m":
        kind, data = b"0", _DER[0] + data + _DER[1]
    kind = _PEM[int(kind)]
    lines = ["-----BEGIN %s-----" % kind]
    # 48 bytes are a line.
    lines += [binascii.b2a_base64(data[at : at + 48])[:-1].decode() for at in range(0, len(data), 48)]
    return "\n".join(lines + ["-----END %s-----" % kind])


def _rsa_mark(data, start=0):
    # Before the exponent, which all have, and nothing of what is before the key.
    return int.from_bytes(data[max(start, len(data) - 12) : -5], "big")


def _bytes6(number):
    return struct.pack(">QQ", number >> 64, number & 0xFFFFFFFFFFFFFFFF)


def _number6(data, at):
    high, low = struct.unpack_from(">QQ", data, at)
    return high << 64 | low


_START = struct.calcsize(_HEAD)


def _ip6(data, head):
    return address.text(6, _number6(data, _START)) if head[5] else None


def _endpoint(data, head):
    at = _START + head[5]
    return (data[at : at + head[6]].decode(), head[3]) if head[6] else None


def _ed25519(data, head):
    at = _START + head[5] + head[6]
    return data[at : at + head[7]].decode() or None


def _prefixes(data, head):
    at = _START + head[5] + head[6] + head[7]
    found = []
    for _ in range(head[4]):
        length = data[at]
        if length < 64:
            found.append(address.Prefix(4, struct.unpack_from(">I", data, at + 1)[0], length))
            at += 5
        else:
            found.append(address.Prefix(6, _number6(data, at + 1), length - 64))
            at += 17
    return found


def _keys_at(data, head):
    """Where the RSA key begins, after id and by."""
    at = _START + head[5] + head[6] + head[7]
    for _ in range(head[4]):
        at += 5 if data[at] < 64 else 17
    return at + head[8]


def _shown(data, head, start, stop):
    """A part of id and by, which end where the keys begin."""
    at = _keys_at(data, head) - head[8]
    return binascii.hexlify(data[at + start : at + stop]).decode() if head[8] else None


def _key(data, head):
    return _unpack_key(data[_keys_at(data, head) :])


_MAKERS = {
    "ip": lambda data, head: address.text(4, head[0]),
    "router_id": lambda data, head: address.text(4, head[1]),
    "serial": lambda data, head: head[2],
    "ip6": _ip6,
    "endpoint": _endpoint,
    "ed25519": _ed25519,
    "prefixes": _prefixes,
    "key": _key,
    "id": lambda data, head: _shown(data, head, 0, _ID),
    "by": lambda data, head: _shown(data, head, _ID, head[8]),
}
