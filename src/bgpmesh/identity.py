"""This router's identity: the key by which its record is told from what somebody else writes in its name.

The network's owner approves it once (trust.py); tinc's keys may change under it. A pair of Ed25519 keys, made where
the options name an owner, and kept for good.
"""

import os
from binascii import unhexlify

from . import compat, disk, ed25519
from .model import STATE
from .records import is_hex

PATH = STATE + "/identity"


class Identity:
    """id: its public key, as a records.Proof has it."""

    by = None

    def __init__(self, text):
        if not is_hex(text[:-1], 128) or text[-1] != "\n":
            raise ValueError("it is damaged")
        self.id = text[64:128]
        self._seed = unhexlify(text[:64])
        self._last = None, None

    def sign(self, digest):
        """The signature of a digest (bytes), hexadecimal digits: a slow router takes a second for another one."""
        if self._last[0] != digest:
            made = ed25519.sign(self._seed, digest, unhexlify(self.id))
            self._last = digest, compat.hexlify(made)
        return self._last[1]


def load_or_make():
    """The Identity on flash; where there is none, it is made. Raises OSError, ValueError where it is damaged."""
    text = disk.read_or_none(PATH)
    if text is None and not compat.exists(PATH):
        seed = os.urandom(32)
        text = "%s%s\n" % (compat.hexlify(seed), compat.hexlify(ed25519.public(seed)))
        disk.make_folder(STATE)
        disk.write(PATH, text, 0o600)
    return Identity(text or "")


def verify(proof):
    """Whether a records.Proof is one."""
    return ed25519.verify(unhexlify(proof.id), proof.digest, unhexlify(proof.by))
