"""What the agent says of itself over ubus: objects `bgpmesh` and `luci.bgpmesh`.

Their methods are status, peers, routes, tunnels and sync; `bgpmesh` has drain, undrain, rotate, leave and remove, too.
"""

import asyncio
import gc
import time

from . import VERSION, address, compat, disk, records
from .bird.control import BirdError
from .etcd import EtcdError
from .tinc.control import TincError
from .ubus import UbusError, blob

OBJECTS = ("bgpmesh", "luci.bgpmesh")
_DAEMONS = 3  # seconds that a method waits for BIRD or tincd, of the five that its callers wait
_ROWS = 500  # of `routes`, at most
_PEERS = 1500  # rows of `peers` over ubus, at most


def publish(agent):
    """Serves an Agent's methods. Two objects, because some callers of the second one add an argument."""

    async def show_peers(_):
        answer = await peers(agent, _PEERS)
        while not blob.fits(answer):
            del answer["peers"][-1 - len(answer["peers"]) // 8 :]
        return answer

    async def show_routes(_):
        return await routes(agent)

    async def show_tunnels(_):
        return await tunnels(agent)

    async def leave(_):
        # A status number would be all that reaches the caller of a failed method: the text is in the answer.
        try:
            await agent.leave()
        except (EtcdError, UbusError, OSError) as error:
            return {"left": False, "problem": str(error)}
        return {"left": True}

    async def drain(_):
        return await agent.drain(True)

    async def undrain(_):
        return await agent.drain(False)

    async def remove(data):
        try:
            await agent.remove(data.get("node", ""))
        except (EtcdError, ValueError) as error:
            return {"problem": str(error)}
        return {"problem": ""}

    def rotate(_):
        problem = agent.rotate()
        return {"begun": not problem, "problem": problem}

    def sync(_):
        agent.sync()
        return {"queued": True}

    for name in OBJECTS:
        signature = {} if name == "bgpmesh" else {"ubus_rpc_session": blob.STRING}
        methods = {"status": (signature, lambda _: status(agent)), "peers": (signature, show_peers)}
        methods["routes"] = (signature, show_routes)
        methods["tunnels"] = (signature, show_tunnels)
        methods["sync"] = (signature, sync)
        if name == "bgpmesh":
            methods["drain"] = (signature, drain)
            methods["undrain"] = (signature, undrain)
            methods["leave"] = (signature, leave)
            methods["remove"] = ({"node": blob.STRING}, remove)
            methods["rotate"] = (signature, rotate)
        agent.bus.publish(name, methods)


def status(agent):
    """The `status` answer. Times in seconds, ages relative; memory in kB."""
    member = agent.membership
    me = member.me if member else None
    registry = member.registry if member else None
    mesh = agent.mesh
    if mesh:
        mesh.judge()
    plan = mesh.plan if mesh else None
    tincd = mesh.tincd if mesh else None
    bird = mesh.bird if mesh else None
    config = agent.config
    trust = member.trust if member else None
    # Without those that are only held on to until the others are up.
    sessions = [bird.sessions[node].state for node in bird.sessions if node in plan.peers] if plan else []
    known = plan.seats if plan else ()
    answered = registry.last_success if registry else None
    return {
        "node": config.node if config else "",
        "version": VERSION,
        "runtime": compat.RUNTIME,
        "uptime": int(compat.monotonic() - agent.started),
        "state": mesh.state if mesh else "starting" if config else "waiting",
        "doing": doing(agent),
        "problems": [
            {"code": problem.code, "subject": problem.subject, "text": problem.text, "since": int(age)}
            for problem, age in agent.problems.all()
        ],
        "address": me.ip if me else "",
        "prefixes": [str(prefix) for prefix in plan.announced] if plan else [],
        "trust": {
            "mode": config.trust if config else "",
            "standing": trust.own_standing() if trust else "",
            "identity": member.id if member else "",
        },
        "memory": {"private_kb": private_kb()},
        "etcd": {
            "endpoint": registry.endpoint if registry else "",
            "api": config.etcd_api if config else "",
            "reachable": bool(registry and answered is not None and not registry.failures),
            "revision": registry.revision if registry else 0,
            "age": -1 if answered is None else int(compat.monotonic() - answered),
            "failures": registry.failures if registry else 0,
            "latency_ms": 1000 * member.polls.last if member and member.polls.last is not None else None,
        },
        "tinc": {
            "running": bool(tincd and tincd.running),
            "version": tincd.version if tincd else "",
            "generation": me.generation if me else 0,
            "rotation": agent.rotation(),
            "interface": config.interface if config else "",
            "known": len(known),
            "reachable": len([node for node in known if tincd.reaches(node)]),
            "rx_bytes": _traffic(config, "rx"),
            "tx_bytes": _traffic(config, "tx"),
        },
        "latency": _summary(mesh.latency.rtt if mesh else {}),
        "bird": {
            "running": bool(bird and bird.running),
            "version": bird.version or "" if bird else "",
            "config": bird.config if bird else "pending",
            "sessions": len(sessions),
            "established": sessions.count("Established"),
            "reflectors": plan.reflectors if plan else [],
        },
        "rpki": _rpki(config, bird.rpki if bird else None),
    }


def _rpki(config, view):
    """What is known of the RPKI validator; `invalid` counts the prefixes that are refused for it."""
    return {
        "validator": address.endpoint_text(config.rpki) if config and config.rpki else "",
        "connected": bool(view and view.connected),
        "roas": view.roas if view else 0,
        "invalid": len(view.invalid) if view else 0,
    }


def doing(agent):
    """What the router waits for, as a sentence without an end; "" where it waits for nothing."""
    member, mesh, config = agent.membership, agent.mesh, agent.config
    if not config or mesh and mesh.state in ("converged", "stopping"):
        return ""
    if not mesh:
        return "finds or makes this router's keys"
    if not member:
        return "looks for a registry: option 'etcd', or a member with the same 'secret' on the LAN"
    if member.kept_out:
        return "stays out of the mesh while an interface has addresses of 'network' or 'network6'"
    if not member.me:
        return "has an address claimed" if member.known else "waits for the registry %s" % member.registry.endpoint
    if member.prefixes is None:
        return "asks netifd for the prefixes of %s" % ", ".join(config.announce)
    if not mesh.plan or not mesh.tincd.running or not mesh.bird.running:
        return "starts tincd and bird"
    online = [node for node in mesh.plan.seats if node in member.online]
    reached = [node for node in online if mesh.tincd.reaches(node)]
    if len(reached) < len(online):
        return "waits for tunnels: %d of %d are up" % (len(reached), len(online))
    found = [node for node in online if not mesh.missing(node)]
    if len(found) < len(online):
        return "waits for BGP sessions: %d of %d are Established" % (len(found), len(online))
    return "" if member.known else "waits for the registry %s" % member.registry.endpoint


def _summary(rtt):
    """The median and the worst of round trips in milliseconds, node -> one; None where there are none."""
    found = sorted(rtt.values())
    return {
        "median_ms": found[len(found) // 2] if found else None,
        "worst_ms": found[-1] if found else None,
    }


def _traffic(config, direction):
    """Bytes that the overlay's interface received (rx) or sent (tx); 0 where there is none."""
    path = "/sys/class/net/%s/statistics/%s_bytes"
    return int(disk.read_or_none(path % (config.interface, direction)) or 0) if config else 0


async def peers(agent, most=None):
    """The `peers` answer: a row for each member but this router, those left out as well. rtt_ms may be None.

    most: rows there are at most, the first by name; `total` counts those without one, too.
    """
    member = agent.membership
    rows = []
    if not member:
        return {"peers": rows, "total": 0}
    try:
        counts = await asyncio.wait_for(agent.mesh.bird.routes(), _DAEMONS)
    except (BirdError, asyncio.TimeoutError):
        counts = {}
    faults = {problem.subject: problem.text for problem in agent.problems.of("records")}
    for problem in agent.problems.of("plan"):
        faults[problem.subject.split()[0]] = problem.text
    names = set(member.others) | set([node for node in member.entries if node != agent.config.node])
    for node in sorted(names)[:most]:
        row = _peer(agent, node, counts.get(node, 0), faults.get(records.plain(node), ""))
        # Of names that are too long, and look the same where they are cut, one is shown.
        if not rows or rows[-1]["node"] != row["node"]:
            rows.append(row)
    return {"peers": rows, "total": len(rows) + max(0, len(names) - (most or len(names)))}


def _peer(agent, node, routes, problem):
    member = agent.membership
    mesh = agent.mesh
    peer = member.others.get(node)
    seat = mesh.plan.seats.get(node) if mesh.plan else None
    seen = mesh.tincd.nodes.get(node)
    session = mesh.bird.sessions.get(node) if seat and node in mesh.plan.peers else None
    via = mesh.via(node) if seat else []
    online = node in member.online
    if seat and online and not problem:
        problem = mesh.missing(node) or ""
    trust = member.trust.seen.get(node, ("", "")) if member.trust else ("", "")
    tunnel = "down"
    if seen and seen.reachable:
        tunnel = "direct" if seen.direct else "indirect"
    return {
        "node": records.plain(node),
        "address": peer.ip if peer else "",
        "endpoint": address.endpoint_text(peer.endpoint) if peer and peer.endpoint else "",
        "asn": peer.asn if peer else 0,
        "prefixes": [str(prefix) for prefix in seat.prefixes] if seat else [],
        "online": online,
        "tinc": tunnel,
        "bgp": session.state if session else "",
        "bgp_since": session.since if session else "",
        "bgp_age": _age(session.since) if session else None,
        "via": via,
        "routes_received": len(seat.prefixes) if via else routes,
        "rtt_ms": mesh.latency.rtt.get(node),
        "loss_percent": round(100 * mesh.latency.loss.get(node, 0)) if node in mesh.latency.rtt else 0,
        "lan": node in agent.lan.seen,
        "trust": trust[0],
        "identity": trust[1],
        "problem": problem,
    }


def _age(since):
    """Seconds since a time that BIRD shows: it counts back from the clock as that is now."""
    day, _, moment = since.partition(" ")
    try:
        numbers = [int(text) for text in day.split("-") + moment.partition(".")[0].split(":")]
        return max(0, int(time.time() - time.mktime(tuple(numbers) + (0, 0, -1))))
    except (ValueError, TypeError, OverflowError):
        return None


async def routes(agent):
    """The `routes` answer: what was learned over the mesh and is in use; `total` counts those left out, too."""
    mesh = agent.mesh
    rows = []
    total = 0
    try:
        if mesh:
            rows, total = await asyncio.wait_for(mesh.bird.learned(_ROWS), _DAEMONS)
    except (BirdError, asyncio.TimeoutError):
        pass
    if rows and mesh.plan and mesh.plan.reflectors:
        # Who announces it, and not who has passed it on.
        members = [seat.member for seat in mesh.plan.seats.values()]
        owners = {hop: member.node for member in members for hop in (member.ip, member.ip6)}
        rows = [(prefix, owners.get(hop, node), hop) for prefix, node, hop in rows]
    return {
        "routes": [
            {"prefix": prefix, "node": node, "next_hop": hop, "rtt_ms": mesh.latency.rtt.get(node)}
            for prefix, node, hop in sorted(rows, key=lambda row: (row[1], row[0]))
        ],
        "total": total,
    }


async def tunnels(agent):
    """The `tunnels` answer: the pairs of all members that have one, as tincd knows them."""
    pairs = []
    try:
        if agent.mesh and agent.mesh.tincd.running:
            pairs = await asyncio.wait_for(agent.mesh.tincd.tunnels(), _DAEMONS)
    except (TincError, asyncio.TimeoutError):
        pass
    return {"tunnels": [list(pair) for pair in pairs]}


def private_kb():
    """The process's private memory in kB (RssAnon of /proc/self/status)."""
    gc.collect()
    for line in (disk.read_or_none("/proc/self/status") or "").split("\n"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0
