import struct

from bgpmesh.ubus import blob

CAPTURES = __file__.rpartition("/")[0] + "/../golden/ubus/captures.txt"
MONITOR = 11  # frames of the monitor, whose attributes are numbered otherwise
GREATEST = 0x7FFFFFFFFFFFFFFF


def captured():
    """The frames that libubus, ubusd and others sent each other, see tests/golden/ubus."""
    with open(CAPTURES) as file:
        lines = file.read().split("\n\n")[0].split("\n")
    return [bytes.fromhex(line) for line in lines]


def packed(word, payload):
    """An attribute written by other means than those under test."""
    size = 4 + len(payload)
    return struct.pack(">I", word << 24 | size) + payload + bytes(-size & 3)


def field(kind, name, payload):
    raw = name.encode()
    head = struct.pack(">H", len(raw)) + raw + b"\0"
    return packed(128 | kind, head + bytes(-len(head) & 3) + payload)


def rebuilt(data, start, end):
    """The fields of a range taken apart down to the values and put together again."""
    found = []
    for kind, name, at, stop in blob.fields(data, start, end):
        inside = kind in (blob.ARRAY, blob.TABLE)
        found.append(field(kind, name, rebuilt(data, at, stop) if inside else data[at:stop]))
    return b"".join(found)


def fault(function, *arguments):
    try:
        function(*arguments)
    except blob.BlobError as error:
        return str(error)
    return None


def tables_of(frame):
    for identity, value in blob.attributes(frame[blob.HEADER :]):
        if identity in (blob.ATTR_DATA, blob.ATTR_SIGNATURE) and fault(blob.decode_table, value) is None:
            yield value


def test_every_captured_frame_is_encoded_to_the_same_bytes():
    frames = captured()
    assert len(frames) == 527
    for frame in frames:
        kind, serial, peer, size = blob.decode_header(frame[: blob.HEADER])
        body = frame[blob.HEADER :]
        assert size == len(body)
        parts = [packed(high << 7 | low, body[at:end]) for high, low, at, end in blob.split(body, 0, size)]
        assert b"".join(parts) == body
        if kind != MONITOR:
            attributes = list(blob.attributes(body))
            # One of the captured clients sends version 1 to see what happens: nothing does.
            assert frame[:1] + blob.encode_frame(kind, serial, peer, attributes)[1:] == frame


def test_every_captured_table_is_rebuilt_from_its_fields_to_the_same_bytes():
    count = 0
    for frame in captured():
        if blob.decode_header(frame[: blob.HEADER])[0] != MONITOR:
            for data in tables_of(frame):
                assert rebuilt(data, 0, len(data)) == data
                count += 1
    assert count > 200


def test_every_captured_table_survives_decoding_and_encoding():
    for frame in captured():
        if blob.decode_header(frame[: blob.HEADER])[0] != MONITOR:
            for data in tables_of(frame):
                value = blob.decode_table(data)
                assert blob.decode_table(blob.encode_table(value)) == value


def test_what_libubus_sends_is_what_we_send():
    # `ubus call golden echo {"a":1,"b":-1,"max":2147483647,"min":-2147483648}`
    value = {"min": -2147483648, "a": 1, "max": 2147483647, "b": -1}
    data = blob.encode_table(value)
    frames = [frame for frame in captured() if data in frame]
    assert len(frames) >= 2
    kind, serial, peer, _ = blob.decode_header(frames[0][: blob.HEADER])
    attributes = [
        (key, item) for key, item in blob.attributes(frames[0][blob.HEADER :]) if key != blob.ATTR_DATA
    ]
    assert blob.encode_frame(kind, serial, peer, attributes + [(blob.ATTR_DATA, value)]) == frames[0]


def test_every_type_the_c_library_writes_is_read():
    found = [frame for frame in captured() if b"\0\3i16" in frame and frame[1] == blob.INVOKE]
    (value,) = [blob.decode_table(data) for data in tables_of(found[0])]
    assert value == {
        "str": "hello",
        "true": True,
        "false": False,
        "neg8": True,
        "u16": -1,
        "i16": 0x1234,
        "i32": 0x12345678,
        "neg32": -2,
        "i64": 0x123456789ABCDEF0,
        "neg64": -3,
        "dbl": 3.14159,
        "ndbl": -0.5,
        "arr": [1, "two", True, {"k": 3}],
        "tab": {"a": "A", "empty_arr": [], "empty_tab": {}},
        "empty": "",
        "null": None,
        "uni": "žluťoučký 🐎",
        "": "emptyname",
    }


def test_values():
    value = {
        "": "empty name",
        "null": None,
        "yes": True,
        "no": False,
        "zero": 0,
        "least32": -0x80000000,
        "more": 0x80000000,
        "greatest": GREATEST,
        "half": 0.5,
        "text": "žluťoučký 🐎",
        "nothing": "",
        "list": [1, "two", [3], {}, [], None],
        "table": {"a": {"b": {"c": []}}},
    }
    assert blob.decode_table(blob.encode_table(value)) == value
    assert isinstance(blob.decode_table(blob.encode_table({"x": 1.0}))["x"], float)
    assert blob.decode_table(blob.encode_table({"x": 1}))["x"] is not True


def test_numbers_take_the_type_they_need():
    assert blob.encode_table({"a": 0x7FFFFFFF}) == field(blob.INT32, "a", b"\x7f\xff\xff\xff")
    assert blob.encode_table({"a": 0x80000000}) == field(blob.INT64, "a", bytes(4) + b"\x80\0\0\0")
    assert blob.encode_table({"a": True}) == field(blob.BOOL, "a", b"\1")
    assert blob.encode_table({"a": 1.0}) == field(blob.DOUBLE, "a", b"\x3f\xf0" + bytes(6))


def test_a_dict_is_written_sorted_and_pairs_as_they_stand():
    one = field(blob.INT32, "a", b"\0\0\0\1")
    two = field(blob.INT32, "b", b"\0\0\0\2")
    assert blob.encode_table({"b": 2, "a": 1}) == one + two
    assert blob.encode_table((("b", 2), ("a", 1))) == two + one
    assert blob.encode_table({"t": (("b", 2), ("a", 1))}) == field(blob.TABLE, "t", two + one)


def test_the_smaller_numbers_of_c_programs_are_read():
    data = (
        field(blob.INT16, "s", b"\xff\xfe")
        + field(blob.BOOL, "b", b"\xfb")
        + field(blob.INT64, "l", bytes(8))
    )
    assert blob.decode_table(data) == {"s": -2, "b": True, "l": 0}


def test_padding_of_the_last_attribute_may_be_left_out():
    data = field(blob.STRING, "a", b"xy\0")
    assert len(data) % 4 == 0
    assert blob.decode_table(data[:-1]) == {"a": "xy"}


def test_malformed_tables_are_refused():
    good = field(blob.STRING, "name", b"value\0")
    for end in range(1, len(good) - 2):
        assert fault(blob.decode_table, good[:end]), end
    assert (
        fault(blob.decode_table, packed(blob.STRING, b"\0\1a\0x\0"))
        == "blobmsg field without a name at byte 4"
    )
    assert fault(blob.decode_table, packed(128 | blob.STRING, b"\xff\xffab")) == "truncated name at byte 4"
    assert "text without its NUL" in fault(blob.decode_table, packed(128 | blob.NULL, b"\0\1ab"))
    assert "text without its NUL" in fault(blob.decode_table, field(blob.STRING, "a", b"abc"))
    assert "text without its NUL" in fault(blob.decode_table, field(blob.STRING, "a", b""))
    assert "not UTF-8" in fault(blob.decode_table, field(blob.STRING, "a", b"\xff\xfe\0"))
    assert "2 bytes at byte" in fault(blob.decode_table, field(blob.INT32, "a", b"\0\1"))
    assert "unknown type 9" in fault(blob.decode_table, field(9, "a", b""))
    assert "attribute of 3 bytes" in fault(blob.decode_table, b"\x83\0\0\3")
    assert "attribute of 16777215 bytes" in fault(blob.decode_table, b"\x83\xff\xff\xff" + bytes(40))


def test_malformed_frames_are_refused():
    assert "length is 3" in fault(blob.decode_header, bytes(8) + b"\0\0\0\3")
    assert "1 bytes" in fault(lambda: list(blob.attributes(packed(blob.ATTR_OBJID, b"\1"))))
    assert "NUL" in fault(lambda: list(blob.attributes(packed(blob.ATTR_METHOD, b"abc"))))


def test_nesting_has_a_limit():
    def nested(depth):
        value = []
        for _ in range(depth - 1):
            value = [value]
        return {"a": value}

    deepest = nested(blob.DEPTH - 1)
    assert blob.decode_table(blob.encode_table(deepest)) == deepest
    assert "inside each other" in fault(blob.encode_table, nested(blob.DEPTH + 1))
    data = b""
    for _ in range(1000):
        data = field(blob.TABLE, "", data)
    assert "inside each other" in fault(blob.decode_table, data)


def test_what_ubus_has_no_type_for_is_refused():
    assert "b'x'" in fault(blob.encode_table, {"a": b"x"})
    assert "64 bits" in fault(blob.encode_table, {"a": GREATEST + 1})
    assert "64 bits" in fault(blob.encode_table, {"a": -GREATEST - 2})
    assert "NUL" in fault(blob.encode_table, {"a": "x\0y"})
    assert "NUL" in fault(blob.encode_table, {"x\0y": 1})
    assert "name" in fault(blob.encode_table, {1: 1})
    assert "65537 bytes" in fault(blob.encode_table, {"x" * 65536: 1})


def test_a_frame_beyond_the_limit_of_ubusd_is_refused():
    data = bytes(blob.LIMIT - 7)
    assert "ubus takes 1048576" in fault(blob.encode_frame, blob.DATA, 1, 2, [(blob.ATTR_DATA, data)])
