"""What is fuzzed for hours by `make fuzz`, here for seconds: inputs of the corpus, cut, joined and spoilt."""

import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[1] / "fuzz"))

import bound
import kept
import targets

PIECES = st.binary(max_size=12) | st.sampled_from(
    [b"\0", b"\xff" * 4, b"\n", b"\n\n", b'"', b"{", b"[", b"]", b"}", b"null", b"-1", b"1e999", b"true", b'""', b"[]"]
)
FORBIDDEN = ("os.remove", "os.rename", "os.mkdir", "os.chmod", "subprocess.Popen", "socket.connect")
_watched = threading.local()


def watch(event, arguments):
    """An audit hook, which can never be taken away: writes, programs and connections while a target runs."""
    if getattr(_watched, "events", None) is not None:
        written = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if written or event in FORBIDDEN:
            _watched.events.append((event, arguments))


sys.addaudithook(watch)


@st.composite
def spoilt(draw, inputs):
    """An input of the corpus with some of its places replaced, or the rest of another one behind it."""
    data = draw(st.sampled_from(inputs))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(PIECES) + data[start + draw(st.integers(0, 12)) :]
    if draw(st.booleans()):
        other = draw(st.sampled_from(inputs))
        data = data[: draw(st.integers(0, len(data)))] + other[draw(st.integers(0, len(other))) :]
    return data


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_nothing_from_outside_is_unexpected_writes_or_takes_much_memory(name):
    target = bound.within(targets.TARGETS[name])
    for data in kept.load(name):  # modules that are imported only when they are needed
        targets.TARGETS[name](data)

    @settings(max_examples=150)
    @given(spoilt(kept.load(name)) | st.binary(max_size=300))
    def read(data):
        _watched.events = []
        try:
            target(data)
        finally:
            events, _watched.events = _watched.events, None
        assert not events

    read()
