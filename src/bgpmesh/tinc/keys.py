"""This router's tinc keys: made once by tinc itself, kept on flash."""

from .. import compat, disk
from ..model import RUN, STATE

TIMEOUT = 600  # an RSA key takes a slow router minutes
_SCRATCH = RUN + "/keys"


class Keys:
    """The public keys. rsa: PEM text; ed25519: tinc 1.1's one line, or None with tinc 1.0."""

    def __init__(self, rsa, ed25519):
        self.rsa = rsa
        self.ed25519 = ed25519


async def load_or_make(tinc_version, report):
    """The router's Keys; those that are missing are made. Raises OSError, saying what failed.

    A private key is stored before its public half, and both are made anew where one is missing, so
    that a cut at any point leaves a pair or nothing.
    """
    disk.make_folder(STATE)
    rsa = disk.read(STATE + "/rsa_key.pub")
    if not rsa or not compat.exists(STATE + "/rsa_key.priv"):
        report("making the RSA key; a slow router takes minutes")
        if tinc_version == "1.0":
            argv = ["/usr/sbin/tincd", "-c", _SCRATCH, "-K2048"]
        else:
            argv = ["/usr/sbin/tinc", "--batch", "-c", _SCRATCH, "generate-rsa-keys", "2048"]
        rsa = await _make(argv, "rsa_key")
    ed25519 = None
    if tinc_version != "1.0":
        ed25519 = disk.read(STATE + "/ed25519_key.pub")
        if not ed25519 or not compat.exists(STATE + "/ed25519_key.priv"):
            argv = ["/usr/sbin/tinc", "--batch", "-c", _SCRATCH, "generate-ed25519-keys"]
            ed25519 = await _make(argv, "ed25519_key")
    return Keys(rsa.strip(), ed25519.split()[-1] if ed25519 else None)


async def _make(argv, name):
    disk.remove_folder(_SCRATCH)
    disk.make_folder(_SCRATCH + "/hosts")
    disk.write(_SCRATCH + "/tinc.conf", "Name = key\n", 0o600)
    try:
        status, output = await compat.run(argv, TIMEOUT)
        private = disk.read("%s/%s.priv" % (_SCRATCH, name))
        public = disk.read(_SCRATCH + "/hosts/key")
        if status or not private or not public:
            raise OSError(5, "%s made no key: %s" % (" ".join(argv), output.decode().strip()[-200:]))
    finally:
        disk.remove_folder(_SCRATCH)
    disk.write("%s/%s.priv" % (STATE, name), private, 0o600)
    disk.write("%s/%s.pub" % (STATE, name), public.strip() + "\n", 0o644)
    return public
