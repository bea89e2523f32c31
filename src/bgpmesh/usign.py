"""Keys and signatures in the form of OpenWrt's usign, which is that of OpenBSD's signify.

A file has a line of comment and a line of base64: "Ed", eight bytes by which a key pair is told from others, and the
public key or the signature. A secret key is "Ed", "BK", the rounds of its passphrase (0: none), 16 bytes of salt, eight
of SHA-512 of the key, the eight of the pair, then private and public key.
"""

import binascii

from . import ed25519
from .sha512 import sha512

_COMMENT = "untrusted comment: "
_PUBLIC = 42  # bytes
_SECRET = 104
_SIGNATURE = 74


def parse_public(text):
    """The bytes of a public key, a file's text or its line of base64. Raises ValueError."""
    return _parse(text, _PUBLIC, "a public key as usign makes it")


def line(data):
    """Bytes as the one line of base64."""
    return binascii.b2a_base64(data)[:-1].decode()


def verify(public, message, signature):
    """Whether a line of base64 is the signature of the message by the owner of a public key (bytes)."""
    try:
        found = _parse(signature, _SIGNATURE, "a signature")
    except ValueError:
        return False
    return found[:10] == public[:10] and ed25519.verify(public[10:], message, found[10:])


class Secret:
    """A secret key from its file's text. Raises ValueError. public: the public key that belongs to it, as bytes."""

    def __init__(self, text):
        data = _parse(text, _SECRET, "a secret key as usign makes it")
        if data[2:4] != b"BK" or data[4:8] != bytes(4):
            raise ValueError("it is protected by a passphrase: one made without (signify -n) would be right")
        self._seed = data[40:72]
        if sha512(data[40:])[:8] != data[24:32] or ed25519.public(self._seed) != data[72:]:
            raise ValueError("it is damaged")
        self.public = b"Ed" + data[32:40] + data[72:]

    def sign(self, message):
        """The signature of a message, as a line of base64."""
        return line(self.public[:10] + ed25519.sign(self._seed, message))


def make(random):
    """(text of the secret file, text of the public one) of a new pair made of 56 random bytes."""
    seed, pair, salt = random[:32], random[32:40], random[40:56]
    key = seed + ed25519.public(seed)
    secret = b"EdBK" + bytes(4) + salt + sha512(key)[:8] + pair + key
    name = binascii.hexlify(pair).decode()
    texts = (("private", secret), ("public", b"Ed" + pair + key[32:]))
    return tuple(["%s%s key %s\n%s\n" % (_COMMENT, kind, name, line(data)) for kind, data in texts])


def _parse(text, size, what):
    lines = [row for row in text.strip().split("\n") if not row.startswith(_COMMENT)]
    try:
        data = binascii.a2b_base64(lines[0].strip()) if len(lines) == 1 else b""
    except ValueError:
        data = b""
    # In its one form: the runtimes differ in what else they take for base64.
    if len(data) != size or data[:2] != b"Ed" or line(data) != lines[0].strip():
        raise ValueError("not %s" % what)
    return data
