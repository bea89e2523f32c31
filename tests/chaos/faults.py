"""The faults: their names, how often and how long they come, what they touch, how they are done and undone.

Each is a generator: what is before its `yield` is the fault, what is after it the undoing. Its arguments are drawn from
the seed by `draw`, which also tells the (machine, thing) pairs that no other fault touches meanwhile.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass

from lab.mesh import stranger
from lab.netns import CommandError

from bgpmesh import compat
from bgpmesh.records import LARGEST, farewell

NODES = ("r1", "r2", "r3", "r4", "r5", "r6", "r7")
REFUSED = "r8"  # it has all that a member has, but the owner's approval
CROWD = tuple(f"r{number}" for number in range(9, 29))
STOLEN = CROWD[:2]  # go on when they are revoked, and then heed nobody's word on who is a member
ETCDS = ("etcd", "etcd2", "etcd3")
PROGRAMS = ("agent", "tincd", "bird")

FAULTS = {}


@dataclass
class Fault:
    """`seconds`: (shortest, longest), or None for what is over as soon as it is done."""

    name: str
    weight: int
    seconds: tuple
    draw: object
    act: object


def fault(weight, draw, seconds=None):
    """Enters the function below in the table of faults."""

    def enter(act):
        name = act.__name__.replace("_", "-")
        FAULTS[name] = Fault(name, weight, seconds, draw, contextlib.contextmanager(act))
        return act

    return enter


def router(thing, **choices):
    """Draws a router, and one of each of the choices: a sequence to choose from, or a function of the dice."""

    def draw(dice):
        node = dice.choice(NODES)
        arguments = {"router": node}
        for name, choice in choices.items():
            arguments[name] = choice(dice) if callable(choice) else dice.choice(choice)
        return arguments, {(node, arguments.get(thing, thing))}

    return draw


def signed(text, key, secret):
    """A record without a signature, with that of who knows the secret."""
    return '%s,"sig":"hmac-sha256:%s"}' % (text[:-1], compat.hmac_sha256(secret.encode(), f"{key}\n{text}".encode()))


def seed(dice):
    return dice.getrandbits(32)


# -- processes


@fault(10, router("program", program=PROGRAMS))
def killed(field, router, program):
    field.router(router).kill(program)
    yield


@fault(4, router("program", program=PROGRAMS), (3, 20))
def frozen(field, router, program):
    machine = field.router(router)
    pids = machine.pids(program)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@fault(3, router("bus"))
def ubusd_restarted(field, router):
    os.kill(field.router(router).pid, signal.SIGUSR1)
    yield


@fault(2, router("agent"))
def agent_restarted(field, router):
    field.router(router).kill("agent", signal.SIGTERM)
    yield


@fault(2, router("power"), (2, 6))
def service_restarted(field, router):
    machine = field.router(router)
    for name in ("bgpmesh", "bgpmesh-bird", "bgpmesh-tinc"):
        field.ubus(machine, "service", "delete", {"name": name})
    yield
    field.ubus(machine, "service", "set", {"name": "bgpmesh", **machine.service()})


@fault(2, router("options"))
def reloaded(field, router):
    field.router(router).reload()
    yield


@fault(3, router("options", number=lambda dice: dice.randrange(250)), (4, 20))
def another_prefix(field, router, number):
    prefix = f"172.21.{number}.0/24"
    field.announced.add((prefix, router))
    field.router(router).set("prefix", prefix)
    yield
    field.router(router).set("prefix", None)


@fault(2, router("keys"))
def keys_rotated(field, router):
    field.ask(router, "rotate")
    yield


@fault(2, router("drain"), (4, 20))
def drained(field, router):
    field.ask(router, "drain")
    yield
    field.ask(router, "drain", "off")
    field.drained.add(router)  # which may be frozen now, or its bus gone


@fault(1, lambda dice: ({}, {("mesh", "secret")}))
def secret_changed(field):
    """All are given another secret beside the one in force; the next time that one is taken away."""
    field.change_secret()
    yield


BAD_OPTIONS = [("port", "many"), ("network", "10.0.0.0/33"), ("prefix", "0.0.0.0/0"), ("etcd", "ftp://x"), ("mtu", "1")]


@fault(2, router("options", option=BAD_OPTIONS), (3, 15))
def bad_option(field, router, option):
    name, value = option
    machine = field.router(router)
    before = machine.options.get(name)
    machine.set(name, value)
    yield
    machine.set(name, before)


JUMPS = ["+5", "-5", "+3600", "-3600", "+40000000", "-40000000"]


@fault(4, router("clock", jump=JUMPS), (3, 25))
def clock_jumped(field, router, jump):
    """The time of day alone: what counts since the boot does not jump."""
    field.set_clock(router, jump)
    yield
    field.set_clock(router, "+0")


# -- power


@fault(3, router("power"), (1, 15))
def power_failure(field, router):
    field.switch_off(router)
    yield
    field.switch_on([router])


def some_routers(dice):
    nodes = sorted(dice.sample(NODES, dice.randint(2, 4)))
    return {"routers": nodes, "fresh": dice.random() < 0.4}, {(node, "power") for node in nodes}


@fault(2, some_routers, (2, 12))
def leaves_and_joins(field, routers, fresh):
    for node in routers:
        machine = field.router(node)
        try:
            left = machine.bgpmesh("leave", timeout=15).returncode == 0
        except CommandError:
            left = False
        field.switch_off(node)
        if left and fresh:
            # As new from the shop.
            shutil.rmtree(machine.dir / "upper/etc/bgpmesh", ignore_errors=True)
    yield
    field.switch_on(routers)


@fault(1, lambda dice: ({}, {("crowd", "power")}), (20, 30))
def twenty_join(field):
    """All at once, as new from the shop. They stay until all have joined, Field.dismiss()."""
    for node in CROWD:
        if node not in field.off:
            field.switch_off(node)
        field.router(node).options["trust"] = "signed"
        shutil.rmtree(field.router(node).dir / "upper/etc/bgpmesh", ignore_errors=True)
    field.dismissed.difference_update(CROWD)
    field.refused.difference_update(CROWD)
    field.switch_on(CROWD)
    yield
    field.joined.append(len(CROWD) - len(field.alone()))
    field.say(f"    {field.joined[-1]} of {len(CROWD)} have joined")


def joins(field, routers):
    field.switch_on(routers)
    yield


# By the schedule alone, at the begin of the first round.
FAULTS["joins"] = Fault("joins", 0, None, lambda dice: ({"routers": []}, set()), contextlib.contextmanager(joins))


# -- etcd


def one_etcd(dice):
    machine = dice.choice(ETCDS)
    return {"machine": machine}, {(machine, "power")}


def all_etcds(dice):
    return {}, {(machine, "power") for machine in ETCDS}


def two_etcds(dice):
    return {"machines": sorted(dice.sample(ETCDS, 2))}, {(machine, "power") for machine in ETCDS}


@fault(3, one_etcd, (2, 20))
def etcd_killed(field, machine):
    field.etcd(machine).stop(0)
    yield
    field.etcd(machine).switch_on()


@fault(2, all_etcds, (2, 20))
def etcd_leader_killed(field):
    leader = field.leader()
    if leader:
        leader.stop(0)
    yield
    if leader:
        leader.switch_on()


@fault(1, all_etcds, (3, 20))
def etcd_leader_frozen(field):
    leader = field.leader()
    pid = leader and leader.pid
    if pid:
        os.kill(pid, signal.SIGSTOP)
    yield
    if pid:
        os.kill(pid, signal.SIGCONT)


@fault(2, two_etcds, (3, 25))
def etcd_without_quorum(field, machines):
    for machine in machines:
        field.etcd(machine).stop(0)
    yield
    for machine in machines:
        field.etcd(machine).switch_on()


# -- the network below


DROP = """
table inet {name} {{
	chain from {{ type filter hook prerouting priority -300; policy accept; {comes} }}
	chain to {{ type filter hook output priority -300; policy accept; {goes} }}
}}
"""


@contextlib.contextmanager
def cut(field, machine, others, way, name, verdict="drop"):
    """Inside, what comes from the other machines, or goes to them, or both, is dropped."""
    addresses = ", ".join(field.underlay(other) for other in others)
    rules = {
        "name": name,
        "comes": f"ip saddr {{ {addresses} }} drop;" if way in ("from", "both") else "",
        "goes": f"ip daddr {{ {addresses} }} {verdict};" if way in ("to", "both") else "",
    }
    field.nft(machine, DROP.format(**rules))
    try:
        yield
    finally:
        field.nft(machine, f"delete table inet {name}")


def several(dice, node, names):
    return sorted(dice.sample([name for name in names if name != node], dice.randint(1, 4)))


def draw_cut(dice):
    node = dice.choice(NODES)
    others = several(dice, node, NODES)
    return {"router": node, "way": dice.choice(["from", "to", "both"]), "others": others}, {(node, "cut")}


@fault(5, draw_cut, (5, 25))
def cut_off(field, router, way, others):
    with cut(field, router, others, way, "chaos_cut"):
        yield


@fault(3, router("etcd", verdict=["drop", "reject with icmp type admin-prohibited"]), (5, 25))
def cut_from_etcd(field, router, verdict):
    with cut(field, router, ETCDS, "to", "chaos_etcd", verdict):
        yield


def draw_split(dice):
    machines = [*NODES, *ETCDS]
    part = sorted(dice.sample(machines, dice.randint(2, 5)))
    # No rule can be given to a router that has no power.
    return {"part": part}, {("fabric", "split"), *[(machine, "split") for machine in part]}


@fault(2, draw_split, (5, 25))
def split(field, part):
    rest = [machine for machine in (*NODES, *ETCDS) if machine not in part]
    with contextlib.ExitStack() as stack:
        for machine in part:
            stack.enter_context(cut(field, machine, rest, "both", "chaos_split"))
        yield


@fault(3, router("cable"), (2, 20))
def cable_pulled(field, router):
    field.router(router).link_down()
    yield
    field.router(router).link_up()


BAD_CABLES = [  # loss, delay, jitter, doubled
    (0.05, 0, 0, 0),
    (0.3, 5, 0, 0),
    (0, 150, 0, 0),
    (0, 20, 60, 0),  # much overtakes
    (0.05, 30, 30, 0.2),
]


@fault(5, router("cable", kind=BAD_CABLES, seed=seed), (8, 25))
def bad_cable(field, router, kind, seed):
    with field.lab.bad_cable(field.router(router), *kind, seed=seed):
        yield


# -- disk


@fault(3, router("disk"), (4, 20))
def flash_full(field, router):
    """A small flash of its own with the router's files on it, filled to the last byte."""
    machine = field.router(router)
    machine.exec(["sh", "-c", "mkdir -p /tmp/below /tmp/flash && mount --bind /etc/bgpmesh /tmp/below"
                  " && mount -t tmpfs -o size=96k,mode=700 tmpfs /tmp/flash && cp -a /etc/bgpmesh/. /tmp/flash"
                  " && mount --move /tmp/flash /etc/bgpmesh; cat /dev/zero > /etc/bgpmesh/filling 2> /dev/null; true"])
    yield
    # What was removed meanwhile is not to come back.
    machine.exec(["sh", "-c", "rm -f /etc/bgpmesh/filling; find /tmp/below -mindepth 1 -delete;"
                  " cp -a /etc/bgpmesh/. /tmp/below; umount -l /etc/bgpmesh; umount -l /tmp/below"])


@fault(3, router("memory"), (4, 20))
def memory_full(field, router):
    """/tmp, with all that is in /var, has no room left."""
    machine = field.router(router)
    field.crammed[router] = None
    machine.exec(["sh", "-c", "used=$(df -k /tmp | awk 'NR == 2 { print $3 }')"
                  " && mount -o remount,size=$((used + 4))k /tmp; cat /dev/zero > /tmp/filling 2> /dev/null; true"])
    yield
    machine.exec(["sh", "-c", "rm -f /tmp/filling; mount -o remount,size=50% /tmp"])
    field.crammed[router] = time.monotonic()


@fault(3, router("power", how=["without power", "at work"]), (1, 10))
def flash_emptied(field, router, how):
    """Keys, cache and last good configuration are lost."""
    machine = field.router(router)
    if how == "at work":
        machine.exec(["sh", "-c", "rm -rf /etc/bgpmesh/*"])
        machine.kill("agent")
        yield
    else:
        field.switch_off(router)
        shutil.rmtree(machine.dir / "upper/etc/bgpmesh", ignore_errors=True)
        yield
        field.switch_on([router])


JUNK = [
    "", "\0" * 4096, "{", '{"address": "10.0.0.1"', "[]\n" * 100, '{"address": 5}\n{"node": 7}\n',
    '{"address": "999.1.1.1"}\n', '{"address": "10.0.0.200"}\n{"node":"evil","created":1,"modified":1,"text":"{}"}\n',
    "\xff\xfe" * 500, '{"node":"r1","created":-1,"modified":99999999999999999999999,"text":"[[[["}\n', "[" * 20000,
]


@fault(3, router("power", junk=lambda dice: dice.randrange(len(JUNK))))
def cache_corrupted(field, router, junk):
    machine = field.router(router)
    machine.path("/etc/bgpmesh/members").write_bytes(JUNK[junk].encode("latin-1"))
    field.spoilt.add(router)
    machine.kill("agent")
    yield


# -- what somebody writes into etcd


def records(dice):
    """Keys and values that nobody should be harmed by."""
    return {"kind": dice.choice(sorted(HOSTILE)), "seed": seed(dice)}, {("etcd-data", dice.random())}


@fault(8, records, (3, 20))
def hostile_records(field, kind, seed):
    dice = random.Random(seed)
    keys = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in HOSTILE[kind](dice, field).items()
    }
    for key, value in keys.items():
        field.litter.setdefault(key, set()).add(value)
    for key, value in keys.items():
        if not field.put(key, value):
            break  # etcd takes nothing now: the others would wait as long, and hold up what comes next
    yield
    field.clear_litter(keys)


def _names(dice, field):
    odd = ["..", "../r1", "a b", "r1\n", "-c", "é", "x" * 300, "%s", "$(reboot)", ";", "r1.new", ".r1.new", "R1", "*",
           "\\", "tinc-up", "tinc.conf", "a/b", "ALL", "\x01"]
    return {f"/peers/{name}": stranger(100 + number) for number, name in enumerate(dice.sample(odd, 6))}


def _huge(dice, field):
    return {f"/peers/huge{number}": "A" * dice.choice([16385, 60000, 1000000]) for number in range(3)}


def _broken(dice, field):
    good = json.dumps(stranger(120))
    texts = ["[" * 15000, "null", '"x"', "\0\1\2", '{"ip":' * 3000, "{}", "[]", "1e999"]
    texts.append(good[: dice.randrange(len(good))])
    return {f"/peers/broken{number}": text for number, text in enumerate(dice.sample(texts, 4))}


def _strangers(dice, field):
    wishes = [{"prefixes": ["0.0.0.0/0"]}, {"prefixes": ["10.0.0.0/24", "198.18.0.0/16"]}, {"ip": "10.0.0.1"},
              {"prefixes": ["192.168.1.0/24", "fd00:1::/64"]}, {"endpoint": "198.18.0.66"}, {"serial": 1 << 60},
              {"prefixes": [f"172.30.{number}.0/24" for number in range(250)]}, {"asn": 0}, {"router_id": "10.0.0.2"}]
    return {f"/peers/stranger{number}": stranger(130 + number, **dice.choice(wishes)) for number in range(4)}


def _many(dice, field):
    return {f"/peers/many{number}": stranger(number % 200 + 20) for number in range(40)}


def _signs_of_life(dice, field):
    return {f"/alive/{name}": "" for name in ("ghost", "..", "x" * 200, "r8", "\n")}


def _claims(dice, field):
    wishes = ["10.0.0.77", "10.0.0.999", "junk", "::1", "10.0.0.0", "10.0.0.255", "x" * 300, ".."]
    owners = ["evil", "r1", "", "\n", "x" * 5000]
    return {f"/claims/{address}": dice.choice(owners) for address in dice.sample(wishes, 4)}


def _taken(dice, field):
    """Claims on what is others' already: the lowest addresses are those that routers have."""
    return {f"/claims/10.0.0.{number}": "evil" for number in dice.sample(range(1, 9), 4)}


HOSTILE = {
    "names": _names, "huge": _huge, "broken": _broken, "strangers": _strangers, "many": _many,
    "alive": _signs_of_life, "claims": _claims, "taken": _taken,
}


@fault(3, router("record", table=["peers", "alive"]))
def key_deleted(field, router, table):
    field.delete(f"/{table}/{router}")
    yield


FORGED = ["cut short", "other key", "other name's", "nothing", "a member's", "a member's farewell"]


@fault(4, router("record", how=FORGED))
def record_forged(field, router, how):
    key = f"/peers/{router}"
    text = field.get(key)
    other = field.get(f"/peers/{next(node for node in NODES if node != router)}")
    if text:
        own = text.rpartition(',"sig"')[0] + "}"
        forged = {
            "cut short": text[: len(text) // 2], "other name's": other, "nothing": "",
            "other key": text.replace('"ed25519":"', '"ed25519":"AAAA', 1),
            # Of one that has the network's secret.
            "a member's": signed(own.replace('"prefixes":[', '"prefixes":["172.31.1.0/24",', 1), key, field.secret),
            "a member's farewell": farewell(LARGEST, key, field.secret),
        }[how]
        field.put(key, forged)
    yield


@fault(2, router("options"), (2, 8))
def record_replayed(field, router):
    """What the router once signed is put back after it has signed something else."""
    text = field.get(f"/peers/{router}")
    machine = field.router(router)
    prefix = f"172.22.{machine.number}.0/24"
    field.announced.add((prefix, router))
    machine.set("prefix", prefix)
    yield
    if text:
        field.put(f"/peers/{router}", text)
    machine.set("prefix", None)


@fault(2, router("record"))
def lease_ended(field, router):
    with contextlib.suppress(CommandError, ValueError, KeyError):
        for item in json.loads(field.etcdctl(["get", f"/alive/{router}", "--write-out=json"]).stdout).get("kvs", []):
            field.etcdctl(["lease", "revoke", f"{item['lease']:x}"])
    yield


@fault(2, lambda dice: ({}, set()))
def store_emptied(field):
    with contextlib.suppress(CommandError):
        field.etcdctl(["del", "--prefix", "/"])
    yield


@fault(1, lambda dice: ({}, set()))
def store_compacted(field):
    with contextlib.suppress(CommandError, ValueError, KeyError):
        status = json.loads(field.etcdctl(["endpoint", "status", "--write-out=json"]).stdout)
        field.etcdctl(["compact", str(status[0]["Status"]["header"]["revision"])])
        field.etcdctl(["defrag"])
    yield


