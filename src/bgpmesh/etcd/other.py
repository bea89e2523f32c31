"""The API that option `etcd_api` does not name, on the same servers.

etcd keeps the keys of v2 and v3 apart: what one API writes the other never shows. So a router that was given
another API than the rest of its mesh sees nobody, and nothing fails.
"""

import binascii
import json

from . import open_client
from .http import HttpError
from .registry import MALFORMED
from .v3 import Client, Cluster, EtcdError, encode

MANY = 1 << 30  # more than fit in an answer


async def count_members(config, server):
    """(name of the other API, how many members it has under the same prefix) on one server of a Config.

    0 where that API is not there or does not let us look, too; MANY where they are too many to count.
    """
    name, api, prefix = ("v3", Client, "/peers/") if config.etcd_api == "v2" else ("v2", _OldClient, "/peers")
    client = open_client(api, config, [server])
    prefix = config.etcd_prefix + prefix
    try:
        return name, await (_count_v3(client, prefix) if name == "v3" else client.count(prefix))
    except EtcdError as error:
        return name, MANY if error.kind == "limit" else 0
    finally:
        client.close()


async def _count_v3(client, prefix):
    request = {"key": encode(prefix), "range_end": encode(prefix[:-1] + "0"), "count_only": True}
    answer = await client.call("/v3/kv/range", request)
    try:
        return int(answer.get("count", 0))
    except MALFORMED:
        return 0


class _OldClient(Cluster):
    """As much of the v2 API as it takes to count, without python-etcd: on either runtime."""

    async def count(self, directory):
        """How many keys there are in a directory; 0 without the API. Raises EtcdError."""
        try:
            self._connection = self._connect()
            status, body = await self._connection.get("/v2/keys" + _quote(directory), self._authorization())
            nodes = json.loads(body)["node"].get("nodes", []) if status == 200 else []
            return len([node for node in nodes if not node.get("dir")])
        except HttpError as error:
            raise EtcdError(error.kind, str(error))
        except MemoryError:
            raise EtcdError("limit", "%s answered with more than there is memory for" % self.endpoint)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError):  # RuntimeError: nested too deeply
            return 0

    def _authorization(self):
        if not self._user:
            return ""
        credentials = "%s:%s" % (self._user, self._password)
        return "Authorization: Basic %s\r\n" % binascii.b2a_base64(credentials.encode())[:-1].decode()


def _quote(path):
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/"
    return "".join([char if char in plain else "%%%02X" % ord(char) for char in path])
