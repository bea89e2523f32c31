"""What is said in the owner's name: SHA-512 against the standard library's, and texts that the owner has not signed."""

import hashlib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgpmesh import trust, usign
from bgpmesh.sha512 import sha512

OWNER = usign.Secret(usign.make(bytes(range(56)))[0])
KEY = "/mesh/trust/north"
SIGNED = trust.compose("approve", KEY, 1790000000, ["ab" * 32, "cd" * 32])
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
    assert understood(GOOD).approved == ["ab" * 32, "cd" * 32]
    for text in (GOOD[:place] + put + GOOD[place:], GOOD[:place] + put + GOOD[place + 1 :]):
        assert text == GOOD or understood(text) is None


@given(st.text(max_size=80) | st.text("bgpmesh approverevoke/trust/north 0123456789\n=A", max_size=80))
def test_any_text_is_a_statement_or_is_refused(text):
    for one in (text, "bgpmesh revoke %s %s" % (KEY, text), SIGNED + text):
        assert understood(one) is None
