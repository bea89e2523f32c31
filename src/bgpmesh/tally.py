"""How often something was done, and how long it took: what the metrics count."""

from . import compat


class Tally:
    """good, bad: how often it succeeded and failed; seconds: what all of it took; last: what the last success took,
    None before there was one."""

    def __init__(self):
        self.good = 0
        self.bad = 0
        self.seconds = 0.0
        self.last = None

    def note(self, began, good):
        """Counts what began at compat.ticks_us() `began` and has just ended."""
        took = compat.ticks_diff(compat.ticks_us(), began) / 1000000
        self.seconds += took
        if good:
            self.good += 1
            self.last = took
        else:
            self.bad += 1
