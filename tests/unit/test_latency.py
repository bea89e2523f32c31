import asyncio

from example import Clock
from fake_http import run

from bgpmesh import compat, latency
from bgpmesh.latency import Latency, measure, reply, request

PEERS = {"bravo": "10.0.0.2", "carol": "10.0.0.3"}
MEMBERS = ["bravo", "carol"]


def checksum(packet):
    """What RFC 1071 makes of a packet with its checksum in it: 0 where that is right."""
    total = sum([packet[place] * 256 + packet[place + 1] for place in range(0, len(packet), 2)])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_a_request():
    assert request(0x1234, 7) == bytes([8, 0, 0xE5, 0xC4, 0x12, 0x34, 0, 7])
    for identity, number in ((0, 0), (0xFFFF, 0xFFFF), (0xF7FF, 0), (0xF7FE, 1), (0xF800, 0xFFFF)):
        assert checksum(request(identity, number)) == 0


def answer(kind=0, source=(10, 0, 0, 2), header=5):
    ip = bytes([0x40 + header, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0]) + bytes(source) + bytes(4) + bytes(4 * header - 20)
    return ip + bytes([kind, 0, 0, 0, 0x12, 0x34, 0, 7])


def test_a_reply():
    assert reply(answer()) == (0x1234, 7, "10.0.0.2")
    assert reply(answer(header=6)) == (0x1234, 7, "10.0.0.2")
    for other in (answer(kind=3), answer()[:27], answer()[:20], b"\x40" + bytes(30), b"\x4f" + bytes(40), b"E"):
        assert reply(other) is None, other


def test_who_answers_is_measured_and_who_does_not_is_left_out():
    # Loopback answers for itself; 240.0.0.1 (RFC 1112) has no route.
    before, latency._PATIENCE = latency._PATIENCE, 1
    try:
        found = run(measure({"here": "127.0.0.1", "too": "127.0.0.2", "nowhere": "240.0.0.1"}))
    finally:
        latency._PATIENCE = before
    assert sorted(found) == ["here", "too"] and len(found["here"]) == 1
    assert 0 < found["here"][0] < 1000


def test_more_than_one_request_is_sent_to_who_is_looked_at_closely():
    before, latency._PATIENCE = latency._PATIENCE, 0.2
    try:
        began = compat.monotonic()
        found = run(measure({"here": "127.0.0.1", "too": "127.0.0.2", "nowhere": "240.0.0.1"}, 4))
    finally:
        latency._PATIENCE = before
    assert sorted([(node, len(found[node])) for node in found]) == [("here", 4), ("too", 4)]
    assert compat.monotonic() - began >= 0.3, "one after the other"


class Measured:
    """Has `measure` answer what is in `answers`, in milliseconds; asked: whom it was asked for; times: how often."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.times = []
        self.fails = None

    async def measure(self, peers, times=1):
        self.asked.append(sorted(peers))
        self.times.append(times)
        if self.fails:
            raise self.fails
        return {node: [self.answers[node]] * times for node in peers if node in self.answers}

    def look(self, found, peers, later=0):
        async def main():
            found.look(peers, MEMBERS + list(peers))
            while found._round and not found._round.done():
                await asyncio.sleep(0)

        before, latency.measure = latency.measure, self.measure
        try:
            with Clock(later):
                run(main())
        finally:
            latency.measure = before
        return found.rtt


def test_each_is_asked_once_a_minute():
    net = Measured(bravo=1.5, carol=20.0)
    found = Latency()
    assert net.look(found, PEERS) == {"bravo": 1.5, "carol": 20.0}
    net.look(found, PEERS, 59)
    assert net.asked == [["bravo", "carol"]]
    net.answers = {"bravo": 2.5}
    assert net.look(found, PEERS, 61) == {"bravo": 2.5}
    assert net.asked[1:] == [["bravo", "carol"], ["carol"]], "and who does not answer again, more closely"


def test_one_that_does_not_answer_is_asked_again_soon_and_then_ever_less_often():
    net = Measured()
    found = Latency()
    when = []
    for second in range(200):
        net.asked = []
        net.look(found, {"bravo": "10.0.0.2"}, second)
        if net.asked:
            when.append(second)
    gaps = [later - earlier for earlier, later in zip(when, when[1:])]
    # The clock goes on while it is looked, on a slow machine by some of a second.
    assert all([0 <= gap - wanted <= 1 for gap, wanted in zip(gaps, (5, 10, 20, 40, 60))]), gaps
    net.answers = {"bravo": 1.5}
    assert net.look(found, {"bravo": "10.0.0.2"}, 300) == {"bravo": 1.5}
    net.answers = {}
    assert net.look(found, {"bravo": "10.0.0.2"}, 365) == {}
    net.answers = {"bravo": 2.5}
    assert net.look(found, {"bravo": "10.0.0.2"}, 371) == {"bravo": 2.5}


def test_one_that_comes_is_asked_at_once_and_one_that_goes_is_forgotten():
    net = Measured(bravo=1.5, carol=20.0)
    found = Latency()
    net.look(found, {"bravo": "10.0.0.2"})
    assert net.look(found, PEERS, 5) == {"bravo": 1.5, "carol": 20.0}
    assert net.asked == [["bravo"], ["carol"]]
    assert net.look(found, {"carol": "10.0.0.3"}, 10) == {"carol": 20.0}
    assert net.look(found, {}, 11) == {}


class Path:
    """A path to bravo; look(lost): a request to it, and what a closer look would see lost of the 16 of its own.

    seconds: those that passed, in steps of five; closely: how many closer looks there were.
    """

    def __init__(self):
        self.found = Latency()
        self.seconds = self.closely = 0

    def look(self, lost, answered=True):
        """The patience after a request that is lost or answered, and what came of it."""
        asked = []

        async def measure(peers, times=1):
            asked.append(times)
            left = 1 if times == 1 and answered else times - lost if times > 1 else 0
            return {"bravo": [1.5] * left} if left else {}

        net = Measured()
        net.measure = measure
        while not asked:
            self.seconds += 5
            net.look(self.found, {"bravo": "10.0.0.2"}, self.seconds)
        assert asked in ([1], [1, 16])
        self.closely += len(asked) - 1
        return self.found.patience.get("bravo", 1)

    def loss(self):
        return 16 * self.found.loss.get("bravo", 0)


def test_a_path_is_looked_at_closely_once_a_request_is_lost_and_until_none_is():
    path = Path()
    path.look(0)
    path.look(9)
    assert path.closely == 0 and path.loss() == 0
    path.look(3, answered=False)
    assert path.closely == 1 and path.loss() == 0, "once may be chance"
    assert path.found.rtt == {"bravo": 1.5}
    path.look(2)
    before = path.seconds
    path.look(4)
    assert path.seconds - before == 10 and path.closely == 3 and path.loss() == 2
    path.look(0)
    assert path.found.loss == {}
    before = path.seconds
    path.look(9)
    path.look(9)
    assert path.seconds - before == 70 and path.closely == 4


def test_a_path_that_goes_on_losing_packets_is_given_more_time_until_it_loses_none():
    path = Path()
    path.look(0)
    assert path.look(12, answered=False) == 1
    assert [path.look(lost) for lost in (1, 2, 2, 1, 9, 9, 4, 3, 9, 2, 0)] == [1, 1, 2, 2, 2, 4, 4, 4, 4, 4, 4]
    last = path.seconds
    while path.look(0) == 4:
        pass
    assert 800 < path.seconds - last < 900 and path.found.patience == {}


def test_a_path_that_was_down_for_a_while_is_none_that_loses_packets():
    path = Path()
    path.look(0)
    for lost in (16, 16, 16):
        assert path.look(lost, answered=False) == 1
    assert path.closely == 1 and path.look(9) == 1 and path.closely == 1
    path.look(9, answered=False)  # it came back amid that look
    path.look(0)
    assert path.found.loss == {} and path.found.patience == {}


def test_what_a_path_loses_is_remembered_while_its_end_is_away_and_no_longer_than_it_is_a_member():
    path = Path()
    path.look(0)
    path.look(4, answered=False)
    assert path.look(4) == 2
    net = Measured()
    net.look(path.found, {}, path.seconds + 5)
    assert path.found.rtt == {} and path.found.patience == {"bravo": 2}
    path.found.look({}, [])
    assert path.found.loss == path.found.patience == path.found._closely == path.found._lossy == {}


def test_when_many_do_not_answer_a_few_are_looked_at_closely():
    net = Measured()
    peers = {"r%02d" % number: "10.0.0.%d" % number for number in range(20)}
    net.answers = {node: 1.5 for node in peers}
    found = Latency()
    net.look(found, peers)
    net.asked, net.answers = [], {}
    net.look(found, peers, 61)
    assert [len(some) for some in net.asked] == [8, 8, 4, 8] and net.times[-4:] == [1, 1, 1, 16]


def test_all_lossy_paths_are_looked_at_closely_in_their_turn():
    peers = {"r%02d" % number: "10.0.0.%d" % number for number in range(20)}
    looked = []

    async def measure(some, times=1):
        if times > 1:
            looked.append(sorted(some))
        return {node: [1.5] * ((times + 1) // 2) for node in some if times > 1 or answers}

    net, found = Measured(), Latency()
    net.measure, answers = measure, True
    net.look(found, peers)
    for turn in range(1, 14):
        answers = not answers
        net.look(found, peers, 61 * turn)
    assert sorted(found.patience) == sorted(peers)
    assert looked[-1] != looked[-2] != looked[-3]


def test_many_are_asked_a_few_at_a_time():
    net = Measured()
    peers = {"r%02d" % number: "10.0.0.%d" % number for number in range(20)}
    net.look(Latency(), peers)
    assert [len(some) for some in net.asked] == [8, 8, 4] and net.asked[0][0] == "r00"


def test_a_socket_that_cannot_be_had_is_an_answer_that_did_not_come():
    net = Measured(bravo=1.5)
    found = Latency()
    net.look(found, PEERS)
    net.fails = OSError(1)
    assert net.look(found, PEERS, 61) == {}


def test_a_clock_of_microseconds():
    began = compat.ticks_us()

    async def wait():
        await asyncio.sleep(0.02)

    run(wait())
    assert 15000 < compat.ticks_diff(compat.ticks_us(), began) < 20000000
