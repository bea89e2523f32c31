"""The roster: which members take part, and which of their prefixes are accepted.

Every router computes it alike from the registry alone. Where two members want the same thing the
senior one, whose record was created first, keeps it; an address belongs to whoever claimed it.
"""

from .model import Problem


class Seat:
    """A member that takes part. member: its Member; prefixes: those accepted from it, sorted."""

    def __init__(self, member, prefixes):
        self.member = member
        self.prefixes = prefixes


def seat(members, claims, reserved):
    """Seats of the members that take part, and what is wrong with the others.

    members: Members; claims: address -> node; reserved: (Prefix, what it is) that nobody's prefix
    may cover, such as the addresses that tunnels run over. Returns (node -> Seat, Problems).
    """
    problems = []
    taking_part = []
    holders = {}
    for member in sorted(members, key=lambda member: (member.created, member.node)):
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
    accepted = _share_out(taking_part, reserved, problems)
    return {member.node: Seat(member, accepted[member.node]) for member in taking_part}, problems


def _clash(member, holders):
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
    """node -> accepted prefixes. Of overlapping ones the senior member's is accepted."""
    wanted = [(prefix, "", what) for prefix, what in reserved]  # the most senior first
    for member in members:
        wanted += [(prefix, member.node, "") for prefix in member.prefixes]
    related = _overlaps([prefix for prefix, _, _ in wanted])
    accepted = {member.node: [] for member in members}
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
        else:
            taken.setdefault(key, place)
            if node:
                accepted[node].append(prefix)
    return accepted


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
