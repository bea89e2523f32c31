"""A path that fails without a word: ends of the lab's tests of it, and of its measurement."""

import contextlib
import re

from .mesh import SOON, sessions, settled
from .ping import INTERVAL, Ping


def guarded(lab):
    """Wait until the mesh has settled, with a BFD session between every two routers where they are to have any."""
    settled(lab)
    for router in lab.routers:
        want = 0 if router.options.get("bfd_interval") == "0" else len(sessions(router))
        what = f"{want} BFD sessions of {router.name}"
        lab.wait(lambda r=router, n=want: r.bird("show bfd sessions").count(" Up ") == n, SOON, what)


@contextlib.contextmanager
def cut(lab, one, other):
    """Nothing gets from one of the two to the other over the underlay, and nobody says so."""
    lab.cut(one, other)
    try:
        yield
    finally:
        lab.mend(one, other)


def relay(one, other):
    """The name of the router by way of which tincd 1.1 reaches the other; None while they have a tunnel."""
    tinc = ["tinc", "-c", "/var/run/bgpmesh/tinc", "--pidfile=/var/run/bgpmesh/tinc.pid", "dump", "nodes"]
    found = re.search(rf"^{other.name} .* nexthop (\w+) ", one.exec(tinc).stdout, re.MULTILINE)
    return found and found[1] != other.name and found[1]


def when_their_path_is_cut(lab, one, other, watched=15):
    """Seconds for which two LANs do not reach each other, watched until so many seconds of requests were answered."""
    guarded(lab)
    # Where a path was cut before, packets may still go by way of another.
    lab.wait(lambda: not relay(one, other) and not relay(other, one), 2 * SOON, "a tunnel of their own", 0.2)
    ping = Ping(one, other)
    with cut(lab, one, other):
        _outlast(lab, ping, watched)
        return ping.longest()


def when_their_relay_dies(lab, one, other, watched=15):
    """Seconds for which two LANs do not reach each other, whose path is cut and whose relay loses its power."""
    guarded(lab)
    with cut(lab, one, other):
        lab.wait(lambda: relay(one, other) and relay(other, one), SOON, "a way by way of another", 0.2)
        guarded(lab)
        third = lab.router(int(relay(one, other)[1:]))
        ping = Ping(one, other)
        third.link_down()  # or its kernel would say goodbye to all that it has connections with
        third.stop()
        try:
            _outlast(lab, ping, watched)
            return ping.longest()
        finally:
            third.start()


def _outlast(lab, ping, seconds):
    # By default longer than BGP's hold time: what fails later for the first failure's sake counts, too.
    enough = ping.answers() + seconds / INTERVAL
    lab.wait(lambda: ping.answers() > enough, 2 * SOON, "answers", 0.2)
