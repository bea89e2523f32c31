"""Route reflectors (RFC 4456): in a large mesh each router has BGP sessions with a few members, and these with all.

Every router chooses them alike from the registry alone. By name, not by seniority: of a registry that was wiped and
filled again not all routers know the same order.
"""

from . import address, compat

_MANY = 100  # members up to which two reflectors are enough
_NETWORK = {4: 24, 6: 48}  # bits of an endpoint's address that those in one place have in common


def may_reflect(member):
    """Whether a member may be chosen: it knows of reflectors, and wants to be one or can be dialled."""
    if not member.full_mesh_max:
        return False
    wish = member.reflector
    return wish == "yes" or wish == "auto" and member.endpoint is not None


def choose(node, members, online):
    """Names of the reflectors, sorted; none where every pair of members has a session.

    node: this router's name; members: all Members; online: names of the others that are there. The smallest
    `full_mesh_max` that a member has is the mesh's. Those chosen stay so while they are away: others are chosen
    beside them, and nobody else is moved.
    """
    bound = min([member.full_mesh_max or len(members) for member in members])
    if len(members) <= bound:
        return []
    ranked = []
    for member in members:
        if may_reflect(member):
            place = int(compat.sha256(member.node.encode())[:8], 16)
            ranked.append((member.reflector != "yes", place, member.node, member))
    if len(ranked) < 2:
        return []
    ranked.sort()
    chosen = _spread(ranked, 2 if len(members) <= _MANY else 3, [])
    there = [row for row in chosen if row[2] == node or row[2] in online]
    if len(there) < len(chosen):
        others = [row for row in ranked if row not in chosen and (row[2] == node or row[2] in online)]
        chosen += _spread(others, len(chosen) - len(there), there)
    return sorted([row[2] for row in chosen])


def peers(me, others, chosen):
    """Names of those that a Member has a session with. others: the other Members; chosen: names of the reflectors.

    A member that knows nothing of reflectors expects a session with everybody, and has it.
    """
    everybody = not chosen or me.node in chosen or not me.full_mesh_max
    return [one.node for one in others if everybody or one.node in chosen or not one.full_mesh_max]


def _spread(ranked, count, beside):
    """The first `count` of them, from as many networks as there are among those equally willing."""
    networks = [_network(row[3]) for row in beside]
    chosen = []
    willing = [row for row in ranked if not row[0]]
    for group in (willing, ranked[len(willing) :]):
        for crowded in (False, True):
            for row in group:
                if len(chosen) == count:
                    return chosen
                if row not in chosen and (crowded or _network(row[3]) not in networks):
                    chosen.append(row)
                    networks.append(_network(row[3]))
    return chosen


def _network(member):
    """Where a member is, as far as its endpoint tells: two with the same may go together."""
    if not member.endpoint:
        return member.node
    host = member.endpoint[0]
    try:
        family, number = address.parse(host)
    except ValueError:
        return host
    return family, number >> ((32 if family == 4 else 128) - _NETWORK[family])
