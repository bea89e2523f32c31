import os

from example import SECRET, Thing, folder, identity, member
from fake_registry import Registry, Store
from test_cli import ran
from test_trust import OWNER, THIEF, said, shown

from bgpmesh import check, clock, disk, etcd, owner, records, trust, usign
from bgpmesh.model import TAKE

OWNERS = usign.make(bytes(range(56)))
USER = "ETCDCTL_USER"
OPTIONS = "config mesh 'main'", "option enabled '1'", "option etcd '192.0.2.10'", "option node 'alfa'"


class Desk:
    """Where the owner sits: a folder with the secret key, and a mesh whose store can be reached."""

    def __init__(self, *statements):
        self.folder = folder("owner")
        self.secret = self.folder + "/network.sec"
        disk.write(self.secret, OWNERS[0], 0o600)
        self.store = Store()
        self.put(identity(2))
        self.statements = statements
        self.now = 2000000000
        self.asked = []  # (name, password) of etcd's user, for each registry that was opened
        self.denied = False  # whether that user may write nothing

    def put(self, identity):
        """bravo's record is there, with this Identity."""
        self.store.put("bravo", records.encode(member("bravo", 2), "/peers/bravo", None, identity))

    def __enter__(self):
        self._before = check.CONFIG, etcd.open_registry, owner.SECRET, trust.PATH, clock.now, clock.is_wrong
        registry = Registry(self.store, "alfa")

        async def put_statement(node, text):
            if self.denied:
                raise etcd.EtcdError("permission", "denied")
            self.store.state(node, text)

        def open_registry(config, servers):
            self.asked.append((config.etcd_user, config.etcd_password))
            return registry

        registry.put_statement = put_statement
        registry.close = lambda: None
        check.CONFIG = self.folder + "/config"
        disk.write(check.CONFIG, "\n".join(OPTIONS + self.statements), 0o600)
        etcd.open_registry = open_registry
        owner.SECRET = self.secret
        trust.PATH = self.folder + "/trust"
        clock.now = lambda: self.now
        clock.is_wrong = lambda: self.now < 1000000000
        return self

    def __exit__(self, *_):
        check.CONFIG, etcd.open_registry, owner.SECRET, trust.PATH, clock.now, clock.is_wrong = self._before
        disk.remove_folder(self.folder)

    def says(self, node="bravo"):
        """The statement about a node that is stored, verified; None where there is none."""
        entry = self.store.statements.get(node)
        return entry and trust.read(entry.text, "/trust/" + node, OWNER.public)


def test_a_member_is_approved_with_the_keys_it_has():
    with Desk() as desk:
        code, out, err = ran("approve", "bravo")
        assert (code, err) == (0, "") and shown(2) in out
        assert (desk.says().verb, desk.says().serial, desk.says().approved) == ("approve", 2000000000, shown(2))
        assert ran("approve", "bravo", shown(2)[:16])[0] == 0
        assert desk.says().serial == 2000000001


def test_where_the_owner_sits_no_agent_need_run():
    with Desk("option enabled '0'") as desk:
        for verb in ("approve", "revoke"):
            assert ran(verb, "bravo")[0] == 0 and desk.says().verb == verb


def test_who_has_another_identity_than_the_one_named_is_not_approved():
    with Desk() as desk:
        code, _, err = ran("approve", "bravo", shown(3)[:16])
        assert code == 1 and shown(2) in err and "is the record its own?" in err
        assert desk.says() is None


def test_who_shows_no_identity_or_anothers_is_not_approved():
    with Desk() as desk:
        desk.put(None)
        assert "set option 'trust_key' on it" in ran("approve", "bravo")[2]
        desk.put(Thing(id=shown(2), by=None, sign=identity(3).sign))
        assert "another has written it" in ran("approve", "bravo", shown(2))[2]
        assert desk.says() is None


def test_who_cannot_be_approved_is_said():
    with Desk("option secret '%s'" % SECRET) as desk:
        assert "not signed" in ran("approve", "bravo")[2]
        assert "there is no record of 'carol'" in ran("approve", "carol")[2]
        assert "no name of a member" in ran("revoke", "a/b")[2]
        assert desk.store.statements == {}


def test_a_member_is_revoked_whether_it_has_a_record_or_not():
    with Desk() as desk:
        ran("approve", "bravo")
        assert ran("revoke", "bravo")[:2] == (0, "revoked bravo")
        assert (desk.says().verb, desk.says().serial) == ("revoke", 2000000001)
        assert ran("revoke", "gone")[0] == 0 and desk.says("gone").verb == "revoke"
        assert ran("revoke", "north-gw")[0] == 0 and desk.says("north_gw").verb == "revoke", "as in option 'node'"


def test_what_is_said_is_later_than_all_that_is_known_whatever_the_clock_shows():
    with Desk() as desk:
        desk.store.state("bravo", said("approve", "bravo", 3000000000, shown(2)))
        ran("revoke", "bravo")
        assert desk.says().serial == 3000000001
        del desk.store.statements["bravo"]
        disk.write(trust.PATH, "x\n" + said("revoke", "bravo", 3000000005), 0o600)
        ran("approve", "bravo")
        assert desk.says().serial == 3000000006
        desk.store.state("bravo", said("approve", "bravo", 4000000000, shown(2), secret=THIEF))
        ran("revoke", "bravo")
        assert desk.says().serial == 3000000006  # a thief's number is no number
        desk.now = 500000000
        assert "the clock shows" in ran("revoke", "bravo")[2]


def test_a_key_that_is_not_the_networks_is_refused():
    with Desk("option trust_key '%s'" % usign.line(THIEF.public)) as desk:
        assert "does not belong to option 'trust_key'" in ran("approve", "bravo")[2]
        assert desk.says() is None
    with Desk("option trust_key '%s'" % usign.line(OWNER.public)):
        assert ran("approve", "bravo")[0] == 0


def test_a_key_that_cannot_be_used_is_named():
    with Desk() as desk:
        disk.write(desk.secret, "garbage", 0o600)
        assert "network.sec: not a secret key" in ran("revoke", "bravo")[2]
        assert "cannot read /nonexistent/key: name" in ran("revoke", "bravo", "-s", "/nonexistent/key")[2]
        disk.write(desk.folder + "/other", OWNERS[0], 0o600)
        assert ran("revoke", "-s", desk.folder + "/other", "bravo")[0] == 0


def put_into_environment(text, name=USER):
    """A variable, ETCDCTL_USER unless another is named, for this process."""
    if hasattr(os, "environ"):
        os.environ[name] = text
    else:
        os.putenv(name, text)


def test_etcd_is_asked_as_the_user_that_etcdctl_would_be():
    routers = "option etcd_user 'north'", "option etcd_password 'its own'"
    with Desk(*routers) as desk:
        try:
            for text in ("network-owner:a:b=", ""):
                put_into_environment(text)
                assert ran("approve", "bravo")[0] == ran("revoke", "bravo")[0] == 0
        finally:
            put_into_environment("")
        assert desk.asked == 2 * [("network-owner", "a:b=")] + 2 * [("north", "its own")]


def test_a_user_who_may_not_write_statements_is_named_with_how_to_make_one_who_may():
    with Desk("option etcd_user 'north'", "option etcd_password 'x'") as desk:
        desk.denied = True
        for verb in ("approve", "revoke"):
            code, out, err = ran(verb, "bravo")
            assert (code, out) == (1, "") and "user 'north' may not write /trust/bravo: " in err
            assert "`bgpmesh etcd-role -o` prints the commands that make one who may" in err


def test_a_pair_of_keys_is_made_once():
    with Desk() as desk:
        path = desk.folder + "/mesh.sec"
        code, out, _ = ran("keygen", "-s", path)
        secret = usign.Secret(disk.read(path))
        assert code == 0 and usign.parse_public(disk.read(desk.folder + "/mesh.pub")) == secret.public
        lines = out.split("\n")
        assert lines[1] == "uci set bgpmesh.main.trust_key='%s'; %s" % (usign.line(secret.public), TAKE)
        assert "`bgpmesh approve NODE -s %s`" % path in lines[2], "before nobody but they are let in"
        assert lines[3] == "uci set bgpmesh.main.trust='signed'; " + TAKE
        code, out, err = ran("keygen", "-s", path)
        assert (code, out) == (1, "") and "is there already" in err
        assert usign.Secret(disk.read(path)).public == secret.public


def test_a_key_that_cannot_be_written_is_named_with_the_reason():
    path = "/nonexistent/network.sec"
    code, out, err = ran("keygen", "-s", path)
    assert (code, out) == (1, "") and "cannot write %s and " % path in err and "No such file" in err


def test_a_file_is_one_of_the_folder_in_which_the_command_was_typed():
    with Desk() as desk:
        for name in ("network.sec", "./network.sec", desk.secret):
            try:
                put_into_environment(desk.folder, "BGPMESH_FROM")
                assert ran("revoke", "bravo", "-s", name)[:2] == (0, "revoked bravo"), name
            finally:
                put_into_environment("", "BGPMESH_FROM")


def test_wrong_usage():
    with Desk():
        for arguments in (
            ("keygen", "x"),
            ("keygen", "-s"),
            ("approve",),
            ("approve", "a", "b", "c"),
            ("approve", "-s", "x"),
            ("revoke",),
            ("revoke", "a", "b"),
        ):
            assert ran(*arguments)[0] == 2, arguments
