"""One machine of the lab: a network namespace, a file system and a process 1."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

from . import netns
from .netns import CommandError
from .root import CACHE

BOOT = str(Path(__file__).with_name("boot"))


class Machine:
    """A machine named `name` in `lab`: `netns` is its namespace, `dir` what it keeps over a reboot.

    The file system is an overlay of `lower` (directories, the topmost first) under `dir/upper`, mounted where
    only the machine sees it; /tmp, /var and /run are in memory and end with it.
    """

    def __init__(self, lab, name, lower):
        self.lab = lab
        self.name = name
        self.netns = f"{lab.name}-{name}"
        self.dir = lab.dir / name
        self.lower = lower
        self.cables = [name]
        self._process = None
        self._pid = None

    # -- power

    def plug(self, addresses):
        """Make the namespace, with an interface `wan` on the lab's fabric that has `addresses`."""
        fabric = self.lab.fabric
        netns.ip("netns", "add", self.netns)
        netns.batch(fabric, [
            f"link add {self.name} type veth peer name wan netns {self.netns}",
            f"link set {self.name} master br0 up",
        ])
        netns.batch(self.netns, [
            "link set lo up",
            *[f"address add {address} dev wan" + " nodad" * (":" in address) for address in addresses],
            "link set wan up",
        ])

    def launch(self, argv):
        """Start process 1; returns at once, `booted()` waits until it runs."""
        for part in ("upper", "work", "root"):
            (self.dir / part).mkdir(parents=True, exist_ok=True)
        lower = ":".join(str(Path(layer).relative_to(CACHE)) for layer in self.lower)
        place = str(self.dir.relative_to(CACHE))
        with open(self.dir / "console", "ab") as console:
            self._process = subprocess.Popen(
                ["nsenter", f"--net={netns.NETNS / self.netns}",
                 "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL",
                 BOOT, lower, place, self.name, *argv],
                cwd=CACHE, env=netns.ENV, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=console,
            )
        self._pid = None

    def booted(self, deadline=60):
        """Wait until process 1 has been started. Raises CommandError with the console when it was not."""
        with self._process.stdout as output:
            readable, _, _ = select.select([output], [], [], deadline)
            word = output.readline() if readable else b""
        if word != b"booted\n":
            raise CommandError(f"{self.name} did not boot:\n{self.console()}")

    def halt(self, grace=0):
        """End every process: SIGTERM to process 1 and after `grace` seconds SIGKILL. The namespace stays."""
        pid = self.pid
        if pid:
            if grace:
                self._signal_init(pid, signal.SIGTERM)
                self._ended(grace)
            self._signal_init(pid, signal.SIGKILL)
            self._ended(60)
        if self._process:
            # unshare ends with its child; it also dies alone if there never was one.
            if pid is None:
                self._process.kill()
            self._process.wait(60)
            self._process = None
        self._pid = None

    def _signal_init(self, pid, number):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    def _ended(self, seconds):
        end = time.monotonic() + seconds
        while self._alive() and time.monotonic() < end:
            time.sleep(0.01)

    def _alive(self):
        if self._process:
            return self._process.poll() is None
        return os.path.exists(f"/proc/{self._pid}/ns/pid")

    @property
    def pid(self):
        """Process 1 as the host numbers it, or None when the machine is off."""
        if self._pid and self._alive():
            return self._pid
        self._pid = None
        if (netns.NETNS / self.netns).exists():
            for pid in netns.pids(self.netns):
                # Also finds the machines of a kept lab, which another process started.
                if netns.inner_pid(pid) == 1:
                    self._pid = pid
        return self._pid

    @property
    def running(self):
        """Whether the machine is on."""
        return self.pid is not None

    def unplug(self):
        """Remove the namespace and everything that runs in it."""
        self.halt()
        # The cables first: a namespace takes its interfaces along only some time after it is gone.
        for cable in self.cables:
            netns.run(["ip", "-netns", self.lab.fabric, "link", "delete", cable], check=False)
        netns.delete(self.netns)

    # -- inside

    def exec(self, argv, **kw):
        """Run a command inside; as netns.run(). Returns a CompletedProcess, raises CommandError."""
        return netns.run([*self.enter(), *argv], **kw)

    def enter(self):
        """The command that a command inside is put after."""
        pid = self.pid
        if pid is None:
            raise CommandError(f"{self.name} is off")
        return ["nsenter", "-t", str(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"]

    def path(self, path):
        """Where this process finds the machine's file `path`: its own view while it runs, else the kept part.

        For AF_UNIX sockets and files in memory use /tmp/run and /tmp/log, where /var/run and /var/log lead.
        """
        pid = self.pid
        top = Path(f"/proc/{pid}/root") if pid else self.dir / "upper"
        return top / path.lstrip("/")

    def read(self, path):
        """The text of a file inside, or "" when there is none."""
        try:
            return self.path(path).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def write(self, path, text, mode=0o644):
        """Write a file inside: whole or not at all."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".new")
        fresh.write_text(text)
        fresh.chmod(mode)
        fresh.rename(target)

    def console(self):
        """What process 1 and its boot printed."""
        path = self.dir / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def processes(self):
        """What runs inside: [(pid on this host, argv)], process 1 first."""
        if not self.running:
            return []
        found = []
        for pid in netns.pids(self.netns):
            try:
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            except (FileNotFoundError, ProcessLookupError):
                continue
            inner = netns.inner_pid(pid)
            if inner and argv:
                found.append((inner, pid, argv))
        return [(pid, argv) for _, pid, argv in sorted(found)]

    def pids(self, name):
        """The host's pids of `agent`, or of the daemons whose program is called `name`."""
        return [pid for pid, argv in self.processes() if _called(argv, name)]

    def kill(self, name, number=signal.SIGKILL):
        """Send a signal to `agent`, `tincd`, `bird` …; returns to how many processes."""
        pids = self.pids(name)
        for pid in pids:
            os.kill(pid, number)
        return len(pids)

    # -- cable

    def link_down(self):
        """Pull the cable of `wan`."""
        netns.batch(self.lab.fabric, [f"link set {self.name} down"])

    def link_up(self):
        """Put it back."""
        netns.batch(self.lab.fabric, [f"link set {self.name} up"])


def _called(argv, name):
    if name == "agent":
        return argv[-2:] == ["bgpmesh", "run"]
    return Path(argv[0]).name == name
