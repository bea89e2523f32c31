from example import Thing
from fake_http import run

from bgpmesh.bird import ao


def kernel(number):
    """What kernel_has_it() makes of a kernel that answers with this error; None: with none."""

    class Sock:
        def setsockopt(self, level, option, value):
            assert (level, option, len(value)) == (6, 38, 4)
            if number:
                raise OSError(number, "no")

        def close(self):
            pass

    before = ao.socket
    ao.socket = Thing(socket=lambda family, kind: Sock(), AF_INET=2, SOCK_STREAM=1)
    try:
        return ao.kernel_has_it()
    finally:
        ao.socket = before


def bird(outcome):
    """What bird_has_it() makes of a BIRD that prints this as its version, or of an exception."""

    async def execute(argv, timeout):
        assert argv[1:] == ["--version"]
        if isinstance(outcome, Exception):
            raise outcome
        return 0, outcome

    before, ao.compat = ao.compat, Thing(run=execute)
    try:
        return run(ao.bird_has_it())
    finally:
        ao.compat = before


def test_a_kernel_that_knows_the_option_complains_of_the_value():
    assert kernel(22) is True
    for number in (92, 99, 1, None):  # ENOPROTOOPT is another number on MIPS
        assert kernel(number) is False


def test_a_bird_says_which_one_it_is():
    for version in ("2.17.5", "2.18", "3.1.7", "3.2.0", "4.0.0"):
        assert bird(b"BIRD version %s\n" % version.encode()) is True
    for version in ("1.6.8", "2.0.12", "2.16.2", "3.0.0", "3.x", "3", ""):
        assert bird(b"BIRD version %s\n" % version.encode()) is False
    assert bird(OSError(2)) is bird(b"") is bird(b"\xff BIRD") is False


def test_it_takes_the_kernel_and_bird():
    before = ao.kernel_has_it, ao.bird_has_it
    try:
        for kernel, bird, both in ((True, True, True), (False, True, False), (True, False, None), (False, False, None)):

            async def bird_has_it(answer=bird):
                return answer

            ao.kernel_has_it, ao.bird_has_it = lambda answer=kernel: answer, bird_has_it
            assert run(ao.usable()) is both
    finally:
        ao.kernel_has_it, ao.bird_has_it = before
