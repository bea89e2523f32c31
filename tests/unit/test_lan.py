from example import ED25519, OTHER_SECRET, SECRET, folder, given, member, options
from fake_http import run

from bgpmesh import config, discovery, disk, lan
from bgpmesh.model import TAKE
from bgpmesh.problems import Problems
from bgpmesh.ubus import NOT_FOUND, TIMEOUT, UbusError

SIGNED = options("option secret '%s'" % SECRET)


def heard(*announcements):
    """What umdns' browse answers where these were announced."""
    found = {}
    for announcement in announcements:
        for service in announcement["mdns"].values():
            assert service["service"] == "_bgpmesh._udp.local"
            found[service["instance"]] = {"iface": "br-lan", "ttl": 4500, "txt": service["txt"], "port": 655}
    return {"_bgpmesh._udp": found} if found else {}


def said(node="bravo", number=2, by=SIGNED):
    return lan.announcement(by, member(node, number))


# What is announced and heard


def test_an_announcement_says_who_and_which_registry():
    (name, service) = list(said(by=options())["mdns"].items())[0]
    assert name == "bgpmesh_655" and service["port"] == 655 and service["instance"] == "bravo"
    assert service["txt"][:2] == ["node=bravo", "address=10.0.0.2"]
    assert service["txt"][3:] == ["etcd=http://192.0.2.10:2379"]
    assert service["txt"][2] == "key=" + lan.fingerprint(member("bravo", 2)) and ED25519[1] not in str(service)
    assert SECRET not in str(said())


def test_every_string_fits_into_a_txt_record():
    many = options("option secret '%s'" % SECRET, *["list etcd 'https://etcd-%02d.example.net'" % n for n in range(30)])
    texts = lan.announcement(many, member("bravo", 2))["mdns"]["bgpmesh_655"]["txt"]
    assert all([len(text) <= 255 for text in texts])
    assert lan.sightings(heard(lan.announcement(many, member("bravo", 2))), [SECRET])["bravo"].trusted


def test_who_has_the_same_secret_is_trusted():
    seen = lan.sightings(heard(said(), said("carol", 3)), [SECRET])
    assert sorted(seen) == ["bravo", "carol"]
    bravo = seen["bravo"]
    assert (bravo.node, bravo.address, bravo.etcd, bravo.trusted) == (
        "bravo",
        "10.0.0.2",
        "http://192.0.2.10:2379",
        True,
    )


def test_while_the_secret_changes_either_of_the_two_is_enough():
    new = OTHER_SECRET
    both = options("option secret '%s'" % new, "option secret_old '%s'" % SECRET)
    for by, secrets in ((both, [SECRET]), (both, [new]), (SIGNED, [new, SECRET])):
        assert lan.sightings(heard(said(by=by)), secrets)["bravo"].trusted
    for text in lan.announcement(both, member("bravo", 2))["mdns"]["bgpmesh_655"]["txt"]:
        assert len(text) <= 255


def test_who_has_another_secret_or_none_is_seen_and_not_trusted():
    other = "another secret of that length"
    for by, secrets in ((options(), [SECRET]), (SIGNED, []), (SIGNED, [other]), (options(), [])):
        assert [sighting.trusted for sighting in lan.sightings(heard(said(by=by)), secrets).values()] == [False]


def test_whatever_was_changed_is_not_trusted():
    for place in range(4):
        answer = heard(said())
        texts = answer["_bgpmesh._udp"]["bravo"]["txt"]
        texts[place] += "0"
        assert [each.trusted for each in lan.sightings(answer, [SECRET]).values()] == [False], texts[place]


def test_an_impostor_does_not_take_the_place_of_who_is_trusted():
    forged = {"iface": "br-lan", "txt": ["node=bravo", "etcd=http://203.0.113.6:2379"]}
    for name in ("a", "z"):
        answer = heard(said())
        answer["_bgpmesh._udp"][name] = forged
        assert lan.sightings(answer, [SECRET])["bravo"].trusted


def test_what_is_no_announcement_is_passed_over():
    for answer in (
        {},
        {"_bgpmesh._udp": None},
        {"_bgpmesh._udp": []},
        {"_bgpmesh._udp": {"a": None}},
        {"_bgpmesh._udp": {"a": {"txt": None}}},
        {"_bgpmesh._udp": {"a": {"txt": "node=x"}}},
        {"_bgpmesh._udp": {"a": {"txt": [1, "", "=", "nothing", "node="]}}},
        {"_other._udp": {"a": {"txt": ["node=x"]}}},
    ):
        assert lan.sightings(answer, [SECRET]) == {}


# Taking a registry


class Bus:
    def __init__(self, answer):
        self.answer = answer

    async def call(self, path, method, args=None):
        assert path == "umdns"
        if isinstance(self.answer, UbusError):
            raise self.answer
        return self.answer if method == "browse" else {}


class Router:
    """A router without option `etcd` and what it hears; its files are in a folder of their own."""

    def __init__(self, *statements):
        self.folder = folder("discovery")
        self.bus = Bus({})
        self.said = []
        self.start(*statements)

    def start(self, *statements):
        self.problems = Problems(self.said.append)
        self.discovery = discovery.Discovery(self.bus, self.problems, self.said.append)
        lines = ["config mesh 'main'", "option enabled '1'"]
        self.config = config.load("\n".join(lines + list(statements)), "alfa")

    def look(self, *announcements):
        """Whether there is a registry after these were heard."""
        self.bus.answer = heard(*announcements)
        before = discovery._FILE
        discovery._FILE = self.folder + "/registry"
        try:
            run(self.discovery.look(self.config.secrets))
            return self.discovery.take_registry(self.config)
        finally:
            discovery._FILE = before

    def problem(self):
        return " ".join([problem.text for problem, _ in self.problems.all()])


def silent():
    """A router that knows the secret and nothing else."""
    return Router("option secret '%s'" % SECRET)


SET = [("http", "192.0.2.10", 2379)]


@given(silent)
def test_the_registry_of_a_neighbour_with_the_same_secret_is_taken(router):
    assert not router.look() and "uci set bgpmesh.main.etcd=http://ADDRESS:2379; " + TAKE in router.problem()
    assert router.look(said()) and router.config.etcd == SET and router.config.borrowed
    assert router.problem() == "" and "neighbour 'bravo'" in " ".join(router.said)


@given(silent)
def test_it_is_there_after_a_restart_without_the_neighbour(router):
    router.look(said())
    router.start("option secret '%s'" % SECRET)
    assert router.look() and router.config.etcd == SET


@given(silent)
def test_flash_that_cannot_be_written_is_a_problem_beside_the_registry(router):
    disk.make_folder(router.folder + "/registry")
    assert router.look(said()) and router.config.etcd == SET
    assert "cannot keep the registry's address" in router.problem()


@given(silent)
def test_another_network_s_registry_is_named_and_not_taken(router):
    assert not router.look(said(by=options()))
    assert "'bravo'" in router.problem() and "http://192.0.2.10:2379" in router.problem()
    assert "another secret" in router.problem()
    router.start()
    assert not router.look(said()) and "without option 'secret'" in router.problem()


@given(silent)
def test_one_s_own_option_comes_first(router):
    router.start("option secret '%s'" % SECRET, "option etcd 'http://198.51.100.1'")
    assert router.look(said()) and router.config.etcd == [("http", "198.51.100.1", 2379)]
    assert not router.config.borrowed and disk.read(router.folder + "/registry") is None


@given(silent)
def test_nonsense_from_outside_is_no_registry(router):
    evil = said(by=options("option secret '%s'" % SECRET))
    service = evil["mdns"]["bgpmesh_655"]
    fields = ["bravo", "10.0.0.2", "k", "gopher://x y"]
    service["txt"] = ["%s=%s" % pair for pair in zip(("node", "address", "key", "etcd"), fields)]
    service["txt"].append("sig=" + lan._sign(fields, SECRET))
    assert not router.look(evil)


@given(silent)
def test_a_neighbour_that_knows_better_is_told_apart(router):
    router.look(said())
    assert not router.discovery.elsewhere(router.config)
    moved = options("option secret '%s'" % SECRET, "option etcd 'http://192.0.2.77'")
    router.look(said(by=moved))
    assert router.discovery.elsewhere(router.config)


@given(silent)
def test_an_announcement_from_the_past_keeps_nobody_from_the_registry_of_now(router):
    past = options("option secret '%s'" % SECRET, "option etcd 'http://192.0.2.66'")
    assert router.look(said(by=past), said("carol", 3))
    assert router.config.etcd == [("http", "192.0.2.66", 2379)] + SET
    assert not router.discovery.elsewhere(router.config)
    assert router.look(said(by=past), said("carol", 3)) and len(router.config.etcd) == 2


@given(silent)
def test_a_router_without_umdns_sees_nobody(router):
    router.discovery.seen = {"x": None}
    for status, lines in ((NOT_FOUND, 0), (TIMEOUT, 1)):
        router.bus.answer = UbusError(status, "umdns update")
        router.said.clear()
        run(router.discovery.look(SECRET))
        assert router.discovery.seen == {} and len(router.said) == lines


@given(silent)
def test_what_a_stranger_announces_writes_no_log_of_its_own(router):
    evil = said(by=options())
    for node, etcd in (("b\n\x1b[2J", "http://192.0.2.10:2379"), ("bravo", "http://192.0.2.10:2379\n\x1b[2J x")):
        evil["mdns"]["bgpmesh_655"]["txt"] = ["node=" + node, "address=10.0.0.2", "key=k", "etcd=" + etcd]
        assert not router.look(evil)
        assert not [char for char in router.problem() if char < " "]
