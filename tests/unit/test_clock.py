import os

from example import Thing

from bgpmesh import clock
from bgpmesh.etcd import tls

ROOT = __file__[: __file__.rindex("tests/unit")]
EXPIRED = ValueError("The certificate validity has expired\n")  # of mbedtls
EARLY = OSError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] verify failed: certificate is not yet valid (_ssl.c:1)")


class At:
    """Has the clock show this time, in seconds since 1970."""

    def __init__(self, seconds):
        self._seconds = seconds

    def __enter__(self):
        self._before = clock.time
        clock.time = Thing(time=lambda: self._seconds, gmtime=self._before.gmtime)

    def __exit__(self, *_):
        clock.time = self._before


def test_a_clock_from_before_the_package_was_made_is_wrong():
    with At(0):
        assert clock.is_wrong() and clock.shown() == "1970-01-01 00:00 UTC"
    with At(clock.built() - 1):
        assert clock.is_wrong()
    with At(clock.built()):
        assert not clock.is_wrong()
    assert not clock.is_wrong()
    assert clock.built() >= os.stat(clock.__file__)[8] - 2


def test_a_certificate_that_is_not_valid_at_this_time_is_the_clock_s_fault_where_that_is_surely_wrong():
    for error in (EXPIRED, EARLY):
        with At(86400 * 365):
            text = tls.explain(error)
        assert "this router's clock shows 1971-01-01 00:00 UTC, which is before the package was made" in text
        assert "sysntpd" in text and "another certificate" not in text and "\n" not in text
        with At(clock.built() + 60):
            text = tls.explain(error)
        assert "if that is right, the server needs another certificate" in text and "sysntpd" not in text


def test_nothing_else_depends_on_the_time_of_day():
    readers = []
    for folder in ("src/bgpmesh", "src/bgpmesh/etcd", "src/bgpmesh/ubus", "src/bgpmesh/bird", "src/bgpmesh/tinc"):
        for name in sorted(os.listdir(ROOT + folder)):
            if name.endswith(".py"):
                with open("%s%s/%s" % (ROOT, folder, name)) as file:
                    text = file.read()
                for word in ("time.time(", "time_ns(", "gmtime(", "localtime(", "datetime", "strftime(", "import time"):
                    if word in text and name not in readers:
                        readers.append(name)
    # compat has the clocks that never jump; status shows ages of what BIRD dates, by the same clock as BIRD.
    assert sorted(readers) == ["clock.py", "compat.py", "status.py"]
    with open(ROOT + "src/bgpmesh/compat.py") as file:
        text = file.read()
    assert "time.time" not in text and "gmtime" not in text


def test_what_went_wrong_with_tls_is_said_with_what_to_do():
    cases = (
        (OSError(-0x7780), "the server refused it; it may want a client certificate"),
        (OSError(-0x9999), "mbedtls error -0x9999"),
        (OSError(32, "Broken pipe"), "the server closed the connection; it may want a client certificate"),
        (OSError(-32), "the server closed the connection; it may want a client certificate"),
        (ValueError("The certificate is not correctly signed by the trusted CA\n"), "'ca_file'"),
        (ValueError("The certificate Common Name (CN) does not match with the expected CN\n"), "'etcd' must have"),
        (OSError(1, "[X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:3926)"), "'key_file' is not the key"),
    )
    for error, words in cases:
        assert words in tls.explain(error), tls.explain(error)
