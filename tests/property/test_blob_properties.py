import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpmesh.ubus import blob

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    text,
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=20,
)
tables = st.dictionaries(text, values, max_size=8)


def kind_of(value):
    """The value with the types beside it: True, 1 and 1.0 are equal in Python, not on the bus."""
    if isinstance(value, dict):
        return {key: kind_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kind_of(item) for item in value]
    return type(value), value


@given(tables)
def test_a_table_comes_back_as_it_was(table):
    assert kind_of(blob.decode_table(blob.encode_table(table))) == kind_of(table)


@given(tables)
def test_the_order_of_a_dict_does_not_show(table):
    backwards = dict(reversed(list(table.items())))
    assert blob.encode_table(table) == blob.encode_table(backwards)


@given(tables)
def test_a_table_is_aligned_and_its_lengths_add_up(table):
    data = blob.encode_table(table)
    assert len(data) % 4 == 0
    assert [name for _, name, _, _ in blob.fields(data, 0, len(data))] == sorted(table)


@given(st.integers(0, 255), st.integers(0, 65535), st.integers(0, 2**32 - 1), text, tables)
def test_a_frame_comes_back_as_it_was(kind, serial, peer, method, table):
    attributes = [(blob.ATTR_OBJID, peer), (blob.ATTR_METHOD, method), (blob.ATTR_NO_REPLY, True)]
    frame = blob.encode_frame(kind, serial, peer, [*attributes, (blob.ATTR_DATA, table)])
    body = frame[blob.HEADER :]
    assert blob.decode_header(frame[: blob.HEADER]) == (kind, serial, peer, len(body))
    *first, (key, data) = blob.attributes(body)
    assert first == attributes and key == blob.ATTR_DATA
    assert kind_of(blob.decode_table(data)) == kind_of(table)


def read_everything(data):
    for decode in (blob.decode_table, lambda body: list(blob.attributes(body))):
        try:
            decode(data)
        except blob.BlobError:
            pass


@given(st.binary(max_size=200))
def test_garbage_is_an_error_at_worst(data):
    read_everything(data)


@settings(max_examples=500)
@given(tables, st.data())
def test_a_damaged_table_is_an_error_at_worst(table, data):
    good = bytearray(blob.encode_table(table))
    for _ in range(data.draw(st.integers(1, 4))):
        if good:
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    read_everything(bytes(good[: data.draw(st.integers(0, len(good)))]))


@given(st.integers(0, 2**24 - 1), st.integers(0, 255), st.binary(max_size=60))
def test_a_wrong_length_reads_nothing_beyond_the_end(length, identity, rest):
    data = struct.pack(">I", identity << 24 | length) + rest
    try:
        parts = list(blob.split(data, 0, len(data)))
    except blob.BlobError:
        return
    assert all(4 <= start <= end <= len(data) for _, _, start, end in parts)


@given(st.binary(max_size=60))
def test_a_decoded_table_is_no_larger_than_its_bytes_warrant(data):
    def count(value):
        if isinstance(value, dict):
            return 1 + sum(count(item) for item in value.values())
        if isinstance(value, list):
            return 1 + sum(count(item) for item in value)
        return 1

    try:
        assert count(blob.decode_table(data)) <= 1 + len(data) // 4
    except blob.BlobError:
        pass


@pytest.mark.parametrize("depth", [blob.DEPTH, 10_000, 100_000])
def test_deep_nesting_ends_soon(depth):
    # Each level is a table of one field without a name, 8 bytes of header.
    sizes = range(8 * min(depth, 2**20 // 8), 0, -8)
    data = b"".join(struct.pack(">IHxx", 0x82000000 | size, 0) for size in sizes)
    with pytest.raises(blob.BlobError, match="inside each other"):
        blob.decode_table(data)


def test_the_largest_frame():
    # In the root attribute: its header 4, the data's header 4, the field's 4, its name 4, the NUL 1
    fits = {"a": "x" * (blob.LIMIT - 17)}
    frame = blob.encode_frame(blob.DATA, 1, 2, [(blob.ATTR_DATA, fits)])
    assert len(frame) == 8 + blob.LIMIT
    with pytest.raises(blob.BlobError, match="ubus takes 1048576"):
        blob.encode_frame(blob.DATA, 1, 2, [(blob.ATTR_DATA, {"a": fits["a"] + "x"})])
