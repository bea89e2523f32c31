import asyncio

from example import Thing, options

from bgpmesh import agent as agent_module
from bgpmesh import compat, disk
from bgpmesh.agent import Agent
from bgpmesh.etcd import EtcdError
from bgpmesh.ubus import UbusError


class Bus:
    def subscribe(self, name, hear):
        pass


class Mesh:
    def refresh(self):
        pass

    def audit(self):
        pass

    def moving(self):
        return True


class Config:
    poll_interval = 1


class Membership:
    """Takes its time over a step; `done` is what was done with it, in order."""

    def __init__(self, name, done):
        self.name = name
        self.done = done
        self.registry = self
        self.others = {}

    async def step(self):
        self.done.append("step of " + self.name)
        for _ in range(5):
            await asyncio.sleep(0)
        self.done.append("end of step of " + self.name)
        return False

    def save(self, moving):
        assert moving

    def behind(self):
        return False

    async def leave(self):
        self.done.append("leave of " + self.name)

    def close(self):
        self.done.append("close of " + self.name)


async def exchange(renamed, turns):
    """What is done when, `turns` turns after a round began, other options make another membership of it."""
    done = []
    agent = Agent(Bus(), done.append)
    agent.options.config = Config()
    agent.options.keep = lambda: done.append("options kept")
    agent.mesh = Mesh()
    agent._observe_prefixes = lambda: asyncio.sleep(0)
    before = agent.membership = Membership("the earlier", done)
    rounds = asyncio.create_task(agent._register())
    for _ in range(turns):
        await asyncio.sleep(0)
    agent.membership = Membership("the new", done)
    agent.sync()
    await agent._let_down(before, renamed)
    for _ in range(50):
        await asyncio.sleep(0)
    rounds.cancel()
    return done


def test_an_earlier_membership_is_let_down_after_its_last_step_and_takes_no_other():
    for renamed in (False, True):
        for turns in range(12):
            done = asyncio.run(exchange(renamed, turns))
            assert "options kept" in done
            ours = [text for text in done if text.endswith("the earlier")]
            last = ours.index("close of the earlier")
            assert last == len(ours) - 1, done
            before = ours[: last - 1] if renamed else ours[:last]
            assert before in ([], ["step of the earlier", "end of step of the earlier"]), done
            assert ("leave of the earlier" in ours) is renamed


def first_step(wait, meanwhile):
    """What an agent does until it asks the registry for the first time, for which it waits so many seconds."""
    done = []
    agent = Agent(Bus(), done.append)
    agent.options.config = Config()
    agent.options.keep = lambda: None
    agent.mesh = Mesh()
    agent.mesh.audit = lambda: None
    agent.membership = Membership("all", done)

    async def observe():
        done.append("prefixes")

    async def reached():
        while "step of all" not in done:
            await asyncio.sleep(0.01)

    async def main():
        agent._observe_prefixes = observe
        agent._stagger = lambda: wait
        rounds = asyncio.create_task(agent._register())
        await asyncio.sleep(0)
        meanwhile(agent)
        await asyncio.wait_for(reached(), 20)
        rounds.cancel()

    asyncio.run(main())
    return done[: done.index("step of all")]


def test_what_is_announced_is_looked_at_before_the_registry_is_asked():
    # At first, after an interface has changed, and in the first round.
    assert first_step(0.2, lambda agent: agent._poll.set()) == ["prefixes"] * 3


def test_who_asks_for_a_look_at_the_registry_does_not_wait_for_its_turn():
    assert first_step(600, lambda agent: agent.sync()) == ["prefixes"] * 2


def test_routers_that_power_has_returned_to_ask_the_registry_one_after_another():
    agent = Agent(Bus(), print)
    agent.membership = Membership("a large mesh", [])
    agent.membership.others = dict.fromkeys(range(1000))
    before = disk.read_or_none
    try:
        disk.read_or_none = {"/proc/uptime": "35.07 60.01\n"}.get
        found = [agent._stagger() for _ in range(100)]
        assert min(found) < 6 and max(found) > 24 and max(found) <= 30 and len(set(found)) > 90
        disk.read_or_none = {"/proc/uptime": "86400.00 60.01\n"}.get
        assert agent._stagger() == 0
        disk.read_or_none = {}.get
        assert agent._stagger() == 0
    finally:
        disk.read_or_none = before


def listened(watch):
    """Has an agent poll and listen, its watches being watch(hear), until it has done both three times."""
    done = []
    membership = Membership("all", done)
    membership.last_success, membership.failures = 0, 0
    watches = []

    async def watched(hear):
        watches.append(hear)
        await watch(hear)

    async def enough():
        while len(watches) < 3 or done.count("step of all") < 3:
            await asyncio.sleep(0.01)

    async def main():
        agent = Agent(Bus(), done.append)
        agent.options.config = Config()
        agent.options.keep = lambda: None
        agent.mesh = Mesh()
        agent.membership = membership
        agent._observe_prefixes = lambda: asyncio.sleep(0)
        tasks = [asyncio.create_task(agent._register()), asyncio.create_task(agent._listen())]
        await asyncio.wait_for(enough(), 20)
        for task in tasks:
            task.cancel()

    membership.watch = watched
    before = agent_module._WATCH, agent_module._PAUSE
    try:
        agent_module._WATCH, agent_module._PAUSE = 0.2, 0.01
        asyncio.run(main())
    finally:
        agent_module._WATCH, agent_module._PAUSE = before


def test_polls_go_on_beside_a_watch_that_is_silent_or_denied_and_it_is_opened_anew():
    async def silent(_):
        await asyncio.sleep(3600)

    async def denied(_):
        raise EtcdError("permission", "etcd refused /alive/: no permission")

    async def ended(_):
        pass

    for watch in (silent, denied, ended):
        listened(watch)


def left(fault=None, busy=None):
    """What is done, in order, when the agent is told to leave; fault: of the registry; busy: of procd."""
    done = []
    agent = Agent(Bus(), lambda text: None)
    agent.mesh = Mesh()
    agent.membership = Membership("all", done)

    async def drain(on):
        done.append("drain" if on else "no drain")

    async def stop():
        done.append("stop")
        if busy:
            raise busy

    async def leave():
        done.append("leave")
        if fault:
            raise fault

    async def end():
        done.append("end")

    async def main():
        agent.drain, agent.mesh.stop, agent._end = drain, stop, end
        agent.membership.leave = leave
        agent.membership.forget = lambda: done.append("forget")
        try:
            await agent.leave()
        except EtcdError as error:
            assert error is fault
        await asyncio.sleep(0)

    asyncio.run(main())
    return done


def test_who_leaves_has_told_its_peers_before_anything_ends():
    assert left() == ["drain", "leave", "stop", "forget", "end"]


def test_who_cannot_leave_goes_on_as_before():
    assert left(EtcdError("unreachable", "no")) == ["drain", "leave", "no drain"]


def test_who_has_left_ends_whatever_procd_does():
    assert left(busy=UbusError(7, "service delete")) == ["drain", "leave", "stop", "forget", "end"]


def test_who_writes_all_the_time_leaves_the_agent_time_for_the_rest():
    took = []

    class Slow(Membership):
        async def step(self):
            took.append(compat.monotonic())
            await asyncio.sleep(0.2)
            agent._hear_registry()
            return False

    agent = Agent(Bus(), print)
    agent.options.config = Config()
    agent.options.config.poll_interval = 600
    agent.options.keep = lambda: None
    agent.mesh = Mesh()
    agent.mesh.moving = lambda: False
    agent.membership = Slow("all", [])
    agent.membership.behind = lambda: False
    agent.membership.save = lambda moving: None
    agent._observe_prefixes = lambda: asyncio.sleep(0)

    async def main():
        rounds = asyncio.create_task(agent._register())
        while len(took) < 3:
            await asyncio.sleep(0.01)
        rounds.cancel()

    asyncio.run(main())
    assert took[2] - took[1] >= 0.2 * 5 - 0.05


def test_a_fault_is_told_until_there_was_none_for_a_good_while():
    found = []

    async def main():
        agent = Agent(Bus(), lambda text: None)
        turns = []

        async def work():
            turns.append(1)
            if len(turns) < 4:
                raise ValueError("no")
            found.append([problem.code for problem, _ in agent.problems.all()])
            while agent.problems.all():
                await asyncio.sleep(0.01)
            agent._leaving = True

        await asyncio.wait_for(agent._guard(work), 10)

    kept = agent_module._FAULT, agent_module._WELL, agent_module.compat.print_exception
    agent_module._FAULT, agent_module._WELL, agent_module.compat.print_exception = 0.01, 0.1, lambda error: None
    try:
        asyncio.run(main())
    finally:
        agent_module._FAULT, agent_module._WELL, agent_module.compat.print_exception = kept
    assert found == [["fault"]]


def test_other_options_that_cannot_be_used_end_no_agent_that_has_none():
    agent = Agent(Bus(), print)
    agent.options.read = lambda: False
    agent.reload()
    assert agent.config is None


def test_a_damaged_file_of_the_keys_is_named_and_waited_for():
    said, tries = [], []

    async def load(version, report):
        tries.append(version)
        if len(tries) < 2:
            raise ValueError("/etc/bgpmesh/rsa_key.pub is not UTF-8 text")
        return "the keys"

    async def version():
        return "1.1"

    async def usable():
        return None

    agent = Agent(Bus(), said.append)
    before = agent_module.keys, agent_module.tinc_control, agent_module.ao, agent_module.disk
    agent_module.keys, agent_module.tinc_control = Thing(load_or_make=load), Thing(version=version)
    agent_module.ao, agent_module.disk = Thing(usable=usable), Thing(make_folder=lambda path, mode: None)
    try:
        asyncio.run(asyncio.wait_for(agent._prepare(), 20))
        agent.mesh = None
        asyncio.run(agent._prepare())  # begun anew after a fault behind it
    finally:
        agent_module.keys, agent_module.tinc_control, agent_module.ao, agent_module.disk = before
    assert len(tries) == 2 and agent.mesh.tincd.version == "1.1"
    assert agent._keys == "the keys" and agent.problems.all() == []
    assert [text for text in said if "rsa_key.pub" in text and "damaged" in text]


def test_only_what_comes_of_the_options_in_force_shows_that_they_work():
    agent = Agent(Bus(), lambda text: None)
    agent.mesh = Thing(plan=Thing(seats=["b"]), missing=lambda node: None)
    assert not agent._is_connected(), "there is no membership yet"
    for known, failures in ((True, 0), (False, 1)):  # it has its registry, or a member alone
        agent.options.config = Config()
        agent.membership = Thing(known=known, registry=Thing(failures=failures), config=agent.config)
        assert agent._is_connected()
        agent.options.config = Config()
        assert not agent._is_connected(), "that is the membership of the earlier ones"


class Netifd(Bus):
    """A bus on which netifd has these interfaces: (name, device, whether it is up, address, length)."""

    def __init__(self, *interfaces):
        self.answers = True
        self.has(*interfaces)

    def has(self, *interfaces):
        self.interfaces = []
        for name, device, up, address, length in interfaces:
            kind = "ipv6-address" if ":" in address else "ipv4-address"
            row = {"interface": name, "l3_device": device, "up": up, kind: [{"address": address, "mask": length}]}
            self.interfaces.append(row)

    async def call(self, path, method):
        if not self.answers:
            raise UbusError(7, "network.interface")
        return {"interface": self.interfaces}


LAN = "lan", "br-lan", True, "192.168.7.1", 24


class Looking:
    """An agent with these options that looks at netifd's interfaces. refreshed: how often the mesh was told."""

    def __init__(self, netifd, *statements):
        self.refreshed = 0
        self.announced = []
        self.agent = Agent(netifd, lambda text: None)
        self.agent.options.config = options(*statements)
        self.agent.mesh = Thing(refresh=self.refresh)
        self.agent.membership = Thing(announce=self.announce, kept_out=False)

    def refresh(self):
        self.refreshed += 1

    def announce(self, prefixes):
        self.announced.append([str(prefix) for prefix in prefixes])
        return False

    def look(self):
        """The problems after a look."""
        self.agent._observed_at = -agent_module._REVIEW
        asyncio.run(self.agent._observe_prefixes())
        return [problem for problem, _ in self.agent.problems.all()]

    def codes(self):
        return [problem.code for problem in self.look()]


def test_an_announced_interface_that_there_is_not_is_told():
    netifd = Netifd(LAN, ("guest", "br-guest", False, "192.168.8.1", 24))
    looking = Looking(netifd, "list announce 'lan'", "list announce 'gest'")
    (problem,) = looking.look()
    assert (problem.code, problem.subject) == ("no_interface", "gest") and "'gest'" in problem.text
    assert looking.announced == [["192.168.7.0/24"]]
    assert Looking(netifd, "option announce 'LAN'").codes() == ["no_interface"]
    # One that is only down is nothing wrong, and none is missed where netifd does not answer.
    assert Looking(netifd, "option announce 'lan,guest'").codes() == []
    netifd.answers = False
    assert looking.codes() == ["netifd"]
    netifd.answers = True
    netifd.has(LAN, ("gest", "br-guest", True, "192.168.8.1", 24))
    assert looking.codes() == []


def test_a_router_whose_own_network_is_where_the_overlay_is_stays_out_until_it_is_not():
    for name, address, length in (
        ("lan", "10.0.0.1", 24),
        ("wan", "10.0.0.5", 24),
        ("guest", "10.0.0.129", 25),
        ("wan", "10.0.0.5", 32),
    ):
        netifd = Netifd(LAN, (name, "eth1", True, address, length))
        looking = Looking(netifd)
        (problem,) = [problem for problem in looking.look() if problem.code == "network_overlap"]
        assert "'%s'" % name in problem.text and "set another 'network' on all routers" in problem.text
        assert looking.agent.membership.kept_out and looking.refreshed == 1 and looking.agent._poll.is_set()
        looking.look()
        assert looking.refreshed == 1
        # What is not known is no reason to come back, nor to go.
        netifd.answers = False
        assert "network_overlap" in looking.codes() and looking.agent.membership.kept_out
        netifd.answers = True
        netifd.has(LAN, (name, "eth1", False, address, length))
        assert looking.codes() == []
        assert not looking.agent.membership.kept_out and looking.refreshed == 2
        netifd.answers = False
        assert looking.codes() == ["netifd"] and not looking.agent.membership.kept_out


def test_what_is_elsewhere_local_or_the_overlays_own_keeps_nobody_out():
    netifd = Netifd(
        LAN,
        ("wan", "wan", True, "198.18.0.1", 16),
        ("near", "eth1", True, "10.0.1.1", 24),
        ("wide", "eth4", True, "10.200.0.5", 8),
        ("loopback", "lo", True, "127.0.0.1", 8),
        ("zero", "eth2", True, "169.254.0.1", 16),
        ("lan6", "br-lan", True, "fe80::1", 64),
        ("six", "br-lan", True, "fd00:7::1", 64),
        ("mesh", "tinc0", True, "10.0.0.1", 24),
        ("off", "eth3", False, "10.0.0.9", 24),
    )
    looking = Looking(netifd)
    assert looking.codes() == [] and not looking.agent.membership.kept_out and not looking.refreshed
    looking = Looking(netifd, "option network6 'fd00:7::/64'")
    (problem,) = looking.look()
    assert (problem.code, problem.subject) == ("network_overlap", "six fd00:7::/64")
    assert "set another 'network6'" in problem.text and looking.agent.membership.kept_out
    # Other options are another membership: it does not wait for the next look.
    looking.agent.options.config = options("option network '192.168.0.0/16'")
    looking.agent.membership.kept_out = False
    looking.agent._keep_out()
    assert [problem.subject for problem, _ in looking.agent.problems.all()] == ["lan 192.168.7.0/24"]
    assert looking.agent.membership.kept_out


def test_any_interface_that_changes_is_looked_at_at_once():
    netifd = Netifd(LAN)
    looking = Looking(netifd)
    assert looking.codes() == []
    netifd.has(LAN, ("wan", "wan", True, "10.0.0.5", 24))

    async def main():
        looking.agent._hear_netifd("interface.update", {"interface": "wan"})
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert looking.agent.membership.kept_out
