"""`make qemu`: the packages on OpenWrt itself, in QEMU: installed, configured, looked at, rebooted, removed.

Each image is an OpenWrt for x86-64, plain or .gz; a copy of it is used and thrown away. Two or more become a mesh:
their third network cards are on one wire. The registry is an etcd on this machine. What the packages depend on
comes from OpenWrt's own feeds through the guest's wan, or lies in the folder of the packages as well.
"""

import argparse
import contextlib
import functools
import gzip
import http.server
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pexpect
import pexpect.fdpexpect

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tests"))

from lab import root  # noqa: E402

HOST = "10.0.2.2"  # this machine, as a guest's wan sees it
PROMPT = "bgpmesh-qemu>"
WHERE = """\
make qemu needs an image of OpenWrt for x86-64; it downloads none. There is one at
    https://downloads.openwrt.org/releases/VERSION/targets/x86/64/openwrt-VERSION-x86-64-generic-ext4-combined.img.gz
with VERSION such as 24.10.4 (.ipk) or 25.12.0 (.apk), and its sum in the file sha256sums beside it:
    sha256sum -c --ignore-missing sha256sums
Then: make qemu IMAGE=openwrt-VERSION-x86-64-generic-ext4-combined.img.gz
With several it makes a mesh of them: make qemu IMAGE='one.img.gz two.img.gz'"""


class Failed(Exception):
    """Something is not as it should be; the text says what was found."""


class Guest:
    """One OpenWrt in QEMU, spoken to on its serial console."""

    def __init__(self, number, image, folder):
        self.name = f"q{number}"
        self.address = f"198.18.0.{number}"
        self.lan = f"192.168.1{number:02}.1"
        disk, console = folder / f"{self.name}.img", folder / f"{self.name}.console"
        with open(disk, "wb") as target, gzip.open(image) if image.suffix == ".gz" else open(image, "rb") as source:
            # OpenWrt's images have a signature behind the end of what was compressed.
            with contextlib.suppress(gzip.BadGzipFile):
                shutil.copyfileobj(source, target)
        self.log = open(folder / f"{self.name}.log", "wb")
        cards = ["user,id=lan,restrict=on", "user,id=wan", "socket,id=wire,mcast=230.0.0.1:12655,localaddr=127.0.0.1"]
        network = []
        for place, card in enumerate(cards):
            identity = card.split("id=")[1].split(",")[0]
            device = f"virtio-net-pci,netdev={identity},mac=52:54:00:00:{place:02x}:{number:02x}"
            network += ["-netdev", card, "-device", device]
        given = shlex.split(os.environ.get("QEMU_ARGS", ""))
        accelerators = [] if "-accel" in given else ["-accel", "kvm", "-accel", "tcg"]
        self.process = subprocess.Popen(
            [
                "qemu-system-x86_64", *accelerators, "-m", "256", "-display", "none", "-monitor", "none",
                "-drive", f"file={disk},format=raw,if=virtio", "-serial", f"unix:{console},server=on,wait=off",
                *network, *given,
            ],
            stdin=subprocess.DEVNULL,
        )
        self._socket = socket.socket(socket.AF_UNIX)
        for _ in range(100):
            with contextlib.suppress(OSError):
                self._socket.connect(str(console))
                break
            time.sleep(0.1)
        self.console = pexpect.fdpexpect.fdspawn(self._socket, timeout=120, encoding="utf-8", codec_errors="replace")
        self.console.logfile_read = _Log(self.log)
        self.booted()

    def booted(self):
        """Waits for a shell."""
        deadline = time.monotonic() + 180
        while True:
            self.console.sendline("")
            with contextlib.suppress(pexpect.TIMEOUT):
                self.console.expect(r"root@[^#]*#", timeout=3)
                break
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Failed(f"{self.name} does not come to a shell; its console is in {self.log.name}")
        self.console.sendline(f"stty -echo 2> /dev/null; PS1='{PROMPT}'")
        self.console.expect(PROMPT + r"\s*$")

    def run(self, command, check=True, timeout=60):
        """What a command printed. Raises Failed where its exit status is not 0."""
        # The marks are put together by the shell, so that an echo of the line is not taken for them.
        self.console.sendline(f'echo "be""gin"; {{ {command}; }} 2>&1; echo "sta""tus=$?."')
        self.console.expect(r"begin\r*\n(?s:(.*?))status=(\d+)\.\r*\n", timeout=timeout)
        output, status = self.console.match[1].replace("\r", "").strip(), int(self.console.match[2])
        self.console.expect(PROMPT)
        if check and status:
            raise Failed(f"{self.name}: `{command}` has status {status}: {output[-500:]}")
        return output

    def until(self, command, wanted, seconds, what):
        """Waits until wanted(output of the command) is true. Raises Failed."""
        deadline = time.monotonic() + seconds
        while True:
            output = self.run(command, check=False)
            if wanted(output):
                return output
            if time.monotonic() > deadline:
                raise Failed(f"{self.name}: {what} did not come within {seconds} s; `{command}` says:\n{output[-800:]}")
            time.sleep(1)

    def status(self):
        with contextlib.suppress(ValueError):
            return json.loads(self.run("ubus call bgpmesh status", check=False))
        return {}

    def end(self):
        self.process.kill()
        self.process.wait()
        self._socket.close()
        self.log.close()


class _Log:
    def __init__(self, file):
        self._file = file

    def write(self, text):
        self._file.write(text.encode("utf-8", "replace"))

    def flush(self):
        self._file.flush()


# The checks: each gets all guests, and raises Failed. In this order; a later one builds on the earlier ones.


def install(guests, options):
    """the packages are installed"""
    for guest in guests:
        guest.until("ping -c1 -W1 " + HOST, lambda text: " 0% packet loss" in text, 60, "its wan")
        tool = "apk" if guest.run("command -v apk", check=False) else "opkg"
        suffix = "apk" if tool == "apk" else "ipk"
        names = sorted(path.name for path in options.packages.glob("*." + suffix))
        # Besides ours, whatever else the folder holds is a dependency.
        others = ("bgpmesh-python3", "bgpmesh-bird3", "python3-etcd")
        guest.luci = bool(guest.run("ls /usr/share/luci/menu.d/luci-base.json 2> /dev/null", check=False))
        if not guest.luci:
            others += ("luci-app-bgpmesh", "luci-i18n-bgpmesh")
        names = [name for name in names if not name.startswith(others)]
        if not [name for name in names if name.startswith("bgpmesh")]:
            raise Failed(f"{guest.name} takes .{suffix}, and {options.packages} has none: make ipk, or ./sdk-build.sh")
        for name in names:
            guest.run(f"wget -q -O /tmp/{name} http://{HOST}:{options.port}/{name}")
        guest.run(f"{tool} update", check=False, timeout=180)
        flags = "add --allow-untrusted" if tool == "apk" else "install"
        guest.run(f"{tool} {flags} " + " ".join("/tmp/" + name for name in names), timeout=600)


def configure(guests, options):
    """three options and it runs"""
    for guest in guests:
        # Of each guest what is its own: a name, a LAN, an address on the wire.
        wire = "uci set network.wire=interface; uci set network.wire.proto=static; uci set network.wire.device=eth2; "
        wire += f"uci set network.wire.ipaddr={guest.address}; uci set network.wire.netmask=255.255.0.0; "
        wire += "uci add_list firewall.@zone[1].network=wire; uci set network.lan.netmask=255.255.255.0; "
        wire += f"uci set network.lan.ipaddr={guest.lan}; uci set bgpmesh.main.node={guest.name}; uci commit; "
        guest.run(wire + "service network reload; service firewall reload", check=False)
        guest.until("ping -c1 -W1 " + HOST, lambda text: " 0% packet loss" in text, 60, "its wan")
        guest.run(f"uci set bgpmesh.main.etcd=http://{HOST}:{options.etcd_port}")
        guest.run(f"uci set bgpmesh.main.endpoint={guest.address}")
        guest.run("uci set bgpmesh.main.enabled=1; uci commit bgpmesh; service bgpmesh start")
    for guest in guests:
        guest.until("bgpmesh status", lambda text: ", converged" in text, 180, "state converged")


def service(guests, options):
    """service bgpmesh status and ubus say so"""
    for guest in guests:
        guest.run("service bgpmesh status")
        found = guest.status()
        if found.get("state") != "converged" or found["bird"]["established"] != len(guests) - 1:
            raise Failed(f"{guest.name}: {json.dumps(found)[:600]}")
        if guest.lan[:-1] + "0/24" not in found["prefixes"]:
            raise Failed(f"{guest.name} announces {found['prefixes']}")


def luci(guests, options):
    """where LuCI is, it has the app, which may ask the agent"""
    for guest in guests:
        if guest.luci:
            guest.run("wget -q -O /dev/null http://127.0.0.1/luci-static/resources/view/bgpmesh/status.js")
            login = json.loads(guest.run("""ubus call session login '{"username":"root","password":""}'"""))
            call = {"jsonrpc": "2.0", "id": 1, "method": "call"}
            call["params"] = [login["ubus_rpc_session"], "luci.bgpmesh", "status", {}]
            found = guest.run(f"wget -q -O - --post-data '{json.dumps(call)}' http://127.0.0.1/ubus")
            if '"converged"' not in found:
                raise Failed(f"{guest.name}: {found[:600]}")


def mesh(guests, options):
    """their networks reach each other"""
    for guest in guests:
        for other in guests:
            if other is not guest:
                ping = f"ping -c1 -W1 -I {guest.lan} {other.lan}"
                guest.until(ping, lambda text: " 0% packet loss" in text, 20, f"an answer of {other.lan}")


PORTS = ("tcp dport 655", "udp dport 655", "tcp dport 179", "udp dport 4784")


def firewall(guests, options):
    """the firewall lets tunnels in from wan, and BGP from the mesh"""
    for guest in guests:
        rules = guest.run("nft list ruleset")
        for wanted in (*PORTS, 'iifname "tinc0" jump input_bgpmesh'):
            if wanted not in rules:
                raise Failed(f"{guest.name}: no rule with {wanted}")


def log(guests, options):
    """the log names the agent, and has no line per poll"""
    for guest in guests:
        lines = guest.run("logread -e bgpmesh").split("\n")
        if not lines[0] or len(lines) > 60:
            raise Failed(f"{guest.name}: {len(lines)} lines: {lines[-1]}")


def reboot(guests, options):
    """after a reboot it is a member again"""
    for guest in guests:
        guest.console.sendline("reboot")
        guest.console.expect("reboot: Restarting system|Rebooting|Linux version", timeout=60)
        guest.booted()
    for guest in guests:
        guest.until("bgpmesh status", lambda text: ", converged" in text, 180, "state converged")


def backup(guests, options):
    """a sysupgrade keeps options and keys"""
    for guest in guests:
        kept = guest.run("sysupgrade -b /tmp/b.tgz > /dev/null && tar -tzf /tmp/b.tgz")
        for path in ("etc/config/bgpmesh", "etc/bgpmesh/rsa_key.priv", "etc/bgpmesh/config.good"):
            if path not in kept:
                raise Failed(f"{guest.name}: {path} is not kept")


def remove(guests, options):
    """removing it leaves the mesh and takes everything back"""
    for guest in guests:
        tool = "apk del" if guest.run("command -v apk", check=False) else "opkg remove"
        app = "luci-i18n-bgpmesh-es luci-app-bgpmesh " if guest.luci else ""
        guest.run(f"{tool} {app}bgpmesh", timeout=120)
        left = guest.run("uci show network; uci show firewall; ps w")
        for word in ("network.bgpmesh", "firewall.bgpmesh", "/var/run/bgpmesh"):
            if word in left:
                raise Failed(f"{guest.name}: {word} is left behind")
        guest.run("test -e /etc/config/bgpmesh && test -e /etc/bgpmesh/rsa_key.priv")
    keys = [options.etcdctl, "get", "--prefix", "/", "--keys-only"]
    left = subprocess.run(keys, env=options.env, capture_output=True, text=True).stdout.split()
    if left:
        raise Failed(f"the registry still has {left}")


CHECKS = (install, configure, service, luci, mesh, firewall, log, reboot, backup, remove)


def main():
    parser = argparse.ArgumentParser(prog="make qemu", description=__doc__)
    parser.add_argument("--packages", type=Path, default=PROJECT / "bin")
    parser.add_argument("images", nargs="*", type=Path)
    options = parser.parse_args()
    if not options.images:
        print(WHERE)
        return 2
    for image in options.images:
        if not image.is_file():
            print(f"there is no {image}\n\n{WHERE}", file=sys.stderr)
            return 1
    begun = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bgpmesh-qemu-"))
        registry(options, folder, stack)
        handler = functools.partial(_Quiet, directory=options.packages)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        options.port = server.server_address[1]
        guests = []
        for number, image in enumerate(options.images, 1):
            say(f"booting {image} as q{number}")
            guests.append(Guest(number, image, folder))
            stack.callback(guests[-1].end)
        for check in CHECKS:
            try:
                check(guests, options)
                say("ok    " + check.__doc__)
            except (Failed, pexpect.ExceptionPexpect) as error:
                text = str(error) if isinstance(error, Failed) else f"no answer on the console: {type(error).__name__}"
                say(f"BAD   {check.__doc__}: {text}")
                print(f"the consoles are in {folder}", file=sys.stderr)
                return 1
    shutil.rmtree(folder)
    return 0


def registry(options, folder, stack):
    """An etcd on loopback, of the lab's root file system: a program that needs nothing else."""
    programs = root.build()["base"] / "usr" / "bin"
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        options.etcd_port, peers = one.getsockname()[1], two.getsockname()[1]
    client, peer = f"http://127.0.0.1:{options.etcd_port}", f"http://127.0.0.1:{peers}"
    etcd = subprocess.Popen(
        [
            programs / "etcd", "--data-dir", folder / "etcd", "--log-level", "error",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
        ],
        stdin=subprocess.DEVNULL,
    )
    stack.callback(etcd.wait)
    stack.callback(etcd.kill)
    options.etcdctl = programs / "etcdctl"
    options.env = {"ETCDCTL_ENDPOINTS": client, "ETCDCTL_API": "3"}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


if __name__ == "__main__":
    sys.exit(main())
