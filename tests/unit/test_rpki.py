from example import GOLDEN, member, options
from fake_control import dialogue
from fake_http import run

from bgpmesh import disk
from bgpmesh.bird import rpki
from bgpmesh.bird.control import parse_reply
from bgpmesh.roster import Seat

END = "0000 \n"
SHOWN = """\
2002-Name       Proto      Table      State  Since         Info
1002-validator  RPKI       ---        up     2026-11-21 16:42:52  Established
1006-  Cache server:     198.18.255.2
   Channel roa4
     Routes:         2 imported, 0 exported, 2 preferred
   Channel roa6
     Routes:         1 imported, 0 exported, 1 preferred
""" + END
DOWN = SHOWN.replace("up     2026-11-21 16:42:52  Established", "start  2026-11-21 16:42:52  Transport-Error")
FILTERED = """\
1007-Table master4:
 192.168.9.0/24       unicast [_carol 16:43:25.831] * (100) [i]
     via 10.0.0.3 on tinc0
                      unicast [_bravo 16:43:25.831] (100) [i]
     via 10.0.0.2 on tinc0
 172.16.0.0/12        unicast [_nobody 16:43:25.831] * (100) [i]
     via 10.0.0.4 on tinc0
""" + END
NONE = "1007-Table master6:\n" + END


class Socket:
    """BIRD's, of which each question is noted, and answered with `shown`, or with FILTERED for the first family."""

    def __init__(self, shown):
        self.shown = shown
        self.asked = []

    async def ask(self, command):
        self.asked.append(command)
        text = self.shown if command.startswith("show protocols") else FILTERED if "rpki4" in command else NONE
        return parse_reply(text.encode())


class Recorded(Socket):
    """One that answers as a real BIRD has, which refused what r2 and r3 announce; r3 is of another AS."""

    def __init__(self, version):
        super().__init__(SHOWN)
        found = dialogue(disk.read("%s/bird-replies/%s/show-route-filtered.txt" % (GOLDEN, version)), "> ", "< ")
        self.answers = {command: lines for command, lines in found}

    async def ask(self, command):
        if command in self.answers:
            return parse_reply("".join([line + "\n" for line in self.answers[command]]).encode())
        assert command.startswith("show protocols"), command
        return await super().ask(command)


def seats(**prefixes):
    found = {}
    for number, node in enumerate(sorted(prefixes)):
        peer = member(node, number + 2, prefixes=prefixes[node])
        found[node] = Seat(peer, peer.prefixes)
    return found


def test_what_is_refused_though_its_record_announces_it_is_invalid():
    socket = Socket(SHOWN)
    seen = run(rpki.look(socket, 65000, seats(bravo=["192.168.9.0/24"], carol=["192.168.3.0/24"])))
    assert (seen.connected, seen.info, seen.roas) == (True, "Established", 3)
    # Carol sends a prefix that is not hers: that is not for the validator to say.
    assert seen.invalid == [("bravo", "192.168.9.0/24")]
    assert len(socket.asked) == 5 and "roa_check(rpki6, net, 65000)" in "".join(socket.asked)


def test_what_every_version_refuses():
    for version in ("2.0.12", "2.17.5", "3.1.7"):
        seen = run(rpki.look(Recorded(version), 65000, seats(r2=["192.168.2.0/24"], r3=["192.168.3.0/24"])))
        assert seen.invalid == [("r2", "192.168.2.0/24"), ("r3", "192.168.3.0/24")]


def test_a_validator_that_does_not_answer():
    seen = run(rpki.look(Socket(DOWN), 65000, {}))
    assert (seen.connected, seen.info, seen.invalid) == (False, "Transport-Error", [])
    assert rpki.parse_state(parse_reply(b"8003 No protocols match\n")) == ""


def test_its_problems():
    config = options("option rpki '[2001:db8::9]:3323'")
    assert rpki.problems(rpki.View(True, "Established", 3, []), config) == []
    one, two = rpki.problems(rpki.View(False, "", 0, [("bravo", "192.168.9.0/24")]), config)
    assert (one.code, one.subject) == ("rpki", "[2001:db8::9]:3323") and "not asked yet" in one.text
    assert (two.code, two.subject) == ("rpki_invalid", "bravo 192.168.9.0/24") and "'bravo'" in two.text
