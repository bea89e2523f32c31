"""Fixtures for tests on a running lab."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.lab import Lab


@pytest.fixture(scope="module")
def lab(request, installed):
    """A running lab for the module, named after it; `LAB = {…}` there are the arguments of Lab()."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    with Lab(name, installed=installed, **getattr(request.module, "LAB", {})) as running:
        yield running
