"""Whatever stands in etcd: a record is refused, or what it brings into a file stays on its line."""

import json
import re

from example import ED25519, RSA, SECRET, member, options
from hypothesis import given, settings
from hypothesis import strategies as st

from bgpmesh import plan, records
from bgpmesh.bird import render as bird_render
from bgpmesh.roster import Seat
from bgpmesh.tinc import render as tinc_render

CONFIGS = (
    options(),
    options("option network6 'fd00:99::/64'"),
    options("option secret '%s'" % SECRET),
    options("option network '10.0.0.0/8'", "option etcd_prefix '/mesh'"),
)
GOOD = [
    records.encode(member("bravo", 2, ip6="fd00:99::2", prefixes=["192.168.2.0/24", "2001:db8::/48"])),
    records.encode(member("carol", 3, endpoint=("r3.example.org", 655))),
    records.encode(member("dora", 9, key=None, endpoint=("2001:db8::9", 1655))),
    json.dumps({"IP": "10.0.0.2/24", "Key": RSA[1], "Endpoint": "192.0.2.2"}),
]
FIELDS = ("ip", "ip6", "key", "ed25519", "endpoint", "asn", "router_id", "prefixes", "serial", "version", "IP", "Key")
NASTY = st.sampled_from(
    ["\n", "\r", '"', "'", "{", "}", ";", "#", " ", "\\", "\0", "/", "..", "$(x)", "é", "٣", "[", "]:"]
)
TEXTS = st.text(max_size=20) | st.lists(NASTY | st.sampled_from(["10.0.0.2", "a", "1", ":", "655"]), max_size=6).map(
    "".join
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NODES = st.text("abcXYZ019_", min_size=1, max_size=64) | TEXTS


@st.composite
def mutated(draw):
    """A good record with some places of its text replaced."""
    text = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + draw(TEXTS) + text[end:]
    return text


@st.composite
def altered(draw):
    """A good record with some of its fields replaced by other ones, often nearly right."""
    fields = json.loads(draw(st.sampled_from(GOOD)))
    near = st.sampled_from([RSA[0], ED25519[0], "10.0.0.7", "fd00:99::7", "192.0.2.7:655", ["192.168.7.0/24"], 7])
    spoiled = st.tuples(
        st.sampled_from([RSA[0], ED25519[0], "10.0.0.7", "r7.example.org"]), TEXTS, st.integers(0, 500)
    ).map(lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :])
    if draw(st.booleans()):
        name = draw(st.sampled_from([name for name in ("key", "ed25519", "endpoint", "Key") if fields.get(name)]))
        text, place = fields[name], draw(st.integers(0, 500))
        place %= len(text)
        fields[name] = text[:place] + draw(NASTY) + text[place + 1 :]  # as long as before
    else:
        fields[draw(st.sampled_from(FIELDS))] = draw(near | spoiled | JSON | spoiled.map(lambda text: [text]))
    return json.dumps(fields, ensure_ascii=draw(st.booleans()))


def decoded(node, text, config):
    """The Member, or None where the record is refused, which is the only other outcome."""
    try:
        return records.decode(node, text, config, "/peers/" + node, 1)
    except records.RecordError as error:
        message = str(error)
        assert message and message.isprintable() and len(message) < 300
        return None


@given(NODES, st.text() | JSON.map(json.dumps) | mutated() | altered(), st.sampled_from(CONFIGS))
def test_any_text_is_a_member_or_a_record_error(node, text, config):
    decoded(node, text, config)


@given(NODES, mutated() | altered(), st.sampled_from(CONFIGS))
def test_a_signed_record_that_makes_no_sense_is_a_record_error(node, text, config):
    signed = options("option secret '%s'" % SECRET)
    key = "/peers/" + node
    if text.endswith("}") and node.isprintable():
        text = text[:-1] + ',"sig":"hmac-sha256:' + records._sign(text, key, SECRET) + '"}'
    decoded(node, text, signed)


NAME = r"[A-Za-z0-9_]{1,63}"
HOST = r"[A-Za-z0-9_.:-]+"
PREFIX = r"[0-9a-f.:]+/[0-9]+"
KEY_LINE = r"-----(BEGIN|END) (RSA )?PUBLIC KEY-----|[A-Za-z0-9+/]{1,64}={0,2}"
TINC_LINE = re.compile(
    rf"#.*|Address = {HOST} [0-9]+|Ed25519PublicKey = [A-Za-z0-9+/]{{43}}|Subnet = 02(:[0-9a-f]{{2}}){{5}}|{KEY_LINE}"
)
BIRD_LINES = (
    rf"protocol bgp _{NAME} from mesh_member {{",
    r"\tneighbor [0-9.]+ as [0-9]+;",
    r"\tpassive on;",
    r"\tpassword \"[0-9a-f]{64}\";  # from option 'secret'",
    r"\tipv[46] {",
    r"\t\timport filter {",
    r"function passed_on[46]\(\)",
    r"{",
    rf"\tif net !~ \[ {PREFIX}(, {PREFIX})* \] then reject;",
    r"\tbgp_local_pref = 0;",
    r"\trr client;",
    r"\tmultihop;",
    r"\tallow local as 1;",
    rf"\t\t\tif net ~ \[ {PREFIX}(, {PREFIX})* \] then {{",
    r"\t\t\t\tbgp_local_pref = 100;",
    r"\t\t\t}",
    r"\t\t\t(else )?passed_on[46]\(\);",
    r"\t\t\tif \(65535, 0\) ~ bgp_community then bgp_local_pref = 0;",
    r"\t\t\taccept;",
    r"\t\t};",
    r"\t};",
    r"}",
    "",
)
BIRD_LINE = re.compile("|".join(BIRD_LINES))


@settings(max_examples=100)
@given(st.text("abcXYZ019_", min_size=1, max_size=63), altered(), st.sampled_from(CONFIGS[:2]))
def test_what_is_accepted_stays_on_its_line_in_every_file(node, text, config):
    found = decoded(node, text, config)
    if not found:
        return
    lines = tinc_render.host(found, {}).splitlines()
    for line in lines:
        assert TINC_LINE.fullmatch(line), line
    own = "Subnet = " + tinc_render.hardware_address(node)
    assert [line for line in lines if line.startswith("Subnet")] == [own], "nothing of another's"
    me = member("me_", 200, ip6="fd00:99::200" if config.network6 else None)
    head = "".join(bird_render.conf(config, me, [], []))
    whole = "".join(bird_render.conf(config, me, [], [Seat(found, found.prefixes)]))
    alone = set(head.splitlines())
    for line in whole.splitlines():
        assert line in alone or BIRD_LINE.fullmatch(line), line
    conf = tinc_render.conf(config, me, [found], [found.node], "1.1")
    assert conf.endswith(f"\nConnectTo = {node}\n")
    made = plan.make(config, me, [found], {}, {node}, {}, [], "1.1")
    assert all(re.fullmatch(rf"hosts/{NAME}|tinc\.conf|tinc-up|tinc-down", path) for path in made.tinc)


@given(mutated() | altered(), st.sampled_from(CONFIGS))
def test_what_is_accepted_can_be_written_and_read_again(text, config):
    found = decoded("bravo", text, config)
    if found:
        again = records.encode(found, "/peers/bravo", config.secret)
        assert (
            records.encode(records.decode("bravo", again, config, "/peers/bravo"), "/peers/bravo", config.secret)
            == again
        )


@given(st.text(max_size=200), st.text(max_size=63))
def test_anything_is_shown_on_one_line(one, other):
    for value in (one, one + other, [one, other]):
        assert records.shown(value).isprintable() and len(records.shown(value)) <= 66
