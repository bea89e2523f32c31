"""The agent: its options, its keys, its membership, and the loop of polls. This module wires the parts together."""

import asyncio

from . import compat, converge, disk, etcd, netifd, status
from . import plan as planning
from .bird import ao
from .discovery import Discovery
from .membership import Membership
from .model import RUN, Problem
from .options import Options
from .problems import Problems, Retry
from .procd import Procd
from .tinc import control as tinc_control
from .tinc import keys
from .ubus import UbusError

_FAULT = 5  # seconds until a round that failed is begun anew
_WELL = 600  # seconds without another fault after which one is over
_SEARCH = 5  # seconds between two looks for a neighbour on the LAN while there is no registry
_SCRAPE = 30  # seconds between two files of metrics
_COLLECTOR = "/usr/lib/lua/prometheus-collectors/textfile.lua"  # of prometheus-node-exporter-lua-textfile
_METRICS = "/var/prometheus/bgpmesh.prom"  # what it reads
_WATCH = 120  # seconds after which a watch is opened anew: one that has gone deaf looks like one that has no news
_PAUSE = 1  # seconds between the end of a watch and the next one
_MOMENT = 0.05  # seconds that what comes along with a change is given
_REST = 4  # times as long as a step took the next one waits that the registry rings for, or that looks for what moves
_SPREAD = 0.00001  # seconds for each two members, over which the routers spread their polls after a change: of each
# poll etcd has the more to look through the more members there are
_FIRST = 0.03  # seconds for each member, over which they spread their first poll where power has returned to all
_EARLY = 0.005  # seconds by which a sleep may end too early
_BOOT = 300  # seconds after a router's start for which that may be so
_COMMAND = "/usr/sbin/bgpmesh"
_TRIAL = 2  # seconds between two looks whether the options work, until it is known
_TRIED = 10  # and from then on
_REVIEW = 60  # seconds between two looks at the interfaces, when netifd tells of no change


class Agent:
    """The agent of one router. bus: what ubus.open_bus gives; report: gets the log, a line at a time.

    What `status` shows of it: options, problems, lan (a discovery.Discovery), started (monotonic seconds), and
    membership and mesh (a converge.Convergence), None until the router has a registry and keys.
    """

    def __init__(self, bus, report):
        self.started = compat.monotonic()
        self.bus = bus
        self.problems = Problems(report)
        self.options = Options(self.problems, report)
        self.membership = None
        self.mesh = None
        self.lan = Discovery(bus, self.problems, report)
        self._report = report
        self._procd = Procd(bus)
        self._keys = None
        self._ao = False  # whether BGP sessions can have TCP-AO
        self._leaving = False
        self._settled = False  # whether the start is over
        self._registering = asyncio.Lock()  # held for a step of the membership
        self._poll = asyncio.Event()  # the registry is to be asked now
        self._hurried = False  # whether somebody has asked for a look at the registry without delay
        self._observed_at = -_REVIEW  # when the interfaces were last looked at
        self._networks = []  # (interface, Prefix) of what they had, but for the overlay's
        self._watch = None  # the task that listens to the registry
        self._rested_at = 0  # until when the last step leaves the processor to others, by compat.monotonic()
        self._rung = False  # whether a poll is about to be made because the registry told of a change
        self._web = None  # (address and port, task that serves there)
        self._rotation = None  # of the keys, where there is or was one
        self._turn = asyncio.Event()  # the keys are to be looked at
        self._recovery = None  # the task that waits for a fault to be over

    @property
    def config(self):
        """The Config in force, or None where there is none that can be used."""
        return self.options.config

    async def run(self):
        """Runs until SIGTERM; without options that can be used it waits for better ones, and says so."""
        compat.umask(0o077)
        signals = compat.Signals(compat.SIGHUP, compat.SIGTERM, compat.SIGINT)
        status.publish(self)
        self.bus.subscribe("network.interface", self._hear_netifd)
        self.options.read()
        tasks = [asyncio.create_task(self.bus.run())]
        while True:
            if len(tasks) == 1 and self.config:
                if not self.config.enabled:
                    self._report("option 'enabled' is 0: nothing to do")
                    break
                tasks.append(asyncio.create_task(self._guard(self._work)))
                tasks.append(asyncio.create_task(self._guard(self._watch_options)))
                self._open_web()
            if await signals.next() != compat.SIGHUP:
                break
            self.reload()
        for task in tasks + ([self._web[1]] if self._web else []):
            task.cancel()
        if self.membership and not self._leaving:
            self.membership.save(True)
        disk.remove(_METRICS)

    def reload(self):
        """Reads the options again; what is wrong with them is a problem, and the last good ones stay in force."""
        self._follow(self.options.read())
        if self._keys and not self.config.enabled:
            self._report("option 'enabled' is 0 now; `service bgpmesh stop` takes the mesh down")
        self._open_web()
        self.sync()

    def _follow(self, changed):
        """Becomes what the options say where they have changed."""
        if changed and self.membership and self.lan.take_registry(self.config):
            self._enter()

    def _open_web(self):
        """Serves HTTP where the options have it, and no longer where they had it."""
        where = self.config and self.config.http
        if self._web and self._web[0] != where:
            self._web[1].cancel()
            self._web = None
            self.problems.replace("http", [])
        if where and not self._web:
            from . import exporter  # which takes room that most routers need not give

            self._web = where, asyncio.create_task(exporter.serve(self, where))

    def sync(self):
        """Asks the registry and converges now rather than at the next interval."""
        self._observed_at = -_REVIEW
        self._hurried = True
        self._poll.set()
        if self.mesh:
            self.mesh.audit()

    async def drain(self, on):
        """Has the peers use this router only where there is no other, or as before; what came of it."""
        from . import drain  # which takes room for what is done once in a while

        if not self.mesh:
            return drain.NOTHING
        return await (drain.begin if on else drain.end)(self.mesh, self.problems)

    def rotate(self):
        """Begins to rotate this router's keys. "", or a text that says why it does not."""
        problem = "this router has no keys yet"
        if self._keys:
            problem = self._open_rotation().begin(self.membership)
        self._turn.set()
        return problem

    def rotation(self):
        """How far a rotation of the keys is, as a sentence without an end; "" where there is none."""
        return self._rotation.text if self._rotation else ""

    def _open_rotation(self):
        if not self._rotation:
            from .tinc.rotation import Rotation  # which takes room that most routers need not give

            self._rotation = Rotation(self._keys, self.problems, self._report)
        return self._rotation

    async def _watch_options(self):
        """Has changed options taken back where they have cut the router off."""
        while not self._leaving:
            if self.options.look(self._is_connected()):
                self._follow(True)
                self._open_web()
                self.sync()
            await asyncio.sleep(_TRIED if self.options.settled() else _TRIAL)

    def _is_connected(self):
        """Whether the router has its registry, or a member, with the options in force."""
        member, mesh = self.membership, self.mesh
        if not member or member.config is not self.config:  # which may be without a registry to follow them
            return False
        if member.known and not member.registry.failures:
            return True
        return bool(mesh.plan) and any([not mesh.missing(node) for node in mesh.plan.seats])

    async def _rotate(self):
        """Keeps the keys younger than option `key_lifetime`, and ends a rotation that was begun."""
        while not self._leaving:
            if self._rotation or self.config.key_lifetime or self._keys.unfinished:
                if await self._open_rotation().step(self.config, self.membership, self.mesh):
                    self.membership.rekey()  # which may be another than when that began: keys take minutes to make
                    self._poll.set()
            await converge.sleep(self._turn, 1 if self.rotation() else _REVIEW)

    async def leave(self):
        """Takes the router out of the mesh: its record, its sessions, its tunnels. The keys stay.

        Raises EtcdError where the registry cannot be told; nothing is stopped then. procd is told to
        end the agent itself a moment later, when the caller has had the answer.
        """
        await self.drain(True)
        try:
            async with self._registering:
                if self.membership:
                    await self.membership.leave()
                self._leaving = True
        except etcd.EtcdError:
            await self.drain(False)
            raise
        self._report("leaving the mesh")
        if self.mesh:
            try:
                await self.mesh.stop()
            except (UbusError, OSError) as error:
                self._report("cannot stop tincd and bird: %s; `service bgpmesh stop` does" % error)
        if self.membership:
            self.membership.forget()
        asyncio.create_task(self._end())

    async def remove(self, node):
        """Takes another router, which is gone for good, out of the mesh. Raises EtcdError, ValueError."""
        if not self.membership:
            raise ValueError("there is no registry yet; see `bgpmesh status`")
        async with self._registering:
            await self.membership.remove(node)
        self.sync()

    async def _end(self):
        await asyncio.sleep(0.5)
        await self._procd.delete("bgpmesh")

    async def _work(self):
        await self._prepare()
        if not self.config.etcd:
            await self.lan.look(self.config.secrets)
        while not self.lan.take_registry(self.config):
            await converge.sleep(self._poll, _SEARCH)
            await self.lan.look(self.config.secrets)
        self._enter()
        rounds = (self._register, self.mesh.run, self._look_around, self._keep_file, self._rotate)
        await asyncio.gather(*[self._guard(work) for work in rounds])

    async def _guard(self, work):
        # A fault of ours in one round, whatever it is, must not end the loop: it is said, and begun afresh.
        while not self._leaving:
            try:
                await work()
            except Exception as error:
                if isinstance(error, MemoryError):
                    self._outgrow()
                compat.print_exception(error)
                text = "a fault of the agent itself: %r; please report it with the log" % error
                self.problems.replace("agent", [Problem("fault", "agent", text)])
                if self._recovery:
                    self._recovery.cancel()
                self._recovery = asyncio.create_task(self._recover())
                await asyncio.sleep(_FAULT)

    async def _recover(self):
        await asyncio.sleep(_WELL)
        self.problems.replace("agent", [])

    def _outgrow(self):
        """Begins anew with a larger heap where this one is full: what is known is in etcd, and in files."""
        size = compat.larger_heap()
        if size:
            self._report("the mesh has outgrown the agent's memory: it begins anew with %d kB" % size)
            try:
                compat.begin_anew([_COMMAND, "run"], "BGPMESH_HEAP", "%dk" % size)
            except OSError as error:
                self._report("%s: %s" % (_COMMAND, compat.reason(error)))

    async def _prepare(self):
        """Finds tinc, and the router's keys, however long that takes."""
        retry = Retry()
        version = None
        while not version or not self._keys:
            try:
                disk.make_folder(RUN, 0o755)
                version = await tinc_control.version()
                self._keys = self._keys or await keys.load_or_make(version, self._report)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError):
                    text = compat.reason(error) + "; is the package tinc installed, and room on the flash?"
                else:
                    text = "%s: it is damaged; without it this router gets new keys" % error
                text = "no keys yet: " + text
                self.problems.replace("keys", [Problem("tinc", "keys", text)])
                retry.failed()
                await asyncio.sleep(retry.wait())
        self.problems.replace("keys", [])
        self._ao = await ao.usable()
        self.mesh = converge.Convergence(self.bus, self._procd, self.problems, version, self._report)

    # Membership

    async def _look_around(self):
        """Sees who is on the LAN, once in a while; a borrowed registry that is gone is exchanged for another."""
        while not self._leaving:
            await self.lan.look(self.config.secrets)
            if self.config.borrowed and self.membership.registry.failures and self.lan.elsewhere(self.config):
                self.config.etcd = []
                self.lan.take_registry(self.config)
                self._enter()
            await asyncio.sleep(_REVIEW)

    async def _keep_file(self):
        """Keeps the file of metrics up to date where there is somebody to read it."""
        while not self._leaving:
            if compat.exists(_COLLECTOR):
                from . import exporter

                await exporter.write_file(self, _METRICS)
            await asyncio.sleep(_SCRAPE)

    def _enter(self):
        """Becomes a member as the options have it, starting from what is known already."""
        before = self.membership
        registry = etcd.open_registry(self.config)
        self.membership = Membership(self.config, self._keys, registry, self.problems, self._report)
        self.membership.ao = self._ao
        self.membership.load(before)
        self._keep_out()
        self.mesh.membership = self.membership
        self.mesh.refresh()
        if self._watch:
            self._watch.cancel()
        self._watch = asyncio.create_task(self._guard(self._listen))
        if before:
            asyncio.create_task(self._let_down(before, before.key() != self.membership.key()))

    async def _let_down(self, membership, renamed):
        """Ends an earlier membership, and takes its record back where it was under another key."""
        async with self._registering:  # its last step may not be over
            try:
                if renamed:
                    await membership.leave()
            except etcd.EtcdError as error:
                self._report("cannot take back the record of the earlier name: %s" % error)
            membership.registry.close()

    async def _register(self):
        """Keeps the membership in step with the registry: the loop of polls."""
        begin = compat.monotonic() + self._stagger()
        while begin - compat.monotonic() > _EARLY and not self._hurried:
            # What is announced does not wait, and a change of it hurries nothing else.
            await self._observe_prefixes()
            await converge.sleep(self._poll, max(0, begin - compat.monotonic()))
        retry = Retry(converge.QUICK, self.config.poll_interval)
        while not self._leaving:
            await self._observe_prefixes()
            retry.last = self.config.poll_interval
            try:
                async with self._registering:
                    membership = self.membership  # by now it may be another
                    began = compat.monotonic()
                    changed = not self._leaving and await membership.step()
                    now = compat.monotonic()
                    self._rested_at = now + min(self.config.poll_interval, _REST * (now - began))
                retry.succeeded()
                self.problems.replace("etcd", [])
            except etcd.EtcdError as error:
                if error.kind == "limit":
                    self._outgrow()
                changed = False
                retry.failed()
                self.problems.replace("etcd", [Problem("etcd_unreachable", "etcd", str(error))])
            if changed:
                self.mesh.refresh()
            self.options.keep()
            moving = self.mesh.moving()
            membership.save(moving=moving)
            if not moving and not self._settled:
                self._settled = True
                compat.release_code()
            behind = membership.behind()
            quick = max(converge.QUICK, 0 if behind else self._rested_at - compat.monotonic())
            delay = retry.wait() or (quick if moving or behind else self.config.poll_interval)
            await converge.sleep(self._poll, delay)

    def _stagger(self):
        """Seconds until the registry is asked for the first time. The mesh works from flash meanwhile."""
        booted = float((disk.read_or_none("/proc/uptime") or "inf").split()[0])
        return compat.random_fraction() * len(self.membership.others) * _FIRST if booted < _BOOT else 0

    async def _listen(self):
        """Has a poll made as soon as the registry tells of a change; what it does not tell of the next one finds."""
        registry = self.membership.registry
        retry = Retry(_PAUSE, _WATCH)
        while not self._leaving:
            if registry.last_success is not None and not registry.failures:
                try:
                    await asyncio.wait_for(registry.watch(self._hear_registry), _WATCH)
                    retry.succeeded()
                except asyncio.TimeoutError:
                    retry.succeeded()
                except etcd.EtcdError:
                    retry.failed()
            await asyncio.sleep(max(_PAUSE, retry.wait()))

    def _hear_registry(self):
        if not self._rung:
            self._rung = True
            asyncio.create_task(self._poll_soon())

    async def _poll_soon(self):
        # Not all routers of a large mesh at once; and who writes all the time leaves a slow router time for the rest.
        spread = len(self.membership.others) ** 2 * _SPREAD
        pause = self._rested_at - compat.monotonic()
        await asyncio.sleep(max(pause, _MOMENT + compat.random_fraction() * spread))
        self._rung = False
        self._poll.set()

    async def _observe_prefixes(self):
        """Looks which prefixes the interfaces have: what is announced of them, and whether the overlay is in their way.

        Where netifd does not answer all stays as it is.
        """
        now = compat.monotonic()
        if now - self._observed_at < _REVIEW:
            return
        self._observed_at = now
        try:
            dump = await netifd.dump(self.bus)
        except UbusError as error:
            self._observed_at = -_REVIEW
            self.problems.replace("netifd", [Problem("netifd", "interfaces", "netifd does not answer: %s" % error)])
            return
        text = "option 'announce': there is no interface '%s'; `ubus list 'network.interface.*'` shows those there are"
        missing = netifd.missing(dump, self.config.announce)
        self.problems.replace("netifd", [Problem("no_interface", name, text % name) for name in missing])
        usable, problems = planning.local_prefixes(self.config, netifd.from_dump(dump, self.config.announce))
        self.problems.replace("prefixes", problems)
        self._networks = netifd.networks(dump, self.config.interface)
        self._keep_out()
        if self.membership.announce(usable):
            self.mesh.refresh()

    def _keep_out(self):
        """Has this router take part only while the overlay is laid over none of its own networks."""
        problems = planning.overlaps(self.config, self._networks)
        self.problems.replace("overlap", problems)
        if self.membership.kept_out != bool(problems):
            self.membership.kept_out = bool(problems)
            self.mesh.refresh()
            self._poll.set()

    def _hear_netifd(self, _, data):
        """An interface has changed: looks at once. Where it is an announced one the registry is told at once, too."""
        if not self.config:
            return
        self._observed_at = -_REVIEW
        if data.get("interface") in self.config.announce:
            self._poll.set()
        elif self.membership:
            asyncio.create_task(self._observe_prefixes())
