from example import OTHER_SECRET, SECRET, golden, member, options, prefixes
from meshes import MESHES, planned

from bgpmesh import secret
from bgpmesh.bird import render
from bgpmesh.roster import Seat
from bgpmesh.tinc import graph


def conf(*arguments):
    return "".join(render.conf(*arguments))


def test_the_files_are_those_in_golden():
    for name in sorted(MESHES):
        golden("bird/%s.conf" % name, "".join(planned(name).bird.pieces()))


def session(config=None, **changes):
    """The block of bravo's session on alfa."""
    peer = member("bravo", 2, **changes)
    text = conf(config or options(), member("alfa", 1), [], [Seat(peer, peer.prefixes)])
    return text.split("protocol bgp _bravo ")[1]


def test_sessions_are_in_the_order_of_names_whatever_order_the_members_come_in():
    peers = [Seat(member(node, number + 2), []) for number, node in enumerate(("dora", "bravo", "carol"))]
    text = conf(options(), member("alfa", 1), [], peers)
    assert text == conf(options(), member("alfa", 1), [], list(reversed(peers)))
    places = [text.index("protocol bgp _%s " % node) for node in ("bravo", "carol", "dora")]
    assert places == sorted(places)


def test_what_is_let_in_is_what_the_peer_announces():
    text = session(prefixes=["192.168.2.0/24", "172.16.0.0/12"])
    assert "\t\t\tif net ~ [ 192.168.2.0/24, 172.16.0.0/12 ] then {\n\t\t\t\tbgp_local_pref = 100;\n" in text
    assert "import" not in session(prefixes=[])
    assert "import" not in session(prefixes=["2001:db8::/32"])


def test_what_is_not_said_of_a_peer_is_that_nothing_is_let_in():
    template = conf(options(), member("alfa", 1), [], []).split("template bgp ")[1]
    assert template.count("import none;") == 1
    assert template.count("reject;") == 1 and template.count('if proto = "own4" then accept;') == 1


def test_in_a_small_mesh_what_members_announce_is_passed_on_and_taken_from_who_passes_it_on():
    for number in (render.RELAYS, render.RELAYS + 1):
        peers = [
            Seat(member("n%d" % n, n, prefixes=["192.168.%d.0/24" % n]), prefixes("192.168.%d.0/24" % n))
            for n in range(2, number + 1)
        ]
        text = conf(options(), member("n1", 1), [], peers)
        small = number == render.RELAYS
        assert text.count("else passed_on4();") == len(peers) * small
        assert text.count("else reject;") == len(peers) * (not small)
        assert text.count("source = RTS_BGP && bgp_local_pref = 100 && !((65535, 6) ~ bgp_community)") == small
        if small:
            passed_on = text.split("function passed_on4()")[1].split("}")[0]
            assert passed_on.count("192.168.") == len(peers) and "bgp_local_pref = 0;" in passed_on


def test_without_bfd_there_is_no_word_of_it():
    assert "interval 300 ms;" in conf(options("option bfd_interval '300'"), member("alfa", 1), [], [])
    assert "bfd" not in conf(options("option bfd_interval '0'"), member("alfa", 1), [], [])


def test_a_path_that_loses_packets_is_given_more_of_them():
    def blocks(lossy, *changes):
        others = [Seat(member(name, number), []) for number, name in enumerate(("bravo", "carol"), 2)]
        text = conf(options(*changes), member("alfa", 1), [], others, False, None, (), lossy)
        return text.split("protocol bgp _")[1:]

    bravo, carol = blocks({"bravo": 4})
    assert "bfd { multiplier 24; };" in bravo and "multiplier" not in carol
    assert "bfd { multiplier 255; };" in blocks({"bravo": 4}, "option bfd_multiplier '200'")[0]
    assert "bfd" not in "".join(blocks({"bravo": 4}, "option bfd_interval '0'"))


def reflecting(*reflectors, drained=False, **changes):
    """The block of bravo's session on alfa, both of which know of reflectors; these are the reflectors."""
    others = [member("bravo", 2, full_mesh_max=2, **changes), member("carol", 3)]
    found = [Seat(one, one.prefixes) for one in others]
    text = conf(options(), member("alfa", 1, full_mesh_max=2), [], found, drained, {"bravo"}, reflectors)
    assert "protocol bgp _carol" not in text
    return text, text.split("protocol bgp _bravo ")[1]


def test_from_a_reflector_a_prefix_is_taken_with_the_next_hop_of_who_announces_it():
    text, block = reflecting("bravo")
    assert "\t\timport filter reflected4;\n" in block and "export" not in block
    both = "\t\t10.0.0.2 : if net !~ [ 192.168.2.0/24 ] then reject;\n"
    both += "\t\t10.0.0.3 : if net !~ [ 192.168.3.0/24 ] then reject;\n\t\telse: reject;\n"
    assert text.count(both) == 1
    assert "reflected4" not in reflecting()[0] + reflecting("alfa")[0]


def test_a_reflector_passes_on_to_clients_all_and_to_another_reflector_what_comes_from_clients():
    own = '\t\texport where proto = "own4"'
    assert own + " || source = RTS_BGP && bgp_next_hop != 10.0.0.2;\n" in reflecting("alfa")[1]
    found = reflecting("alfa", "bravo")[1]
    assert own + " || source = RTS_BGP && ! defined(bgp_originator_id);\n" in found and "reflected4" in found
    # Between ASes nothing would end a circle; a member that knows nothing of it would not know what to do with it.
    assert "export" not in reflecting("alfa", "bravo", asn=65002)[1]
    assert "export where" in reflecting("alfa", asn=65002)[1]
    assert "export" not in session()


def test_a_drained_reflector_passes_on_what_is_not_its_own_as_it_is():
    found = reflecting("alfa", drained=True)[1]
    place = found.index("if source = RTS_BGP && bgp_next_hop != 10.0.0.2 then accept;")
    assert place < found.index('if proto != "own4" then reject;') < found.index("bgp_community.add((65535, 0));")


def test_a_session_is_the_same_whether_there_are_reflectors_or_not():
    # What BIRD does not change without restarting it.
    for changes in ({}, {"asn": 65002}, {"reflector": "no"}, {"endpoint": None}):
        kept = set()
        for reflectors in ((), ("alfa",), ("bravo",), ("alfa", "bravo")):
            text, block = reflecting(*reflectors, **changes)
            kept.add(("rr client;" in block, "allow local as 1;" in block, "passive on;" in block))
        assert len(kept) == 1
        assert ("rr client;" in block) == ("asn" not in changes)
    assert text.count("next hop keep;") == 1 and "next hop self" not in text


def test_a_drained_router_says_so_of_all_that_it_announces_and_of_nothing_else():
    config = options("option network6 'fd00:99::/64'")
    me = member("alfa", 1, ip6="fd00:99::1")
    for drained in (False, True):
        text = conf(config, me, prefixes("192.168.1.0/24"), [], drained)
        assert text.count("bgp_community.add((65535, 0));") == text.count("bgp_local_pref = 0;") == 2 * drained
        for family in "46":
            found = text.count('if proto != "own%s" then reject;' % family)
            assert (found, text.count('if proto = "own%s" then accept;' % family)) == (drained, not drained)
        assert text.count("source = RTS_BGP && bgp_local_pref") == 2 * (not drained)


def test_the_last_resort_of_a_peer_is_ours_as_well():
    assert session(prefixes=["192.168.2.0/24"]).count("if (65535, 0) ~ bgp_community then bgp_local_pref = 0;") == 1


def test_with_a_validator_what_is_invalid_for_the_peers_own_as_is_refused():
    for host, shown in (("192.0.2.9", "192.0.2.9"), ("[2001:db8::9]", "2001:db8::9"), ("a.example", '"a.example"')):
        config = options("option rpki '%s:3323'" % host)
        peer = member("bravo", 2, asn=65002, prefixes=["192.168.2.0/24"])
        text = conf(config, member("alfa", 1), [], [Seat(peer, peer.prefixes)])
        assert "\tremote %s port 3323;\n" % shown in text
        assert text.count("\t\t\tif roa_check(rpki4, net, 65002) = ROA_INVALID then reject;\n") == 1
        passed_on = text.split("function passed_on4()")[1].split("bgp_local_pref")[0]
        assert "roa_check(rpki4, net, 65000)" in passed_on and "roa_check(rpki4, net, bgp_path.last)" in passed_on
    assert "roa" not in session(prefixes=["192.168.2.0/24"]) and "keep filtered" not in session()


def test_only_own_prefixes_are_announced():
    text = conf(options(), member("alfa", 1), prefixes("192.168.1.0/24"), [])
    assert text.count("\n\troute ") == 1
    assert "\troute 192.168.1.0/24 unreachable;\n" in text


def test_without_an_overlay_address_of_ipv6_there_is_no_word_of_it():
    text = conf(
        options(), member("alfa", 1), prefixes("2001:db8:1::/48"), [Seat(member("bravo", 2), prefixes("2001:db8::/48"))]
    )
    assert "ipv6" not in text and "2001:db8" not in text


def password(router, secrets, other, known):
    """The password of router's session with the other one, by the secrets that each knows."""
    statements = ["option %s '%s'" % pair for pair in zip(("secret", "secret_old"), secrets)]
    peer = member(other, 2)
    peer.secrets = secret.names(known)
    text = conf(options(*statements), member(router, 1), [], [Seat(peer, [])])
    return text.split('password "')[1].split('"')[0]


def test_both_ends_of_a_session_take_the_newest_secret_that_both_know():
    new, old = [OTHER_SECRET], [SECRET]
    for one, other, right in (
        (new, new, OTHER_SECRET),
        (old, old, SECRET),
        (new + old, old, SECRET),
        (new + old, new, OTHER_SECRET),
        (new + old, new + old, OTHER_SECRET),
    ):
        expected = render.session_password(right, "alfa", "bravo")
        assert password("alfa", one, "bravo", other) == expected
        assert password("bravo", other, "alfa", one) == expected
    # Which of the two is the newer one they may see differently.
    assert password("alfa", new + old, "bravo", old + new) == password("bravo", old + new, "alfa", new + old)


def test_while_the_secret_changes_routes_do_not_depend_on_sessions():
    found = "".join(planned("another-secret").bird.pieces())
    assert "\troute 192.168.2.0/24 via 10.0.0.2;\n\troute 192.168.3.0/24 via 10.0.0.3;\n" in found
    assert "\troute 2001:db8:2::/48 via fd00:99::2;\n" in found and "2001:db8:3::/48 via" not in found
    assert "bridge" not in "".join(planned("everything").bird.pieces())


def test_one_side_of_a_session_opens_it():
    for one, other in (("alfa", "bravo"), ("bravo", "alfa"), ("r1", "r2")):
        text = conf(options(), member(one, 1), [], [Seat(member(other, 2), [])])
        assert ("passive on;" in text) != graph.leads(one, other)


def test_both_ends_of_a_session_have_one_password_and_each_pair_its_own():
    nodes = ("alfa", "bravo", "carol", "bravo2")
    found = [render.session_password(SECRET, one, other) for one in nodes for other in nodes if one < other]
    assert len(set(found)) == len(found) == 6
    assert render.session_password(SECRET, "alfa", "bravo") == render.session_password(SECRET, "bravo", "alfa")
    assert render.session_password("another secret", "alfa", "bravo") not in found
    for password in found:
        assert len(password) == 64 and not password.strip("0123456789abcdef")
    assert '\tpassword "%s";' % found[0] in session(options("option secret '%s'" % SECRET))
    assert "password" not in session()
    assert SECRET not in session(options("option secret '%s'" % SECRET))


def test_where_both_ends_can_a_session_has_tcp_ao_and_else_md5():
    config = options("option secret '%s'" % SECRET)
    me, peer = member("alfa", 1), member("bravo", 2)
    for me.ao in (None, False, True):
        for peer.ao in (False, True):
            text = conf(config, me, [], [Seat(peer, [])])
            both = me.ao and peer.ao
            assert ("authentication ao;" in text, "\tpassword " in text) == (bool(both), not both)
            assert ("authentication md5;" in text) == (not both and me.ao is not None)
    key = render.session_password(SECRET, "bravo", "alfa", "bgp ao")
    assert 'secret "%s"; algorithm hmac sha256;' % key in text
    assert key != render.session_password(SECRET, "bravo", "alfa")
    assert "ao" not in conf(options(), me, [], [Seat(peer, [])])


def test_a_name_is_never_a_word_of_birds_language():
    assert render.protocol_name("bgp") == "_bgp"
    assert len(render.protocol_name("N" * 63)) == 64  # BIRD's SYM_MAX_LEN
