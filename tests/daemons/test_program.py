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
