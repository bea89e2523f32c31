"""The small values that the core and the edges share."""

from . import compat

RUN = "/var/run/bgpmesh"  # tmpfs: what is rendered, and the daemons' sockets
STATE = "/etc/bgpmesh"  # flash, kept at sysupgrade: keys and the last known members


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
    """A file's text that is never held as a whole. Equal to another that gives the same bytes.

    pieces(): gives it anew, as an iterator of str.
    """

    def __init__(self, pieces):
        self.pieces = pieces
        self._digest = None

    @property
    def digest(self):
        """Of its bytes, as compat.digest gives it."""
        if not self._digest:
            self._digest = compat.digest(self.pieces())
        return self._digest

    def __eq__(self, other):
        return self.digest == other.digest
