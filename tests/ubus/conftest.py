"""Fixtures for tests on a running stand-in for ubusd, procd and netifd."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from standin_process import LAN, Standin


@pytest.fixture
def standin(tmp_path):
    """A running stand-in with one interface and no service."""
    running = Standin(tmp_path)
    running.start({"services": {}, "interfaces": [LAN]})
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def empty_bus(tmp_path_factory):
    """The socket of a stand-in for ubusd alone."""
    running = Standin(tmp_path_factory.mktemp("bus"))
    running.start({}, arguments=["--bus-only"])
    yield running.socket
    assert running.stop() == 0
