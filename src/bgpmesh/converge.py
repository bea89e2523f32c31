"""Plan, apply, verify: the loop that makes tincd and BIRD what the membership says, and looks whether they are."""

import asyncio

from . import compat, fib
from . import plan as planning
from .address import is_name
from .bird.control import BirdError
from .bird.daemon import Bird
from .events import Events
from .lately import Lately
from .latency import Latency
from .model import Problem
from .names import Names
from .neighbours import Neighbours
from .problems import Retry
from .tally import Tally
from .tinc import graph
from .tinc.control import TincError
from .tinc.daemon import Tincd
from .ubus import UbusError

QUICK = 0.3  # seconds between two looks, or polls, while something is changing
_ALERT = 0.15  # seconds between two looks while a member that is dialled may switch its keys at any moment
_ALERTED = 600  # seconds for which these go on for one member, at most, and then
_CALM = 3600  # seconds since they began until they may again
_LOOK = 10  # seconds between two looks, at most: what the registry costs is no reason to let the daemons be
_TROUBLED = 3  # seconds between two looks while something stays wrong
_REST = 10  # times as long as a look took the next one waits
_GAP = 0.7  # seconds between two applies, at least: a burst of joins makes one reload
_PATIENCE = 20  # seconds that a change may take before what is still missing is a problem
_NAMED = 8  # peers in trouble that get a problem each; more of them share one
_HEAD_START = 2.5  # seconds that BIRD waits for the tunnels, at most
_RENEW = 1.5  # seconds after the overlay's interface came up for which BIRD is told to put its routes there
_RESTART = 0.8  # seconds that tincd is given to start again
_LATE = 5  # seconds after which a route that is not in the kernel is put there again
_ROUTES = 30  # seconds between two looks at the kernel's routes while none is missing
_HOLD = 60  # seconds that a tunnel is kept after it ceased to be this router's to dial
_MOVE = 45  # seconds that a session is kept after it ceased to be one of the plan's: longer than a sign of life holds
_FOREIGN = 3600  # the same of what tincd is told where a member is of another make: to change that restarts it
_VAIN = 60  # seconds after which others are dialled besides a member that is not reached
_FORLORN = 600  # the same where the registry has nobody alive: most likely it is right, or we are cut off
_AUDIT = 300  # seconds between two comparisons of what nobody but the agent should change
# Parts whose problems are those of a plan in force.
_OF_A_PLAN = ("plan", "tinc", "bird", "stock_bird", "daemons", "rpki", "routes", "peers")
# Codes of what a member has wrong, or the owner wants.
_OTHERS = ("bad_record", "record_gone", "member_conflict", "prefix_conflict", "rpki_invalid", "drained")
_OTHERS += ("pending", "unapproved", "revoked", "forged", "unverified", "bad_statement")


class Convergence:
    """The daemons of this router and what should be of them.

    membership: the Membership to follow, set by who creates it. plan: the Plan in force, None until there
    is one. state: as the ubus method `status` has it. tincd, bird: the daemons. latency: the round trips to the
    members. events: what was told of them. applies: part (tinc, bird) -> Tally. drained: whether the peers are to use
    this router last.
    """

    def __init__(self, bus, procd, problems, tinc_version, report):
        self.membership = None
        self.plan = None
        self.state = "starting"
        self.drained = False
        self.tincd = Tincd(procd, tinc_version, report)
        self.bird = Bird(procd)
        self._problems = problems
        self._report = report
        self._neighbours = Neighbours()
        self.events = Events(bus)
        self.latency = Latency()
        self.applies = {"tinc": Tally(), "bird": Tally()}
        self._substituted = None, [], [], set()  # what substitutes were chosen from, and which: it takes a while
        self._routes_seen_at = -_ROUTES  # when the kernel's routes were last looked at
        self._lacking = {}  # (node, prefix) -> since when the kernel has no route to it though there should be one
        self._unheard = set()  # those without a session here whose routes the kernel does not have
        self._looked_for = None  # whose routes were looked for last
        self._lately = Lately(_MOVE), Lately(_MOVE)  # those that this router has sessions with; the reflectors
        self._foreign = Lately(_FOREIGN)  # the members of another make
        self._names = Names()
        self._alerts = {}  # node -> since when it has been about to switch its keys
        self._underlay = {}  # node -> the address that tincd sees it at
        self._vain = {}  # node -> since when it is dialled and not reached
        self._planned_for = None  # the Membership that the plan was made from
        self._candidates = None  # (those among which the plan shares out the dials, those dialled besides)
        self._dialled = {}  # node -> when its tunnel was last this router's to dial
        self._applying = asyncio.Lock()  # held while services and files change
        self._wake = asyncio.Event()  # there is something to plan, or to look at
        self._leaving = False
        self._is_aside = False  # whether the daemons were stopped, and there was no plan since
        self._stale = True  # the plan is older than what it was made from
        self._changed_at = compat.monotonic()  # when the plan last changed
        self._stirred_at = self._changed_at  # when something last happened that is to be looked at often
        self._applied_at = -_GAP  # the clock may start at 0
        self._raised_at = -_TROUBLED  # when the overlay's interface was last seen to be another one
        self._audited_at = -_AUDIT
        self._begun_at = 0  # when there was a plan for the first time
        self._rest = 0  # seconds that the last look leaves the processor to others
        self._due = []  # the parts of the plan that are to be applied
        self._retries = {"tinc": Retry(), "bird": Retry()}
        bus.subscribe("service", self._hear_procd)

    async def run(self):
        """Runs until stop()."""
        while not self._leaving:
            await self.step()
            # Who has only just begun to reach the others lets them wait for nothing.
            raised = compat.monotonic() - self._raised_at < _TROUBLED
            rest = 0 if raised or self._is_alerted() else self._rest
            await asyncio.sleep(rest)
            await sleep(self._wake, max(0, self.next_look() - rest))

    async def step(self):
        """One round: a plan where there is need of one, what is due of it applied, and a look whether it is so."""
        self._let_go()
        if self._stale and self._is_known() and not self._gap():
            if not self.plan:
                self._lately[0].note(await self.bird.left())
            if self._is_known():  # still: its address may have been lost meanwhile
                self._stale = False
                self._make_plan()
        if self.plan and self._may_run():
            await self._apply()
            began, ran = compat.monotonic(), (self.tincd.running, self.bird.running)
            await self._verify()
            took = compat.monotonic() - began
            # A look that sees a daemon come up has waited for it, and worked little.
            self._rest = min(_TROUBLED, _REST * took) if ran == (self.tincd.running, self.bird.running) else 0
        elif self.plan or self.membership.kept_out and not self._is_aside:  # an earlier agent's daemons may run
            await self._stand_aside()
        self.judge()

    def next_look(self):
        """Seconds until the next round."""
        waits = [retry.wait() for retry in self._retries.values() if retry.wait()]
        if self._stale and self._gap():
            waits.append(self._gap())
        if self.plan and self.state != "converged":
            waits.append(QUICK if self.moving() else _TROUBLED)
        if self._is_alerted():
            waits.append(_ALERT)
        return min(waits + [_LOOK, self.membership.config.poll_interval])

    def _is_alerted(self):
        """Whether a member that is dialled may switch its keys at any moment: not one that says so for ever, or ever
        again."""
        now, rotating = compat.monotonic(), self.plan.rotating if self.plan else ()
        for node in [node for node in self._alerts if now - self._alerts[node] >= _CALM and node not in rotating]:
            del self._alerts[node]
        return any([now - self._alerts.setdefault(node, now) < _ALERTED for node in rotating])

    def refresh(self):
        """The membership is another now: has a plan made of it."""
        self._stale = True
        self._wake.set()

    def audit(self):
        """Looks at everything now rather than at the next interval."""
        self._audited_at = -_AUDIT
        self._wake.set()

    async def stop(self):
        """Ends the loop, and takes the daemons down. Raises UbusError, OSError."""
        self._leaving = True
        self.judge()
        async with self._applying:
            await self.bird.stop()
            await self.tincd.stop()
        self._wake.set()

    def in_force(self, drained):
        """Whether BIRD runs on a plan that has this router drained, or not drained."""
        if not self.plan or self.plan.drained != drained:
            return False
        return "bird" not in self._due and self.bird.config == "in force"

    def moving(self):
        """Whether something is under way that a quick look makes quicker."""
        recent = compat.monotonic() - max(self._changed_at, self._stirred_at)
        if self.state == "converged":
            return recent < 3
        return recent < _PATIENCE or self.membership.settling()

    # Plan

    def _is_known(self):
        member = self.membership
        return self._may_run() and member.prefixes is not None and member.admitted() is not None

    def _may_run(self):
        return self.membership.me and not self.membership.kept_out

    def _gap(self):
        """Seconds until a new plan may be applied."""
        return max(0, self._applied_at + _GAP - compat.monotonic())

    def _let_go(self):
        """Has a plan made without what was held on to for long enough: tunnels, and what members of another make need.

        Who says now that it is one and now that it is none would have everybody's tincd start again each time.
        """
        now = compat.monotonic()
        for node in self.plan.share if self.plan else ():
            self._dialled[node] = now
        for node in [node for node in self._dialled if now - self._dialled[node] >= _HOLD]:
            del self._dialled[node]
            self._stale = True
        self._foreign.note(self.plan.foreign if self.plan else ())
        self._stale = self._foreign.expire() or self._stale
        self._move()

    def _move(self):
        """Has a plan made without the sessions that were held on to for long enough.

        New ones are up before that, and so are those of the members at their other ends: who is away from the registry
        may not know that there are reflectors now, and keeps its sessions as long as they last.
        """
        if not self.plan:
            return
        sessions, reflectors = self._lately
        online = self.membership.online
        sessions.note(self.plan.peers)
        reflectors.note(self.plan.reflectors)
        sessions.seconds = reflectors.seconds = max(_MOVE, 4 * self.membership.config.poll_interval)
        held = [node for node in self.plan.sessions if node not in self.plan.peers]
        if not self._is_served():
            sessions.note(held)
        sessions.note([node for node in held if node not in online and self.bird.up(node)])
        self._stale = any([lately.expire() for lately in self._lately]) or self._stale

    def _is_served(self):
        """Whether the sessions with the reflectors are up, those of the reflectors that are there."""
        plan = self.plan
        wanted = [node for node in plan.reflectors if node in plan.peers and node in self.membership.online]
        return all([self.bird.up(node) for node in wanted])

    def _present(self):
        """The members among which dials are shared out: those alive, and those that tincd reaches all the same."""
        return set([node for node in self.membership.others if self._is_present(node)])

    def _is_present(self, node):
        return node in self.membership.online or self.tincd.reaches(node)

    def _substitutes(self):
        """Who is dialled besides this router's share while some of it is not reached.

        A sign of life may be forged: so as many of those that are reached, and of those not tried yet.
        """
        now = compat.monotonic()
        others = self.membership.others
        for node in [node for node in self._vain if node not in others or self.tincd.reaches(node)]:
            del self._vain[node]
        for node in self.plan.dialled if self.plan else ():
            if node in others and not self.tincd.reaches(node):
                self._vain.setdefault(node, now)
        patience = _VAIN if [node for node in others if node in self.membership.online] else _FORLORN
        vain = [node for node in self._vain if now - self._vain[node] >= patience]
        if not vain or len(others) < graph.FULL_MESH:
            return set()
        reached = [node for node in others if self.tincd.reaches(node)]
        untried = [node for node in others if node not in reached and node not in vain]
        if self._substituted[0] is not others or self._substituted[1:3] != (reached, untried):
            me = self.membership.me
            found = set()
            for nodes in (reached, untried):
                found |= set(graph.dials(me.node, [others[node] for node in nodes] + [me], True))
            self._substituted = others, reached, untried, found
        return self._substituted[3]

    def _make_plan(self):
        member = self.membership
        self._candidates = self._present(), self._substitutes()
        plan = planning.make(
            member.config,
            member.me,
            list(member.others.values()) if member.admitted() else [],
            member.claims,
            self._candidates[0],
            self._underlay,
            list(set(self._dialled) | self._candidates[1]),
            self.tincd.version,
            self.drained,
            [lately.names() for lately in self._lately],
            dict(self.latency.patience),
            dict(self._names.known),
            bool(self._foreign.names()),
        )
        before = self.plan
        if before and before.tinc == plan.tinc:
            plan.tinc = before.tinc  # which holds on to nothing new
        self.plan = plan
        self._is_aside = False
        self._planned_for = member
        self._problems.replace("plan", plan.problems)
        compat.pace_collector()
        same = before and before.bird == plan.bird
        if same:
            plan.bird.known = before.bird.known
        if before and (before.tinc, before.services) == (plan.tinc, plan.services):
            if same:
                return
            if before.bird.same_but_for_patience(plan.bird):
                self._due = [part for part in ("tinc", "bird") if part in self._due or part == "bird"]
                return
        self._changed_at = compat.monotonic()
        if not before:
            self._begun_at = self._changed_at
        for retry in self._retries.values():
            retry.succeeded()
        self._audited_at = -_AUDIT

    # Apply

    async def _apply(self):
        """Applies what is due: all of a new plan, everything once in a while, and what failed."""
        now = compat.monotonic()
        if now - self._audited_at >= _AUDIT or not self.tincd.clean(self.plan) or not self.bird.clean():
            self._audited_at = now
            self._due = ["tinc", "bird"]
            await self._look_for_stock_bird()
        for part, daemon in (("tinc", self.tincd), ("bird", self.bird)):
            if part in self._due and self._retries[part].due() and not (part == "bird" and self._is_early()):
                async with self._applying:
                    if not self._leaving:
                        await self._apply_part(part, daemon)
                self._applied_at = compat.monotonic()

    def _is_early(self):
        """Whether BIRD waits: for the first tunnels and their keys, and no longer than _HEAD_START."""
        if self.bird.running or compat.monotonic() - self._begun_at > _HEAD_START:
            return False
        return not self.tincd.is_ready(self.plan, self.membership.online)

    async def _apply_part(self, part, daemon):
        began = compat.ticks_us()
        member = self._planned_for
        try:
            await daemon.apply(self.plan)
        except OSError as error:
            problem = Problem("disk", part, "cannot write the files of %s: %s" % (part, compat.reason(error)))
        except UbusError as error:
            problem = Problem("procd", part, "procd did not take the service of %s: %s" % (part, error))
        except (TincError, BirdError) as error:
            problem = Problem(part, part, str(error))
        else:
            self.applies[part].note(began, True)
            self.membership.runs_as = self.tincd.name
            if part == "tinc" and self.tincd.restarts:
                await self._await_interface()
            self._due.remove(part)
            self._retries[part].succeeded()
            self._problems.replace(part, [])
            if part == "bird" and member.bridge():
                self.refresh()
            return
        self.applies[part].note(began, False)
        self._retries[part].failed()
        self._problems.replace(part, [problem])

    async def _look_for_stock_bird(self):
        try:
            runs = await self.bird.stock_runs()
        except UbusError:
            return  # said where procd is needed
        text = "the router's own bird runs and removes the mesh's routes: service bird stop; service bird disable"
        self._problems.replace("stock_bird", [Problem("stock_bird", "bird", text)] if runs else [])

    async def _stand_aside(self):
        """Without an address of its own the router must not go on using one that is another's, or its own network's."""
        try:
            await self.bird.stop()
            await self.tincd.stop()
            self.plan = None
            for part in _OF_A_PLAN:
                self._problems.replace(part, [])  # nobody looks any more whether they are over
            self._is_aside = True
        except (UbusError, OSError) as error:
            self._problems.replace("tinc", [Problem("procd", "tinc", "cannot stop tincd and bird: %s" % error)])

    def _hear_procd(self, event, data):
        """A daemon was started or stopped: looks at once, and often for a while."""
        service = str(data.get("service", ""))
        if service == "bird":
            self.audit()
        elif service.startswith("bgpmesh-"):
            if event == "instance.respawn":
                self.bird.doubt()
            self._stirred_at = compat.monotonic()
            self._wake.set()

    # Verify

    async def _verify(self):
        found = []
        for part, daemon in (("tinc", self.tincd), ("bird", self.bird)):
            try:
                await daemon.verify(self.plan, self.membership.online)
            except (TincError, BirdError) as error:
                daemon.lost()
                found.append(Problem(part + "_down", part, str(error)))
        if not self.bird.running:
            await self._end_hung_bird()
        interface = self.membership.config.interface
        await self.bird.flush(interface)
        found += await self._join_interface()
        if not self.membership.me:
            return  # it has lost its address meanwhile, and stands aside next
        heard = self._heard()
        self.membership.vouch(heard)
        self._look_at_underlay()
        self._look_at_names()
        self._stale = self._stale or (self._present(), self._substitutes()) != self._candidates
        try:
            self.tincd.warm_up(self.plan)
        except OSError:
            pass  # no route while the interface is not up: it comes with the next look
        patient = compat.monotonic() - self._changed_at < _PATIENCE
        try:
            unsaid = await self.bird.ask_validator(self.membership.config, self.plan)
            self._problems.replace("rpki", [one for one in unsaid if one.code != "rpki" or not patient])
        except BirdError:
            pass  # said where BIRD is looked at
        was_up = self.state in ("converged", "degraded")
        self._problems.replace("daemons", [] if patient and not was_up else found)
        down = found or self._problems.of("tinc") or self._problems.of("bird")
        lacking = [] if down or not self.membership.me else await self._look_at_routes(heard, patient)
        self._problems.replace("routes", [] if patient else lacking)
        self._problems.replace("peers", [] if patient or down else self._peer_problems())
        self.events.tell(self.plan.seats, self.membership.online, self.bird.sessions)
        reached = [node for node in self._online() if self.tincd.reaches(node)]
        self.latency.look(_Addresses(reached, self.plan.seats), self.plan.seats)
        self._stale = self._stale or self._is_lossy()

    def _is_lossy(self):
        """Whether the paths lose more, or less, than the plan says."""
        plan = self.plan
        return planning.patience_with(self.membership.config, plan.sessions, self.latency.patience) != plan.patience

    def _heard(self):
        """Those whose routes should be here: their session is up, or their tunnel and a session with a reflector."""
        plan = self.plan
        reflected = any([self.bird.up(node) for node in plan.reflectors])
        up, reaches = self.bird.up, self.tincd.reaches
        return set([node for node in plan.seats if (up(node) if node in plan.peers else reflected and reaches(node))])

    async def _look_at_routes(self, up, patient):
        """Has BIRD put routes into the kernel that are not there though their session is up; the Problems with them.

        up: those whose routes should be here; patient: whether it is too early for that, and only those without a
        session are looked for.
        """
        me, now = self.membership.me, compat.monotonic()
        reflected = len(self.plan.peers) < len(self.plan.seats)
        if patient and not reflected:
            return []
        news = up != self._looked_for or self._routes_seen_at < self._changed_at
        if not self._lacking and (not up or now - self._routes_seen_at < _ROUTES and not (reflected and news)):
            return []
        self._routes_seen_at = now
        self._looked_for = up
        try:
            routed = fib.routed(self.membership.config.interface)
        except OSError:
            return []
        lacking = {}
        for node, seat in self.plan.seats.items():
            if routed is not None and node in up:
                for prefix in seat.prefixes:
                    key = node, str(prefix)
                    if key[1] not in routed and (prefix.family == 4 or me.ip6 and seat.member.ip6):
                        lacking[key] = self._lacking.get(key, now)
        for key in self.bird.rpki.invalid if self.bird.rpki else ():
            lacking.pop(key, None)
        self._lacking = lacking
        self._unheard = set([node for node, _ in lacking if node not in self.plan.peers])
        late = sorted([key for key in lacking if now - lacking[key] >= _LATE])
        if late:
            try:
                await self.bird.rejoin(self._networks())
                await self.bird.renew_routes()
                if now - min([lacking[key] for key in late]) >= _PATIENCE and await self.bird.is_recovering():
                    await self._start_bird_anew("it gives the kernel no routes, and waits for what has come")
            except BirdError:
                pass  # said where it is looked at
        text = (
            "%s of '%s' is not in the kernel's routing table, though the session is up: see whether `bgpmesh status` "
            "there announces it; here `service bgpmesh restart` has BIRD begin anew"
        )
        return [
            Problem("route_missing", "%s %s" % (node, prefix), text % (prefix, node))
            for node, prefix in late
            if now - lacking[node, prefix] >= _PATIENCE and node in self.plan.peers
        ]

    def _networks(self):
        """Those of the overlay that this router is in."""
        config = self.membership.config
        return [config.network] + ([config.network6] if self.membership.me.ip6 else [])

    async def _end_hung_bird(self):
        try:
            if await self.bird.is_hung():
                await self._start_bird_anew("it runs and does not answer")
        except UbusError:
            pass  # said where procd is needed

    async def _start_bird_anew(self, why):
        """Has a BIRD ended that cannot help itself: one that hangs, or has never ended its recovery, as 3.1.7 may; one
        that ends as it should leaves the next one nothing to recover."""
        self._report("bird is started again: " + why)
        try:
            async with self._applying:
                await self.bird.stop()
        except (UbusError, OSError):
            pass  # said where procd is needed
        self._lacking = {}
        self.audit()

    async def _join_interface(self):
        """Gives the overlay's interface what the kernel forgets with it. Returns what is wrong with that, as Problems.

        For a while after it came up: it gets its address a moment later, and takes no route before.
        """
        interface = self.membership.config.interface
        try:
            if self._neighbours.apply(interface, self.plan.seats):
                self._raised_at = compat.monotonic()
            if compat.monotonic() - self._raised_at < _RENEW:
                await self.bird.renew_routes()
        except BirdError:
            pass  # said where it is looked at; a bird that starts looks for itself
        except OSError as error:
            return [Problem("neighbours", interface, str(error))]
        return []

    async def _await_interface(self):
        """Looks after the interface while tincd is started again, and leaves tincd alone.

        A tincd 1.0 that has only just begun would be ended by the signal that asks it for its nodes.
        """
        until = compat.monotonic() + _RESTART
        while compat.monotonic() < until and self.plan and not self._leaving:
            await asyncio.sleep(0.1)
            if self.plan:
                await self._join_interface()

    def _look_at_names(self):
        hosts = {}
        for node in self.plan.dialled:
            name = self._name(node)
            if name:
                hosts[name] = hosts.get(name, False) or not self.tincd.has_tunnel(node)
        for _, host, _ in self.membership.config.etcd:
            if is_name(host):
                hosts.setdefault(host, False)
        self._stale = self._names.look(hosts, [host for host in hosts if hosts[host]]) or self._stale

    def _name(self, node):
        """That of a member's endpoint, where it is none of an address."""
        endpoint = self.plan.seats[node].member.endpoint if node in self.plan.seats else None
        return endpoint[0] if endpoint and is_name(endpoint[0]) else None

    def _look_at_underlay(self):
        for node, seen in self.tincd.nodes.items():
            if seen.direct and seen.address and self._underlay.get(node) != seen.address:
                self._underlay[node] = seen.address
                self._stale = True

    def missing(self, node):
        """What a member that is online lacks: a text, or None when its tunnel is up, and its session or its routes."""
        session = self.bird.sessions.get(node)
        if not self.tincd.reaches(node):
            name = self._name(node)
            if name and node in self.plan.dialled and not self._names.known.get(name):
                return "no tunnel: no address is found for its endpoint's name, %s" % name
            return "no tunnel: is its tinc port open, and are its endpoint and its clock right?"
        if node not in self.plan.peers:
            if not any([self.bird.up(reflector) for reflector in self.plan.reflectors]):
                return "no BGP session with a reflector: %s" % ", ".join(self.plan.reflectors)
            return "its routes have not come from the reflectors" if node in self._unheard else None
        if not session:
            return "no BGP session in BIRD"
        if session.state != "Established":
            detail = " (%s)" % session.info if session.info else ""
            return "its BGP session is in state %s%s" % (session.state, detail)
        return None

    def via(self, node):
        """The reflectors from which a member's routes come; none where it has a session here, or lacks something."""
        if node in self.plan.peers or self.missing(node):
            return []
        return [reflector for reflector in self.plan.reflectors if self.bird.up(reflector)]

    def _online(self):
        """The names of those who take part and are alive."""
        return [node for node in self.plan.seats if node in self.membership.online]

    def _peer_problems(self):
        online = sorted(self._online())
        lacking = [(node, self.missing(node)) for node in online if self.missing(node)]
        if len(lacking) <= _NAMED:
            return [Problem("peer", node, "'%s': %s" % (node, fault)) for node, fault in lacking]
        text = "%d of the %d peers that are online are not connected, such as '%s': %s; `bgpmesh peers` lists them"
        return [Problem("peer", "peers", text % ((len(lacking), len(online)) + lacking[0]))]

    def judge(self):
        """Works out the state from what was seen last."""
        self.state = self._judged()

    def _judged(self):
        if self._leaving:
            return "stopping"
        if not self.plan or not self._may_run():
            return "waiting"
        up = self.tincd.running and self.bird.running and not any([self.missing(node) for node in self._online()])
        troubled = self._is_troubled()
        if up and self.membership.known and not troubled and not self._stale:
            return "converged"
        busy = self._stale or compat.monotonic() - self._changed_at < _PATIENCE
        return "syncing" if busy and not troubled else "degraded"

    def _is_troubled(self):
        # What another member has wrong is said, but does not make this router's own state a bad one.
        node = self.membership.config.node
        for problem, _ in self._problems.all():
            own = problem.subject == node or problem.subject.startswith(node + " ")
            if own or problem.code not in _OTHERS:
                return True
        return False


class _Addresses:
    """node -> overlay address of these nodes, made when asked for."""

    def __init__(self, nodes, seats):
        self._nodes = set(nodes)
        self._seats = seats

    def __iter__(self):
        return iter(self._nodes)

    def __contains__(self, node):
        return node in self._nodes

    def __getitem__(self, node):
        return self._seats[node].member.ip


async def sleep(event, seconds):
    """Sleeps until the event is set, and no longer than `seconds`; clears it."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        pass
    event.clear()
