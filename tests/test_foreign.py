"""The unit tests on other architectures' MicroPython, by QEMU, with the bytecode that the package installs.

`make unit-foreign` runs them all, on those that ARCH names; else what depends on integers' width and on the order of
bytes runs on one with 32 bits, and on one whose highest byte comes first. Debian has no MicroPython for MIPS.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lab import packages, root

PROJECT = Path(__file__).resolve().parents[1]
UNIT = PROJECT / "tests" / "unit"
# Debian's name -> QEMU's
ARCHS = {
    "armhf": "arm", "armel": "arm", "i386": "i386", "arm64": "aarch64", "riscv64": "riscv64", "s390x": "s390x",
}
FILES = sorted(path.name for path in UNIT.glob("test_*.py"))
QUICK = [
    f"test_{name}.py" for name in (
        "address", "bird_render", "cache", "clock", "compat", "config", "corpus", "disk", "ed25519", "fib", "lan",
        "latency", "membership", "neighbours", "plan", "records", "roster", "status", "stream", "tinc_render",
        "ubus_blob", "ubus_client", "uci",
    )
]
ASKED = os.environ.get("ARCH", "").split()
# posix_spawn tells of what is not there by memory that it shares with its child; QEMU's child has a copy.
NOT_BY_QEMU = {"test_compat.test_a_program_that_is_not_there"}


@pytest.fixture(scope="session")
def modules(installed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    packages.unpack(installed, "micropython", folder)
    return folder / "usr" / "lib" / "bgpmesh"


@pytest.fixture(scope="module")
def micropython():
    """micropython(arch): the command; its root is made by the first call."""
    def command(arch):
        folder = root.CACHE / "foreign" / arch
        folder.parent.mkdir(exist_ok=True)
        with root.locked(folder.parent / "lock"):
            if not (folder / "ready").exists():
                shutil.rmtree(folder, ignore_errors=True)
                root.extract(folder, arch, ["micropython"])
                # Debian's /lib is a link.
                (folder / "lib").symlink_to("usr/lib")
                (folder / "ready").touch()
        qemu = root.CACHE / "qemu-user-static/usr/bin" / f"qemu-{ARCHS[arch]}-static"
        return [qemu, "-L", folder, folder / "usr/bin/micropython", "-X", "heapsize=2M"]

    return command


@pytest.mark.parametrize("arch", ASKED or ["armhf", "s390x"])
@pytest.mark.parametrize("name", FILES if ASKED else QUICK)
def test_unit_file_passes_on_another_architecture(micropython, modules, arch, name):
    run = subprocess.run(
        [*micropython(arch), UNIT / "run.py", name],
        env=dict(os.environ, MICROPYPATH=f"{modules}:{UNIT}:.frozen"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=500,
    )
    assert re.search(r"^[1-9]\d* passed", run.stdout, re.M), run.stdout
    assert set(re.findall(r"^FAILED ([\w.]+)", run.stdout, re.M)) <= NOT_BY_QEMU, run.stdout


@pytest.mark.parametrize("arch", ASKED or ["i386"])
def test_commands_have_room_on_the_stack(micropython, modules, arch, tmp_path):
    # The least is on i386. What is imported the deepest are the owner's commands, and the agent.
    commands = [["-m", "bgpmesh", *words] for words in (["secret"], ["keygen", "-s", tmp_path / "key"], ["etcd-role"])]
    for words in [*commands, ["-c", "from bgpmesh import cli; cli.load(); import bgpmesh.agent, bgpmesh.exporter"]]:
        run = subprocess.run(
            [*micropython(arch), *words],
            env=dict(os.environ, MICROPYPATH=f"{modules}:.frozen"),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
