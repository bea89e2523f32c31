"""Services → BGP mesh: the form."""

import pytest
from playwright.sync_api import expect

from bgpmesh import config
from luci.pages import DARK, PHONE, Pages, shot
from luci.server import ACCESS_DENIED, Server, app_acl

PATH = "admin/services/bgpmesh"
DEFAULTS = {name: default for name, default, _, _ in config.OPTIONS}
PARSERS = {name: parse for name, _, parse, _ in config.OPTIONS}

NAMES = [
    "north", "north.example.net", "a" * 63 + ".net", "a" * 64, "-a", "a-", "a..b", "a b", "a,b", "1.2.3", "a_b", "ü",
    ".",
]
ADDRESSES = [
    "192.0.2.1", "192.0.2.256", "192.0.2", "192.0.2.01", "0.0.0.0", "255.255.255.255", " 192.0.2.1", "+1.2.3.4",
]
ADDRESSES6 = [
    "2001:db8::1", "::", "::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7", "1::2::3", "12345::", "::g",
    "::ffff:192.0.2.1", "192.0.2.1::", "fe80::1%lan", "1:2:3:4:5:6:192.0.2.1", "::1.2.3", ":", ":1", "1:", ":::",
    "1::2:3:4:5:6:7:8",
]
NUMBERS = [
    "0", "1", "9", "10", "49", "50", "255", "256", "576", "575", "1280", "3600", "3601", "9000", "9001", "65535",
    "65536", "+1", "1.5", "60000", "60001", "01", "-1", " 1", "1e3", "0x10", "23456", "4294967294", "4294967295", "١",
]
PREFIXES = [
    "10.0.0.0/24", "10.0.0.0/8", "10.0.0.0/7", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.1/24", "10.0.0.0", "10.0.0.0/",
    "32.0.0.0/3", "11.0.0.0/8", "12.0.0.0/7", "240.0.0.0/8", "2000::/3", "2002::/16", "2002::/15", "172.31.0.1/32",
    "10.0.0.0/33", "10.0.0.0/024", "127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/0", "192.168.9.0/24", "2001:db8::/32",
    "fd00:99::/64", "fd00:99::/63", "fd00:99::1/64", "fe80::/64", "ff00::/64", "::/64", "::/0", "a/b", "/24",
]
TEXTS = [
    "x", "two words", "a'b", 'a"b', "a\\b", "tab\there", "ü", "\x7f", "/", "//", "/mesh", "mesh/", "/a//b", "/a b",
    "/a/b/", "sixteen letters!", "fifteen letters", "s" * 256, "s" * 257, "sixteen 'letters'", "sixteen ü letters",
]
HOSTS = [*NAMES[:6], *ADDRESSES[:4], *[f"[{address}]" for address in ADDRESSES6[:8]], "[", "[]", "]"]
ENDPOINTS = [host + port for host in HOSTS for port in ("", ":655", ":0", ":65536", ":", ":1:2", "x")] + ADDRESSES6[:2]
SERVERS = ["http://" + text for text in ENDPOINTS[::3]] + [
    "https://north:2379/", "ftp://north", "http://", "://north", "north:2379/x", "http://a://b", "HTTP://north",
    "http:north",
]
INSIDE = ["10.0.0.5", "10.0.0.5:655", "[fd00:99::5]", "10.0.1.5"]  # and one that is not
VALUES = {
    "etcd": SERVERS + ENDPOINTS + INSIDE + ["https://" + text for text in INSIDE],
    **dict.fromkeys(["etcd_prefix", "etcd_user", "etcd_password", "ca_file", "cert_file", "key_file"], TEXTS),
    **dict.fromkeys(["secret", "secret_old", "http_token"], TEXTS),
    **dict.fromkeys(["poll_interval", "port", "mtu", "asn", "key_lifetime", "rollback", "full_mesh_max"], NUMBERS),
    "grace": [*NUMBERS, "8760", "8761"],
    **dict.fromkeys(["bfd_interval", "bfd_multiplier"], NUMBERS),
    "node": NAMES + TEXTS,
    "interface": [*NAMES, "..", "tinc0", "a" * 15, "a" * 16, "a/b", "a:b"],
    "network": PREFIXES,
    "network6": PREFIXES,
    "prefix": PREFIXES + ADDRESSES,
    "address": ADDRESSES + ADDRESSES6 + ["10.0.0.0", "10.0.0.255", "10.0.0.9", "10.0.1.9"],
    "router_id": ADDRESSES + ADDRESSES6,
    "endpoint": ENDPOINTS + INSIDE,
    "trust_key": [*TEXTS, "RWQ" + "a" * 53, "RWT/+" + "A" * 51, "RWU" + "a" * 53, "RWQ" + "a" * 52, "RWQ=" + "a" * 52],
    "rpki": ENDPOINTS + INSIDE,
    "http": [*ENDPOINTS, "127.0.0.1:9179", "[::1]:9179", "localhost:9179"],
}

# What other options have to be for an option to be alone in being wrong.
BESIDE = {
    "etcd_user": {"etcd_password": "x"}, "etcd_password": {"etcd_user": "x"},
    "cert_file": {"key_file": "/k"}, "key_file": {"cert_file": "/c"},
    **dict.fromkeys(["endpoint", "prefix", "etcd", "rpki"], {"network6": "fd00:99::/64"}),
}

TOGETHER = [
    ({"etcd_user": "x"}, {"etcd_password"}),
    ({"etcd_password": "x"}, {"etcd_user"}),
    ({"cert_file": "/c"}, {"key_file"}),
    ({"key_file": "/k"}, {"cert_file"}),
    ({"etcd_user": "x", "etcd_password": "y"}, set()),
    ({"network6": "fd00:99::/64", "mtu": "1279"}, {"mtu"}),
    ({"network6": "fd00:99::/64", "mtu": "1280"}, set()),
    ({"mtu": "1279"}, set()),
    ({"network": "10.9.0.0/16", "address": "10.0.0.1"}, {"address"}),
    ({"network": "10.9.0.0/16", "address": "10.9.255.255"}, {"address"}),
    ({"network": "10.9.0.0/16", "address": "10.9.255.254"}, set()),
    ({"network": "10.9.0.0/16", "endpoint": "10.9.1.1"}, {"endpoint"}),
    ({"network": "10.9.0.0/16", "endpoint": "10.0.0.1"}, set()),
    ({"network": "10.9.0.0/16", "etcd": "http://10.9.1.1:2379"}, {"etcd"}),
    ({"network": "10.9.0.0/16", "rpki": "10.9.1.1"}, {"rpki"}),
    ({"network": "10.9.0.0/16", "address": "wrong"}, {"address"}),
    ({"network": "wrong", "address": "10.9.0.1"}, {"network"}),
]

# Puts values into inputs (of lists: into the one that adds) as typing does; returns what is refused, by option.
TYPE = """values => {
    const inputs = Object.entries(values).map(([ name, value ]) => {
        const input = document.querySelector(`[data-name="${name}"] input:is([type=text], [type=password])`);
        input.value = value;
        return input;
    });
    inputs.forEach(input => input.dispatchEvent(new Event('keyup')));
    inputs.forEach(input => input.dispatchEvent(new Event('change', { bubbles: true })));
    return Object.fromEntries([...document.querySelectorAll('.cbi-input-invalid')].map(input =>
        [input.closest('[data-name]').dataset.name, input.dataset.tooltip]));
}"""


def refused(values):
    """The options that the agent refuses, of {name: text}."""
    lines = "".join("\toption %s '%s'\n" % (name, text.replace("'", "'\\''")) for name, text in values.items())
    try:
        config.load("config mesh 'main'\n" + lines, "host")
    except config.ConfigError as error:
        return {fault.option for fault in error.faults}
    return set()


def field(page, name):
    return page.locator(f'[data-name="{name}"]').locator("input:not([type=hidden]), select").first


def tab(page, title):
    page.get_by_role("link", name=title, exact=True).click()


def save(page):
    page.get_by_role("button", name="Save & Apply").click()


def changed(lab, option):
    """The option in the router's UCI file; None where it has none."""
    (main,) = config.uci.parse(lab.router(1).read("/etc/config/bgpmesh"))
    return main.options.get(option)


@pytest.fixture
def form(live, lab):
    """The form of the lab's first router, whose options are put back at the end."""
    router = lab.router(1)
    before = dict(router.options)
    yield live.open(PATH)
    router.options = before
    router.set("node", before["node"])


def test_the_form_has_every_option_the_agent_knows(form):
    assert sorted(node.get_attribute("data-name") for node in form.locator("[data-name]").all()) == sorted(DEFAULTS)


def test_placeholders_show_the_defaults(form):
    for name, default in DEFAULTS.items():
        if isinstance(default, str) and default and name not in ("enabled", "etcd_api", "trust", "reflector"):
            assert field(form, name).get_attribute("placeholder") == default, name
    expect(field(form, "etcd_api")).to_have_value("v3")
    expect(field(form, "trust")).to_have_value("open")
    expect(field(form, "reflector")).to_have_value("auto")
    chosen = form.locator('[data-name="announce"] input:checked')
    assert chosen.evaluate_all("all => all.map(one => one.value)") == ["lan"]


def test_secrets_are_hidden(form):
    for name in config._HIDDEN:
        expect(field(form, name)).to_have_attribute("type", "password")


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_value_is_refused_where_the_agent_refuses_it(shared_form, name):
    beside = BESIDE.get(name, {})
    shared_form.evaluate(TYPE, beside)
    wrong = []
    verdicts = set()
    for text in dict.fromkeys(VALUES[name]):
        if isinstance(DEFAULTS[name], tuple) and set(text) & set(" ,"):
            continue  # there the agent sees several items
        expected = name in refused({**beside, name: text})
        found = shared_form.evaluate(TYPE, {name: text}).get(name)
        verdicts.add(expected)
        if bool(found) != expected:
            wrong.append((text, found))
        assert found is None or len(found) > 15 and "%" not in found, "it says what would be right"
    shared_form.evaluate(TYPE, {name: "", **dict.fromkeys(beside, "")})
    assert wrong == []
    assert verdicts == {True, False}, "the values are of both kinds"


def test_the_table_of_values_leaves_no_option_out():
    chosen = {"enabled", "etcd_api", "announce", "trust", "reflector"}
    assert set(DEFAULTS) - set(VALUES) == chosen, "those that are chosen, not typed"


@pytest.mark.parametrize("values, expected", TOGETHER)
def test_options_that_do_not_go_together_are_refused(shared_form, values, expected):
    assert refused(values) == expected
    # Each change has all of them looked at again.
    found = set(shared_form.evaluate(TYPE, values))
    shared_form.evaluate(TYPE, dict.fromkeys(values, ""))
    assert found == expected


@pytest.fixture(scope="module")
def shared_form(browser, lab):
    """A form that tests only type into."""
    with Server(lab.router(1)) as server:
        pages = Pages(browser, server)
        page = pages.open(PATH)
        page.evaluate(TYPE, {"node": "", "endpoint": "", "network6": "", "etcd": ""})
        yield page
        pages.close()


def test_what_is_saved_is_what_the_agent_reads(form, lab):
    tab(form, "General")
    field(form, "node").fill("r1")
    form.locator('[data-name="etcd"] .add-item input').fill("http://192.0.2.10:2379")
    form.locator('[data-name="announce"] input[value=wan]').check()
    tab(form, "Addresses and routing")
    field(form, "prefix").fill("192.168.90.0/24")
    field(form, "prefix").press("Enter")
    field(form, "prefix").fill("192.168.91.0/24")
    tab(form, "Security")
    field(form, "http_token").fill("a token of 23 characters")
    tab(form, "Registry")
    field(form, "poll_interval").fill("7")
    save(form)
    expect(form.locator("body")).to_have_attribute("data-applied", "true")
    assert changed(lab, "etcd") == [*lab.router(1).options["etcd"], "http://192.0.2.10:2379"]
    assert changed(lab, "announce") == ["lan", "wan"]
    assert changed(lab, "prefix") == ["192.168.90.0/24", "192.168.91.0/24"]
    assert changed(lab, "http_token") == "a token of 23 characters"
    assert changed(lab, "poll_interval") == "7"
    assert changed(lab, "enabled") == "1"
    assert changed(lab, "mtu") is None and changed(lab, "etcd_api") is None, "what was empty stays out"
    lab.wait(lambda: "192.168.90.0/24" in lab.router(1).status()["prefixes"], 30, "the agent to take it")


def test_an_emptied_option_is_removed(form, lab):
    tab(form, "Addresses and routing")
    field(form, "network6").fill("")
    save(form)
    expect(form.locator("body")).to_have_attribute("data-applied", "true")
    assert changed(lab, "network6") is None


def test_a_form_that_was_only_looked_at_changes_nothing(form, live):
    form.get_by_role("button", name="Save", exact=True).click()
    form.wait_for_function("() => !document.querySelector('#modal_overlay')")
    expect(field(form, "node")).to_have_value("r1")
    assert live.server.deltas == {}


def test_a_wrong_value_is_not_saved(form, live):
    tab(form, "Advanced")
    field(form, "mtu").fill("12")
    field(form, "mtu").blur()
    expect(field(form, "mtu")).to_have_attribute("data-tooltip", "a whole number from 576 to 9000 would be right")
    with form.expect_event("pageerror"):  # LuCI leaves the refusal to whoever looks for uncaught ones
        form.get_by_role("button", name="Save", exact=True).click()
    expect(form.locator("#modal_overlay")).to_contain_text('Option "MTU" contains an invalid input value.')
    assert live.server.deltas == {}
    assert len(live.complaints) == 1
    live.complaints.clear()


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("lan guest", ["guest", "lan"]), ("guest,lan", ["guest", "lan"]), ("guest, wan", ["guest", "wan"]),
     (["guest,lan", "wan"], ["guest", "lan", "wan"]), (["guest"], ["guest"]), (None, ["lan"])],
)
def test_announced_interfaces_are_selected_however_they_are_written(told, text, chosen):
    main = {".name": "main", ".type": "mesh", "enabled": "1", **({"announce": text} if text else {})}
    told.server.answers = {
        ("uci", "get"): lambda args: {"values": {"main": main}},
        ("network.interface", "dump"): {"interface": [{"interface": name} for name in ("guest", "lan", "wan")]},
    }
    page = told.open(PATH)
    found = page.locator('[data-name="announce"] input:checked')
    assert found.evaluate_all("all => all.map(one => one.value)") == chosen


@pytest.mark.parametrize("word", ["1", "on", "true", "yes", "enabled", "0", "off"])
def test_enabled_is_understood_in_all_of_ucis_words(live, lab, word):
    router = lab.router(1)
    text = router.read("/etc/config/bgpmesh")
    router.write("/etc/config/bgpmesh", text.replace("option enabled '1'", f"option enabled '{word}'"))
    try:
        page = live.open(PATH)
        expect(field(page, "enabled")).to_be_checked(checked=PARSERS["enabled"](word))
    finally:
        router.write("/etc/config/bgpmesh", text)


def test_a_login_that_may_only_read_changes_nothing(live):
    page = live.open(PATH, sid=live.server.login(*app_acl(), write=False))
    expect(field(page, "mtu")).to_be_disabled()
    expect(page.get_by_role("button", name="Save & Apply")).to_be_disabled()


# -- secrets

SECRET = "a secret that must not get out"


def test_no_answer_to_the_status_page_holds_a_secret(live, lab):
    router = lab.router(1)
    text = router.read("/etc/config/bgpmesh")
    router.write("/etc/config/bgpmesh", text + f"\toption http_token '{SECRET}'\n")
    router.reload()
    try:
        sid = live.server.login("luci-app-bgpmesh")
        page = live.open(sid=sid)
        page.get_by_role("button", name="Check now").click()
        expect(page.locator(".bm-layers")).to_be_visible()
        asked = [("uci", "get", {"config": "bgpmesh"}), ("file", "read", {"path": "/etc/config/bgpmesh"}),
                 ("file", "exec", {"command": "/bin/cat", "params": ["/etc/config/bgpmesh"]}),
                 ("file", "exec", {"command": "/usr/sbin/bgpmesh", "params": ["leave"]}),
                 ("uci", "set", {"config": "bgpmesh", "section": "main", "values": {"enabled": "0"}}),
                 ("bgpmesh", "leave", {}), ("service", "list", {})]
        for name, method, args in asked:
            answer = live.server.answer({"id": 1, "method": "call", "params": [sid, name, method, args]})
            denied = answer.get("error", {}).get("code") == ACCESS_DENIED[0] or answer.get("result") == [6]
            assert denied, (name, method, answer)
        assert live.open("admin/services/bgpmesh", sid=sid, ready=False).inner_text("body") == "a login is required"
        assert live.server.sent and not any(SECRET in text for text in live.server.sent)
        # The form's page has it, so it would have been seen.
        live.open(PATH)
        assert any(SECRET in text for text in live.server.sent)
    finally:
        router.write("/etc/config/bgpmesh", text)
        router.reload()


# -- for everybody


@pytest.mark.parametrize("look", [{}, DARK, PHONE], ids=["light", "dark", "phone"])
def test_the_form_fits(live, look):
    page = live.open(PATH, **look)
    shot(page, "form-" + ("phone" if look is PHONE else "dark" if look else "light"))
    for title in ("Registry", "Addresses and routing", "Security", "Advanced"):
        tab(page, title)
        assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_every_field_is_reached_with_the_keyboard(live):
    page = live.open(PATH)
    names = set()
    for title in ("General", "Registry", "Addresses and routing", "Security", "Advanced"):
        page.get_by_role("link", name=title, exact=True).press("Enter")
        for _ in range(40):
            page.keyboard.press("Tab")
            names.add(page.evaluate("() => document.activeElement.closest('[data-name]')?.dataset.name"))
    assert names - {None} == set(DEFAULTS)
