"""What the network's owner does: makes the signing key, approves members, revokes them (trust.py); makes a secret.

On any machine that has this package, the mesh's options and the secret key. The agent need not run there. A router's
own user of etcd may have no right to write it: ETCDCTL_USER, as etcdctl has it, names another, `user:password`.
"""

import os

from . import check, clock, compat, discovery, disk, etcd, identity, records, trust, usign
from .config import ConfigError, load, parse_node
from .model import STATE, TAKE
from .options import CONFIG

SECRET = STATE + "/network.sec"
_GRANT = "`bgpmesh etcd-role -o` prints the commands that make one who may, and tell how to be that"
_SET = """\
A new network secret; it is kept nowhere else than where you put it. On every member:

uci set bgpmesh.main.secret='%s'
uci commit bgpmesh; service bgpmesh reload"""
_ROTATE = """\
A new network secret; it is kept nowhere else than where you put it. On every member, one after the other:

uci set bgpmesh.main.secret_old="$(uci get bgpmesh.main.secret)"
uci set bgpmesh.main.secret='%s'
uci commit bgpmesh; service bgpmesh reload

And when all have it, on every member, one after the other:

uci delete bgpmesh.main.secret_old; uci commit bgpmesh; service bgpmesh reload"""


class Refused(Exception):
    """It was not done; the text says why, and what would be right."""


async def run(command, arguments):
    """Carries out `keygen`, `approve` or `revoke`. What was done, None where it was used wrongly. Raises Refused."""
    arguments = list(arguments)
    path = SECRET
    if "-s" in arguments[:-1]:
        at = arguments.index("-s")
        path = _named(arguments[at + 1])
        del arguments[at : at + 2]
    try:
        if command == "keygen":
            return None if arguments else _make_keys(path)
        if len(arguments) == 1 or len(arguments) == 2 and command == "approve":
            return await _say(command, path, *arguments)
    except check.Bad as error:
        raise Refused("%s; %s" % (error, error.remedy))
    except (etcd.EtcdError, OSError) as error:
        raise Refused(str(error))
    return None


def _named(path):
    """A path that was typed, from where that was: the launcher, which names the folder, has gone to another one."""
    folder = os.getenv("BGPMESH_FROM")
    return path if path.startswith("/") or not folder else "%s/%s" % (folder.rstrip("/"), path)


def _make_keys(path):
    """Makes a pair of keys: the secret one at `path`, which is not there yet, the public one beside it."""
    public = path[:-4] + ".pub" if path.endswith(".sec") else path + ".pub"
    for one in (path, public):
        if compat.exists(one):
            raise Refused("%s is there already: with another key every member would have to be approved anew" % one)
    texts = usign.make(os.urandom(56))
    try:
        if path == SECRET:
            disk.make_folder(STATE)
        disk.write(path, texts[0], 0o600)
        disk.write(public, texts[1], 0o644)
    except OSError as error:
        raise Refused("cannot write %s and %s: %s" % (path, public, compat.reason(error)))
    done = (
        "made %s, which stays with you, best on no router, and %s; then on all routers:\n"
        "uci set bgpmesh.main.trust_key='%s'; %s\n"
        "`bgpmesh approve NODE -s %s` lets each of them in; when all are, on all of them:\n"
        "uci set bgpmesh.main.trust='signed'; %s"
    )
    return done % (path, public, usign.line(usign.parse_public(texts[1])), TAKE, path, TAKE)


async def _say(verb, path, node, shown=""):
    """Puts a signed statement about a node into etcd; shown: how its identity begins."""
    config = check.in_force()
    secret = _secret(path)
    if config.trust_key and usign.parse_public(config.trust_key) != secret.public:
        raise Refused("%s does not belong to option 'trust_key'" % path)
    if clock.is_wrong():
        raise Refused("the clock shows %s, and statements are numbered by it: set it first" % clock.shown())
    try:
        node = parse_node(node)
    except ValueError as error:
        raise Refused("%s is no name of a member: %s" % (records.shown(node), error))
    servers = config.etcd or discovery.taken_last()
    if not servers:
        raise Refused("no registry is known: set option 'etcd'")
    config.trust = "signed"  # members are approved before it is, too
    user = os.getenv("ETCDCTL_USER")
    if user:
        config.etcd_user, _, config.etcd_password = user.partition(":")
    registry = etcd.open_registry(config, servers)
    try:
        await registry.poll()
        approved = _identity_of(config, registry, node, shown) if verb == "approve" else ""
        key = trust.place(config, node)
        # Later than all before, those included that somebody has removed from etcd.
        serial = max(clock.now(), _highest(registry.statements.get(node), key, secret.public) + 1)
        signed = trust.compose(verb, key, serial, approved)
        try:
            await registry.put_statement(node, signed + secret.sign(signed.encode()) + "\n")
        except etcd.EtcdError as error:
            if error.kind != "permission":
                raise
            raise Refused("etcd's user '%s' may not write %s: %s" % (config.etcd_user, key, _GRANT))
    finally:
        registry.close()
    return "%sd %s%s" % (verb, node, ", which has the identity " + approved if approved else "")


def _secret(path):
    text = disk.read_or_none(path)
    if text is None:
        raise Refused("cannot read %s: name the network's secret key with -s FILE; `bgpmesh keygen` makes one" % path)
    try:
        return usign.Secret(text)
    except ValueError as error:
        raise Refused("%s: %s" % (path, error))


def _identity_of(config, registry, node, shown):
    """The id in a node's record, which begins as `shown` says."""
    entry = registry.members.get(node)
    if not entry:
        raise Refused("there is no record of '%s' in etcd: it must have been started once" % node)
    try:
        proof = records.decode(node, entry.text, config, "%s/peers/%s" % (config.etcd_prefix, node)).proof
    except records.RecordError as error:
        raise Refused("the record of '%s' cannot be used: %s" % (node, error))
    if not proof:
        raise Refused("'%s' shows no identity: set option 'trust_key' on it first" % node)
    if not proof.id.startswith(shown):
        raise Refused("'%s' has the identity %s, not %s: is the record its own?" % (node, proof.id, shown))
    if not identity.verify(proof):
        raise Refused("the record of '%s' is not signed by the identity that it shows: another has written it" % node)
    return proof.id


def _highest(entry, key, public):
    """The highest serial of the owner's statements about a node that are known here; -1 where there is none."""
    kept = (disk.read_or_none(trust.PATH) or "").split("\n")
    texts = ["%s\n%s\n" % (kept[at], kept[at + 1]) for at in range(len(kept) - 1)]
    highest = -1
    for text in texts + ([entry.text] if entry else []):
        try:
            highest = max(highest, trust.read(text, key, public).serial)
        except ValueError:
            pass
    return highest


def new_secret():
    """A text with a new secret, and the commands that set it or have it take the place of the one there is."""
    try:
        has_one = load(disk.read(CONFIG) or "", "router").secret
    except (ConfigError, OSError, ValueError):
        has_one = None
    return (_ROTATE if has_one else _SET) % compat.hexlify(os.urandom(32))
