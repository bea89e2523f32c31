"""Paths that lose packets: how many sessions BFD ends though nothing has failed."""

import contextlib
import time

from lab.failover import guarded
from lab.lab import Lab
from lab.mesh import sessions

NODES = 5
SHARES = (0.05, 0.2)  # of the packets from one router to another
_LOOK = 5  # seconds between two looks; a session needs 1 to begin anew
_TOLD = 300  # seconds between two lines


def run(report, arguments):
    """The part `loss`."""
    for share in SHARES:
        seconds = arguments.lossy if share == SHARES[0] else arguments.lossy / 4
        what = f"{share:.0%} of all packets are lost"
        report.say(f"loss: a mesh of {NODES}, {seconds:.0f} s in which {what}")
        with Lab("bench", NODES) as lab, contextlib.ExitStack() as cables:
            guarded(lab)
            for router in lab.routers:
                # A path leads through two cables.
                cables.enter_context(lab.bad_cable(router, 1 - (1 - share) ** 0.5, seed=router.number))
            ended = count(lab, report, seconds)
        limit = 0 if share == SHARES[0] else None
        report.add("loss", f"sessions ended while {what}", ended, limit=limit, digits=0, note=f"in {seconds:.0f} s")


def count(lab, report, seconds):
    """How many sessions ended meanwhile, each seen from one of its ends."""
    held = {router.name: sessions(router) for router in lab.routers}
    ended = 0
    begun = told = time.monotonic()
    while time.monotonic() - begun < seconds:
        time.sleep(_LOOK)
        for router in lab.routers:
            now = sessions(router)
            before = held[router.name]
            gone = [peer for peer in before if peer > router.name and peer in now and now[peer] != before[peer]]
            ended += len(gone)
            # A session that is not there now counts once it is there again.
            before.update(now)
            for peer in gone:
                report.say(f"loss: {router.name} has a new session with {peer}")
        if time.monotonic() - told > _TOLD:
            told = time.monotonic()
            report.say(f"loss: {ended} sessions ended in {told - begun:.0f} s")
    for router in lab.routers:
        now = sessions(router)
        ended += len([peer for peer in held[router.name] if peer > router.name and peer not in now])
    return ended
