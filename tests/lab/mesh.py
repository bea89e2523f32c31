"""What the tests of a running mesh look at, wait for, and put into etcd by hand.

A deadline says when to give up, not how fast something is: it leaves room for a machine that is slow and busy.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

from bgpmesh.ubus.client import Bus

from .netns import ENV

SOON = 60  # seconds: what has not come about by then does not come


def running(lab):
    return [router for router in lab.routers if router.running]


def settled(lab):
    """Wait until every router that runs has a session with every other one and says that it has converged."""
    lab.wait(lab.converged, 2 * SOON, "a session between every two routers")
    for router in running(lab):
        clear(lab, router)


def state(router):
    """The `state` of `bgpmesh status -j`, None while nobody answers."""
    status = router.status()
    return status and status["state"]


def problems(router):
    """The problems of `bgpmesh status -j`: [(code, subject, text)]."""
    status = router.status()
    found = status["problems"] if status else []
    return [(problem["code"], problem["subject"], problem["text"]) for problem in found]


def told(lab, router, *words):
    """Wait until the router names a problem with all these words in code, subject, text; returns the text.

    What is asserted of the text belongs into the words where another problem may have them at first.
    """

    def found():
        texts = [problem for problem in problems(router) if all(word in " ".join(problem) for word in words)]
        return texts and texts[0][2]

    return lab.wait(found, SOON, f"{router.name} to name a problem with {', '.join(words)}", 0.2)


def clear(lab, router):
    """Wait until nothing of the router's own is wrong; returns the status that says so."""

    def well():
        status = router.status()
        return status and status["state"] == "converged" and status

    return lab.wait(well, SOON, f"{router.name} to be converged", 0.2)


def answer(router):
    """What the agent answers to `status`, which it does at once: within two seconds, without the start of a program."""

    async def ask():
        bus = Bus(str(router.path("/tmp/run/ubus/ubus.sock")), lambda text: None)
        task = asyncio.create_task(bus.run())
        try:
            return await bus.call("bgpmesh", "status", {}, 2)
        finally:
            task.cancel()

    return asyncio.run(ask())


def knows(lab, router, node):
    """Wait until the router's BIRD has a session, in whatever state, for the node, and has it for good."""
    conf = f"protocol bgp _{node} "

    def known():
        # BIRD runs on it first, then it is bird.conf.
        return f"_{node} " in router.bird("show protocols") and conf in router.read(RUN + "/bird.conf")

    lab.wait(known, SOON, f"{router.name} to know {node}")


def forgets(lab, router, node):
    """Wait until the router's BIRD has none, and no file is the node's or speaks of it."""

    def forgotten():
        reply = router.bird("show protocols")
        return reply and f"_{node} " not in reply and not named(router, node, RUN)

    lab.wait(forgotten, SOON, f"{router.name} to have forgotten {node}")


def sessions(router):
    """Peer → since when its session is Established, as BIRD says; without the sessions that are not."""
    found = {}
    for line in router.bird("show protocols").splitlines():
        words = (line[1:] if line.startswith(" ") else line[5:]).split()
        if len(words) > 6 and words[1] == "BGP" and words[6] == "Established":
            found[words[0][1:]] = " ".join(words[4:6])
    return found


def daemons(router, program):
    """The pids of a program, without what it has just forked to run a script: tinc 1.0 does at every reload."""
    parents = {}
    for pid in router.pids(program):
        with contextlib.suppress(OSError):
            parents[pid] = int(re.search(r"PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1])
    return [pid for pid in parents if parents[pid] not in parents]


@contextlib.contextmanager
def undisturbed(lab, but=()):
    """What is done inside leaves alone sessions, tincd and bird of all running routers but those named."""
    names = [router.name for router in but]
    routers = [router for router in running(lab) if router.name not in names]

    def look():
        return {
            router.name: {
                "sessions": {peer: since for peer, since in sessions(router).items() if peer not in names},
                "tincd": daemons(router, "tincd"),
                "bird": daemons(router, "bird"),
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
    changed = [(name, what, was[what], after[name][what]) for name, was in before.items() for what in was]
    changed = [one for one in changed if one[2] != one[3]]
    assert not changed, f"{changed}\n{lab.dump()}"


def reaches(lab, router, other):
    """Wait until the router's LAN reaches the other one's in both families."""
    for address in (other.lan, other.lan6):
        lab.wait(lambda to=address: router.ping(to), SOON, f"{router.name} to reach {address}")


def routed(lab, router, prefixes, family=4):
    """Wait until these, and no others, are the prefixes that the router's BIRD has put into the kernel."""
    wanted = sorted(prefixes)
    lab.wait(lambda: router.routes(family) == wanted, SOON, f"{router.name} to have the routes {wanted}")


def has_route(lab, router, prefix, gone=False):
    """Wait until the router's kernel has BIRD's route to the prefix, or has it no more."""
    what = f"{router.name} to have {'lost' if gone else ''} the route to {prefix}"
    lab.wait(lambda: (prefix in router.routes(6 if ":" in prefix else 4)) != gone, SOON, what)


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
            with contextlib.suppress(FileNotFoundError):  # it has just been replaced
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
        self._look()

    def _watch(self):
        while not self._end.wait(0.02):
            self._look()

    def _look(self):
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
        lab.wait(hears, SOON, "ubus listen to hear")
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
    return [str(path) for path, text in _texts(router, folders) if word in path.name or word in text]


def named(router, node, *folders):
    """The files there that are a node's or speak of it; a key may have its name in it by chance."""
    word = re.compile(rf"(^|[\s_]){node}(\s|$)", re.M)
    return [str(path) for path, text in _texts(router, folders) if path.name == node or word.search(text)]


def _texts(router, folders):
    """(path, text) of what is in the folders, logs left out; the text of what is no file, or has just gone, is ""."""
    for path in [path for folder in folders for path in router.path(folder).rglob("*") if path.suffix != ".log"]:
        text = ""
        with contextlib.suppress(FileNotFoundError):
            text = path.read_text(errors="replace") if path.is_file() else ""
        yield path, text


def end_lease(lab, router):
    """What etcd does when it has not heard of the router for long enough, unless it has done so already."""
    for item in json.loads(lab.etcdctl(["get", f"/alive/{router.name}", "--write-out=json"]).stdout).get("kvs", []):
        lab.etcdctl(["lease", "revoke", f"{item['lease']:x}"], check=False)


@contextlib.contextmanager
def without(router, program):
    """Inside, nothing of the router's can run the program; what runs already goes on."""
    router.write("/etc/hidden", "")
    router.exec(["mount", "--bind", "/etc/hidden", program])
    try:
        yield
    finally:
        router.exec(["umount", "-l", program])  # procd may be trying it at this moment


def rss_kb(pid):
    """The resident memory of a process that is its own, in kB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0])


def agent(router):
    """The agent's pid on this host."""
    (pid,) = router.pids("agent")
    return pid
