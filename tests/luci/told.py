"""Answers of the agent for meshes that no lab has: many routers, odd ones, and what the lab cannot be made to say."""

import json


def mesh(count, offline=(), broken=(), indirect=(), state="converged", problems=(), doing=""):
    """(object, method) -> answer of a mesh of `count` routers, seen by `n1`; the others' numbers by what they are."""
    peers = [_peer(number, number in offline, number in broken, number in indirect) for number in range(2, count + 1)]
    tunnels = []
    gone = set(offline)
    for one in range(1, count + 1):
        for other in range(one + 1, count + 1):
            near = count <= 12 or (other - one) % count in (1, 7, count - 1) or (one, other % 5) == (1, 0)
            if near and not {one, other} & gone and not (one == 1 and other in indirect):
                tunnels.append([f"n{one}", f"n{other}"])
    up = [peer for peer in peers if peer["bgp"] == "Established"]
    round_trips = sorted(peer["rtt_ms"] for peer in peers if peer["rtt_ms"] is not None) or [None]
    routes = [
        {"prefix": prefix, "node": peer["node"], "next_hop": peer["address"], "rtt_ms": peer["rtt_ms"]}
        for peer in up for prefix in peer["prefixes"]
    ]
    answers = {
        "status": {
            "node": "n1", "version": "1.0.0", "runtime": "micropython", "uptime": 93784, "state": state, "doing": doing,
            "problems": list(problems), "address": "10.0.0.1", "prefixes": ["192.168.1.0/24"],
            "memory": {"private_kb": 1900},
            "etcd": {"endpoint": "http://192.0.2.10:2379", "api": "v3", "reachable": True, "revision": 91, "age": 3,
                     "failures": 0, "latency_ms": 4.2},
            "tinc": {"running": True, "version": "1.1pre18", "interface": "tinc0", "known": len(peers),
                     "reachable": len([peer for peer in peers if peer["tinc"] != "down"]),
                     "rx_bytes": 1000000, "tx_bytes": 500000},
            "latency": {"median_ms": round_trips[len(round_trips) // 2], "worst_ms": round_trips[-1]},
            "rpki": {"validator": "", "connected": False, "roas": 0, "invalid": 0},
            "bird": {"running": True, "version": "2.15.1", "config": "applied", "sessions": len(peers),
                     "established": len(up)},
        },
        "peers": {"peers": peers},
        "routes": {"routes": routes, "total": len(routes)},
        "tunnels": {"tunnels": tunnels},
        "sync": {"queued": True},
    }
    return {("luci.bgpmesh", method): answer for method, answer in answers.items()}


def check(layers):
    """The answer of rpcd's file.exec to `bgpmesh check -j`; layers: (name, ok, text, remedy)."""
    names = ("name", "ok", "text", "remedy")
    ok = all(layer[1] for layer in layers)
    found = {"ok": ok, "layers": [dict(zip(names, layer, strict=True)) for layer in layers]}
    return {("file", "exec"): {"code": int(not ok), "stdout": json.dumps(found)}}


def problem(text, code="peer", subject=""):
    """A problem as `status` has it."""
    return {"code": code, "subject": subject, "text": text, "since": 40}


def _peer(number, offline, broken, indirect):
    up = not offline and not broken
    return {
        "node": f"n{number}",
        "address": f"10.0.0.{number}",
        "endpoint": "" if number % 4 == 0 else f"198.51.100.{number}:655",
        "asn": 65000,
        "prefixes": [f"192.168.{number}.0/24"],
        "online": not offline,
        "lan": number == 3,
        "tinc": "down" if offline else "indirect" if indirect else "direct",
        "bgp": "" if offline else "Connect" if broken else "Established",
        "bgp_since": "2026-11-20 12:00:00" if up else "",
        "bgp_age": 60 * number * number if up else None,
        "routes_received": (number * 7) % 5 + 1 if up else 0,
        "rtt_ms": None if offline else round(1.5 + (number * 37) % 90 + number / 10, 1),
        "loss_percent": 0,
        "problem": "no BGP session since 40 s: see that TCP port 179 is open" if broken else "",
    }
