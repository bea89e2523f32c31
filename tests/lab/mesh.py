"""What the tests of a running mesh look at, wait for, and put into etcd by hand."""

import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from .netns import ENV


def running(lab):
    return [router for router in lab.routers if router.running]


def settled(lab, deadline=60):
    """Wait until every router that runs has a session with every other one and says that it has converged."""
    lab.wait(lab.converged, deadline, "a session between every two routers")
    for router in running(lab):
        clear(lab, router, deadline)


def state(router):
    """The `state` of `bgpmesh status -j`, None while nobody answers."""
    status = router.status()
    return status and status["state"]


def problems(router):
    """The problems of `bgpmesh status -j`: [(code, subject, text)]."""
    status = router.status()
    found = status["problems"] if status else []
    return [(problem["code"], problem["subject"], problem["text"]) for problem in found]


def told(lab, router, *words, deadline=15):
    """Wait until the router names a problem with all these words in code, subject, text; returns the text."""

    def found():
        texts = [problem for problem in problems(router) if all(word in " ".join(problem) for word in words)]
        return texts and texts[0][2]

    return lab.wait(found, deadline, f"{router.name} to name a problem with {', '.join(words)}", 0.2)


def clear(lab, router, deadline=20):
    """Wait until the router has no problem."""
    lab.wait(lambda: state(router) == "converged", deadline, f"{router.name} to be converged", 0.2)


def knows(lab, router, node, deadline=15):
    """Wait until the router's BIRD has a session, in whatever state, for the node."""
    lab.wait(lambda: f"_{node} " in router.bird("show protocols"), deadline, f"{router.name} to know {node}")


def forgets(lab, router, node, deadline=15):
    """Wait until the router's BIRD has none."""

    def forgotten():
        reply = router.bird("show protocols")
        return reply and f"_{node} " not in reply

    lab.wait(forgotten, deadline, f"{router.name} to have forgotten {node}")


def sessions(router):
    """Peer → since when its session is Established, as BIRD says; without the sessions that are not."""
    found = {}
    for line in router.bird("show protocols").splitlines():
        words = (line[1:] if line.startswith(" ") else line[5:]).split()
        if len(words) > 6 and words[1] == "BGP" and words[6] == "Established":
            found[words[0][1:]] = " ".join(words[4:6])
    return found


@contextlib.contextmanager
def undisturbed(lab, but=()):
    """What is done inside leaves alone sessions, tincd and bird of all running routers but those named."""
    names = [router.name for router in but]
    routers = [router for router in running(lab) if router.name not in names]

    def look():
        return {
            router.name: {
                "sessions": {peer: since for peer, since in sessions(router).items() if peer not in names},
                "tincd": router.pids("tincd"),
                "bird": router.pids("bird"),
            }
            for router in routers
        }

    before = look()
    for name, found in before.items():
        others = {router.name for router in routers} - {name}
        assert others <= set(found["sessions"]), f"{name} has no session with some of {others}\n{lab.dump()}"
    yield
    after = look()
    for name, found in after.items():
        old = before[name]["sessions"]
        found["sessions"] = {peer: since for peer, since in found["sessions"].items() if peer in old}
    assert after == before, lab.dump()


def reaches(lab, router, other, deadline=5):
    """Wait until the router's LAN reaches the other one's in both families."""
    for address in (other.lan, other.lan6):
        lab.wait(lambda to=address: router.ping(to), deadline, f"{router.name} to reach {address}")


def sync(lab, but=()):
    """Every router that runs, but those named, asks etcd now."""
    for router in running(lab):
        assert router in but or router.bgpmesh("sync").returncode == 0


def files(router, *folders):
    """What is in the folders: path → (inode, time of the last change of content in ns, length)."""
    found = {}
    for folder in folders:
        top = router.path(folder)
        for path in [top, *top.rglob("*")]:
            info = path.lstat()
            found[str(path.relative_to(router.path("/")))] = (info.st_ino, info.st_mtime_ns, info.st_size)
    return found


RUN, STATE = "/tmp/run/bgpmesh", "/etc/bgpmesh"


class Reloads:
    """Counts, from where it is made, how often a router's tincd and bird took another configuration.

    tincd says so in the log; BIRD's configuration file gets its name each time it was taken.
    """

    def __init__(self, *routers):
        self._routers = routers
        self._tinc = {router: self._logged(router) for router in routers}
        self._seen = {router: set() for router in routers}
        self._first = {router: self._conf(router) for router in routers}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._end.set()
        self._thread.join()

    def _watch(self):
        while not self._end.wait(0.02):
            for router in self._routers:
                self._seen[router].add(self._conf(router))

    @staticmethod
    def _logged(router):
        return router.log().count("Got 'reload' command")

    @staticmethod
    def _conf(router):
        try:
            info = os.stat(router.path(RUN + "/bird.conf"))
        except FileNotFoundError:
            return None
        return info.st_ino, info.st_mtime_ns

    def tinc(self, router):
        return self._logged(router) - self._tinc[router]

    def bird(self, router):
        return len(self._seen[router] - {self._first[router]})


@contextlib.contextmanager
def listening(lab, router, pattern="bgpmesh.*"):
    """`ubus listen` on the router; gives a function that returns the events so far: [(name, data)]."""
    path = router.lab.dir / f"{router.name}-events"
    before = router.pids("python3")
    with open(path, "w") as output:
        argv = [*router.enter(), "env", "PYTHONUNBUFFERED=1", "ubus", "listen", pattern]
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=ENV)
    probe = pattern.replace("*", "probe")

    def events():
        found = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
        return [(name, data) for event in found for name, data in event.items() if name != probe]

    def hears():
        router.exec(["ubus", "send", probe, "{}"])
        return probe in path.read_text()

    try:
        lab.wait(hears, 10, "ubus listen to hear")
        yield events
    finally:
        # nsenter does not pass a signal on.
        for pid in set(router.pids("python3")) - set(before):
            os.kill(pid, signal.SIGKILL)
        process.wait()


# -- etcd by hand


def stranger(number, **fields):
    """A member record, as a dict, of a router that does not exist: 10.0.0.<number>."""
    key = base64.b64encode(hashlib.sha256(b"%d" % number).digest()).decode().rstrip("=")
    found = {"ip": f"10.0.0.{number}", "ed25519": key, "asn": 65000, "prefixes": [f"172.20.{number}.0/24"]}
    found.update(serial=1, version="0.1.0")
    found.update(fields)
    return found


def put(lab, key, value):
    """Put a text, or a dict as JSON, under a key."""
    text = value if isinstance(value, str) else json.dumps(value)
    if text:
        # From standard input: it may be longer than a command line.
        lab.etcdctl(["put", "--", key], input=text)
    else:
        lab.etcdctl(["put", "--", key, ""])


def put_all(lab, values):
    """Put several keys in one transaction: nobody sees some of them without the others."""
    puts = "\n".join(f"put {key} {json.dumps(json.dumps(value))}" for key, value in values.items())
    lab.etcdctl(["txn"], input=f"\n{puts}\n\n\n")


def get(lab, key):
    """What is stored under a key, as text; "" where nothing is."""
    return lab.etcdctl(["get", "--print-value-only", "--", key]).stdout.removesuffix("\n")


def keys(lab):
    """key → value of the whole store."""
    reply = json.loads(lab.etcdctl(["get", "--prefix", "/", "--write-out=json"]).stdout)
    decode = base64.b64decode
    found = reply.get("kvs", [])
    return {
        decode(item["key"]).decode(errors="replace"): decode(item.get("value", "")).decode(errors="replace")
        for item in found
    }


def delete(lab, *names):
    for name in names:
        lab.etcdctl(["del", "--", name])


def grep(router, word, *folders):
    """The files in the folders of a router, logs left out, that have the word in their name or text."""
    paths = [path for folder in folders for path in router.path(folder).rglob("*") if path.suffix != ".log"]
    return [
        str(path) for path in paths if word in path.name or path.is_file() and word in path.read_text(errors="replace")
    ]


def named(router, node, *folders):
    """The files there that are a node's or speak of it; a key may have its name in it by chance."""
    word = re.compile(rf"(^|[\s_]){node}(\s|$)", re.M)
    paths = [path for folder in folders for path in router.path(folder).rglob("*") if path.suffix != ".log"]
    texts = {path: path.read_text(errors="replace") for path in paths if path.is_file()}
    return [str(path) for path in paths if path.name == node or word.search(texts.get(path, ""))]


def end_lease(lab, router):
    """What etcd does when it has not heard of the router for long enough."""
    (item,) = json.loads(lab.etcdctl(["get", f"/alive/{router.name}", "--write-out=json"]).stdout)["kvs"]
    lab.etcdctl(["lease", "revoke", f"{item['lease']:x}"])


def rss_kb(pid):
    """The resident memory of a process that is its own, in kB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0])


def agent(router):
    """The agent's pid on this host."""
    (pid,) = router.pids("agent")
    return pid


def within(seconds, do):
    """What `do` returns, and how long it took; fails where that was longer."""
    start = time.monotonic()
    found = do()
    took = time.monotonic() - start
    assert took < seconds, f"took {took:.1f} s"
    return found
