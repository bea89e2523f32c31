"""What was so until lately: names that are let go of when they have not been noted for a while."""

from . import compat


class Lately:
    """Names of what was so until lately. Those that stay so are noted again and again; the others are let go of."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._seen = {}  # name -> when it was so last

    def note(self, names):
        """These are so now."""
        now = compat.monotonic()
        for name in names:
            self._seen[name] = now

    def names(self):
        """Those that are, or were until lately."""
        return sorted(self._seen)

    def expire(self):
        """Lets go of those whose time is over; whether there were any."""
        now = compat.monotonic()
        over = [name for name in self._seen if now - self._seen[name] >= self.seconds]
        for name in over:
            del self._seen[name]
        return bool(over)
