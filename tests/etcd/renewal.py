"""A client whose certificate, CA or token is renewed while it polls, on whichever runtime this is run with.

Reads JSON: `{"api": "v3", "client": {…}, "renewed": {path: path of what replaces it}, "tokens": 3}`. Prints `ok`
when every poll until the client has had so many tokens went well. With files to replace, it prints the kind of the
error of a poll before it replaces them.
"""

import asyncio
import json
import sys

from errors import module

from bgpmesh import compat
from bgpmesh.etcd import EtcdError


async def main(given):
    Client, Registry = module(given["api"])
    client = Client(**given["client"])
    view = Registry(client, "/mesh", "alfa", 30)
    for path in sorted(given.get("renewed", {})):
        if path.endswith("pem"):
            try:
                await view.poll()
                print("it went well")
            except EtcdError as error:
                print(error.kind)
        with open(given["renewed"][path], "rb") as source, open(path, "wb") as target:
            target.write(source.read())
    await view.poll()
    tokens = set()
    deadline = compat.monotonic() + 60
    while len(tokens) < given.get("tokens", 0) and compat.monotonic() < deadline:
        await view.poll()
        tokens.add(client._token)
        await asyncio.sleep(0.05)
    assert len(tokens) >= given.get("tokens", 0)
    view.close()
    print("ok")


asyncio.run(main(json.loads(sys.stdin.read())))
