from example import Thing, member

from bgpmesh.tinc import graph

SIZES = (graph.FULL_MESH + 1, graph.FULL_MESH + 2, 30)
HUNDREDS = 800


def mesh(size, without=0):
    """Members of which the last `without` have no endpoint."""
    found = [member("r%d" % number, number) for number in range(1, size + 1)]
    for one in found[size - without :]:
        one.endpoint = None
    return found


def dialled(members):
    """node -> those it dials."""
    return {one.node: graph.dials(one.node, members) for one in members}


class Remembered:
    """Has hashes of names made once, as long as this lasts: each router makes its own of all of them."""

    def __enter__(self):
        self._make = graph._place
        found = {}

        def place(text):
            if text not in found:
                found[text] = self._make(text)
            return found[text]

        graph._place = place

    def __exit__(self, *_):
        graph._place = self._make


def linked(calls, without=None):
    """Whether all are one piece over the tunnels, that node and its tunnels left out."""
    nodes = [node for node in sorted(calls) if node != without]
    neighbours = {node: [] for node in nodes}
    for node in nodes:
        for peer in calls[node]:
            if peer in neighbours:
                neighbours[node].append(peer)
                neighbours[peer].append(node)
    seen = set(nodes[:1])
    queue = nodes[:1]
    while queue:
        for peer in neighbours[queue.pop()]:
            if peer not in seen:
                seen.add(peer)
                queue.append(peer)
    return len(seen) == len(nodes)


def pairs(calls):
    """Every tunnel as (low, high), as often as it is dialled."""
    return sorted([tuple(sorted((node, peer))) for node in calls for peer in calls[node]])


def test_one_of_two_begins():
    for one, other in (("r1", "r2"), ("a", "b"), ("alfa", "alfa_"), ("r1", "r10")):
        assert graph.leads(one, other) != graph.leads(other, one)


def test_each_begins_about_half_of_its_pairs():
    nodes = ["r%d" % number for number in range(1, 41)]
    for node in nodes:
        assert 8 <= len([peer for peer in nodes if peer != node and graph.leads(node, peer)]) <= 31


def test_a_small_mesh_has_each_tunnel_once():
    for size in (1, 2, 3, 5, graph.FULL_MESH):
        calls = dialled(mesh(size))
        assert pairs(calls) == sorted(set(pairs(calls)))
        assert len(pairs(calls)) == size * (size - 1) // 2


def test_a_router_without_endpoint_dials_all_that_have_one():
    for size, without in ((2, 1), (5, 2), (graph.FULL_MESH, 5)):
        calls = dialled(mesh(size, without))
        reachable = size - without
        assert len(pairs(calls)) == reachable * (reachable - 1) // 2 + without * reachable
        assert pairs(calls) == sorted(set(pairs(calls)))
        assert linked(calls)


def test_nobody_dials_who_has_no_endpoint_or_itself():
    for size in (5,) + SIZES:
        calls = dialled(mesh(size, 4))
        for node in calls:
            assert node not in calls[node]
            assert not [peer for peer in calls[node] if int(peer[1:]) > size - 4]


def test_without_any_endpoint_nobody_dials():
    for size in (1, 5, 30):
        assert not pairs(dialled(mesh(size, size)))


def test_a_single_endpoint_is_dialled_by_all_others():
    for size in (2, 5, 30):
        calls = dialled(mesh(size, size - 1))
        assert calls["r1"] == []
        assert [calls[node] for node in calls if node != "r1"] == [["r1"]] * (size - 1)


def test_two_endpoints_are_both_held_on_to():
    for size in (5, 30):
        calls = dialled(mesh(size, size - 2))
        assert [calls["r%d" % number] for number in range(3, size + 1)] == [["r1", "r2"]] * (size - 2)
        assert pairs(calls).count(("r1", "r2")) == 1


def test_a_large_mesh_is_one_piece_and_stays_it_when_any_one_router_dies():
    for size in SIZES:
        for without in (0, 1, size // 2, size - 3):
            calls = dialled(mesh(size, without))
            assert linked(calls), (size, without)
            for node in calls:
                assert linked(calls, node), (size, without, node)


def test_a_large_mesh_has_few_tunnels():
    for size in SIZES:
        for without in (0, size // 2):
            calls = dialled(mesh(size, without))
            assert max([len(calls[node]) for node in calls]) <= graph.DIALS
            assert len(pairs(calls)) <= graph.DIALS * size


def test_no_router_of_a_large_mesh_has_very_many_tunnels():
    members = mesh(60)
    count = {one.node: 0 for one in members}
    for low, high in pairs(dialled(members)):
        count[low] += 1
        count[high] += 1
    assert max(count.values()) <= 5 * graph.DIALS, count


def test_a_mesh_of_hundreds_has_three_tunnels_for_each_router_and_none_with_very_many():
    for without in (0, HUNDREDS // 2):
        members = [Thing(node="r%d" % number, endpoint=number > without) for number in range(HUNDREDS)]
        assert len(graph.dials("r0", members)) <= graph.DIALS
        with Remembered():
            calls = dialled(members)
        count = {node: len(calls[node]) for node in calls}
        assert max(count.values()) <= graph.DIALS
        found = pairs(calls)
        assert len(found) == len(set(found)) and len(found) <= graph.DIALS * HUNDREDS
        for node in calls:
            for peer in calls[node]:
                count[peer] += 1
        # Twice as many where half of all have to dial the others.
        assert max(count.values()) <= (20 if without else 10) * graph.DIALS, max(count.values())
        assert linked(calls)


def test_no_tunnel_of_a_large_mesh_is_dialled_from_both_sides():
    for size in SIZES + (60,):
        for without in (0, size // 2, size - 2):
            found = pairs(dialled(mesh(size, without)))
            twice = [pair for pair in sorted(set(found)) if found.count(pair) > 1]
            assert not twice, (size, without, twice)


def test_one_more_router_changes_the_share_of_few():
    for size in SIZES:
        before = dialled(mesh(size))
        after = dialled(mesh(size + 1))
        changed = [node for node in before if before[node] != after[node]]
        assert len(changed) <= 4 * graph.DIALS, (size, changed)


def test_all_routers_have_the_same_picture():
    for size in (5, 30):
        members = mesh(size, 3)
        backwards = list(reversed(members))
        for one in members:
            found = graph.dials(one.node, members)
            assert found == sorted(found)
            assert graph.dials(one.node, backwards) == found
