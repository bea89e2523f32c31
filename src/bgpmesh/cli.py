"""The command line: `bgpmesh COMMAND`, with the commands in USAGE.

Exit status: 0 fine, 1 failed, 2 wrong usage; of `status`: 0 converged, 3 not running, 4 anything else.
"""

import asyncio
import json
import sys

from . import VERSION

_ASKED = ("status", "peers", "sync", "drain", "rotate", "leave", "remove")  # commands that the agent does
_PATIENCE = {"drain": 10, "leave": 20}  # seconds for an answer, where it takes more than 5

USAGE = """usage: bgpmesh COMMAND
  run           run the agent in the foreground, as procd does
  status [-j]   whether the mesh works, and what is wrong (-j: as JSON)
  peers [-j]    the other members, their tunnels and sessions
  check [-j]    look at every layer and say what to do about what is wrong
  sync          ask the registry now instead of at the next interval
  drain [off]   have the others route around this one where they can
  rotate        replace this router's tinc keys, without an outage
  leave         take this router out of the mesh
  etcd-role [NODE | -o]  print commands that make an etcd user for a router, or
                (-o) for the owner, who approves
  keygen [-s FILE]               make the owner's key, which approves members
  approve NODE [ID] [-s FILE]    let a member in; ID as its status shows it
  revoke NODE [-s FILE]          shut a member out
  remove NODE   take another router out of it, one that is gone for good
  secret        make a network secret, and say how to set it
  --version     print the version
"""


# Modules that import others, those first that others need.
LAYERS = ("config", "stream", "etcd.http", "etcd", "plan")


def main(arguments):
    """Runs a command; returns the exit status."""
    if arguments == ["--version"]:
        print(VERSION)
        return 0
    as_json = arguments[1:] == ["-j"]
    command = arguments[0] if arguments else ""
    plain = len(arguments) == 1
    if command not in _ASKED:
        load()
    if command == "run" and plain:
        return _run()
    if command in ("status", "peers") and (plain or as_json):
        return asyncio.run(_ask(command, as_json))
    if arguments == ["drain", "off"]:
        return asyncio.run(_ask("undrain", False))
    if command in ("sync", "drain", "rotate", "leave") and plain:
        return asyncio.run(_ask(command, False))
    if command == "check" and (plain or as_json):
        from . import check

        return asyncio.run(check.run(as_json))
    if command == "etcd-role" and len(arguments) < 3:
        return _print_role(arguments[1:])
    if command in ("keygen", "approve", "revoke"):
        from . import owner

        try:
            done = asyncio.run(owner.run(command, arguments[1:]))
        except owner.Refused as error:
            _report(str(error))
            return 1
        if done:
            print(done)
            return 0
    if command == "secret" and plain:
        from . import owner

        print(owner.new_secret())
        return 0
    if command == "remove" and len(arguments) == 2:
        return asyncio.run(_remove(arguments[1]))
    sys.stderr.write(USAGE)
    return 2


def load():
    """Imports LAYERS one after the other.

    An import within an import takes 5 kB of the stack, of which MicroPython has 40 where integers have 32 bits.
    """
    for name in LAYERS:
        __import__("bgpmesh." + name)


def _print_role(names):
    from . import config, disk, options
    from .etcd import role

    of_owner = names == ["-o"]
    names = [] if of_owner else names
    try:
        name = names[0] if names else (disk.read("/proc/sys/kernel/hostname") or "").strip()
        # A router's own options say what comes before the mesh's keys; elsewhere nothing does.
        ours = config.load(disk.read(options.CONFIG) or "config mesh 'main'", name)
        node = config.parse_node(name) if names else ours.node
    except (config.ConfigError, OSError, ValueError) as error:
        sys.stderr.write("%s\n" % error)
        return 1
    print(role.owners_commands(ours.etcd_prefix) if of_owner else role.commands(node, ours.etcd_prefix))
    return 0


def _report(text):
    sys.stderr.write("bgpmesh: %s\n" % text)


def _log(text):
    # procd puts the name in front.
    sys.stderr.write(text + "\n")


def _run():
    from .agent import Agent
    from .ubus import open_bus

    async def run():
        await Agent(open_bus(_log), _log).run()

    asyncio.run(run())
    return 0


async def _ask(command, as_json):
    from . import ubus

    try:
        answer = await ubus.ask("bgpmesh", command, _PATIENCE.get(command, 5))
    except ubus.UbusError as error:
        _report(await _why_not(error))
        return 1 if command != "status" else 3 if _is_gone(error) else 4
    if command == "leave" and not answer["left"]:
        _report("still a member: %s" % answer["problem"])
        return 1
    if command == "rotate" and not answer["begun"]:
        _report("not begun: %s" % answer["problem"])
        return 1
    if as_json:
        print(json.dumps(answer))
    elif command == "status":
        _show_status(answer)
    elif command == "peers":
        _show_peers(answer["peers"])
        more = answer.get("total", 0) - len(answer["peers"])
        if more > 0:
            print("and %d more, for which an answer over ubus has no room" % more)
    elif command == "drain":
        return _show_drain(answer)
    elif command == "undrain":
        print("no longer drained")
    elif command == "rotate":
        print("begun; `bgpmesh status` says how far it is")
    else:
        left = "left the mesh; `uci set bgpmesh.main.enabled=0; uci commit bgpmesh` keeps it out"
        print("queued" if command == "sync" else left)
    return 4 if command == "status" and answer["state"] != "converged" else 0


def _show_drain(answer):
    if answer["problem"]:
        _report("not drained: %s" % answer["problem"])
    elif answer["untold"]:
        _report("drained, but these may not know it yet: %s" % ", ".join(answer["untold"]))
    else:
        print("drained: %d peers know it; `bgpmesh drain off`, or a restart, ends it" % len(answer["told"]))
    return 1 if answer["problem"] or answer["untold"] else 0


async def _remove(node):
    from . import ubus

    try:
        answer = await ubus.ask("bgpmesh", "remove", 15, {"node": node})
    except ubus.UbusError as error:
        answer = {"problem": await _why_not(error)}
    if answer["problem"]:
        _report("'%s' is not removed: %s" % (node, answer["problem"]))
        return 1
    print("removed '%s'; if it runs, it comes back: `bgpmesh leave` there ends that" % node)
    return 0


def _is_gone(error):
    from . import ubus

    return error.status in (ubus.NOT_FOUND, ubus.CONNECTION_FAILED)


async def _why_not(error):
    """Why the agent has not answered, and what to do. error: the UbusError."""
    if not _is_gone(error):
        return str(error)
    load()
    from . import check

    try:
        await check.configuration(None)
    except check.Bad as error:
        return "the agent is not running; %s: %s" % (error, error.remedy)
    return "the agent is not running; start it: service bgpmesh start; its log: logread -e bgpmesh"


def _show_status(answer):
    tinc, bird, etcd = answer["tinc"], answer["bird"], answer["etcd"]
    reached = "reachable" if etcd["reachable"] else "not reachable (%d failures)" % etcd["failures"]
    seen = "never answered" if etcd["age"] < 0 else "last answer %d s ago" % etcd["age"]
    runs = "bgpmesh %s on %s" % (answer["version"], answer["runtime"])
    doing = ": " + answer["doing"] if answer["doing"] else ""
    if etcd["latency_ms"] is not None:
        seen += " in %.1f ms" % etcd["latency_ms"]
    trips = ""
    if answer["latency"]["worst_ms"] is not None:
        trips = ", round trips of %(median_ms).1f ms (the worst %(worst_ms).1f)" % answer["latency"]
    rows = [
        ("node", "%s, %s%s (%s)" % (answer["node"] or "no name yet", answer["state"], doing, runs)),
        ("address", answer["address"] or "none yet"),
        ("announced", ", ".join(answer["prefixes"]) or "nothing"),
        ("etcd", "%s %s, %s" % (etcd["endpoint"], reached, seen) if etcd["endpoint"] else "none yet"),
        ("tinc", "%s, %d of %d peers reachable%s" % (_running(tinc), tinc["reachable"], tinc["known"], trips)),
        ("bird", "%s, %d of %d sessions Established" % (_running(bird), bird["established"], bird["sessions"])),
    ]
    reflectors = answer["bird"]["reflectors"]
    if reflectors:
        rows.append(("reflected", "by " + ", ".join([_itself(node, answer["node"]) for node in reflectors])))
    trust = answer["trust"]
    if trust["identity"]:
        rows.insert(1, ("identity", trust["identity"][:16] + (trust["standing"] and ", " + trust["standing"])))
    if tinc["rotation"]:
        rows.append(("keys", "are being rotated: " + tinc["rotation"]))
    for name, value in rows:
        print(_padded(name, 10) + value)
    for problem in answer["problems"]:
        print("problem   %s (for %d s)" % (problem["text"], problem["since"]))


def _itself(node, own):
    return "this router" if node == own else node


def _running(daemon):
    return daemon["version"] + " running" if daemon["running"] else "not running"


def _show_peers(peers):
    rows = [("NODE", "ADDRESS", "ENDPOINT", "ONLINE", "LAN", "TUNNEL", "BGP", "SINCE", "ROUTES", "RTT", "PROBLEM")]
    for peer in peers:
        rtt = "-" if peer["rtt_ms"] is None else "%.1f ms" % peer["rtt_ms"]
        if peer["loss_percent"]:
            rtt += ", %d %% lost" % peer["loss_percent"]
        rows.append(
            (
                peer["node"],
                peer["address"] or "-",
                peer["endpoint"] or "-",
                "yes" if peer["online"] else "no",
                "yes" if peer["lan"] else "no",
                peer["tinc"],
                peer["bgp"] or "via " + ", ".join(peer["via"]) if peer["bgp"] or peer["via"] else "-",
                peer["bgp_since"] or "-",
                str(peer["routes_received"]),
                rtt,
                peer["problem"],
            )
        )
    widths = [max([len(row[column]) for row in rows]) + 2 for column in range(len(rows[0]))]
    for row in rows:
        print("".join([_padded(cell, width) for cell, width in zip(row, widths)]).rstrip())


def _padded(text, width):
    return text + " " * (width - len(text))
