import json

from example import SECRET, folder
from fake_http import run
from test_status import running

from bgpmesh import VERSION, cli, compat, config, disk, owner, status, ubus
from bgpmesh.ubus import UbusError


class Captured:
    """Has what is printed in `out` and `err`."""

    def __enter__(self):
        self._sys = cli.sys
        self.errors = []
        self.lines = []
        cli.sys = self
        self.stderr = self
        cli.print = lambda text="": self.lines.append(text)
        return self

    def write(self, text):
        self.errors.append(text)

    def __exit__(self, *_):
        cli.sys = self._sys
        del cli.print

    @property
    def out(self):
        return "\n".join(self.lines)

    @property
    def err(self):
        return "".join(self.errors)


def answering(answer):
    """Has the agent answer that to every question; an exception is raised."""

    async def ask(path, method, timeout=5, data=None):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def ran(*arguments, answer=None):
    """(exit status, what was printed, what was complained) of a command with an agent that answers so."""
    before, ubus.ask = ubus.ask, answering(answer)
    if compat.RUNTIME == "micropython":
        run(nothing())
    try:
        with Captured() as captured:
            code = cli.main(list(arguments))
    finally:
        ubus.ask = before
    return code, captured.out, captured.err


OWNERS_RIGHTS = ("read", "peers"), ("read", "alive"), ("read", "claims"), ("readwrite", "trust")


async def nothing():
    pass


def state(name):
    found = status.status(running())
    found["state"] = name
    return found


def test_wrong_usage():
    for arguments in (
        (),
        ("nonsense",),
        ("",),
        ("-h",),
        ("status", "x"),
        ("status", "-j", "-j"),
        ("status", "--json"),
        ("peers", "x"),
        ("sync", "-j"),
        ("leave", "-j"),
        ("drain", "on"),
        ("drain", "off", "x"),
        ("undrain",),
        ("leave", "now"),
        ("rotate", "-j"),
        ("run", "x"),
        ("check", "x"),
        ("--version", "x"),
        ("-j", "status"),
    ):
        assert ran(*arguments) == (2, "", cli.USAGE), arguments


def test_the_usage_names_every_command():
    for command in "run status peers check sync rotate drain leave etcd-role keygen approve revoke --version".split():
        assert "\n  " + command + " " in cli.USAGE
    assert max([len(line) for line in cli.USAGE.split("\n")]) < 80


def test_the_version():
    assert ran("--version") == (0, VERSION, "")


def test_the_exit_status_of_status():
    assert ran("status", answer=state("converged"))[0] == 0
    for name in ("starting", "waiting", "syncing", "degraded", "stopping"):
        assert ran("status", answer=state(name))[0] == 4
        assert ran("status", "-j", answer=state(name))[0] == 4
    for code in (ubus.NOT_FOUND, ubus.CONNECTION_FAILED):
        status_, out, err = ran("status", answer=UbusError(code, "bgpmesh status"))
        assert (status_, out) == (3, "")
        assert err.startswith("bgpmesh: the agent is not running; ") and err.count("\n") == 1


def test_an_agent_that_does_not_answer_is_neither_converged_nor_not_running():
    code, out, err = ran("status", answer=UbusError(ubus.TIMEOUT, "bgpmesh status"))
    assert (code, out) == (4, "") and "TIMEOUT" in err


def test_other_commands_fail_without_an_agent():
    for command in ("peers", "sync", "rotate", "leave"):
        for code in (ubus.NOT_FOUND, ubus.CONNECTION_FAILED, ubus.TIMEOUT, ubus.UNKNOWN_ERROR):
            status_, out, err = ran(command, answer=UbusError(code, "bgpmesh " + command))
            assert (status_, out) == (1, "") and err.startswith("bgpmesh: ")


def test_a_router_is_not_taken_for_one_that_is_not_found_where_the_agent_does_not_run():
    for code in (ubus.NOT_FOUND, ubus.CONNECTION_FAILED):
        status_, out, err = ran("remove", "bravo", answer=UbusError(code, "bgpmesh remove"))
        assert (status_, out) == (1, "") and "NOT_FOUND" not in err
        assert err.startswith("bgpmesh: 'bravo' is not removed: the agent is not running; ")


def test_status_for_a_person():
    answer = state("degraded")
    _, out, err = ran("status", answer=answer)
    assert err == ""
    waits = "waits for BGP sessions: 1 of 2 are Established"
    assert "node      alfa, degraded: %s (bgpmesh %s on %s)" % (waits, VERSION, compat.RUNTIME) in out
    assert "reachable, last answer %d s ago in 12.5 ms" % answer["etcd"]["age"] in out
    assert "address   10.0.0.1" in out
    assert "identity  efefefefefefefef, approved" in out
    assert "tinc      1.1 running, 2 of 2 peers reachable, round trips of 3.5 ms (the worst 20.0)" in out
    assert "bird      3.1.7 running, 1 of 2 sessions Established" in out
    assert "problem   no session (for 0 s)" in out
    assert "reflected" not in out
    large = state("converged")
    large["bird"]["reflectors"] = ["alfa", "bravo"]
    assert "reflected by this router, bravo" in ran("status", answer=large)[1]
    fresh = state("starting")
    fresh.update(address="", prefixes=[], problems=[])
    fresh["etcd"].update(age=-1, reachable=False, failures=3, latency_ms=None)
    fresh["bird"].update(running=False)
    _, out, _ = ran("status", answer=fresh)
    assert "address   none yet" in out and "announced nothing" in out and "never answered" in out
    assert "not reachable (3 failures)" in out and "bird      not running" in out
    fresh["etcd"].update(endpoint="", failures=0)
    assert "etcd      none yet\n" in ran("status", answer=fresh)[1]


def test_peers_for_a_person():
    answer = run(status.peers(running()))
    code, out, _ = ran("peers", answer=answer)
    lines = out.split("\n")
    assert code == 0 and len(lines) == 5
    assert lines[0].split()[:3] == ["NODE", "ADDRESS", "ENDPOINT"]
    bravo = lines[1]
    assert bravo.startswith("bravo ") and "[2001:db8::2]:655" in bravo and "0.8 ms" in bravo
    columns = [line.index(word) for line, word in zip(lines[1:4], ("10.0.0.2", "10.0.0.3", "10.0.0.4"))]
    assert len(set(columns)) == 1
    assert ran("peers", answer={"peers": []})[1].split()[0] == "NODE"
    assert "more" not in lines[-1]
    last = ran("peers", answer=dict(answer, total=9))[1].split("\n")[-1]
    assert last == "and 5 more, for which an answer over ubus has no room"
    answer["peers"][0].update(bgp="", via=["carol", "dora"])
    answer["peers"][1].update(bgp="")
    lines = ran("peers", answer=answer)[1].split("\n")
    assert "  via carol, dora  " in lines[1] and "via" not in lines[2]


def test_json_is_what_the_agent_answered():
    answer = state("converged")
    assert json.loads(ran("status", "-j", answer=answer)[1]) == answer
    answer = run(status.peers(running()))
    assert json.loads(ran("peers", "-j", answer=answer)[1]) == answer


def test_drain_says_what_the_peers_know():
    answer = {"drained": True, "told": ["r2", "r3"], "untold": [], "problem": ""}
    code, out, _ = ran("drain", answer=answer)
    assert code == 0 and out.startswith("drained: 2 peers know it; `bgpmesh drain off`")
    answer["untold"] = ["r4"]
    assert ran("drain", answer=answer) == (1, "", "bgpmesh: drained, but these may not know it yet: r4\n")
    answer["problem"] = "bird does not run"
    assert ran("drain", answer=answer) == (1, "", "bgpmesh: not drained: bird does not run\n")
    assert ran("drain", "off", answer=answer) == (0, "no longer drained", "")


def test_sync_and_leave_say_what_happened():
    assert ran("sync", answer={"queued": True})[:2] == (0, "queued")
    code, out, _ = ran("leave", answer={"left": True})
    assert code == 0 and "left the mesh" in out and "uci commit bgpmesh`" in out, "or the next boot brings it back"
    assert ran("rotate", answer={"begun": True, "problem": ""})[0] == 0
    answer = {"begun": False, "problem": "one is under way"}
    assert ran("rotate", answer=answer) == (1, "", "bgpmesh: not begun: one is under way\n")
    answer = {"left": False, "problem": "nobody answers"}
    assert ran("leave", answer=answer) == (1, "", "bgpmesh: still a member: nobody answers\n")


def test_etcd_role_prints_commands_for_a_node_and_refuses_what_is_no_name():
    before, disk.read = disk.read, lambda path: None if path.startswith("/etc") else "north-1\n"
    try:
        code, out, err = ran("etcd-role")
        assert (code, err) == (0, "")
        assert "\netcdctl role grant-permission bgpmesh-north_1 readwrite '/peers/north_1'\n" in out
        code, out, err = ran("etcd-role", "south.example")
        assert code == 0 and "etcdctl user grant-role south_example bgpmesh-south_example\n" in out
        code, out, err = ran("etcd-role", "a; reboot")
        assert (code, out) == (1, "") and "'a; reboot'" in err
        disk.read = lambda path: 'config mesh main\n option etcd_prefix "/it\'s"\n option node south'
        assert "readwrite '/it'\\''s/alive/south'\n" in ran("etcd-role")[1]
        code, out, err = ran("etcd-role", "-o")
        assert (code, err) == (0, "")
        grants = [line for line in out.split("\n") if "grant-permission" in line]
        grant = "etcdctl role grant-permission --prefix network-owner %s '/it'\\''s/%s/'"
        assert grants == [grant % right for right in OWNERS_RIGHTS]
        assert "etcdctl user grant-role network-owner network-owner\n" in out
        assert "ETCDCTL_USER='network-owner:$password'" in out
    finally:
        disk.read = before
    assert ran("etcd-role", "a", "b")[0] == ran("etcd-role", "-o", "b")[0] == 2


def test_remove_says_what_happened():
    code, out, err = ran("remove", "bravo", answer={"problem": ""})
    assert code == 0 and out.startswith("removed 'bravo'") and err == ""
    assert ran("remove", "bravo", answer={"problem": "no"}) == (1, "", "bgpmesh: 'bravo' is not removed: no\n")
    code, out, err = ran("remove", "bravo", answer=UbusError(ubus.TIMEOUT, "bgpmesh remove"))
    assert code == 1 and "bgpmesh remove" in err
    assert ran("remove")[0] == 2


def test_a_secret_is_made_with_the_commands_that_set_it():
    path = folder("cli") + "/bgpmesh"
    before, owner.CONFIG = owner.CONFIG, path
    try:
        for text, commands in (
            ("", 1),
            ("config mesh 'main'\n\toption etcd 'a'\n", 1),
            ("config mesh 'main'\n\toption etcd 'a'\n\toption secret '%s'\n" % SECRET, 2),
        ):
            disk.write(path, text, 0o600)
            code, out, err = ran("secret")
            found = out.split("bgpmesh.main.secret='")[1].split("'")[0]
            assert (code, err) == (0, "") and len(found) == 64 and found.strip("0123456789abcdef") == ""
            assert ran("secret")[1].split("bgpmesh.main.secret='")[1].split("'")[0] != found
            assert config.load("config mesh main\noption etcd a\noption secret '%s'" % found, "r1").secret == found
            assert out.count("uci commit bgpmesh; service bgpmesh reload") == commands
            assert ("uci set bgpmesh.main.secret_old=" in out) == (commands == 2)
            assert SECRET not in out and disk.read(path) == text
    finally:
        owner.CONFIG = before
        disk.remove_folder(path.rpartition("/")[0])
