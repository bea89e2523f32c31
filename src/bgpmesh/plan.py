"""The plan: from what was observed to what should be. A pure function; applying it is agent.py's."""

from . import address, compat, lan, records, reflectors, roster
from .bird import render as bird_render
from .model import RUN, Problem, Text
from .tinc import graph
from .tinc import render as tinc_render

TINC = RUN + "/tinc"
TINC_PID = RUN + "/tinc.pid"
TINC_LOG = RUN + "/tinc.log"
BIRD_CONF = RUN + "/bird.conf"
BIRD_SOCKET = RUN + "/bird.ctl"


class Plan:
    """What should be.

    node: this router's name. port: tincd's. tinc: the files of tincd's folder, tinc.render.Files. bird:
    bird.conf as a Text. services: procd service -> its instances, as `ubus call service set` takes them. seats: node ->
    Seat of the members that take part, this router left out. share: names of those whose tunnel this router has
    to dial; dialled: these, and those it holds on to. announced: the prefixes that this router announces. problems:
    what kept things out of the plan. drained: whether the peers are told to use this router last. reflectors: names of
    the route reflectors, none where every pair has a session; peers: set of the names of those that this router has
    a BGP session with; sessions: these, and those it holds on to; patience: as make() has it, of these. names: name in
    tinc -> node, of this router and the members that take part; rotating: names of the members that this router
    dials and whose keys are being rotated. foreign: names of the members of another make.
    """

    def __init__(
        self,
        me,
        port,
        tinc,
        bird,
        services,
        seats,
        share,
        dialled,
        announced,
        problems,
        drained,
        reflectors,
        peers,
        sessions,
        lossy,
        foreign,
    ):
        self.node = me.node
        self.tinc_name = me.tinc
        self.names = {me.tinc: me.node}
        for node in seats:
            for name in seats[node].member.names():
                self.names[name] = node
        self.rotating = [node for node in dialled if seats[node].member.next]
        self.port = port
        self.tinc = tinc
        self.bird = bird
        self.services = services
        self.seats = seats
        self.share = share
        self.dialled = dialled
        self.announced = announced
        self.problems = problems
        self.drained = drained
        self.reflectors = reflectors
        self.peers = peers
        self.sessions = sessions
        self.patience = lossy
        self.foreign = foreign


class Conf(Text):
    """bird.conf; as render.conf. To compare it with another takes no more than what the two have not in common.

    reflecting: names of the reflectors, and of those that were so until lately.
    """

    def __init__(self, config, me, announced, seats, drained, sessions, reflecting, patience):
        super().__init__(lambda: self._render(list(seats.values())))
        self.reflecting = reflecting
        self._seats = seats
        self._patience = patience
        # What the sessions with all are made of. The rest of what is not a member's is in what comes before them.
        self._common = sessions, reflecting, config.secrets, me.secrets, me.ao
        self._render = lambda peers: bird_render.conf(
            config, me, announced, peers, drained, sessions, reflecting, patience
        )

    def __eq__(self, other):
        return self._patience == other._patience and self.same_but_for_patience(other)

    def same_but_for_patience(self, other):
        """Whether it is the same as the other, or would be if the paths to the members lost the same."""
        ours, theirs = self._seats, other._seats
        if len(ours) != len(theirs) or self._common != other._common:
            return False
        changed = []
        for node in ours:
            if node not in theirs:
                return False
            if not ours[node].same(theirs[node]):
                changed.append(node)
        one, another = [
            compat.digest(conf._render([conf._seats[node] for node in changed])) for conf in (self, other)
        ]
        return one == another


def make(
    config,
    me,
    members,
    claims,
    online,
    underlay,
    held,
    tinc_version,
    drained=False,
    lately=((), ()),
    patience=None,
    found=None,
    foreign=False,
):
    """The Plan of one router.

    config: its Config; me: its own Member; members: the other Members; claims: address -> node;
    online: names of the members that are there to be dialled; underlay: node -> address that its tunnel is seen
    to come from; held: names whose tunnel was dialled until lately; tinc_version: "1.0" or "1.1";
    drained: whether the peers are told to use this router only where there is no other; lately: names of the peers,
    and of the reflectors, that there were until lately; patience: node -> how many times as many BFD packets as usual
    may be lost in a row, without those for which it is 1; found: name of an endpoint -> its addresses as text;
    foreign: whether there was a member of another make until lately.
    """
    everybody = members + [me]
    seats, problems = roster.seat(everybody, claims, _Reserved(config, me, everybody, underlay, found or {}))
    mine = seats.pop(me.node, None)
    announced = mine.prefixes if mine else []
    if not mine:
        seats = {}
    others = [seat.member for seat in seats.values()]
    # A large mesh leans on the members that are there; which ones those are, all see alike.
    candidates = [member for member in others if member.node in online]
    if len(others) < graph.FULL_MESH or not candidates:
        candidates = others
    share = graph.dials(me.node, candidates + [me])
    # A tunnel that is no longer this router's to dial is let go late, or each join would cut some.
    dialled = sorted(set(share) | set([peer.node for peer in others if peer.node in held and peer.endpoint]))
    files = tinc_render.Files(config, me, others, dialled, tinc_version, found or {}, foreign)
    chosen = reflectors.choose(me.node, others + [me], online)
    wanted = set(reflectors.peers(me, others, chosen))
    held_on_to = [node for node in lately[0] if node in seats and node not in wanted]
    sessions = wanted | set(held_on_to) if held_on_to else wanted
    lossy = patience_with(config, sessions, patience or {})
    return Plan(
        me,
        config.port,
        files,
        Conf(config, me, announced, seats, drained, sessions, set(chosen) | set(lately[1]), lossy),
        _services(files, tinc_version, lan.announcement(config, me)),
        seats,
        share,
        dialled,
        announced,
        problems,
        drained,
        chosen,
        wanted,
        sessions,
        lossy,
        [member.node for member in others if records.is_foreign(member, config)],
    )


def patience_with(config, sessions, patience):
    """What counts of make()'s `patience`: that with members there is a session with, where there is BFD."""
    return {node: patience[node] for node in patience if config.bfd_interval and node in sessions}


def local_prefixes(config, found):
    """What this router announces of the prefixes found on its interfaces and set in its options.

    found: Prefixes of the interfaces in option `announce`. Returns (sorted Prefixes, Problems).
    """
    kept = {}
    problems = []
    for prefix in found + config.prefix:
        if prefix.family == 6 and not config.network6:
            continue
        fault = records.unusable(prefix, config)
        if fault:
            problems.append(Problem("prefix_unusable", str(prefix), "%s is not announced: %s" % (prefix, fault)))
        else:
            kept[str(prefix)] = prefix
    kept = sorted(kept.values(), key=lambda prefix: prefix.key())
    if kept[records.MAX_PREFIXES :]:
        text = "%d prefixes are not announced: a router has at most %d; %s is the first of them"
        text %= len(kept) - records.MAX_PREFIXES, records.MAX_PREFIXES, kept[records.MAX_PREFIXES]
        problems.append(Problem("prefix_unusable", "more", text))
    return kept[: records.MAX_PREFIXES], problems


def overlaps(config, networks):
    """Problems with those of a router's own networks that are where the overlay is, which would cut them off.

    networks: (interface, Prefix) of what its interfaces have. A wider one goes on to be reached but for the overlay's
    part of it.
    """
    text = (
        "interface '%s' has %s, which is within the overlay, %s, and would be cut off by it: this router stays out of "
        "the mesh; set another '%s' on all routers of the mesh"
    )
    return [
        Problem("network_overlap", "%s %s" % (name, prefix), text % (name, prefix, getattr(config, option), option))
        for name, prefix in networks
        for option in ("network", "network6")
        if getattr(config, option) and getattr(config, option).covers(prefix)
    ]


class _Reserved:
    """(Prefix, what it is, node) of the addresses that tunnels run over, and those of the registry, as roster.seat has
    them; made anew each time they are gone through."""

    def __init__(self, config, me, members, underlay, found):
        self._registry = [host for _, host, _ in config.etcd]
        self._me = me
        self._members = members
        self._underlay = underlay
        self._found = found

    def __iter__(self):
        for member in self._members:
            hosts = [member.endpoint[0]] if member.endpoint else []
            seen = self._underlay.get(member.node)
            for host in hosts if seen is None or seen in hosts else hosts + [seen]:
                try:
                    prefix = address.host_prefix(address.parse(host))
                except ValueError:
                    continue  # a name: its address is known once the tunnel is up
                # A tunnel from within our own networks is no reason to withdraw them.
                if host != seen or not self._is_ours(prefix):
                    sure = host == seen or member is self._me
                    yield prefix, "the endpoint of '%s'" % member.node, "" if sure else member.node
        # Who was there before us may well have the registry in its network.
        for name in self._registry:
            for host in self._found.get(name, () if address.is_name(name) else (name,)):
                prefix = address.host_prefix(address.parse(host))
                if not self._is_ours(prefix):
                    yield prefix, "the address of the registry", self._me.node

    def _is_ours(self, prefix):
        return any([one.covers(prefix) for one in self._me.prefixes])


def _services(files, tinc_version, announcement):
    # procd restarts an instance whose definition changed: what tincd only reads at its start is in it.
    start_only = [line for line in files["tinc.conf"][0].split("\n") if not line.startswith("ConnectTo")]
    digest = compat.sha256("\n".join(start_only + [files["tinc-up"][0]]).encode())[:16]
    tincd = ["/usr/sbin/tincd", "-D", "-c", TINC, "--pidfile=" + TINC_PID]
    if tinc_version == "1.0":
        tincd.append("--logfile=" + TINC_LOG)
    # A BIRD that has ended as it should has taken its socket away, and its routes. Another one left both: they stay
    # in use until its successor, which is told so, has heard what its peers have.
    bird = "[ -S %s ] && set -- -R; exec /usr/sbin/bird -f -c %s -s %s -P %s/bird.pid \"$@\""
    bird = ["/bin/sh", "-c", bird % (BIRD_SOCKET, BIRD_CONF, BIRD_SOCKET, RUN), "bird"]
    return {
        "bgpmesh-tinc": _instance("tincd", tincd, {"BGPMESH": digest}, announcement),
        "bgpmesh-bird": _instance("bird", bird, {}),
    }


def _instance(name, command, env, data=None):
    # Respawn after a second, and never give up (a retry of 0).
    instance = {
        "command": command,
        "env": env,
        "respawn": ["3600", "1", "0"],
        "term_timeout": 10,
        "stdout": True,
        "stderr": True,
    }
    if data:
        instance["data"] = data  # procd takes other data over without a restart
    return {name: instance}
