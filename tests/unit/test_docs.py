"""The tables in the documents are those that the agent has."""

from bgpmesh.config import OPTIONS
from bgpmesh.metrics import METRICS

ROOT = __file__[: __file__.rindex("tests/unit")]


def text_of(name):
    with open(ROOT + name) as file:
        return file.read()


def test_the_table_of_options():
    text = text_of("README.md")
    for name, default, _, meaning in OPTIONS:
        shown = " ".join(default) if isinstance(default, tuple) else default
        row = "| `%s` | %s | %s |\n" % (name, shown or "–", meaning)
        assert row in text, row


def test_the_table_of_metrics():
    text = text_of("docs/metrics.md")
    rows = ["| `%s` | %s | %s |\n" % row[:3] for row in METRICS]
    assert "".join(rows) in text, [row for row in rows if row not in text]


def test_every_test_that_the_table_of_failures_names_is_there():
    rows = [row for row in text_of("docs/failures.md").split("\n") if row.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        named = [part for part in row.split("|")[3].split("`") if "::" in part]
        assert named, row
        for name in named:
            path, _, test = name.partition("::")
            assert "\ndef %s(" % test in text_of(path), name


def test_what_the_earlier_names_became_is_there():
    table = text_of("docs/metrics.md").partition("| was | is |")[2]
    found = [part.partition("{")[0].partition("`")[0] for part in table.split("`bgpmesh_")[1:]]
    names = [row[0][len("bgpmesh_") :] for row in METRICS]
    assert len(found) == 8 and not [name for name in found if name not in names]
