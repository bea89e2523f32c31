"""`bgpmesh check`: every layer looked at from the outside, each with a verdict and what to do.

It asks the system itself, not the agent, wherever it can: it must help when the agent does not run.
"""

import time

from . import address, compat, config, discovery, disk, etcd, ubus
from .etcd import other
from .options import CONFIG
from .plan import BIRD_CONF
from .ubus import UbusError

_BUILT = 1767225600  # 2026-01-01: no router's clock is right before this


class Bad(Exception):
    """A layer is not as it should be. remedy: what to do."""

    def __init__(self, text, remedy):
        super().__init__(text)
        self.remedy = remedy


async def run():
    """Prints a line for each layer; returns 0 where all are fine, else 1."""
    failed = 0
    options = None
    for name, look in LAYERS:
        try:
            if not options and look is not configuration:
                raise Bad("not looked at", "mend the configuration first")
            found = await look(options)
            if look is configuration:
                options, found = found
            print("ok    %s: %s" % (name, found))
        except Bad as error:
            failed = 1
            print("BAD   %s: %s\n      %s" % (name, error, error.remedy))
    return failed


async def configuration(_):
    """The options of UCI; returns (Config, text)."""
    name = (disk.read("/proc/sys/kernel/hostname") or "").strip()
    try:
        text = disk.read(CONFIG)
        if text is None:
            raise Bad("there is no %s" % CONFIG, "reinstall the package, or restore the file from a backup")
        found = config.load(text, name)
        etcd.check_api(found)
    except (config.ConfigError, OSError, ValueError) as error:
        raise Bad(str(error), "uci set bgpmesh.main.OPTION=…; uci commit bgpmesh")
    if not found.enabled:
        raise Bad("option 'enabled' is 0", "uci set bgpmesh.main.enabled=1; uci commit bgpmesh; service bgpmesh start")
    return found, "; ".join(["node '%s'" % found.node] + found.warnings)


async def clock(_):
    """The system's clock: TLS and logs need it, the mesh itself does not."""
    now = time.time()
    if now < _BUILT:
        raise Bad("the clock is years behind", "service sysntpd restart, and see that an NTP server is reachable")
    return "%04d-%02d-%02d %02d:%02d UTC" % tuple(time.gmtime(now)[:5])


async def dns(options):
    """Whether the names in the options have addresses."""
    names = [server[1] for server in options.etcd] + ([options.endpoint[0]] if options.endpoint else [])
    looked_up = []
    for name in names:
        try:
            address.parse(name)
        except ValueError:
            try:
                await compat.resolve(name, 0)
            except OSError:
                raise Bad("'%s' has no address" % name, "see that the name is right and DNS works: nslookup %s" % name)
            looked_up.append(name)
    return ", ".join(looked_up) or "no names to look up"


async def registry(options):
    """Whether each etcd server answers, lets us read, and has the mesh under the API that we speak."""
    servers = options.etcd or discovery.taken_last()
    if not servers:
        remedy = "uci set bgpmesh.main.etcd=http://ADDRESS:2379, or a member with the same 'secret' on the LAN"
        raise Bad("option 'etcd' is not set, and no neighbour's registry is known", remedy)
    rows = []
    failure = None
    for server in servers:
        view = etcd.open_registry(options, [server])
        try:
            await view.poll()
            row = "%s has %d members, %d alive" % (view.endpoint, len(view.members), len(view.alive))
            rows.append(row + await _elsewhere(options, server, view))
        except etcd.EtcdError as error:
            if error.kind == "protocol":
                await _elsewhere(options, server, view)
            failure = error
        finally:
            view.close()
    if not rows:
        remedy = "see that etcd runs there and its port is open to this router"
        if failure.kind in ("auth", "permission"):
            remedy = "see options 'etcd_user' and 'etcd_password', and the user's role in etcd"
        elif failure.kind == "tls":
            remedy = "see option 'ca_file', and the clock"
        raise Bad(str(failure), remedy)
    return "; ".join(rows) + ("; but %s" % failure if failure else "")


async def _elsewhere(options, server, view):
    """What to add where the server's other API has members, too; Bad where only that one has others than us."""
    api, count = await other.count_members(options, server)
    if not count:
        return ""
    count = "more than can be counted" if count == other.MANY else "%d" % count
    if not [node for node in view.members if node != options.node]:
        raise Bad(
            "%s has no other members under its %s API, which option 'etcd_api' names, but under %s: %s"
            % (view.endpoint, options.etcd_api, api, count),
            "neither sees the other, so all routers of a mesh must speak one: uci set bgpmesh.main.etcd_api='%s'; or "
            "set the others to %s, and delete what is left there" % (api, options.etcd_api),
        )
    return " (under its %s API, which this mesh does not speak: %s)" % (api, count)


async def agent(_):
    """Whether the agent runs, and what it says is wrong."""
    try:
        status = await ubus.ask("bgpmesh", "status")
    except UbusError:
        raise Bad("it does not run", "service bgpmesh start; logread -e bgpmesh")
    if status["problems"]:
        raise Bad("; ".join([problem["text"] for problem in status["problems"]]), "each problem says what to do")
    return status["state"]


async def port(options):
    """Whether something listens on tinc's port, TCP and UDP."""
    wanted = ":%04X" % options.port
    for protocol in ("tcp", "udp"):
        rows = (disk.read("/proc/net/" + protocol) or "") + (disk.read("/proc/net/%s6" % protocol) or "")
        if not any([row.split()[1].endswith(wanted) for row in rows.split("\n") if len(row.split()) > 3]):
            raise Bad(
                "nothing listens on %s port %d" % (protocol, options.port),
                "logread -e tincd; another program may have the port: set option 'port'",
            )
    return "%d is listened on, TCP and UDP" % options.port


async def interface(options):
    """Whether the overlay's interface is there."""
    if not compat.exists("/sys/class/net/%s" % options.interface):
        raise Bad("there is no interface %s" % options.interface, "is kmod-tun there? logread -e tincd")
    return "%s is there" % options.interface


async def firewall(options):
    """Whether firewall4 lets tinc in from wan."""
    if not options.endpoint:
        return "no option 'endpoint': this router dials out, nothing needs to be let in"
    try:
        status, output = await compat.run(["nft", "list", "chain", "inet", "fw4", "input_wan"], 5)
    except OSError:
        return "not looked at: there is no nft"
    if status:
        return "not looked at: firewall4 is not running"
    if "dport %d" % options.port not in output.decode():
        raise Bad(
            "port %d is not open from wan" % options.port, "add a rule for it, TCP and UDP, in /etc/config/firewall"
        )
    return "port %d is open from wan" % options.port


async def bird(_):
    """Whether BIRD takes its configuration."""
    if not compat.exists(BIRD_CONF):
        raise Bad("there is no %s yet" % BIRD_CONF, "see the other layers: the agent writes it once it has an address")
    try:
        status, output = await compat.run(["/usr/sbin/bird", "-p", "-c", BIRD_CONF], 10)
    except OSError as error:
        raise Bad("cannot run bird: %s" % error, "install the package bird2 or bird3")
    if status:
        raise Bad(output.decode().strip(), "service bgpmesh restart; if it stays, it is a fault: please report it")
    return "its configuration is whole"


async def prefixes(_):
    """Whether there is anything to announce."""
    try:
        status = await ubus.ask("bgpmesh", "status")
    except UbusError:
        raise Bad("not known while the agent does not run", "service bgpmesh start")
    if not status["prefixes"]:
        raise Bad("nothing is announced", "see options 'announce' and 'prefix', and whether lan is up")
    return ", ".join(status["prefixes"])


LAYERS = (
    ("configuration", configuration),
    ("clock", clock),
    ("DNS", dns),
    ("etcd", registry),
    ("agent", agent),
    ("tinc port", port),
    ("interface", interface),
    ("firewall", firewall),
    ("BIRD", bird),
    ("prefixes", prefixes),
)
