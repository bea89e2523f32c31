from example import Thing, member, prefixes
from fake_http import run

from bgpmesh import drain
from bgpmesh.bird.control import BirdError, Session
from bgpmesh.problems import Problems

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: %s:00B3 %s:9C40 01 %s:00000000 02:000000D0 00000000     0        0 72 2 0 20 4 30 10 -1
   1: 00000000:00B3 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 70 1 0 100 0 0 10 0
"""


def queue(ip, length):
    """/proc/net/tcp with a BGP session with that overlay address and that many bytes on their way."""
    import struct

    (number,) = struct.unpack("I", bytes([int(part) for part in ip.split(".")]))
    return TABLE % ("0100000A", "%08X" % number, "%08X" % length)


class Mesh:
    """A Convergence with two peers up, r2 and r3, and one that is not, r4; BIRD takes `looks` looks to be done.

    It passes on a route to each, besides the two of its own. counts: node -> announcements sent, routes announced.
    """

    def __init__(self, looks=2):
        seats = {"r%d" % number: Thing(member=member("r%d" % number, number)) for number in (2, 3, 4)}
        bird = Thing(reflecting=set())
        self.plan = Thing(seats=seats, announced=prefixes("192.168.1.0/24", "192.168.9.0/24"), bird=bird)
        up = {"r2": "Established", "r3": "Established", "r4": "Active"}
        self.bird = Thing(
            running=True, exports=self.exports, sessions={node: Session(up[node], "", "") for node in up}
        )
        self.drained = False
        self.looks = looks
        self.counts = {"r2": (5, 3), "r3": (7, 3), "r4": (0, 0)}
        self.fault = None
        self.refreshed = 0

    def refresh(self):
        self.refreshed += 1

    def in_force(self, drained):
        if self.refreshed:
            self.looks -= 1
        if self.looks == 0:
            self.tell()
        return drained == (self.looks <= 0)

    def tell(self):
        self.counts = {"r2": (7, 2), "r3": (9, 2), "r4": (0, 0)}

    async def exports(self):
        if self.fault:
            raise self.fault
        return dict(self.counts)


def began(mesh, table=""):
    """(answer, codes of the problems) of draining this mesh, with that /proc/net/tcp."""
    problems = Problems(lambda text: None)
    before = drain.PATIENCE, drain._TICK, drain.disk
    drain.PATIENCE, drain._TICK, drain.disk = 0.05, 0.001, Thing(read_or_none=lambda path: table)
    try:
        answer = run(drain.begin(mesh, problems))
    finally:
        drain.PATIENCE, drain._TICK, drain.disk = before
    assert [problem.code for problem, _ in problems.all()] == ["drained"]
    assert run(drain.end(mesh, problems)) == drain.NOTHING
    assert problems.all() == [] and not mesh.drained
    return answer


def test_who_is_up_is_told():
    assert began(Mesh()) == {"drained": True, "told": ["r2", "r3"], "untold": [], "problem": ""}


def test_who_has_not_been_sent_all_of_it_is_not_told():
    mesh = Mesh()
    mesh.tell = lambda: mesh.counts.update({"r2": (7, 2), "r3": (8, 2)})
    assert began(mesh) == {"drained": True, "told": ["r2"], "untold": ["r3"], "problem": ""}


def test_who_still_has_what_is_passed_on_is_not_told():
    mesh = Mesh()
    mesh.tell = lambda: mesh.counts.update({"r2": (7, 2), "r3": (9, 3)})
    assert began(mesh) == {"drained": True, "told": ["r2"], "untold": ["r3"], "problem": ""}
    again = Mesh(looks=0)
    again.tell = lambda: None
    assert began(again)["untold"] == ["r2", "r3"]


def test_a_reflector_goes_on_to_reflect():
    mesh = Mesh()
    mesh.plan.bird.reflecting = {"r1", "r3"}
    mesh.tell = lambda: mesh.counts.update({"r2": (7, 900), "r3": (9, 800)})
    assert began(mesh)["untold"] == []


def test_who_has_not_acknowledged_it_is_not_told():
    assert began(Mesh(), queue("10.0.0.3", 60))["untold"] == ["r3"]
    assert began(Mesh(), queue("10.0.0.3", 0))["untold"] == []
    assert began(Mesh(), queue("10.0.0.99", 60))["untold"] == []


def test_a_session_that_came_up_anew_counts_from_nothing():
    mesh = Mesh()
    mesh.tell = lambda: mesh.counts.update({"r2": (7, 2), "r3": (2, 2)})
    assert began(mesh)["untold"] == []
    mesh = Mesh()
    mesh.tell = lambda: mesh.counts.update({"r2": (7, 2), "r3": (1, 1)})
    assert began(mesh)["untold"] == ["r3"]


def test_a_bird_that_cannot_be_asked_is_told_all_the_same():
    mesh = Mesh()
    mesh.fault = BirdError("BIRD does not answer")
    answer = run(drain.begin(mesh, Problems(lambda text: None)))
    assert answer["problem"] == "BIRD does not answer" and mesh.drained and mesh.refreshed == 1


def test_who_stands_aside_meanwhile_has_nobody_to_tell():
    mesh = Mesh()
    exports = mesh.exports

    async def last():
        found = await exports()
        if mesh.refreshed:
            mesh.plan = None
        return found

    mesh.bird.exports = last
    assert began(mesh)["untold"] == []


def test_who_is_gone_meanwhile_need_not_be_told():
    mesh = Mesh()

    def lose():
        mesh.counts = {"r2": (7, 2)}

    mesh.tell = lose
    assert began(mesh)["untold"] == []


def test_a_bird_that_does_not_take_it_is_said():
    answer = began(Mesh(looks=1 << 30))
    assert (answer["told"], answer["untold"]) == ([], ["r2", "r3"]) and "not taken" in answer["problem"]
    mesh = Mesh()
    mesh.fault = BirdError("bird does not run")
    assert began(mesh)["problem"] == "bird does not run"


def test_a_second_time_finds_all_as_it_should_be():
    mesh = Mesh(looks=0)
    assert began(mesh)["untold"] == []


def test_without_a_plan_there_is_nobody_to_tell():
    mesh = Mesh()
    mesh.plan = None
    assert began(mesh) == {"drained": True, "told": [], "untold": [], "problem": ""}


def test_what_is_no_table_names_nobody():
    for text in ("", "x", "sl\n\n 0: a b\n", TABLE % ("0100000A", "0200000A", "00000000")):
        assert drain.unacknowledged(text) == set()
