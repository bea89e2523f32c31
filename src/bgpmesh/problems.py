"""What is wrong right now: one list, from which an entry goes when the part that found it sees it gone."""

from . import compat


class Problems:
    """The current problems, by the part of the agent that found them. codes: set of the codes there ever were."""

    def __init__(self, report):
        self.codes = set()
        self._report = report
        self._found = {}  # part -> {(code, subject): (Problem, since)}

    def replace(self, part, problems):
        """What `part` finds wrong now: all of it. Each change is reported once."""
        before = self._found.get(part, {})
        now = {}
        for problem in problems:
            key = problem.key()
            if key in before:
                now[key] = (problem, before[key][1])
            elif key not in now:
                now[key] = (problem, compat.monotonic())
                self.codes.add(problem.code)
                self._report("%s: %s" % (problem.code, problem.text))
        for key in sorted(before):
            if key not in now:
                self._report("%s: over: %s" % (key[0], before[key][0].text))
        self._found[part] = now

    def of(self, part):
        """The problems that `part` has found, sorted by code and subject."""
        found = self._found.get(part, {})
        return [found[key][0] for key in sorted(found)]

    def all(self):
        """(Problem, seconds since it was first seen), sorted by code and subject."""
        now = compat.monotonic()
        rows = []
        for found in self._found.values():
            rows += [(key, problem, now - since) for key, (problem, since) in found.items()]
        return [(row[1], row[2]) for row in sorted(rows, key=lambda row: row[0])]


class Retry:
    """When to try again what failed: soon at first, then ever later, each time a little earlier at random."""

    def __init__(self, first=1, last=30):
        self.last = last  # seconds between two tries, at most
        self._first = first
        self._delay = 0
        self._at = 0

    def due(self):
        """Whether it is time to try."""
        return compat.monotonic() >= self._at

    def wait(self):
        """Seconds until it is."""
        return max(0, self._at - compat.monotonic())

    def failed(self):
        """Notes a failure; the next try is due later than the last."""
        self._delay = min(self.last, self._delay * 2 or self._first)
        self._at = compat.monotonic() + self._delay * (1 - compat.random_fraction() / 2)

    def succeeded(self):
        """Notes a success."""
        self._delay = self._at = 0
