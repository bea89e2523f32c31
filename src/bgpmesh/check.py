"""`bgpmesh check`: every layer looked at from the outside, each with a verdict and what to do.

It asks the system itself, not the agent, wherever it can: it must help when the agent does not run.
"""

import asyncio
import json

from . import address, compat, config, discovery, disk, etcd, trial, ubus, uci
from . import clock as system_clock
from .bird.control import BirdError, Socket
from .etcd import other
from .model import TAKE
from .options import CONFIG
from .plan import BIRD_CONF, BIRD_SOCKET
from .ubus import UbusError


class Bad(Exception):
    """A layer is not as it should be. remedy: what to do."""

    def __init__(self, text, remedy):
        super().__init__(text)
        self.remedy = remedy


_NETWORK = "/etc/config/network"
_SHORT = 11  # seconds for a verdict on all layers as JSON: LuCI's page waits for 20 s
_LEAST = 1  # seconds that a layer has after those
_RULES = 65536  # bytes looked at of firewall4's rules for what comes from wan: some hundreds of rules
_RIGHTS = (
    "see options 'etcd_user' and 'etcd_password'; `bgpmesh etcd-role` prints the commands that make a user with the "
    "rights of this router"
)


async def run(as_json=False):
    """Prints a verdict on each layer as soon as it is found, or all of them as JSON; 0 where all are fine, else 1.

    The JSON: {"ok", "layers": [{"name", "ok", "text", "remedy"}]}. A layer that takes too long for it has none.
    """
    rows = []
    options = None
    until = compat.monotonic() + _SHORT
    for name, look in LAYERS:
        row = {"name": name, "ok": True, "text": "", "remedy": ""}
        try:
            if not options and look is not configuration:
                raise Bad("not looked at", "mend the configuration first")
            work = look(options)
            found = await (asyncio.wait_for(work, max(_LEAST, until - compat.monotonic())) if as_json else work)
            if look is configuration:
                options, found = found
            row["text"] = found
        except Bad as error:
            row["ok"] = False
            row["text"] = str(error)
            row["remedy"] = error.remedy
        except asyncio.TimeoutError:
            row["ok"] = False
            row["text"] = "no verdict by now: what it asks does not answer"
            row["remedy"] = "`bgpmesh check` in a shell waits for it, and names it"
        rows.append(row)
        if not as_json:
            print("%s   %s: %s" % ("ok " if row["ok"] else "BAD", name, row["text"]))
            if row["remedy"]:
                print("      " + row["remedy"])
    well = all([row["ok"] for row in rows])
    if as_json:
        print(json.dumps({"ok": well, "layers": rows}))
    return 0 if well else 1


async def configuration(_):
    """The options of UCI; returns (Config, text)."""
    found = in_force()
    if not found.enabled:
        raise Bad("option 'enabled' is 0", "uci set bgpmesh.main.enabled=1; uci commit bgpmesh; service bgpmesh start")
    return found, "; ".join(["node '%s'" % found.node] + found.warnings)


def in_force():
    """The Config of UCI, or what worked before where that was taken back. Raises Bad."""
    name = (disk.read("/proc/sys/kernel/hostname") or "").strip()
    try:
        text = disk.read(CONFIG)
        if text is None:
            raise Bad("there is no %s" % CONFIG, "reinstall the package, or restore the file from a backup")
        found = config.load(text, name)
        etcd.check_api(found)
        before = trial.taken_back(text)
        return config.load(before, name) if before else found
    except OSError as error:
        raise Bad("cannot read %s: %s" % (CONFIG, compat.reason(error)), "it takes root to")
    except (config.ConfigError, ValueError) as error:
        raise Bad(str(error), "uci set bgpmesh.main.OPTION=…; " + TAKE)


async def changes(_):
    """Whether what UCI has is in force, or was taken back because it cut the router off."""
    if trial.taken_back(disk.read_or_none(CONFIG) or ""):
        raise Bad(
            "%s was taken back: with it the router had neither the registry nor a member; what is looked at here is "
            "what worked before, and is in force" % CONFIG,
            "bgpmesh status says which options are different; set them right: uci set …; " + TAKE,
        )
    return "%s is in force" % CONFIG


async def clock(_):
    """The system's clock: TLS and logs need it, the mesh itself does not."""
    if system_clock.is_wrong():
        raise Bad(
            "it shows %s, which is before this package was made" % system_clock.shown(),
            "service sysntpd restart, and see that an NTP server is reachable; until then no certificate of an etcd "
            "server is valid, and the agent goes on once the time is set",
        )
    return system_clock.shown()


async def dns(options):
    """Whether the names in the options have addresses."""
    names = [server[1] for server in options.etcd]
    names += [endpoint[0] for endpoint in (options.endpoint, options.rpki) if endpoint]
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
        remedy = "uci set bgpmesh.main.etcd=http://ADDRESS:2379; %s; or a member with the same 'secret' on the LAN"
        raise Bad("option 'etcd' is not set, and no neighbour's registry is known", remedy % TAKE)
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
            remedy = _RIGHTS
        elif failure.kind == "tls":
            remedy = "see options 'ca_file', 'cert_file' and 'key_file', and the clock above"
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
            "neither sees the other, so all routers of a mesh must speak one: uci set bgpmesh.main.etcd_api='%s'; %s; "
            "or set the others to %s, and delete what is left there" % (api, TAKE, options.etcd_api),
        )
    return " (under its %s API, which this mesh does not speak: %s)" % (api, count)


async def auth(options):
    """Whether an etcd server lets us write what a member writes; nothing is written."""
    servers = options.etcd or discovery.taken_last()
    if not servers:
        raise Bad("not looked at", "tell the router its registry first")
    if options.etcd_api == "v2":
        return "not looked at: etcd's v2 API has no way to ask without writing"
    view = etcd.open_registry(options, servers)
    try:
        await view.try_rights()
    except etcd.EtcdError as error:
        if error.kind in ("auth", "permission"):
            raise Bad(str(error), _RIGHTS)
        raise Bad(str(error), "mend the layer etcd first")
    finally:
        view.close()
    user = ", as user '%s'" % options.etcd_user if options.etcd_user else ""
    return "may read the mesh and write its own part" + user


async def agent(_):
    """Whether the agent runs, and what it says is wrong."""
    status = await _ask("status", "it does not run", "service bgpmesh start; logread -e bgpmesh")
    if status["problems"]:
        raise Bad("; ".join([problem["text"] for problem in status["problems"]]), "each problem says what to do")
    return status["state"] + (": " + status["doing"] if status["doing"] else "")


async def _ask(method, text="not known while the agent does not run", remedy="service bgpmesh start"):
    try:
        return await ubus.ask("bgpmesh", method)
    except UbusError:
        raise Bad(text, remedy)


async def kernel(_):
    """Whether the kernel has what tunnels and routing need."""
    if not compat.exists("/dev/net/tun"):
        raise Bad("there is no /dev/net/tun", "opkg install kmod-tun, or apk add kmod-tun")
    if (disk.read_or_none("/proc/sys/net/ipv4/ip_forward") or "").strip() != "1":
        raise Bad("it does not forward IPv4", "sysctl -w net.ipv4.ip_forward=1; see /etc/sysctl.d/")
    return "has tun, and forwards"


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
    """Whether the overlay's interface is there, and is the one that the firewall's zone has."""
    if not compat.exists("/sys/class/net/%s" % options.interface):
        raise Bad("there is no interface %s" % options.interface, "is kmod-tun there? logread -e tincd")
    device = _device_of_zone()
    if device not in (None, options.interface):
        raise Bad(
            "the interface 'bgpmesh' of %s has the device %s, not %s, from which the firewall lets nothing of "
            "the mesh in" % (_NETWORK, device, options.interface),
            "uci set network.bgpmesh.device=%s; uci commit network; service network reload" % options.interface,
        )
    return "%s is there" % options.interface


def _device_of_zone():
    """What the first boot made of option 'interface', which may have changed since; None where that is gone."""
    try:
        sections = uci.parse(disk.read(_NETWORK) or "")
    except (OSError, ValueError):
        return None  # netifd says what is wrong
    found = [section.options.get("device") for section in sections if section.name == "bgpmesh"]
    return found[0] if found else None


async def firewall(options):
    """Whether firewall4 lets tinc in from wan."""
    if not options.endpoint:
        return "no option 'endpoint': this router dials out, nothing needs to be let in"
    try:
        status, output = await compat.run(["nft", "list", "chain", "inet", "fw4", "input_wan"], 5, _RULES)
    except OSError:
        return "not looked at: there is no nft"
    if status:
        return "not looked at: firewall4 does not run, or has no zone wan"
    let_in = _let_in(options.port, output.split(b"\n"))
    closed = [protocol.upper() for protocol in ("tcp", "udp") if not let_in.get(protocol)]
    if closed:
        raise Bad(
            "port %d is not open from wan for %s" % (options.port, " and ".join(closed)),
            "add a rule for it, TCP and UDP, in /etc/config/firewall",
        )
    return "port %d is open from wan" % options.port


def _let_in(port, rules):
    """Protocol -> whether the first of the rules that is about it lets a packet for this port in."""
    found = {}
    for rule in rules:
        if rule.strip() == b"jump accept_from_wan":  # all of the zone is let in
            return dict({"tcp": True, "udp": True}, **found)
        if _is_for(port, rule):
            for protocol in ("tcp", "udp"):
                if b" th dport " in rule or protocol.encode() + b" dport " in rule:
                    found.setdefault(protocol, b" accept" in rule.partition(b" comment ")[0])
    return found


def _is_for(port, rule):
    """Whether a rule, as nft lists it, is for this port: `dport 655`, `dport 600-700` or `dport { 80, 600-700 }`."""
    ports = rule.partition(b" dport ")[2]
    ports = ports[1:].partition(b"}")[0] if ports.startswith(b"{") else ports.partition(b" ")[0]
    for item in ports.split(b","):
        first, _, last = item.strip().partition(b"-")
        if first.isdigit() and int(first) <= port <= int(last or first):
            return True
    return False


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
    status = await _ask("status")
    if not status["prefixes"]:
        raise Bad("nothing is announced", "see options 'announce' and 'prefix', and whether lan is up")
    return ", ".join(status["prefixes"])


async def members(_):
    """Whether there is a tunnel and a session to every member that is online."""
    answer = await _ask("peers")
    rows = answer["peers"]
    online = [row for row in rows if row["online"]]
    lacking = [row for row in rows if row["problem"]]
    if lacking:
        raise Bad("; ".join(["%s: %s" % (row["node"], row["problem"]) for row in lacking]), "see `bgpmesh peers`")
    if not rows:
        return "this router is the first"
    answering = [row["rtt_ms"] for row in online if row["rtt_ms"] is not None]
    slowest = ", the slowest within %.1f ms" % max(answering) if answering else ""
    text = "%d of %d are online and connected; %d answer%s" % (len(online), len(rows), len(answering), slowest)
    more = answer.get("total", 0) - len(rows)
    return text + ("; %d more are not looked at" % more if more > 0 else "")


async def failover(options):
    """Whether BFD watches the path to every member that there is a session with."""
    if not options.bfd_interval:
        return "option 'bfd_interval' is 0: what fails is noticed by BGP and tinc, within nine seconds"
    rows = [row for row in (await _ask("peers"))["peers"] if row["bgp"] == "Established"]
    try:
        watched = await Socket(BIRD_SOCKET).watched()
    except BirdError as error:
        raise Bad(str(error), "mend the layer BIRD first")
    unwatched = sorted([row["node"] for row in rows if row["address"] not in watched])
    text = "BFD watches %d of %d sessions" % (len(rows) - len(unwatched), len(rows))
    lost, node = max([(row["loss_percent"], row["node"]) for row in rows] + [(0, "")])
    if lost:
        text += "; %d %% of the round trips to '%s' fail" % (lost, node)
    if not unwatched:
        return text
    # No fault of this router: a session that has just begun, or an option of the other one.
    why = "its 'bfd_interval' is 0, its session has just begun, or UDP port 4784 is closed on its interface or ours"
    return "%s, not that with '%s': %s" % (text, unwatched[0], why)


LAYERS = (
    ("configuration", configuration),
    ("changes", changes),
    ("clock", clock),
    ("DNS", dns),
    ("etcd", registry),
    ("auth", auth),
    ("agent", agent),
    ("kernel", kernel),
    ("tinc port", port),
    ("interface", interface),
    ("firewall", firewall),
    ("BIRD", bird),
    ("prefixes", prefixes),
    ("members", members),
    ("failover", failover),
)
