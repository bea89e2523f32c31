"""The wire format of ubus: frames, attributes and blobmsg values (libubox: blobmsg.h; ubus: ubusmsg.h).

A frame is `u8 version = 0, u8 type, u16 seq, u32 peer` and a root attribute, all big-endian. An attribute
is `u32 = extended << 31 | id << 24 | length`, its payload, and zeros up to a multiple of four; the length
counts these four bytes, not the zeros. A blobmsg field is an extended attribute whose id is its type and
whose payload starts with `u16 length of the name, name, NUL`, padded likewise.

Values: None, bool, int, float, str, list (array) and dict (table). A dict is written sorted by key; a tuple
of (name, value) pairs is a table written in that order.
"""

import struct

# Frame types
HELLO = 0
STATUS = 1
DATA = 2
PING = 3
LOOKUP = 4
INVOKE = 5
ADD_OBJECT = 6
REMOVE_OBJECT = 7
SUBSCRIBE = 8
UNSUBSCRIBE = 9
NOTIFY = 10

# Attributes of a frame
ATTR_STATUS = 1
ATTR_OBJPATH = 2
ATTR_OBJID = 3
ATTR_METHOD = 4
ATTR_OBJTYPE = 5
ATTR_SIGNATURE = 6
ATTR_DATA = 7
ATTR_TARGET = 8
ATTR_ACTIVE = 9
ATTR_NO_REPLY = 10
ATTR_SUBSCRIBERS = 11
ATTR_USER = 12
ATTR_GROUP = 13

_NUMBERS = (ATTR_STATUS, ATTR_OBJID, ATTR_OBJTYPE, ATTR_TARGET)
_TEXTS = (ATTR_OBJPATH, ATTR_METHOD, ATTR_USER, ATTR_GROUP)
_FLAGS = (ATTR_ACTIVE, ATTR_NO_REPLY)

# Types of blobmsg fields
NULL = 0
ARRAY = 1
TABLE = 2
STRING = 3
INT64 = 4
INT32 = 5
INT16 = 6
BOOL = 7
DOUBLE = 8

_FORMATS = {NULL: "", INT64: ">q", INT32: ">i", INT16: ">h", BOOL: ">b", DOUBLE: ">d"}

HEADER = 12
"""Bytes of a frame up to and with the root attribute's header."""
LIMIT = 1048576
"""The largest root attribute ubusd takes, in bytes; it drops the connection of who sends more."""
DEPTH = 32
"""Tables and arrays inside each other, at most."""


class BlobError(ValueError):
    """Bytes that are not what they should be, or a value that cannot be written."""


def encode_frame(kind, seq, peer, attributes):
    """A frame as a bytearray. `attributes` are (id, value) pairs, written in that order.

    A value is an int, a bool or a str as the id has it, a dict for DATA and SIGNATURE, or the payload as
    bytes. Raises BlobError where a table holds what ubus has no type for, or the whole exceeds the LIMIT.
    """
    # Measured first and written into one buffer: the pieces of a large message would fill a small heap.
    size = 4 + sum([4 + _aligned(_payload_size(value)) for _, value in attributes])
    if size > LIMIT:
        raise BlobError("message of %d bytes: ubus takes %d" % (size, LIMIT))
    out = bytearray(8 + size)
    struct.pack_into(">BBHII", out, 0, 0, kind, seq, peer, size)
    at = HEADER
    for identity, value in attributes:
        end = _write_payload(out, at + 4, identity, value)
        struct.pack_into(">I", out, at, identity << 24 | end - at)
        at = _aligned(end)
    return out


def fits(table):
    """Whether a message has room for a table, and for what is sent with it. Raises BlobError as encode_frame."""
    return _size(table, 0) <= LIMIT - 256


def decode_header(data):
    """What the first HEADER bytes of a frame say: (type, seq, peer, number of bytes that follow).

    The version is ignored, as ubusd does: it passes a provider's answer on with whatever stands there.
    """
    _, kind, seq, peer, length = struct.unpack(">BBHII", data)
    length &= 0xFFFFFF
    if length < 4:
        raise BlobError("a frame whose length is %d" % length)
    return kind, seq, peer, length - 4


def attributes(body):
    """Iterates over a frame's attributes as the (id, value) that encode_frame takes; tables stay bytes."""
    for _, identity, start, end in split(body, 0, len(body)):
        if identity in _NUMBERS:
            value = _unpack(">I", body, start, end)
        elif identity in _TEXTS:
            value = _text(body, start, end)
        elif identity in _FLAGS:
            value = bool(_unpack(">b", body, start, end))
        else:
            value = body[start:end]
        yield identity, value


def encode_table(value):
    """The payload of DATA or SIGNATURE for a dict or a tuple of pairs."""
    out = bytearray(_size(value, 0))
    _write(out, 0, value)
    return bytes(out)


def decode_table(data):
    """The dict that the payload of DATA or SIGNATURE holds. Of two fields of one name the last one counts."""
    return _value(data, TABLE, 0, len(data), 1)


def split(data, start, end):
    """Iterates over the attributes of a range of bytes: (extended, id, payload's start, payload's end)."""
    while start < end:
        if start + 4 > end:
            raise BlobError("truncated attribute at byte %d" % start)
        word = struct.unpack_from(">I", data, start)[0]
        length = word & 0xFFFFFF
        if length < 4 or start + length > end:
            raise BlobError("attribute of %d bytes at byte %d of %d" % (length, start, end))
        yield word >> 31, word >> 24 & 127, start + 4, start + length
        start += length + (-length & 3)


def fields(data, start, end):
    """Iterates over the blobmsg fields of a range of bytes: (type, name, value's start, value's end)."""
    for extended, kind, at, stop in split(data, start, end):
        if not extended or at + 3 > stop:
            raise BlobError("blobmsg field without a name at byte %d" % at)
        length = struct.unpack_from(">H", data, at)[0] + 1
        if at + 2 + length > stop:
            raise BlobError("truncated name at byte %d" % at)
        value = at + (2 + length + 3 & ~3)
        yield kind, _text(data, at + 2, at + 2 + length), min(value, stop), stop


def _aligned(size):
    return size + (-size & 3)


def _payload_size(value):
    if isinstance(value, (bytes, bytearray)):
        return len(value)
    if isinstance(value, bool):
        return 1
    if isinstance(value, int):
        return 4
    return _size(value, 0)


def _write_payload(out, at, identity, value):
    if isinstance(value, (bytes, bytearray)):
        out[at : at + len(value)] = value
        return at + len(value)
    if identity in _NUMBERS:
        struct.pack_into(">I", out, at, value)
        return at + 4
    return _write(out, at, value)


def _kind(value):
    """The type that a value is written as."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        if -0x80000000 <= value <= 0x7FFFFFFF:
            return INT32
        if -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
            return INT64
        raise BlobError("%d does not fit 64 bits" % value)
    if isinstance(value, float):
        return DOUBLE
    if isinstance(value, str):
        return STRING
    if isinstance(value, (dict, tuple)):
        return TABLE
    if isinstance(value, list):
        return ARRAY
    raise BlobError("ubus has no type for %r" % (value,))


def _items(value):
    """The (name, value) pairs of an array or a table in the order they are written in."""
    if isinstance(value, list):
        return [("", item) for item in value]
    if isinstance(value, tuple):
        return value
    return [(name, value[name]) for name in sorted(value, key=str)]


def _size(value, depth):
    """Bytes that a value takes; all that can be wrong with one is found here."""
    kind = _kind(value)
    if kind == STRING:
        return _text_size(value)
    if kind != TABLE and kind != ARRAY:
        return struct.calcsize(_FORMATS[kind])
    if depth >= DEPTH:
        raise BlobError("more than %d tables and arrays inside each other" % DEPTH)
    size = 0
    for name, item in _items(value):
        length = _text_size(name)
        if length > 65536:
            raise BlobError("a name of %d bytes" % length)
        size += 4 + _aligned(2 + length) + _aligned(_size(item, depth + 1))
    return size


def _text_size(text):
    if not isinstance(text, str):
        raise BlobError("a name must be text, not %r" % (text,))
    if "\0" in text:
        raise BlobError("text with a NUL: %r" % text)
    try:
        return len(text.encode()) + 1
    except UnicodeError:
        raise BlobError("not a text of Unicode characters: %r" % text)


def _write(out, at, value):
    """Writes a value into zeros; the position after it."""
    kind = _kind(value)
    if kind == STRING:
        return _write_text(out, at, value)
    if kind != TABLE and kind != ARRAY:
        if kind != NULL:
            struct.pack_into(_FORMATS[kind], out, at, value)
        return at + struct.calcsize(_FORMATS[kind])
    for name, item in _items(value):
        end = _write_text(out, at + 6, name)
        struct.pack_into(">H", out, at + 4, end - at - 7)
        end = _write(out, at + 4 + _aligned(end - at - 4), item)
        struct.pack_into(">I", out, at, (128 | _kind(item)) << 24 | end - at)
        at += _aligned(end - at)
    return at


def _write_text(out, at, text):
    raw = text.encode()
    out[at : at + len(raw)] = raw
    return at + len(raw) + 1


def _value(data, kind, start, end, depth):
    if kind == STRING:
        return _text(data, start, end)
    if kind == TABLE or kind == ARRAY:
        if depth > DEPTH:
            raise BlobError("more than %d tables and arrays inside each other" % DEPTH)
        found = {} if kind == TABLE else []
        for inner, name, at, stop in fields(data, start, end):
            item = _value(data, inner, at, stop, depth + 1)
            if kind == TABLE:
                found[name] = item
            else:
                found.append(item)
        return found
    if kind == NULL:
        return None
    if kind not in _FORMATS:
        raise BlobError("unknown type %d at byte %d" % (kind, start))
    value = _unpack(_FORMATS[kind], data, start, end)
    return bool(value) if kind == BOOL else value


def _unpack(form, data, start, end):
    if end - start != struct.calcsize(form):
        raise BlobError("%d bytes at byte %d where %d belong" % (end - start, start, struct.calcsize(form)))
    return struct.unpack_from(form, data, start)[0]


def _text(data, start, end):
    if end <= start or data[end - 1]:
        raise BlobError("text without its NUL at byte %d" % start)
    try:
        return str(data[start : end - 1], "utf-8")
    except UnicodeError:
        raise BlobError("not UTF-8 at byte %d: %r" % (start, data[start : end - 1][:40]))
