import asyncio

from example import Clock, Thing, member, options
from fake_http import run

from bgpmesh import compat, converge
from bgpmesh.bird.control import BirdError, Session
from bgpmesh.model import Problem
from bgpmesh.problems import Problems
from bgpmesh.tinc.control import Node, TincError
from bgpmesh.ubus import UbusError


class Bus:
    def __init__(self):
        self.heard = {}

    def subscribe(self, path, handler):
        self.heard[path] = handler

    async def send_event(self, name, data):
        pass


class Membership:
    """What a Convergence looks at: this router is alfa, and knows the `others`, numbers of members, all alive."""

    def __init__(self, *others):
        self.config = options()
        self.me = member("alfa", 1)
        self.prefixes = self.me.prefixes
        self.known = True
        self.kept_out = False
        self.is_admitted = True
        self.claims = {}
        self.know(*others)

    def know(self, *others):
        self.others = {"r%d" % number: member("r%d" % number, number) for number in others}
        self.online = set(self.others)

    def admitted(self):
        return self.is_admitted

    def settling(self):
        return False

    def bridge(self):
        self.bridges += 1
        return self.bridges == 1 and self.tells_more

    bridges = 0
    tells_more = False

    def vouch(self, nodes):
        self.vouched = nodes


class Daemon:
    """What tinc.daemon.Tincd and bird.daemon.Bird have in common: `applied` plans, failures to come, what is seen."""

    def __init__(self):
        self.applied = []
        self.failures = []
        self.running = False
        self.lies_down = None  # the error that looking at it ends in
        self.doubted = False
        self.version = "1.1"
        self.name = None
        self.restarts = False
        self.renewed = 0
        self.rejoined = None
        self.recovers = False
        self.nodes = {}
        self.sessions = {}
        self.stopped = 0
        self.stock = False
        self.warmed = 0

    async def apply(self, plan):
        if self.failures:
            raise self.failures.pop(0)
        self.applied.append(plan)

    async def verify(self, plan, online):
        if self.lies_down:
            raise self.lies_down
        self.running = True

    def lost(self):
        self.running = False
        self.nodes = {}
        self.sessions = {}

    async def stop(self):
        self.stopped += 1
        self.lost()

    def clean(self, *_):
        return not self.doubted

    def doubt(self):
        self.doubted = True

    def is_ready(self, plan, online):
        return True

    def reaches(self, node):
        return node in self.nodes

    async def left(self):
        return sorted(self.sessions)

    def up(self, node):
        return node in self.sessions and self.sessions[node].state == "Established"

    async def renew_routes(self):
        self.renewed += 1

    async def rejoin(self, networks):
        self.rejoined = [str(network) for network in networks]

    async def is_recovering(self):
        return self.recovers

    def warm_up(self, plan):
        self.warmed += 1

    async def ask_validator(self, config, plan):
        return []

    async def flush(self, interface):
        pass

    hung = False

    async def is_hung(self):
        return self.hung

    async def stock_runs(self):
        return self.stock


class Router:
    """A Convergence over daemons of which each test says what they do."""

    def __init__(self, *others):
        self.bus = Bus()
        self.problems = Problems(lambda text: None)
        self.mesh = converge.Convergence(self.bus, None, self.problems, "1.1", lambda text: None)
        self.tincd = self.mesh.tincd = Daemon()
        self.bird = self.mesh.bird = Daemon()
        self.membership = self.mesh.membership = Membership(*others)
        self.bird.rpki = None
        self.routed = None  # what the kernel routes over the overlay; None: that is not to be seen
        converge.fib = Thing(routed=lambda interface: self.routed)
        self.asked = []  # whose round trip is measured, at each look
        self.mesh.latency = Thing(
            look=lambda peers, members: self.asked.append({node: peers[node] for node in peers}), patience={}
        )

    def connect(self, *nodes, address=None):
        """Has a tunnel to and a session with these nodes, and no others."""
        self.tincd.nodes = {node: Node(True, True, True, address) for node in nodes}
        self.bird.sessions = {node: Session("Established", "", "") for node in nodes}

    def step(self, later=0):
        """The state after a round, so many seconds later than now."""
        with Clock(later):
            run(self.mesh.step())
        return self.mesh.state

    def codes(self):
        return [problem.code for problem, _ in self.problems.all()]


def test_who_is_not_admitted_has_nobody_in_its_plan():
    router = Router(2)
    router.step()
    assert sorted(router.mesh.plan.seats) == ["r2"]
    router.membership.is_admitted = False
    router.mesh.refresh()
    router.step(1)
    assert sorted(router.mesh.plan.seats) == [] and router.bird.applied[-1].seats == {}


def test_a_plan_is_made_of_what_is_told_once_bird_bears_it():
    for more in (False, True):
        router = Router(2)
        router.membership.tells_more = more
        router.step()
        first = router.mesh.plan
        router.step(1)
        assert (router.mesh.plan is not first) is more and router.membership.bridges >= 1


def test_while_it_is_not_known_who_may_take_part_all_stays_as_it_is():
    router = Router(2)
    router.step()
    before = router.mesh.plan
    router.membership.is_admitted = None
    router.membership.know()
    router.mesh.refresh()
    router.step(1)
    assert router.mesh.plan is before
    router.membership.is_admitted = True
    router.step(2)
    assert sorted(router.mesh.plan.seats) == []


def test_a_mesh_converges():
    router = Router(2)
    assert router.step() == "syncing"
    assert len(router.tincd.applied) == len(router.bird.applied) == 1
    assert sorted(router.mesh.plan.seats) == ["r2"]
    router.connect("r2")
    assert router.step() == "converged"
    assert len(router.tincd.applied) == len(router.bird.applied) == 1
    assert router.codes() == []


def test_a_path_that_loses_packets_is_given_more_of_them_and_nothing_else_changes():
    router = Router(2, 3)
    router.connect("r2", "r3")
    router.step()
    before, at = len(router.tincd.applied), router.mesh._changed_at
    router.mesh.latency.patience["r2"] = 2
    router.step(30)
    assert router.step(31) == "converged" and len(router.tincd.applied) == before
    assert router.mesh._changed_at == at, "what is wrong goes on being told"
    assert "".join(router.bird.applied[-1].bird.pieces()).count("multiplier 12;") == 1
    plan = router.mesh.plan
    router.step(32)
    assert router.mesh.plan is plan
    router.mesh.latency.patience["r9"] = 2
    router.step(33)
    assert router.mesh.plan is plan, "no member that there is a session with"
    router.mesh.latency.patience.clear()
    router.step(60)
    router.step(61)
    assert "multiplier 12;" not in "".join(router.bird.applied[-1].bird.pieces())


def test_round_trips_are_measured_to_those_that_have_a_tunnel():
    router = Router(2, 3)
    router.connect("r2")
    router.step()
    assert router.asked == [{"r2": "10.0.0.2"}]


def test_what_was_applied_is_counted():
    router = Router(2)
    router.bird.failures.append(BirdError("no"))
    router.step()
    applies = router.mesh.applies
    assert [(applies[part].good, applies[part].bad) for part in ("tinc", "bird")] == [(1, 0), (0, 1)]


def test_a_router_alone_has_converged():
    assert Router().step() == "converged"


def test_without_an_address_or_prefixes_there_is_no_plan():
    router = Router(2)
    router.membership.prefixes = None
    assert router.step() == "waiting" and not router.mesh.plan
    router.membership.prefixes = []
    router.membership.me = None
    assert router.step() == "waiting" and not router.mesh.plan


def test_before_the_registry_has_answered_nothing_has_converged():
    router = Router(2)
    router.connect("r2")
    router.membership.known = False
    assert router.step() == "syncing"
    assert router.step(30) == "degraded"


def test_who_is_offline_is_not_waited_for():
    router = Router(2, 3)
    router.membership.online = {"r2"}
    router.connect("r2")
    assert router.step() == "converged"
    assert sorted(router.mesh.plan.seats) == ["r2", "r3"]


def test_what_is_missing_is_a_problem_when_it_has_had_its_time():
    router = Router(2, 3)
    router.connect("r2")
    assert router.step() == "syncing" and router.codes() == []
    assert router.step(21) == "degraded" and router.codes() == ["peer"]
    assert "'r3': no tunnel" in router.problems.all()[0][0].text
    router.connect("r2", "r3")
    assert router.step(22) == "converged" and router.codes() == []


def test_what_is_missing_is_named():
    router = Router(2, 3)
    router.connect("r2", "r3")
    router.step()
    assert router.mesh.missing("r2") is None
    router.bird.sessions["r2"] = Session("Active", "", "Socket: No route to host")
    assert router.mesh.missing("r2") == "its BGP session is in state Active (Socket: No route to host)"
    del router.bird.sessions["r2"]
    assert router.mesh.missing("r2") == "no BGP session in BIRD"
    router.tincd.nodes = {}
    assert "no tunnel" in router.mesh.missing("r2")


def test_a_route_that_is_not_in_the_kernel_is_put_there_again_and_said_where_that_does_not_help():
    router = Router(2, 3)
    router.step()
    router.connect("r2", "r3")
    router.routed = {"192.168.2.0/24"}
    router.step(converge._PATIENCE + 1)
    before = router.bird.renewed
    router.step(converge._PATIENCE + 3)
    assert (router.bird.renewed, router.codes(), router.bird.rejoined) == (before, [], None)
    assert router.step(converge._PATIENCE + 1 + converge._LATE) == "converged"
    assert (router.bird.renewed, router.codes(), router.bird.rejoined) == (before + 1, [], ["10.0.0.0/24"])
    assert router.step(2 * converge._PATIENCE + 2) == "degraded"
    problem = router.problems.all()[0][0]
    assert (problem.code, problem.subject) == ("route_missing", "r3 192.168.3.0/24")
    router.routed.add("192.168.3.0/24")
    assert router.step(2 * converge._PATIENCE + 3) == "converged"
    assert router.codes() == []


def test_a_bird_that_never_ends_its_recovery_is_started_again():
    for recovers in (False, True):
        router = Router(2, 3)
        router.step()
        router.connect("r2", "r3")
        router.bird.recovers = recovers
        router.routed = set()
        begun = converge._PATIENCE + 1
        for later in (begun, begun + converge._PATIENCE // 2):
            router.step(later)
            assert router.bird.stopped == 0
        applied = len(router.bird.applied)
        router.step(begun + converge._PATIENCE + 2)
        router.connect("r2", "r3")
        router.step(begun + converge._PATIENCE + 3)
        found = router.bird.stopped, len(router.bird.applied) - applied
        assert found == (recovers, recovers), found
        # One that is told to recover all the same is given as long as the one before.
        router.step(begun + converge._PATIENCE + 4)
        assert router.bird.stopped == recovers


def test_a_bird_that_hangs_is_started_again():
    router = Router(2)
    router.step()
    router.connect("r2")
    router.step()
    router.bird.lies_down = BirdError("BIRD does not answer")
    router.step(1)
    assert router.bird.stopped == 0 and router.codes() == ["bird_down"]
    router.bird.hung = True
    router.step(2)
    assert router.bird.stopped == 1
    applied = len(router.bird.applied)
    router.bird.hung, router.bird.lies_down = False, None
    router.step(3)
    router.connect("r2")
    assert router.step(4) == "converged" and len(router.bird.applied) > applied


def test_that_procd_does_not_say_whether_bird_hangs_is_said_elsewhere():
    router = Router(2)
    router.step()

    async def fail():
        raise UbusError(7, "service list")

    router.bird.is_hung = fail
    router.bird.lies_down = BirdError("BIRD does not answer")
    router.step(1)
    assert router.bird.stopped == 0


def test_a_route_that_is_refused_or_whose_session_is_down_is_not_missed():
    for seen in ("refused", "down"):
        router = Router(2, 3)
        router.step()
        router.connect("r2", "r3")
        router.routed = {"192.168.2.0/24"}
        if seen == "refused":
            router.bird.rpki = Thing(invalid=[("r3", "192.168.3.0/24")])
        else:
            router.bird.sessions["r3"] = Session("Connect", "", "")
        before = router.bird.renewed
        for later in range(1, 4):
            router.step(later * converge._PATIENCE + later)
        assert router.bird.renewed == before and "route_missing" not in router.codes()


def test_many_peers_in_trouble_share_a_problem():
    router = Router(*range(2, 12))
    router.step()
    router.step(21)
    (problem, _) = router.problems.all()[0]
    assert (problem.subject, router.codes()) == ("peers", ["peer"]) and "10 of the 10" in problem.text


def test_a_burst_of_joins_is_applied_at_once():
    router = Router(2)
    router.connect("r2")
    assert router.step() == "converged"
    for number in range(3, 9):
        router.membership.know(*range(2, number))
        router.connect(*router.membership.others)
        router.mesh.refresh()
        router.step()
        assert 0 < router.mesh.next_look() <= 0.7
        assert router.mesh.state == "syncing"
    assert len(router.tincd.applied) == 1
    router.step(0.8)
    assert len(router.tincd.applied) == len(router.bird.applied) == 2
    assert len(router.tincd.applied[-1].seats) == 6


def test_a_plan_that_is_the_same_is_not_applied_again():
    router = Router(2)
    router.step()
    router.mesh.refresh()
    router.step(1)
    assert len(router.tincd.applied) == len(router.bird.applied) == 1


def test_everything_is_compared_once_in_a_while_and_when_asked():
    router = Router(2)
    router.connect("r2")
    router.step()
    router.step(290)
    assert len(router.tincd.applied) == 1
    router.step(310)
    assert len(router.tincd.applied) == 2
    router.mesh.audit()
    router.step(311)
    assert len(router.tincd.applied) == len(router.bird.applied) == 3


def test_what_cannot_be_applied_is_said_and_tried_again_later():
    for part, error, code in (
        ("tincd", OSError(28, "No space left on device"), "disk"),
        ("bird", UbusError(7, "service set"), "procd"),
        ("bird", BirdError("refused"), "bird"),
        ("tincd", TincError("refused"), "tinc"),
    ):
        router = Router(2)
        router.connect("r2")
        daemon = getattr(router, part)
        daemon.failures = [error]
        assert router.step() == "degraded"
        assert router.codes() == [code], (router.codes(), code)
        assert daemon.applied == [] and 0 < router.mesh.next_look() <= 1
        router.step()
        assert daemon.applied == []
        assert router.step(2) == "converged"
        assert len(daemon.applied) == 1 and router.codes() == []


def test_bird_waits_for_the_first_tunnels_and_not_for_long():
    router = Router(2)
    router.tincd.is_ready = lambda plan, online: False
    router.bird.lies_down = BirdError("does not run")
    router.step()
    assert router.tincd.applied and not router.bird.applied
    router.step(3)
    assert router.bird.applied
    ready = Router(2)
    ready.step()
    assert ready.bird.applied
    # One that runs waits for nobody.
    ready.tincd.is_ready = router.tincd.is_ready
    ready.membership.know(2, 3)
    ready.mesh.refresh()
    ready.step(1)
    assert len(ready.bird.applied) == 2


def test_a_look_that_takes_long_leaves_the_processor_to_others_whatever_happens():
    router = Router(2)
    router.step()
    looks = []

    async def verify(plan, online):
        router.mesh.audit()  # it is to look again at once
        began = compat.monotonic()
        await asyncio.sleep(0.02)
        looks.append((began, compat.monotonic()))
        router.mesh._leaving = len(looks) == 3

    router.tincd.verify = verify
    run(router.mesh.run())
    for (began, ended), (next_one, _) in zip(looks, looks[1:]):
        assert next_one - ended > min(2.5, 5 * (ended - began))


def test_a_member_that_is_ever_about_to_switch_its_keys_is_not_watched_for_ever():
    router = Router(2)
    router.connect("r2")
    router.step()
    assert router.step(30) == "converged"
    router.mesh.plan.rotating = ["r2"]
    for later, soon in ((40, True), (600, True), (700, False)):
        with Clock(later):
            assert (router.mesh.next_look() < 1) is soon, later
    # Another one is looked at all the same.
    router.mesh.plan.rotating = ["r2", "r3"]
    with Clock(800):
        assert router.mesh.next_look() < 1
    router.mesh.plan.rotating = []
    with Clock(4000):
        router.mesh.next_look()
        router.mesh.plan.rotating = ["r2"]
        assert router.mesh.next_look() < 1


def test_a_member_that_is_about_to_switch_its_keys_again_and_again_is_watched_for_ten_minutes_an_hour():
    router = Router(2)
    router.connect("r2")
    router.step()
    quick = 0
    for later in range(0, 3 * 3600, 10):
        router.mesh.plan.rotating = [] if later % 540 == 0 else ["r2"]
        with Clock(30 + later):
            router.mesh.state = "converged"
            quick += router.mesh.next_look() < 1
    assert 100 < quick < 200


def test_a_member_that_is_now_of_another_make_and_now_not_has_tincd_started_again_twice_an_hour_at_most():
    router = Router(2, 3)
    router.connect("r2", "r3")
    services = []
    for later in range(0, 3 * 3600, 60):
        router.membership.others = {
            "r2": member("r2", 2), "r3": member("r3", 3, version="" if 120 < later < 3600 and later % 120 else "1.0")
        }
        router.mesh.refresh()
        router.step(later)
        found = router.tincd.applied[-1].services["bgpmesh-tinc"]
        if found not in services[-1:]:
            services.append(found)
    assert len(services) == 3 and services[0] == services[2]


def test_an_address_that_is_lost_while_the_daemons_are_asked_is_no_fault():
    router = Router(2)

    async def lost(*_):
        router.membership.me = None
        return []

    router.bird.left = lost
    assert router.step() == "waiting" and not router.mesh.plan
    router.membership.me = member("alfa", 1)
    router.bird.left = Daemon().left
    assert router.step(1) == "syncing" and router.mesh.plan, "without anything new to be told"
    for question in ("flush", "ask_validator"):
        # Of a mesh in which it looks for others to dial, and for a route.
        router = Router(*range(2, 16))
        router.membership.others["r2"] = member("r2", 2, prefixes=["2001:db8:2::/48"])
        router.connect("r2")
        router.step()
        router.routed = set()
        setattr(router.bird, question, lost)
        assert router.step(70) == "waiting"
        assert router.step(71) == "waiting" and not router.mesh.plan and router.tincd.stopped == 1


def test_that_a_plan_is_still_to_be_made_is_nothing_wrong():
    router = Router(2)
    router.connect("r2")
    router.step()
    assert router.step(30) == "converged"
    with Clock(60):
        router.mesh.refresh()
        router.mesh.judge()
    assert router.mesh.state == "syncing" and router.codes() == []
    # As where tincd sees a member at another address.
    router.connect("r2", address="192.0.2.9")
    assert router.step(90) == "syncing"
    assert router.step(91) == "converged"


def test_a_daemon_that_dies_is_said_at_once_where_all_was_well():
    router = Router(2)
    router.connect("r2")
    assert router.step() == "converged"
    router.tincd.lies_down = TincError("tincd is not running")
    router.bus.heard["service"]("instance.respawn", {"service": "bgpmesh-tinc"})
    assert router.step() == "degraded" and router.codes() == ["tinc_down"]
    router.tincd.lies_down = None
    router.tincd.lost()
    router.step(1)
    router.connect("r2")
    assert router.step(1) == "converged" and router.codes() == []


def test_while_it_starts_a_daemon_is_given_time():
    router = Router(2)
    router.tincd.lies_down = TincError("tincd is not running")
    assert router.step() == "syncing" and router.codes() == []
    router.step(21)
    assert router.codes() == ["tinc_down"]


def test_a_daemon_that_dies_again_and_again_is_not_given_more_time_for_it():
    router = Router(2)
    router.tincd.lies_down = TincError("tincd is not running")
    for seconds in range(25):
        with Clock(seconds):
            router.bus.heard["service"]("instance.respawn", {"service": "bgpmesh-tinc"})
        router.step(seconds)
    assert router.codes() == ["tinc_down"] and router.mesh.state == "degraded"


def test_a_bird_that_was_started_again_gets_its_configuration_again():
    router = Router(2)
    router.step()
    router.bus.heard["service"]("instance.respawn", {"service": "bgpmesh-bird"})
    router.step()
    assert len(router.bird.applied) == 2


def test_the_stock_bird_is_found_when_it_starts():
    router = Router(2)
    router.connect("r2")
    router.step()
    router.bird.stock = True
    assert router.step() == "converged"
    router.bus.heard["service"]("service.start", {"service": "bird"})
    assert router.step() == "degraded" and router.codes() == ["stock_bird"]
    router.bird.stock = False
    router.mesh.audit()
    assert router.step() == "converged" and router.codes() == []


def test_who_loses_its_address_stands_aside():
    router = Router(2)
    router.step()
    router.membership.me = None
    assert router.step() == "waiting"
    assert (router.tincd.stopped, router.bird.stopped, router.mesh.plan) == (1, 1, None)
    router.membership.me = member("alfa", 1)
    router.mesh.refresh()
    router.step(1)
    assert len(router.tincd.applied) == 2


def test_who_stands_aside_has_nothing_wrong_but_the_reason_for_it():
    router = Router(2, 3)
    router.step()
    router.bird.stock = True
    router.mesh.audit()
    router.tincd.failures = [TincError("port 655 is taken")]
    router.bird.failures = [BirdError("no answer")]
    router.membership.others["r2"].prefixes = router.membership.me.prefixes
    router.membership.others["r2"].created = 99
    router.mesh.refresh()
    router.step(1)
    assert router.codes() == ["bird", "prefix_conflict", "stock_bird", "tinc"]
    router.problems.replace("address", [Problem("no_address", "10.0.0.0/24", "every address is taken")])
    router.membership.me = None
    assert router.step(2) == "waiting" and router.codes() == ["no_address"]


def test_a_peer_that_lacked_something_is_no_problem_of_who_stands_aside():
    router = Router(2, 3)
    for seconds in (0, 1, 40, 45):
        router.step(seconds)
    assert router.codes() == ["peer", "peer"]
    router.membership.me = None
    assert router.step(50) == "waiting" and router.codes() == []


def test_who_cannot_stop_its_daemons_says_so_until_it_can():
    router = Router(2)
    router.step()
    stop = router.tincd.stop

    async def fail():
        raise UbusError(7, "service delete")

    router.tincd.stop = fail
    router.membership.me = None
    router.step(1)
    assert router.codes() == ["procd"]
    router.tincd.stop = stop
    router.step(2)
    assert (router.codes(), router.mesh.plan) == ([], None)


def test_who_has_networks_of_its_own_where_the_overlay_is_stands_aside():
    router = Router(2)
    router.connect("r2")
    assert router.step() == "converged"
    router.membership.kept_out = True
    router.mesh.refresh()
    assert router.step(1) == "waiting"
    assert (router.tincd.stopped, router.bird.stopped, router.mesh.plan) == (1, 1, None)
    router.mesh.refresh()
    assert router.step(2) == "waiting" and (router.tincd.stopped, len(router.tincd.applied)) == (1, 1)
    router.membership.kept_out = False
    router.mesh.refresh()
    router.connect("r2")
    assert router.step(3) == "converged" and len(router.tincd.applied) == 2
    router.membership.kept_out = True
    assert router.step(4) == "waiting" and router.tincd.stopped == 2


def test_daemons_that_an_earlier_agent_left_running_are_stopped_where_the_overlay_is_in_the_way():
    router = Router(2)
    router.membership.kept_out = True
    failures = [UbusError(7, "service"), OSError(28)]

    async def stop():
        if failures:
            raise failures.pop()
        router.tincd.stopped += 1

    router.tincd.stop = stop
    for _ in range(5):
        assert router.step() == "waiting"
    assert (router.tincd.stopped, router.bird.stopped, router.tincd.applied) == (1, 3, [])


def test_what_another_member_has_wrong_is_not_our_trouble():
    router = Router(2)
    router.connect("r2")
    router.membership.others["r2"].prefixes = router.membership.me.prefixes
    router.membership.others["r2"].created = 99
    assert router.step() == "converged" and router.codes() == ["prefix_conflict"]
    router.membership.others["r2"].created = 0
    router.membership.me.created = 99
    router.mesh.refresh()
    assert router.step(1) == "degraded"


def test_a_tunnel_that_is_no_longer_ours_to_dial_is_held_for_a_minute():
    router = Router(*range(2, 40))
    router.connect(*router.membership.others)
    router.step()
    before = set(router.mesh.plan.share)
    router.membership.know(*range(2, 39))
    router.mesh.refresh()
    router.step(1)
    assert set(router.mesh.plan.share) | (before & set(router.membership.others)) == set(router.mesh.plan.dialled)
    router.step(62)
    router.step(123)
    assert set(router.mesh.plan.share) == set(router.mesh.plan.dialled)


def test_who_is_reached_is_dialled_whatever_becomes_of_its_sign_of_life():
    router = Router(*range(2, 40))
    router.connect(*router.membership.others)
    router.step()
    before = router.mesh.plan.share
    router.membership.online = set()
    router.mesh.refresh()
    router.step(2)
    assert router.mesh.plan.share == before


def test_whatever_signs_of_life_are_forged_who_is_there_gets_connected():
    router = Router(*range(2, 60))
    there = ["r7", "r23", "r41"]
    router.step()
    share = router.mesh.plan.share
    assert not set(share) & set(there)  # all are said to be alive, and those it would dial are not
    for later in range(0, 2000, 10):
        router.connect(*[node for node in router.mesh.plan.dialled if node in there])
        router.step(later)
        if router.tincd.nodes:
            break
    assert router.tincd.nodes
    # The share goes on being tried.
    for later in range(2000, 2200, 10):
        router.connect(*there)
        router.step(later)
    assert set(share) <= set(router.mesh.plan.dialled) and set(there) & set(router.mesh.plan.dialled)
    assert len(router.mesh.plan.dialled) < 20


def test_the_address_that_a_tunnel_comes_from_is_never_routed_into_the_mesh():
    router = Router(2, 3)
    router.membership.others["r2"] = member("r2", 2, endpoint=None)
    router.membership.others["r3"] = member("r3", 3, endpoint=None, prefixes=["198.51.100.0/24"])
    router.connect("r2", "r3", address="198.51.100.2")
    router.step()
    assert router.codes() == []
    router.step(1)
    assert router.codes() == ["prefix_conflict"] and router.mesh.plan.seats["r3"].prefixes == []


def test_it_stops():
    router = Router(2)
    router.step()
    run(router.mesh.stop())
    assert (router.mesh.state, router.tincd.stopped, router.bird.stopped) == ("stopping", 1, 1)
    run(router.mesh.run())  # ends at once


# Route reflectors


def beyond(router, *others, reflectors=("r2", "r5")):
    """Has the router know these members of a mesh in which four have sessions with each other."""
    router.membership.know(*others)
    for one in list(router.membership.others.values()) + [router.membership.me]:
        one.full_mesh_max = 4
        one.reflector = "yes" if one.node in reflectors else "auto"
    router.mesh.refresh()


def grown():
    """A router whose mesh has just grown beyond that, with the sessions that it had."""
    router = Router()
    beyond(router, 2, 3, 4)
    router.connect("r2", "r3", "r4")
    assert router.step() == "converged" and router.mesh.plan.sessions == {"r2", "r3", "r4"}
    beyond(router, 2, 3, 4, 5)
    router.step(1)
    return router


def test_sessions_are_held_on_to_until_those_with_the_reflectors_have_been_up_for_a_while():
    router = grown()
    everybody = {"r2", "r3", "r4", "r5"}
    assert (router.mesh.plan.peers, router.mesh.plan.reflectors) == ({"r2", "r5"}, ["r2", "r5"])
    assert router.mesh.plan.sessions == everybody
    router.step(60)
    assert router.mesh.plan.sessions == everybody
    router.connect(*everybody)
    router.step(61)
    assert router.step(61 + converge._MOVE - 5) == "converged" and router.mesh.plan.sessions == everybody
    router.step(61 + converge._MOVE + 1)
    assert router.step(61 + converge._MOVE + 2) == "converged" and router.mesh.plan.sessions == {"r2", "r5"}
    assert router.bird.applied[-1] is router.mesh.plan


def test_who_is_away_from_the_registry_keeps_its_session_as_long_as_it_lasts():
    router = grown()
    router.connect("r2", "r3", "r4", "r5")
    router.membership.online.discard("r3")
    for later in (2, 50, 100, 102):
        router.step(later)
    assert router.mesh.plan.sessions == {"r2", "r3", "r5"}
    del router.bird.sessions["r3"]
    for later in (103, 160, 162):
        router.step(later)
    assert router.mesh.plan.sessions == {"r2", "r5"}


def test_reflectors_go_on_for_a_while_when_the_mesh_has_shrunk():
    router = Router()
    beyond(router, 2, 3, 4, 5, reflectors=("alfa", "r2"))
    router.connect("r2", "r3", "r4", "r5")
    router.step()
    assert "bgp_next_hop != 10.0.0.3" in "".join(router.mesh.plan.bird.pieces())
    beyond(router, 2, 3, 4, reflectors=("alfa", "r2"))
    for later, reflects in ((1, True), (40, True), (60, False)):
        router.step(later)
        router.step(later + 1)
        found = "".join(router.mesh.plan.bird.pieces())
        assert ("bgp_next_hop != 10.0.0.3" in found, "filter reflected4" in found) == (reflects, reflects)
        assert router.mesh.plan.reflectors == []


def test_a_member_without_a_session_lacks_its_routes_until_the_kernel_has_them():
    router = Router()
    beyond(router, 2, 3, 4, 5)
    router.step()
    router.connect("r2", "r5")
    router.tincd.nodes.update({node: Node(True, True, True, None) for node in ("r3", "r4")})
    router.routed = {"192.168.2.0/24", "192.168.5.0/24", "192.168.3.0/24"}
    assert router.step(1) == "syncing"
    assert router.mesh.missing("r4") == "its routes have not come from the reflectors"
    assert (router.mesh.missing("r3"), router.mesh.via("r3")) == (None, ["r2", "r5"])
    assert (router.mesh.via("r4"), router.mesh.via("r2")) == ([], [])
    assert sorted(router.membership.vouched) == ["r2", "r3", "r4", "r5"]
    assert router.step(22) == "degraded" and router.codes() == ["peer"]
    router.routed.add("192.168.4.0/24")
    assert router.step(23) == "converged" and router.mesh.via("r4") == ["r2", "r5"]
    router.bird.sessions = {"r5": Session("Active", "", "")}
    assert router.mesh.missing("r4") == "no BGP session with a reflector: r2, r5"
    del router.tincd.nodes["r4"]
    assert "no tunnel" in router.mesh.missing("r4")


def test_an_agent_that_starts_holds_on_to_what_an_earlier_one_has_left():
    router = Router()
    beyond(router, 2, 3, 4, 5)
    router.connect("r2", "r3", "gone")
    router.step()
    assert router.mesh.plan.sessions == {"r2", "r3", "r5"}


def test_the_daemons_are_looked_at_however_rarely_the_registry_is():
    router = Router(2)
    router.membership.config.poll_interval = 3600
    router.connect("r2")
    assert router.step() == "converged"
    with Clock(60):
        router.step()
        assert router.mesh.next_look() <= 10
