"""The stand-in answers captured conversations with the real ubusd frame by frame as that did.

Random ids of the capture are matched with those of this run as they appear; sequence numbers of events, which
count per run, and the caller's user and group are left out of the comparison.
"""

import asyncio
from pathlib import Path

import pytest

from bgpmesh.ubus import blob

CAPTURES = Path(__file__).resolve().parents[1] / "golden" / "ubus" / "captures.txt"
NUMBERS = (blob.ATTR_OBJID, blob.ATTR_OBJTYPE, blob.ATTR_TARGET)
# Who connects when; other scenarios go by provider first, callers last. What is not here but captured needs
# the monitor or the ACLs of ubusd, which the stand-in has not.
ORDERS = {
    "events": ["listener", "syslistener", "provider", "caller1", "caller2"],
    "duplicate_object": ["provider", "caller"],
    "subscribe": ["provider", "sub", "caller1", "caller2"],
    "subscriber_leaves": ["provider", "sub"],
    "ubus_cli_subscribe": ["provider", "sub", "caller"],
    "pyubus_listen": ["provider", "py", "caller"],
}
WITHOUT = ("monitor", "permission")


def captures():
    """{scenario: {role: [(mark, frame or None)]}}."""
    frames, conversations = CAPTURES.read_text().split("\n\n")
    frames = [bytes.fromhex(line) for line in frames.split("\n")]
    found = {}
    for line in conversations.splitlines():
        name, *steps = line.split()
        scenario, _, role = name.partition(".")
        steps = [(step[0], None if step[1:] == "eof" else frames[int(step[1:])]) for step in steps]
        found.setdefault(scenario, {})[role] = steps
    return found


SCENARIOS = captures()


class Replay:
    """One scenario: all its connections and what is common to them."""

    def __init__(self):
        self.ids = {}  # captured id to that of this run, as four bytes
        self.steps = 0

    def ours(self, data):
        for captured, here in self.ids.items():
            data = data.replace(captured, here)
        return data

    def learn(self, captured, here):
        if captured > 1024:
            self.ids.setdefault(captured.to_bytes(4, "big"), here.to_bytes(4, "big"))


class Conversation:
    """One connection of a scenario."""

    def __init__(self, replay, role, steps):
        self.replay = replay
        self.role = role
        self.steps = steps
        self.at_end = False
        self.proceed = asyncio.Event()
        self.task = None

    async def run(self, path):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            await self.converse(reader, writer)
        finally:
            writer.close()

    async def converse(self, reader, writer):
        for number, (mark, frame) in enumerate(self.steps):
            self.replay.steps += 1
            if mark == ">" and frame:
                writer.write(self.replay.ours(frame))
            elif mark == "<" and frame:
                header = await reader.readexactly(blob.HEADER)
                body = await reader.readexactly(blob.decode_header(header)[3])
                self.compare(number, frame, header + body)
            elif mark == ">":
                self.at_end = True
                await self.proceed.wait()
                return

    def compare(self, number, expected, found):
        kind, serial, peer, _ = blob.decode_header(expected[: blob.HEADER])
        here = blob.decode_header(found[: blob.HEADER])
        self.replay.learn(peer, here[2])
        theirs = list(blob.attributes(expected[blob.HEADER :]))
        mine = list(blob.attributes(found[blob.HEADER :]))
        for (key, value), (_, other) in zip(theirs, mine, strict=False):
            if key in NUMBERS:
                self.replay.learn(value, other)
        data, other = dict(theirs).get(blob.ATTR_DATA), dict(mine).get(blob.ATTR_DATA)
        if kind == blob.INVOKE and peer == 0 and data and b"\0\2id\0" in data and other:
            # The id of the object that an event of ubusd is about
            ids = [blob.decode_table(each)["id"] & 0xFFFFFFFF for each in (data, other)]
            self.replay.learn(*ids)
        event = kind == blob.INVOKE and peer == 0
        wanted = (kind, None if event else serial, self.number(peer), self.comparable(expected))
        got = (here[0], None if event else here[1], here[2], self.comparable(found))
        assert got == wanted, f"{self.role}, step {number}"

    def number(self, value):
        raw = value.to_bytes(4, "big")
        return int.from_bytes(self.replay.ids.get(raw, raw), "big")

    def comparable(self, frame):
        attributes = blob.attributes(self.replay.ours(frame[blob.HEADER :]))
        return [each for each in attributes if each[0] not in (blob.ATTR_USER, blob.ATTR_GROUP)]


async def replay(path, scenario):
    state = Replay()
    roles = SCENARIOS[scenario]
    # Shorter names first, so that caller2 comes before caller10
    others = sorted(set(roles) - {"provider"}, key=lambda role: (len(role), role))
    order = ORDERS.get(scenario) or ["provider"] * ("provider" in roles) + others
    assert sorted(order) == sorted(roles)
    conversations = [Conversation(state, role, roles[role]) for role in order]

    reader, writer = await asyncio.open_unix_connection(path)
    await reader.readexactly(blob.HEADER)

    async def settle():
        """Waits until nothing moves while ubusd answers this many pings, or somebody failed."""
        quiet, steps = 0, state.steps
        while quiet < 20:
            writer.write(blob.encode_frame(blob.PING, 1, 0, []))
            await reader.readexactly(2 * blob.HEADER + 8)
            for each in conversations:
                if each.task and each.task.done():
                    each.task.result()
            quiet = quiet + 1 if steps == state.steps else 0
            steps = state.steps

    try:
        for each in conversations:
            each.task = asyncio.create_task(each.run(path))
            await settle()
        while not all(each.task.done() for each in conversations):
            ending = [each for each in conversations if each.at_end and not each.task.done()]
            assert ending, [each.role for each in conversations if not each.task.done()]
            ending[0].proceed.set()
            await settle()
    finally:
        for each in conversations:
            each.task and each.task.cancel()
        writer.close()


@pytest.mark.parametrize("scenario", sorted(set(SCENARIOS) - set(WITHOUT)))
def test_conversation(empty_bus, scenario):
    asyncio.run(asyncio.wait_for(replay(empty_bus, scenario), 60))
