"""The small values that the core and the edges share."""

import hashlib

RUN = "/var/run/bgpmesh"  # tmpfs: what is rendered, and the daemons' sockets
STATE = "/etc/bgpmesh"  # flash, kept at sysupgrade: keys and the last known members
TAKE = "uci commit bgpmesh; service bgpmesh reload"  # has the agent follow what `uci set` has said


class Problem:
    """Something that is not as it should be.

    code: what kind, a stable word for programs; subject: the peer, option, prefix or part that it
    is about; text: what was found and what to do, for a person.
    """

    def __init__(self, code, subject, text):
        self.code = code
        self.subject = subject
        self.text = text

    def key(self):
        """What makes two sightings the same problem."""
        return self.code, self.subject


class Text:
    """A file's text that is never held as a whole.

    known: its digest, 32 bytes; None until it was asked for, or pieces() has come to its end once.
    """

    def __init__(self, make):
        self.known = None
        self._make = make  # gives the pieces anew, as an iterator of str

    @property
    def digest(self):
        """SHA-256 of its bytes, for which all of it is made where that is not known yet."""
        if not self.known:
            for _ in self.pieces():
                pass
        return self.known

    def pieces(self):
        """The text anew, as an iterator of str."""
        total = hashlib.sha256()
        for piece in self._make():
            total.update(piece.encode())
            yield piece
        self.known = total.digest()
