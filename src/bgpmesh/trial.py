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
    """text: the options in force; undone: whether others were taken back; proved: whether they work.

    Every method raises OSError.
    """

    def __init__(self):
        self.text = None
        self.undone = False
        self._on = False  # whether they are on trial
        self.proved = False  # and this is kept
        self._taken_back = None  # what is in _UNDONE, or is to be; None before that was looked at
        self._marked = None  # whether _CONNECTED is there, as far as is known
        self._since = compat.monotonic()
        self._connected_at = self._since

    def begin(self, text):
        """Looks at the options' text. Returns what is to be in force: it, or the last that worked.

        What of that is to be on flash keep() writes.
        """
        mark = _hash(text)
        self.proved = False
        worked = disk.read_or_none(_WORKED)
        if self._taken_back is None:
            self._taken_back = disk.read_or_none(_UNDONE) or ""
        self.undone = worked is not None and self._taken_back == mark
        if self.undone:
            self.text = worked
            self._on = False
            return worked
        self._taken_back = ""
        if text != self.text:
            self._since = compat.monotonic()
            self.text = text
            # Where there was nothing to lose before, nothing is won by going back.
            had = self._on or compat.exists(_CONNECTED) or disk.read_or_none(_TRIED) is not None
            self._on = worked is not None and text != worked and had
        return text

    def keep(self):
        """Has on flash what is on trial or was taken back, for the agent's next start."""
        for path, mark in ((_UNDONE, self._taken_back), (_TRIED, self._on and _hash(self.text))):
            if mark:
                disk.write(path, mark, 0o600)
            else:
                disk.remove(path)

    def look(self, connected, patience):
        """Whether the options in force were taken back: True once. `text` is what worked then, to be put into force.

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
                disk.write(_WORKED, self.text, 0o600)
                disk.remove(_TRIED)
                self.proved = True
        elif now - self._connected_at >= _DIP and self._marked is not False:
            disk.remove(_CONNECTED)
            self._marked = False
        if not self._on or not patience or now - max(self._since, self._connected_at) < patience:
            return False
        self._on = False
        worked = disk.read_or_none(_WORKED)
        if worked is None:
            return False
        self._taken_back = _hash(self.text)
        self.text = worked
        self.undone = True
        return True


def before():
    """The options that worked before those that are on trial, None where none are."""
    return disk.read_or_none(_WORKED) if disk.read_or_none(_TRIED) is not None else None


def taken_back(text):
    """The options in force where this text was taken back; None where it was not."""
    worked = disk.read_or_none(_WORKED)
    return worked if disk.read_or_none(_UNDONE) == _hash(text) else None


def _hash(text):
    return compat.sha256(text.encode())
