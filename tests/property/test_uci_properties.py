"""Sections written down in whatever quoting read back as they were."""

from hypothesis import given
from hypothesis import strategies as st

from bgpmesh import uci

NAMES = st.text("abcXYZ019_", min_size=1, max_size=8)
TYPES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
VALUES = st.text(
    st.sampled_from(" \t\n\r'\"\\#;aé") | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    min_size=1,
    max_size=12,
)
OPTIONS = st.dictionaries(NAMES, VALUES | st.lists(VALUES | st.just(""), min_size=1, max_size=3), max_size=4)
SECTIONS = st.lists(
    st.tuples(TYPES, st.none() | NAMES, OPTIONS), max_size=4, unique_by=lambda s: s[1] or object()
)


def single(text):
    return "'" + text.replace("'", "'\\''") + "'"


def double(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def bare(text):
    return "".join("\\" + c if c in " \t\v\f\r'\"\\#;" else c for c in text)


@st.composite
def written(draw, text):
    """A text as one UCI word: pieces, each in one of the three ways to write it that can."""
    pieces = []
    while text:
        length = draw(st.integers(1, len(text)))
        piece, text = text[:length], text[length:]
        # a backslash before the end of the line joins lines, quoted with " or not at all
        ways = [single] + [double] * ("\n" not in piece) + [bare] * ("\n" not in piece and "\r" not in piece)
        pieces.append(draw(st.sampled_from(ways))(piece))
        if draw(st.booleans()):
            pieces.append(draw(st.sampled_from(["''", '""', "\\\n"])))
    while pieces and pieces[-1] == "\\\n":
        pieces.pop()  # it would join the next line
    return "".join(pieces) or "''"


@st.composite
def files(draw):
    sections = draw(SECTIONS)
    blank = st.sampled_from([" ", "\t", "  "])
    end = st.sampled_from(["\n", "\n", " # note\n", "\r\n", "\n\n", " ; "])
    lines = []

    def statement(word, *arguments):
        lines.append(draw(st.sampled_from(["", "\t", " "])) + draw(st.sampled_from([word, word[0]])))
        for argument in arguments:
            lines.append(draw(blank) + draw(written(argument)))
        # a lone `;` may follow when no argument can still be missing
        lines.append(draw(end) if word != "config" or len(arguments) == 2 else "\n")

    for type_, name, options in sections:
        statement("config", type_, *([name] if name else []))
        for option in options:
            if isinstance(options[option], str):
                statement("option", option, options[option])
            else:
                for value in options[option]:
                    statement("list", option, value)
    text = "".join(lines)
    return sections, text[:-3] if text.endswith(" ; ") else text


@given(files())
def test_what_was_written_is_read(file):
    sections, text = file
    assert [(found.type, found.name, found.options) for found in uci.parse(text)] == sections


@given(st.text(st.sampled_from("configoptionlist \t\n\r'\"\\#;ab_-."), max_size=60))
def test_any_text_is_sections_or_a_fault_on_one_of_its_lines(text):
    try:
        for section in uci.parse(text):
            assert section.type
    except uci.UciError as error:
        assert 1 <= error.line <= text.count("\n") + 1
