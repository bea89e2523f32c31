"""The etcd servers of a lab, each on a machine of its own."""

import shutil

from . import netns
from .machine import Machine

ETCD_ADDRESS = "198.18.255.1"
ETCD_URL = f"http://{ETCD_ADDRESS}:2379"
SECURE_URL = f"https://{ETCD_ADDRESS}:2379"


class Etcd(Machine):
    """Member `number` of the lab's etcd, which has so many `members`: machine `etcd` at 198.18.255.1, `etcd2` at .2, …

    `args` go on its command line. `env` are variables of etcdctl's: {"ETCDCTL_USER": "root:root"}.
    """

    def __init__(self, lab, args=(), number=1, members=1):
        super().__init__(lab, _machine(number), [lab.product("micropython"), lab.roots["base"]])
        self.args = list(args)
        self.number = number
        self.members = members
        self.address = _address(number)
        self.url = f"http://{self.address}:2379"
        self.env = {}

    def start(self, deadline=60):
        """Start the server and wait until it answers; a member without a quorum does not. See switch_on()."""
        self.switch_on()
        self.lab.wait(self.answers, deadline, f"{self.name} to answer")

    def switch_on(self):
        """Start the server."""
        if not (netns.NETNS / self.netns).exists():
            self.plug([f"{self.address}/16", f"2001:db8:18::ff{256 - self.number:02x}/64"])
        name = "lab" if self.members == 1 else self.name
        argv = ["etcd", f"--name={name}", "--data-dir=/etc/etcd", "--log-level=warn"]
        scheme = self.url.partition(":")[0]
        argv += [f"--listen-client-urls={scheme}://0.0.0.0:2379", "--advertise-client-urls=" + self.url]
        if scheme == "https":
            argv += ["--cert-file=/etc/tls/server.pem", "--key-file=/etc/tls/server.key"]
            argv += ["--client-cert-auth", "--trusted-ca-file=/etc/tls/ca.pem"]
        if self.members > 1:
            peers = [f"{_machine(each)}=http://{_address(each)}:2380" for each in range(1, self.members + 1)]
            argv += ["--listen-peer-urls=http://0.0.0.0:2380", f"--initial-advertise-peer-urls=http://{self.address}:2380"]
            argv += ["--initial-cluster=" + ",".join(peers)]
        self.launch([*argv, *self.args])
        self.booted()

    def stop(self, grace=5):
        """End the server; its address stays and clients are refused. link_down() loses it the other way."""
        self.halt(grace)

    def secure(self, folder, server="server"):
        """From now on TLS only, and only for clients with a certificate: files of an Authority's folder.

        server: which of them the server shows, in time or not.
        """
        self.stop()
        self.show(folder, server)
        for name in ("ca.pem", "client.pem", "client.key"):
            self.write("/etc/tls/" + name, (folder / name).read_text())
        self.url = f"https://{self.address}:2379"
        self.env.update(ETCDCTL_ENDPOINTS="https://127.0.0.1:2379", ETCDCTL_INSECURE_SKIP_TLS_VERIFY="true")
        self.env.update(ETCDCTL_CERT="/etc/tls/client.pem", ETCDCTL_KEY="/etc/tls/client.key")
        self.start()

    def show(self, folder, server):
        """Have the server show another certificate, which etcd reads anew for each connection."""
        for suffix in ("pem", "key"):
            self.write(f"/etc/tls/server.{suffix}", (folder / f"{server}.{suffix}").read_text())

    def wipe(self):
        """Lose everything it stored: stop, remove, start."""
        self.stop(0)
        shutil.rmtree(self.dir / "upper" / "etc" / "etcd", ignore_errors=True)
        self.start()

    def answers(self):
        """Whether the server is healthy, and, where it is one of several, has a quorum."""
        return self.running and self.etcdctl(["endpoint", "health"], check=False).returncode == 0

    def etcdctl(self, argv, **kw):
        """Run etcdctl (v3) there; as exec()."""
        return self.run(["etcdctl", *argv], **kw)

    def run(self, argv, **kw):
        """Run a command there with etcdctl's variables; as exec()."""
        return self.exec(["env", *[f"{name}={value}" for name, value in self.env.items()], *argv], **kw)


def _machine(number):
    return "etcd" if number == 1 else f"etcd{number}"


def _address(number):
    return f"198.18.255.{number}"
