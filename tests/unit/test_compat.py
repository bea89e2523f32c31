import asyncio
import errno
import os
import socket
import struct

from fake_http import descriptors, run

from bgpmesh import compat, disk


def ran(*argv, timeout=30):
    return run(compat.run(list(argv), timeout))


def failure(*argv, timeout=30):
    """The errno of the OSError that a program ends in."""
    try:
        found = ran(*argv, timeout=timeout)
    except OSError as error:
        return error.errno
    raise AssertionError("no error but %r" % (found,))


def children():
    """Pids of this process's children, those that nobody waited for included."""
    pid = compat.getpid()
    return (disk.read_or_none("/proc/%d/task/%d/children" % (pid, pid)) or "").split()


class NothingLeft:
    """Checks that neither descriptors nor children are left."""

    def __enter__(self):
        ran("true")
        self._before = descriptors(), children()

    def __exit__(self, kind, *_):
        assert kind or (descriptors(), children()) == self._before


# Programs


def test_output_and_exit_status():
    with NothingLeft():
        assert ran("true") == (0, b"")
        assert ran("false") == (1, b"")
        assert ran("sh", "-c", "echo out; echo err >&2; exit 7") == (7, b"out\nerr\n")
        assert ran("/bin/sh", "-c", "exit 255")[0] == 255


def test_arguments_go_as_they_are():
    words = ["", " ", "*", "$HOME", "a'b\"c", "a\nb", ";true", "é", "-n"]
    assert ran("printf", "%s|", *words)[1] == ("|".join(words) + "|").encode()


def test_there_is_no_input():
    assert ran("cat") == (0, b"")


def test_a_program_that_is_not_there():
    with NothingLeft():
        assert failure("/no/such/program") == errno.ENOENT
        assert failure("no-such-program-anywhere") == errno.ENOENT
        assert failure("/etc/passwd") == errno.EACCES


def test_a_program_that_takes_too_long_is_killed():
    with NothingLeft():
        began = compat.monotonic()
        assert failure("sleep", "60", timeout=0.2) == errno.ETIMEDOUT
        assert failure("sh", "-c", "echo begun; exec sleep 60", timeout=0.2) == errno.ETIMEDOUT
        assert failure("sh", "-c", "trap '' TERM INT HUP; while :; do sleep 0.02; done", timeout=0.2) == errno.ETIMEDOUT
        assert compat.monotonic() - began < 30


def test_a_program_that_closes_its_output_and_goes_on_is_waited_for():
    with NothingLeft():
        assert ran("sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 3") == (3, b"")
        assert failure("sh", "-c", "exec >&- 2>&-; exec sleep 60", timeout=0.3) == errno.ETIMEDOUT


def test_a_program_that_a_signal_ends():
    for name, number in (("TERM", 15), ("KILL", 9), ("HUP", 1)):
        assert ran("sh", "-c", "kill -%s $$" % name)[0] == 128 + number


def test_the_start_of_a_long_output_is_kept():
    with NothingLeft():
        status, output = ran("sh", "-c", "head -c 1000000 /dev/zero; exit 5")
        assert (status, output) == (5, bytes(4096))
        status, output = ran("sh", "-c", "printf 0123456789; head -c 4096 /dev/zero")
        assert output == b"0123456789" + bytes(4086)
        status, output = run(compat.run(["sh", "-c", "head -c 1000000 /dev/zero; exit 5"], 30, 65536))
        assert (status, output) == (5, bytes(65536))


def test_programs_run_beside_each_other():
    async def main():
        began = compat.monotonic()
        found = await asyncio.gather(*[compat.run(["sh", "-c", "sleep 1; exit %d" % n], 30) for n in range(8)])
        assert compat.monotonic() - began < 6
        return [status for status, _ in found]

    with NothingLeft():
        assert run(main()) == list(range(8))


def test_a_caller_that_gives_up_leaves_nothing():
    async def main():
        try:
            await asyncio.wait_for(compat.run(["sleep", "60"], 30), 0.2)
            raise AssertionError("no error")
        except asyncio.TimeoutError:
            pass

    with NothingLeft():
        run(main())


def test_a_program_gets_no_descriptors_of_ours():
    async def main():
        compat.Signals(compat.SIGHUP)
        return await asyncio.gather(*[compat.run(["ls", "/proc/self/fd"], 30) for _ in range(3)])

    ours = set(os.listdir("/proc/self/fd")) | set(["0", "1", "2", "3"])  # 3 is the folder that ls reads
    for status, output in run(main()):
        assert status == 0
        assert not [name for name in output.decode().split() if name not in ours], output


def test_a_program_starts_with_no_signal_blocked_or_ignored():
    async def main():
        compat.Signals(compat.SIGHUP)
        return await compat.run(["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status"], 30)

    status, output = run(main())
    assert status == 0
    for line in output.decode().split("\n")[:-1]:
        mask = line.partition(":")[2]
        assert int(mask, 16) & (1 << 12 | 1) == 0, line  # SIGPIPE and SIGHUP


# Signals


def test_signals_come_one_by_one():
    async def main():
        signals = compat.Signals(compat.SIGHUP, compat.SIGTERM)
        for number in (compat.SIGHUP, compat.SIGTERM, compat.SIGHUP):
            compat.kill(compat.getpid(), number)
            assert await asyncio.wait_for(signals.next(), 20) == number
        waiting = asyncio.create_task(signals.next())
        await asyncio.sleep(0.01)
        compat.kill(compat.getpid(), compat.SIGHUP)
        return await asyncio.wait_for(waiting, 20)

    assert run(main()) == compat.SIGHUP


def test_signals_are_blocked_whichever_number_the_system_has_for_it():
    if compat.RUNTIME == "micropython":
        before = compat._c_sigprocmask
        # MIPS has BLOCK, UNBLOCK and SETMASK from 1 to 3, others have them from 0 to 2.
        for known, asked in (((1, 2, 3), [3]), ((0, 1, 2), [3, 2])):
            numbers = []

            def sigprocmask(how, mask, earlier, known=known, numbers=numbers):
                numbers.append(how)
                if how not in known:
                    raise OSError(errno.EINVAL)

            compat._c_sigprocmask = sigprocmask
            try:
                compat._set_signal_mask(bytes(128))
            finally:
                compat._c_sigprocmask = before
            assert numbers == asked


# Small things


def test_the_clock_goes_on():
    began = compat.monotonic()
    run(nap())
    assert 0.04 < compat.monotonic() - began < 20


async def nap():
    await asyncio.sleep(0.05)


def test_random_fractions():
    found = [compat.random_fraction() for _ in range(200)]
    assert all([0 <= fraction < 1 for fraction in found])
    assert min(found) < 0.2 and max(found) > 0.8


def test_exists():
    assert compat.exists("/") and compat.exists("/proc/self/status")
    assert not compat.exists("/no/such") and not compat.exists("/proc/self/status/x")


def test_sha256():
    # FIPS 180-2, appendix B.1
    assert compat.sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hmac_sha256():
    # RFC 4231, test cases 1 to 4, 6 and 7
    for key, message, digest in (
        (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            b"\xaa" * 131,
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be "
            b"hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ):
        assert compat.hmac_sha256(key, message) == digest
    assert compat.hmac_sha256(b"x" * 64, b"") == compat.hmac_sha256(b"x" * 64 + b"", b"")
    assert compat.hmac_sha256(b"x" * 64, b"") != compat.hmac_sha256(b"x" * 65, b"")


def test_the_code_that_is_given_back_comes_back_when_it_is_needed():
    for _ in range(2):
        compat.release_code()
        assert compat.sha256(b"abc")[:8] == "ba7816bf"
        assert compat.exists("/etc/passwd") and not compat.exists("/no/such/file")
        assert "%.2f" % compat.monotonic()


def test_of_more_addresses_than_there_is_room_for_none_is_a_part_of_one():
    # As MicroPython's child process prints 192.0.2.1; the family is in the processor's own order.
    line = (struct.pack("H", socket.AF_INET) + bytes.fromhex("0000c0000201") + bytes(8)).hex().encode() + b"\n"

    async def many(argv, timeout, most=4096):
        return 0, (line * 200)[:most]

    async def main():
        before, compat.run = compat.run, many
        try:
            return set([compat.address_text(one) for one in await compat.resolve("192.0.2.1.example", 0)])
        finally:
            compat.run = before

    if compat.RUNTIME == "micropython":
        assert run(main()) == set(["192.0.2.1"])
