"""The mesh's registry: who is a member, who is alive, who claimed which address.

Keys under the prefix: peers/<node> holds a member's record, alive/<node> nothing, under the lease
the node keeps, claims/<address> the name of the node that owns the address, and trust/<node> what the
network's owner says of the node, which is read where option `trust` asks for it.
"""

from .. import compat
from ..records import MAX_LENGTH, Entry
from .v3 import GRANT, EtcdError, decode, encode

_PEERS, _ALIVE, _CLAIMS, TRUST = (0, 1, 2, 3)
TEXTS = (_PEERS, TRUST)  # tables of texts, which have bounds
_PAGE = 16  # keys of a table in one answer: what bounds its size
_MOST = 1 << 16  # keys in one poll: what bounds the time it takes
_STRANGERS = 64  # keys of each table that are kept though no member is known to own them
_STATEMENT = 2048  # bytes of a statement, at most
_AUDIT = 60  # polls after which all keys are compared, whatever the counts say; two for each member of a large mesh
_LONG = 400  # digits (base64) of a key that is longer than the name of anything could be
_OWN = 4  # claims in this node's own name that are more than anybody else's could be
_PARTS = 32  # of a table whose keys are counted to find what is gone
_WRONG = 4  # of these that are looked at one by one, at most
_MANY = 64  # members of a mesh that is large: of fewer all is a page or two, and what all do is little
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:"

MALFORMED = (
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,  # of int(1e999), which JSON can hold
)  # what taking an answer apart may raise


class _Diverged(Exception):
    """The store is not the continuation of what was read from it before."""


class View:
    """What a node sees of the registry, brought up to date by polls: what both of etcd's APIs have in common.

    members: dict node -> records.Entry; alive: set of nodes; claims: dict address -> node; statements: dict
    node -> records.Entry, where `signed`. Empty before the first poll but for what is recalled, and changed
    in place by each; names and texts are as stored, checked by nobody, except that unusual bytes in a name
    are written \\xNN. revision: that of the store, as of when that was last seen, 0 before. endpoint: who
    is asked. last_success: compat.monotonic() of the last good poll, or None; failures: polls that failed
    since; error: the text of the last one's error, None after a good one. generation: grows whenever the
    store turns out to have lost writes (wiped, restored, replaced) or this node's lease: then all of one's
    own is to be put again. judge: what is called with the name and Entry of each record that is read, and
    tells whether it counts; None where all do. Of keys that no member owns, and records that do not count,
    _STRANGERS are kept and the others passed over: anybody may have put any number of them. passed_over:
    records that were. overfull: whether there are more claims than are read.

    client: a Client of the API; prefix: comes before every key; node: this node's name; ttl: seconds for which
    it counts as alive after its last sign of life. Every coroutine here raises EtcdError.
    """

    def __init__(self, client, prefix, node, ttl, signed=False):
        self.members = {}
        self.alive = set()
        self.claims = {}
        self.statements = {}
        self.revision = 0
        self.last_success = None
        self.failures = 0
        self.error = None
        self.generation = 0
        self.judge = None
        self.overfull = False
        self._client = client
        self._node = node
        self._ttl = ttl
        self._tables = (_PEERS, _ALIVE, _CLAIMS, TRUST)[: 4 if signed else 3]
        self._prefixes = [prefix + ("/peers/", "/alive/", "/claims/", "/trust/")[table] for table in self._tables]
        self._views = (self.members, self.alive, self.claims, self.statements)
        self._cluster = None
        self._term = 0
        self._bad = set()  # names of the records kept that do not count
        self._spare = [0, 0, 0, 0]  # keys of each table that were passed over, since it was read as a whole
        self._strange = [0, 0, 0, 0]  # and those that were kept though they are nobody's
        self._mine = 0  # claims in this node's name, since the table was read as a whole
        self._passed = [False] * 4  # whether there were some when it was read as a whole before
        self._doubt = False  # whether the next poll is to read everything
        self._recount = False  # whether what was passed over may be a new member's
        self._changed = False
        self._told = 0  # records that were passed over at the last good poll
        self._renewed = 0.0  # when the lease was, by compat.monotonic()
        self._shown = 0  # the revision from which on polls must find alive/<node>, 0 before it was put

    @property
    def endpoint(self):
        """The endpoint that is asked, as text."""
        return self._client.endpoint

    async def poll(self):
        """Brings the view up to date; whether anything in it changed."""
        try:
            try:
                await self._poll()
            except EtcdError as error:
                if error.kind == "permission":
                    await self.try_rights()  # which of them it is
                raise
        except EtcdError as error:
            self.failures += 1
            self.error = str(error)
            raise
        self.failures = 0
        self.error = None
        self.last_success = compat.monotonic()
        changed = self._changed or self.passed_over != self._told  # collected over failed polls, too
        self._changed = False
        self._told = self.passed_over
        return changed

    @property
    def cluster(self):
        """The id of the cluster that the last poll asked, where the API has one, else None."""
        return self._cluster

    @property
    def passed_over(self):
        """How many records were passed over."""
        return self._spare[_PEERS]

    def recall(self, entries, cluster):
        """Begins with node -> records.Entry of members, which were read from the cluster of this id some time ago."""

    @property
    def crowded(self):
        """Whether there are claims that were passed over."""
        return self.overfull or self._spare[_CLAIMS] > 0

    def admit(self, name):
        """A record that is kept counts from now on."""
        if name in self._bad:
            self._bad.discard(name)
            self._recount = self._recount or any(self._spare)

    def reread(self):
        """Has the next poll read everything anew."""
        self._doubt = True

    def close(self):
        """Closes the connection; the next call opens it again."""
        self._client.close()

    def _key(self, table, name):
        return self._prefixes[table] + name

    def _take(self, table, name, value, created, modified):
        """Takes one key into the view. value: bytes, None for a record that is too long to be looked at."""
        if table == _PEERS:
            changed = self._take_record(name, Entry(_text(value), created, modified))
        else:
            owner = as_name(value) if table == _CLAIMS else name
            view = self._views[table]
            # What the owner says is of a router that waits for it, too.
            nobodys = owner not in self.members or owner in self._bad and table != TRUST
            # Who may claim an address may claim any number of them; a member needs one, or two for a moment.
            nobodys = nobodys or table == _CLAIMS and len(view) >= 2 * len(self.members)
            if table == _CLAIMS and name not in view and owner == self._node:
                self._mine += 1
                nobodys = self._mine > _OWN
            elif owner == self._node:
                nobodys = False
            if name not in view and nobodys:
                if self._strange[table] >= _STRANGERS:
                    self._spare[table] += 1
                    return
                self._strange[table] += 1
            if table == _ALIVE:
                changed = name not in view
                view.add(self._shared(name))
            elif table == _CLAIMS:
                changed = view.get(name) != owner
                view[name] = self._shared(owner)
            else:
                old = view.get(name)
                text = _text(value) if value and len(value) <= _STATEMENT else None
                entry = view[name] = Entry(text, created, modified)
                changed = old is None or (old.text, old.created) != (entry.text, created)
        self._changed = self._changed or changed

    def _take_record(self, name, entry):
        """Takes a record into the view; whether that is a change."""
        old = self.members.get(name)
        text = entry.text
        if self.judge and not self.judge(name, entry):
            if old is None and len(self._bad) >= _STRANGERS:
                self._spare[_PEERS] += 1
                return False
            self._bad.add(name)
        else:
            fresh = old is None or name in self._bad
            self._bad.discard(name)
            self._recount = self._recount or fresh and any(self._spare)
            self._doubt = self._doubt or fresh and self._spare[TRUST] > 0
        self.members[name] = entry
        return old is None or (old.text, old.created) != (text, entry.created)

    def _shared(self, name):
        """The name as its member's record has it: one text for all places."""
        entry = self.members.get(name)
        member = entry and entry.verdict and entry.verdict[1]
        return member.node if member else name

    def _begin(self, tables):
        """The tables are about to be read as a whole."""
        for table in tables:
            self._passed[table] = self._spare[table] > 0
            self._spare[table] = 0
            owners = self.claims.values() if table == _CLAIMS else self._views[table]
            if table == _CLAIMS:
                self._mine = len([name for name in owners if name == self._node])
            bad = () if table == TRUST else self._bad
            self._strange[table] = len([name for name in owners if name not in self.members or name in bad])

    def _forget(self, view, names):
        self._drop(view, [name for name in view if name not in names])

    def _drop(self, view, names):
        for name in names:
            self._changed = True
            if view is self.alive:
                view.remove(name)
            else:
                del view[name]
            if view is self.members:
                self._bad.discard(name)

    def _odd(self):
        error = EtcdError("protocol", "%s answers, but not like etcd" % self.endpoint)
        self._client.turn()
        return error


class Registry(View):
    """This node's view of the registry, and its own part of it, by etcd's v3 API.

    client: a v3.Client. While nothing changes a poll is one small request, which keeps the lease alive, too. A change
    costs one more, and a delete some more, whose size does not grow with the mesh, or little.
    """

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._endpoint = None  # the one that the view was last compared with
        self._polls = 0  # since then
        self._audit = _AUDIT  # after which number of them that is due
        self._calm = False  # whether the last look found nothing, and nothing has rung since
        self._lease = None

    def recall(self, entries, cluster):
        """As of View. What has not changed since is not fetched again, which is most of what a start costs etcd.

        That the store is the one of then is seen by its cluster, and by the revision of every key. Of a few
        members these could be the same by accident in one that was set up anew.
        """
        if cluster and len(entries) >= _MANY:
            for name in entries:
                self._take_record(name, entries[name])
            self._cluster = cluster
            self.revision = max([entry.modified for entry in entries.values()])

    async def _poll(self):
        if self.revision and not self._doubt:
            try:
                if await self._is_quiet():
                    return
                if not self._doubt:
                    await self._follow()
                    return
            except _Diverged:
                self._part()
        self._doubt = True
        self._calm = False
        self.overfull = False
        self._cluster = None
        self.revision = (await self._read(self._tables, 0, False))[0]
        self._doubt = self._recount = False
        try:
            if any(self._spare[_ALIVE:]):  # now that it is known who the members are
                for table in self._tables[_ALIVE:]:
                    await self._read([table], 0, table != TRUST)
        except _Diverged:
            self._part()
            self._doubt = True
        self._compared()

    def _part(self):
        """What was read before is of another store."""
        self.generation += 1
        self._shown = min(self._shown, 1)

    async def _is_quiet(self):
        """Whether the store is at the revision of the last poll, by what comes with the lease's renewal.

        That is of the member that was asked, and it has what it told before: what it does not have yet the next poll
        finds. Whatever else it says is for a look at the keys to judge.
        """
        self._polls += 1
        # What a failed look left undone is at the revision that was seen.
        if not self._calm or self.failures or not self._lease or self._is_audit_due():
            return False
        header = await self._renew()
        try:
            found = header and (header["cluster_id"], int(header["revision"]), int(header["raft_term"]))
        except MALFORMED:
            raise self._odd()
        return found == (self._cluster, self.revision, self._term) and self._endpoint == self.endpoint

    def _is_audit_due(self):
        return self._polls >= self._audit or self._endpoint != self.endpoint or self._recount

    async def _follow(self):
        """Reads what changed since the last poll; where counts tell of a delete, looks for what is gone."""
        before = self.revision
        self.revision, counts = await self._read(self._asked(), before + 1, False)
        self._calm = self.revision == before
        if self._is_audit_due():
            self._recount = self.overfull = False
            unknown = self._tables[TRUST:] if not self._endpoint else ()  # statements are not recalled
            await self._read([table for table in self._tables if table not in unknown], 0, True)
            if unknown:
                await self._read(unknown, 0, False)
            self._compared()
            return
        for table in self._asked():
            if len(self._views[table]) + self._spare[table] != counts[table] and not await self._find_gone(table):
                await self._read([table], 0, True)

    def _asked(self):
        """The tables that are read at every poll."""
        return [table for table in self._tables if table != _CLAIMS or not self.overfull]

    def _compared(self):
        self._endpoint = self.endpoint
        self._polls = 0
        # All keys are much of a large mesh, and all its routers may have started at once.
        self._audit = max(_AUDIT, 2 * len(self.members)) * (1 + compat.random_fraction()) // 2

    async def _find_gone(self, table):
        """Drops what was deleted from a large table; whether it is found, by counting the keys of its parts."""
        view = self._views[table]
        names = sorted(view)
        size = (len(names) + _PARTS - 1) // _PARTS
        if size < 4 or self._spare[table] or any(["\\" in name for name in names]):
            return False  # to have all of a small one is no more
        parts = [names[at : at + size] for at in range(0, len(names), size)]
        firsts = [self._prefixes[table]] + [self._key(table, part[0]) for part in parts[1:]]
        spans = [
            {"key": encode(key), "range_end": encode(end)}
            for key, end in zip(firsts, firsts[1:] + [self._prefixes[table][:-1] + "0"])
        ]
        found = await self._ranges([dict(span, count_only=True) for span in spans])
        try:
            wrong = [at for at, one in enumerate(found) if int(one.get("count", 0)) != len(parts[at])]
            if len(wrong) > _WRONG:
                return False
            start = len(self._prefixes[table].encode())
            for at in wrong:
                one = (await self._ranges([dict(spans[at], keys_only=True, limit=2 * size)]))[0]
                if one.get("more"):
                    return False
                there = set([as_name(decode(item["key"])[start:]) for item in one.get("kvs", ())])
                self._drop(view, [name for name in parts[at] if name not in there])
        except MALFORMED:
            raise self._odd()
        return True

    async def _ranges(self, spans):
        """The answers to range requests."""
        operations = [{"request_range": span} for span in spans]
        answer = await self._client.call("/v3/kv/txn", {"success": operations}, ", ".join(self._prefixes))
        try:
            found = [one["response_range"] for one in answer["responses"]]
            if len(found) != len(spans):
                raise ValueError
            return found
        except MALFORMED:
            raise self._odd()

    async def _read(self, tables, since, names):
        """Reads keys modified at revision `since` or later into the view; with 0 all, and forgets all others.

        names: whether records are compared by their revisions instead of fetched. Returns the store's
        revision and {table: number of keys}; raises _Diverged. Page by page, so a table is never in
        memory twice; keys put meanwhile have later revisions: they come with the next poll.
        """
        pending = [(table, self._prefixes[table]) for table in tables]
        limit = 4 * _PAGE if names else _PAGE
        skip = False  # whether the next key's value is too long to be fetched
        revision = 0
        counts = {}
        total = 0
        seen = [set() for _ in self._views]
        if not since:
            self._begin(tables)
        while pending:
            # First all records, so that it is known whose the other keys are.
            alone = limit == 1 or total and not since and not names and pending[0][0] == _PEERS
            asked = pending[:1] if alone else pending
            try:
                answer = await self._range(asked, since, limit, names, skip)
            except EtcdError as error:
                if error.kind != "limit" or skip and total > _MOST:
                    raise
                if skip:
                    pending[0] = await self._step_over(*pending[0], since, error)
                    total += 1
                    skip = False
                    continue
                skip = limit == 1  # then this one is too long: it is stepped over
                limit = 1
                continue
            try:
                if skip and not revision:
                    # The first key may be one that was put since, and not too long at all: it is asked for again.
                    revision = self._check(answer["header"])
                    skip = False
                    continue
                revision = revision or self._check(answer["header"])
                pending = pending[len(asked) :]
                for place, (table, key) in enumerate(asked):
                    key = key.encode() if isinstance(key, str) else key
                    part = answer["responses"][place]["response_range"]
                    counts.setdefault(table, int(part.get("count", 0)))
                    for item in part.get("kvs", ()):
                        total += 1
                        before, key = key, decode(item["key"])
                        if not before <= key:  # it would never end
                            raise ValueError
                        name = as_name(key[len(self._prefixes[table].encode()) :])
                        # One that was put since, in front of the one to step over, comes with the next poll.
                        if names or not skip or int(item["mod_revision"]) <= revision:
                            self._take_item(table, name, item, names, skip)
                        if not since and name in self._views[table]:
                            seen[table].add(name)
                    if part.get("more"):
                        if not part.get("kvs"):
                            raise ValueError
                        pending.insert(0 if alone else len(pending), (table, key + b"\0"))
            except MALFORMED:
                raise self._odd()
            claims = [item for item in pending if item[0] == _CLAIMS and counts.get(_CLAIMS, 0) > _MOST // 2]
            if total > _MOST and claims:
                # Any member may write any number of claims, and must not keep all from hearing anything else.
                self.overfull = True
                pending = [item for item in pending if item not in claims]
                total = 0
            if total > _MOST and pending:
                many = "%s has more than %d keys of the mesh: somebody fills it; see what is under %s"
                raise EtcdError("limit", many % (self.endpoint, _MOST, ", ".join(self._prefixes)))
            compat.pace_collector()
            large = not names and any([table in TEXTS for table, _ in pending])
            limit = min(_PAGE if large else 4 * _PAGE, 2 * limit)
            skip = False
        if not since:
            for table in [table for table in tables if table != _CLAIMS or not self.overfull]:
                self._forget(self._views[table], seen[table])
        return revision, counts

    async def _step_over(self, table, key, since, error):
        """(table, key) of what comes behind the next key, whose name alone is too long for an answer.

        Raises the error that led here where it is not, which is where there is no memory for any answer.
        """
        span = {"key": encode(key), "range_end": encode(self._prefixes[table][:-1] + "0"), "limit": 1}
        if since:
            span["min_mod_revision"] = since
        start = await self._client.beginning("/v3/kv/range", dict(span, keys_only=True), 2 * _LONG)
        found = start.partition(b'"key":"')[2].partition(b'"')[0][:_LONG]
        try:
            first = decode(found.decode())
        except ValueError:
            first = b""
        behind = key.encode() if isinstance(key, str) else key
        if len(found) < _LONG or not first.startswith(self._prefixes[table].encode()) or first < behind:
            raise error
        last = first.rstrip(b"\xff")
        last = last[:-1] + bytes([last[-1] + 1])  # before this one comes all that begins as the key does
        same = {"key": encode(first), "range_end": encode(last), "count_only": True}
        counted = (await self._ranges([same]))[0]
        try:
            self._spare[table] += int(counted.get("count", 0))
        except MALFORMED:
            raise self._odd()
        return table, last

    async def _range(self, asked, since, limit, names, skip):
        operations = []
        for table, key in asked:
            span = {"key": encode(key), "range_end": encode(self._prefixes[table][:-1] + "0"), "limit": limit}
            if since:
                span["min_mod_revision"] = since
            if skip or table == _ALIVE or names and table in TEXTS:
                span["keys_only"] = True
            operations.append({"request_range": span})
        return await self._client.call("/v3/kv/txn", {"success": operations}, ", ".join(self._prefixes))

    def _check(self, header):
        """The revision in an answer's header. _Diverged where it is not a later one of the same store."""
        cluster = header["cluster_id"]
        revision = int(header["revision"])
        term = int(header["raft_term"])
        if not 0 < revision < 1 << 63:  # ubus, by which it is told on, takes no other
            raise ValueError
        if self._cluster and (cluster != self._cluster or revision < self.revision or term < self._term):
            raise _Diverged
        self._cluster = cluster
        self._term = term
        return revision

    def _take_item(self, table, name, item, names, skip):
        """Takes one key of an answer into the view."""
        created, modified = int(item["create_revision"]), int(item["mod_revision"])
        value = item.get("value", "")
        if table in TEXTS:
            if names:
                old = self._views[table].get(name)
                many = (self._strange[TRUST] if table == TRUST else len(self._bad)) >= _STRANGERS
                if old is None and (self._passed[table] or many):
                    self._spare[table] += 1
                elif modified <= self.revision and (old is None or old.modified != modified):
                    raise _Diverged
                return
            if skip or len(value) // 4 * 3 - 2 > MAX_LENGTH:
                self._take(table, name, None, created, modified)
                return
        self._take(table, name, decode(value), created, modified)

    async def keep_alive(self):
        """Keeps this node alive: to be called after every poll. True when the lease is a new one.

        Renews the lease when a quarter of it has passed (polls come every third), and puts
        alive/<node> again where a poll did not find it.
        """
        if self._lease and compat.monotonic() - self._renewed >= self._ttl / 4:
            await self._renew()
        if self._lease and (not self._shown or (self.revision >= self._shown and self._node not in self.alive)):
            await self._show()
        if self._lease:
            return False
        now = compat.monotonic()
        request = {"TTL": self._ttl}
        self._lease = await self._ask("/v3/lease/grant", request, "a lease", lambda answer: str(int(answer["ID"])))
        self._renewed = now
        await self._show()
        return True

    async def _renew(self):
        """Renews the lease; the header of the answer, None where the lease is lost."""
        now = compat.monotonic()
        request = {"ID": self._lease}
        result = await self._ask("/v3/lease/keepalive", request, "the lease", lambda answer: answer["result"])
        try:
            if int(result.get("TTL", 0)) > 0:
                self._renewed = now
                return result["header"]
        except MALFORMED:
            raise self._odd()
        self._lose()

    async def _show(self):
        try:
            self._shown = await self._put(self._key(_ALIVE, self._node), "", self._lease)
        except EtcdError as error:
            if error.kind != "lease":
                raise
            self._lose()

    def _lose(self):
        self._lease = None
        self._shown = 0
        self.generation += 1
        # After an outage all routers' leases are lost at once: a large mesh is compared, or each of them fetched all.
        if len(self.members) >= _MANY:
            self._polls = self._audit
        else:
            self._doubt = True

    async def put_record(self, text):
        """Puts this node's record."""
        await self._put(self._key(_PEERS, self._node), text)

    async def put_statement(self, node, text):
        """Puts what the network's owner says of a node."""
        await self._put(self._key(TRUST, node), text)

    async def restore_statement(self, node, text, modified):
        """The same where there is still what was put at this revision, or nothing (0)."""
        key = self._key(TRUST, node)
        same = {"key": encode(key), "target": "MOD", "result": "EQUAL", "mod_revision": modified}
        await self._txn([same], [{"request_put": {"key": encode(key), "value": encode(text)}}], [], key)

    async def claim(self, address):
        """Claims the address where nobody has; returns the node that owns it."""
        key = self._key(_CLAIMS, address)
        absent = {"key": encode(key), "target": "CREATE", "result": "EQUAL", "create_revision": 0}
        return await self._own(key, absent)

    async def steal(self, address, owner):
        """Takes over the claim on the address where `owner` still holds it; whether this node owns it now."""
        key = self._key(_CLAIMS, address)
        return await self._own(key, _holds(key, owner)) == self._node

    async def release(self, address, owner=None):
        """Gives up the claim on the address where it is this node's, or that owner's."""
        key = self._key(_CLAIMS, address)
        await self._txn([_holds(key, owner or self._node)], [_deletion(key)], [], key)

    async def watch(self, ring):
        """Calls ring() as soon as something changes in the store, until the server ends that.

        It says no more than that a poll would find something. Of a large mesh, who is alive is left to the
        polls: after a power cut each of its routers would be told of every other one.
        """

        def heard():
            self._calm = False
            ring()

        tables = [table for table in self._tables if table != _ALIVE or len(self.members) < _MANY]
        spans = [(self._prefixes[table], self._prefixes[table][:-1] + "0") for table in tables]
        await self._client.watch(spans, self.revision + 1, heard)

    async def try_rights(self):
        """Raises EtcdError with what this node may not read or write and has to; writes nothing.

        By what a transaction would do if it failed, which one without a condition does not: etcd looks at the
        rights of all that is in it.
        """
        spans = [(prefix, {"key": encode(prefix), "range_end": encode(prefix[:-1] + "0")}) for prefix in self._prefixes]
        tries = [("read", prefix + "*", {"request_range": dict(span, limit=1)}) for prefix, span in spans]
        for table in (_PEERS, _ALIVE):
            key = self._key(table, self._node)
            tries.append(("write", key, {"request_put": {"key": encode(key), "value": ""}}))
        tries.append(("write", spans[_CLAIMS][0] + "*", {"request_delete_range": spans[_CLAIMS][1]}))
        missing = {}
        for verb, what, operation in tries:
            try:
                await self._txn([], [], [operation], what)
            except EtcdError as error:
                if error.kind != "permission":
                    raise
                missing.setdefault(verb, []).append(what)
        if missing:
            said = " nor ".join(["%s %s" % (verb, ", ".join(missing[verb])) for verb in sorted(missing)])
            raise EtcdError("permission", "%s: its user may not %s: %s" % (self.endpoint, said, GRANT))

    async def withdraw(self):
        """Deletes what is under this node's record's key: what is put next is a key of its own."""
        key = self._key(_PEERS, self._node)
        await self._txn([], [_deletion(key)], [], key)

    async def remove(self, node, farewell=None):
        """Takes a node out of the registry: its record, claims and sign of life.

        farewell: a text to leave in the record's place.
        """
        if not self.revision:
            await self.poll()
        keys = (self._key(_PEERS, node), self._key(_ALIVE, node))
        steps = [_deletion(key) for key in keys]
        if farewell:
            steps[0] = {"request_put": {"key": encode(keys[0]), "value": encode(farewell)}}
        await self._txn([], steps, [], ", ".join(keys))
        for address in sorted(self.claims):
            if self.claims[address] == node and "\\" not in address:
                await self.release(address, node)

    async def leave(self, farewell=None):
        """Takes this node out of the registry, and ends its lease."""
        await self.remove(self._node, farewell)
        await self.fall_silent()

    async def fall_silent(self):
        """Ends this node's lease, and its sign of life with it; keep_alive() begins another. Once is enough."""
        if self._lease:
            try:
                await self._client.call("/v3/lease/revoke", {"ID": self._lease}, "the lease")
            except EtcdError as error:
                if error.kind != "lease":
                    raise
        self._lease = None
        self._shown = 0

    async def _put(self, key, value, lease=0):
        """Puts a key; the revision at which."""
        request = {"key": encode(key), "value": encode(value), "lease": lease}
        return await self._ask("/v3/kv/put", request, key, lambda answer: int(answer["header"]["revision"]))

    async def _own(self, key, condition):
        """Puts this node's name under the key where the condition holds; returns the key's value then."""

        def owner(answer):
            if answer.get("succeeded"):
                return self._node
            found = answer["responses"][0]["response_range"].get("kvs")
            return as_name(decode(found[0].get("value", ""))) if found else None

        put = {"request_put": {"key": encode(key), "value": encode(self._node)}}
        return await self._txn([condition], [put], [{"request_range": {"key": encode(key)}}], key, owner)

    async def _txn(self, compare, success, failure, subject, take=len):
        request = {"compare": compare, "success": success, "failure": failure}
        return await self._ask("/v3/kv/txn", request, subject, take)

    async def _ask(self, path, request, subject, take):
        """take(answer) for the answer to a request."""
        answer = await self._client.call(path, request, subject)
        try:
            return take(answer)
        except MALFORMED:
            raise self._odd()


def _holds(key, node):
    return {"key": encode(key), "target": "VALUE", "result": "EQUAL", "value": encode(node)}


def _deletion(key):
    return {"request_delete_range": {"key": encode(key)}}


def _text(value):
    """The text of a record (bytes), or None where it is none, no UTF-8 or too long."""
    try:
        return value.decode() if value is not None and len(value) <= MAX_LENGTH else None
    except UnicodeError:
        return None


def as_name(data):
    """Bytes of a key as text of bounded length; no two become the same."""
    if len(data) > 255:
        return "\\l" + compat.sha256(data)
    try:
        text = data.decode()
        if not text.strip(_PLAIN):
            return text
    except UnicodeError:
        pass
    return "".join([chr(byte) if 32 < byte < 127 and byte != 92 else "\\x%02x" % byte for byte in data])
