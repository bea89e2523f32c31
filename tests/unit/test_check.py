import asyncio
import json

from example import folder, given, options
from fake_http import run

from bgpmesh import check, disk


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


def test_a_page_gets_its_verdicts_before_it_waits_no_longer():
    async def silent(_):
        await asyncio.sleep(0.3)
        return "it answers at last"

    before, check._SHORT, check._LEAST = (check._SHORT, check._LEAST), 0.1, 0.05
    try:
        with Configured(configuration):
            code, out = checked(layers(("slow", silent), ("slower", silent), ("one", fine)), True)
            assert "ok    slow: it answers at last" in checked(layers(("slow", silent)))[1], "a shell has the time"
    finally:
        check._SHORT, check._LEAST = before
    rows = json.loads(out)["layers"]
    assert code == 1 and [row["ok"] for row in rows] == [True, False, False, True]
    assert "no verdict" in rows[2]["text"] and "in a shell" in rows[2]["remedy"]


def test_nothing_else_is_looked_at_without_a_configuration():
    with Configured(bad):
        code, out = checked(layers(("one", fine)))
    assert code == 1 and "BAD   one: not looked at\n      mend the configuration first" in out


def test_options_that_cannot_be_read_are_no_wrong_options():
    before, check.CONFIG = check.CONFIG, folder("unreadable")
    try:
        run(check.configuration(None))
        raise AssertionError("a folder was read")
    except check.Bad as error:
        assert str(error).startswith("cannot read %s: " % check.CONFIG) and "directory" in str(error)
        assert "root" in error.remedy and "uci set" not in error.remedy
    finally:
        disk.remove_folder(check.CONFIG)
        check.CONFIG = before


def test_every_name_in_the_options_is_looked_up():
    async def resolve(host, port):
        if host != "gone.example":
            return []
        raise OSError(2, "cannot resolve it")

    before, check.compat.resolve = check.compat.resolve, resolve
    try:
        found = options("option endpoint 'north.example'", "option rpki 'validator.example'")
        assert run(check.dns(found)) == "north.example, validator.example"
        for option in ("etcd", "endpoint", "rpki"):
            try:
                run(check.dns(options("option %s 'gone.example'" % option)))
                raise AssertionError(option)
            except check.Bad as error:
                assert "'gone.example' has no address" in str(error)
    finally:
        check.compat.resolve = before


def opened(port, *rules):
    """What is said of the firewall of a router with this port, which has these rules for what comes from wan."""
    text = "table inet fw4 {\n\tchain input_wan {\n%s\n\t}\n}\n" % "\n".join(["\t\t" + rule for rule in rules])

    async def nft(argv, timeout, most=4096):
        return 0, text.encode()[:most]

    before, check.compat.run = check.compat.run, nft
    try:
        return run(check.firewall(options("option endpoint 'north.example'", "option port '%d'" % port)))
    except check.Bad as error:
        return str(error)
    finally:
        check.compat.run = before


def test_a_port_is_open_where_a_rule_is_for_it():
    accept = ' counter packets 0 bytes 0 accept comment "!fw4: bgpmesh: tunnels"'
    for ports in ("655", "600-700", "{ 80, 655 }", "{ 22, 600-700 }"):
        rule = "meta l4proto { tcp, udp } th dport %s%s" % (ports, accept)
        assert opened(655, "jump accept_from_lan", rule) == "port 655 is open from wan", ports


def test_a_port_that_only_begins_with_its_digits_is_not_taken_for_it():
    for ports in ("6553", "{ 80, 6553 }", "65-654", "1655"):
        rule = 'tcp dport %s counter accept comment "!fw4: not for 655"' % ports
        assert opened(655, rule) == "port 655 is not open from wan for TCP and UDP", ports


def test_the_rule_for_a_port_is_found_behind_many_others():
    many = ['tcp dport %d counter accept comment "!fw4: Allow-service"' % port for port in range(8000, 8300)]
    rules = many + ["udp dport 655 counter accept", "tcp dport 655 counter accept"]
    assert opened(655, *rules) == "port 655 is open from wan"


def test_a_port_is_open_for_what_the_first_rule_that_is_about_it_accepts():
    both, tcp = "meta l4proto { tcp, udp } th dport 655 counter ", "meta nfproto ipv4 tcp dport 655 counter "
    for rules, closed in (
        ([tcp + "accept"], "UDP"),
        ([both + 'drop comment "!fw4: accept none"', tcp + "accept"], "TCP and UDP"),
        ([tcp + "accept", both + "jump reject_from_wan"], "UDP"),
        ([both + "accept", both + "drop", "jump reject_from_wan"], None),
        (["jump accept_from_wan"], None),
        ([tcp + "drop", "jump accept_from_wan"], "TCP"),
        (["jump reject_from_wan"], "TCP and UDP"),
    ):
        found = opened(655, *rules)
        assert found == "port 655 is %s" % ("not open from wan for " + closed if closed else "open from wan"), rules


class Network:
    """A router with this /etc/config/network, whose overlay's interface is lo."""

    def __init__(self):
        self.folder = folder("check")

    def said(self, text):
        """(what is said of the interface, and what to do)."""
        before, check._NETWORK = check._NETWORK, self.folder + "/network"
        try:
            if text is not None:
                disk.write(check._NETWORK, text, 0o600)
            return run(check.interface(options("option interface 'lo'"))), ""
        except check.Bad as error:
            return str(error), error.remedy
        finally:
            check._NETWORK = before


@given(Network)
def test_an_interface_that_the_firewall_does_not_have_is_named(router):
    made = "config interface 'lan'\n\toption device 'br-lan'\n\nconfig interface 'bgpmesh'\n\toption device '%s'\n"
    assert router.said(None) == ("lo is there", "")
    text, remedy = router.said(made % "tinc0")
    assert "has the device tinc0" in text and "uci set network.bgpmesh.device=lo;" in remedy
    for text in ("", made % "lo", "config interface 'bgpmesh'\n", "config", "config interface 'lan'\n"):
        assert router.said(text) == ("lo is there", ""), text
