"""What an error of TLS means for the person who set the options. Imported where there is one."""

import errno

from .. import clock

_GONE = (32, errno.ECONNRESET, errno.ECONNABORTED)  # 32: EPIPE
_NUMBERS = {  # what MicroPython gives for errors of mbedtls
    -0x7280: "the server closed the connection; does it speak TLS?",
    -0x7200: "the server does not speak TLS",
    -0x7780: "the server refused it",
    -32: "the server closed the connection",
}
_REFUSED = (
    "it may want a client certificate: 'cert_file' must be one that its CA signed and that has not expired, "
    "and 'key_file' its key"
)
# Words of OpenSSL and of mbedtls, and what to do. Each that fits is said.
_REMEDIES = (
    (("alert", "refused it", "server closed the connection", "EOF occurred"), _REFUSED),
    (("unable to get", "self-signed", "self signed", "not correctly signed"), "'ca_file' must be what signed it"),
    (
        ("mismatch, certificate", "does not match with the expected"),
        "'etcd' must have a name or an address that is in the server's certificate",
    ),
    (("key values mismatch", "KEY_VALUES_MISMATCH"), "'key_file' is not the key of 'cert_file'"),
)
_TIMES = ("has expired", "not yet valid", "starts in the future")


def explain(error):
    """What an OSError or ValueError of TLS says, in one line, and what to do about it."""
    said = error.args[-1] if error.args else error
    if isinstance(error, OSError) and error.errno in _GONE:
        said = "the server closed the connection"
    elif isinstance(said, int):
        said = _NUMBERS.get(said, "mbedtls error -0x%x" % -said if said < 0 else error)
    text = " ".join(str(said).split())
    remedies = [remedy for words, remedy in _REMEDIES if [word for word in words if word in text]]
    if [word for word in _TIMES if word in text]:
        remedies.append(_time())
    return "; ".join([text] + remedies)


def _time():
    if clock.is_wrong():
        return (
            "this router's clock shows %s, which is before the package was made: that is why. It goes on once "
            "the time is set (by NTP: service sysntpd restart)" % clock.shown()
        )
    return "this router's clock shows %s: if that is right, the server needs another certificate" % clock.shown()
