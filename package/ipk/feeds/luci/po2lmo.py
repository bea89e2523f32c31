"""`po2lmo.py FILE.po FILE.lmo`: a translation in the form that LuCI reads at run time.

An .lmo has the translated texts, each padded to four bytes; then an index, sorted, of four numbers per text: the hash
of what is translated, how many forms the translation has, where the text is, its length; then where the index begins.
All numbers have 32 bits, the highest first. Form n of a plural is found under "msgid\\2n", a text with a context under
"context\\1msgid", the formula of the plural under 0. What is translated by itself is left out.
"""

import re
import struct
import sys

LINE = re.compile(r'(?:(msgctxt|msgid|msgid_plural|msgstr)(?:\[(\d)\])? )?"((?:[^"\\]|\\.)*)"')


def sfh(data):
    """The hash of some bytes: Paul Hsieh's SuperFastHash, begun with their number."""
    value, whole = len(data), len(data) & ~3
    for place in range(0, whole, 4):
        low, high = struct.unpack_from("<HH", data, place)
        value = value + low & 0xFFFFFFFF
        value = (value << 16 ^ high << 11 ^ value) & 0xFFFFFFFF
        value = value + (value >> 11) & 0xFFFFFFFF
    rest = data[whole:]
    if len(rest) == 3:
        low, last = struct.unpack("<Hb", rest)
        value = _mixed(value + low, 16, None)
        value = _mixed(value ^ last << 18, None, 11)
    elif len(rest) == 2:
        value = _mixed(value + struct.unpack("<H", rest)[0], 11, 17)
    elif rest:
        value = _mixed(value + struct.unpack("b", rest)[0], 10, 1)
    for left, right in ((3, 5), (4, 17), (25, 6)) if data else ():
        value = _mixed(value, left, right)
    return value


def _mixed(value, left, right):
    value &= 0xFFFFFFFF
    if left:
        value = (value ^ value << left) & 0xFFFFFFFF
    if right:
        value = value + (value >> right) & 0xFFFFFFFF
    return value


def messages(text):
    """The messages of a .po: (context, msgid, whether it has a plural, [msgstr ...]); context is "" without one.

    Of the escapes only those of quote and backslash are resolved, for LuCI looks up the others as they are written.
    Raises ValueError with the line that is none of a .po.
    """
    found, fields, into = [], {}, None

    def end():
        forms = [value for key, value in sorted(fields.items()) if key[0] == "msgstr"]
        # Without its first form a text counts as not translated.
        if forms and forms[0]:
            context, source = fields.get(("msgctxt", 0), ""), fields.get(("msgid", 0), "")
            found.append((context, source, ("msgid_plural", 0) in fields, forms))
        fields.clear()

    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = LINE.fullmatch(line)
        if not match or not (match[1] or into):
            raise ValueError(f"line {number}: {line}")
        if match[1]:
            if match[1] in ("msgctxt", "msgid") and any(name == "msgstr" for name, _ in fields):
                end()
            into = (match[1], int(match[2] or 0))
            fields[into] = ""
        fields[into] += re.sub(r'\\(["\\])', r"\1", match[3])
    end()
    return found


def compiled(text):
    """The bytes of the .lmo for a .po; none where it translates nothing."""
    texts, index = bytearray(), []

    def add(key, forms, value):
        index.append((key, forms, len(texts), len(value)))
        texts.extend(value + bytes(-len(value) % 4))

    for context, source, plural, forms in messages(text):
        if not source:
            formula = re.search(r"(?:^|\\n)plural-forms: (.*?)\\n", forms[0], re.I)
            if formula:
                add(0, 0, formula[1].encode())
            continue
        for form, value in enumerate(forms):
            if not value:
                continue
            name = (context + "\1" if context else "") + source + (f"\2{form}" if plural else "")
            key, value = sfh(name.encode()), value.encode()
            if key != sfh(value):
                add(key, len(forms), value)
    index.sort(key=lambda entry: entry[0])
    if not texts:
        return b""
    return bytes(texts) + b"".join(struct.pack(">4I", *entry) for entry in index) + struct.pack(">I", len(texts))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source_file:
        made = compiled(source_file.read())
    if made:
        with open(sys.argv[2], "wb") as target_file:
            target_file.write(made)
