"""Who keeps which prefix, against the rule written down plainly: each pair compared, the senior first."""

from example import member
from hypothesis import given
from hypothesis import strategies as st

from bgpmesh import address, roster

NAMES = ("alfa", "bravo", "carol", "dora", "emil", "frida")


@st.composite
def prefixes(draw):
    """A prefix that often lies near others: in 172.16.0.0/12, or in 2001:db8::/32."""
    if draw(st.booleans()):
        length = draw(st.sampled_from([12, 15, 16, 17, 24, 25, 32]))
        number = 0xAC100000 | draw(st.sampled_from([0, 1, 2, 1 << 16, 1 << 17, 3 << 16, 1 << 8, 255]))
        return address.Prefix(4, number >> 32 - length << 32 - length, length)
    length = draw(st.sampled_from([32, 48, 56, 64, 128]))
    number = (0x20010DB8 << 96) | draw(st.sampled_from([0, 1, 1 << 64, 1 << 72, 1 << 80, 3 << 64]))
    return address.Prefix(6, number >> 128 - length << 128 - length, length)


@st.composite
def meshes(draw):
    members = []
    for number, node in enumerate(draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6)), 10):
        one = member(node, number, created=draw(st.integers(1, 3)))
        if draw(st.integers(0, 4)) == 0:
            one.ip = "10.0.0.10"
        found = draw(st.lists(prefixes(), max_size=4))
        one.prefixes = sorted({str(prefix): prefix for prefix in found}.values(), key=lambda prefix: prefix.key())
        members.append(one)
    owners = st.sampled_from(["", *NAMES])
    reserved = [(prefix, "reserved", draw(owners)) for prefix in draw(st.lists(prefixes(), max_size=3))]
    claims = draw(st.dictionaries(st.sampled_from(["10.0.0.10", "10.0.0.11"]), st.sampled_from(NAMES), max_size=2))
    return members, claims, reserved


def plainly(members, claims, reserved):
    """node -> texts of its accepted prefixes, by the rule."""
    seats = {}
    taken = [(None, prefix) for prefix, _, node in reserved if not node]
    things = {}
    for one in sorted(members, key=lambda one: (one.created, one.node)):
        wanted = [one.ip, one.ed25519]
        if claims.get(one.ip, one.node) != one.node or any(thing in things for thing in wanted):
            continue
        things.update(dict.fromkeys(wanted))
        seats[one.node] = []
        taken += [(None, prefix) for prefix, _, node in reserved if node == one.node]
        for prefix in one.prefixes:
            if not any(node != one.node and other.overlaps(prefix) for node, other in taken):
                seats[one.node].append(str(prefix))
                taken.append((one.node, prefix))
    return seats


@given(meshes(), st.randoms())
def test_the_senior_member_keeps_what_two_want(mesh, random):
    members, claims, reserved = mesh
    for one in members:  # so that only addresses are in the way
        one.router_id = "192.0.2.%d" % (NAMES.index(one.node) + 1)
    right = plainly(members, claims, reserved)
    random.shuffle(members)
    seats, problems = roster.seat(members, claims, reserved)
    assert {node: [str(prefix) for prefix in seats[node].prefixes] for node in seats} == right
    refused = sum(len(one.prefixes) - len(right[one.node]) for one in members if one.node in right)
    assert len(problems) == len(members) - len(right) + refused


@given(meshes())
def test_no_two_members_announce_the_same_address(mesh):
    seats, _ = roster.seat(*mesh)
    accepted = [(node, prefix) for node in seats for prefix in seats[node].prefixes]
    for node, prefix in accepted:
        assert prefix.key() in [wanted.key() for wanted in seats[node].member.prefixes]
        assert not any(prefix.overlaps(kept) for kept, _, owner in mesh[2] if not owner)
        assert not any(other != node and prefix.overlaps(rival) for other, rival in accepted)
