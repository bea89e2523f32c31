"""The metrics' text by promtool's judgement."""

import pytest
from monitoring.prometheus import PROJECT, promtool

GOLDEN = PROJECT / "tests" / "golden" / "metrics"


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_promtool_finds_nothing_wrong_with_what_is_rendered(path):
    text = path.read_text()
    assert text.startswith("# HELP ")
    assert promtool("check", "metrics", text=text) == (0, "")


def test_promtool_would_say_so():
    status, output = promtool("check", "metrics", text="# TYPE things_total gauge\nthings_total 1\n")
    assert status == 3 and "no help text" in output
