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
    ring = sorted([(_place(peer), peer) for peer in reachable])
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
    chosen = []
    start = _place(node)
    for step in range(DIALS):
        point = (start + step * _RING // DIALS) % _RING
        # The first behind the point: the ring is sorted.
        low, high = 0, len(ring)
        while low < high:
            middle = (low + high) // 2
            if ring[middle][0] > point:
                high = middle
            else:
                low = middle + 1
        for turn in range(len(ring)):
            peer = ring[(low + turn) % len(ring)][1]
            if peer != node and peer not in chosen:
                chosen.append(peer)
                break
    return chosen


def _place(text):
    return int(compat.sha256(text.encode())[:8], 16)
