"""What Prometheus is told, in its text format: one table of names (prometheus.io, "Exposition formats")."""

_STATES = ("starting", "waiting", "syncing", "converged", "degraded", "stopping")
_SESSION_STATES = ("Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established")  # RFC 4271, section 8.2.2


class View:
    """What a scrape shows. status, peers: the answers of those methods; polls: a Tally; applies: part -> Tally;
    told: (kind, value) -> how often, as Events counts; codes: those of the problems that there ever were."""

    def __init__(self, status, peers, polls, applies, told, codes):
        self.status = status
        self.peers = peers["peers"]
        self.polls = polls
        self.applies = applies
        self.told = told
        self.codes = codes


def exposition(view):
    """The metrics, as pieces of text: one for each name of METRICS that has samples."""
    for name, kind, text, samples in METRICS:
        lines = [_line(name, sample) for sample in samples(view)]
        if lines:
            yield "# HELP %s %s\n# TYPE %s %s\n%s" % (name, text, name, kind, "".join(lines))


def _line(name, sample):
    """A sample's line. It is a value, (labels, value), or (suffix of the name, labels, value); labels: pairs."""
    suffix, labels = "", ()
    if isinstance(sample, tuple):
        *suffix, labels, sample = sample
        suffix = suffix[0] if suffix else ""
    shown = ",".join(['%s="%s"' % (key, _escaped(value)) for key, value in labels])
    return "%s%s%s %s\n" % (name, suffix, "{%s}" % shown if shown else "", _number(sample))


def _escaped(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value):
    return "%.9g" % value if isinstance(value, float) else "%d" % value


def _of_peers(name):
    """A sample for each peer: what its row of `peers` has under the name, where that is not None."""

    def samples(view):
        return [((("peer", row["node"]),), row[name]) for row in view.peers if row[name] is not None]

    return samples


def _build(view):
    labels = (
        ("node", view.status["node"]),
        ("version", view.status["version"]),
        ("runtime", view.status["runtime"]),
        ("tinc", view.status["tinc"]["version"]),
        ("bird", view.status["bird"]["version"]),
    )
    return [(labels, 1)]


def _state(view):
    return [((("state", state),), view.status["state"] == state) for state in _STATES]


def _problems(view):
    found = [problem["code"] for problem in view.status["problems"]]
    return [((("code", code),), found.count(code)) for code in sorted(view.codes)]


def _polls(view):
    return [((("status", "success"),), view.polls.good), ((("status", "error"),), view.polls.bad)]


def _poll_duration(view):
    return [("_sum", (), view.polls.seconds), ("_count", (), view.polls.good + view.polls.bad)]


def _applies(view):
    rows = []
    for part in sorted(view.applies):
        tally = view.applies[part]
        rows.append(((("part", part), ("status", "success")), tally.good))
        rows.append(((("part", part), ("status", "error")), tally.bad))
    return rows


def _apply_duration(view):
    rows = []
    for part in sorted(view.applies):
        tally = view.applies[part]
        rows.append(("_sum", (("part", part),), tally.seconds))
        rows.append(("_count", (("part", part),), tally.good + tally.bad))
    return rows


def _sessions(view):
    found = [row["bgp"] for row in view.peers if row["bgp"]]
    others = sorted(set(found) - set(_SESSION_STATES))
    return [((("state", state),), found.count(state)) for state in _SESSION_STATES + tuple(others)]


def _session_up(view):
    return [((("peer", row["node"]),), row["bgp"] == "Established") for row in view.peers if row["bgp"]]


def _up(view):
    return [((("peer", row["node"]),), row["bgp"] == "Established" or bool(row["via"])) for row in view.peers]


def _reachable(view):
    return [((("peer", row["node"]),), row["tinc"] != "down") for row in view.peers]


def _rtt(view):
    return [((("peer", row["node"]),), row["rtt_ms"] / 1000) for row in view.peers if row["rtt_ms"] is not None]


def _loss(view):
    return [((("peer", row["node"]),), row["loss_percent"] / 100) for row in view.peers if row["rtt_ms"] is not None]


def _told(kind, label, always):
    def samples(view):
        values = sorted(set(always) | set([value for found, value in view.told if found == kind]))
        return [(((label, value),), view.told.get((kind, value), 0)) for value in values]

    return samples


def _rpki(name):
    """What `status` has of the RPKI validator under the name; nothing where there is none."""
    return lambda view: [view.status["rpki"][name]] if view.status["rpki"]["validator"] else []


# (name, type, help, what gives the samples)
METRICS = (
    ("bgpmesh_build_info", "gauge", "Always 1; the labels say what runs", _build),
    ("bgpmesh_uptime_seconds", "gauge", "Since the agent was started", lambda view: [view.status["uptime"]]),
    ("bgpmesh_state", "gauge", "1 for the state that the router is in, 0 for the others", _state),
    ("bgpmesh_problems", "gauge", "Current problems, by code; 0 for what is over", _problems),
    (
        "bgpmesh_memory_private_bytes",
        "gauge",
        "Private memory of the agent",
        lambda view: [view.status["memory"]["private_kb"] * 1024],
    ),
    (
        "bgpmesh_etcd_up",
        "gauge",
        "Whether the registry answered the last poll",
        lambda view: [view.status["etcd"]["reachable"]],
    ),
    (
        "bgpmesh_etcd_answer_age_seconds",
        "gauge",
        "Since the registry's last answer; none before the first one",
        lambda view: [age for age in [view.status["etcd"]["age"]] if age >= 0],
    ),
    ("bgpmesh_etcd_polls_total", "counter", "Polls of the registry, by how they ended", _polls),
    ("bgpmesh_etcd_poll_duration_seconds", "summary", "Time that polls of the registry took", _poll_duration),
    ("bgpmesh_members", "gauge", "Members in the registry but this one", lambda view: [len(view.peers)]),
    (
        "bgpmesh_members_online",
        "gauge",
        "Those of them that are alive",
        lambda view: [len([row for row in view.peers if row["online"]])],
    ),
    (
        "bgpmesh_peer_changes_total",
        "counter",
        "Members seen to join, leave, come online and go offline",
        _told("peer", "change", ("joined", "left", "online", "offline")),
    ),
    (
        "bgpmesh_prefixes_announced",
        "gauge",
        "Prefixes that this router announces",
        lambda view: [len(view.status["prefixes"])],
    ),
    ("bgpmesh_applies_total", "counter", "New configurations given to tinc and BIRD, by how that ended", _applies),
    (
        "bgpmesh_apply_duration_seconds",
        "summary",
        "Time from the first file written to the daemon having taken all",
        _apply_duration,
    ),
    ("bgpmesh_tinc_up", "gauge", "Whether tincd runs", lambda view: [view.status["tinc"]["running"]]),
    (
        "bgpmesh_tinc_reachable",
        "gauge",
        "Members with a tunnel, direct or by way of others",
        lambda view: [view.status["tinc"]["reachable"]],
    ),
    (
        "bgpmesh_tinc_direct",
        "gauge",
        "Members with a direct tunnel",
        lambda view: [len([row for row in view.peers if row["tinc"] == "direct"])],
    ),
    (
        "bgpmesh_tinc_receive_bytes_total",
        "counter",
        "Bytes received over the overlay's interface",
        lambda view: [view.status["tinc"]["rx_bytes"]],
    ),
    (
        "bgpmesh_tinc_transmit_bytes_total",
        "counter",
        "Bytes sent over the overlay's interface",
        lambda view: [view.status["tinc"]["tx_bytes"]],
    ),
    ("bgpmesh_bird_up", "gauge", "Whether bird runs", lambda view: [view.status["bird"]["running"]]),
    ("bgpmesh_sessions", "gauge", "BGP sessions, by state", _sessions),
    (
        "bgpmesh_session_changes_total",
        "counter",
        "BGP sessions seen to go into a state",
        _told("session", "state", ("Established",)),
    ),
    ("bgpmesh_rpki_up", "gauge", "Whether the RPKI validator answers; none without option rpki", _rpki("connected")),
    ("bgpmesh_rpki_roas", "gauge", "ROAs that it has named", _rpki("roas")),
    ("bgpmesh_rpki_invalid", "gauge", "Prefixes of members that are refused as invalid", _rpki("invalid")),
    ("bgpmesh_peer_online", "gauge", "Whether the member is alive in the registry", _of_peers("online")),
    ("bgpmesh_peer_reachable", "gauge", "Whether there is a tunnel to the member", _reachable),
    ("bgpmesh_peer_session_up", "gauge", "Whether the BGP session is Established; none without one", _session_up),
    ("bgpmesh_peer_up", "gauge", "Whether its routes are had: by a session with it, or from reflectors", _up),
    ("bgpmesh_peer_session_age_seconds", "gauge", "Since the session is in its state", _of_peers("bgp_age")),
    ("bgpmesh_peer_routes", "gauge", "Routes accepted from the member", _of_peers("routes_received")),
    ("bgpmesh_peer_rtt_seconds", "gauge", "Round trip over the overlay; none without an answer", _rtt),
    ("bgpmesh_peer_loss_ratio", "gauge", "Part of the round trips that fail; none without an answer", _loss),
)
