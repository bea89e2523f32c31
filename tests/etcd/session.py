"""Two nodes' life in the registry, on whichever runtime this is run with; prints `done` at the end.

Reads the API and the arguments of the client as JSON:
`{"api": "v3", "endpoints": ["http://127.0.0.1:2379"], "user": …}`.
"""

import asyncio
import json
import sys

from errors import module

from bgpmesh import compat


def texts(registry):
    return {node: registry.members[node].text for node in registry.members}


async def main(options):
    # Long for who lives through all of this; short for who is waited for to die.
    short = 5
    if options["api"] == "v2" and "user" in options:
        # The server hashes the password at every request, which takes a slow or busy machine a second.
        short = 15
        options["timeout"] = 30
    Client, Registry = module(options.pop("api"))
    endpoints = options.pop("endpoints")
    alfa = Registry(Client(endpoints, **options), "/mesh", "alfa", 300)
    beta = Registry(Client(endpoints, **options), "/mesh", "beta", short)
    assert await alfa.poll() is False
    assert await alfa.keep_alive() is True
    assert await alfa.keep_alive() is False
    await alfa.put_record('{"ip":"10.0.0.1"}')
    assert await alfa.claim("10.0.0.1") == "alfa"
    assert await beta.claim("10.0.0.1") == "alfa"
    assert await beta.claim("10.0.0.2") == "beta"
    await beta.keep_alive()
    await beta.put_record("ä")
    assert await alfa.poll() is True
    assert texts(alfa) == {"alfa": '{"ip":"10.0.0.1"}', "beta": "ä"}, alfa.members
    assert alfa.alive == {"alfa", "beta"}
    assert alfa.claims == {"10.0.0.1": "alfa", "10.0.0.2": "beta"}
    assert await alfa.poll() is False
    # Nobody keeps beta alive: its lease ends.
    deadline = compat.monotonic() + 60
    while "beta" in alfa.alive and compat.monotonic() < deadline:
        await asyncio.sleep(0.1)
        await alfa.poll()
    assert alfa.alive == {"alfa"}
    assert await beta.keep_alive() is True
    assert beta.generation == 1
    await alfa.poll()
    assert alfa.alive == {"alfa", "beta"}
    for _ in range(2):
        await beta.fall_silent()
        await alfa.poll()
        assert alfa.alive == {"alfa"} and "beta" in alfa.members
    assert await beta.keep_alive() is True
    assert beta.generation == 1
    await alfa.poll()
    assert alfa.alive == {"alfa", "beta"}
    assert await alfa.steal("10.0.0.2", "gamma") is False
    assert await alfa.steal("10.0.0.2", "beta") is True
    await alfa.release("10.0.0.2")
    for number in range(40):
        await Registry(beta._client, "/mesh", "n%d" % number, 30).put_record("x" * 800)
    await alfa.poll()
    assert len(alfa.members) == 42
    for number in range(40):
        await Registry(beta._client, "/mesh", "n%d" % number, 30).leave()
    await beta.leave()
    await alfa.poll()
    assert (sorted(alfa.members), alfa.alive, alfa.claims) == (["alfa"], {"alfa"}, {"10.0.0.1": "alfa"})
    await alfa.leave()
    assert await alfa.poll() is True
    assert (alfa.members, alfa.alive, alfa.claims) == ({}, set(), {})
    assert alfa.generation == 0
    alfa.close()
    beta.close()
    print("done")


asyncio.run(main(json.loads(sys.stdin.read())))
