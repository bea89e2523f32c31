"""An RPKI validator for labs: Debian's stayrtr."""

import contextlib
import json
import subprocess

from lab import netns
from lab.lab import PROJECT

ADDRESS = "198.18.255.2"
SERVER = f"{ADDRESS}:3323"
STAYRTR = PROJECT / ".cache" / "stayrtr" / "usr" / "bin" / "stayrtr"


def attach(lab):
    """Gives the fabric the address that the validator has."""
    netns.batch(lab.fabric, ["link set lo up", f"address add {ADDRESS}/16 dev br0"])


@contextlib.contextmanager
def validator(lab, path):
    """stayrtr on the fabric, with the ROAs in the file at `path`, which it reads every second."""
    options = {"cache": path, "bind": SERVER, "metrics.addr": "", "refresh": "1", "checktime": "false"}
    argv = [STAYRTR, *[f"-{name}={value}" for name, value in options.items()]]
    process = subprocess.Popen(
        ["ip", "netns", "exec", lab.fabric, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def roas(path, found):
    """Has the validator name these: prefix → number of the AS that may announce it."""
    rows = [{"prefix": prefix, "asn": asn, "maxLength": int(prefix.split("/")[1])} for prefix, asn in found.items()]
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"roas": rows}))
    fresh.rename(path)
