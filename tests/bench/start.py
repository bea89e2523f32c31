"""From the agents' start, with nothing made yet, to every session Established and a ping through."""

from . import outside
from .mesh import EtcdWatch, Mesh, middle

# Seconds. Among many that start together two, of a few pairs that reach each other by way of others, begin tinc's key
# exchange at the same moment, since who relays for another begins one with it, too; tinc tries again after ten seconds.
LIMITS = {5: 6, 25: 15}
NINETY = {5: 6, 25: 10}  # for nine sessions in ten
DEADLINE = 180

# What happens to one router on the way, in this order.
STEPS = (
    "process",
    "configuration read",
    "RSA key",
    "all keys",
    "address claimed",
    "record written",
    "tincd started",
    "bird started",
    "last tinc file",
    "last bird.conf",
    "tunnels of router 1 up",
    "its own sessions",
    "all sessions",
)


def run(report, arguments):
    """The part `start`."""
    for nodes in (5, 25):
        _measure(report, nodes, arguments.runs, limit=LIMITS[nodes])
    _measure(report, 5, arguments.runs, runtime="python3")
    _measure(report, 5, arguments.runs, tinc="1.0", bird="2")


def _measure(report, nodes, runs, limit=None, runtime="micropython", tinc="1.1", bird="3"):
    name = f"{nodes} routers"
    if (runtime, tinc, bird) != ("micropython", "1.1", "3"):
        name += f", {runtime}" if runtime != "micropython" else f", tinc {tinc}, bird {bird}"
    report.say(f"start: {name}, {runs} times with agents and {runs} times by hand")
    agents, hands, steps, hand_steps, tails = [], [], [], [], []
    with Mesh("bench", nodes, runtime, tinc, bird) as mesh:
        numbers = list(range(1, nodes + 1))
        for turn in range(runs):
            if turn:
                mesh.end(numbers)
                mesh.forget()
            agents.append(_one_start(mesh, numbers, steps, tails, tinc))
            report.say(f"{name}: agents {agents[-1]:.2f} s")
        files = mesh.take_files()
        for _ in range(runs):
            mesh.end(numbers, keep=("rsa_key.priv", "ed25519_key.priv"))
            mesh.put_files(files)
            hands.append(_by_hand(mesh, numbers, files, hand_steps))
            report.say(f"{name}: by hand {hands[-1]:.2f} s")
    report.add("start", name, middle(agents), "s", limit, "of " + _list(agents))
    report.add("start", name + ", by hand", middle(hands), "s", note="of " + _list(hands))
    report.add("start", name + ", ratio", middle(agents) / middle(hands), note="agents to by hand")
    ninety = NINETY[nodes] if limit else None
    report.add("start", name + ", nine in ten", middle(tails), "s", ninety, note="sessions of the agents' mesh")
    timeline = {step: middle([each.get(step) for each in steps]) for step in STEPS}
    report.values["start"][name + ", timeline"] = timeline
    report.add("start", name + ", record in etcd", timeline["record written"], "s", note="keys made before it")
    by_hand = {step: middle([each.get(step) for each in hand_steps]) for step in STEPS}
    print(f"\n{name}: seconds after the start, medians over routers and runs ({'agents':>6}, {'by hand':>7})")
    for step in STEPS:
        print(f"    {step:24}{_shown(timeline[step])}{_shown(by_hand[step])}")
    print(flush=True)


def _one_start(mesh, numbers, steps, tails, tinc):
    tunnels = []

    def look(now):
        if not tunnels and tinc == "1.1" and outside.reached(mesh.router(1)) == len(numbers) - 1:
            tunnels.append(now)

    with EtcdWatch(mesh) as watch:
        begun = mesh.begin(numbers)
        settled = mesh.settle(numbers, begun, DEADLINE, look=look)
        took = mesh.ping_through(begun)
    tails.append(settled.ninety)
    for number in numbers:
        router = mesh.router(number)
        etc, run = router.path("/etc/bgpmesh"), router.path("/tmp/run/bgpmesh")
        keys = [outside.changed(etc / f"{kind}_key.pub") for kind in ("rsa", "ed25519")]
        found = {
            "process": outside.started(mesh.pid(number, "agent")),
            "configuration read": outside.changed(etc / "config.good"),
            "RSA key": keys[0],
            "all keys": keys[1] or keys[0],
            "address claimed": watch.first(
                lambda key, value, own=router.name: key.startswith("/claims/") and value == own
            ),
            "record written": watch.first(lambda key, _, own=f"/peers/{router.name}": key == own),
            "tincd started": outside.started(mesh.pid(number, "tincd")),
            "bird started": outside.started(mesh.pid(number, "bird")),
            "last tinc file": max(outside.changed(path) for path in (run / "tinc").rglob("*")),
            "last bird.conf": outside.changed(run / "bird.conf"),
            "its own sessions": begun + settled.done[number],
            "all sessions": begun + settled.all,
        }
        if number == 1 and tunnels:
            found["tunnels of router 1 up"] = begun + tunnels[0]
        steps.append({step: when - begun for step, when in found.items() if when})
    return took


def _by_hand(mesh, numbers, files, steps):
    tunnels = []

    def look(now):
        if not tunnels and outside.reached(mesh.router(1)) == len(numbers) - 1:
            tunnels.append(now)

    begun = mesh.set_services({number: files[number][1] for number in numbers})
    settled = mesh.settle(numbers, begun, DEADLINE, look=look)
    took = mesh.ping_through(begun)
    for number in numbers:
        found = {
            "tincd started": outside.started(mesh.pid(number, "tincd")) - begun,
            "bird started": outside.started(mesh.pid(number, "bird")) - begun,
            "its own sessions": settled.done[number],
            "all sessions": settled.all,
        }
        if number == 1 and tunnels:
            found["tunnels of router 1 up"] = tunnels[0]
        steps.append(found)
    return took


def _list(values):
    return ", ".join(f"{value:.2f}" for value in values)


def _shown(value):
    return f"{value:9.2f}" if value is not None else "        -"
