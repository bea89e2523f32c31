"""The core takes values and gives values: it imports nothing that reads, writes, waits or draws lots."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "bgpmesh"
CORE = (
    "address compact config ed25519 lan metrics model plan records reflectors roster secret sha512 uci usign "
    "bird/render tinc/graph tinc/render"
).split()
LIBRARY = {"binascii", "hashlib", "json", "struct"}
ALLOWED = {name.rpartition("/")[2] for name in CORE} | {"compat", "VERSION", "render"}


def imported(path):
    """The names of modules, and of what is taken from the package itself, that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.module.rpartition(".")[2]
            if not node.module or node.module in ("bird", "tinc", "etcd", "ubus"):
                yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_no_edge(name):
    found = set(imported(ROOT / (name + ".py")))
    assert found <= LIBRARY | ALLOWED | {"bird", "tinc"}


def test_nothing_imports_the_agent():
    paths = [path for path in ROOT.rglob("*.py") if path.name != "cli.py"]
    assert [path.name for path in paths if "agent" in set(imported(path))] == []
