"""What all labs of this machine share, and what the last of them puts back as it was.

/run/netns: the first `ip netns add` of a machine mounts it. The neighbour tables: one for all network
namespaces, 1024 entries by default; above, the kernel drops packets ("neighbor table overflow") and every
router of every lab loses its peers at random. 25 routers that all talk to each other need 1,250.
"""

import contextlib
import fcntl
import json
from pathlib import Path

from . import netns
from .root import CACHE

STATE = CACHE / "lab" / "host.json"
TABLES = [Path(f"/proc/sys/net/{family}/neigh/default") for family in ("ipv4", "ipv6")]


def prepare(name, nodes):
    """Make room for the lab `name` of so many routers. Raises CommandError when the kernel refuses."""
    with _state() as state:
        state["labs"] = sorted({*state["labs"], name})
        state["mounted"] = state["mounted"] or not netns.mounted()
        # On the fabric and over the tunnels everybody talks to everybody, and to etcd. The kernel begins to
        # throw out entries at the first threshold and refuses new ones at the third.
        need = 2 * nodes * (nodes + 1)
        for path in [table / f"gc_thresh{step}" for table in TABLES for step in (3, 2, 1)]:
            found = path.read_text().strip()
            if int(found) < need * int(path.name[-1]):
                state["limits"].setdefault(str(path), found)
                try:
                    path.write_text(str(need * int(path.name[-1])))
                except OSError as e:
                    raise netns.CommandError(f"{nodes} routers need {path} raised from {found}: {e.strerror}")


def release(name):
    """The lab `name` is gone; the last one puts everything back."""
    with _state() as state:
        state["labs"] = [lab for lab in state["labs"] if lab != name]
        if state["labs"]:
            return
        for path, found in sorted(state["limits"].items()):
            Path(path).write_text(found)
        state["limits"] = {}
        if state["mounted"] and not netns.names(".*"):
            while netns.mounted():
                netns.run(["umount", str(netns.NETNS)])
            with contextlib.suppress(FileNotFoundError):
                netns.NETNS.rmdir()
            state["mounted"] = False


@contextlib.contextmanager
def _state():
    STATE.parent.mkdir(parents=True, exist_ok=True)
    with open(STATE, "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        state = json.loads(file.read() or '{"labs": [], "limits": {}, "mounted": false}')
        try:
            yield state
        finally:
            file.seek(0)
            file.truncate()
            file.write(json.dumps(state))
