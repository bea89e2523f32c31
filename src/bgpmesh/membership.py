"""This router's membership: its own record, address and liveness in the registry, and what the others say."""

from . import VERSION, address, clock, compact, compat, records
from . import secret as network_secret
from .cache import Cache, forget
from .held import Held, Serials
from .model import TAKE, Problem
from .tally import Tally

_LAST = 1 << 62  # seniority of a record that the registry does not have yet
_UNSEEN = 16  # records that an agent may have signed and nothing has kept
_VAIN = 120  # seconds for which another member may have our address and nobody be met, before we take another
_TRIES = 16  # addresses of which nobody but a claim says that they are taken
_WAITING = 64  # routers that are kept which the owner has not approved
_UNAPPROVED = ("pending", "revoked", "unapproved")
_REWRITES, _SPAN = 10, 120  # times in so many seconds that a record is written that says nothing new
_UNSAVED = 300  # seconds for which what changes all the time is not written to flash
_RELEASES = 8  # claims that are given up in one step: anybody may have written them in our name
_NAMED = 32  # members with something wrong that get a problem each; more of them share one


class Membership:
    """What the registry and the cache know, decoded.

    me: this router's Member, or None while it has no address. others: node -> Member of the rest.
    claims: address -> node. online: set of the nodes that are alive. prefixes: what this router announces,
    None before that is known. known: whether the registry has answered since the start. polls: a Tally of them. ao:
    whether this router's BGP sessions can have TCP-AO, None where its BIRD does not know the option.
    runs_as: the name that this router's tincd was told to run under last, None before. kept_out: whether this router
    stays out of the mesh, with its place in it kept, because it has networks of its own where the overlay is.
    """

    def __init__(self, config, keys, registry, problems, report):
        self.me = None
        self.others = {}
        self.claims = {}
        self.online = set()
        self.known = False
        self.runs_as = None
        self.kept_out = False
        self.polls = Tally()
        self.ao = None
        self.config = config
        self._keys = keys
        self._folder = self.key("")  # shared by all: one text
        self.registry = registry
        registry.judge = self._judge
        self._problems = problems
        self._report = report
        self.prefixes = None
        self._generation = None
        # Whether records say themselves whose they are: who can merely write to etcd is not believed.
        self._signed = bool(config.secret) or config.trust == "signed"
        self._held = Held(config.grace * 3600 if self._signed else 0)
        self._decoded = {}  # node -> as Entry.verdict, and True after that where it is to be judged anew
        self._serials = Serials()
        self._is_met = False  # whether any member is seen to be in the mesh with us
        self._clash_since = None  # since when another member has had our address, by compat.monotonic()
        self._vain = _VAIN
        self._users = None, None, None  # (others, an address, senior of those who have it)
        self._released_at = None  # the registry's revision at which no claim was one too many
        self._sure = False  # whether our record in the registry is seen to be the latest that we signed
        self._cached = None  # the revision at which it was put last, as the cache has it
        self._kept = None  # (Entry, Member, secret) of ours that were the same
        self._said = None  # what our record said that was written last, but for its serial
        self._rewritten = []  # when the same was written again lately
        self._bridged = False  # whether sessions may begin anew with another secret
        self._taken_at = None  # when another router was last seen alive under our name
        self._unsaved = True
        self._saved_at = compat.monotonic()  # when there was nothing to write last
        self._news = False  # whether the members have changed since a step said so
        self._unheard = True  # whether the owner may have said what is not acted on yet
        self._unapproved = set()  # nodes of records that are kept though the owner has not approved them
        self._cache = Cache()
        self._identity = None
        self.trust = None  # a Trust where the members are those that the network's owner has approved
        if config.trust == "signed":
            from .trust import Trust  # which takes room that most routers need not give

            self.trust = Trust(config, problems, report)
        if config.trust_key:
            self._find_identity()

    @property
    def id(self):
        """This router's identity, as a records.Proof has it; "" where it has none."""
        return self._identity.id if self._identity else ""

    def _find_identity(self):
        from . import identity

        try:
            self._identity = identity.load_or_make()
            self._kept = None  # what is in the registry does not show it
            if self.trust:
                self.trust.own = self.id
            self._problems.replace("identity", [])
        except (OSError, ValueError) as error:
            text = "no identity, which the network's owner could approve: %s: %s; free some space, or remove the file"
            text %= identity.PATH, compat.reason(error) if isinstance(error, OSError) else error
            self._problems.replace("identity", [Problem("disk", "identity", text)])

    def load(self, earlier=None):
        """Starts from what an earlier Membership knows, or else from the cache on flash."""
        cache = self._cache
        if self.trust:
            self.trust.load()
        if earlier:
            cache.entries = earlier.in_force()
            cache.serials = earlier._serials.known
            cache.address = earlier.me and earlier.me.ip
            cache.cluster = earlier.registry.cluster
            self.polls = earlier.polls
            self.prefixes = earlier.prefixes
            self.runs_as = earlier.runs_as
            self.claims = earlier.claims
            self._sure, self._cached = earlier._sure, earlier._cached
            self._bridged = earlier._bridged and earlier.config.secrets == self.config.secrets
        else:
            try:
                cache.load()
            except OSError as error:
                text = "cannot read the last known members: %s" % compat.reason(error)
                self._problems.replace("cache", [Problem("disk", "cache", text)])
            if cache.entries:
                self._report("%d members are known from the last time" % len(cache.entries))
            if self.config.node in cache.entries:
                self._cached = cache.entries[self.config.node].modified
        self._serials = Serials(cache.serials)
        if self.trust:
            self.trust.believes = bool(earlier.trust) if earlier else cache.approved_by == self.config.trust_key
        self._decode(cache.entries)
        if self.trust:
            self.trust.believes = False
        self.registry.recall(cache.entries, cache.cluster)
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
        """Whether this router itself may take part; None while it is not known who may."""
        if self.trust:
            return self.trust.admits() if self.trust.known else None
        return True

    def rekey(self):
        """Takes over what has changed of this router's keys."""
        if self.me:
            self._set_address(self.me.ip)

    def behind(self):
        """Whether signatures wait to be verified."""
        return bool(self.trust) and self.trust.behind()

    def settling(self):
        """Whether a wiped registry's members are still being waited for."""
        return self._held.settling()

    def bridge(self):
        """BIRD has the routes that make sessions with another password bearable: from now on both secrets are told.

        True where they were not.
        """
        self._bridged = True
        return self._tell_both()

    def _tell_both(self):
        if not self.me or len(self.me.secrets) == len(self.config.secrets) or not self._is_bridged():
            return False
        self._set_address(self.me.ip)
        return True

    def _is_bridged(self):
        own = self.own()
        if own and own.secrets[:1] == network_secret.names(self.config.secrets[:1]):
            self._bridged = True  # as told before this start; and whatever becomes of the record
        return self._bridged or not self.config.secret_old

    def vouch(self, nodes):
        """These members are seen to be in the mesh, whatever becomes of their records."""
        self._held.vouch(nodes)
        self._is_met = bool(nodes)

    async def step(self):
        """One exchange with the registry: look, stay alive, keep address and record right.

        True where the members changed. Raises EtcdError.
        """
        if self.config.trust_key and not self._identity:
            self._find_identity()
        # A step that fails halfway tells with the next one what it has seen.
        changed = await self._poll()
        self._news = self._news or changed
        if self.trust and (changed or self._unheard):
            self._unheard = True
            await self._hear_owner()
            self._unheard = self.trust.waits()
        wiped = self.registry.generation != self._generation and self._is_wiped()
        if self.registry.generation != self._generation:
            self._generation = self.registry.generation
            self._news = True
        if self._news or not self.known or self._held.holdings:
            self.known = True
            self._news = self._take_in(wiped) or self._news
        if self._is_taken():
            text = "another router is in the mesh as '%s'; set another name: uci set bgpmesh.main.node=…; %s"
            text %= self.config.node, TAKE
            self._problems.replace("name", [Problem("name_taken", self.config.node, text)])
            self.me = None
            return self._told()
        self._problems.replace("name", [])
        if self.kept_out:
            await self.registry.fall_silent()  # nobody is to wait for it
            return self._told()
        await self.registry.keep_alive()
        self._news = self._tell_both() or self._news
        self._news = await self._keep_address() or self._news
        self._news = await self._keep_record() or self._news
        await self._release_others()
        return self._told()

    def _told(self):
        news, self._news = self._news, False
        self._unsaved = self._unsaved or news
        return news

    async def _hear_owner(self):
        """Takes in what the network's owner says of whom, and who has signed what."""
        known = self.trust.known
        nodes = await self.trust.learn(self.registry)
        for node in self.trust.renewed:
            self._serials.forget(node)  # these were of another identity
        self.trust.renewed.clear()
        entries = [self.registry.members[node] for node in nodes if node in self.registry.members]
        if nodes and (self.registry.passed_over or any([entry.text is None for entry in entries])):
            self.registry.reread()
        self._judge_anew(nodes)
        verified = await self.trust.verify()
        self._judge_anew(verified)
        for node in nodes:
            holding = self._held.holdings.get(node)
            if holding and not self.trust.approves(holding.member):
                holding.until = 0
        self._problems.replace("approval", self.trust.own_problems())
        self._news = self._news or bool(nodes or verified) or known != self.trust.known
        await self.trust.restore(self.registry)

    def _judge_anew(self, nodes):
        for node in nodes:
            entry, known = self.registry.members.get(node), self._decoded.get(node)
            if entry and entry.verdict and not (entry.verdict[2] and entry.verdict[2].code == "bad_record"):
                entry.verdict = None
                self._judge(node, entry)
            if known:
                self._decoded[node] = known[:3] + (self, True)
            if self.trust.seen.get(node, ("",))[0] == "approved":
                self.registry.admit(node)

    async def _poll(self):
        began = compat.ticks_us()
        good = False
        try:
            changed = await self.registry.poll()
            good = True
        finally:
            self.polls.note(began, good)
        return changed

    def _take_in(self, wiped=False):
        """Takes over what the registry has. True where the members are others, or alive, now.

        wiped: whether what is missing may be so because all of the registry is gone.
        """
        changed = self._decode(self.registry.members, wiped)
        held = self._held.holdings
        online = set([node for node in self.registry.alive if node not in held])
        online |= set([node for node in held if held[node].online])
        changed = changed or online != self.online
        self.online = online
        # Signed records alone say whose an address is: anybody could have written the claims.
        self.claims = {} if self._signed else self.registry.claims
        return changed

    def save(self, ending=False, moving=False):
        """Writes the cache where it has changed; a failure is a problem that stays until a write succeeds.

        ending: whether it is the last time, so that it cannot wait; moving: whether it would better wait for a while.
        """
        now = compat.monotonic()
        if not self._unsaved:
            self._saved_at = now
        # What never comes to rest is written all the same: somebody may see to it that it does not.
        waits = self.settling() or moving and not ending
        if not self._unsaved or not self.me or waits and (ending or now - self._saved_at < _UNSAVED):
            return
        try:
            self._cache.cluster = self.registry.cluster or self._cache.cluster
            self._cache.approved_by = self.config.trust_key if self.trust else None
            self._unsaved = not self._cache.save(self.me.ip, self.in_force(), self.serials(), ending)
            self._problems.replace("cache", [])
        except OSError as error:
            text = "cannot keep the last known members in /etc/bgpmesh: %s; free some space" % compat.reason(error)
            self._problems.replace("cache", [Problem("disk", "cache", text)])

    def in_force(self):
        """node -> Entry of the records that count: the good ones, and the last good ones of who is held on to."""
        entries = {node: decoded[0] for node, decoded in self._decoded.items() if decoded[1]}
        for node, holding in self._held.holdings.items():
            entries[node] = holding.entry
        return entries

    def serials(self):
        """node -> highest serial seen, of those whose record does not tell it."""
        if not self._signed:
            return {}
        kept = self.in_force()
        return {node: serial for node, serial in self._serials.known.items() if node not in kept}

    def _is_taken(self):
        """Whether our name's record is another's: with other keys, and alive or so until lately.

        The wait keeps two routers that were given one name from taking turns: while one loses its
        lease to the other, its name is not free.
        """
        member = self.own()
        if not member or self.id and member.id == self.id:
            return False
        # The keys to come are ours as well: where the record has them, the agent was cut off in a rotation.
        for _, rsa, ed25519 in member.identities():
            same = (ed25519, self._keys.ed25519), (rsa, self._keys.rsa)
            if any([theirs and theirs == ours for theirs, ours in same]):
                return False
        now = compat.monotonic()
        if self.config.node in self.registry.alive:
            self._taken_at = now
        return self._taken_at is not None and now - self._taken_at < 2 * self.config.poll_interval + 5

    def own(self):
        """The Member that the registry has under our name, or None."""
        decoded = self._decoded.get(self.config.node)
        return decoded and decoded[1]

    def _is_wiped(self):
        """Whether the registry has lost what it had; says so."""
        # At the first look what was there before is from the cache: older than a registry that only went on.
        newest = max([entry.modified for entry in self.in_force().values()] + [0])
        if self._generation is None and self.registry.revision >= newest:
            return False
        missing = [node for node in self.others if node not in self.registry.members]
        if missing:
            self._held.settle()
            text = "the registry was wiped or replaced; %d members are kept until they write themselves back"
            self._report(text % len(missing))
        return True

    def _decode(self, entries, wiped=False):
        """Decodes what changed, and holds on to who has a good record no more. True where the Members are others."""
        over = self._held.expire()
        for node in over:
            self._serials.went(node)
        changed = bool(over)
        for node in sorted(entries):
            known = self._decoded.get(node)
            if not known or known[0] is not entries[node] or known[4:]:
                self._decoded[node] = self._decode_one(node, entries[node])
                self._follow(node, known, False)
                changed = True
        for node in sorted(self._decoded):
            if node not in entries:
                self._follow(node, self._decoded.pop(node), wiped)
                changed = True
        self._unapproved.intersection_update(entries)
        held = self._held.holdings
        self._problems.replace("records", self._record_problems())
        text = "there are more claims on addresses in the registry than are read: somebody fills it; see `etcdctl get "
        text += "--prefix %s/claims/`" % self.config.etcd_prefix
        self._problems.replace("claims", [Problem("etcd", "claims", text)] if self.registry.overfull else [])
        if changed:
            self.others = {node: decoded[1] for node, decoded in self._decoded.items() if decoded[1]}
            self.others.update({node: held[node].member for node in held})
            self.others.pop(self.config.node, None)
            own = self.own()
            if self.me and own:
                self.me.created = own.created
        return changed

    @property
    def entries(self):
        """node -> Entry of who is a member, or wants to be."""
        entries = {node: decoded[0] for node, decoded in self._decoded.items() if any(decoded[1:3])}
        for node, holding in self._held.holdings.items():
            entries.setdefault(node, holding.entry)
        return entries

    def _follow(self, node, before, wiped):
        """Sees to who is held on to after the record of a node changed. before: what it was decoded to, or None."""
        member, problem = (self._decoded.get(node) or (None, None, None))[1:3]
        missing = node not in self._decoded
        if member or not missing and not problem:  # it is good, or a farewell
            self._held.release(node)
        elif before and before[1] and node != self.config.node and self._may_hold(before[1], missing, wiped):
            self._held.hold(node, before[0], before[1], node in self.online, wiped)
        if not member and node not in self._held.holdings and node != self.config.node:
            self._serials.went(node)

    def _record_problems(self):
        """What is wrong with the records of the registry; beyond a number one Problem says how many more."""
        found = [decoded[2] for decoded in self._decoded.values() if decoded[2]]
        held = self._held.holdings
        for node in held:
            if node not in self._decoded and not held[node].online:
                text = "the record of '%s' is gone from the registry; it is a member all the same until it leaves"
                found.append(Problem("record_gone", node, text % node))
        found.sort(key=lambda problem: problem.subject)
        more = len(found) - _NAMED + self.registry.passed_over
        if more > 0:
            text = "%d more records cannot be used; `etcdctl get --prefix --keys-only %s` lists all"
            found = found[:_NAMED] + [Problem("bad_record", "more", text % (more, self.key("")))]
        return found

    def _judge(self, node, entry):
        """Whether a record that is just being read counts; of one that does not, no more than the reason is kept."""
        entry.verdict = self._decode_one(node, entry)
        problem = entry.verdict[2]
        code = problem.code if problem else ""
        if code == "bad_record":
            entry.forget()
        if code not in _UNAPPROVED:
            self._unapproved.discard(node)
            # Whatever was put into its place, a member is no stranger.
            if code == "bad_record" or self.trust and self._is_gone(entry.verdict):
                return bool(self._in_force(node)) or node == self.config.node or self._serials.get(node) > 0
            return True
        entry.shed()
        if not self.config.secret:
            return False
        # Who knows the secret is no stranger, but not any number of them.
        if len(self._unapproved) < _WAITING:
            self._unapproved.add(node)
        return node in self._unapproved

    def _decode_one(self, node, entry):
        """An Entry's verdict: its Member and its Problem are None where the member has left."""
        if entry.verdict and entry.verdict[3] is self:
            return entry.verdict
        try:
            member = records.decode(node, entry.text, self.config, self.key(node), entry.created)
            proof = member.proof
            member = compact.pack(member, self._folder)
            entry.slim(member)
            if self.trust and self.trust.believes and self.trust.standing(node, member.id) != "unapproved":
                self._serials.note(node, member.serial)
            # A serial that nobody has answered for would keep its owner out for good.
            if not self.trust or self.trust.check(node, proof):
                self._check_serial(node, member.serial)
            before = self._in_force(node)
            if self._signed and before:
                # Who deletes a record and puts it back must not make its member a junior.
                member.created = entry.created = min(before.created, member.created)
            return entry, member, None, self
        except records.Left as left:
            try:
                if not self.trust or self.trust.check(node, left.proof, True):
                    self._check_serial(node, left.serial)
                return entry, None, None, self
            except records.RecordError as error:
                fault = error
        except records.RecordError as error:
            fault = error
        text = "member %s is left out: %s"
        before = self._in_force(node)
        if before and self._may_hold(before, False, False):
            text = "the record of %s is refused, and an earlier one holds: %s"
        text %= records.shown(node), fault
        return entry, None, Problem(getattr(fault, "code", "bad_record"), records.plain(node), text), self

    def _may_hold(self, member, missing, wiped):
        """Whether a member is held on to whose good record is gone, or else is another."""
        if self.trust and not self.trust.approves(member):
            return False
        return self._signed or wiped and missing

    def _check_serial(self, node, serial):
        known = self._serials.get(node)
        if self._signed and serial < known:
            raise records.RecordError("serial %d is lower than one seen before, %d: a replay" % (serial, known))
        self._serials.note(node, serial)

    def _in_force(self, node):
        """The Member that counts under a name, or None."""
        decoded = self._decoded.get(node)
        if node == self.config.node:
            return decoded and decoded[1] or self.me
        held = self._held.holdings.get(node)
        return decoded and decoded[1] or held and held.member

    def key(self, node=None):
        """The etcd key of a member's record; without a name, of our own."""
        return "%s/peers/%s" % (self.config.etcd_prefix, self.config.node if node is None else node)

    def _set_address(self, ip):
        config = self.config
        ip6 = None
        if config.network6:
            number = address.parse(ip)[1] - config.network.network
            ip6 = address.text(*config.network6.host(number))
        known = self.own() or self.me
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
        self.me.secrets = network_secret.names(config.secrets if self._is_bridged() else config.secrets[-1:])
        self.me.ao = self.ao and bool(config.secret)
        self.me.full_mesh_max = config.full_mesh_max
        self.me.reflector = config.reflector
        self.me.poll_interval = config.poll_interval
        self.me.generation = self._keys.generation
        coming = self._keys.next
        if coming:
            self.me.next = records.Next(coming.generation, coming.rsa, coming.ed25519)

    async def _keep_address(self):
        """Sees to it that an address is ours in the registry. True where our address changed."""
        config = self.config
        before = self.me.ip if self.me else None
        if self._is_in_vain(before):
            self._report("another member keeps address %s, and all others take it for its own" % before)
            # Whoever follows us from one to the next does not have us go on for ever.
            self._clash_since, self._vain = None, 2 * self._vain
            return await self._claim_free(None, before) != before
        wanted = config.address or before
        if before and wanted == before and self._is_proven():
            # The claim is for those who join. Who can merely write it has no say in whose the address is.
            if self.registry.claims.get(wanted) != config.node and not await self._take_over(wanted):
                await self.registry.claim(wanted)
            self._problems.replace("address", [])
            return False
        if wanted and self._owner(wanted) == config.node:
            self._problems.replace("address", [])
            if not before:
                self._set_address(wanted)
            return not before
        if config.address:
            owner = self._owner(config.address)
            if not owner or await self._take_over(config.address):
                owner = await self._claim(config.address)
            if owner != config.node:
                text = (
                    "address %s belongs to %s; this router stays out. Set another one, or none to have a free "
                    "one claimed: uci delete bgpmesh.main.address; %s" % (config.address, records.shown(owner), TAKE)
                )
                self._problems.replace("address", [Problem("address_taken", config.address, text)])
                self.me = None
            return (self.me.ip if self.me else None) != before
        return await self._claim_free(wanted) != before

    def _is_proven(self):
        """Whether a signed record of ours was seen with our address, which no senior has."""
        return self._signed and self.me.created < _LAST and not self._rival(self.me.ip)

    def _is_in_vain(self, ip):
        """Whether ours is an address that another member has for good, and with us nobody is in the mesh.

        Who joins while a senior's record is deleted sees a junior in its place, and is the junior itself to all others.
        """
        self._rival(ip)
        rival = self._users[2] if self._signed and ip else None
        if not rival or rival[1] not in self.online or self._is_met or self.config.address:
            self._clash_since = None
            return False
        now = compat.monotonic()
        if self._clash_since is None:
            self._clash_since = now
        return now - self._clash_since >= self._vain

    def _owner(self, ip):
        """The node that an address belongs to, or None. Signed records go before claims."""
        return self._rival(ip) or self.registry.claims.get(ip)

    def _rival(self, ip):
        """The member with a signed record of this address that is senior to ours; None where there is none."""
        if not self._signed:
            return None
        if self._users[0] is not self.others or self._users[1] != ip:
            # Each poll asks for the same one.
            users = [(member.created, member.node) for member in self.others.values() if member.ip == ip]
            self._users = self.others, ip, min(users) if users else None
        known = self.me or self.own()
        senior = self._users[2]
        return senior[1] if senior and senior < (known.created if known else _LAST, self.config.node) else None

    async def _claim_free(self, wanted, but=None):
        """Claims `wanted`, or the address that is ours already, or the first free one. Returns what we have.

        but: an address that is not taken.
        """
        claims = self.registry.claims
        network = self.config.network
        node = self.config.node
        ours = [ip for ip in sorted(claims) if claims[ip] == node and ip != but and self._is_usable(ip)]
        if wanted and self._signed and (wanted not in claims or await self._take_over(wanted)):
            ours = [wanted] + ours
        for ip in ours + ([wanted] if wanted and wanted not in claims else []):
            if not self._rival(ip) and await self._claim(ip) == node:
                return ip
        used = set([member.ip for member in self.others.values()])
        tried = 0
        for number in range(1, network.hosts() + 1):
            ip = address.text(*network.host(number))
            if ip in claims or ip in used:
                continue
            owner = await self._claim(ip)
            if owner == node:
                return ip
            tried += 1
            # There is no end to what somebody may claim: where records are signed, these alone say what is taken.
            if self._signed and self.registry.crowded and tried >= _TRIES and await self._steal(ip, owner):
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
            self._has_claimed(ip)
        return owner

    async def _steal(self, ip, owner):
        done = await self.registry.steal(ip, owner)
        if done:
            self._has_claimed(ip)
        return done

    def _has_claimed(self, ip):
        self._problems.replace("address", [])
        self._set_address(ip)

    async def _take_over(self, ip):
        """Takes over a claim whose owner is gone without a trace; whether it is ours now.

        Where records are signed every claim without one is one that anybody may have written.
        """
        owner = self.registry.claims.get(ip)
        if self._signed:
            gone = owner is not None and not self._rival(ip)
        else:
            gone = owner not in self.registry.members and owner not in self.registry.alive
        return gone and await self.registry.steal(ip, owner)

    async def _claim_abandoned(self):
        for ip in sorted(self.registry.claims):
            if self._is_usable(ip):
                if await self._take_over(ip):
                    self._has_claimed(ip)
                    return ip
        text = "every address of %s is taken; widen option 'network' on all routers" % self.config.network
        self._problems.replace("address", [Problem("no_address", str(self.config.network), text)])
        self.me = None
        return None

    async def _release_others(self):
        seen = self.registry.revision, self.me
        if not self.me or seen == self._released_at:
            return
        owners = self.registry.claims
        ours = [ip for ip in owners if owners[ip] == self.config.node and ip != self.me.ip and "\\" not in ip]
        for ip in ours[:_RELEASES]:
            await self.registry.release(ip)
        if len(ours) <= _RELEASES:
            self._released_at = seen

    async def _keep_record(self):
        """Writes our record where the registry has none or another one. True where it was written."""
        if not self.me or self.prefixes is None:
            return False
        if self._rewritten and compat.monotonic() - self._rewritten[-1] >= _SPAN:
            self._goes_well()
        own = self.registry.members.get(self.config.node)
        if self._is_switching():
            return False
        secret = network_secret.signing(self.config.secrets, self.others.values())
        if len(self.me.secrets) < len(self.config.secrets):
            secret = self.config.secrets[-1]
        if own and self._kept == (own, self.me, secret):
            return False
        self._sure = self._sure or not self._signed or bool(own) and own.modified == self._cached
        # Whatever is stored under our name, ours must be higher.
        self.me.serial = self._serials.get(self.config.node)
        if self._sure and own and own.text == records.encode(self.me, self.key(), secret, self._identity):
            self._kept = own, self.me, secret
            return False
        before, self.me.serial = self.me.serial, 0
        said = records.encode(self.me, self.key(), secret)
        self.me.serial = before
        if said != self._said:
            self._goes_well()
        elif not self._may_rewrite():
            return False
        if own and self._has_left(self.config.node):
            await self.registry.withdraw()  # who left and comes back is a junior
        if not self._sure:
            # The others may remember records that neither we nor the registry know any more, and what is there may be
            # a replay of one before. By the clock, which serials do not outrun: it is all there is when all is lost.
            now = 0 if clock.is_wrong() else clock.now()
            if now > self.me.serial:
                self.me.serial = now
            elif self.me.serial:
                self.me.serial += _UNSEEN
        # Without a secret anybody may have put the highest one there is.
        self.me.serial = self.me.serial + 1 if self.me.serial < records.LARGEST else 1
        self._serials.note(self.config.node, self.me.serial)  # whatever becomes of it
        await self.registry.put_record(records.encode(self.me, self.key(), secret, self._identity))
        self._sure = True
        self._said = said
        return True

    def _goes_well(self):
        self._rewritten = []
        self._problems.replace("record", [])

    def _may_rewrite(self):
        """Whether the record may be written once more though it says nothing new: each time wakes up everybody."""
        now = compat.monotonic()
        self._rewritten = [at for at in self._rewritten if now - at < _SPAN]
        if len(self._rewritten) < _REWRITES:
            self._rewritten.append(now)
            return True
        text = "this router's record is overwritten again and again, or refused: is there a copy of this router? set "
        text += "another name on one: uci set bgpmesh.main.node=…; %s; or somebody else writes %s" % (TAKE, self.key())
        self._problems.replace("record", [Problem("record_overwritten", self.config.node, text)])
        return False

    def _has_left(self, node):
        """Whether what the registry has of a node is its farewell."""
        return self._is_gone(self._decoded.get(node))

    @staticmethod
    def _is_gone(verdict):
        return bool(verdict) and not any(verdict[1:3])

    def _is_switching(self):
        """Whether the record says that our keys are to come, and tincd has not been told of them yet.

        The record without the earlier keys is written after that, for it ends the others' tunnels under these.
        """
        own = self.own()
        coming = own and own.next
        return bool(coming) and coming.generation == self.me.generation and self.runs_as != self.me.tinc

    async def leave(self):
        """Takes this router out of the registry: record, claim and liveness. Raises EtcdError.

        What is there under our name and is another router's stays. Under a secret a farewell is left behind.
        """
        await self.registry.poll()
        self._take_in()
        if not self._is_taken():
            await self.registry.leave(self._farewell(self.config.node, self._identity))

    def forget(self):
        """Keeps no more of the mesh on flash than how far our serials have gone, which who comes back goes on from."""
        node = self.config.node
        last = self._serials.get(node)
        forget({node: last + 1} if self._signed and last else {})  # the farewell's

    async def remove(self, node):
        """Takes another member out of the registry. Raises EtcdError, ValueError."""
        if node == self.config.node or not records.is_name(node):
            raise ValueError("the name of another member would be right; see `bgpmesh peers`")
        await self.registry.poll()
        self._take_in()
        if self.trust and node in self.others:
            raise ValueError("the network's owner has approved it, and ends that: bgpmesh revoke %s" % node)
        await self.registry.remove(node, None if self.trust else self._farewell(node))

    def _farewell(self, node, identity=None):
        """What is left in the place of a node's record; None where deleting is enough."""
        secret = network_secret.signing(self.config.secrets, self.others.values())
        if not self._signed or not self.others:
            return None  # nobody would read it
        return records.farewell(self._serials.get(node) + 1, self.key(node), secret, identity)
