from example import Thing, member

from bgpmesh import reflectors


def mesh(count, bound=4, **changes):
    """Members r1 to r<count>, each in a network of its own and aware of reflectors."""
    found = []
    for number in range(1, count + 1):
        one = member("r%d" % number, number, endpoint=("198.18.%d.1" % number, 655), full_mesh_max=bound)
        for name in changes:
            setattr(one, name, changes[name])
        found.append(one)
    return found


def names(members):
    return set([one.node for one in members])


def chosen(members, but=()):
    """The reflectors while all are there but those named."""
    return reflectors.choose(None, members, names(members) - set(but))


def sessions(members, but=()):
    """node -> those that it has a session with."""
    found = chosen(members, but)
    others = {one.node: [other for other in members if other is not one] for one in members}
    return {one.node: set(reflectors.peers(one, others[one.node], found)) for one in members}


def test_up_to_the_bound_everybody_has_a_session_with_everybody():
    for count in (1, 2, 3, 4):
        members = mesh(count)
        assert chosen(members) == []
        assert sessions(members) == {one.node: names(members) - {one.node} for one in members}


def test_beyond_it_two_are_chosen_and_beyond_a_hundred_three():
    for count, right in ((5, 2), (100, 2), (101, 3), (250, 3)):
        assert len(chosen(mesh(count))) == right


def test_a_reflector_has_a_session_with_everybody_and_another_router_with_the_reflectors():
    members = mesh(9)
    two = set(chosen(members))
    for node, peers in sessions(members).items():
        assert peers == (names(members) - {node} if node in two else two)


def test_among_hundreds_there_are_three_sessions_for_each_router():
    members = []
    for number in range(800):
        host = "198.18.%d.%d" % (number // 256, number % 256)
        members.append(Thing(node="r%d" % number, endpoint=(host, 655), full_mesh_max=16, reflector="auto"))
    three = chosen(members)
    assert len(three) == 3
    ends = 0
    for one in members:
        peers = reflectors.peers(one, [other for other in members if other is not one], three)
        assert len(peers) == 799 if one.node in three else sorted(peers) == three
        ends += len(peers)
    # A full mesh had 319,600.
    assert ends // 2 == 3 * 797 + 3


def test_the_order_in_which_the_members_come_does_not_matter():
    members = mesh(9)
    assert chosen(members) == chosen(list(reversed(members)))
    # Nor does when they came: of a registry that was wiped not all know the same.
    first = chosen(members)
    for number, one in enumerate(members):
        one.created = 1000 - number
    assert chosen(members) == first


def test_the_smallest_bound_that_a_member_has_is_everybodys():
    members = mesh(6, bound=16)
    assert chosen(members) == []
    members[3].full_mesh_max = 5
    assert len(chosen(members)) == 2


def test_who_does_not_know_of_reflectors_has_a_session_with_everybody_and_is_none():
    members = mesh(9)
    members[2].full_mesh_max = None
    found = sessions(members)
    assert found["r3"] == names(members) - {"r3"}
    two = set(chosen(members))
    assert "r3" not in two and len(two) == 2
    for node in names(members) - two - {"r3"}:
        assert found[node] == two | {"r3"}


def test_sessions_have_two_ends():
    members = mesh(9)
    members[2].full_mesh_max = None
    for but in ((), chosen(members)[:1], chosen(members)):
        found = sessions(members, but)
        for one in found:
            for other in found[one]:
                assert one in found[other]


def test_wishes_are_heard():
    members = mesh(9)
    for one in members:
        one.reflector = "no" if one.node in chosen(mesh(9)) else "auto"
    assert len(chosen(members)) == 2 and not set(chosen(members)) & set(chosen(mesh(9)))
    members[4].reflector = members[7].reflector = "yes"
    assert chosen(members) == ["r5", "r8"]
    members[1].reflector = "yes"
    assert set(chosen(members)) < {"r2", "r5", "r8"}


def test_who_cannot_be_dialled_is_a_reflector_only_where_it_says_so():
    members = mesh(9)
    for one in members[2:]:
        one.endpoint = None
    assert chosen(members) == ["r1", "r2"]
    members[5].reflector = "yes"
    assert "r6" in chosen(members)


def test_one_reflector_is_none():
    members = mesh(9, reflector="no")
    members[3].reflector = "yes"
    assert chosen(members) == []


def test_reflectors_are_in_different_networks_where_there_is_a_choice():
    members = mesh(12)
    two = chosen(members)
    near = [one for one in members if one.node in two]
    near[1].endpoint = ("198.18.%d.99" % int(near[0].node[1:]), 655)
    found = chosen(members)
    assert len(found) == 2 and len(set(found) & set(two)) == 1
    for one in members:
        one.endpoint = ("2001:db8:1:%s::1" % one.node[1:], 655)
    assert chosen(members) == two
    for one in members:
        one.endpoint = ("example.net", 1000)
    assert chosen(members) == two


def test_a_member_more_or_less_moves_few():
    moved = 0
    for count in range(20, 80):
        before, after = chosen(mesh(count)), chosen(mesh(count + 1))
        assert set(after) - set(before) <= {"r%d" % (count + 1)}
        moved += before != after
    assert moved <= 12
    members = mesh(30)
    for gone in members:
        after = set(chosen([one for one in members if one is not gone]))
        assert set(chosen(members)) - after <= {gone.node}


def test_beside_one_that_is_away_another_is_chosen_and_nobody_is_moved():
    members = mesh(30)
    two = chosen(members)
    for away in two:
        found = chosen(members, [away])
        assert set(two) < set(found) and len(found) == 3
    assert len(chosen(members, two)) == 4
    assert reflectors.choose(None, members, set()) == two
    # This router itself is always there.
    assert reflectors.choose(two[0], members, set()) == two
