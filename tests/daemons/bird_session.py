"""Talks to a real bird through the agent's own control module, and prints what came of it as JSON.

Runs on both runtimes, in a box of tests/daemons, where bird runs on /run/one.conf.
"""

import asyncio
import json

from bgpmesh import compat, disk
from bgpmesh.bird import ao, control

CONF = "/run/two.conf"


async def failure(coroutine):
    """[kind of the BirdError, its text] in which it ends, or None."""
    try:
        await coroutine
    except control.BirdError as error:
        return [type(error).__name__, str(error)]
    return None


async def names(socket):
    return sorted(await socket.sessions())


async def comes(socket, wanted):
    """Waits until these are the sessions; whether they were within a minute."""
    deadline = compat.monotonic() + 60
    while await names(socket) != wanted:
        if compat.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def main():
    socket = control.Socket("/run/bird.ctl")
    deadline = compat.monotonic() + 60
    while await failure(socket.version()) and compat.monotonic() < deadline:
        await asyncio.sleep(0.05)
    found = {"version": await socket.version(), "first": await names(socket)}
    found["ao"] = [ao.kernel_has_it(), await ao.bird_has_it(), await ao.usable()]
    first = disk.read("/run/one.conf")
    session = (await socket.sessions())["_bravo"]
    found["session"] = [session.state, session.since, session.info]
    found["routes"] = await socket.routes()

    disk.write(CONF, first.replace("hold time 9;", "hold time x;"), 0o600)
    found["check refused"] = await failure(socket.check(CONF))
    found["configure refused"] = await failure(socket.configure(CONF, found["first"]))
    found["after refusal"] = await names(socket)

    another = first + "protocol bgp _emil from mesh_member {\n\tneighbor 10.0.0.77 as 65000;\n}\n"
    disk.write(CONF, another, 0o600)
    found["check accepted"] = await failure(socket.check(CONF))
    control.TIMEOUT, control.UNDO_AFTER = 2, 4
    found["unexpected"] = await failure(socket.configure(CONF, found["first"]))
    found["taken back"] = await comes(socket, found["first"])
    control.TIMEOUT, control.UNDO_AFTER = 10, 30
    found["configure accepted"] = await failure(socket.configure(CONF, found["first"] + ["_emil"]))
    found["second"] = await names(socket)
    disk.write(CONF, first, 0o600)
    found["back"] = await failure(socket.configure(CONF, found["first"]))
    found["confirmed"] = await socket.ask("configure confirm")
    print(json.dumps(found))


asyncio.run(main())
