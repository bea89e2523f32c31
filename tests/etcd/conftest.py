"""Real etcd servers on loopback ports: those of $ETCD (a path, etcdctl beside it), or of the lab's root."""

import base64
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from lab import root  # noqa: E402
from lab.authority import CLIENT, SERVER, Authority  # noqa: E402

from bgpmesh.etcd import python_etcd, v2, v3  # noqa: E402
from bgpmesh.etcd import registry as v3_registry  # noqa: E402

GIVEN = set()  # ports


def free_port():
    """A TCP port of the loopback address that nobody has, and that no client is given while its server is down."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(min(10000, first - 5000), first)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in GIVEN:
                GIVEN.add(port)
                return port


def wait_for(condition, what, seconds=60):
    """The first true value of condition(); AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


class Server:
    """One etcd process. `url` is where clients reach it; files are in `folder`."""

    def __init__(self, binary, folder, name="one", certificates=None, client_ca=False):
        self.binary = binary
        self.folder = Path(folder)
        self.name = name
        self.certificates = certificates
        self.port = free_port()
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        self.peer_url = f"http://127.0.0.1:{free_port()}"
        self.members = {name: self.peer_url}
        self.process = None
        self.extra = ["--enable-v2"]
        if certificates:
            self.extra += [
                "--cert-file",
                f"{certificates}/server.pem",
                "--key-file",
                f"{certificates}/server.key",
            ]
            if client_ca:
                self.extra += ["--client-cert-auth", "--trusted-ca-file", f"{certificates}/ca.pem"]

    @property
    def data(self):
        return self.folder / f"{self.name}.data"

    def start(self, wait=True):
        """Starts it; returns when it answers."""
        cluster = ",".join(f"{name}={url}" for name, url in self.members.items())
        argv = [self.binary, "--name", self.name, "--data-dir", self.data]
        argv += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        argv += ["--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url]
        argv += ["--initial-cluster", cluster, *self.extra]
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait()
        return self

    def wait(self):
        """Returns when it answers, with a leader."""
        wait_for(self.is_ready, f"{self.name} answers")

    def is_ready(self):
        assert self.process.poll() is None, (self.folder / f"{self.name}.log").read_text()[-2000:]
        if self.certificates:
            return self.ctl("endpoint", "health", check=False).returncode == 0
        try:
            self.post("/v3/kv/range", {"key": "eA=="}, timeout=1)
        except urllib.error.HTTPError as error:
            return error.code in (400, 401)  # authentication is on
        except OSError:
            return False
        return True

    def stop(self, number=signal.SIGTERM):
        """Ends it and waits for that."""
        if self.process:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def pause(self):
        """Stops it from running: it accepts connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        # On a busy machine one of its threads may run on for a moment.
        while not all("\nState:\tT" in (one / "status").read_text() for one in threads.iterdir()):
            time.sleep(0.001)

    def post(self, path, request, timeout=30):
        """The answer of the JSON gateway, by another client than ours."""
        data = json.dumps(request).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=timeout) as answer:
            return json.load(answer)

    def ctl(self, *arguments, check=True, input=None):
        """Runs etcdctl on it."""
        argv = [Path(self.binary).with_name("etcdctl"), "--endpoints", self.url]
        if self.certificates:
            argv += ["--cacert", f"{self.certificates}/ca.pem"]
            argv += ["--cert", f"{self.certificates}/client.pem", "--key", f"{self.certificates}/client.key"]
        return subprocess.run(
            [*argv, *arguments],
            env={**os.environ, "ETCDCTL_API": "3"},
            check=check,
            input=input,
            capture_output=True,
            text=True,
        )


class V3:
    """etcd's v3 API: our registry on it, and what a test does by other means than ours."""

    name = "v3"
    client = v3.Client

    def registry(self, servers, node="alfa", ttl=30, prefix="/mesh", signed=False, **options):
        """A Registry of the Servers, or of the one; options are those of the client."""
        servers = servers if isinstance(servers, list) else [servers]
        client = v3.Client([server.url for server in servers], **options)
        return v3_registry.Registry(client, prefix, node, ttl, signed)

    def put(self, server, key, value=""):
        server.post("/v3/kv/put", {"key": b64(key), "value": b64(value)})

    def delete(self, server, key):
        server.post("/v3/kv/deleterange", {"key": b64(key)})

    def keys(self, server):
        """key → value of the whole store, and key → whether it has a lease."""
        answer = server.post("/v3/kv/range", {"key": b64("\0"), "range_end": b64("\0")})
        found = {base64.b64decode(item["key"]).decode(): item for item in answer["kvs"]}
        values = {key: base64.b64decode(item.get("value", "")).decode() for key, item in found.items()}
        return values, {key: "lease" in item for key, item in found.items()}

    def enable_authentication(self, server):
        """Users root, router (reads and writes /mesh/) and reader (reads it), whose passwords are their names."""
        server.post("/v3/auth/user/add", {"name": "root", "password": "root"})
        server.post("/v3/auth/role/add", {"name": "root"})
        server.post("/v3/auth/user/grant", {"user": "root", "role": "root"})
        for name, kind in (("router", "READWRITE"), ("reader", "READ")):
            server.post("/v3/auth/role/add", {"name": name})
            span = {"permType": kind, "key": b64("/mesh/"), "range_end": b64("/mesh0")}
            server.post("/v3/auth/role/grant", {"name": name, "perm": span})
            server.post("/v3/auth/user/add", {"name": name, "password": name})
            server.post("/v3/auth/user/grant", {"user": name, "role": name})
        server.post("/v3/auth/enable", {})


class V2:
    """The same of etcd's v2 API."""

    name = "v2"
    client = python_etcd.Client

    def registry(self, servers, node="alfa", ttl=30, prefix="/mesh", signed=False, **options):
        servers = servers if isinstance(servers, list) else [servers]
        client = python_etcd.Client([server.url for server in servers], **options)
        return v2.Registry(client, prefix, node, ttl, signed)

    def ask(
        self, server, method, path, data=None, kind="application/x-www-form-urlencoded", user=None, timeout=30
    ):
        """The answer, decoded; data: bytes."""
        request = urllib.request.Request(server.url + "/v2" + path, data, {"Content-Type": kind}, method=method)
        if user:
            request.add_header("Authorization", "Basic " + b64(f"{user}:{user}"))
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.loads(answer.read() or b"{}")

    def put(self, server, key, value="", **more):
        data = urllib.parse.urlencode({"value": value, **more}).encode()
        return self.ask(server, "PUT", "/keys" + urllib.parse.quote(key), data)["node"]

    def delete(self, server, key):
        self.ask(server, "DELETE", "/keys" + urllib.parse.quote(key))

    def keys(self, server):
        def leaves(node):
            below = [leaf for child in node.get("nodes", []) for leaf in leaves(child)]
            return below if node.get("dir") else [node]

        found = leaves(self.ask(server, "GET", "/keys/?recursive=true")["node"])
        return {node["key"]: node["value"] for node in found}, {node["key"]: "ttl" in node for node in found}

    def enable_authentication(self, server):
        def put(path, **fields):
            self.ask(server, "PUT", "/auth/" + path, json.dumps(fields).encode(), "application/json")

        put("users/root", user="root", password="root")
        for name, write in (("router", ["/mesh/*"]), ("reader", [])):
            put(f"roles/{name}", role=name, permissions={"kv": {"read": ["/mesh/*"], "write": write}})
            put(f"users/{name}", user=name, password=name, roles=[name])
        self.ask(server, "PUT", "/auth/enable", b"")
        revoke = {"role": "guest", "revoke": {"kv": {"read": ["/*"], "write": ["/*"]}}}
        self.ask(server, "PUT", "/auth/roles/guest", json.dumps(revoke).encode(), "application/json", "root")


def b64(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def apis():
    """name → API of etcd."""
    return {api.name: api for api in (V3(), V2())}


@pytest.fixture(params=["v3", "v2"])
def api(request, apis):
    """One of them after the other."""
    return apis[request.param]


@pytest.fixture(scope="session")
def binary():
    """Path of etcd."""
    return os.environ.get("ETCD") or str(root.build()["base"] / "usr/bin/etcd")


@pytest.fixture
def make_server(binary, tmp_path):
    """Makes Servers, which are stopped after the test; arguments as for Server, without the first two."""
    servers = []

    def make(*arguments, **options):
        servers.append(Server(binary, tmp_path, *arguments, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop(signal.SIGKILL)


@pytest.fixture
def server(make_server):
    """A single etcd that runs."""
    return make_server().start()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with ca.pem, other-ca.pem, expired-ca.pem (as ca.pem, until 2020) and pairs .pem/.key.

    server (for 127.0.0.1), elsewhere (another address), expired (for 127.0.0.1, until 2020), early (from 2080 on);
    client (without a common name), named (with one), expired-client, early-client, stranger (of other-ca).
    """
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    authority.found("other-ca")
    authority.outlive("expired-ca")
    here, past, future = ["127.0.0.1"], "20200201000000Z", "20790101000000Z"
    authority.issue("server", "/O=etcd", SERVER, here)
    authority.issue("elsewhere", "/O=etcd", SERVER, ["192.0.2.1"])
    authority.issue("expired", "/O=etcd", SERVER, here, until=past)
    authority.issue("early", "/O=etcd", SERVER, here, since=future)
    authority.issue("client", "/O=mesh", CLIENT)
    authority.issue("named", "/CN=router", CLIENT)
    authority.issue("expired-client", "/O=mesh", CLIENT, until=past)
    authority.issue("early-client", "/O=mesh", CLIENT, since=future)
    authority.issue("stranger", "/O=mesh", CLIENT, ca="other-ca")
    return authority.folder
