from example import member, prefixes

from bgpmesh import roster
from bgpmesh.address import host_prefix, parse


def seated(members, claims=None, reserved=()):
    """(node -> texts of its accepted prefixes, [(code, subject, text)]); the order of members must not matter."""
    found = []
    for order in (members, list(reversed(members)), sorted(members, key=lambda one: one.ip)):
        seats, problems = roster.seat(order, claims or {}, list(reserved))
        for node in seats:
            assert seats[node].member.node == node
        accepted = {node: [str(prefix) for prefix in seats[node].prefixes] for node in seats}
        said = sorted([(problem.code, problem.subject, problem.text) for problem in problems])
        found.append((accepted, said))
    assert found[0] == found[1] == found[2]
    return found[0]


def test_members_that_want_different_things_all_take_part():
    seats, problems = seated([member("alfa", 1), member("bravo", 2), member("carol", 3, prefixes=[])])
    assert seats == {"alfa": ["192.168.1.0/24"], "bravo": ["192.168.2.0/24"], "carol": []}
    assert problems == []


def test_nobody():
    assert seated([]) == ({}, [])


def conflict(**changes):
    """What the junior `bravo` is told when it wants the same as `alfa`."""
    seats, problems = seated([member("alfa", 1, created=5), member("bravo", 2, created=6, **changes)])
    assert sorted(seats) == ["alfa"]
    ((code, subject, text),) = problems
    assert (code, subject) == ("member_conflict", "bravo")
    assert text.startswith("member 'bravo' is left out: its "), text
    assert "belongs to 'alfa'" in text
    return text


def test_two_members_with_one_address():
    assert "its address 10.0.0.1 belongs" in conflict(ip="10.0.0.1")


def test_two_members_with_one_router_id():
    assert "its router_id 10.0.0.1 belongs" in conflict(router_id="10.0.0.1")


def test_two_members_with_one_key():
    first = member("alfa", 1)
    assert "its key belongs" in conflict(key=first.key)
    assert "its key belongs" in conflict(ed25519=first.ed25519)


def test_two_members_with_one_ipv6_address():
    pair = [member("alfa", 1, ip6="fd00:99::1"), member("bravo", 2, ip6="fd00:99::1")]
    assert sorted(seated(pair)[0]) == ["alfa"]
    assert len(seated([member("alfa", 1), member("bravo", 2)])[0]) == 2


def test_missing_keys_are_no_conflict():
    members = [member("alfa", 1, key=None), member("bravo", 2, key=None), member("carol", 3, ed25519=None)]
    members.append(member("dora", 4, key=members[2].key + "x", ed25519=None))
    assert len(seated(members)[0]) == 4


def test_the_senior_is_who_was_created_first_and_then_the_first_by_name():
    one = member("bravo", 1, created=5)
    other = member("alfa", 2, created=6, ip="10.0.0.1")
    assert sorted(seated([one, other])[0]) == ["bravo"]
    other.created = 5
    assert sorted(seated([one, other])[0]) == ["alfa"]


def test_who_is_left_out_takes_nothing_from_others():
    out = member("bravo", 2, created=2, ip="10.0.0.1", router_id="10.0.0.3", prefixes=["192.168.3.0/24"])
    seats, problems = seated([member("alfa", 1, created=1), out, member("carol", 3, created=3)])
    assert seats == {"alfa": ["192.168.1.0/24"], "carol": ["192.168.3.0/24"]}
    assert len(problems) == 1


def test_an_address_belongs_to_whoever_claimed_it():
    pair = [member("alfa", 1, created=1), member("bravo", 2, created=2, ip="10.0.0.1", router_id="10.0.0.2")]
    seats, problems = seated(pair, {"10.0.0.1": "bravo"})
    assert sorted(seats) == ["bravo"]
    assert "its address 10.0.0.1 belongs to 'bravo'" in problems[0][2]
    seats, problems = seated(pair, {"10.0.0.1": "somebody_else"})
    assert seats == {} and len(problems) == 2


def test_the_same_prefix_twice():
    pair = [member("alfa", 1, created=2), member("bravo", 2, created=1, prefixes=["192.168.1.0/24", "192.168.2.0/24"])]
    seats, problems = seated(pair)
    assert seats == {"alfa": [], "bravo": ["192.168.1.0/24", "192.168.2.0/24"]}
    assert problems == [
        (
            "prefix_conflict",
            "alfa 192.168.1.0/24",
            "192.168.1.0/24 of 'alfa' is not accepted: it overlaps 192.168.1.0/24 of 'bravo', which was first; "
            "renumber one of the two",
        )
    ]


def test_the_senior_keeps_its_prefix_whichever_is_the_wider():
    for wide, narrow in (("192.168.0.0/16", "192.168.7.0/24"), ("2001:db8::/32", "2001:db8:7::/48")):
        for senior, junior in ((wide, narrow), (narrow, wide)):
            pair = [member("alfa", 1, prefixes=[senior]), member("bravo", 2, prefixes=[junior, "172.16.0.0/24"])]
            assert seated(pair)[0] == {"alfa": [senior], "bravo": ["172.16.0.0/24"]}


def test_what_is_not_accepted_is_in_nobodys_way():
    members = [
        member("alfa", 1, created=1, prefixes=["192.168.1.0/24"]),
        member("bravo", 2, created=2, prefixes=["192.168.0.0/16"]),
        member("carol", 3, created=3, prefixes=["192.168.2.0/24"]),
    ]
    assert seated(members)[0] == {"alfa": ["192.168.1.0/24"], "bravo": [], "carol": ["192.168.2.0/24"]}


def test_a_members_own_prefixes_may_overlap():
    pair = [member("alfa", 1, prefixes=["192.168.0.0/16", "192.168.1.0/24"]), member("bravo", 2)]
    assert seated(pair)[0] == {"alfa": ["192.168.0.0/16", "192.168.1.0/24"], "bravo": []}


def test_families_do_not_meet():
    pair = [member("alfa", 1, prefixes=["128.0.0.0/1"]), member("bravo", 2, prefixes=["8000::/1"])]
    assert seated(pair)[0] == {"alfa": ["128.0.0.0/1"], "bravo": ["8000::/1"]}


def test_what_is_accepted_is_sorted():
    texts = ["192.168.%d.0/24" % number for number in range(40)] + ["2001:db8:%x::/48" % number for number in range(9)]
    found = roster.seat([member("alfa", 1, prefixes=texts)], {}, [])[0]["alfa"].prefixes
    assert [prefix.key() for prefix in found] == sorted([prefix.key() for prefix in prefixes(*texts)])


def test_nobodys_prefix_covers_an_address_that_tunnels_run_over():
    reserved = [(host_prefix(parse("192.0.2.1")), "the endpoint of 'alfa'", "")]
    for text in ("192.0.2.0/24", "192.0.2.1/32"):
        seats, problems = seated([member("alfa", 1), member("bravo", 2, prefixes=[text])], {}, reserved)
        assert seats["bravo"] == []
        assert problems[0][1] == "bravo " + text
        assert "it overlaps 192.0.2.1/32, the endpoint of 'alfa', and would draw" in problems[0][2]
    assert seated([member("bravo", 2, prefixes=["192.0.3.0/24"])], {}, reserved)[1] == []


def test_many_members_with_the_factory_setting():
    members = [member("r%d" % number, number, prefixes=["192.168.1.0/24"]) for number in range(1, 101)]
    seats, problems = roster.seat(members, {}, [])
    assert [node for node in seats if seats[node].prefixes] == ["r1"]
    assert len(problems) == 99
    assert "192.168.1.0/24 of 'r1', which was first" in problems[-1].text
