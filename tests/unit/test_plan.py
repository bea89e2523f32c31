from example import OTHER_SECRET, SECRET, member, options, prefixes
from meshes import MESHES, planned

from bgpmesh import plan, secret
from bgpmesh.tinc import graph


def bird(plan):
    return "".join(plan.bird.pieces())


def made(others, me=None, config=None, claims=None, online=None, underlay=None, held=(), version="1.1", **more):
    nodes = [other.node for other in others]
    return plan.make(
        config or options(),
        me or member("alfa", 1),
        others,
        claims or {},
        set(nodes if online is None else online),
        underlay or {},
        list(held),
        version,
        **more,
    )


def everything(found):
    """All of a Plan that is written or run."""
    daemons = found.tinc, bird(found), found.services
    return daemons, sorted(found.seats), found.share, found.dialled


def test_the_same_members_make_the_same_plan_in_whatever_order_they_come():
    for name in MESHES:
        config, me, others, claims = MESHES[name]()
        found = made(others, me, config, claims)
        assert everything(found) == everything(made(list(reversed(others)), me, config, claims))
        assert everything(found) == everything(made(sorted(others, key=lambda one: one.ip), me, config, claims))


def test_a_member_left_out_is_in_no_file():
    found = planned("conflicts")
    assert sorted(found.seats) == ["bravo", "carol"]
    assert "hosts/dora" not in found.tinc and "hosts/emil" not in found.tinc
    assert "dora" not in bird(found) and "emil" not in bird(found)
    assert "dora" not in found.dialled
    subjects = [(problem.code, problem.subject) for problem in found.problems]
    assert sorted(subjects) == [
        ("member_conflict", "dora"),
        ("member_conflict", "emil"),
        ("prefix_conflict", "alfa 192.168.1.0/24"),
        ("prefix_conflict", "bravo 192.0.2.0/24"),
        ("prefix_conflict", "carol 192.168.7.128/25"),
    ]


def test_what_is_announced_is_what_the_others_accept():
    assert [str(prefix) for prefix in planned("conflicts").announced] == ["192.168.7.0/24"]
    assert "route 192.168.1.0/24" not in bird(planned("conflicts"))


def test_a_router_that_is_left_out_itself_stays_by_itself():
    found = planned("outcast")
    assert (found.seats, found.announced, found.dialled) == ({}, [], [])
    assert sorted(found.tinc) == ["hosts/alfa", "tinc-down", "tinc-up", "tinc.conf"]
    assert "protocol bgp" not in bird(found)
    assert [problem.subject for problem in found.problems] == ["alfa"]


def test_a_member_that_is_offline_keeps_its_place():
    for online in ([], ["carol"], ["bravo", "carol"]):
        found = made([member("bravo", 2), member("carol", 3)], online=online)
        assert everything(found) == everything(made([member("bravo", 2), member("carol", 3)]))


def test_a_large_mesh_leans_on_the_members_that_are_online():
    others = [member("r%d" % number, number) for number in range(2, 2 + graph.FULL_MESH)]
    everybody = made(others).share
    assert 1 <= len(everybody) <= graph.DIALS
    dead = everybody[0]
    found = made(others, online=[other.node for other in others if other.node != dead])
    assert dead not in found.share and found.share
    assert "hosts/" + dead in found.tinc and "_%s " % dead in bird(found)
    assert made(others, online=[]).share == everybody


def test_a_tunnel_is_held_though_it_is_no_longer_this_routers_to_dial():
    others = [member("r%d" % number, number) for number in range(2, 2 + graph.FULL_MESH)]
    others.append(member("nat", 99, endpoint=None))
    share = made(others).share
    spare = [other.node for other in others if other.endpoint and other.node not in share][0]
    found = made(others, held=[spare, "gone", "nat"])
    assert found.share == share
    assert found.dialled == sorted(share + [spare])
    assert "ConnectTo = %s\n" % spare in found.tinc["tinc.conf"][0]


def test_no_prefix_covers_an_endpoint_or_where_a_tunnel_comes_from():
    wide = member("bravo", 2, prefixes=["203.0.113.0/24", "192.0.2.0/24", "198.51.100.0/24"])
    carol = member("carol", 3, endpoint=("carol.example.org", 655))
    found = made([wide, carol], underlay={"carol": "203.0.113.3", "nobody": "198.51.100.9", "bravo": "unknown"})
    assert [str(prefix) for prefix in found.seats["bravo"].prefixes] == ["198.51.100.0/24"]
    assert [problem.code for problem in found.problems] == ["prefix_conflict"] * 2
    texts = " ".join([problem.text for problem in found.problems])
    assert "203.0.113.3/32, the endpoint of 'carol'" in texts and "192.0.2." in texts


def accepted(found, node):
    return [str(prefix) for prefix in found.seats[node].prefixes]


def test_what_a_member_says_of_its_endpoint_takes_no_prefix_from_its_seniors():
    me = member("alfa", 5, created=2, prefixes=["192.168.1.0/24"])
    bravo = member("bravo", 2, created=1, prefixes=["192.168.2.0/24"])
    carol = member("carol", 3, created=3, prefixes=["198.51.100.0/24"])
    for host in ("192.168.1.7", "192.168.2.1"):
        carol.endpoint = (host, 655)
        found = made([bravo, carol], me)
        assert accepted(found, "bravo") == ["192.168.2.0/24"] and len(found.announced) == 1 and not found.problems
    # But its juniors', and where a tunnel is seen to lead there anybody's.
    carol.endpoint = ("192.168.2.1", 655)
    assert accepted(made([bravo, carol], me, underlay={"carol": "192.168.2.1"}), "bravo") == []
    bravo.endpoint = ("198.51.100.2", 655)
    assert accepted(made([bravo, carol], me), "carol") == []


def test_nobody_who_came_later_announces_the_address_of_the_registry():
    me = member("alfa", 1, created=2, prefixes=["192.168.1.0/24"])
    for host in ("192.0.2.77", "registry.example.org"):
        config = options("option etcd 'http://%s:2379'" % host)
        for created, kept in ((1, ["192.0.2.64/26"]), (3, [])):
            bravo = member("bravo", 2, created=created, prefixes=["192.0.2.64/26"])
            found = made([bravo], me, config, found={"registry.example.org": ("192.0.2.77",)})
            assert accepted(found, "bravo") == kept
            if not kept:
                assert "192.0.2.77/32, the address of the registry" in found.problems[0].text
        # Our own network may well have it.
        me.prefixes = prefixes("192.0.2.64/26")
        assert [str(prefix) for prefix in made([], me, config).announced] == ["192.0.2.64/26"]
        me.prefixes = prefixes("192.168.1.0/24")


def test_a_router_that_is_alone():
    found = planned("alone")
    assert (found.seats, found.share, found.announced, found.problems) == ({}, [], [], [])


def test_a_drained_router_is_the_same_but_for_what_bird_says():
    config, me, others, claims = MESHES["three"]()
    nodes = [other.node for other in others]
    found = plan.make(config, me, others, claims, set(nodes), {}, [], "1.1", True)
    assert "(65535, 0)" in bird(found).split("protocol bgp")[0] and found.drained
    assert "(65535, 0)" not in bird(planned("three")).split("protocol bgp")[0] and not planned("three").drained
    assert everything(found)[1:] == everything(planned("three"))[1:]
    assert (found.tinc, found.services) == (planned("three").tinc, planned("three").services)


# Services


def test_the_services_as_procd_takes_them():
    services = planned("three").services
    assert sorted(services) == ["bgpmesh-bird", "bgpmesh-tinc"]
    bird = services["bgpmesh-bird"]["bird"]
    tincd = services["bgpmesh-tinc"]["tincd"]
    run = "/var/run/bgpmesh"
    assert bird["command"][:2] == ["/bin/sh", "-c"]
    assert ("exec /usr/sbin/bird -f -c %s/bird.conf -s %s/bird.ctl -P %s/bird.pid " % (run, run, run)) in (
        bird["command"][2]
    )
    assert tincd["command"] == ["/usr/sbin/tincd", "-D", "-c", run + "/tinc", "--pidfile=" + run + "/tinc.pid"]
    for instance in (bird, tincd):
        assert instance["respawn"][2] == "0"  # never given up


def test_tinc_1_0_writes_a_log_to_be_asked_by():
    command = planned("three", "1.0").services["bgpmesh-tinc"]["tincd"]["command"]
    assert command[-1] == "--logfile=/var/run/bgpmesh/tinc.log"


def mark(*statements, **changes):
    """What has procd start tincd again when it differs."""
    others = [member("bravo", 2), member("carol", 3)]
    me = member("alfa", 1, **changes)
    return made(others, me, options(*statements)).services["bgpmesh-tinc"]["tincd"]["env"]


def test_tincd_is_started_again_for_what_it_only_reads_at_its_start():
    before = mark()
    assert before == mark()
    assert mark("option port '1655'") != before
    assert mark("option interface 'mesh0'") != before
    assert mark("option mtu '1300'") != before
    assert mark(ip="10.0.0.9") != before


def test_tincd_is_not_started_again_for_members_that_come_and_go():
    others = [member("bravo", 2), member("carol", 3)]
    before = made(others).services
    assert made(others[:1]).services == before
    assert made(others + [member("dora", 4)]).services == before
    assert made([member("bravo", 2, endpoint=None, prefixes=[]), others[1]]).services == before
    assert made(others, member("alfa", 1, prefixes=["192.168.77.0/24"])).services == before


# What this router announces


def local(found, *statements):
    usable, problems = plan.local_prefixes(options(*statements), prefixes(*found))
    return [str(prefix) for prefix in usable], [(problem.code, problem.subject) for problem in problems]


def test_prefixes_of_interfaces_and_options_are_announced():
    assert local(["192.168.1.0/24"], "list prefix '172.16.0.0/12'", "list prefix '192.168.1.0/24'") == (
        ["172.16.0.0/12", "192.168.1.0/24"],
        [],
    )


def test_more_prefixes_than_a_record_may_have_are_left_out_and_said():
    found = ["10.%d.%d.0/24" % (100 + number // 200, number % 200) for number in range(258)]
    usable, problems = local(found)
    assert (usable, problems) == (found[:256], [("prefix_unusable", "more")])


def test_ipv6_prefixes_only_where_the_overlay_has_ipv6():
    found = ["192.168.1.0/24", "2001:db8:1::/64"]
    assert local(found)[0] == ["192.168.1.0/24"]
    assert local(found, "option network6 'fd00:99::/64'")[0] == found


def test_what_nobody_may_announce_is_named():
    found = ["192.168.1.0/24", "10.0.0.0/16", "0.0.0.0/0", "169.254.0.0/16"]
    assert local(found) == (
        ["192.168.1.0/24"],
        [("prefix_unusable", text) for text in ("10.0.0.0/16", "0.0.0.0/0", "169.254.0.0/16")],
    )


# Route reflectors


def aware(node, number, **changes):
    return member(node, number, full_mesh_max=4, reflector="yes" if node in ("bravo", "carol") else "no", **changes)


# The same ones in all plans, as in those that an agent makes: who is another is taken for one that has changed.
FIVE = [aware(node, number + 1) for number, node in enumerate(("alfa", "bravo", "carol", "dora", "emil"))]


def reflected(lately=((), ()), dora=None, patience=None):
    """alfa's plan in a mesh of five, beyond its bound; dora: another Member in dora's place."""
    others = [dora if dora and one.node == "dora" else one for one in FIVE[1:]]
    online = set([one.node for one in others])
    return plan.make(options(), FIVE[0], others, {}, online, {}, [], "1.1", False, lately, patience)


def test_a_client_has_sessions_with_the_reflectors_and_those_that_it_holds_on_to():
    found = reflected()
    assert (found.reflectors, found.peers, found.sessions) == (["bravo", "carol"], {"bravo", "carol"}, found.peers)
    held = reflected((["dora", "gone"], ["emil"]))
    assert (held.peers, held.sessions) == (found.peers, {"bravo", "carol", "dora"})
    assert "protocol bgp _dora " in bird(held) and "protocol bgp _dora " not in bird(found)


def test_other_passwords_of_sessions_with_the_same_members_are_another_bird_conf():
    config = options("option secret '%s'" % OTHER_SECRET, "option secret_old '%s'" % SECRET)
    others = [member("bravo", 2), member("carol", 3)]
    for one in others:
        one.secrets = secret.names(config.secrets)

    def confs(known, ao=False):
        me = member("alfa", 1)
        me.secrets, me.ao = secret.names(known), ao
        return made(others, me, config).bird

    before = confs(config.secrets[1:])
    assert before == confs(config.secrets[1:]) and before != confs(config.secrets)
    others[0].ao = True
    assert before != confs(config.secrets[1:], True)


def test_another_bird_conf_is_seen_to_be_one_whoever_has_changed():
    assert reflected().bird == reflected().bird
    assert reflected().bird != reflected(dora=aware("dora", 4, prefixes=["192.168.44.0/24"])).bird
    assert reflected().bird != reflected((["dora"], ())).bird
    assert reflected(patience={"bravo": 2}).bird != reflected().bird
    assert reflected(patience={"emil": 2}).bird == reflected().bird, "a member that there is no session with"
    # A session that is there anyway becomes one with a reflector.
    assert reflected((["dora"], ())).bird != reflected((["dora"], ["dora"])).bird
