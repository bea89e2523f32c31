"""etcd users with no more rights than they need, as commands for etcd's administrator: of one router; of the owner."""

_HEAD = """\
# Makes an etcd user for %s that may read the mesh, and write %s.
# For a shell where etcdctl may change etcd's users: set ETCDCTL_ENDPOINTS, and where etcd has
# authentication on ETCDCTL_USER=root:PASSWORD. %s To turn authentication on, once:
#   etcdctl user add root; etcdctl user grant-role root root; etcdctl auth enable
"""
_OWNER = "network-owner"  # no node is called that: it has no `-`


def commands(node, prefix):
    """The commands as text, for a node (its name as option `node` has it) and option `etcd_prefix`."""
    what = "its own record, its sign of life and\n# claims of addresses"
    head = _HEAD % ("router " + node, what, "The last lines are for the router.")
    rights = (
        (" --prefix", "read", "/peers/"),
        (" --prefix", "read", "/alive/"),
        # What the network's owner says, who alone writes it.
        (" --prefix", "read", "/trust/"),
        # Any address may turn out to be the free one, and one that was left is taken over.
        (" --prefix", "readwrite", "/claims/"),
        ("", "readwrite", "/peers/" + node),
        ("", "readwrite", "/alive/" + node),
    )
    told = (
        "uci set bgpmesh.main.etcd_user='%s'; uci set bgpmesh.main.etcd_password='$password'" % node,
        "uci commit bgpmesh; service bgpmesh reload",
    )
    return head + _made(node, "bgpmesh-" + node, rights, prefix, told)


def owners_commands(prefix):
    """The same for the network's owner, who approves and revokes from any machine."""
    head = _HEAD % ("the network's owner", "what the owner says of its members", "The last line is for the owner.")
    rights = [(" --prefix", "read", "/%s/" % folder) for folder in ("peers", "alive", "claims")]
    rights.append((" --prefix", "readwrite", "/trust/"))
    told = "ETCDCTL_USER='%s:$password' bgpmesh approve NODE -s FILE" % _OWNER
    return head + _made(_OWNER, _OWNER, rights, prefix, (told,))


def _made(user, role, rights, prefix, told):
    """The commands that make a user with these rights, and print what is told of it, where $password is its own."""
    lines = ["password=$(head -c 24 /dev/urandom | base64)", "etcdctl role add %s" % role]
    for option, kind, key in rights:
        lines.append("etcdctl role grant-permission%s %s %s %s" % (option, role, kind, _quoted(prefix + key)))
    lines.append("printf '%%s\\n' \"$password\" | etcdctl user add %s --interactive=false" % user)
    lines.append("etcdctl user grant-role %s %s" % (user, role))
    return "\n".join(lines + ['echo "%s"' % line for line in told])


def _quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"
