"""The etcd user of one router, with no more rights than it needs, as commands for etcd's administrator."""

_HEAD = """\
# Makes an etcd user for router %(node)s that may read the mesh, and write its own record, its sign of life and
# claims of addresses. For a shell where etcdctl may change etcd's users: set ETCDCTL_ENDPOINTS, and where etcd has
# authentication on ETCDCTL_USER=root:PASSWORD. The last lines are for the router. To turn authentication on, once:
#   etcdctl user add root; etcdctl user grant-role root root; etcdctl auth enable
"""


def commands(node, prefix):
    """The commands as text, for a node (its name as option `node` has it) and option `etcd_prefix`."""
    role = "bgpmesh-" + node
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
    lines = ["password=$(head -c 24 /dev/urandom | base64)", "etcdctl role add %s" % role]
    for option, kind, key in rights:
        lines.append("etcdctl role grant-permission%s %s %s %s" % (option, role, kind, _quoted(prefix + key)))
    lines += [
        "printf '%%s\\n' \"$password\" | etcdctl user add %s --interactive=false" % node,
        "etcdctl user grant-role %s %s" % (node, role),
        "echo \"uci set bgpmesh.main.etcd_user='%s'; uci set bgpmesh.main.etcd_password='$password'\"" % node,
        'echo "uci commit bgpmesh; service bgpmesh reload"',
    ]
    return _HEAD % {"node": node} + "\n".join(lines)


def _quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"
