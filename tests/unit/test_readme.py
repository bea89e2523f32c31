"""The README's table of options is the one that the agent has."""

from bgpmesh.config import OPTIONS


def test_the_table_of_options_is_the_agents():
    with open(__file__[: __file__.rindex("tests/unit")] + "README.md") as file:
        text = file.read()
    for name, default, _, meaning in OPTIONS:
        shown = " ".join(default) if isinstance(default, tuple) else default
        row = "| `%s` | %s | %s |\n" % (name, shown or "–", meaning)
        assert row in text, row
