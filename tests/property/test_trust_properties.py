"""What is said in the owner's name: SHA-512 against the standard library's, and texts that the owner has not signed."""

import hashlib

from example import identity, member, options
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpmesh import records, trust, usign
from bgpmesh.identity import verify
from bgpmesh.sha512 import sha512

OWNER = usign.Secret(usign.make(bytes(range(56)))[0])
KEY = "/mesh/trust/north"
SIGNED = trust.compose("approve", KEY, 1790000000, "ab" * 32)
RECORD = records.encode(member("bravo", 2), "/peers/bravo", None, identity(2))
GOOD = SIGNED + OWNER.sign(SIGNED.encode()) + "\n"


def understood(text):
    try:
        return trust.read(text, KEY, OWNER.public)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return None


@given(st.binary(max_size=400))
def test_the_digest_is_that_of_the_standard_library(data):
    assert sha512(data) == hashlib.sha512(data).digest()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.sampled_from(["", "0", "9", "a", "/", " ", "\n", "=", "é", "٣"]))
@example(len(GOOD) - 1, " ")
def test_a_statement_that_was_changed_anywhere_is_none(place, put):
    assert understood(GOOD).approved == "ab" * 32
    for text in (GOOD[:place] + put + GOOD[place:], GOOD[:place] + put + GOOD[place + 1 :]):
        assert text == GOOD or understood(text) is None


@given(st.text(max_size=80) | st.text("bgpmesh approverevoke/trust/north 0123456789\n=A", max_size=80))
def test_any_text_is_a_statement_or_is_refused(text):
    for one in (text, "bgpmesh revoke %s %s" % (KEY, text), SIGNED + text):
        assert understood(one) is None


def proven(text):
    """Whether a text is bravo's own record, which its identity has signed."""
    try:
        proof = records.decode("bravo", text, options(), "/peers/bravo").proof
    except records.RecordError:
        return False
    return bool(proof) and proof.id == identity(2).id and verify(proof)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(RECORD) - 1), st.sampled_from(["", "0", "9", "a", '"', "}", " ", "\n", ",", "é"]))
@example(len(RECORD) - 1, " ")
@example(len(RECORD) - 2, " ")
def test_a_record_that_was_changed_anywhere_is_not_its_nodes_own(place, put):
    assert proven(RECORD)
    for text in (RECORD[:place] + put + RECORD[place:], RECORD[:place] + put + RECORD[place + 1 :]):
        assert text == RECORD or not proven(text)


@settings(max_examples=60, deadline=None)
@given(st.text('{}[]",:abidy0123456789 ', max_size=40))
def test_nothing_is_added_to_a_record_that_is_its_nodes_own(more):
    for text in (RECORD + more, more + RECORD, RECORD[:-1] + "," + more + "}", "{" + more + "," + RECORD[1:]):
        assert text == RECORD or not proven(text)
