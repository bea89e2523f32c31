"""The member record: what a router says of itself in etcd, as text and as a value.

The text is one JSON object. With a network secret it ends in `,"sig":"hmac-sha256:<hex>"}`, where
the HMAC covers the record's key in etcd, a newline, and the text before the signature closed with
`}`: the bytes as they are stored, because two JSON writers seldom agree on the bytes of one value.
A router with an identity (identity.py) signs its record with that before, in the same way: the text then
ends in `,"id":"<its public key>","by":"ed25519:<signature>"}`, and what is signed is the SHA-256.
"""

import binascii
import json

from . import address, compat
from . import secret as network_secret

MAX_LENGTH = 16384
MAX_PREFIXES = 256
SHORTEST = {4: 8, 6: 16}  # of a prefix: two of length 1 are a default route by another name. Host routes are routes.
MAX_SECRETS = 4
MAX_GENERATION = 9999
POLL_INTERVAL = 10  # seconds, of who says nothing of it
MAX_POLL_INTERVAL = 3600
LARGEST = (1 << 53) - 1  # the whole numbers that all JSON writers keep exact (RFC 8259, section 6)
_SIGNATURE = ',"sig":"hmac-sha256:'
_BY = ',"by":"ed25519:'
_BRACKETS = 512  # of a text, at most
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
_HEX = "0123456789abcdef"
ID_LENGTH = 64  # hexadecimal digits of an identity's public key
BY_LENGTH = 128  # of its signature
_BASE64 = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"


class RecordError(ValueError):
    """A record that cannot be used; the text says what was found and what would be right."""


class Left(RecordError):
    """What a router that has left put in its record's place: it is no member any more. serial, proof: of a Member."""

    def __init__(self, serial, proof):
        super().__init__("the member has left")
        self.serial = serial
        self.proof = proof


class Proof:
    """That a record is its node's own, not verified yet. id: the node's public key, by: its signature of the digest,
    both as an identity.Identity has them; digest: SHA-256 of what is signed."""

    def __init__(self, id, by, digest):
        self.id = id
        self.by = by
        self.digest = digest

    def mark(self):
        """What no other Proof has. With the signature: of one text there are forged ones besides the right one."""
        return self.digest, self.by


class Member:
    """A router of the mesh, as its record describes it.

    node: its name. ip, ip6: overlay addresses as text (ip6 may be None). key: RSA public key (PEM)
    or None; ed25519: tinc 1.1's public key or None; at least one is there. endpoint: (host, port),
    or None for a router that others cannot dial. asn, router_id: BGP's. prefixes: announced
    prefixes, sorted. serial: grows with every change of the record. version: of its agent.
    created: etcd's create revision of the record, by which the first to announce a prefix keeps it.
    secrets: names of the network secrets that it knows, the newest first. signed: the secret that the record
    is signed with, or None.
    ao: whether its BGP sessions can have TCP-AO; of this router None where its BIRD does not know the option.
    full_mesh_max: up to how many members all of them have sessions with each other, None where it knows no other
    way; reflector: "auto", "yes" or "no" (reflectors.py).
    poll_interval: seconds after which it has seen what the registry has, without a watch too.
    generation: how often its keys were rotated; next: the Next keys while they are being rotated, else None.
    id, by: as of a Proof, None where it has no identity. proof: of who was decoded, the Proof, or None.
    """

    def __init__(self, node, ip, ip6, key, ed25519, endpoint, asn, router_id, prefixes, serial, version, created=0):
        self.node = node
        self.ip = ip
        self.ip6 = ip6
        self.key = key
        self.ed25519 = ed25519
        self.endpoint = endpoint
        self.asn = asn
        self.router_id = router_id
        self.prefixes = prefixes
        self.serial = serial
        self.version = version
        self.created = created
        self.secrets = []
        self.signed = None
        self.ao = False
        self.full_mesh_max = None
        self.reflector = "auto"
        self.poll_interval = POLL_INTERVAL
        self.generation = 0
        self.next = None
        self.id = None
        self.by = None
        self.proof = None

    @property
    def member(self):
        """Itself: as a roster.Seat."""
        return self

    def same(self, other):
        """As of a roster.Seat."""
        return self is other

    @property
    def tinc(self):
        """The name of its tincd."""
        return tinc_name(self.node, self.generation)

    def names(self):
        """The names of identities()."""
        return [self.tinc] + ([tinc_name(self.node, self.next.generation)] if self.next else [])

    def identities(self):
        """[(name of its tincd, RSA key, Ed25519 key)] under which it may be met: with its keys, and with the next."""
        found = [(self.tinc, self.key, self.ed25519)]
        if self.next:
            found.append((tinc_name(self.node, self.next.generation), self.next.key, self.next.ed25519))
        return found


class Next:
    """The keys that a member is about to take. generation, key, ed25519: as of Member."""

    def __init__(self, generation, key, ed25519):
        self.generation = generation
        self.key = key
        self.ed25519 = ed25519


def tinc_name(node, generation):
    """The name under which a member's tincd runs with its keys of a generation (0: those it was born with).

    Each pair of keys is a node of its own to tinc, whose daemon goes by one key a name, and remembers it for as long
    as it runs. The number has its zeros because of two nodes that have one hardware address tinc keeps to the last
    by name while neither is reachable.
    """
    return "%s__%04d" % (node, generation) if generation else node


def node_of(name):
    """Whose tinc_name() it is, of whatever generation."""
    return name[:-6] if name[-6:-4] == "__" and name[-4:].isdigit() else name


def is_foreign(member, config):
    """Whether a member is of another make, whose hardware address nobody can tell: its record has no version.

    With `trust` signed none is, whatever it says: no other make signs its records with an identity of ours.
    """
    return not member.version and config.trust != "signed"


class Entry:
    """A record as etcd has it. created, modified: revisions of its key's creation and last put."""

    def __init__(self, text, created, modified):
        self.created = created
        self.modified = modified
        self.verdict = None  # (Entry, Member or None, Problem or None, whose) of who has decoded it
        self._text = text  # or the compact.Compact that it can be made from

    @property
    def text(self):
        """As stored; None where it is no UTF-8 or longer than MAX_LENGTH."""
        return encode_again(self._text) if isinstance(self._text, Member) else self._text

    def slim(self, member):
        """Lets go of the text where its Member, a Compact, gives the same: of a large mesh it is most of the memory."""
        if isinstance(self._text, str) and self._text == encode_again(member):
            self._text = member

    def forget(self):
        """Lets go of the text: it is none that counts, and may be long."""
        self._text = None

    def shed(self):
        """The same where it is not slim."""
        if isinstance(self._text, str):
            self._text = None


def is_name(text):
    """Whether a text is a node name: one to 63 letters, digits and underscores (tinc's own rule)."""
    return 0 < len(text) <= 63 and not text.strip(_NAME)


def is_hex(value, length):
    """Whether a value is a text of so many hexadecimal digits, small letters."""
    return isinstance(value, str) and len(value) == length and not value.strip(_HEX)


def encode(member, key=None, secret=None, identity=None):
    """The record of a Member as text, signed for the etcd key `key` with the secret and the Identity that there are."""
    fields = (
        ("ip", member.ip),
        ("ip6", member.ip6 or ""),
        ("key", member.key or ""),
        ("ed25519", member.ed25519 or ""),
        ("endpoint", address.endpoint_text(member.endpoint) if member.endpoint else ""),
        ("asn", member.asn),
        ("router_id", member.router_id),
        ("prefixes", [str(prefix) for prefix in member.prefixes]),
        ("serial", member.serial),
        ("version", member.version),
    )
    text = "{" + _joined(fields)
    if member.generation:
        text += ',"generation":%d' % member.generation
    if member.next:
        coming = member.next
        fields = (("generation", coming.generation), ("key", coming.key or ""), ("ed25519", coming.ed25519 or ""))
        text += ',"next":{%s}' % _joined(fields)
    if member.ao:
        text += ',"auth":["ao"]'
    if member.full_mesh_max:
        text += ',"full_mesh_max":%d' % member.full_mesh_max
    if member.reflector != "auto":
        text += ',"reflector":"%s"' % member.reflector
    if member.poll_interval != POLL_INTERVAL:
        text += ',"poll_interval":%d' % member.poll_interval
    if len(member.secrets) > 1:
        text += ',"secrets":' + json.dumps(member.secrets)
    return _signed(text + "}", key, secret, identity or member)


def encode_again(member):
    """The record that a compact.Compact was made of, if it was one of these."""
    return encode(member, member.folder + member.node, member.signed)


def farewell(serial, key, secret=None, identity=None):
    """What is put in the place of the record of a router that leaves: who reads it later still learns of it."""
    return _signed('{"left":true,"serial":%d}' % serial, key, secret, identity)


def _signed(text, key, secret, identity):
    """The text with what shows that it is its node's own; identity: an Identity, or a Member that has its id and by."""
    if identity and identity.id:
        text = '%s,"id":"%s"}' % (text[:-1], identity.id)
        by = identity.by or identity.sign(_digest(text, key))
        text = text[:-1] + _BY + by + '"}'
    return text[:-1] + _SIGNATURE + _sign(text, key, secret) + '"}' if secret else text


def _digest(text, key):
    return compat.digest([key or "", "\n", text])


def _joined(fields):
    return ",".join(['"%s":%s' % (name, json.dumps(value)) for name, value in fields])


def decode(node, text, config, key=None, created=0):
    """The Member that a record describes.

    node: the name in the record's etcd key `key`; text: the record as stored; config: this router's
    Config, for the overlay's networks, the defaults and the secrets. Raises RecordError, and of that Left.
    """
    if not is_name(node):
        raise RecordError("the name is not one to 63 letters, digits and underscores")
    if text is None or len(text) > MAX_LENGTH:
        raise RecordError("the record is longer than %d bytes" % MAX_LENGTH)
    signed = None
    if config.secrets:
        text, signed = _verify(text, key, config.secrets)
    fields = _parse(text)
    proof = _proof(text, key, fields)
    if fields.get("left") is True:
        raise Left(_number(fields, "serial", 0), proof)
    asn = _number(fields, "asn", config.asn)
    if not 0 < asn < 4294967295:
        raise RecordError("'asn' is %d: not from 1 to 4294967294" % asn)
    ip = _overlay_address(fields, config)
    ip6 = _overlay_address6(fields, config)
    endpoint = _text(fields, "endpoint", "Endpoint")
    member = Member(
        node,
        ip,
        ip6,
        _rsa_key(_text(fields, "key", "Key")),
        _ed25519_key(_text(fields, "ed25519")),
        _endpoint(endpoint) if endpoint else None,
        asn,
        _router_id(_text(fields, "router_id"), ip),
        _prefixes(fields, config),
        _number(fields, "serial", 0),
        _text(fields, "version")[:32],
        created,
    )
    if not member.key and not member.ed25519:
        raise RecordError("there is neither 'key' nor 'ed25519'")
    if signed:
        member.signed = signed
        member.secrets = _secrets(fields) or [network_secret.name(signed)]
    auth = fields.get("auth")
    member.ao = isinstance(auth, list) and "ao" in auth
    member.full_mesh_max = _number(fields, "full_mesh_max", 0) or None
    wish = fields.get("reflector")
    member.reflector = wish if wish in ("yes", "no") else "auto"
    member.poll_interval = min(_number(fields, "poll_interval", POLL_INTERVAL), MAX_POLL_INTERVAL)
    member.generation = _generation(fields)
    member.next = _next(fields, member)
    member.proof = proof
    if proof:
        member.id, member.by = proof.id, proof.by
    return member


def _generation(fields):
    number = _number(fields, "generation", 0)
    if number > MAX_GENERATION:
        raise RecordError("'generation' is %d: not from 0 to %d" % (number, MAX_GENERATION))
    return number


def _next(fields, member):
    found = fields.get("next")
    if found is None:
        return None
    if not isinstance(found, dict):
        raise RecordError("'next' is not an object with the keys to come")
    coming = Next(_generation(found), _rsa_key(_text(found, "key")), _ed25519_key(_text(found, "ed25519")))
    if coming.generation <= member.generation or not coming.key and not coming.ed25519:
        raise RecordError("'next' has no keys of a later generation")
    return coming


def _proof(text, key, fields):
    """The Proof that a record has, None where it shows no identity."""
    signed, found, by = text.rpartition(_BY)
    if not found:
        return None
    found = Proof(fields.get("id"), by[:-2], _digest(signed + "}", key))
    if not is_hex(found.id, ID_LENGTH) or not is_hex(found.by, BY_LENGTH) or not by.endswith('"}'):
        raise RecordError("'id' and 'by' are not a public key and its signature at the end of the record")
    return found


def _sign(text, key, secret):
    return compat.hmac_sha256(secret.encode(), (key + "\n" + text).encode())


def _verify(text, key, secrets):
    body, found, signature = text.rpartition(_SIGNATURE)
    if not found:
        raise RecordError("the record is not signed, and this network has a secret")
    body += "}"
    for secret in secrets:
        if signature == _sign(body, key, secret) + '"}':
            return body, secret
    raise RecordError("the signature is wrong: signed with another secret, or changed since")


def loads(text):
    """json.loads() for text that anybody may have written. Raises ValueError, too, where brackets could take memory.

    MicroPython takes 72 bytes for each that is open: those of 15,000 are half of the heap.
    """
    if text.count("[") + text.count("{") > _BRACKETS:
        raise ValueError("more than %d brackets" % _BRACKETS)
    try:
        return json.loads(text)
    except RuntimeError:
        raise ValueError("nested deeper than the stack")


def _parse(text):
    try:
        fields = loads(text)
    except ValueError:
        raise RecordError("the record is not JSON")
    if not isinstance(fields, dict) or not _is_closed(text):
        raise RecordError("the record is not a whole JSON object")
    return fields


def _is_closed(text):
    # MicroPython's json takes a truncated object for a whole one. Every second part is outside of quotes.
    parts = text.replace("\\\\", "").replace('\\"', "").split('"')
    outside = "".join(parts[::2])
    opened = outside.count("{") + outside.count("[")
    return len(parts) % 2 == 1 and opened == outside.count("}") + outside.count("]")


def _text(fields, name, earlier=None):
    value = fields.get(name, fields.get(earlier))
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecordError("'%s' is not a text" % name)
    return value


def _number(fields, name, default):
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise RecordError("'%s' is not a whole number from 0 to %d" % (name, LARGEST))
    return value


def _overlay_address(fields, config):
    text = _text(fields, "ip", "IP").split("/")[0]  # the earlier daemon wrote 10.0.0.1/24
    try:
        found = address.parse(text)
    except ValueError:
        raise RecordError("'ip' is %s: not an IPv4 address" % shown(text))
    if not config.network.is_host(found):
        raise RecordError("'ip' is '%s': not a host's address in %s" % (text, config.network))
    return text


def _overlay_address6(fields, config):
    text = _text(fields, "ip6")
    if not text or not config.network6:
        return None
    try:
        found = address.parse(text)
    except ValueError:
        raise RecordError("'ip6' is %s: not an IPv6 address" % shown(text))
    if not config.network6.is_host(found):
        raise RecordError("'ip6' is '%s': not a host's address in %s" % (text, config.network6))
    return address.text(*found)


def _router_id(text, ip):
    if not text or text == ip:
        return ip
    try:
        family, number = address.parse(text)
    except ValueError:
        family, number = 0, 0
    if family != 4 or not number:
        raise RecordError("'router_id' is %s: not an IPv4 address" % shown(text))
    return text


def _endpoint(text):
    try:
        return address.parse_endpoint(text, 655)
    except ValueError as error:
        raise RecordError("'endpoint' is %s: %s" % (shown(text), error))


def _secrets(fields):
    found = fields.get("secrets", [])
    if not isinstance(found, list) or len(found) > MAX_SECRETS:
        raise RecordError("'secrets' is not a list of at most %d" % MAX_SECRETS)
    for text in found:
        if not is_hex(text, network_secret.NAME_LENGTH):
            raise RecordError("'secrets' has an item that is no name of one")
    return found


def _prefixes(fields, config):
    texts = fields.get("prefixes", [])
    if not isinstance(texts, list) or len(texts) > MAX_PREFIXES:
        raise RecordError("'prefixes' is not a list of at most %d" % MAX_PREFIXES)
    found = {}
    for text in texts:
        if not isinstance(text, str):
            raise RecordError("'prefixes' has an item that is not a text")
        try:
            prefix = address.parse_prefix(text)
        except ValueError as error:
            raise RecordError("prefix %s: %s" % (shown(text), error))
        fault = unusable(prefix, config)
        if fault:
            raise RecordError("prefix %s: %s" % (shown(text), fault))
        found[str(prefix)] = prefix
    return sorted(found.values(), key=lambda prefix: prefix.key())


def unusable(prefix, config):
    """Why a prefix may be announced by nobody in this network; None when it may."""
    if prefix.length == 0:
        return "a default route is never announced"
    if prefix.overlaps(config.network) or config.network6 and prefix.overlaps(config.network6):
        return "it overlaps the overlay's own network"
    if prefix.is_special():
        return "loopback, link-local, multicast and reserved networks are never announced"
    if prefix.length < SHORTEST[prefix.family]:
        return "shorter than /%d: it takes in the networks of others" % SHORTEST[prefix.family]
    return None


def _rsa_key(text):
    if not text:
        return None
    lines = text.strip().replace("\r", "").split("\n")
    kind = lines[0].replace("-----BEGIN ", "").replace("-----", "")
    body = "".join(lines[1:-1])
    if (
        kind not in ("RSA PUBLIC KEY", "PUBLIC KEY")
        or lines[0] != "-----BEGIN %s-----" % kind
        or lines[-1] != "-----END %s-----" % kind
        or body.rstrip("=").strip(_BASE64)
    ):
        raise RecordError("'key' is not an RSA public key in PEM form")
    try:
        size = len(binascii.a2b_base64(body))
    except ValueError:
        raise RecordError("'key' is not an RSA public key in PEM form")
    if not 256 < size < 2100:
        raise RecordError("'key' is not an RSA key of 2048 to 16384 bits")
    # One shape for all, so that equal keys give equal files.
    return "\n".join([lines[0]] + [body[at : at + 64] for at in range(0, len(body), 64)] + [lines[-1]])


def _ed25519_key(text):
    if not text:
        return None
    if len(text) != 43 or text.strip(_BASE64):
        raise RecordError("'ed25519' is not an Ed25519 public key in tinc's form")
    return text


def shown(value):
    """Somebody else's value in quotes, short and harmless, for a message."""
    return "'%s'" % plain(value)


def plain(value):
    """The same without quotes: printable ASCII, and 63 characters of it at most, as many as a name has."""
    text = str(value)
    clean = "".join([character if " " <= character < "\x7f" else "?" for character in text[:63]])
    return clean + ("…" if len(text) > 63 else "")
