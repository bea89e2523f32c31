"""The etcd server of a lab, on a machine of its own."""

import shutil

from . import netns
from .machine import Machine

ETCD_ADDRESS = "198.18.255.1"
ETCD_URL = f"http://{ETCD_ADDRESS}:2379"


class Etcd(Machine):
    """The etcd server of the lab, on a machine of its own at 198.18.255.1. `args` go on its command line."""

    def __init__(self, lab, args=()):
        super().__init__(lab, "etcd", [lab.product("micropython"), lab.roots["base"]])
        self.args = list(args)

    def start(self):
        """Start the server and wait until it answers."""
        if not (netns.NETNS / self.netns).exists():
            self.plug([f"{ETCD_ADDRESS}/16", "2001:db8:18::ffff/64"])
        argv = ["etcd", "--name=lab", "--data-dir=/etc/etcd", "--log-level=warn"]
        argv += ["--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=" + ETCD_URL]
        self.launch([*argv, *self.args])
        self.booted()
        self.lab.wait(self.answers, 60, "etcd to answer")

    def stop(self, grace=5):
        """End the server; its address stays and clients are refused. link_down() loses it the other way."""
        self.halt(grace)

    def wipe(self):
        """Lose everything it stored: stop, remove, start."""
        self.stop(0)
        shutil.rmtree(self.dir / "upper" / "etc" / "etcd", ignore_errors=True)
        self.start()

    def answers(self):
        """Whether the server is healthy."""
        return self.running and self.etcdctl(["endpoint", "health"], check=False).returncode == 0

    def etcdctl(self, argv, **kw):
        """Run etcdctl (v3) there; as exec()."""
        return self.exec(["etcdctl", *argv], **kw)
