"""One node watches what another does, on whichever runtime this is run with; prints `done` at the end."""

import asyncio
import json
import sys

from errors import module

from bgpmesh import compat


async def main(options):
    Client, Registry = module(options.pop("api"))
    endpoints = options.pop("endpoints")
    alfa = Registry(Client(endpoints, **options), "/mesh", "alfa", 300)
    beta = Registry(Client(endpoints, **options), "/mesh", "beta", 300)
    other = Registry(Client(endpoints, **options), "/elsewhere", "beta", 300)
    rings = []

    async def watch():
        while True:
            await alfa.watch(lambda: rings.append(compat.monotonic()))
            await alfa.poll()  # the watch of v2 ends with the first change

    async def rings_for(doing):
        before = len(rings)
        await doing
        deadline = compat.monotonic() + 30
        while len(rings) == before:
            assert compat.monotonic() < deadline, "no ring"
            assert not watching.done(), "the watch is over"
            await asyncio.sleep(0.01)

    await alfa.poll()
    watching = asyncio.create_task(watch())
    await rings_for(beta.put_record("one"))
    await rings_for(beta.claim("10.0.0.2"))
    await rings_for(beta.keep_alive())
    # What is elsewhere in the store rings for nobody.
    quiet = len(rings)
    if "user" not in options:
        await other.put_record("one")
    await rings_for(beta.put_record("three"))
    assert len(rings) - quiet <= 2, rings  # a watch that was just opened anew tells of the same change again
    await rings_for(beta.put_record("x" * 9000))
    await rings_for(beta.leave())
    watching.cancel()
    print("done")


asyncio.run(main(json.loads(sys.stdin.read())))
