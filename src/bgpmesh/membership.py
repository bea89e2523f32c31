"""This router's membership: its own record, address and liveness in the registry, and what the others say."""

from . import VERSION, address, compat, records
from .cache import Cache
from .model import Problem
from .tally import Tally

_SETTLE = 60  # seconds that members missing from a wiped registry are given to write themselves back
_LAST = 1 << 62  # seniority of a record that the registry does not have yet


class Membership:
    """What the registry and the cache know, decoded.

    me: this router's Member, or None while it has no address. others: node -> Member of the rest.
    claims: address -> node. online: set of the nodes that are alive. prefixes: what this router announces,
    None before that is known. known: whether the registry has answered since the start. polls: a Tally of them.
    """

    def __init__(self, config, keys, registry, problems, report):
        self.me = None
        self.others = {}
        self.claims = {}
        self.online = set()
        self.known = False
        self.polls = Tally()
        self.config = config
        self._keys = keys
        self.registry = registry
        self._problems = problems
        self._report = report
        self.prefixes = None
        self._generation = None
        self._missing = {}  # node -> (Entry, seconds until it is given up), after the registry was wiped
        self._decoded = {}  # node -> (modified, Member or None, Problem or None)
        self._serials = {}  # node -> highest serial seen
        self.entries = {}  # node -> Entry, what was decoded last
        self._kept = None  # (Entry, Member) of ours that were the same
        self._taken_at = None  # when another router was last seen alive under our name
        self._unsaved = True
        self._cache = Cache()
        self.trust = None  # a Trust where the members are those that the network's owner has approved
        if config.trust == "signed":
            from .trust import Trust  # which takes room that most routers need not give

            self.trust = Trust(config, keys, problems, report)

    def load(self, earlier=None):
        """Starts from what an earlier Membership knows, or else from the cache on flash."""
        cache = self._cache
        if self.trust:
            self.trust.load()
        if earlier:
            cache.entries = earlier.entries
            cache.address = earlier.me and earlier.me.ip
            self.polls = earlier.polls
            self.prefixes = earlier.prefixes
            self.claims = earlier.claims
        else:
            try:
                cache.load()
            except OSError as error:
                text = "cannot read the last known members: %s" % compat.reason(error)
                self._problems.replace("cache", [Problem("disk", "cache", text)])
            if cache.entries:
                self._report("%d members are known from the last time" % len(cache.entries))
        self._decode(cache.entries)
        self.online = set(earlier.online if earlier else self.others)
        known = cache.address
        if known and known == (self.config.address or known) and self._is_usable(known):
            self._set_address(known)

    def announce(self, prefixes):
        """The prefixes that this router announces from now on. True where that is a change."""
        before = self.prefixes
        changed = before is None or [str(prefix) for prefix in prefixes] != [str(prefix) for prefix in before]
        self.prefixes = prefixes
        if changed and self.me:
            self._set_address(self.me.ip)
        return changed

    def admitted(self):
        """Whether this router itself may take part."""
        return not self.trust or self.trust.admits()

    def settling(self):
        """Whether a wiped registry's members are still being waited for."""
        return bool(self._missing)

    async def step(self):
        """One exchange with the registry: look, stay alive, keep address and record right.

        True where the members changed. Raises EtcdError.
        """
        changed = await self._poll()
        if self.trust and await self._hear_owner():
            changed = True
        if self.registry.generation != self._generation:
            self._hold_on_to_missing()
            changed = True
        if changed or not self.known or self._missing:
            self.known = True
            changed = self._take_in() or changed
        if self._is_taken():
            text = (
                "another router is in the mesh as '%s'; set another name: uci set bgpmesh.main.node=…"
                % self.config.node
            )
            self._problems.replace("name", [Problem("name_taken", self.config.node, text)])
            self.me = None
            return changed
        self._problems.replace("name", [])
        await self.registry.keep_alive()
        changed = await self._keep_address() or changed
        changed = await self._keep_record() or changed
        await self._release_others()
        self._unsaved = self._unsaved or changed
        return changed

    async def _hear_owner(self):
        """Takes in what the network's owner says of whom. True where that is a change."""
        changed = self.trust.learn(self.registry)
        if changed:
            # Every record is to be judged anew.
            self._decoded = {node: (None, known[1], known[2]) for node, known in self._decoded.items()}
        self._problems.replace("approval", self.trust.own_problems())
        await self.trust.restore(self.registry)
        return changed

    async def _poll(self):
        began = compat.ticks_us()
        good = False
        try:
            changed = await self.registry.poll()
            good = True
        finally:
            self.polls.note(began, good)
        return changed

    def _take_in(self):
        """Takes over what the registry has. True where the members are others, or alive, now."""
        now = compat.monotonic()
        members = self.registry.members
        self._missing = {node: kept for node, kept in self._missing.items() if node not in members and kept[1] > now}
        entries = dict(members)
        for node in self._missing:
            entries[node] = self._missing[node][0]
        changed = self._decode(entries)
        online = set(self.registry.alive) | set([node for node in self._missing if node in self.online])
        changed = changed or online != self.online
        self.online = online
        self.claims = self.registry.claims
        return changed

    def save(self):
        """Writes the cache where it has changed; a failure is a problem that stays until a write succeeds."""
        if not self._unsaved or not self.me or self._missing:
            return
        entries = {node: entry for node, entry in self.registry.members.items() if self._is_good(node)}
        try:
            self._unsaved = not self._cache.save(self.me.ip, entries)
            self._problems.replace("cache", [])
        except OSError as error:
            text = "cannot keep the last known members in /etc/bgpmesh: %s; free some space" % compat.reason(error)
            self._problems.replace("cache", [Problem("disk", "cache", text)])

    def _is_good(self, node):
        return node == self.config.node or node in self.others

    def _is_taken(self):
        """Whether our name's record is another's: with other keys, and alive or so until lately.

        The wait keeps two routers that were given one name from taking turns: while one loses its
        lease to the other, its name is not free.
        """
        member = self._own()
        if not member:
            return False
        same = (member.ed25519, self._keys.ed25519), (member.key, self._keys.rsa)
        if any([theirs and theirs == ours for theirs, ours in same]):
            return False
        now = compat.monotonic()
        if self.config.node in self.registry.alive:
            self._taken_at = now
        return self._taken_at is not None and now - self._taken_at < 2 * self.config.poll_interval + 5

    def _own(self):
        """The Member that the registry has under our name, or None."""
        decoded = self._decoded.get(self.config.node)
        return decoded and decoded[1]

    def _hold_on_to_missing(self):
        # At the first look what was there before is from the cache: older than a registry that only went on.
        newest = max([entry.modified for entry in self.entries.values()] + [0])
        first = self._generation is None
        self._generation = self.registry.generation
        self._decoded = {}  # a revision says nothing about what another store has at it
        if first and self.registry.revision >= newest:
            return
        until = compat.monotonic() + _SETTLE
        for node, entry in self.entries.items():
            if node != self.config.node and node not in self.registry.members and node in self.others:
                self._missing[node] = (entry, until)
        if self._missing:
            self._report(
                "the registry was wiped or replaced; %d members are kept until they write themselves back"
                % len(self._missing)
            )

    def _decode(self, entries):
        """Decodes what changed. True where the set of Members is another now."""
        changed = False
        problems = []
        for node in sorted(entries):
            entry = entries[node]
            known = self._decoded.get(node)
            if not known or known[0] != entry.modified:
                member, problem = self._decode_one(node, entry)
                changed = True
                self._decoded[node] = known = (entry.modified, member, problem)
            if known[2]:
                problems.append(known[2])
        for node in sorted(self._decoded):
            if node not in entries:
                del self._decoded[node]
                if node != self.config.node:
                    self._serials.pop(node, None)
                changed = True
        self._problems.replace("records", problems)
        if changed:
            self.others = {
                node: self._decoded[node][1]
                for node in self._decoded
                if node != self.config.node and self._decoded[node][1]
            }
            own = self._own()
            if self.me and own:
                self.me.created = own.created
        self.entries = entries
        return changed

    def _decode_one(self, node, entry):
        try:
            member = records.decode(node, entry.text, self.config, self.key(node), entry.created)
            if self.trust:
                self.trust.check(member)
            if self.config.secret and member.serial < self._serials.get(node, 0):
                raise records.RecordError("serial %d is lower than one seen before: a replay" % member.serial)
            self._serials[node] = max(member.serial, self._serials.get(node, 0))
            entry.slim(member, self.key(node), self.config.secret)
            return member, None
        except records.RecordError as error:
            last = self._last_approved(node)
            text = "the record of %s is refused, and an earlier one holds: %s"
            text = (text if last else "member %s is left out: %s") % (records.shown(node), error)
            return last, Problem(getattr(error, "code", "bad_record"), records.plain(node), text)

    def _last_approved(self, node):
        """What the node's record said before it became one that cannot be its own; None where that is not known."""
        last = self._decoded.get(node, (None, None))[1] if self.trust else None
        return last if last and self.trust.approves(last) else None

    def key(self, node=None):
        """The etcd key of a member's record; without a name, of our own."""
        return "%s/peers/%s" % (self.config.etcd_prefix, node or self.config.node)

    def _set_address(self, ip):
        config = self.config
        ip6 = None
        if config.network6:
            number = address.parse(ip)[1] - config.network.network
            ip6 = address.text(*config.network6.host(number))
        known = self._own() or self.me
        self.me = records.Member(
            config.node,
            ip,
            ip6,
            self._keys.rsa,
            self._keys.ed25519,
            config.endpoint,
            config.asn,
            config.router_id or ip,
            self.prefixes or [],
            0,
            VERSION,
            known.created if known else _LAST,
        )

    async def _keep_address(self):
        """Sees to it that an address is ours in the registry. True where our address changed."""
        config = self.config
        before = self.me.ip if self.me else None
        wanted = config.address or before
        if wanted and self.registry.claims.get(wanted) == config.node:
            self._problems.replace("address", [])
            if not before:
                self._set_address(wanted)
            return not before
        if config.address:
            owner = self.registry.claims.get(config.address)
            if not owner or await self._take_over(config.address):
                owner = await self._claim(config.address)
            if owner != config.node:
                text = (
                    "address %s belongs to %s; this router stays out. Set another one, or none to have a free "
                    "one claimed: uci delete bgpmesh.main.address" % (config.address, records.shown(owner))
                )
                self._problems.replace("address", [Problem("address_taken", config.address, text)])
                self.me = None
            return (self.me.ip if self.me else None) != before
        return await self._claim_free(wanted) != before

    async def _claim_free(self, wanted):
        """Claims `wanted`, or the address that is ours already, or the first free one. Returns what we have."""
        claims = self.registry.claims
        network = self.config.network
        node = self.config.node
        ours = [ip for ip in sorted(claims) if claims[ip] == node and self._is_usable(ip)]
        for ip in ours + ([wanted] if wanted and wanted not in claims else []):
            if await self._claim(ip) == node:
                return ip
        used = set([member.ip for member in self.others.values()])
        for number in range(1, network.hosts() + 1):
            ip = address.text(*network.host(number))
            if ip not in claims and ip not in used and await self._claim(ip) == node:
                return ip
        return await self._claim_abandoned()

    def _is_usable(self, ip):
        try:
            return self.config.network.is_host(address.parse(ip))
        except ValueError:
            return False

    async def _claim(self, ip):
        owner = await self.registry.claim(ip)
        if owner == self.config.node:
            self._problems.replace("address", [])
            self._set_address(ip)
        return owner

    async def _take_over(self, ip):
        """Takes over a claim whose owner is gone without a trace; whether it is ours now."""
        owner = self.registry.claims[ip]
        gone = owner not in self.registry.members and owner not in self.registry.alive
        return gone and await self.registry.steal(ip, owner)

    async def _claim_abandoned(self):
        for ip in sorted(self.registry.claims):
            if self._is_usable(ip):
                if await self._take_over(ip):
                    self._problems.replace("address", [])
                    self._set_address(ip)
                    return ip
        text = "every address of %s is taken; widen option 'network' on all routers" % self.config.network
        self._problems.replace("address", [Problem("no_address", str(self.config.network), text)])
        self.me = None
        return None

    async def _release_others(self):
        for ip in sorted(self.registry.claims):
            if self.me and self.registry.claims[ip] == self.config.node and ip != self.me.ip:
                await self.registry.release(ip)

    async def _keep_record(self):
        """Writes our record where the registry has none or another one. True where it was written."""
        if not self.me or self.prefixes is None:
            return False
        own = self.registry.members.get(self.config.node)
        if own and self._kept == (own, self.me):
            return False
        # Whatever is stored under our name, ours must be higher.
        self.me.serial = self._serials.get(self.config.node, 0)
        if own and own.text == records.encode(self.me, self.key(), self.config.secret):
            self._kept = own, self.me
            return False
        self.me.serial += 1
        await self.registry.put_record(records.encode(self.me, self.key(), self.config.secret))
        return True

    async def leave(self):
        """Takes this router out of the registry: record, claim and liveness. Raises EtcdError.

        What is there under our name and is another router's stays.
        """
        await self.registry.poll()
        self._take_in()
        if not self._is_taken():
            await self.registry.leave()
