"""tinc's files as text: tinc.conf(5) of 1.0 and 1.1, the host files, and the scripts tincd runs."""

from .. import compat, records
from ..address import is_name
from ..model import STATE

HEADER = "# Made by bgpmesh from /etc/config/bgpmesh: changes made here are overwritten.\n"


class Files:
    """All files of tincd's folder: relative name -> (text, mode), made when asked for rather than kept.

    me: this router's Member; members: the others that take part; dialled: names to connect to;
    version: "1.0" or "1.1", of the tincd on this router; found: name of an endpoint -> its addresses as text;
    foreign: as of conf().
    Two are equal when all their bytes are.
    """

    def __init__(self, config, me, members, dialled, version, found, foreign=False):
        self._found = found
        self._foreign = foreign
        self._config = config
        self._me = me
        self._members = {name: member for member in members for name in member.names()}
        self._dialled = dialled
        self._version = version

    def __iter__(self):
        for name in ("tinc.conf", "tinc-up", "tinc-down", "hosts/" + self._me.tinc):
            yield name
        for name in sorted(self._members):
            yield "hosts/" + name

    def __contains__(self, name):
        if name[:6] == "hosts/":
            return name[6:] in self._members or name[6:] == self._me.tinc
        return name in ("tinc.conf", "tinc-up", "tinc-down")

    def __getitem__(self, name):
        if name == "tinc.conf":
            members = list(self._members.values())
            return conf(self._config, self._me, members, self._dialled, self._version, self._foreign), 0o600
        if name == "tinc-up":
            return up(self._config, self._me), 0o700
        if name == "tinc-down":
            return down(), 0o700
        if name == "hosts/" + self._me.tinc:
            return host(self._me, {}), 0o600
        return host(self._members[name[6:]], self._found, name[6:]), 0o600

    def __eq__(self, other):
        return len(self._members) == len(other._members) and not any([True for _ in self.unlike(other)])

    def unlike(self, other):
        """The names of those that `other` has not, or has with another text; the host files are the last."""
        for name in ("tinc.conf", "tinc-up", "tinc-down", "hosts/" + self._me.tinc):
            if name not in other or self[name] != other[name]:
                yield name
        moved = self._found != other._found
        for name in self._members:
            theirs = other._members.get(name)
            if theirs is self._members[name] and not moved:
                continue
            if "hosts/" + name not in other or not self._agrees(name, other):
                yield "hosts/" + name

    def _agrees(self, name, other):
        return self["hosts/" + name] == other["hosts/" + name]


def conf(config, me, members, dialled, version, foreign=False):
    """tinc.conf: the daemon's own part first, then one ConnectTo for each tunnel dialled from here.

    foreign: whether there was a member of another make until lately.
    """
    # Members of this make know each other's hardware address (neighbours.py), so nothing needs to be broadcast:
    # not a burden on all, and no reason for both ends of a new tunnel to begin tinc 1.1's key exchange at once,
    # which then stands still for ten seconds. And nothing needs to be learned of what is whose.
    foreign = foreign or any([records.is_foreign(member, config) for member in members])
    lines = [
        HEADER + "Name = " + me.tinc,
        "# option 'interface'",
        "Interface = " + config.interface,
        "# option 'port'",
        "Port = %d" % config.port,
        "Mode = switch",
        "Broadcast = " + ("mst" if foreign else "no"),
        "PrivateKeyFile = %s/%s" % (STATE, key_file("rsa_key", me.generation, "priv")),
    ]
    if not foreign:
        lines += ["# What is for a member goes to nobody else, whatever they say is theirs.", "StrictSubnets = yes"]
    if version != "1.0":
        lines += [
            "Ed25519PrivateKeyFile = %s/%s" % (STATE, key_file("ed25519_key", me.generation, "priv")),
            "# The tunnels are those below, no others.",
            "AutoConnect = no",
            # 1.1pre18 ends when a path that has been good for UDP takes none for 20 seconds. So UDP is given up before.
            "UDPDiscoveryKeepaliveInterval = 2",
            "UDPDiscoveryTimeout = 7",
        ]
    lines += [
        "# Members of tinc 1.0 are spoken to with these.",
        "Cipher = aes-256-cbc",
        "Digest = sha256",
        "# A lost router is dialled again at least this often, in seconds.",
        "MaxTimeout = 10",
        "PingInterval = 4",
        "PingTimeout = 4",
        "# Each member tells all that its symmetric keys are new: the more members, the more seldom.",
        "KeyExpire = %d" % (3600 * (1 + len(members) // 250)),
    ]
    known = {member.node: member for member in members if member.node in dialled}
    for node in sorted(dialled):
        # While a member's keys are rotated it answers to one of two names.
        names = known[node].names() if node in known else [node]
        lines += ["ConnectTo = " + name for name in names]
    return "\n".join(lines) + "\n"


def key_file(kind, generation, half):
    """The name of the file with a key, `rsa_key` or `ed25519_key`, of a generation; half: `priv` or `pub`."""
    return "%s.%d.%s" % (kind, generation, half) if generation else "%s.%s" % (kind, half)


def host(member, found, name=None):
    """hosts/<name in tinc>: where the member is reached, the public keys that it has under that name, and what is its.

    found: name of an endpoint -> its addresses. Names are none of tincd's business: it would stand still meanwhile.
    """
    keys = [(rsa, ed25519) for found, rsa, ed25519 in member.identities() if found == name]
    rsa, ed25519 = keys[0] if keys else (member.key, member.ed25519)
    lines = [HEADER.rstrip()]
    if member.endpoint:
        where, port = member.endpoint
        lines += ["Address = %s %d" % (one, port) for one in found.get(where, () if is_name(where) else (where,))]
    if ed25519:
        lines.append("Ed25519PublicKey = " + ed25519)
    if rsa:
        lines.append(rsa)
    lines.append("Subnet = " + hardware_address(member.node))
    return "\n".join(lines) + "\n"


def up(config, me):
    """tinc-up: gives the interface its addresses. With busybox' ip as well."""
    lines = [
        "#!/bin/sh",
        HEADER.rstrip(),
        "# Made from the name: the others know it without asking.",
        'ip link set dev "$INTERFACE" address ' + hardware_address(me.node),
        "# option 'mtu'",
        'ip link set dev "$INTERFACE" mtu %d up' % config.mtu,
        "# Who is a detour may say that there is a shorter way, which is the one that fails.",
        'echo 0 > "/proc/sys/net/ipv4/conf/$INTERFACE/accept_redirects"',
        "# options 'address' and 'network'",
        'ip addr add %s/%d dev "$INTERFACE"' % (me.ip, config.network.length),
    ]
    if me.ip6:
        lines += [
            "# option 'network6'; usable at once, without asking whether another has the address",
            'echo 0 > "/proc/sys/net/ipv6/conf/$INTERFACE/accept_dad"',
            'ip -6 addr add %s/%d dev "$INTERFACE"' % (me.ip6, config.network6.length),
        ]
    return "\n".join(lines) + "\n"


def down():
    """tinc-down: the interface goes with the daemon; its addresses before."""
    return '#!/bin/sh\n%sip link set dev "$INTERFACE" down\n' % HEADER


def hardware_address(node):
    """A locally administered unicast Ethernet address made from the node's name."""
    digits = compat.sha256(node.encode())[:10]
    return "02:" + ":".join([digits[at : at + 2] for at in range(0, 10, 2)])
