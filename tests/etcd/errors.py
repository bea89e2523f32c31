"""How polls end with different arguments of the client, on whichever runtime this is run with.

Reads JSON: `{"api": "v3", "cases": {"name": {"endpoints": […], …}, …}}`. Prints lines of name, tab, `ok` or
`kind: text`.
"""

import asyncio
import json
import sys

from bgpmesh.etcd import EtcdError


def module(api):
    """(Client, Registry) of an API."""
    if api == "v2":
        from bgpmesh.etcd import python_etcd, v2

        return python_etcd.Client, v2.Registry
    from bgpmesh.etcd import registry, v3

    return v3.Client, registry.Registry


async def main(api, cases):
    client, registry = module(api)
    for name in sorted(cases):
        view = registry(client(**cases[name]), "/mesh", "alfa", 30)
        try:
            await view.poll()
            print("%s\tok" % name)
        except EtcdError as error:
            print("%s\t%s: %s" % (name, error.kind, error))
        view.close()


if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    asyncio.run(main(given["api"], given["cases"]))
