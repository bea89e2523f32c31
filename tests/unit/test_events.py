import asyncio

from fake_http import run

from bgpmesh.bird.control import Session
from bgpmesh.events import Events
from bgpmesh.ubus import CONNECTION_FAILED, UbusError


class Bus:
    """Notes what is sent, one thing at a time."""

    def __init__(self):
        self.sent = []
        self.gone = False
        self._sending = False

    async def send_event(self, name, data):
        assert not self._sending, "two at once"
        self._sending = True
        await asyncio.sleep(0)
        self._sending = False
        if self.gone:
            raise UbusError(CONNECTION_FAILED, name)
        self.sent.append((name, data))


def up(*nodes):
    return {node: Session("Established", "", "") for node in nodes}


def told(*looks, bus=None):
    """What is sent for looks at (nodes, online, sessions) one after the other."""
    bus = bus or Bus()

    async def main():
        events = Events(bus)
        for look in looks:
            events.tell(*look)
            while events._queue:
                await asyncio.sleep(0)

    run(main())
    return [(name[8:], data["node"], data.get("change") or data.get("state")) for name, data in bus.sent]


def test_a_member_joins_and_its_session_comes_up():
    looks = (["b"], {"b"}, {}), (["b"], {"b"}, up("b"))
    assert told(*looks) == [("peer", "b", "joined"), ("session", "b", "Established")]


def test_nothing_is_told_twice():
    look = (["b", "c"], {"b"}, up("b"))
    assert len(told(look)) == len(told(look, look, look)) == 3


def test_a_member_goes_offline_comes_back_and_leaves():
    looks = (["b"], {"b"}, {}), (["b"], set(), {}), (["b"], {"b"}, {}), ([], {"b"}, {}), (["b"], {"b"}, {})
    changes = [change for _, _, change in told(*looks)]
    assert changes == ["joined", "offline", "online", "left", "joined"]


def test_a_session_that_bird_no_longer_shows_is_no_state():
    looks = (["b"], {"b"}, up("b")), (["b"], {"b"}, {}), (["b"], {"b"}, {"b": Session("Idle", "", "")})
    assert told(*looks)[1:] == [("session", "b", "Established"), ("session", "b", "Idle")]


def test_without_a_bus_nothing_is_kept():
    bus = Bus()
    bus.gone = True
    assert told((["b", "c"], {"b"}, up("b")), bus=bus) == []
    bus.gone = False
    assert len(told((["b", "c"], {"b"}, {}), (["b"], {"b"}, {}), bus=bus)) == 3


def test_what_there_is_no_memory_for_ends_nothing():
    class Full(Bus):
        async def send_event(self, *_):
            raise MemoryError

    looks = (["b", "c"], {"b"}, {}), (["b", "c"], {"b", "c"}, {})
    assert told(*looks, bus=Full()) == []  # it comes to an end
