"""Steady pings, and what of them had no answer."""

import contextlib
import os
import re
import signal
import subprocess

from .mesh import SOON
from .netns import ENV

INTERVAL = 0.02  # seconds between two requests


class Ping:
    """Pings from one router's LAN to another's, until the first of missed(), lost(), longest()."""

    def __init__(self, router, other, family=4, interval=INTERVAL):
        self._interval = interval
        self._lab = router.lab
        self._path = router.lab.dir / f"{router.name}-{other.name}-ping{family}"
        source, target = (router.lan, other.lan) if family == 4 else (router.lan6, other.lan6)
        before = router.pids("ping")
        argv = [*router.enter(), "ping", "-n", "-i", str(interval), "-I", source, target]
        with open(self._path, "w") as output:
            self._process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=ENV)
        router.lab.wait(self._answers, SOON, f"{router.name} to be answered by {other.name}")
        (self._pid,) = set(router.pids("ping")) - set(before)

    def _answers(self):
        return [int(number) for number in re.findall(r"icmp_seq=(\d+) ttl", self._path.read_text())]

    def answers(self):
        """How many requests were answered so far."""
        return len(self._answers())

    def _end(self):
        if self._process.poll() is None:
            # What was lost at the end counts, too: it is before another answer.
            before = self.answers()
            self._lab.wait(lambda: self.answers() > before, SOON, f"an answer at the end, {self._path.name}")
            os.kill(self._pid, signal.SIGINT)
            self._process.wait()
        return sorted(set(self._answers()))

    def missed(self):
        """How many requests had no answer, of those before the last one that had."""
        seen = self._end()
        return seen[-1] - seen[0] + 1 - len(seen)

    def lost(self):
        """How many seconds of requests had no answer."""
        return self.missed() * self._interval

    def longest(self):
        """How many seconds the longest time without an answer took."""
        seen = self._end()
        return max(after - before - 1 for before, after in zip(seen, seen[1:])) * self._interval


@contextlib.contextmanager
def pinging(*pairs, interval=0.05):
    """Pings all the while from LAN to LAN; gives, when it is over, {(router's name, other's): requests without answer}.

    interval: seconds between two requests. One of each pair was answered before what is done inside.
    """
    pings = {(one.name, other.name): Ping(one, other, interval=interval) for one, other in pairs}
    found = {}
    try:
        yield found
    finally:
        for pair, ping in pings.items():
            found[pair] = ping.missed()
