"""One router of a mesh of 100 to 5,000 members that are only in etcd: its time, memory, bytes and files.

Its code is the agent's; etcd is a real one; tincd and BIRD are stand-ins on their control sockets.
"""

import base64
import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from lab import root

from bgpmesh import address, records
from bgpmesh import secret as network_secret

from . import outside
from .mesh import middle

HERE = Path(__file__).resolve().parent
SIZES = tuple(int(size) for size in (os.environ.get("SIZES") or "100,1000,5000").split(","))
RUNTIMES = ("micropython", "python3")
SECRET = "correct horse battery staple"
HEAPS = (2, 4, 8, 16)  # MB for MicroPython, tried in turn
MEMBER = 2048  # bytes of heap for each member, at least: with less it is hardly worth trying
POLLS = 100
# Of 1,000 members on MicroPython: what, and no more than that.
LIMITS = {"heap given": 2, "plan": 1000, "poll, bytes": 1000, "poll": 1}
# What is measured: its name, the step of lone.py, the field of its answer, the unit.
FIGURES = (
    ("first listing", "enter", "ms", "ms"),
    ("first listing, CPU", "enter", "cpu", "ms"),
    ("first listing, bytes", "enter", "bytes", "B"),
    ("first listing, requests", "enter", "requests", ""),
    ("plan", "plan", "cpu", "ms"),
    ("files from nothing", "apply", "cpu", "ms"),
    ("files from nothing, bytes", "apply", "written", "B"),
    ("files from nothing, number", "apply", "files", ""),
    ("poll", "poll", "cpu", "ms"),
    ("poll, bytes", "poll", "bytes", "B"),
    ("look at the daemons", "look", "cpu", "ms"),
    ("another's change", "change", "cpu", "ms"),
    ("another's change, requests", "change", "requests", ""),
    ("another's change, bytes", "change", "bytes", "B"),
    ("another's change, files", "change", "files", ""),
    ("another's change, bytes of files", "change", "written", "B"),
    ("a new member", "new", "cpu", "ms"),
    ("a new member, bytes", "new", "bytes", "B"),
    ("a new member, files", "new", "files", ""),
    ("all members kept on flash, bytes", "keep", "written", "B"),
    ("another that goes offline, requests", "gone", "requests", ""),
    ("another that goes offline, bytes", "gone", "bytes", "B"),
    ("heap after the start", "start", "heap", "kB"),
    ("heap at rest", "rest", "heap", "kB"),
    ("private before", "start", "private", "kB"),
    ("private after", "rest", "private", "kB"),
)


def run(report, arguments):
    """The part `scale`. What takes time is processor time but for the first listing."""
    curves = {}
    with Etcd() as etcd, etcd.watched() as watcher:
        crowd = []
        for members in SIZES:
            more = [member(number) for number in range(len(crowd) + 1, members + 1)]
            etcd.put(pair for one in more for pair in keys(one))
            crowd += more
            for runtime in RUNTIMES:
                report.say(f"scale: {members} members, {runtime}")
                found, heap = measure(etcd, crowd, runtime)
                name = f"{members}, {runtime}"
                limits = LIMITS if (members, runtime) == (1000, "micropython") else {}
                if heap:
                    report.add("scale", f"{name}: heap given", heap, "MB", limits.get("heap given"), digits=0)
                for figure, step, field, unit in FIGURES:
                    value = found[step][field] / (1024 if field == "heap" else 1)
                    if value or field != "heap":
                        report.add("scale", f"{name}: {figure}", value, unit, limits.get(figure))
                        curves.setdefault((runtime, figure), []).append((members, value))
        # What a program in Go takes that does nothing but to listen.
        private, resident = outside.memory(watcher.pid)
        report.add("scale", "`etcdctl watch`: private", private, "kB", digits=0)
        report.add("scale", "`etcdctl watch`: resident", resident, "kB", digits=0)
        ours = curves["micropython", "private after"][0][1]
        report.add("scale", f"`etcdctl watch`: private, by that of a router of {SIZES[0]}", private / ours, "times")
    if arguments.draw:
        Path(arguments.draw).write_text(drawn(curves))
        report.say(f"scale: drawn into {arguments.draw}")


def measure(etcd, crowd, runtime):
    """step -> what it has cost a router that knows all of the crowd; and the heap it was given."""
    for heap in [size for size in HEAPS if MEMBER * len(crowd) <= size << 20]:
        with tempfile.TemporaryDirectory() as folder:
            lone = Lone(runtime, folder, etcd.url, heap)
            try:
                return _measure(etcd, crowd, lone), heap if runtime == "micropython" else None
            except MemoryError:
                if heap == HEAPS[-1]:
                    raise OSError(f"{len(crowd)} members do not fit into a heap of {heap} MB") from None
            finally:
                lone.close()


def _measure(etcd, crowd, lone):
    steps = (("start", 1), ("enter", 1), ("plan", 1), ("apply", 1), ("save", 1), ("poll", POLLS), ("look", 10))
    found = {name: lone.step(name, times) for name, times in steps}
    changes = []
    for one in crowd[:3]:
        one.serial += 1
        one.prefixes = [one.prefixes[0], address.parse_prefix(f"fd02:{int(one.node[1:]):x}:{one.serial:x}::/64")]
        etcd.put(keys(one)[:1])
        changes.append(lone.step("change"))
    found["change"] = {name: middle([one[name] for one in changes]) for name in changes[0]}
    etcd.delete("/alive/" + crowd[0].node)
    found["gone"] = lone.step("change")
    etcd.put(keys(crowd[0])[-1:])
    lone.step("change")
    newcomer = keys(member(60000))
    etcd.put(newcomer)
    found["new"] = lone.step("change")
    found["keep"] = lone.step("keep")
    for key, _ in newcomer:
        etcd.delete(key)
    found["rest"] = lone.step("rest")
    return found


def drawn(curves):
    """The figures against the number of members, as SVG: both axes by powers of ten."""
    panels = (
        ("processor time, ms", ("plan", "another's change", "look at the daemons", "poll")),
        ("bytes from and to etcd", ("first listing, bytes", "another that goes offline, bytes", "poll, bytes")),
        ("bytes of files", ("files from nothing, bytes", "another's change, bytes of files")),
        ("files", ("files from nothing, number", "another's change, files")),
        ("memory, kB", ("private after", "heap at rest")),
    )
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1040 1070" font-family="sans-serif" font-size="12">']
    parts.append('<rect width="1040" height="1070" fill="#fff"/>')
    for at, (title, figures) in enumerate(panels):
        parts += _panel(60 + at % 2 * 520, 40 + at // 2 * 350, title, figures, curves)
    sizes = ", ".join(f"{size:,}" for size in SIZES)
    words = f"One router of a mesh of {sizes} members. Solid: MicroPython; dashed: CPython."
    return "\n".join([*parts, f'<text x="60" y="1058" fill="#444">{words}</text>', "</svg>\n"])


def _panel(left, top, title, figures, curves):
    width, height = 270, 260
    shown = {(runtime, figure): curves.get((runtime, figure), []) for figure in figures for runtime in RUNTIMES}
    values = [max(value, 0.01) for points in shown.values() for _, value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def place(members, value):
        across = (math.log10(members) - 2) / (math.log10(SIZES[-1]) - 2)
        up = (math.log10(max(value, 0.01)) - low) / (high - low)
        return f"{left + across * width:.0f},{top + height - up * height:.0f}"

    yield f'<text x="{left}" y="{top - 12}" font-weight="bold">{title}</text>'
    for power in range(low, high + 1):
        x, y = place(SIZES[0], 10**power).split(",")
        yield f'<line x1="{x}" y1="{y}" x2="{left + width}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{left - 6}" y="{int(y) + 4}" text-anchor="end">{10**power:,}</text>'
    for members in SIZES:
        x = place(members, 10**low).split(",")[0]
        yield f'<text x="{x}" y="{top + height + 18}" text-anchor="middle">{members:,}</text>'
    for number, figure in enumerate(figures):
        colour = ("#0b5394", "#cc4125", "#38761d", "#674ea7")[number]
        yield f'<text x="{left + width + 12}" y="{top + 16 + 20 * number}" fill="{colour}">{figure}</text>'
        for runtime in RUNTIMES:
            points = shown[runtime, figure]
            if points:
                dash = "" if runtime == "micropython" else ' stroke-dasharray="5 4"'
                line = " ".join(place(*point) for point in points)
                yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


class Etcd:
    """An etcd of its own on a free port, in a folder that goes with it. url: where it is; process: its Popen."""

    def __enter__(self):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            self.url, peer = [f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in (one, two)]
        self._folder = tempfile.TemporaryDirectory()
        argv = [root.build()["base"] / "usr/bin/etcd", "--data-dir", self._folder.name, "--log-level=error"]
        argv += ["--unsafe-no-fsync", "--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster=default=" + peer]
        log = Path(self._folder.name) / "log"
        self.process = subprocess.Popen(argv, stderr=log.open("wb"))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url + "/health", timeout=2).close()
                return self
            time.sleep(0.05)
        raise OSError("etcd does not answer: " + log.read_text()[-1000:])

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self._folder.cleanup()

    @contextlib.contextmanager
    def watched(self):
        """A process that watches all of it, as it is while nothing happens."""
        argv = [root.build()["base"] / "usr/bin/etcdctl", "--endpoints", self.url, "watch", "--prefix", "/none/"]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env={**os.environ, "ETCDCTL_API": "3"})
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def post(self, path, request):
        """The answer of the JSON gateway."""
        with urllib.request.urlopen(self.url + path, json.dumps(request).encode(), timeout=30) as answer:
            return json.load(answer)

    def put(self, pairs):
        """Puts keys and values."""
        pairs = list(pairs)
        for at in range(0, len(pairs), 120):
            puts = [{"request_put": {"key": b64(key), "value": b64(value)}} for key, value in pairs[at : at + 120]]
            self.post("/v3/kv/txn", {"success": puts})

    def delete(self, key):
        """Deletes a key."""
        self.post("/v3/kv/deleterange", {"key": b64(key)})


def b64(text):
    return base64.b64encode(text.encode()).decode()


def member(number):
    """A member as the agents write them, with keys of its own: RSA of 2048 bits, Ed25519."""
    body = base64.b64encode(os.urandom(270)).decode()
    pem = [body[at : at + 64] for at in range(0, len(body), 64)]
    rsa = "\n".join(["-----BEGIN RSA PUBLIC KEY-----", *pem, "-----END RSA PUBLIC KEY-----"])
    ed25519 = base64.b64encode(os.urandom(33)).decode()[:43]
    high, low = divmod(number, 256)
    ip = f"10.0.{high}.{low}"
    prefixes = [f"172.{16 + high // 16}.{high % 16 * 16 + low // 16}.{low % 16 * 16}/28", f"fd01:{number:x}::/64"]
    prefixes = [address.parse_prefix(text) for text in prefixes]
    endpoint = (f"198.18.{high}.{low}", 655)
    name = f"r{number:04d}"
    found = records.Member(name, ip, f"fd00:99::{number:x}", rsa, ed25519, endpoint, 65000, ip, prefixes, 1, "0.1.0")
    found.full_mesh_max, found.reflector = 16, "auto"
    return found


def keys(found):
    """(key, value) of all that a member has in etcd."""
    key = "/peers/" + found.node
    found.secrets = network_secret.names([SECRET])
    text = records.encode(found, key, SECRET)
    return [(key, text), ("/claims/" + found.ip, found.node), ("/alive/" + found.node, "")]


class Daemons:
    """tincd and BIRD as their control sockets show them: all is up that BIRD's configuration names."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.names = []
        (self.folder / "tinc.pid").write_text("1 cookie 127.0.0.1 port 655\n")
        self._sockets = []
        for name, talk in (("tinc.socket", self._tincd), ("bird.ctl", self._bird)):
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(str(self.folder / name))
            sock.listen(8)
            self._sockets.append(sock)
            threading.Thread(target=self._accept, args=(sock, talk), daemon=True).start()

    def close(self):
        for sock in self._sockets:
            sock.close()

    def _accept(self, sock, talk):
        while True:
            try:
                client, _ = sock.accept()
            except OSError:
                return
            with client, client.makefile() as lines, contextlib.suppress(OSError):
                talk(lines, lambda text, client=client: client.sendall(text.encode()))

    def _tincd(self, lines, say):
        lines.readline()
        request = lines.readline().strip()
        reply = [" ".join(request.split()[:2]) + " 0"]
        if request == "18 3":
            row = "18 3 %s 0123456789ab %s port 655 0 0 0 0 700000c 1a %s north 1 1500 0 1500 0 0 0 0 -1 0 0 0 0"
            names = sorted(path.name for path in (self.folder / "tinc/hosts").iterdir())
            # Few are met directly in a large mesh.
            reply = [
                row % (name, "MYSELF" if name == "north" else f"198.18.9.{at % 250}", name if at < 6 else names[0])
                for at, name in enumerate(names)
            ] + [request]
        say("0 tincd 17.7\n4 0 1\n" + "\n".join(reply) + "\n")

    def _bird(self, lines, say):
        say("0001 BIRD 3.1.7 ready.\n")
        for line in lines:
            words = line.split()
            reply = ["0000 "]
            if words[:2] == ["show", "status"]:
                reply = ["1000-BIRD 3.1.7", "0013 Daemon is up and running"]
            elif words[:2] == ["show", "protocols"]:
                row = "1002-%-10s BGP        ---        up     2026-11-21 %02d:%02d:11  Established"
                reply = [row % (name, at // 60 % 24, at % 60) for at, name in enumerate(self.names)] + reply
            elif words[:2] == ["configure", "check"]:
                reply = ["0020 Configuration OK"]
            elif words[0] == "configure" and words[1] != "confirm":
                rows = Path(words[1].strip('"')).read_text().split("\n")
                self.names = [row.split()[2] for row in rows if row.startswith("protocol bgp ")]
                reply = ["0003 Reconfigured"]
            say("\n".join(reply) + "\n")


class Lone:
    """A router of its own process (lone.py)."""

    def __init__(self, runtime, folder, url, heap, *arguments):
        for name in ("run", "etc"):
            (Path(folder) / name).mkdir()
        self.daemons = Daemons(Path(folder) / "run")
        program = [root.PROJECT / ".cache/bin/micropython", "-X", f"heapsize={heap}M"]
        if runtime == "python3":
            program = [sys.executable]
        source = str(root.PROJECT / "src")
        env = {"MICROPYPATH": source + ":.frozen", "PYTHONPATH": source, "PATH": os.environ["PATH"]}
        argv = [*program, HERE / "lone.py", folder, url, SECRET, *arguments]
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, name, times=1):
        """What a step, done so many times, has cost each time: see lone.py. Raises MemoryError, OSError."""
        self.process.stdin.write(f"{name} {times}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise OSError(f"the router has ended at '{name}' with {self.process.wait()}")
        found = json.loads(line)
        if "full" in found:
            raise MemoryError
        found["private"] = outside.memory(self.process.pid)[0]
        return found

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        self.daemons.close()
