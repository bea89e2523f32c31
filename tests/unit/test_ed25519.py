"""Against RFC 8032, section 7.1, and forgeries of it."""

import binascii

from bgpmesh import ed25519, usign
from bgpmesh.sha512 import sha512

# (private key, public key, message, signature)
VECTORS = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2465"
        "5141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb0"
        "0d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc0"
        "27beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        binascii.hexlify(sha512(b"abc")).decode(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9"
        "bef1177331a704",
    ),
)
FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493

# Made by signify 31 for this, and its signature of this message.
SECRET = """untrusted comment: bgpmesh secret key
RWRCSwAAAADAo7MTDv8epHduPmhXm0qWY51qsCkQb6DrLOpXbDd9PJOMxy5KyfIWY6zxqpagvIUsjRorxva3eagSbmNeVkaynmUURC4qGQydGOVh4StUAdlTAMLtlp+wJKF2vdXmAD0=
"""
PUBLIC = """untrusted comment: bgpmesh public key
RWTrLOpXbDd9PJ5lFEQuKhkMnRjlYeErVAHZUwDC7ZafsCShdr3V5gA9
"""
MESSAGE = b"bgpmesh approve /trust/north 1790000000 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"
SIGNATURE = (
    "RWTrLOpXbDd9PKmDf8o3z0ecaUeGCrdW1Q1vwnR/gDumPWxlg6aDjDeaXfWxY1qitCYefXPLSk/oZNbyxjkYLUVcYqexrWsmYQE="
)


def vectors():
    return [[binascii.unhexlify(text) for text in vector] for vector in VECTORS]


def test_sha512_of_the_standards_examples():
    assert sha512(b"abc").startswith(binascii.unhexlify("ddaf35a193617abacc417349ae204131"))
    assert sha512(b"").startswith(binascii.unhexlify("cf83e1357eefb8bdf1542850d66d8007"))
    two = b"".join([b"abcdefghijklmnopqrstu"[at : at + 8] for at in range(14)])
    assert sha512(two).startswith(binascii.unhexlify("8e959b75dae313da8cf4f72814fc143f"))


def test_the_vectors_of_the_rfc():
    for seed, public, message, signature in vectors():
        assert ed25519.public(seed) == public
        assert ed25519.sign(seed, message) == signature
        assert ed25519.verify(public, message, signature)


def test_what_was_changed_anywhere_is_no_signature():
    _, public, message, signature = vectors()[1]
    for place in (0, 31, 32, 63):
        for bit in (1, 128):
            changed = bytearray(signature)
            changed[place] ^= bit
            assert not ed25519.verify(public, message, bytes(changed)), (place, bit)
    assert not ed25519.verify(public, message + b"\0", signature)
    assert not ed25519.verify(vectors()[0][1], message, signature)
    assert not ed25519.verify(public, message, signature[:-1])
    assert not ed25519.verify(public[:-1], message, signature)


def test_the_same_signature_with_another_number_is_refused():
    # Adding the order changes nothing in the equation: the form has to be the one.
    _, public, message, signature = vectors()[1]
    number = int.from_bytes(signature[32:], "little") + ORDER
    assert not ed25519.verify(public, message, signature[:32] + number.to_bytes(32, "little"))


def test_what_is_no_point_is_no_key():
    # For the neutral point anybody can sign: with the base point, which is 1 times itself.
    signature = (4 * pow(5, FIELD - 2, FIELD) % FIELD).to_bytes(32, "little") + (1).to_bytes(32, "little")
    neutral = 1
    assert ed25519.verify(neutral.to_bytes(32, "little"), b"any", signature)
    for key in (neutral + FIELD, neutral | 1 << 255, 2):
        assert not ed25519.verify(key.to_bytes(32, "little"), b"any", signature), key


def test_keys_and_signatures_are_those_of_signify():
    secret = usign.Secret(SECRET)
    public = usign.parse_public(PUBLIC)
    assert secret.public == public == usign.parse_public(PUBLIC.split("\n")[1])
    assert secret.sign(MESSAGE) == SIGNATURE
    assert usign.verify(public, MESSAGE, SIGNATURE)
    assert not usign.verify(public, MESSAGE[:-1], SIGNATURE)
    assert not usign.verify(usign.parse_public(usign.make(bytes(56))[1]), MESSAGE, SIGNATURE)


def test_a_pair_that_is_made_belongs_together():
    secret, public = usign.make(bytes(range(56)))
    made = usign.Secret(secret)
    assert made.public == usign.parse_public(public)
    assert usign.verify(made.public, b"text", made.sign(b"text"))


def why(function, text):
    try:
        function(text)
    except ValueError as error:
        return str(error)
    return None


def test_what_is_no_key_is_said():
    line = SECRET.split("\n")[1]
    assert "passphrase" in why(usign.Secret, line.replace("RWRCSwAAAAD", "RWRCSwAAACr"))
    assert "damaged" in why(usign.Secret, line.replace("nmUURC", "nmUURD"))
    for text in ("", "x", PUBLIC, SIGNATURE, line + "\n" + line, line[:-4], "RWR" + "é" * 9):
        assert why(usign.Secret, text) == "not a secret key as usign makes it", text
    for text in ("", "x", SECRET, SIGNATURE, PUBLIC + PUBLIC, "AA" + PUBLIC.split("\n")[1][2:]):
        assert why(usign.parse_public, text) == "not a public key as usign makes it", text
    for text in ("", "x", line, SIGNATURE + "x", "AA" + SIGNATURE[2:]):
        assert not usign.verify(usign.parse_public(PUBLIC), MESSAGE, text)
