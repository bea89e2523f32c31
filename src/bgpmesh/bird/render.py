"""bird.conf as text, the same for BIRD 2.0 to 3.1.

What leaves and what is let in is decided here, twice: this router sends its own prefixes, and takes from each peer
the prefixes that the peer's record announces. In a mesh where all have sessions with all, each passes on what it has
from a member itself, and takes it from the others where its own session with that member is down; in a larger one
reflectors pass on all, with its next hop, and it is taken only with the next hop of who announces it. Nothing else.
"""

from .. import address, compat, records
from .. import secret as network_secret
from ..tinc import graph

HEADER = "# Made by bgpmesh from /etc/config/bgpmesh: changes made here are overwritten.\n"
RELAYS = 16  # members up to which each passes on the others' routes
# Of each family from a peer: what it may announce and pass on, now or as a reflector; twice, for what it withdraws may
# come after what it announces instead. Not the numbers in the records: a new limit restarts the session.
RECEIVE_LIMIT = 4 * RELAYS * records.MAX_PREFIXES
# seconds that a BIRD that ended without a word is given to come back, its routes meanwhile in use where no other
# member has a path
RESTART_TIME = 15
# seconds of these that it waits for sessions before it does without those that are not up: some member is always away
RECOVERY_TIME = 5


def protocol_name(node):
    """The name of a member's session in BIRD; the underscore keeps it from being a keyword."""
    return "_" + node


def node_name(protocol):
    """The member whose session has this name."""
    return protocol[1:]


# In the templates {name} is replaced; where there is nothing to put, its line goes.

_HEAD = """\
# option 'router_id'
router id {router_id};
graceful restart wait {recovery_time};
timeformat protocol iso long;
log stderr {{ warning, error, auth, fatal, bug, remote }};

protocol device {{
	scan time 10;
}}

# The overlay itself: what the next hops are reached through.
protocol direct overlay {{
	ipv4;
	{ipv6}
	interface "{interface}";
}}
"""

_VALIDATOR = """\
# option 'rpki': what it finds invalid is refused. All is accepted while it has said nothing.
roa4 table rpki4;
roa6 table rpki6;

protocol rpki validator {{
	roa4 {{
		table rpki4;
	}};
	roa6 {{
		table rpki6;
	}};
	remote {host} port {port};
	retry keep 10;
	refresh keep 60;
	expire keep 7200;
}}
"""

# A path that fails is noticed before BGP's hold time, whatever the tunnels believe.
_BFD = """\
# options 'bfd_interval' and 'bfd_multiplier'
protocol bfd {{
	multihop {{
		interval {interval} ms;
		idle tx interval 1 s;
		multiplier {multiplier};
	}};
}}
"""

# scan time: when the overlay's interface has just come up, BIRD 3.1 may believe that the kernel has a route that it
# never got. The next scan is what mends it.
_OWN = """\
# options 'announce' and 'prefix': the routes of this router, for its peers only.
protocol static own{family} {{
	ipv{family};
{routes}
}}

protocol kernel kernel{family} {{
	metric 512;
	scan time 2;
	graceful restart on;
	ipv{family} {{
		import none;
		export where {exported} && dest = RTD_UNICAST;
	}};
}}
"""

_MEMBER = """\
template bgp mesh_member {{
	# option 'asn'
	local {ip} as {asn};
	hold time 9;
	keepalive time 3;
	startup hold time 20;
	{bfd}
	# What peers have said is kept: a filter that changes needs no word with them, and BIRD 3.1.7 ends when a path fails
	# amid a refresh.
	enable route refresh off;
	# The routes of a peer that is not heard any more are kept, and come last, until it is back or gone (RFC 9494).
	graceful restart on;
	graceful restart time 0;
	long lived graceful restart on;
	long lived stale time {restart_time};
	connect delay time 1;
	connect retry time 2;
	error wait time 1, 2;
{channels}
}}
"""

_CHANNEL = """\
	ipv{family} {{
		import none;
		import table on;
		{keep}
		export {export};
		{hop}
		receive limit {limit} action disable;
	}};"""

_EXPORT = 'where proto = "own%d"'

# A prefix comes with the next hop of the member whose record announces it, or not at all.
_REFLECTED = """\
# option 'full_mesh_max': what the members announce and reflectors pass on.
filter reflected{family}
{{
	case bgp_next_hop {{
{members}
		else: reject;
	}}
	if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
	accept;
}}
"""

# What is reflected: to a client all but its own, to another reflector what comes from clients.
_REFLECT = {
    "client": "source = RTS_BGP && bgp_next_hop != {hop}",
    "reflector": "source = RTS_BGP && ! defined(bgp_originator_id)",
}

# What is passed on is what its owner has said itself, and lately: (65535, 6) is on what is stale.
_EXPORT_AND_PASS_ON = """\
filter {
			if proto = "own%d" then accept;
			if source = RTS_BGP && bgp_local_pref = 100 && !((65535, 6) ~ bgp_community) then accept;
			reject;
		}"""

# RFC 8326: what has this community is used only where there is nothing else. LOCAL_PREF says so to a peer of another
# make, which may not know the community.
_LAST_RESORT = """\
filter {{
			{reflect}
			if proto != "own{family}" then reject;
			bgp_community.add((65535, 0));  # drained
			bgp_local_pref = 0;
			accept;
		}}"""

# What a member says of the others: used where their own sessions are down. Were it preferred to what a drained member
# says itself, two others would send each other what is for it.
_PASSED_ON = """\
function passed_on{family}()
{{
	if net !~ [ {prefixes} ] then reject;
	{check}
	bgp_local_pref = 0;
}}
"""

_PEER = """\
	ipv{family} {{
		{imports}
		{exports}
	}};"""

_IMPORT = """\
import filter {{
			{own}
			{others}
			if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
			accept;
		}};"""

_OWN_OF = """\
if net ~ [ {prefixes} ] then {{
				{check}
				bgp_local_pref = 100;
			}}"""

_CHECK = "if roa_check(rpki%d, net, %d) = ROA_INVALID then reject;"
# The path of what is passed on within this router's AS is empty.
_CHECK_PASSED_ON = """\
if bgp_path.len = 0 && roa_check(rpki%d, net, %d) = ROA_INVALID then reject;
	if bgp_path.len > 0 && roa_check(rpki%d, net, bgp_path.last) = ROA_INVALID then reject;"""

_AO = """\
authentication ao;  # from option 'secret'
	keys {
		key { id 1; secret "%s"; algorithm hmac sha256; };
	};"""

_SESSION = """\
protocol bgp {name} from mesh_member {{
	neighbor {ip} as {asn};
	{bfd}
	{client}
	{passive}
	{password}
{channels}
}}
"""


# A session whose password changes begins anew, and nothing but its own routes leads to the member.
_BRIDGE = """\
# option 'secret_old': what leads to the members while sessions begin anew with the new secret.
protocol static bridge{family} {{
	ipv{family} {{
		preference 50;
	}};
{routes}
}}
"""

_BRIDGED = "source = RTS_BGP || proto = \"bridge%d\""


def conf(config, me, announced, peers, drained=False, sessions=None, reflecting=(), patience=None):
    """bird.conf, as pieces of text one after the other: all of a large mesh at once takes memory.

    me: this router's Member; announced: its own prefixes; peers: Seats of the other members; drained: whether
    the peers are told to use this router only where there is no other (RFC 8326, graceful shutdown); sessions: names
    of those that it has one with, None for all; reflecting: names of the reflectors; patience: node -> how many times
    as many BFD packets as from others may be lost in a row, without those for which it is 1.
    """
    hop = "next hop keep;" if reflecting else "next hop self;"
    hops = {4: hop}
    if me.ip6:
        hops[6] = "next hop address %s;\n\t\t%s" % (me.ip6, hop)
    ipv6 = "ipv6;" if me.ip6 else ""
    yield HEADER + _fill(
        _HEAD, router_id=me.router_id, recovery_time=RECOVERY_TIME, interface=config.interface, ipv6=ipv6
    )
    keep = ""
    if config.rpki:
        host, port = config.rpki
        yield "\n" + _fill(_VALIDATOR, host=host if _is_address(host) else '"%s"' % host, port=port)
        keep = "import keep filtered on;"  # for what is refused to be shown
    for family in sorted(hops):
        routes = ["\troute %s unreachable;" % prefix for prefix in announced if prefix.family == family]
        exported = "(" + _BRIDGED % family + ")" if config.secret_old else "source = RTS_BGP"
        yield "\n" + _fill(_OWN, family=family, routes="\n".join(routes), exported=exported)
        if config.secret_old:
            yield "\n" + _fill(_BRIDGE, family=family, routes="\n".join(_bridges(peers, family)))
    relays = len(peers) < RELAYS and not reflecting
    passed_on = []
    for family in sorted(hops) if relays else ():
        prefixes = sorted([str(prefix) for peer in peers for prefix in peer.prefixes if prefix.family == family])
        if prefixes:
            passed_on.append(family)
            check = _CHECK_PASSED_ON % (family, config.asn, family) if config.rpki else ""
            yield "\n" + _fill(_PASSED_ON, family=family, prefixes=", ".join(prefixes), check=check)
    channels = []
    for family in sorted(hops):
        export = _EXPORT_AND_PASS_ON % family if relays and not drained else _export(family, drained)
        channels.append(
            _fill(_CHANNEL, family=family, keep=keep, export=export, hop=hops[family], limit=RECEIVE_LIMIT)
        )
    bfd = ""
    if config.bfd_interval:
        yield "\n" + _fill(_BFD, interval=config.bfd_interval, multiplier=config.bfd_multiplier)
        bfd = "bfd graceful;"
    yield "\n" + _fill(
        _MEMBER, bfd=bfd, ip=me.ip, asn=config.asn, restart_time=RESTART_TIME, channels="\n".join(channels)
    )
    peers = sorted(peers, key=lambda peer: peer.member.node)
    ours = [peer for peer in peers if sessions is None or peer.member.node in sessions]
    if any([node in sessions for node in reflecting]):
        for family in sorted(hops):
            head, _, rest = _REFLECTED.partition("{members}\n")
            yield "\n" + head.format(family=family)
            for line in _owners(config, peers, family):
                yield line + "\n"
            yield rest.format(family=family)
    for peer in ours:
        yield "\n" + _session(config, me, peer, sorted(hops), passed_on, drained, reflecting, patience or {})


def _owners(config, peers, family):
    for peer in peers:
        hop = peer.member.ip if family == 4 else peer.member.ip6
        prefixes = _of_family(peer, family)
        if hop and prefixes:
            refuse = "if net !~ [ %s ] then reject;" % prefixes
            if config.rpki:
                refuse = "{ %s %s }" % (refuse, _CHECK % (family, peer.member.asn))
            yield "\t\t%s : %s" % (hop, refuse)


def _of_family(peer, family):
    return ", ".join([str(prefix) for prefix in peer.prefixes if prefix.family == family])


def _export(family, drained, to=None, hop=None):
    """What is announced. to: "client" or "reflector" where this router reflects to it; hop: its next hop."""
    reflect = _REFLECT[to].format(hop=hop) if to else ""
    if drained:
        return _fill(_LAST_RESORT, family=family, reflect="if %s then accept;" % reflect if to else "")
    return _EXPORT % family + (" || " + reflect if to else "")


def _bridges(peers, family):
    found = []
    for peer in peers:
        hop = peer.member.ip if family == 4 else peer.member.ip6
        if hop:
            found += ["\troute %s via %s;" % (prefix, hop) for prefix in peer.prefixes if prefix.family == family]
    return sorted(found)


def _session(config, me, peer, families, passed_on, drained, reflecting, patience):
    member = peer.member
    bfd = passive = password = ""
    if config.bfd_interval and member.node in patience:
        lost = min(255, config.bfd_multiplier * patience[member.node])
        bfd = "bfd { multiplier %d; };  # packets get lost on the way" % lost
    if not graph.leads(me.node, member.node):
        # One side opens the session. Two routers that start together would each ask for the other at the
        # same moment, and tinc 1.1's key exchange gets stuck for ten seconds when both sides begin it.
        passive = "passive on;"
    if config.secret:
        leads = graph.leads(me.node, member.node)
        known = [one for one in config.secrets if network_secret.name(one) in me.secrets] or config.secrets
        secret = network_secret.shared(known, member.secrets, leads) or config.secret
        if me.ao and member.ao:
            password = ao_authentication(session_password(secret, me.node, member.node, "bgp ao"))
        else:
            password = session_password(secret, me.node, member.node)
            password = "password \"%s\";  # from option 'secret'" % password
            if me.ao is not None:
                password += "\n\tauthentication md5;"  # or a BIRD that knows the option warns of each session
    channels = []
    for family in families:
        imports = _imports(config, peer, family, passed_on, reflecting)
        hop = member.ip if family == 4 else member.ip6
        to = _reflects_to(me, member, reflecting) if hop else None
        exports = "export %s;" % _export(family, drained, to, hop) if to else ""
        if imports or exports:
            channels.append(_fill(_PEER, family=family, imports=imports, exports=exports))
    # Whether there are reflectors or not: to change these would restart the session. Multihop: else a link-local next
    # hop comes along, which is nobody's neighbour once it is reflected.
    client = "rr client;" if member.asn == config.asn else ""
    if not client and member.full_mesh_max:
        client = "multihop;\n\tallow local as 1;"
    return _fill(
        _SESSION,
        name=protocol_name(member.node),
        ip=member.ip,
        asn=member.asn,
        bfd=bfd,
        client=client,
        passive=passive,
        password=password,
        channels="\n".join(channels),
    )


def _reflects_to(me, member, reflecting):
    """What a member is to this router where that reflects: "client" or "reflector"; None where it does not."""
    if me.node not in reflecting or not member.full_mesh_max:
        return None
    if member.node not in reflecting:
        return "client"
    # Each has all from its clients, and between ASes nothing would end a circle.
    return "reflector" if member.asn == me.asn else None


def _imports(config, peer, family, passed_on, reflecting):
    """What is taken from a peer, as a line of its channel; "" for nothing."""
    member = peer.member
    if member.node in reflecting:
        return "import filter reflected%d;" % family
    prefixes = _of_family(peer, family)
    if prefixes or family in passed_on:
        own = ""
        others = "passed_on%d();" % family if family in passed_on else "reject;"
        if prefixes:
            # Who announces is named: within an AS the path is empty.
            check = _CHECK % (family, member.asn) if config.rpki else ""
            own = _fill(_OWN_OF, prefixes=prefixes, check=check)
            others = "else " + others
        return _fill(_IMPORT, own=own, others=others)
    return ""


def _is_address(host):
    try:
        address.parse(host)
    except ValueError:
        return False
    return True


def _fill(template, **values):
    # An option that is not used leaves nothing behind, not even its line.
    for name in values:
        if values[name] == "":
            head, _, rest = template.partition("{%s}\n" % name)
            template = head.rstrip("\t") + rest
    return template.format(**values)


def ao_authentication(key):
    """The lines of a session's block that have it authenticated by TCP-AO with the key, a text."""
    return _AO % key


def session_password(secret, one, other, use="bgp"):
    """The password of a pair's BGP session, derived from the network's secret: 64 hexadecimal digits.

    Each use has one of its own.
    """
    low, high = sorted((one, other))
    return compat.hmac_sha256(secret.encode(), ("%s %s %s" % (use, low, high)).encode())
