from example import Thing, folder
from fake_http import run

from bgpmesh import disk
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
    """What bird_has_it() makes of a BIRD that ends with this status, or an exception."""
    place = folder("ao")
    before = ao.compat, ao._TRIAL
    ao._TRIAL = place + "/trial"

    async def parse(argv, timeout):
        assert "authentication ao;" in disk.read(argv[3])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome, b""

    ao.compat = Thing(run=parse)
    try:
        found = run(ao.bird_has_it())
        assert not disk.read(ao._TRIAL)
        return found
    finally:
        ao.compat, ao._TRIAL = before
        disk.remove_folder(place)


def test_a_kernel_that_knows_the_option_complains_of_the_value():
    assert kernel(22) is True
    for number in (92, 99, 1, None):  # ENOPROTOOPT is another number on MIPS
        assert kernel(number) is False


def test_a_bird_that_can_read_it_can_do_it():
    assert bird(0) is True
    assert bird(1) is False and bird(OSError(2)) is False


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
