"""This router's tinc keys: made by tinc itself, kept on flash, each generation in files of its own.

Which generation is in use, and which one is to come, is in one file, so that a switch is one rename.
"""

import json
import os

from .. import compat, disk
from ..model import RUN, STATE
from . import render

TIMEOUT = 600  # an RSA key takes a slow router minutes
_SCRATCH = RUN + "/keys"
_KINDS = ("rsa_key", "ed25519_key")


class Keys:
    """The public keys. rsa: PEM text; ed25519: tinc 1.1's one line, or None with tinc 1.0.

    generation: how often they were rotated. next: the Keys that are to replace them, as far as they are made, or
    None. unfinished: whether a rotation is under way, or has left something on flash.
    """

    def __init__(self, rsa, ed25519, generation=0):
        self.rsa = rsa
        self.ed25519 = ed25519
        self.generation = generation
        self.next = None
        self.unfinished = False

    def take_next(self):
        """Becomes the next keys."""
        self.rsa, self.ed25519, self.generation = self.next.rsa, self.next.ed25519, self.next.generation
        self.next = None


class State:
    """What is kept of the generations. current, next: their numbers, next 0 where no rotation is under way;
    since: when the current one was taken, seconds since 1970, 0 where unknown."""

    def __init__(self, current=0, next=0, since=0):
        self.current = current
        self.next = next
        self.since = since


def load_state():
    """The State on flash; where it cannot be read, the latest generation that is whole. Raises OSError."""
    text = disk.read_or_none(STATE + "/keys.json")
    if text is None and not compat.exists(STATE + "/keys.json"):
        return State()
    try:
        fields = json.loads(text or "")
        values = [fields[name] for name in ("generation", "next", "since")]
        if [type(value) for value in values] == [int, int, int]:
            return State(*values)
    except (ValueError, KeyError, TypeError):
        pass
    whole = [number for number in generations() if _public("rsa_key", number)]
    return State(max(whole + [0]))


def save_state(state):
    """Puts the State on flash. Raises OSError."""
    text = '{"generation":%d,"next":%d,"since":%d}\n' % (state.current, state.next, state.since)
    disk.write(STATE + "/keys.json", text, 0o600)


def generations():
    """The numbers of the generations that have a file, sorted. Raises OSError."""
    return sorted(set([_generation(name) for name in os.listdir(STATE) if _generation(name) is not None]))


def remove_but(kept):
    """Removes the files of all generations that are not in `kept`. Raises OSError."""
    for name in os.listdir(STATE):
        if _generation(name) not in (None,) + tuple(kept):
            disk.remove(STATE + "/" + name)


async def load_or_make(tinc_version, report):
    """The router's Keys; those that are missing are made. Raises OSError, saying what failed."""
    disk.make_folder(STATE)
    state = load_state()
    found = await make(tinc_version, state.current, report)
    if state.next and all([_public(kind, state.next) for kind in _kinds(tinc_version)]):
        found.next = await make(tinc_version, state.next, report)
    found.unfinished = bool(state.next) or generations() != [state.current]
    return found


async def make(tinc_version, generation, report):
    """The Keys of a generation; those that are missing are made. Raises OSError, saying what failed.

    A private key is stored before its public half, and both are made anew where one is missing, so
    that a cut at any point leaves a pair or nothing.
    """
    rsa = _public("rsa_key", generation)
    if not rsa:
        report("making the RSA key; a slow router takes minutes")
        if tinc_version == "1.0":
            argv = ["/usr/sbin/tincd", "-c", _SCRATCH, "-K2048"]
        else:
            argv = ["/usr/sbin/tinc", "--batch", "-c", _SCRATCH, "generate-rsa-keys", "2048"]
        rsa = await _make(argv, "rsa_key", generation)
    ed25519 = None
    if tinc_version != "1.0":
        ed25519 = _public("ed25519_key", generation)
        if not ed25519:
            argv = ["/usr/sbin/tinc", "--batch", "-c", _SCRATCH, "generate-ed25519-keys"]
            ed25519 = await _make(argv, "ed25519_key", generation)
    return Keys(rsa.strip(), ed25519.split()[-1] if ed25519 else None, generation)


async def _make(argv, kind, generation):
    disk.remove_folder(_SCRATCH)
    disk.make_folder(_SCRATCH + "/hosts")
    disk.write(_SCRATCH + "/tinc.conf", "Name = key\n", 0o600)
    try:
        status, output = await compat.run(argv, TIMEOUT)
        private = disk.read("%s/%s.priv" % (_SCRATCH, kind))
        public = disk.read(_SCRATCH + "/hosts/key")
        if status or not private or not public:
            raise OSError(5, "%s made no key: %s" % (" ".join(argv), output.decode().strip()[-200:]))
    finally:
        disk.remove_folder(_SCRATCH)
    disk.write(_path(kind, generation, "priv"), private, 0o600)
    disk.write(_path(kind, generation, "pub"), public.strip() + "\n", 0o644)
    return public


def _kinds(tinc_version):
    return _KINDS[:1] if tinc_version == "1.0" else _KINDS


def _path(kind, generation, half):
    return "%s/%s" % (STATE, render.key_file(kind, generation, half))


def _public(kind, generation):
    """The public key of a pair that is whole, or None. Raises OSError."""
    if not compat.exists(_path(kind, generation, "priv")):
        return None
    return disk.read(_path(kind, generation, "pub")) or None


def _generation(name):
    """The generation that a file of STATE belongs to; None where it is no key's."""
    words = name.split(".")
    if words[0] not in _KINDS or words[-1] not in ("priv", "pub"):
        return None
    if len(words) == 2:
        return 0
    return int(words[1]) if len(words) == 3 and words[1].isdigit() else None
