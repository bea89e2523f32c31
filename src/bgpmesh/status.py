"""What the agent says of itself over ubus: objects `bgpmesh` and `luci.bgpmesh`, methods status, peers, sync."""

import asyncio
import gc

from . import VERSION, address, compat, disk, records
from .bird.control import BirdError
from .etcd import EtcdError
from .ubus import UbusError, blob

OBJECTS = ("bgpmesh", "luci.bgpmesh")
_ROUTES = 3  # seconds that `peers` waits for BIRD, of the five that its callers wait


def publish(agent):
    """Serves an Agent's methods. Two objects, because some callers of the second one add an argument."""

    async def show_peers(_):
        return await peers(agent)

    async def leave(_):
        # A status number would be all that reaches the caller of a failed method: the text is in the answer.
        try:
            await agent.leave()
        except (EtcdError, UbusError, OSError) as error:
            return {"left": False, "problem": str(error)}
        return {"left": True}

    def sync(_):
        agent.sync()
        return {"queued": True}

    for name in OBJECTS:
        signature = {} if name == "bgpmesh" else {"ubus_rpc_session": blob.STRING}
        methods = {"status": (signature, lambda _: status(agent)), "peers": (signature, show_peers)}
        methods["sync"] = (signature, sync)
        if name == "bgpmesh":
            methods["leave"] = (signature, leave)
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
    sessions = [session.state for session in bird.sessions.values()] if bird else []
    known = plan.seats if plan else ()
    answered = registry.last_success if registry else None
    return {
        "node": config.node if config else "",
        "version": VERSION,
        "runtime": compat.RUNTIME,
        "uptime": int(compat.monotonic() - agent.started),
        "state": mesh.state if mesh else "starting" if config else "waiting",
        "problems": [
            {"code": problem.code, "subject": problem.subject, "text": problem.text, "since": int(age)}
            for problem, age in agent.problems.all()
        ],
        "address": me.ip if me else "",
        "prefixes": [str(prefix) for prefix in plan.announced] if plan else [],
        "memory": {"private_kb": private_kb()},
        "etcd": {
            "endpoint": registry.endpoint if registry else "",
            "api": config.etcd_api if config else "",
            "reachable": bool(registry and answered is not None and not registry.failures),
            "revision": registry.revision if registry else 0,
            "age": -1 if answered is None else int(compat.monotonic() - answered),
            "failures": registry.failures if registry else 0,
        },
        "tinc": {
            "running": bool(tincd and tincd.running),
            "version": tincd.version if tincd else "",
            "interface": config.interface if config else "",
            "known": len(known),
            "reachable": len([node for node in known if tincd.reaches(node)]),
        },
        "bird": {
            "running": bool(bird and bird.running),
            "version": bird.version or "" if bird else "",
            "config": bird.config if bird else "pending",
            "sessions": len(sessions),
            "established": sessions.count("Established"),
        },
    }


async def peers(agent):
    """The `peers` answer: a row for each member but this router, those left out as well. rtt_ms may be None."""
    member = agent.membership
    rows = []
    if not member:
        return {"peers": rows}
    try:
        routes = await asyncio.wait_for(agent.mesh.bird.routes(), _ROUTES)
    except (BirdError, asyncio.TimeoutError):
        routes = {}
    faults = {problem.subject: problem.text for problem in agent.problems.of("records")}
    for problem in agent.problems.of("plan"):
        faults[problem.subject.split()[0]] = problem.text
    names = set(member.others) | set([node for node in member.entries if node != agent.config.node])
    for node in sorted(names):
        rows.append(_peer(agent, node, routes.get(node, 0), faults.get(records.plain(node), "")))
    return {"peers": rows}


def _peer(agent, node, routes, problem):
    member = agent.membership
    mesh = agent.mesh
    peer = member.others.get(node)
    seat = mesh.plan.seats.get(node) if mesh.plan else None
    seen = mesh.tincd.nodes.get(node)
    session = mesh.bird.sessions.get(node) if seat else None
    online = node in member.online
    if seat and online and not problem:
        problem = mesh.missing(node) or ""
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
        "routes_received": routes,
        "rtt_ms": seen.rtt if seen and seen.reachable else None,
        "lan": node in agent.lan.seen,
        "problem": problem,
    }


def private_kb():
    """The process's private memory in kB (RssAnon of /proc/self/status)."""
    gc.collect()
    for line in (disk.read_or_none("/proc/self/status") or "").split("\n"):
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0
