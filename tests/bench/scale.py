"""One router of a mesh of 100 to 5,000 members that are only in etcd: its time, memory, bytes and files."""

import base64
import contextlib
import json
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

from . import outside

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
SIZES = (100, 1000, 5000)
SECRET = "correct horse battery staple"


def run(report, arguments):
    """The part `scale`."""
    for members in arguments.sizes:
        for runtime in ("micropython", "python3"):
            measure(report, members, runtime)


def measure(report, members, runtime, heap="2M"):
    pass


class Etcd:
    """An etcd of its own on a free port, in a folder that goes with it. url: where it is."""

    def __enter__(self):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            self.url, peer = [f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in (one, two)]
        self._folder = tempfile.TemporaryDirectory()
        argv = [root.build()["base"] / "usr/bin/etcd", "--data-dir", self._folder.name, "--log-level=error"]
        argv += ["--unsafe-no-fsync", "--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        argv += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster=default=" + peer]
        self._process = subprocess.Popen(argv)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(self.url + "/health", timeout=2).close()
                return self
            time.sleep(0.05)
        raise OSError("etcd does not answer")

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(30)
        self._folder.cleanup()

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
    return records.Member(
        name, ip, f"fd00:99::{number:x}", rsa, ed25519, endpoint, 65000, ip, prefixes, 1, "0.1.0"
    )


def keys(found, secret=None):
    """(key, value) of all that a member has in etcd."""
    key = "/peers/" + found.node
    if secret:
        from bgpmesh import secret as network_secret

        found.secrets = network_secret.names([secret])
    text = records.encode(found, key, secret)
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

    def __init__(self, runtime, folder, url, secret="", heap="2M"):
        for name in ("run", "etc"):
            (Path(folder) / name).mkdir()
        self.daemons = Daemons(Path(folder) / "run")
        program = [root.PROJECT / ".cache/bin/micropython", "-X", "heapsize=" + heap]
        if runtime == "python3":
            program = [sys.executable]
        env = {"MICROPYPATH": f"{PROJECT}/src:.frozen", "PYTHONPATH": str(PROJECT / "src"), "PATH": os.environ["PATH"]}
        argv = [*program, HERE / "lone.py", folder, url, secret]
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, name, times=1):
        """What a step, done so many times, has cost: see lone.py."""
        self.process.stdin.write(f"{name} {times}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise OSError(f"the router has ended at '{name}' with {self.process.wait()}")
        found = json.loads(line)
        found["private"] = outside.memory(self.process.pid)[0]
        return found

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.daemons.close()


if __name__ == "__main__":
    members, runtime, heap = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    secret = sys.argv[4] if len(sys.argv) > 4 else ""
    with Etcd() as etcd, tempfile.TemporaryDirectory() as folder:
        crowd = [member(number) for number in range(1, members + 1)]
        etcd.put([pair for one in crowd for pair in keys(one, secret)])
        lone = Lone(runtime, folder, etcd.url, secret, heap)
        steps = {"start": 1, "enter": 1, "plan": 1, "apply": 1, "save": 1, "poll": 50, "look": 20}
        for name, times in steps.items():
            try:
                print(name, lone.step(name, times))
            except OSError as error:
                print(error)
                break
        else:
            for turn in range(3):
                one = crowd[turn]
                one.serial += 1
                one.prefixes = [address.parse_prefix(f"10.{100 + turn}.0.0/24")]
                etcd.put(keys(one, secret)[:1])
                print("change", lone.step("change"))
        lone.close()
