"""Members on the same LAN: what this router announces through umdns, and what it hears of others (RFC 6763).

An announcement says who the member is and which registry it uses. Under a network secret it is signed, and a
router without option `etcd` takes the registry of a neighbour that has the same secret, or one of two.
"""

from . import compat, config

SERVICE = "_bgpmesh._udp"
_TEXT = 255  # bytes of one string of a TXT record


class Sighting:
    """A member seen on the LAN. address: its overlay address; key: fingerprint of its key; etcd: its registry's
    servers, as option `etcd` takes them; trusted: whether it is signed with our secret."""

    def __init__(self, node, address, key, etcd, trusted):
        self.node = node
        self.address = address
        self.key = key
        self.etcd = etcd
        self.trusted = trusted


def fingerprint(member):
    """16 hexadecimal digits that stand for a Member's public key."""
    return compat.sha256((member.ed25519 or member.key).encode())[:16]


def announcement(options, me):
    """The `data` of a procd instance that has umdns announce this router while the instance runs."""
    # Servers that do not fit into one string are left out: any of them will do.
    servers = [config.server_text(server) for server in options.etcd]
    while len("etcd=" + " ".join(servers)) > _TEXT:
        servers.pop()
    fields = [me.node, me.ip, fingerprint(me), " ".join(servers)]
    texts = ["%s=%s" % pair for pair in zip(("node", "address", "key", "etcd"), fields)]
    if options.secrets:
        texts.append("sig=" + " ".join([_sign(fields, secret) for secret in options.secrets]))
    service = {"service": SERVICE + ".local", "port": options.port, "instance": me.node, "txt": texts}
    return {"mdns": {"bgpmesh_%d" % options.port: service}}


def sightings(answer, secrets):
    """node -> Sighting from umdns' answer to `browse` with "array". What is no announcement is passed over."""
    found = {}
    heard = answer.get(SERVICE)
    for item in heard.values() if isinstance(heard, dict) else ():
        texts = item.get("txt") if isinstance(item, dict) else None
        values = dict([text.split("=", 1) for text in texts or () if isinstance(text, str) and "=" in text])
        fields = [values.get(name, "") for name in ("node", "address", "key", "etcd")]
        if not fields[0]:
            continue
        signatures = values.get("sig", "").split()
        trusted = any([_sign(fields, secret) in signatures for secret in secrets])
        if trusted or fields[0] not in found:
            found[fields[0]] = Sighting(*fields, trusted)
    return found


def _sign(fields, secret):
    # Bound to this use: a signature of a record is none of an announcement.
    return compat.hmac_sha256(secret.encode(), ("lan\n" + "\n".join(fields)).encode())
