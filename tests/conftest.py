"""A router's file system with real daemons in it, for one command at a time; and the project's commands."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "tests"))

from lab import packages, root  # noqa: E402

# However long one example takes, on a machine that is slow and busy.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


class Box:
    """Runs commands where `tinc` 1.0 or 1.1 and `bird` 2 or 3 are installed, in namespaces that end with them.

    folder: found there as /mnt; holds the agent's modules (`src`) and the unit tests' (`unit`).
    """

    def __init__(self, roots, folder, tinc="1.1", bird="3"):
        self.folder = folder
        self._lower = ":".join(
            str(roots[name].relative_to(root.CACHE)) for name in ("tinc-" + tinc, "bird-" + bird, "base")
        )
        shutil.copytree(PROJECT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(PROJECT / "tests" / "unit", folder / "unit", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(PROJECT / "tests" / "golden", folder / "golden")
        for path in (PROJECT / "tests" / "daemons").glob("*_session.py"):
            shutil.copy(path, folder)

    def run(self, *argv, timeout=240):
        """The CompletedProcess of a command; what it printed and complained of is in `stdout`."""
        inner = [str(Path(__file__).with_name("enter")), self._lower, str(self.folder), *argv]
        return subprocess.run(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", *inner],
            cwd=root.CACHE,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def sh(self, script, **kw):
        """As run(), of a shell script."""
        return self.run("sh", "-euc", script, **kw)

    def agent(self, runtime, *arguments, **kw):
        """As run(), of a Python program with the agent's modules on its path, on `micropython` or `python3`."""
        path = {"micropython": "MICROPYPATH=/mnt/src:/mnt/unit:.frozen", "python3": "PYTHONPATH=/mnt/src:/mnt/unit"}
        return self.run("env", path[runtime], "PYTHONDONTWRITEBYTECODE=1", runtime, *arguments, **kw)


def make(*arguments):
    """The CompletedProcess of `make` as a person types it: without what `make test` itself hands down."""
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(["make", *arguments], cwd=PROJECT, env=env, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="session")
def roots():
    return root.build()


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A folder with this tree's packages."""
    return packages.build(tmp_path_factory.mktemp("packages"))


@pytest.fixture
def box(roots, tmp_path):
    """Makes a Box: box(tinc="1.0", bird="2")."""
    return lambda **kw: Box(roots, tmp_path, **kw)
