"""The unit tests once more, on MicroPython: the interpreter that $MICROPYTHON names, or the one on PATH."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNIT = ROOT / "tests" / "unit"
MICROPYTHON = os.environ.get("MICROPYTHON") or "micropython"


@pytest.mark.parametrize("name", sorted(path.name for path in UNIT.glob("test_*.py")))
def test_unit_file_passes_on_micropython(name):
    environment = dict(os.environ, MICROPYPATH=f"{ROOT}/src:{UNIT}:.frozen")
    run = subprocess.run(
        [MICROPYTHON, str(UNIT / "run.py"), name],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout
