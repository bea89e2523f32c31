"""One node watches what another does, on whichever runtime this is run with; prints `done` at the end."""

import asyncio
import json
import sys

from errors import module

from bgpmesh import compat


async def main(options):
    api = options.pop("api")
    Client, Registry = module(api)
    endpoints = options.pop("endpoints")
    alfa = Registry(Client(endpoints, **options), "/mesh", "alfa", 300)
    beta = Registry(Client(endpoints, **options), "/mesh", "beta", 300)
    other = Registry(Client(endpoints, **options), "/elsewhere", "beta", 300)
    rings = []
    polled = asyncio.Event()
    polled.set()

    def heard():
        rings.append(compat.monotonic())
        if api == "v2":
            polled.clear()  # its watch ends with the first change

    async def watch():
        while True:
            await alfa.watch(heard)
            await alfa.poll()
            polled.set()

    async def rings_for(doing):
        await polled.wait()  # or that poll finds what is done, and the next watch begins behind it
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
