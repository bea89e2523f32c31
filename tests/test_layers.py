"""The core takes values and gives values: it imports nothing that reads, writes, waits or draws lots.

And no module is imported within too many others.
"""

import ast
from pathlib import Path

import pytest

from bgpmesh import cli

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


def needed(name):
    """The modules of the package that a module imports when it is imported itself, in that order."""
    path = ROOT / (name.replace(".", "/") + ".py")
    folder = name if (ROOT / name).is_dir() else name.rpartition(".")[0]
    if folder == name:
        path = ROOT / name / "__init__.py"
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            above = folder.split(".")[: len(folder.split(".")) - node.level + 1] if folder else []
            place = [*above, *(node.module or "").split(".")]
            for found in [place, *([*place, alias.name] for alias in node.names)]:
                found = ".".join(word for word in found if word)
                if found and any((ROOT / (found.replace(".", "/") + end)).exists() for end in (".py", "/__init__.py")):
                    yield found


def deepest(name, loaded):
    """How many imports are within each other when a module is imported, and those it needs; `loaded` gains them."""
    if name in loaded:
        return 0
    loaded.add(name)
    return 1 + max([deepest(other, loaded) for other in needed(name)], default=0)


@pytest.mark.parametrize("name", ["agent", "check", "owner", "etcd.role", "options", "exporter", "tinc.rotation"])
def test_few_imports_are_within_each_other(name):
    # With __main__ that makes six. MicroPython's stack has room for seven on x86 with 32 bits, eight on ARM and MIPS.
    loaded = set()
    assert [module for module in (*cli.LAYERS, name) if deepest(module, loaded) > 5] == []
