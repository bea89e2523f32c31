"""The roster: which members take part, and which of their prefixes are accepted.

Every router computes it alike from the registry alone. Where two members want the same thing the
senior one, whose record was created first, keeps it; an address belongs to whoever claimed it.
"""

from . import compact
from .model import Problem


class Seat:
    """A member that takes part. member: its Member; prefixes: those accepted from it, sorted."""

    def __init__(self, member, accepted=None):
        self.member = member
        self._accepted = accepted  # None: all

    @property
    def prefixes(self):
        """Those accepted."""
        return self.member.prefixes if self._accepted is None else self._accepted

    def same(self, other):
        """Whether another Seat is seen to be the same at a glance."""
        return self.member is other.member and self._accepted == other._accepted


def seat(members, claims, reserved):
    """Seats of the members that take part, and what is wrong with the others.

    members: Members; claims: address -> node; reserved: iterable of (Prefix, what it is) that nobody's prefix
    may cover, such as the addresses that tunnels run over. Returns (node -> Seat, Problems).
    """
    problems = []
    taking_part = []
    holders = ({}, {}, {}, {})
    for _, _, member in sorted([(member.created, member.node, member) for member in members]):
        owner = claims.get(member.ip, member.node)
        if owner != member.node:
            clash = "address %s belongs to '%s'" % (member.ip, owner)
        else:
            clash = _clash(member, holders)
        if clash:
            text = "member '%s' is left out: its %s; set another one on it" % (member.node, clash)
            problems.append(Problem("member_conflict", member.node, text))
        else:
            taking_part.append(member)
    holders = None  # it is large
    accepted = _share_out(taking_part, reserved, problems)
    return {member.node: Seat(member, accepted.get(member.node)) for member in taking_part}, problems


def _clash(member, holders):
    """What of a member an earlier one has; None where it has all to itself, and is entered into `holders`.

    holders: for addresses, router ids, keys and names in tinc: number or name -> Member, or a tuple of several.
    """
    marks = compact.pack(member).marks() + [(3, name) for name in member.names()]
    rivals = []
    for kind, number in marks:
        known = holders[kind].get(number, ())
        rivals += known if isinstance(known, tuple) else (known,)
    if rivals:
        for kind, value in _owned(member):
            for rival in rivals:
                if (kind, value) in _owned(rival):
                    return "%s%s belongs to '%s'" % (kind, "" if kind == "key" else " " + value, rival.node)
    for kind, number in marks:
        known = holders[kind].get(number)
        if known:
            known = (known if isinstance(known, tuple) else (known,)) + (member,)
        holders[kind][number] = known or member
    return None


def _owned(member):
    owned = [("address", member.ip), ("address", member.ip6), ("router_id", member.router_id)]
    for name, rsa, ed25519 in member.identities():
        owned += [("key", ed25519), ("key", rsa), ("name in tinc", name)]
    return [thing for thing in owned if thing[1]]


def _share_out(members, reserved, problems):
    """node -> accepted prefixes, of those who have others. Of overlapping ones the senior member's is accepted."""
    contested = _contested(members, reserved)
    if not contested:
        return {}
    wanted = []  # the most senior first
    for prefix, what in reserved:
        if (prefix.family, compact.span(prefix)) in contested:
            wanted.append((prefix, "", what))
    wanted.sort(key=lambda item: item[2])
    for member in members:
        found = [prefix for prefix in member.prefixes if (prefix.family, compact.span(prefix)) in contested]
        wanted += [(prefix, member.node, "") for prefix in found]
    refused = {}
    related = _overlaps([prefix for prefix, _, _ in wanted])
    taken = {}  # key of a prefix -> its place in `wanted`
    for place, (prefix, node, _) in enumerate(wanted):
        key = prefix.key()
        rivals = [wanted[taken[other]] for other in [key] + related.get(key, []) if other in taken]
        rivals = [rival for rival in rivals if rival[1] != node]
        if node and rivals:
            other, rival, what = rivals[0]
            text = "%s of '%s' is not accepted: it overlaps %s" % (prefix, node, other)
            if rival:
                text += " of '%s', which was first; renumber one of the two" % rival
            else:
                text += ", %s, and would draw the tunnels into themselves" % what
            problems.append(Problem("prefix_conflict", "%s %s" % (node, prefix), text))
            refused.setdefault(node, []).append(prefix)
        else:
            taken.setdefault(key, place)
    return {
        member.node: [prefix for prefix in member.prefixes if prefix not in refused[member.node]]
        for member in members
        if member.node in refused
    }


def _contested(members, reserved):
    """(family, span) of the prefixes that overlap another one: few, and nothing is made of all others."""
    spans = {4: [], 6: []}
    for prefix, _ in reserved:
        spans[prefix.family].append(compact.span(prefix))
    for member in members:
        four, six = compact.pack(member).spans()
        spans[4] += four
        spans[6] += six
    found = set()
    for family, bits in ((4, 32), (6, 128)):
        spans[family].sort()
        enclosing = []
        for span in spans[family]:
            while enclosing and (enclosing[-1] ^ span) >> 8 + bits - (enclosing[-1] & 255):
                enclosing.pop()
            if enclosing:
                found.add((family, enclosing[-1]))
                found.add((family, span))
            enclosing.append(span)
    return found


def _overlaps(prefixes):
    """key -> keys of the other prefixes that overlap it, from one sweep in address order."""
    related = {}
    enclosing = []
    distinct = {prefix.key(): prefix for prefix in prefixes}
    for key in sorted(distinct):
        while enclosing and not distinct[enclosing[-1]].covers(distinct[key]):
            enclosing.pop()
        for other in enclosing:
            related.setdefault(key, []).append(other)
            related.setdefault(other, []).append(key)
        enclosing.append(key)
    return related
