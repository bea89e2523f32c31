"""The trial of changed options: those after which the router has neither registry nor member are taken back.

What was seen to work is kept on flash, and so is what is on trial or was taken back, each as a hash of
/etc/config/bgpmesh, which is its owner's and never changed.
"""

from . import compat, disk
from .model import RUN, STATE

_WORKED = STATE + "/config.worked"  # the last options that were seen to work
_TRIED = STATE + "/config.tried"  # hash of those that are on trial
_UNDONE = STATE + "/config.undone"  # hash of those that were taken back
_CONNECTED = RUN + "/connected"  # there while the router has its registry, or a member; gone after a reboot
_SETTLE = 20  # seconds after which nothing is seen that was so before a change: BGP's hold time, and some
_DIP = 30  # seconds for which what was there may be missing


class Trial:
    """undone: whether the options were taken back; proved: whether they work. Every method raises OSError."""

    def __init__(self):
        self.undone = False
        self._text = None  # the options in force
        self._on = False  # whether they are on trial
        self.proved = False  # and this is kept
        self._marked = None  # whether _CONNECTED is there, as far as is known
        self._since = compat.monotonic()
        self._connected_at = self._since

    def begin(self, text):
        """Looks at the options' text. Returns what is to be in force: it, or the last that worked."""
        mark = _hash(text)
        self.proved = False
        worked = disk.read_or_none(_WORKED)
        self.undone = worked is not None and disk.read_or_none(_UNDONE) == mark
        if self.undone:
            self._text = worked
            self._on = False
            return worked
        disk.remove(_UNDONE)
        if text != self._text:
            self._since = compat.monotonic()
        self._text = text
        # Where there was nothing to lose before, nothing is won by going back.
        tried = disk.read_or_none(_TRIED)
        self._on = worked is not None and text != worked and (compat.exists(_CONNECTED) or tried is not None)
        if self._on:
            disk.write(_TRIED, mark, 0o600)
        else:
            disk.remove(_TRIED)
        return text

    def look(self, connected, patience):
        """Whether the options in force are to be taken back: True once.

        connected: whether the router has its registry, or a member; patience: seconds for which it may have neither.
        """
        now = compat.monotonic()
        if connected:
            self._connected_at = now
            if not self._marked:
                disk.write(_CONNECTED, "", 0o600)
                self._marked = True
            if now - self._since >= _SETTLE and not self.undone and not self.proved:
                self._on = False
                disk.write(_WORKED, self._text, 0o600)
                disk.remove(_TRIED)
                self.proved = True
        elif now - self._connected_at >= _DIP and self._marked is not False:
            disk.remove(_CONNECTED)
            self._marked = False
        if not self._on or not patience or now - max(self._since, self._connected_at) < patience:
            return False
        disk.write(_UNDONE, _hash(self._text), 0o600)
        disk.remove(_TRIED)
        self._on = False
        return True


def taken_back(text):
    """The options in force where this text was taken back; None where it was not."""
    worked = disk.read_or_none(_WORKED)
    return worked if disk.read_or_none(_UNDONE) == _hash(text) else None


def _hash(text):
    return compat.sha256(text.encode())
