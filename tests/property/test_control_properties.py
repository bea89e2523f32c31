"""Whatever comes out of the daemons' sockets and logs is read, or refused as the callers expect it."""

import asyncio
import pathlib

from hypothesis import example, given
from hypothesis import strategies as st

from bgpmesh.bird import control as bird
from bgpmesh.tinc import control as tinc

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
REPLIES = sorted(GOLDEN.glob("bird-replies/*/*.txt"))
DUMP = (GOLDEN / "tinc-replies" / "control-1.1.txt").read_text()
LOG = (GOLDEN / "tinc-replies" / "log-1.0.txt").read_text()
CODES = st.sampled_from(["0001", "1002", "1006", "2002", "0000", "8002", "9001", "+", " ", "", "x", "100"])
LINES = st.tuples(
    CODES, st.sampled_from(["-", " ", ""]), st.text(max_size=12) | st.sampled_from(["Routes:", "a BGP up"])
)


class Bytes:
    def __init__(self, data):
        self._data = data

    async def read_some(self):
        piece, self._data = self._data[:50], self._data[50:]
        return piece


@st.composite
def damaged(draw, text):
    """A text with a piece of it replaced."""
    data = text.encode()
    start = draw(st.integers(0, len(data)))
    return data[:start] + draw(st.binary(max_size=12)) + data[start + draw(st.integers(0, 40)) :]


def answers():
    for path in REPLIES:
        yield "".join(line[2:] + "\n" for line in path.read_text().splitlines() if line.startswith("< "))


ANSWERS = list(answers())
BYTES = (
    st.binary()
    | st.lists(LINES.map("".join)).map(lambda lines: "\n".join([*lines, "0000 \n"]).encode("utf-8", "replace"))
    | st.sampled_from(ANSWERS).flatmap(damaged)
)


@given(BYTES)
@example(b"1002-\n0000 \n")
@example(b"1002-a BGP\n1006-\n Routes:\n0000 \n")
@example(b"1002-a BGP\n1006-\n Routes: x\n0000 \n")
def test_any_bytes_are_a_reply_or_none(data):
    try:
        reply = bird.parse_reply(asyncio.run(bird._read_reply(Bytes(data))))
    except (ValueError, EOFError):
        return
    assert reply and all(isinstance(code, int) and isinstance(text, str) for code, text in reply)
    for session in bird.parse_protocols(reply).values():
        assert session.state
    assert all(isinstance(count, int) for count in bird.parse_routes(reply).values())


@given(damaged(DUMP) | st.binary())
def test_any_node_dump_is_nodes_or_an_error(data):
    try:
        tinc.parse_nodes(data.decode("utf-8", "replace").split("\n"))
    except tinc.TincError:
        pass


@given(damaged(LOG) | st.binary())
@example(b"Nodes:\n a at b status\n")
@example(b"Nodes:\n a at b status 18\n")
@example(b"Nodes:\n a at b status 18 nexthop\n")
@example(b"Nodes:\n a at b status x nexthop a\n")
@example(b"Edges:\n a to\n")
def test_any_log_is_nodes_and_lines(data):
    nodes, edges, rest = tinc.parse_log(data.decode("utf-8", "replace"))
    assert all(len(pair) == 2 for pair in tinc.pairs(edges))
    assert all(line.strip() for line in rest)
