"""The lab as the faults and the invariants see it: machines by name, what is off, what was written into etcd."""

import base64
import contextlib
import json
import subprocess
import threading
import time

from lab import netns
from lab.authority import CLIENT, SERVER, Authority
from lab.lab import Lab
from lab.netns import CommandError

from bgpmesh import trust, usign

from .faults import CROWD, ETCDS, NODES, REFUSED, STOLEN

# The harness's own secrets: records without a signature are refused.
SECRETS = ("c4a05" * 12, "5ec2e7" * 10)
OWNER, PUBLIC = usign.make(bytes(range(56)))
OPTIONS = {
    "poll_interval": "2", "secret": SECRETS[0], "trust": "signed", "trust_key": PUBLIC.split("\n")[1],
    "ca_file": "/etc/tls/ca.pem", "cert_file": "/etc/tls/client.pem", "key_file": "/etc/tls/client.key",
}
# A machine that is busy with other things must not have etcd vote all the time.
# All that a router starts asks this library for the time of day, which adds what /etc/clock says.
CLOCK = (
    "env", "LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1", "FAKETIME_TIMESTAMP_FILE=/etc/clock",
    "FAKETIME_CACHE_DURATION=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DISABLE_SHM=1", "NO_FAKE_STAT=1",
)
_UNABLE = 4  # seconds after which an etcd that did nothing is asked again: faults must not wait for each other
_RESTORED = 5  # seconds that routers are given to put back what the owner has said
ETCD_ARGS = ("--heartbeat-interval=250", "--election-timeout=2500", "--unsafe-no-fsync")


class Field:
    """`lab`: the running Lab. `off`: names of routers that are switched off by a fault. `litter`: key → all texts that
    faults put into etcd. `announced`: (prefix, router), what faults have routers announce besides; `withdrawn`: what
    they had, which is on flash for longer. `spoilt`: routers whose cache a fault has written junk into. `crammed`:
    router → when its memory had room again, None before. `drained`: routers that are to be told that they are so no
    longer. `joined`: how many of CROWD had a session when the fault was over, each time. `dismissed`: of them, who is
    being revoked; `refused`: who has no part in the mesh, for all to know. `settled`: how often everything was as it
    should be. `lock` is held while a router's power changes, and by who looks at one.
    """

    def __init__(self, name, say):
        # The refused one knows all that a member knows, and takes everybody for one.
        self.lab = Lab(
            name, len((*NODES, REFUSED, *CROWD)), boot=(), etcds=len(ETCDS), etcd_args=ETCD_ARGS, say=say,
            options={**OPTIONS, "etcd": [f"https://198.18.255.{number}:2379" for number in range(1, len(ETCDS) + 1)]},
            each={_number(REFUSED): {"options": {"trust": "open"}}},
            init=[*CLOCK, "python3", "/usr/lib/standin/init.py"],
        )
        self.say = say
        self.off = {*NODES, *CROWD}
        self.litter = {}
        self.announced = set()
        self.withdrawn = set()
        self.spoilt = set()
        self.crammed = {}
        self.drained = set()
        self.joined = []
        self.dismissed = set()
        self.refused = {REFUSED, *CROWD}
        self.settled = 0
        self._unable = 0.0  # until when no member of etcd is asked again
        self._asked = []  # commands `bgpmesh` that may not have ended
        self._secret = 0  # which of SECRETS is in force
        self._secret_since = None  # what `settled` was when the other one was given out beside it
        self.lock = threading.RLock()
        self._owner = Owner(self)

    def up(self):
        """Four routers, the one that is refused, and etcd, which takes only who has a certificate."""
        self.lab.up()
        authority = Authority(self.lab.dir / "authority")
        authority.issue("client", "/O=mesh", CLIENT)
        authority.issue("server", "/O=etcd", SERVER, [etcd.address for etcd in self.lab.etcds] + ["127.0.0.1"])
        for etcd in self.lab.etcds:
            etcd.secure(authority.folder)
        for machine in self.lab.routers:
            for name in ("ca.pem", "client.pem", "client.key"):
                machine.write("/etc/tls/" + name, (authority.folder / name).read_text())
        self._owner.start()
        self.switch_on([*NODES[:4], REFUSED])

    def down(self):
        self._owner.stop()
        self.lab.down()

    # -- machines

    def router(self, name):
        return self.lab.router(_number(name))

    def etcd(self, name):
        return self.lab.etcds[ETCDS.index(name)]

    def machine(self, name):
        return self.etcd(name) if name in ETCDS else self.router(name)

    def underlay(self, name):
        machine = self.machine(name)
        return machine.address if name in ETCDS else machine.wan

    def switch_off(self, node):
        with self.lock:
            self.off.add(node)
            self.router(node).stop()

    def switch_on(self, nodes):
        """All of them at once."""
        with self.lock:
            for node in nodes:
                self.router(node).launch()
            for node in nodes:
                self.router(node).booted()
                self.give_default_route(node)
                self.off.discard(node)

    def set_clock(self, node, seconds):
        """Have the router's time of day be off by so many seconds, a text with a sign, within a second."""
        self.router(node).write("/etc/clock", seconds + "\n")

    def give_default_route(self, node):
        machine = self.router(node)
        netns.batch(machine.netns, ["route add default via 198.18.255.1", "route add default via 2001:db8:18::ffff"])

    def nft(self, machine, rules):
        """Have nftables take rules inside; a machine that has been switched off since has forgotten them."""
        argv = ["nsenter", f"--net={netns.NETNS / self.machine(machine).netns}"]
        argv += ["chroot", str(self.lab.roots["base"]), "nft", "-f", "-"]
        netns.run(argv, input=rules, check=not rules.startswith("delete"))

    @staticmethod
    def ubus(machine, name, method, args):
        try:
            machine.ubus_call(name, method, args)
        except CommandError as e:
            if "NOT_FOUND" not in str(e) and "exit status 4" not in str(e):
                raise

    # -- commands and options

    def ask(self, node, *argv):
        """Run the command `bgpmesh` there, and don't wait for what becomes of it."""
        machine = self.router(node)
        if machine.running:
            argv = [*machine.enter(), "bgpmesh", *argv]
            null = subprocess.DEVNULL
            self._asked.append(subprocess.Popen(argv, stdin=null, stdout=null, stderr=null, env=netns.ENV))
        self._asked = [process for process in self._asked if process.poll() is None]

    def undrain(self):
        """End what is left of drains; whether the agents have answered."""
        for node in list(self.drained):
            machine = self.router(node)
            if not machine.running:
                self.drained.discard(node)
                continue
            with contextlib.suppress(CommandError):
                if machine.bgpmesh("drain", "off", timeout=10).returncode == 0:
                    self.drained.discard(node)
        return not self.drained

    @property
    def guests(self):
        """Those of CROWD that are to be members."""
        return {*CROWD} - self.off - self.dismissed - self.refused

    def alone(self):
        """Those of them that have no session."""
        return sorted(node for node in self.guests if not self.router(node).established())

    def dismiss(self):
        """Have the owner revoke CROWD, and those of them switched off and removed that are not STOLEN; whether so."""
        if self.guests:
            self.say(f"  {len(self.guests) - len(self.alone())} of {len(CROWD)} have joined, and are dismissed")
        with self.lock:
            self.dismissed.update(self.guests)
        if not self._owner.says(dict.fromkeys(self.dismissed, ("revoke", ""))):
            return False
        for node in self.dismissed - self.off - {*STOLEN}:
            self.switch_off(node)
        machine = next((self.router(node) for node in NODES if node not in self.off), None)
        for node in sorted(self.dismissed & self.off):
            with contextlib.suppress(CommandError):
                if machine and machine.bgpmesh("remove", node, timeout=10).returncode == 0:
                    self.dismissed.discard(node)
        return not self.dismissed & self.off

    def refuse(self):
        """From now on nobody is to have anything to do with who was dismissed, who heeds that no longer."""
        # Not before: a member brings along whom it takes for one.
        for node in self.dismissed:
            self.router(node).set("trust", "open")
        self.refused.update(CROWD)
        self.dismissed.clear()

    @property
    def secret(self):
        """The secret that all members take."""
        return SECRETS[self._secret]

    def change_secret(self):
        """Go one step to the other of SECRETS: give it to all, one after the other, or else take the earlier one away.

        As who does it by hand, with a look between the two whether all is well.
        """
        if self._secret_since is None:
            self._secret_since = self.settled
            options = {"secret": SECRETS[1 - self._secret], "secret_old": SECRETS[self._secret]}
        elif self._secret_since < self.settled:
            self._secret = 1 - self._secret
            self._secret_since = None
            options = {"secret": SECRETS[self._secret], "secret_old": None}
        else:
            return
        for machine in self.lab.routers:
            machine.set_all(options)

    # -- etcd

    def leader(self):
        """The member that leads, or None."""
        for etcd in self.lab.etcds:
            try:
                argv = ["endpoint", "status", "--write-out=fields", "--command-timeout=2s"]
                text = etcd.etcdctl(argv, timeout=10).stdout if etcd.running else ""
            except CommandError:
                continue
            found = {line.partition(" : ")[0].strip('"'): line.partition(" : ")[2] for line in text.splitlines()}
            if found.get("MemberID") and found["MemberID"] == found.get("Leader"):
                return etcd
        return None

    def etcdctl(self, argv, **kw):
        """etcdctl on the first member that does it. Raises CommandError, and for a while at once when none has."""
        if time.monotonic() < self._unable:
            raise CommandError("no member of etcd did what it was told a moment ago")
        failure = CommandError("no member of etcd is on")
        for etcd in self.lab.etcds:
            if etcd.running:
                try:
                    return etcd.etcdctl(["--command-timeout=2s", "--dial-timeout=1s", *argv], timeout=15, **kw)
                except CommandError as e:
                    failure = e
        self._unable = time.monotonic() + _UNABLE
        raise failure

    def put(self, key, value):
        """Put a text; False where etcd does not take it."""
        try:
            if value:
                self.etcdctl(["put", "--", key], input=value)
            else:
                self.etcdctl(["put", "--", key, ""])
        except (CommandError, ValueError):
            return False
        return True

    def put_all(self, texts):
        """Put several, key → text, all at once; False where etcd does not take them."""
        puts = "\n".join(f"put {key} {json.dumps(text)}" for key, text in texts.items())
        try:
            self.etcdctl(["txn"], input=f"\n{puts}\n\n\n")
        except CommandError:
            return False
        return True

    def get(self, key):
        """What is stored under a key; "" where nothing is, or etcd does not answer."""
        try:
            return self.etcdctl(["get", "--print-value-only", "--", key]).stdout.removesuffix("\n")
        except CommandError:
            return ""

    def delete(self, key):
        try:
            self.etcdctl(["del", "--", key])
        except (CommandError, ValueError):
            return False
        return True

    def clear_litter(self, keys=None):
        """Remove what faults have put, or these keys of it; whether all is gone.

        None of it is forgotten: what a member of etcd did not take in time it may yet take when it is no longer frozen,
        after it was removed.
        """
        if keys is None and self.litter:
            try:
                kept = json.loads(self.etcdctl(["get", "--prefix", "--write-out=json", "/"]).stdout).get("kvs", [])
            except (CommandError, ValueError):
                return False
            found = [tuple(_text(each.get(part, "")) for part in ("key", "value")) for each in kept]
            keys = [key for key, value in found if value in self.litter.get(key, ())]
        return all(self.delete(key) for key in keys or ())


def _text(encoded):
    return base64.b64decode(encoded).decode(errors="replace")


class Owner(threading.Thread):
    """The network's owner, who approves a router as soon as it shows another identity on its own screen."""

    def __init__(self, field):
        super().__init__(daemon=True)
        self._field = field
        self._key = usign.Secret(OWNER)
        self._said = {}  # node → what was said of it last
        self._serial = int(time.time())
        self._lock = threading.RLock()
        self._end = threading.Event()

    def run(self):
        looked = time.monotonic()
        while not self._end.wait(0.5):
            if time.monotonic() - looked > _RESTORED:
                # Removed from etcd before any router had heard of it.
                with contextlib.suppress(CommandError):
                    kept = self._field.etcdctl(["get", "--prefix", "--keys-only", "/trust/"]).stdout.split()
                    with self._lock:
                        self._said = {node: said for node, said in self._said.items() if f"/trust/{node}" in kept}
                looked = time.monotonic()
            with self._lock:
                approved = {}
                field = self._field
                for node in {*NODES, *CROWD} - field.off - field.dismissed - field.refused:
                    with contextlib.suppress(OSError):
                        shown = (field.router(node).dir / "upper/etc/bgpmesh/identity").read_text()[64:128]
                        if len(shown) == 64:
                            approved[node] = "approve", shown
                self.says(approved)

    def stop(self):
        self._end.set()
        if self.is_alive():
            self.join()

    def says(self, statements):
        """Put those, node → (verb, id), that are not what was said last into etcd at once; whether they are there."""
        with self._lock:
            new = {node: said for node, said in statements.items() if self._said.get(node) != said}
            texts = {}
            for node, (verb, shown) in new.items():
                self._serial += 1
                text = trust.compose(verb, f"/trust/{node}", self._serial, shown)
                texts[f"/trust/{node}"] = text + self._key.sign(text.encode()) + "\n"
                self._said.pop(node, None)  # what etcd does not answer it may yet have taken
            if texts and not self._field.put_all(texts):
                return False
            self._said.update(new)
            return True


def _number(node):
    return int(node[1:])
