"""Translations as LuCI reads them: what po2lmo.py makes of a .po, looked up as LuCI does."""

import importlib.util
import struct

import pytest
from conftest import PROJECT
from hypothesis import given
from hypothesis import strategies as st

spec = importlib.util.spec_from_file_location("po2lmo", PROJECT / "package" / "ipk" / "feeds" / "luci" / "po2lmo.py")
po2lmo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(po2lmo)

HEADER = 'msgid ""\nmsgstr ""\n"Language: es\\n"\n"Plural-Forms: nplurals=2; plural=n != 1;\\n"\n\n'


def read(data):
    """{hash: (forms, text)} of an .lmo, and the hashes in their order."""
    (start,) = struct.unpack(">I", data[-4:])
    index = list(struct.iter_unpack(">4I", data[start:-4]))
    assert all(offset % 4 == 0 for _, _, offset, _ in index)
    return {key: (forms, data[offset : offset + length].decode()) for key, forms, offset, length in index}, index


def translate(po):
    return read(po2lmo.compiled(po))[0]


# As LuCI has them: every length modulo 4, the last bytes with and without their highest bit.
HASHES = {
    "": 0, "State": 0x25285C6F, "Status": 0x663359C9, "Members": 0x16916C1D, "Latencia más": 0x2A17A0B8,
    "ñ": 0x6D9E92D7, "añ": 0xE3C2F2CC, "abñ": 0x31ECF83D, "abcñ": 0x6BA54CBB, "日本語": 0xAA84DBD6,
}


@pytest.mark.parametrize(("text", "value"), HASHES.items())
def test_hashes_are_those_of_luci(text, value):
    assert po2lmo.sfh(text.encode()) == value


def test_a_text_is_found_under_its_hash():
    found = translate(HEADER + '#: status.js:1\nmsgid "State"\nmsgstr "Estado"\n')
    assert found[po2lmo.sfh(b"State")] == (1, "Estado")


def test_a_context_and_the_forms_of_a_plural_are_part_of_the_key():
    po = 'msgctxt "tunnel"\nmsgid "%d up"\nmsgid_plural "%d up"\nmsgstr[0] "%d activo"\nmsgstr[1] "%d activos"\n'
    found = translate(HEADER + po + '\nmsgctxt "tunnel"\nmsgid "down"\nmsgstr "caído"\n')
    assert found[po2lmo.sfh(b"tunnel\x01%d up\x020")] == (2, "%d activo")
    assert found[po2lmo.sfh(b"tunnel\x01%d up\x021")] == (2, "%d activos")
    assert found[po2lmo.sfh(b"tunnel\x01down")] == (1, "caído")


def test_the_formula_of_the_plural_is_under_0():
    assert translate(HEADER)[0] == (0, "nplurals=2; plural=n != 1;")


def test_texts_over_several_lines_and_quotes():
    found = translate(HEADER + 'msgid ""\n"one "\n"\\"two\\""\nmsgstr ""\n"uno "\n"\\"dos\\""\n')
    assert found[po2lmo.sfh(b'one "two"')] == (1, 'uno "dos"')


def test_what_is_not_translated_is_left_out():
    po = 'msgid "a"\nmsgstr ""\n\nmsgid "same"\nmsgstr "same"\n\n#~ msgid "old"\n#~ msgstr "viejo"\n'
    assert set(translate(HEADER + po)) == {0}
    assert po2lmo.compiled('msgid ""\nmsgstr "Content-Type: text/plain"\n\n' + po) == b""


def test_a_line_that_is_none_of_a_po_is_named():
    with pytest.raises(ValueError, match="line 2: msgstr Estado"):
        po2lmo.compiled('msgid "State"\nmsgstr Estado\n')


@given(st.dictionaries(st.text("abc é日%", min_size=1), st.text("xyz ñ語.", min_size=1)))
def test_every_text_is_found_and_the_index_is_sorted(texts):
    po = "".join(f'msgid "{key}"\nmsgstr "{value}"\n\n' for key, value in texts.items())
    found, index = read(po2lmo.compiled(HEADER + po))
    assert [entry[0] for entry in index] == sorted(entry[0] for entry in index)
    for key, value in texts.items():
        # A blank may have been translated by itself.
        assert found.get(po2lmo.sfh(key.encode())) == ((1, value) if key != value else None)
