"""The command `bgpmesh` where nothing else of a router is: neither ubusd nor a configuration."""

import pytest

from bgpmesh import VERSION, cli


@pytest.fixture(params=["micropython", "python3"])
def program(box, request):
    """program(*arguments) runs it; the CompletedProcess."""
    here = box()
    return lambda *arguments: here.agent(request.param, "-m", "bgpmesh", *arguments)


def test_version_and_usage(program):
    done = program("--version")
    assert (done.returncode, done.stdout) == (0, VERSION + "\n")
    done = program("nonsense")
    assert (done.returncode, done.stdout) == (2, cli.USAGE)


def test_without_an_agent_the_status_says_so(program):
    done = program("status")
    right = "bgpmesh: the agent is not running; there is no /etc/config/bgpmesh: reinstall"
    assert done.returncode == 3 and done.stdout.startswith(right) and done.stdout.count("\n") == 1


def test_check_says_what_to_do(program):
    done = program("check")
    assert done.returncode == 1
    assert "BAD   configuration: there is no /etc/config/bgpmesh" in done.stdout
    assert "Traceback" not in done.stdout


def test_who_reads_only_the_first_line_sees_no_traceback(box):
    here = box()
    for runtime, path in (("micropython", "MICROPYPATH=/mnt/src:.frozen"), ("python3", "PYTHONPATH=/mnt/src")):
        done = here.sh(f"{path} {runtime} -m bgpmesh check | true; {path} {runtime} -m bgpmesh check | head -1")
        assert done.stdout.startswith("BAD   configuration") and done.stdout.count("\n") == 1, done.stdout


OUTGROWN = """
import asyncio
import socket
from bgpmesh import agent

class Bus:
    def subscribe(self, *_):
        pass

kept = [socket.socket()]

async def fill():
    while True:
        kept.append(bytes(4000))

agent._COMMAND = "/mnt/begun"
asyncio.run(agent.Agent(Bus(), print)._guard(fill))
"""


def test_an_agent_that_has_outgrown_its_heap_begins_anew_with_a_larger_one(box):
    here = box()
    (here.folder / "outgrown.py").write_text(OUTGROWN)
    script = 'echo "begun with $BGPMESH_HEAP, and $(ls -l /proc/$$/fd | grep -c socket:) sockets: $*"'
    (here.folder / "begun").write_text("#!/bin/sh\n" + script + "\n")
    (here.folder / "begun").chmod(0o755)
    done = here.agent("micropython", "-X", "heapsize=1M", "/mnt/outgrown.py")
    assert "it begins anew with 2" in done.stdout and "begun with 2" in done.stdout, done.stdout
    assert done.stdout.endswith("and 0 sockets: run\n"), done.stdout
