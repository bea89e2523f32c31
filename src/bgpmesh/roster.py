"""The roster: which members take part, and which of their prefixes are accepted.

Every router computes it alike from the registry alone. Where two members want the same thing the
senior one, whose record was created first, keeps it; an address belongs to whoever claimed it.
"""

from . import compact
from .model import Problem


class Seat:
    """A member that takes part. member: its Member; prefixes: those accepted from it, sorted.

    A Member of which all are accepted is a Seat by itself.
    """

    def __init__(self, member, prefixes):
        self.member = member
        self.prefixes = prefixes

    def same(self, other):
        """Whether another Seat is seen to be the same at a glance."""
        return isinstance(other, Seat) and self.member is other.member and self.prefixes == other.prefixes


def seat(members, claims, reserved):
    """Seats of the members that take part, and what is wrong with the others.

    members: Members; claims: address -> node; reserved: iterable of (Prefix, what it is, node) that nobody's prefix
    may cover, such as the addresses that tunnels run over, or with a node nobody's that is junior to it. Returns
    (node -> Seat, Problems).
    """
    problems = []
    taking_part = []
    members = _by_seniority(members)
    suspects = _suspects(members)
    holders = {}
    for member in members:
        owner = claims.get(member.ip, member.node)
        clash = None
        if owner != member.node:
            clash = "address %s belongs to '%s'" % (member.ip, owner)
        elif suspects and any([mark in suspects for mark in _marks(member)]):
            clash = _clash(member, holders)
        if clash:
            text = "member '%s' is left out: its %s; set another one on it" % (member.node, clash)
            problems.append(Problem("member_conflict", member.node, text))
        else:
            taking_part.append(member)
    accepted = _share_out(taking_part, reserved, problems)
    seats = {member.node: member for member in taking_part}
    for node in accepted:
        seats[node] = Seat(seats[node], accepted[node])
    return seats, problems


def _by_seniority(members):
    """Sorted by `created`, then by name; without anything made for each of them."""
    members = sorted(members, key=lambda member: member.node)
    order = sorted([member.created << 20 | place for place, member in enumerate(members)])
    return [members[number & 0xFFFFF] for number in order]


def _marks(member):
    return compact.pack(member).marks() + [(3, name) for name in member.names()]


def _suspects(members):
    """Marks that more than one member has: whose are none of these has all to itself, and that are most."""
    found = ([], [], [], [])
    rotated = any([member.generation or member.next for member in members])
    for member in members:
        for kind, mark in _marks(member) if rotated else compact.pack(member).marks():
            found[kind].append(mark)
    suspects = set()
    for kind, marks in enumerate(found):
        marks.sort()
        for place in range(1, len(marks)):
            if marks[place] == marks[place - 1]:
                suspects.add((kind, marks[place]))
    return suspects


def _clash(member, holders):
    """What of a member an earlier one has; None where it has all to itself, and is entered into `holders`."""
    owned = [("address", member.ip), ("address", member.ip6), ("router_id", member.router_id)]
    for name, rsa, ed25519 in member.identities():
        owned += [("key", ed25519), ("key", rsa), ("name in tinc", name)]
    for thing in owned:
        if thing[1] and thing in holders:
            value = "" if thing[0] == "key" else " " + thing[1]
            return "%s%s belongs to '%s'" % (thing[0], value, holders[thing])
    for thing in owned:
        holders[thing] = member.node
    return None


def _share_out(members, reserved, problems):
    """node -> accepted prefixes, of those who have others. Of overlapping ones the senior member's is accepted.

    What a member alone says is reserved, such as its endpoint, is so against its juniors, or it could take prefixes
    from anybody.
    """
    contested = _contested(members, reserved)
    if not contested:
        return {}
    wanted = []  # the most senior first
    claimed = {}
    for prefix, what, node in reserved:
        if (prefix.family, compact.span(prefix)) in contested:
            (claimed.setdefault(node, []) if node else wanted).append((prefix, "", what))
    wanted.sort(key=lambda item: item[2])
    for member in members:
        wanted += claimed.get(member.node, [])
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
                text += ", %s, and would draw what goes there into the mesh" % what
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
    found = set()
    for family, bits in ((4, 32), (6, 128)):
        spans = [compact.span(prefix) for prefix, _, _ in reserved if prefix.family == family]
        for member in members:
            spans += compact.pack(member).spans(family)
        spans.sort()
        enclosing = []
        for span in spans:
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
