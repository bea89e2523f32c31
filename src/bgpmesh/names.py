"""The addresses of members whose endpoint is a name.

tincd stands still while it asks for one, with all of its tunnels: a name server that does not answer, of one member
or of all, would end those with the others. So the agent asks, and tincd is told addresses.
"""

import asyncio

from . import compat

_KEPT = 600  # seconds after which a name is looked up again
_SOON = 30  # the same where nobody was found, or is reached, there
_TIME = 15  # seconds that one lookup may take
_MOST = 4  # addresses of a name


class Names:
    """known: name -> tuple of addresses as text, as last found, of those that are looked up."""

    def __init__(self):
        self.known = {}
        self._asked = {}  # name -> (when, by compat.monotonic(), and whether it was found)
        self._due = []
        self._busy = None  # the name that is looked up now
        self._fresh = False

    def look(self, wanted, missing):
        """Looks names up that it is time for, in the background. Whether others are known since the last call.

        wanted: names; missing: those of them of whom nobody is reached.
        """
        for known in (self.known, self._asked):
            for host in [host for host in known if host not in wanted]:
                del known[host]
        due = [host for host in wanted if host != self._busy and self._is_due(host, host in missing)]
        # What was not found takes longest, and may not be found again.
        self._due = sorted(due, key=lambda host: (not self._asked.get(host, (0, True))[1], host))
        if self._due and not self._busy:
            self._busy = self._due.pop(0)
            asyncio.create_task(self._ask())
        fresh, self._fresh = self._fresh, False
        return fresh

    def _is_due(self, host, missing):
        at, found = self._asked.get(host, (None, False))
        return at is None or compat.monotonic() - at >= (_KEPT if found and not missing else _SOON)

    async def _ask(self):
        try:
            while self._busy:
                host = self._busy
                found = await _addresses(host)
                self._asked[host] = compat.monotonic(), bool(found)
                # Of one that is not found now the earlier ones are the best guess.
                if found and self.known.get(host) != found:
                    self.known[host] = found
                    self._fresh = True
                self._busy = self._due.pop(0) if self._due else None
        finally:
            self._busy = None


async def _addresses(host):
    try:
        found = await asyncio.wait_for(compat.resolve(host, 0), _TIME)
    except (OSError, ValueError, asyncio.TimeoutError):
        return ()
    # A server that tells them in another order each time tells nothing new.
    return tuple(sorted(set([compat.address_text(one) for one in found]))[:_MOST])
