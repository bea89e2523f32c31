"""Wrong options, and whatever somebody may write into etcd: named, left out, and nobody else suffers."""

import json
import re

import pytest

from lab.mesh import (
    RUN,
    SOON,
    STATE,
    agent,
    clear,
    delete,
    forgets,
    get,
    grep,
    keys,
    knows,
    problems,
    put,
    reaches,
    rss_kb,
    running,
    sessions,
    settled,
    stranger,
    sync,
    told,
    undisturbed,
)
from lab.router import uci

# r4 is switched on by the tests that need it.
LAB = {"nodes": 4, "options": {"poll_interval": "2"}, "boot": [1, 2, 3]}


@pytest.fixture(autouse=True)
def whole(lab):
    for router in running(lab):
        if router.read("/etc/config/bgpmesh") != uci(router.options):
            write(router, router.options)
    own = {f"r{number}" for number in range(1, 5)}
    for key, value in keys(lab).items():
        if not own & {key.rpartition("/")[2], value}:
            delete(lab, key)
    settled(lab)


# -- options

# The option, what is wrong with it, and words of what would be right.
OPTIONS = [
    ("enabled", "maybe", "neither 1 nor 0"),
    ("etcd", "ftp://192.0.2.10", "neither http:// nor https://"),
    ("etcd", "http://192.0.2.10:70000", "65535"),
    ("etcd_api", "v4", "neither v3 nor v2"),
    ("etcd_prefix", "/a b", "not a path"),
    ("ca_file", "ca.pem", "not an absolute path"),
    ("poll_interval", "0", "3600"),
    ("poll_interval", "soon", "3600"),
    ("node", "a node", "1 to 63 letters"),
    ("node", "x" * 64, "1 to 63 letters"),
    ("network", "10.0.0.0/33", "32"),
    ("network", "10.0.0.1/24", "10.0.0.0/24"),
    ("network", "224.0.0.0/24", "multicast"),
    ("network6", "fd00:99::/48", "/64"),
    ("address", "10.0.0.300", "not an IPv4 address"),
    ("address", "10.9.9.9", "not a host address of 'network' 10.0.0.0/24"),
    ("address", "10.0.0.255", "not a host address of 'network' 10.0.0.0/24"),
    ("endpoint", "198.18.0.1:99999", "65535"),
    ("endpoint", "10.0.0.1", "an address of the overlay"),
    ("port", "65536", "65535"),
    ("mtu", "100", "576"),
    ("mtu", "1000", "1280"),
    ("asn", "0", "4294967294"),
    ("asn", "23456", "reserved"),
    ("router_id", "0.0.0.0", "other than 0.0.0.0"),
    ("announce", ["lan;reboot"], "letters, digits"),
    ("prefix", ["0.0.0.0/0"], "default route"),
    ("prefix", ["10.0.0.0/8"], "overlay's own network"),
    ("prefix", ["192.168.1.1/24"], "192.168.1.0/24"),
    ("interface", "tinc/0", "not an interface name"),
    ("http", "9100", "address:port"),
]


def write(router, options):
    router.write("/etc/config/bgpmesh", uci(options))
    router.reload()


def test_each_wrong_option_is_named_and_the_last_good_ones_stay_in_force(lab):
    one = lab.router(1)
    before = one.status()
    with undisturbed(lab):
        for option, found, right in OPTIONS:
            options = {name: value for name, value in one.options.items() if name != option}
            if found is not None:
                options[option] = found
            write(one, options)
            shown = "" if found is None else found if isinstance(found, str) else found[0]
            shown = shown if shown.strip("x") else shown[:4]  # what is as long as a secret may be one
            text = told(lab, one, "config", f"mesh 'main': option '{option}'", shown, right)
            assert text.startswith("bgpmesh: ")
        after = one.status()
        for name in ("node", "address", "prefixes"):
            assert after[name] == before[name]
        assert after["etcd"]["endpoint"] == before["etcd"]["endpoint"]
        assert one.bgpmesh("status").returncode == 4
        check = one.bgpmesh("check")
        assert check.returncode == 1 and "BAD   configuration" in check.stdout
        write(one, one.options)
        clear(lab, one)
    assert one.bgpmesh("check").returncode == 0


@pytest.mark.parametrize("option, found, other", [
    ("etcd_user", "root", "etcd_password"), ("cert_file", "/etc/cert.pem", "key_file"),
])
def test_an_option_without_the_one_that_belongs_to_it_is_named(lab, option, found, other):
    one = lab.router(1)
    with undisturbed(lab):
        write(one, {**one.options, option: found})
        told(lab, one, "config", f"option '{other}' is missing", f"'{option}' is set and needs it")
        write(one, one.options)
        clear(lab, one)


def test_a_secret_is_never_shown(lab):
    one = lab.router(1)
    with undisturbed(lab):
        write(one, {**one.options, "secret": "hush hush", "etcd_password": "also\tnot"})
        told(lab, one, "config", "'secret'", "hidden, 9 characters", "16 to 256")
        everything = one.log() + one.bgpmesh("status", "-j").stdout + one.bgpmesh("check").stdout
        assert "hush" not in everything and "also" not in everything
        write(one, one.options)
        clear(lab, one)


def test_an_option_that_does_not_exist_is_said_in_the_log_and_ignored(lab):
    one = lab.router(1)
    with undisturbed(lab):
        write(one, {**one.options, "pol_interval": "5"})
        lab.wait(lambda: "option 'pol_interval' is ignored" in one.log(), SOON, "the log to say so")
        clear(lab, one)
        write(one, one.options)


@pytest.mark.parametrize("text, words", [
    ("", "config mesh 'main'"),
    ("config mesh 'other'\n", "config mesh 'main'"),
    ("config mesh 'main'\n\toption node 'unclosed\n", "line"),
    ("\x00\xff\n", "UTF-8"),
])
def test_a_file_that_is_no_configuration_changes_nothing(lab, text, words):
    one = lab.router(1)
    with undisturbed(lab):
        one.path("/etc/config/bgpmesh").write_bytes(text.encode("latin-1"))
        one.reload()
        told(lab, one, "config", words)
        write(one, one.options)
        clear(lab, one)


def test_without_option_etcd_the_mesh_goes_on_with_the_registry_that_it_has(lab):
    one = lab.router(1)
    with undisturbed(lab):
        write(one, {name: value for name, value in one.options.items() if name != "etcd"})
        assert "uci set bgpmesh.main.etcd" in told(lab, one, "no_registry", "etcd")
        assert one.status()["etcd"]["reachable"]
        write(one, one.options)
        clear(lab, one)


def test_without_any_good_configuration_the_agent_says_why_and_waits_for_one(lab):
    four = lab.router(4)
    four.options["address"] = "10.0.0.300"
    four.start()
    try:
        lab.wait(four.status, SOON, "the agent to answer")
        text = told(lab, four, "config", "address")
        assert "option 'address' is '10.0.0.300': not an IPv4 address" in text
        assert four.status()["state"] == "waiting" and four.peers() == []
        assert four.bgpmesh("status").returncode == 4
        assert not four.path(RUN).exists() and not four.path(STATE).exists()
        assert "/peers/r4" not in keys(lab)
        del four.options["address"]
        write(four, four.options)
        lab.wait(lambda: len(sessions(four)) == 3, SOON, "it to join with better options")
        clear(lab, four)
        assert four.bgpmesh("leave").returncode == 0
    finally:
        four.options.pop("address", None)
        four.stop()


def test_a_reboot_with_a_broken_configuration_goes_on_with_the_last_good_one(lab):
    three = lab.router(3)
    options = dict(three.options)
    with undisturbed(lab, but=[three]):
        three.options["network"] = "nonsense"
        three.reboot()
        told(lab, three, "config", "'network'", "nonsense")
        lab.wait(lambda: len(sessions(three)) == 2, SOON, "its sessions all the same")
        three.options = options
        write(three, options)
        clear(lab, three)


# -- records that somebody put into etcd

PEM = "-----BEGIN RSA PUBLIC KEY-----\n%s\n-----END RSA PUBLIC KEY-----"
# A member's name, its record, and words of what is said about it.
RECORDS = [
    ("bad_plain", "hello", "not JSON"),
    ("bad_empty", "", "not JSON"),
    ("bad_cut", json.dumps(stranger(90))[:-20], ""),
    ("bad_list", "[1, 2]", "not a whole JSON object"),
    ("bad_deep", "[" * 5000, ""),
    ("bad_large", json.dumps(stranger(90, note="x" * 1_000_000)), "longer than 16384 bytes"),
    ("bad_no_key", stranger(90, ed25519=""), "neither 'key' nor 'ed25519'"),
    ("bad_odd_key", stranger(90, ed25519="no key"), "not an Ed25519 public key"),
    ("bad_key_lines", stranger(90, ed25519="A" * 43 + "\nSubnet = 0.0.0.0/0"), "not an Ed25519 public key"),
    ("bad_bad_pem", stranger(90, key="-----BEGIN RSA PUBLIC KEY-----\nAddress = 1.2.3.4"), "not an RSA public key"),
    ("bad_small_pem", stranger(90, key=PEM % "AAAA"), "2048"),
    ("bad_no_ip", {"ed25519": "A" * 43}, "not an IPv4 address"),
    ("bad_outside", stranger(90, ip="192.168.1.77"), "not a host's address in 10.0.0.0/24"),
    ("bad_broadcast", stranger(90, ip="10.0.0.255"), "not a host's address in 10.0.0.0/24"),
    ("bad_ip_list", stranger(90, ip=["10.0.0.90"]), "'ip' is not a text"),
    ("bad_ip6_out", stranger(90, ip6="fd00:98::1"), "fd00:99::/64"),
    ("bad_asn_text", stranger(90, asn="65000; quit"), "'asn' is not a whole number"),
    ("bad_asn_large", stranger(90, asn=2**32), "4294967294"),
    ("bad_id_text", stranger(90, router_id="1.1.1.1; }"), "'router_id'"),
    ("bad_end_lines", stranger(90, endpoint="198.18.0.9\nProxy = exec /bin/sh"), "'endpoint'"),
    ("bad_default4", stranger(90, prefixes=["0.0.0.0/0"]), "a default route is never announced"),
    ("bad_default6", stranger(90, prefixes=["::/0"]), "a default route is never announced"),
    ("bad_overlay", stranger(90, prefixes=["10.0.0.0/25"]), "overlaps the overlay's own network"),
    ("bad_around", stranger(90, prefixes=["10.0.0.0/8"]), "overlaps the overlay's own network"),
    ("bad_loopback", stranger(90, prefixes=["127.0.0.0/8"]), "loopback"),
    ("bad_host_bits", stranger(90, prefixes=["172.20.0.1/16"]), "172.20.0.1/16"),
    ("bad_prefix_bird", stranger(90, prefixes=["172.20.0.0/16 ]; }"]), "prefix"),
    ("bad_prefix_num", stranger(90, prefixes=[5]), "not a text"),
    ("bad_prefix_many", stranger(90, prefixes=[f"172.20.{n}.0/24" for n in range(256)] + ["::1/128"]), "256"),
]


def test_a_record_that_cannot_be_used_is_named_and_its_member_left_out(lab):
    memory = {router: rss_kb(agent(router)) for router in lab.routers[:3]}
    with undisturbed(lab):
        for name, record, _ in RECORDS:
            put(lab, f"/peers/{name}", record)
        sync(lab)
        for router in lab.routers[:3]:
            told(lab, router, RECORDS[-1][0])
            texts = {subject: text for code, subject, text in problems(router) if code == "bad_record"}
            for name, _, words in RECORDS:
                assert name in texts and words in texts[name], (name, texts.get(name))
            rows = {peer["node"]: peer for peer in router.peers()}
            for name, _, words in RECORDS:
                assert words in rows[name]["problem"]
                assert (rows[name]["bgp"], rows[name]["prefixes"]) == ("", [])
                assert grep(router, name, RUN, STATE) == []
                assert not [argv for _, argv in router.processes() if name in " ".join(argv)]
            assert rss_kb(agent(router)) - memory[router] < 1024
        delete(lab, *[f"/peers/{name}" for name, _, _ in RECORDS])
        sync(lab)
        for router in lab.routers[:3]:
            clear(lab, router)


# Names that would be a path, a command, another line of a file.
NAMES = [
    "../../../etc/passwd", "a/b", "..", ".", "", "two words", "line\nConnectTo = r1", 'quote"; exit; "', "it's",
    "$(reboot)", "`reboot`", "r1;reboot", "-rf", "n" * 64, "n" * 300, "schön", "%s%n", "r1 ",
]


def test_a_name_that_is_none_never_reaches_a_file_or_a_command(lab):
    with undisturbed(lab):
        for name in NAMES:
            put(lab, "/peers/" + name, stranger(91))
            put(lab, "/alive/" + name, "")
        sync(lab)
        for router in lab.routers[:3]:

            def texts(router=router):
                return [text for code, _, text in problems(router) if code == "bad_record"]

            lab.wait(lambda: len(texts()) == len(NAMES), SOON, f"{router.name} to name each of them")
            texts = texts()
            assert len([text for text in texts if "63 letters, digits and underscores" in text]) == len(NAMES), texts
            # Short and printable, whatever the name is.
            assert not [text for text in texts if len(text) > 300 or not text.isprintable()]
            hosts = {path.name for path in router.path(RUN + "/tinc/hosts").iterdir()}
            assert hosts == {"r1", "r2", "r3"}
            for word in ("172.20.91", "10.0.0.91", "reboot", "nnnnn", "passwd"):
                assert grep(router, word, RUN, STATE) == [], word
            assert router.bgpmesh("status").stdout.isascii() or "…" in router.bgpmesh("status").stdout
        delete(lab, *["/peers/" + name for name in NAMES], *["/alive/" + name for name in NAMES])
        sync(lab)
        for router in lab.routers[:3]:
            clear(lab, router)


def test_of_two_members_who_want_one_thing_the_later_one_goes_without(lab):
    one, two = lab.router(1), lab.router(2)
    address = two.status()["address"]
    mine = json.loads(get(lab, "/peers/r2"))
    wrong = {
        "same_ip": stranger(92, ip=address),
        "same_key": stranger(93, ed25519=mine["ed25519"]),
        "same_id": stranger(94, router_id=mine["router_id"]),
    }
    with undisturbed(lab):
        for name, record in wrong.items():
            put(lab, "/peers/" + name, record)
        sync(lab)
        for router in (one, two):
            for name in wrong:
                assert "r2" in told(lab, router, "member_conflict", name)
                assert grep(router, name, RUN) == []
        delete(lab, *["/peers/" + name for name in wrong])
        sync(lab)
        for router in (one, two):
            clear(lab, router)


def test_a_prefix_that_is_anothers_or_would_swallow_tunnels_is_not_accepted(lab):
    one, two = lab.router(1), lab.router(2)
    wrong = {
        "192.168.2.0/24": "of 'r2', which was first",
        "192.168.2.128/25": "of 'r2', which was first",
        "192.168.0.0/16": "which was first",
        "fd00:2::/64": "of 'r2', which was first",
        "198.18.0.0/24": "the endpoint of",
        "198.18.0.3/32": "the endpoint of 'r3'",
    }
    with undisturbed(lab):
        put(lab, "/peers/greedy", stranger(95, prefixes=[*wrong, "172.20.95.0/24"]))
        sync(lab)
        for router in (one, two):
            for prefix, words in wrong.items():
                told(lab, router, "prefix_conflict", f"greedy {prefix}", words)
            knows(lab, router, "greedy")
            # What nobody else has is accepted from it.
            conf = router.read(RUN + "/bird.conf")
            (block,) = re.findall(r"protocol bgp _greedy .*?\n}\n", conf, re.S)
            assert "172.20.95.0/24" in block
            assert not [prefix for prefix in wrong if prefix in block]
        reaches(lab, one, two)
        delete(lab, "/peers/greedy")
        sync(lab)
        for router in (one, two):
            forgets(lab, router, "greedy")
            clear(lab, router)


def test_claims_that_mean_nothing_harm_nobody(lab):
    junk = {"/claims/10.0.0.300": "r1", "/claims/": "", "/claims/x\ny": "../r2", "/claims/10.0.0.200": "r1",
            "/peers": "1", "/alive/nobody": "", "/other/key": "x"}
    with undisturbed(lab):
        for key, value in junk.items():
            put(lab, key, value)
        sync(lab)
        # A claim of one's own that is not needed is given back.
        lab.wait(lambda: "/claims/10.0.0.200" not in keys(lab), SOON, "r1 to release it")
        for router in lab.routers[:3]:
            clear(lab, router)
        delete(lab, *junk)


# -- what a router says of itself


@pytest.mark.parametrize("found", ["", "{}", "not mine", '{"ip":"10.0.0.9"}'])
def test_a_record_that_somebody_spoilt_is_mended_by_its_owner_within_a_poll(lab, found):
    one = lab.router(1)
    mine = get(lab, "/peers/r1")
    # Who looks before that does without r1 for the moment.
    with undisturbed(lab, but=[one]):
        put(lab, "/peers/r1", found)
        lab.wait(lambda: len(get(lab, "/peers/r1")) >= len(mine), 8, "the record")
        sync(lab)
        for router in lab.routers[:3]:
            clear(lab, router)
    record = json.loads(get(lab, "/peers/r1"))
    assert record["ip"] == one.status()["address"]


def test_records_claims_and_signs_of_life_that_somebody_deleted_are_written_again(lab):
    names = [key for key in keys(lab) if "r1" in key or get(lab, key) == "r1"]
    assert len(names) == 3
    # A record that is gone is a member that left: who looks at that moment lets it go.
    with undisturbed(lab, but=[lab.router(1)]):
        delete(lab, *names)
        lab.wait(lambda: set(names) <= set(keys(lab)), 8, "all three to be back")
        sync(lab)
        for router in lab.routers[:3]:
            clear(lab, router)


def test_of_two_routers_with_one_address_the_later_one_stays_out_until_the_first_leaves(lab):
    three, four = lab.router(3), lab.router(4)
    address = three.status()["address"]
    four.options["address"] = address
    try:
        with undisturbed(lab):
            four.start()
            text = told(lab, four, "address_taken")
            assert f"address {address} belongs to 'r3'" in text
            status = four.status()
            assert (status["state"], status["address"]) == ("waiting", "")
            assert not sessions(four) and "/peers/r4" not in keys(lab)
            assert "r4" not in [peer["node"] for peer in lab.router(1).peers()]
        with undisturbed(lab, but=[three, four]):
            assert three.bgpmesh("leave").returncode == 0
            lab.wait(lambda: four.status()["address"] == address, SOON, "r4 to have the address", 0.3)
            lab.wait(lambda: set(sessions(four)) == {"r1", "r2"}, SOON, "r4 to join")
            clear(lab, four)
    finally:
        four.bgpmesh("leave")
        four.stop()
        del four.options["address"]
        three.reboot()


def test_of_two_routers_with_one_name_the_later_one_stays_out_until_it_has_another(lab):
    three, four = lab.router(3), lab.router(4)
    four.options["node"] = "r3"
    try:
        with undisturbed(lab):
            four.start()
            text = told(lab, four, "name_taken")
            assert "another router is in the mesh as 'r3'" in text and "bgpmesh.main.node" in text
            assert not sessions(four)
            assert json.loads(get(lab, "/peers/r3"))["ip"] == three.status()["address"]
            four.set("node", "r4")
            lab.wait(lambda: len(sessions(four)) == 3, SOON, "it to join under its new name")
            clear(lab, four)
    finally:
        four.options["node"] = "r4"
        four.bgpmesh("leave")
        four.stop()


# -- what another member's BIRD says


def test_a_member_whose_bird_floods_the_others_is_cut_off_and_nobody_else_suffers(lab):
    one, two, three = lab.routers[:3]
    honest = two.read(RUN + "/bird.conf")
    own = "protocol static own4 {\n\tipv4;\n"
    flood = [f"\troute 100.{64 + n // 4096}.{n // 16 % 256}.{n % 16 * 16}/28 unreachable;\n" for n in range(16400)]
    assert own in honest
    two.write(RUN + "/flood.conf", honest.replace(own, own + "".join(flood)))
    with undisturbed(lab, but=[two]):
        assert two.bird('configure "/var/run/bgpmesh/flood.conf"')
        for router in (one, three):
            told(lab, router, "peer", "r2", "Route limit exceeded")
            assert router.routes() == [f"192.168.{4 - router.number}.0/24"]
        reaches(lab, one, three)
        assert two.bird('configure "/var/run/bgpmesh/bird.conf"')
        settled(lab)
