import json

from fake_http import run

from bgpmesh import check


def checked(layers, as_json=False):
    """(exit status, what was printed) with these layers in place of the real ones."""
    before, check.LAYERS = check.LAYERS, layers
    lines = []
    check.print = lines.append
    try:
        return run(check.run(as_json)), "\n".join(lines)
    finally:
        check.LAYERS = before
        del check.print


async def configuration(_):
    return "the options", "node 'alfa'"


async def fine(options):
    return "%s are there" % options


async def bad(_):
    raise check.Bad("it is broken", "mend it")


def layers(*looks):
    return (("configuration", check.configuration),) + looks


class Configured:
    """Has the configuration found good, or not."""

    def __init__(self, look):
        self._look = look

    def __enter__(self):
        self._before, check.configuration = check.configuration, self._look

    def __exit__(self, *_):
        check.configuration = self._before


def test_each_layer_has_a_verdict_and_a_remedy():
    with Configured(configuration):
        code, out = checked(layers(("one", fine), ("two", bad)))
    assert code == 1
    assert out.split("\n") == [
        "ok    configuration: node 'alfa'",
        "ok    one: the options are there",
        "BAD   two: it is broken",
        "      mend it",
    ]


def test_as_json():
    with Configured(configuration):
        code, out = checked(layers(("one", fine)), True)
        assert code == 0
        assert json.loads(out) == {
            "ok": True,
            "layers": [
                {"name": "configuration", "ok": True, "text": "node 'alfa'", "remedy": ""},
                {"name": "one", "ok": True, "text": "the options are there", "remedy": ""},
            ],
        }
        code, out = checked(layers(("two", bad)), True)
    found = json.loads(out)
    assert code == 1 and found["ok"] is False
    assert found["layers"][1] == {"name": "two", "ok": False, "text": "it is broken", "remedy": "mend it"}


def test_nothing_else_is_looked_at_without_a_configuration():
    with Configured(bad):
        code, out = checked(layers(("one", fine)))
    assert code == 1 and "BAD   one: not looked at\n      mend the configuration first" in out
