"""A registry in memory with the interface of bgpmesh.etcd.registry.Registry. Runs on both runtimes."""

from bgpmesh.etcd import EtcdError
from bgpmesh.records import Entry


class Store:
    """What the registries of several routers share. records: node -> Entry; claims: address -> node; alive: a set."""

    def __init__(self):
        self.records = {}
        self.claims = {}
        self.alive = set()
        self.statements = {}
        self.revision = 1
        self.reachable = True
        self.wipes = 0

    def put(self, node, text):
        self.revision += 1
        created = self.records[node].created if node in self.records else self.revision
        self.records[node] = Entry(text, created, self.revision)

    def state(self, node, text):
        self.revision += 1
        self.statements[node] = Entry(text, self.revision, self.revision)

    def wipe(self):
        """Loses everything, revisions included."""
        self.records = {}
        self.claims = {}
        self.alive = set()
        self.statements = {}
        self.revision = 1
        self.wipes += 1


class Registry:
    """One router's view, as old as its last poll. puts: texts of the records it put."""

    def __init__(self, store, node):
        self.store = store
        self.node = node
        self.members = {}
        self.alive = set()
        self.claims = {}
        self.statements = {}
        self.revision = 0
        self.generation = 0
        self.passed_over = 0
        self.overfull = self.crowded = False
        self.judge = None
        self._read = {}
        self.puts = []
        self._wipes = store.wipes
        self._seen = None

    cluster = "77"

    def admit(self, name):
        pass

    def reread(self):
        self._read = {}
        self._seen = None

    def recall(self, entries, cluster):
        pass

    async def poll(self):
        self._ask()
        store = self.store
        if self._wipes != store.wipes:
            self._wipes = store.wipes
            self.generation += 1
        seen = (
            sorted([(node, store.records[node].modified) for node in store.records]),
            sorted(store.claims.items()),
            sorted(store.alive),
            sorted([(node, store.statements[node].modified) for node in store.statements]),
            store.wipes,
        )
        changed = seen != self._seen
        self._seen = seen
        self.members = {node: self._own(node, entry) for node, entry in store.records.items()}
        self.claims = dict(store.claims)
        self.alive = set(store.alive)
        self.statements = dict(store.statements)
        self.revision = store.revision
        return changed

    def _own(self, node, entry):
        """An entry of this view's own, made and judged when it is read for the first time."""
        known = self._read.get(node)
        if not known or known[0] is not entry:
            known = self._read[node] = entry, Entry(entry.text, entry.created, entry.modified)
            if self.judge:
                self.judge(node, known[1])
        return known[1]

    async def keep_alive(self):
        self._ask()
        if self.node in self.store.alive:
            return False
        self.store.alive.add(self.node)
        self.store.revision += 1
        return True

    async def fall_silent(self):
        self._ask()
        if self.node in self.store.alive:
            self.store.alive.discard(self.node)
            self.store.revision += 1

    async def put_record(self, text):
        self._ask()
        self.puts.append(text)
        self.store.put(self.node, text)

    async def restore_statement(self, node, text, modified):
        self._ask()
        found = self.store.statements.get(node)
        if (found.modified if found else 0) == modified:
            self.store.state(node, text)

    async def claim(self, address):
        self._ask()
        if address not in self.store.claims:
            self.store.revision += 1
            self.store.claims[address] = self.node
        return self.store.claims[address]

    async def steal(self, address, owner):
        self._ask()
        if self.store.claims.get(address) == owner:
            self.store.revision += 1
            self.store.claims[address] = self.node
        return self.store.claims.get(address) == self.node

    async def release(self, address):
        self._ask()
        if self.store.claims.get(address) == self.node:
            self.store.revision += 1
            del self.store.claims[address]

    async def withdraw(self):
        self._ask()
        self.store.revision += 1
        self.store.records.pop(self.node, None)

    async def remove(self, node, farewell=None):
        self._ask()
        self.store.revision += 1
        self.store.records.pop(node, None)
        if farewell:
            self.store.put(node, farewell)
        self.store.alive.discard(node)
        for address in [address for address in self.store.claims if self.store.claims[address] == node]:
            del self.store.claims[address]

    async def leave(self, farewell=None):
        await self.remove(self.node, farewell)

    def close(self):
        pass

    def _ask(self):
        if not self.store.reachable:
            raise EtcdError("unreachable", "nobody answers")
