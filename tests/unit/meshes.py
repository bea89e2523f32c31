"""The meshes whose rendered files are in tests/golden: what each is, as its README says. Runs on both runtimes."""

from example import OTHER_SECRET, SECRET, member, options

from bgpmesh import plan, secret


def alone():
    return options(), member("alfa", 1, endpoint=None, prefixes=[]), [], {}


def three():
    others = [
        member("bravo", 2, prefixes=["172.20.0.0/16", "192.168.2.0/24"]),
        member("carol", 3, endpoint=None, asn=65003),
    ]
    return options(), member("alfa", 1), others, {}


FOUND = {"carol.example.org": ("192.0.2.7", "2001:db8::7")}  # addresses of names


def everything():
    config = options(
        "option network6 'fd00:99::/64'",
        "option secret '%s'" % SECRET,
        "option interface 'mesh.0-1'",
        "option asn '64512'",
        "option port '1655'",
        "option mtu '1300'",
        "option network '10.0.0.0/22'",
        "option rpki 'validator.example.net:3323'",
    )
    me = member(
        "alfa",
        1,
        ip6="fd00:99::1",
        router_id="192.0.2.200",
        asn=64512,
        prefixes=["192.168.1.0/24", "2001:db8:1::/48", "fd00:1::/64"],
    )
    others = [
        member("bravo", 2, ip6="fd00:99::2", endpoint=("2001:db8:ffff::2", 1655), prefixes=["2001:db8:2::/48"]),
        member("carol", 3, ip6=None, endpoint=("carol.example.org", 655), asn=64513, prefixes=["2001:db8:3::/48"]),
        member("N" * 63, 4, ip6="fd00:99::4", asn=4294967294, prefixes=[]),
        member("_", 5, ip6="fd00:99::5", key=None, prefixes=["192.168.5.0/24", "192.168.5.0/25", "2001:db8:5::/48"]),
    ]
    return config, me, others, {}


def earlier():
    others = [member("bravo", 2, ed25519=None, version=""), member("carol", 3, ed25519=None)]
    return options(), member("alfa", 1, ed25519=None), others, {}


def conflicts():
    config = options()
    me = member("alfa", 1, created=5, prefixes=["192.168.1.0/24", "192.168.7.0/24"])
    others = [
        member("bravo", 2, created=2, prefixes=["192.168.1.0/24", "192.0.2.0/24", "172.20.0.0/16"]),
        member("carol", 3, created=6, prefixes=["192.168.7.128/25"]),
        member("dora", 4, created=7, ip="10.0.0.1"),
        member("emil", 5, created=1, ip="10.0.0.9"),
    ]
    return config, me, others, {"10.0.0.1": "alfa", "10.0.0.9": "frida"}


def outcast():
    return options(), member("alfa", 1, created=9), [member("bravo", 2, ip="10.0.0.1")], {}


def another_secret():
    config = options(
        "option network6 'fd00:99::/64'", "option secret '%s'" % OTHER_SECRET, "option secret_old '%s'" % SECRET
    )
    others = [
        member("bravo", 2, ip6="fd00:99::2", prefixes=["192.168.2.0/24", "2001:db8:2::/48"]),
        member("carol", 3, ip6=None, prefixes=["192.168.3.0/24", "2001:db8:3::/48"]),
    ]
    others[0].secrets = secret.names([OTHER_SECRET, SECRET])
    others[1].secrets = secret.names([SECRET])
    return config, member("alfa", 1, ip6="fd00:99::1"), others, {}


def authenticated():
    me = member("alfa", 1)
    others = [member("bravo", 2, prefixes=["192.168.2.0/24"]), member("carol", 3)]
    me.ao = others[0].ao = True
    return options("option secret '%s'" % SECRET), me, others, {}


def large(*reflectors):
    """Five routers where four have sessions with each other: two of them reflect, and one knows nothing of that."""
    config = options("option network6 'fd00:99::/64'", "option rpki '192.0.2.9:323'")
    others = [
        member("bravo", 2, ip6="fd00:99::2", prefixes=["192.168.2.0/24", "2001:db8:2::/48"]),
        member("carol", 3, endpoint=None, prefixes=["172.20.0.0/16", "192.168.3.0/24"]),
        member("dora", 4, ip6="fd00:99::4", asn=65004, prefixes=["2001:db8:4::/48"]),
        member("emil", 5, ip6="fd00:99::5", prefixes=["192.168.5.0/24"]),
    ]
    me = member("alfa", 1, ip6="fd00:99::1")
    for one in others[:3] + [me]:
        one.full_mesh_max = 4
        one.reflector = "yes" if one.node in reflectors else "auto"
    return config, me, others, {}


MESHES = {
    "client": lambda: large("bravo", "dora"),
    "reflector": lambda: large("alfa", "bravo"),
    "authenticated": authenticated,
    "another-secret": another_secret,
    "alone": alone,
    "three": three,
    "everything": everything,
    "earlier": earlier,
    "conflicts": conflicts,
    "outcast": outcast,
}


def planned(name, version="1.1", found=FOUND):
    """The Plan of router `alfa` in one of the MESHES."""
    config, me, others, claims = MESHES[name]()
    online = set([other.node for other in others])
    lossy = {"bravo": 2} if name == "everything" else {}
    return plan.make(config, me, others, claims, online, {}, [], version, patience=lossy, found=found)
