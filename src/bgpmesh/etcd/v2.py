"""The registry by etcd's v2 API. Only for CPython, as python_etcd.py.

v2 serves keys as files in directories. A key with a TTL stands for the lease, prevExist and prevIndex for the
conditions of a transaction, and X-Etcd-Index for the store's revision. Names that begin with `_` are hidden:
they are left out where a directory is listed.
"""

from etcd import EtcdAlreadyExist, EtcdCompareFailed, EtcdKeyNotFound

from .. import compat
from . import registry

_PEERS, _ALIVE, _CLAIMS = (0, 1, 2)


class Registry(registry.View):
    """This node's view of the registry, and its own part of it, by etcd's v2 API.

    The lease is the TTL of alive/<node>: whoever removes that key ends it. client: a python_etcd.Client.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._indexes = {}  # (table, name) -> modifiedIndex, as of the last poll

    async def _poll(self):
        directories = [prefix[:-1] for prefix in self._prefixes]

        def read(endpoint):
            # What the member knew for the first answer it knows for the others.
            return [endpoint.list(directory, directory == directories[0]) for directory in directories]

        answers = await self._client.call(read, ", ".join(self._prefixes))
        tables = [answer[3] for answer in answers]
        cluster, index = answers[0][:2]  # keys put meanwhile have later indexes
        term = max([answer[2] or 0 for answer in answers])
        another = self.revision and self._is_another(cluster, index, term, tables)
        if another:
            self.generation += 1
            self._shown = 0
            self._term = 0
        self._cluster = cluster
        self._term = max(self._term, term)
        self._indexes = {}
        self._begin(self._tables)
        anew, self._doubt = another or self._doubt, False
        for table in self._tables:
            for name, value, created, modified in tables[table]:
                self._indexes[table, name] = modified
                old = self._views[table].get(name) if table in registry.TEXTS else None
                if anew or not old or old.modified != modified:
                    self._take(table, name, value, created, modified)
            self._forget(self._views[table], set([key[0] for key in tables[table]]))
        self.revision = index

    def _is_another(self, cluster, index, term, tables):
        """Whether the store is not the continuation of what was read from it before."""
        if cluster != self._cluster or index < self.revision or 0 < term < self._term:
            return True
        for table in self._tables:
            for name, _, _, modified in tables[table]:
                if modified <= self.revision and self._indexes.get((table, name)) != modified:
                    return True
        return False

    async def keep_alive(self):
        """Keeps this node alive: to be called after every poll. True when the lease is a new one.

        Refreshes the TTL when a quarter of it has passed (polls come every third), which wakes no watchers.
        """
        key = self._key(_ALIVE, self._node)
        if self._shown and self.revision >= self._shown and self._node not in self.alive:
            self._lose()
        now = compat.monotonic()
        if self._shown and now - self._renewed >= self._ttl / 4:
            if await self._client.call(lambda endpoint: _refresh(endpoint, key, self._ttl), key):
                self._renewed = now
            else:
                self._lose()
        if self._shown:
            return False
        now = compat.monotonic()
        put = await self._client.call(lambda endpoint: endpoint.write(key, "", ttl=self._ttl), key)
        try:
            self._shown = int(put.modifiedIndex)
        except registry.MALFORMED:
            raise self._odd()
        self._renewed = now
        return True

    def _lose(self):
        self._shown = 0
        self.generation += 1

    async def watch(self, ring):
        """Calls ring() as soon as something changes in the store, until the server ends that.

        It says no more than that a poll would find something.
        """
        await self._client.watch(self._prefixes[0].rpartition("/peers/")[0], self.revision + 1, ring)

    async def put_record(self, text):
        """Puts this node's record."""
        key = self._key(_PEERS, self._node)

        def put(endpoint):
            # A plain set would be a new key, and lose the seniority that createdIndex stands for.
            try:
                endpoint.write(key, text, prevExist=True)
            except EtcdKeyNotFound:
                endpoint.write(key, text, prevExist=False)

        await self._client.call(put, key)

    async def put_statement(self, node, text):
        """Puts what the network's owner says of a node."""
        key = self._key(registry.TRUST, node)
        await self._client.call(lambda endpoint: endpoint.write(key, text), key)

    async def restore_statement(self, node, text, modified):
        """The same where there is still what was put at this index, or nothing (0)."""
        key = self._key(registry.TRUST, node)
        condition = {"prevIndex": modified} if modified else {"prevExist": False}

        def restore(endpoint):
            try:
                endpoint.write(key, text, **condition)
            except (EtcdAlreadyExist, EtcdKeyNotFound, EtcdCompareFailed):
                pass

        await self._client.call(restore, key)

    async def claim(self, address):
        """Claims the address where nobody has; returns the node that owns it."""
        key = self._key(_CLAIMS, address)

        def claim(endpoint):
            owner = None
            while owner is None:  # until it was not given up between two requests, or the time is over
                try:
                    endpoint.write(key, self._node, prevExist=False)
                    return self._node
                except EtcdAlreadyExist:
                    owner = endpoint.owner(key)[0]
            return owner

        return await self._client.call(claim, key)

    async def steal(self, address, owner):
        """Takes over the claim on the address where `owner` still holds it; whether this node owns it now."""
        key = self._key(_CLAIMS, address)

        def steal(endpoint):
            # prevValue could not compare with an empty value, nor with unusual bytes.
            found, index = endpoint.owner(key)
            if found == owner:
                try:
                    endpoint.write(key, self._node, prevIndex=index)
                    return True
                except (EtcdKeyNotFound, EtcdCompareFailed):
                    return False
            return found == self._node

        return await self._client.call(steal, key)

    async def release(self, address):
        """Gives up the claim on the address where it is this node's."""
        key = self._key(_CLAIMS, address)
        await self._client.call(lambda endpoint: endpoint.remove(key, prevValue=self._node), key)

    async def withdraw(self):
        """Deletes what is under this node's record's key: what is put next is a key of its own."""
        key = self._key(_PEERS, self._node)
        await self._client.call(lambda endpoint: endpoint.remove(key), key)

    async def remove(self, node, farewell=None):
        """Takes a node out of the registry: its record, claims and sign of life.

        farewell: a text to leave in the record's place.
        """
        if not self.revision:
            await self.poll()
        keys = [self._key(_PEERS, node), self._key(_ALIVE, node)]
        claims = [self._key(_CLAIMS, address) for address in sorted(self.claims) if self.claims[address] == node]

        def remove(endpoint):
            if farewell:
                endpoint.write(keys[0], farewell)
            for key in keys[1:] if farewell else keys:
                endpoint.remove(key)
            for key in claims:
                endpoint.remove(key, prevValue=node)

        await self._client.call(remove, ", ".join(keys + claims))

    async def leave(self, farewell=None):
        """Takes this node out of the registry."""
        await self.remove(self._node, farewell)
        self._shown = 0

    async def fall_silent(self):
        """Takes this node's sign of life away; keep_alive() puts it there again. Once is enough."""
        key = self._key(_ALIVE, self._node)
        if self._shown:
            await self._client.call(lambda endpoint: endpoint.remove(key), key)
        self._shown = 0


def _refresh(endpoint, key, ttl):
    """Gives a key its TTL (seconds) again; whether it is still there."""
    try:
        endpoint.refresh(key, ttl)
    except EtcdKeyNotFound:
        return False
    return True
