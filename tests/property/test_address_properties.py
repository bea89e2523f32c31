"""Addresses and prefixes against the standard library's."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from bgpmesh import address

NUMBERS4 = st.integers(0, 2**32 - 1)
# groups that are often zero, so that `::` has something to do
NUMBERS6 = st.lists(st.sampled_from([0, 0, 1, 0xFFFF]) | st.integers(0, 0xFFFF), min_size=8, max_size=8).map(
    lambda groups: int("".join(f"{group:04x}" for group in groups), 16)
)
ADDRESSES = st.tuples(st.just(4), NUMBERS4) | st.tuples(st.just(6), NUMBERS6)
CLASSES = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}


@st.composite
def prefixes(draw):
    family, number = draw(ADDRESSES)
    bits = address.BITS[family]
    length = draw(st.integers(0, bits))
    return address.Prefix(family, number >> bits - length << bits - length, length)


def accepted(parse, text):
    try:
        return parse(text)
    except ValueError:
        return None


@given(ADDRESSES)
def test_text_is_that_of_the_standard_library_and_reads_back(found):
    family, number = found
    text = address.text(family, number)
    peer = CLASSES[family](number)
    if family == 4 or not peer.ipv4_mapped:  # newer Pythons write those with dots
        assert text == str(peer)
    assert address.parse(text) == found
    assert address.parse(text.upper()) == found
    assert address.parse(peer.exploded) == found


@given(
    st.text("0123456789abfgF:.:. +-_x%", max_size=24)
    | st.lists(st.text("0123456789", max_size=4)).map(".".join)
)
def test_the_same_texts_are_addresses(text):
    peer = accepted(ipaddress.ip_address, text)
    if "%" in text:  # zones are known there, and not here
        peer = None
    assert accepted(address.parse, text) == ((peer.version, int(peer)) if peer is not None else None)


@given(st.text(max_size=12))
def test_any_text_is_an_address_or_a_value_error(text):
    accepted(address.parse, text)
    accepted(address.parse_prefix, text)
    accepted(lambda text: address.parse_endpoint(text, 1), text)


@given(ADDRESSES, st.integers(-1, 129))
def test_the_same_texts_are_prefixes(found, length):
    text = f"{address.text(*found)}/{length}"
    peer = accepted(ipaddress.ip_network, text)
    prefix = accepted(address.parse_prefix, text)
    assert (prefix is None) == (peer is None)
    if prefix:
        assert (prefix.network, prefix.length) == (int(peer.network_address), peer.prefixlen)
        assert prefix.last() == int(peer.broadcast_address)
        assert address.parse_prefix(str(prefix)) == prefix


@given(prefixes(), prefixes(), ADDRESSES)
def test_containing_covering_and_overlapping(one, other, found):
    peer, rival = ipaddress.ip_network(str(one)), ipaddress.ip_network(str(other))
    assert one.contains(found) == (CLASSES[found[0]](found[1]) in peer)
    assert one.overlaps(other) == peer.overlaps(rival)
    assert one.covers(other) == (peer.version == rival.version and rival.subnet_of(peer))
    assert (one.key() < other.key()) == (
        (peer.version, peer.network_address, peer.prefixlen)
        < (rival.version, rival.network_address, rival.prefixlen)
        if peer.version == rival.version
        else peer.version < rival.version
    )


@given(prefixes(), st.data())
def test_hosts_are_those_of_the_standard_library(prefix, data):
    peer = ipaddress.ip_network(str(prefix))
    n = data.draw(st.integers(1, prefix.hosts()))
    assert prefix.is_host(prefix.host(n))
    if prefix.hosts() <= 256 and prefix.length < address.BITS[prefix.family]:
        found = [address.text(*prefix.host(n + 1)) for n in range(prefix.hosts())]
        assert found == [address.text(host.version, int(host)) for host in peer.hosts()]


@given(prefixes())
def test_what_is_special_is_never_global_in_the_standard_library(prefix):
    peer = ipaddress.ip_network(str(prefix))
    parts = (peer.is_loopback, peer.is_link_local, peer.is_multicast, peer.is_unspecified)
    parts += (peer.version == 4 and peer.is_reserved,)
    if any(parts):
        assert prefix.is_special()
