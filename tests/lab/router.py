"""A router of a lab."""

import json
import signal
import socket

from . import netns
from .etcd import ETCD_URL
from .machine import Machine

# As a home router's firewall: what was not asked for from inside stays outside.
NAT = """
table inet nat_stand_in {
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "wan" ct state new drop
	}
}
"""


class Router(Machine):
    """Router `number`: `wan` 198.18.0.N/16, `br-lan` 192.168.N.1/24 and fd00:N::1/64 (N hexadecimal there).

    `network` is the LAN's IPv4 prefix. `nat` puts it behind a firewall that lets nothing in unasked, and it then has
    no endpoint. `options` is its /etc/config/bgpmesh; set() changes it. start(), stop() and reboot() switch it.
    Without `agent` it boots without the agent's service: service() is what procd would have got.
    """

    def __init__(self, lab, number, runtime, tinc, bird, nat=False, options=None, init=None, agent=True):
        self.number = number
        self.runtime = runtime
        self.nat = nat
        self.agent = agent
        self.init = init or ["python3", "/usr/lib/standin/init.py"]
        layers = [lab.roots["tinc-" + tinc], lab.roots["bird-" + bird], lab.roots["base"]]
        super().__init__(lab, f"r{number}", [lab.product(runtime), *layers])
        self.cables.append(self.name + "-lan")
        self.wan = f"198.18.0.{number}"
        self.lan = f"192.168.{number}.1"
        self.lan6 = f"fd00:{number:x}::1"
        self.network = f"192.168.{number}.0/24"
        self.options = {"enabled": "1", "etcd": ETCD_URL, "node": self.name, "network6": "fd00:99::/64"}
        if not nat:
            self.options["endpoint"] = self.wan
        self.options.update(options or {})

    # -- power

    def launch(self):
        """Plug in and switch on; returns at once, `booted()` waits for process 1."""
        self.plug([f"{self.wan}/16", f"2001:db8:18::{self.number:x}/64"])
        # The LAN's cable ends in the fabric, unconnected: the bridge has a carrier and no neighbours.
        netns.batch(self.lab.fabric, [
            f"link add {self.name}-lan type veth peer name lan1 netns {self.netns}",
            f"link set {self.name}-lan up",
        ])
        netns.batch(self.netns, [
            "link add br-lan type bridge",
            "link set lan1 master br-lan up",
            f"address add {self.lan}/24 dev br-lan",
            f"address add {self.lan6}/64 dev br-lan nodad",
            "link set br-lan up",
        ])
        if self.nat:
            netns.run(["nsenter", f"--net={netns.NETNS / self.netns}", "chroot", str(self.lab.roots["base"]),
                       "nft", "-f", "-"], input=NAT)
        self.write("/etc/config/bgpmesh", uci(self.options))
        self.write("/etc/standin.json", json.dumps(self.standin(), indent=1))
        super().launch(self.init)

    def start(self):
        """Switch on and wait until process 1 runs."""
        self.launch()
        self.booted()

    def stop(self, grace=0):
        """Switch off: with no `grace` (seconds) the power fails. Memory and kernel routes are lost."""
        self.halt(grace)
        self.unplug()

    def reboot(self, grace=0):
        """stop() and start()."""
        self.stop(grace)
        self.start()

    def standin(self):
        """What /etc/standin.json holds: the services at boot, and netifd's description of the interfaces."""
        lan = {
            "interface": "lan", "up": True, "device": "br-lan", "l3_device": "br-lan", "proto": "static",
            "ipv4-address": [{"address": self.lan, "mask": 24}],
            "ipv6-address": [],
            "ipv6-prefix-assignment": [{
                "address": self.lan6[:-1], "mask": 64, "local-address": {"address": self.lan6, "mask": 64},
            }],
            "route": [],
        }
        wan = {
            "interface": "wan", "up": True, "device": "wan", "l3_device": "wan", "proto": "static",
            "ipv4-address": [{"address": self.wan, "mask": 16}], "ipv6-address": [], "route": [],
        }
        services = {"bgpmesh": self.service()} if self.agent else {}
        return {"services": services, "interfaces": [lan, wan]}

    def service(self):
        """The agent's procd service, as `ubus call service set` takes it under the name `bgpmesh`."""
        agent = {"command": ["/usr/sbin/bgpmesh", "run"], "respawn": ["3600", "1", "0"]}
        agent.update(stdout=True, stderr=True)
        return {"instances": {"agent": agent}}

    # -- the agent

    def set(self, option, value):
        """Change one UCI option (a list makes a `list`, None removes it) and have it read."""
        self.set_all({option: value})

    def set_all(self, options):
        """Change several at once."""
        options = {**self.options, **options}
        self.options = {option: value for option, value in options.items() if value is not None}
        self.write("/etc/config/bgpmesh", uci(self.options))
        self.reload()

    def reload(self):
        """What procd does when the configuration changed: SIGHUP to the agent."""
        return self.kill("agent", signal.SIGHUP)

    def bgpmesh(self, *argv, **kw):
        """Run the command `bgpmesh`; as exec(), without looking at the exit status."""
        return self.exec(["bgpmesh", *argv], check=False, **kw)

    def status(self):
        """The reply of `bgpmesh status -j`, or None when the agent does not answer.

        Starts an interpreter: for what is asked often see established() and bird().
        """
        return _json(self.bgpmesh("status", "-j"))

    def peers(self):
        """The list of `bgpmesh peers -j`, or None when the agent does not answer."""
        reply = _json(self.bgpmesh("peers", "-j"))
        return reply if reply is None or isinstance(reply, list) else reply["peers"]

    def ubus_call(self, name, method, args=None):
        """Call over ubus; returns the reply. Raises CommandError with `ubus`'s exit status."""
        return json.loads(self.exec(["ubus", "call", name, method, json.dumps(args or {})]).stdout or "{}")

    def log(self, lines=None):
        """The system log, or its last `lines`."""
        text = self.read("/tmp/log/messages").splitlines()
        return "\n".join(text[-lines:] if lines else text)

    # -- cheap looks from outside: no process is started

    def bird(self, command):
        """BIRD's whole reply to a command, or "" when it does not answer (facts of `birdc -v`)."""
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(10)
                control.connect(str(self.path("/tmp/run/bgpmesh/bird.ctl")))
                with control.makefile("rw", encoding="utf-8", errors="replace", newline="\n") as stream:
                    _reply(stream)
                    stream.write(command + "\n")
                    stream.flush()
                    return _reply(stream)
        except OSError:
            return ""

    def established(self):
        """How many of BIRD's BGP sessions are Established."""
        count = 0
        for line in self.bird("show protocols").splitlines():
            words = (line[1:] if line.startswith(" ") else line[5:]).split()
            count += len(words) > 1 and words[1] == "BGP" and words[-1] == "Established"
        return count

    def routes(self, family=4):
        """The prefixes in the kernel's main table that BIRD put there."""
        found = netns.ip(f"-{family}", "-json", "-netns", self.netns, "route", "show", "protocol", "bird")
        return sorted(route["dst"] for route in json.loads(found or "[]"))

    def ping(self, address, source=None, seconds=1):
        """Whether one echo request from `source` (default: the LAN address) to `address` is answered."""
        source = source or (self.lan6 if ":" in address else self.lan)
        argv = ["ping", "-n", "-c", "1", "-W", str(seconds), "-I", source, address]
        return self.exec(argv, check=False).returncode == 0


def uci(options):
    """The text of /etc/config/bgpmesh with one section `main`."""
    lines = ["config mesh 'main'"]
    for name in sorted(options):
        value = options[name]
        if isinstance(value, (list, tuple)):
            lines += [f"\tlist {name} {_quoted(item)}" for item in value]
        else:
            lines.append(f"\toption {name} {_quoted(value)}")
    return "\n".join(lines) + "\n"


def _quoted(value):
    return "'" + str(value).replace("'", "'\\''") + "'"


def _json(done):
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None


def _reply(stream):
    # A reply ends with the line that has a blank after its four digits (BIRD's doc/reply_codes).
    lines = []
    while True:
        line = stream.readline()
        if not line:
            return ""
        lines.append(line)
        if line[:4].isdigit() and line[4:5] == " ":
            return "".join(lines)
