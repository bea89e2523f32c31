"""Two LANs whose routers lose their path, and have another one."""

from lab.failover import cut, guarded, relay, when_their_path_is_cut, when_their_relay_dies
from lab.mesh import RUN, SOON, has_route, settled, undisturbed
from lab.ping import Ping

LAB = {"nodes": 4, "options": {"poll_interval": "2"}, "each": {4: {"bird": "2"}}}
# BFD notices within 0.9 s, BGP's hold time after 9 and tincd after 4 to 8. A slow machine has the rest.
NOTICED = 4


def test_a_path_that_is_cut_is_detoured_before_bgp_or_tinc_would_notice(lab):
    assert when_their_path_is_cut(lab, lab.router(1), lab.router(4), 5) < NOTICED


def test_a_relay_that_dies_is_replaced_before_bgp_or_tinc_would_notice(lab):
    assert when_their_relay_dies(lab, lab.router(1), lab.router(2), 5) < NOTICED


def test_both_families_take_the_detour_and_the_way_back(lab):
    one, two = lab.router(1), lab.router(2)
    guarded(lab)
    with cut(lab, one, two):
        for family, prefix in ((4, "192.168.2.0/24"), (6, "fd00:2::/64")):
            lab.wait(lambda f=family, p=prefix: path(one, p, f) not in (None, "_r2"), SOON, f"a detour to {prefix}")
            ping = Ping(one, two, family)
            lab.wait(lambda p=ping: p.answers() > 20, SOON, "answers by way of another")
            assert ping.longest() < 1
    lab.wait(lambda: path(one, "192.168.2.0/24", 4) == path(one, "fd00:2::/64", 6) == "_r2", SOON, "the way back")
    settled(lab)


def path(router, prefix, family):
    """The session of which the route in use is."""
    for line in router.bird(f"show route {prefix} primary").splitlines():
        words = line.partition("unicast [")[2].split()
        if words:
            return words[0]
    return None


def test_who_may_lose_more_packets_in_a_row_is_given_the_time_and_keeps_its_sessions(lab):
    guarded(lab)
    conf = f"{RUN}/bird.conf"
    with undisturbed(lab):
        for router, other in ((lab.router(1), lab.router(4)), (lab.router(4), lab.router(1))):
            address = router.status()["address"]
            head = f"protocol bgp _{other.name} from mesh_member {{\n"
            router.write("/tmp/lossy.conf", router.read(conf).replace(head, head + "\tbfd { multiplier 12; };\n"))
            for file, seconds in (("/tmp/lossy.conf", "1.800"), (conf, "0.900")):
                assert "Reconfigur" in router.bird(f'configure "{file}"')
                what = f"{other.name} to wait {seconds} s for {router.name}"
                lab.wait(lambda a=address, o=other, s=seconds: patience(o, a) == s, SOON, what)


def patience(router, address):
    """The seconds after which BFD gives the router of this address up, as BIRD shows them."""
    for line in router.bird("show bfd sessions").splitlines():
        if address + " " in line:
            return line.split()[-1]
    return None


def test_check_says_whom_bfd_watches_and_who_has_none(lab):
    one, two = lab.router(1), lab.router(2)
    guarded(lab)
    assert "ok    failover: BFD watches 3 of 3 sessions" in one.bgpmesh("check").stdout
    two.set("bfd_interval", "0")
    unwatched = "watches 2 of 3 sessions, not that with 'r2'"

    def said():
        # The session begins anew, in the middle of which check fails.
        found = one.bgpmesh("check")
        return unwatched in found.stdout and found.returncode == 0

    try:
        lab.wait(said, SOON, "check to say so, and that all is well")
        assert "ok    failover: option 'bfd_interval' is 0" in two.bgpmesh("check").stdout
    finally:
        two.set("bfd_interval", None)


def test_no_detour_leads_to_who_is_gone(lab):
    one, three = lab.router(1), lab.router(3)
    guarded(lab)
    three.link_down()
    three.stop()
    try:
        for router in lab.routers[:2]:
            has_route(lab, router, "192.168.3.0/24", gone=True)
    finally:
        three.start()
    has_route(lab, one, "192.168.3.0/24")


def test_tincd_outlives_a_path_that_takes_no_udp_any_more(lab):
    # tincd 1.1pre18 ends half a minute after, were it not to give UDP up before.
    one, two = lab.router(1), lab.router(2)
    guarded(lab)
    before = one.pids("tincd"), two.pids("tincd")
    ping = Ping(one, two)
    with cut(lab, one, two):
        lab.wait(lambda: relay(one, two), SOON, "tincd to know", 0.5)
        begun = ping.answers()
        lab.wait(lambda: ping.answers() - begun > 1500, 2 * SOON, "half a minute of answers", 0.5)
    ping.lost()
    assert (one.pids("tincd"), two.pids("tincd")) == before
