"""Who dials whom: each router's share of the tunnels, computed alike by all from the member list.

Up to FULL_MESH members each pair has one tunnel, dialled from one side. Beyond, a full mesh floods
itself (every tunnel is an edge that every member must hear of), so each router dials a few: tinc
finds the other paths by itself.
"""

from .. import compat

FULL_MESH = 12
DIALS = 3
_RING = 1 << 32


def dials(node, members, few=False):
    """Names of the members that `node` dials, sorted.

    members: Members, `node` among them. A member without an endpoint is never dialled: it dials. few: dials no more
    than it does in a large mesh.
    """
    reachable = [member.node for member in members if member.endpoint]
    if len(members) <= FULL_MESH and not few:
        return sorted([peer for peer in reachable if peer != node and (node not in reachable or leads(node, peer))])
    ring = sorted(reachable, key=_place)
    # Of two that choose each other, one dials.
    return sorted([peer for peer in _fingers(node, ring) if node not in _fingers(peer, ring) or leads(node, peer)])


def leads(node, peer):
    """Whether `node` is the one of the pair that begins: one of the two, and each router in about half of its pairs."""
    low, high = sorted((node, peer))
    return (_place(low + " " + high) % 2 == 0) == (node == low)


def _fingers(node, ring):
    """The next router on a ring ordered by hash, and those that come next a third and two thirds around.

    The links to the next one close the ring, which no single death cuts; those across keep paths short.
    Who is outside the ring for want of an endpoint holds on to as many of its members. A router that
    joins or dies changes the share of about DIALS others, so few tunnels are moved.
    """
    others = [peer for peer in ring if peer != node]
    chosen = set()
    for step in range(min(DIALS, len(others))):
        point = (_place(node) + step * _RING // DIALS) % _RING
        after = [peer for peer in others if _place(peer) > point] + others
        chosen.add([peer for peer in after if peer not in chosen][0])
    return chosen


def _place(text):
    return int(compat.sha256(text.encode())[:8], 16)
