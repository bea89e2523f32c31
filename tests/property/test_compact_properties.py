"""A Compact against the Member that it was made of."""

from example import RSA, member
from hypothesis import example, given
from hypothesis import strategies as st

from bgpmesh import address, compact, records

ATTRIBUTES = sorted(vars(member("alfa", 1)))
PREFIXES = st.one_of(
    st.builds(address.Prefix, st.just(4), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(address.Prefix, st.just(6), st.integers(0, 2**128 - 1), st.integers(0, 128)),
)


@st.composite
def members(draw):
    one = member("alfa", 1)
    one.ip = address.text(4, draw(st.integers(0, 2**32 - 1)))
    one.router_id = address.text(4, draw(st.integers(0, 2**32 - 1)))
    one.ip6 = draw(st.none() | st.integers(0, 2**128 - 1).map(lambda number: address.text(6, number)))
    one.key = draw(st.none() | st.sampled_from([*RSA, RSA[0].replace("RSA ", ""), RSA[0] + "\n", "no key"]))
    one.ed25519 = draw(st.none() | st.just(one.ed25519))
    hosts = st.sampled_from(["192.0.2.1", "2001:db8::1", "n.example", "x" * 253])
    one.endpoint = draw(st.none() | st.tuples(hosts, st.integers(1, 65535)))
    one.asn = draw(st.integers(1, 2**32 - 1))
    one.prefixes = draw(st.lists(PREFIXES, max_size=5))
    one.serial = draw(st.integers(0, records.LARGEST))
    one.version = draw(st.sampled_from(["", "0.1.0", "é"]))
    one.secrets = draw(st.lists(st.sampled_from(["0123456789abcdef", "fedcba9876543210"]), max_size=2))
    one.signed = draw(st.none() | st.just("correct horse battery"))
    one.ao = draw(st.booleans())
    one.poll_interval = draw(st.integers(1, records.MAX_POLL_INTERVAL))
    one.generation = draw(st.integers(0, records.MAX_GENERATION))
    if draw(st.booleans()):
        digit = draw(st.sampled_from("0af"))
        one.id, one.by = digit * records.ID_LENGTH, digit * records.BY_LENGTH
    if draw(st.booleans()):
        one.next = records.Next(one.generation + 1, RSA[1], "N" * 43)
    return one


@given(members())
def test_a_compact_has_all_that_its_member_has(one):
    packed = compact.pack(one)
    assert {name: getattr(packed, name) for name in ATTRIBUTES} == {name: getattr(one, name) for name in ATTRIBUTES}
    assert (packed.tinc, packed.names(), packed.identities()) == (one.tinc, one.names(), one.identities())
    assert records.encode(packed) == records.encode(one)
    assert compact.pack(packed) is packed


@given(members())
def test_spans_are_sorted_as_prefixes_are(one):
    for family in (4, 6):
        spans = compact.pack(one).spans(family)
        prefixes = sorted([prefix for prefix in one.prefixes if prefix.family == family], key=lambda one: one.key())
        assert sorted(spans) == [compact.span(prefix) for prefix in prefixes]


def short_key(prefix):
    one = member("alfa", 1)
    one.ip = one.router_id = "10.0.0.%d" % prefix
    one.key, one.ed25519, one.prefixes = "no key", None, [address.Prefix(4, prefix, 32)]
    return one


@given(members(), members())
@example(short_key(1), short_key(2))
def test_what_two_have_in_common_gives_them_a_mark_in_common(one, other):
    shared = {one.ip, one.ip6} & {other.ip, other.ip6} - {None} or one.router_id == other.router_id
    if shared or {one.ed25519, one.key} & {other.ed25519, other.key} - {None}:
        assert set(compact.pack(one).marks()) & set(compact.pack(other).marks())
