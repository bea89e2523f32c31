"""Members that are held on to: their record is gone from the registry, or is none that counts.

Whoever can write to the registry but does not know the network's secret can remove and spoil records, and must
not be able to remove a member by that. So under a secret the last good record stays in force for a grace, unless
its owner, or somebody else who knows the secret, has signed that it left. Without a secret nobody could tell
who removed a record: it counts at once, unless the whole registry was wiped.
"""

from . import compat

SETTLE = 60  # seconds that members missing from a wiped registry are given to write themselves back
_REMEMBERED = 256  # serials of members that are no more


class Holding:
    """A member that is held on to. entry, member: its last good record, as text and as value; until: when it is
    given up (compat.monotonic()); online: whether it is taken to be alive."""

    def __init__(self, entry, member, until, online):
        self.entry = entry
        self.member = member
        self.until = until
        self.online = online


class Held:
    """holdings: node -> Holding. members: node -> Member of the same.

    grace: seconds, by the monotonic clock: a start of the agent and other options begin them anew.
    """

    def __init__(self, grace):
        self.holdings = {}
        self._grace = grace
        self._settled_at = None  # until when a wiped registry's members are waited for

    @property
    def members(self):
        """The Members, by name."""
        return {node: holding.member for node, holding in self.holdings.items()}

    def settle(self):
        """The registry was wiped: what is missing may be written back soon."""
        self._settled_at = compat.monotonic() + SETTLE

    def settling(self):
        """Whether a wiped registry's members are still being waited for."""
        if self._settled_at is not None and compat.monotonic() >= self._settled_at:
            self._settled_at = None
        return self._settled_at is not None and bool(self.holdings)

    def hold(self, node, entry, member, online, wiped):
        """Takes a member whose good record is gone, or is another. Whether it is held on to.

        online: whether it was alive; wiped: whether all of the registry is gone, its sign of life as well.
        """
        seconds = max(self._grace, SETTLE if wiped else 0)
        if seconds:
            until = compat.monotonic() + seconds
            self.holdings[node] = Holding(entry, member, until, online and wiped)
        return seconds > 0

    def vouch(self, nodes):
        """These are seen to be in the mesh: whoever keeps their records away cannot outlast the grace by it."""
        if self._grace:
            until = compat.monotonic() + self._grace
            for node in nodes:
                if node in self.holdings and self.holdings[node].until:
                    self.holdings[node].until = until

    def release(self, node):
        """Lets go of a member: it has a good record again, or has left."""
        self.holdings.pop(node, None)

    def expire(self):
        """Lets go of those whose time is over, or set to 0; their names."""
        now = compat.monotonic()
        over = [node for node in self.holdings if self.holdings[node].until <= now]
        for node in over:
            del self.holdings[node]
        settled = not self.settling()
        for holding in self.holdings.values():
            holding.online = holding.online and not settled
        return over


class Serials:
    """node -> the highest serial that a good record had; of members that are no more, of a number that is bounded."""

    def __init__(self, known=None):
        self.known = dict(known or {})
        self._gone = sorted(self.known)  # in the order in which they went

    def get(self, node):
        """The highest serial seen, 0 where none was."""
        return self.known.get(node, 0)

    def note(self, node, serial):
        """A good record with this serial was seen."""
        self.known[node] = max(serial, self.get(node))
        if node in self._gone:
            self._gone.remove(node)

    def forget(self, node):
        """What was seen was another router's of this name."""
        self.known.pop(node, None)
        if node in self._gone:
            self._gone.remove(node)

    def went(self, node):
        """The member is no more. Of those that went longest ago the serials are forgotten."""
        if node in self.known and node not in self._gone:
            self._gone.append(node)
        for old in self._gone[:-_REMEMBERED]:
            del self.known[old]
        self._gone = self._gone[-_REMEMBERED:]
