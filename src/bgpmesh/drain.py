"""Drain: before this router goes, its peers are told to use it only where there is no other (RFC 8326).

What can be seen from here is that each peer has heard of it: BIRD has announced each own prefix anew, has withdrawn all
that it passed on for others, and the peer's kernel has acknowledged the bytes. What goes by way of this router goes
another way then; of what is for its own prefixes there is none, and that goes on until it stops.
"""

import asyncio

from . import compat, disk, fib
from .bird.control import BirdError
from .model import Problem

NOTHING = {"drained": False, "told": [], "untold": [], "problem": ""}  # the answer of a router without a mesh
PATIENCE = 5  # seconds until all have been told, at most
_TICK = 0.1
_BGP = "00B3"  # port 179, as /proc/net/tcp has it
_TEXT = "this router is drained: its peers use it only where there is no other way; `bgpmesh drain off` ends it"


async def begin(mesh, problems):
    """Tells the peers of a Convergence, and waits for no more than PATIENCE seconds until they have it.

    Returns the answer of the ubus method `drain`: told, untold: names of the peers that have, or may not have, the
    announcement; problem: what went wrong, or "".
    """
    mesh.drained = True
    problems.replace("drain", [Problem("drained", "drain", _TEXT)])
    if not mesh.plan:
        return _answer(True)
    try:
        fresh = mesh.bird.running and not mesh.in_force(True)
        before = await mesh.bird.exports() if fresh else {}
        return await _wait(mesh, _up(mesh), before)
    except BirdError as error:
        mesh.refresh()  # it is told all the same, as soon as BIRD answers
        return _answer(True, problem=str(error))


async def end(mesh, problems):
    """Tells the peers that all is as before. Returns the answer of the ubus method `undrain`."""
    mesh.drained = False
    problems.replace("drain", [])
    mesh.refresh()
    return _answer(False)


def _answer(drained, told=(), untold=(), problem=""):
    return {"drained": drained, "told": list(told), "untold": list(untold), "problem": problem}


def _up(mesh):
    sessions = mesh.bird.sessions
    return sorted([node for node in sessions if sessions[node].state == "Established"])


async def _wait(mesh, peers, before):
    mesh.refresh()
    deadline = compat.monotonic() + PATIENCE
    while True:
        if mesh.in_force(True):
            untold = await _untold(mesh, peers, before)
            problem = ""
        else:
            untold = peers
            problem = "BIRD has not taken the new configuration"
        late = compat.monotonic() > deadline
        if late or not untold and not problem:
            told = [node for node in peers if node not in untold]
            return _answer(True, told, untold, problem)
        await asyncio.sleep(_TICK)


async def _untold(mesh, peers, before):
    """The peers that may not have heard of it."""
    exports = await mesh.bird.exports()
    if not mesh.plan:
        return []  # it stands aside meanwhile, and has no session
    busy = unacknowledged(disk.read_or_none("/proc/net/tcp") or "")
    untold = []
    for node in peers:
        if node in mesh.plan.seats and node in exports:
            member = mesh.plan.seats[node].member
            number = len([prefix for prefix in mesh.plan.announced if prefix.family == 4 or member.ip6])
            # A session that came up anew has counted from nothing, with all of it told to begin with.
            sent, announced = exports[node]
            since = before[node][0] if node in before and sent >= before[node][0] else 0
            # A reflector goes on to reflect.
            passes_on = announced > number and not mesh.plan.bird.reflecting
            if sent < since + number or passes_on or member.ip in busy:
                untold.append(node)
    return untold


def unacknowledged(table):
    """The addresses of those who have yet to acknowledge what BGP sent them, from the text of /proc/net/tcp."""
    found = set()
    for line in table.split("\n")[1:]:
        words = line.split()
        if len(words) > 4 and (words[1].endswith(":" + _BGP) or words[2].endswith(":" + _BGP)):
            if int(words[4].split(":")[0], 16):
                found.add(fib.ipv4(words[2].split(":")[0]))
    return found
