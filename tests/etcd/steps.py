"""Polls as it is told, on whichever runtime this is run with.

Reads a line of JSON, `{"api": "v3", "client": {…}}`, and then a line for each poll, for which it prints `ok` or
the kind and text of the error.
"""

import asyncio
import json
import sys

from errors import module

from bgpmesh import compat
from bgpmesh.etcd import EtcdError


async def main(given):
    Client, Registry = module(given["api"])
    view = Registry(Client(**given["client"]), "/mesh", "alfa", 30)
    while sys.stdin.readline():
        try:
            await view.poll()
            print("ok")
        except EtcdError as error:
            print("%s: %s" % (error.kind, error))
        compat.flush()
    view.close()


asyncio.run(main(json.loads(sys.stdin.readline())))
