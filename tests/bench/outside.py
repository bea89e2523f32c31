"""Looks at a lab's machine and calls into it without starting a process there."""

import contextlib
import ctypes
import os
import re
import socket
import threading
import time
from pathlib import Path

from lab import netns

from bgpmesh.ubus import blob

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_TICK = os.sysconf("SC_CLK_TCK")


class Bus:
    """A connection to a router's ubus. A call is in two steps, so that many routers can be called at once."""

    def __init__(self, router):
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(30)
        self._sock.connect(str(router.path("/tmp/run/ubus/ubus.sock")))
        self._serial = 0
        self._objects = {}
        self._receive()  # HELLO

    def close(self):
        self._sock.close()

    def call(self, path, method, args=None):
        """The reply to a call, a dict. Raises OSError with the status where it fails."""
        self._objects.pop(path, None)  # an agent that was started again has another id
        self.begin(path, method, args)
        return self.finish()

    def look_up(self, path):
        """The id of an object, asked once."""
        if path not in self._objects:
            self._send(blob.LOOKUP, 0, [(blob.ATTR_OBJPATH, path)])
            self._objects[path] = self._answer()[blob.ATTR_OBJID]
        return self._objects[path]

    def begin(self, path, method, args=None):
        """Sends a call; finish() gives its reply."""
        number = self.look_up(path)
        attributes = [(blob.ATTR_OBJID, number), (blob.ATTR_METHOD, method), (blob.ATTR_DATA, args or {})]
        self._send(blob.INVOKE, number, attributes)

    def finish(self):
        data = self._answer().get(blob.ATTR_DATA)
        return blob.decode_table(data) if data else {}

    def _send(self, kind, peer, attributes):
        self._serial = self._serial % 65535 + 1
        self._sock.sendall(blob.encode_frame(kind, self._serial, peer, attributes))

    def _answer(self):
        found = {}
        while True:
            kind, serial, attributes = self._receive()
            if serial != self._serial:
                continue
            if kind == blob.STATUS:
                if attributes.get(blob.ATTR_STATUS):
                    raise OSError(attributes[blob.ATTR_STATUS], "a call over ubus failed")
                return found
            found.update(attributes)

    def _receive(self):
        kind, serial, _, size = blob.decode_header(self._read(blob.HEADER))
        return kind, serial, dict(blob.attributes(self._read(size)))

    def _read(self, size):
        data = b""
        while len(data) < size:
            more = self._sock.recv(size - len(data))
            if not more:
                raise EOFError("ubusd closed the connection")
            data += more
        return data


def socket_in(machine, kind=socket.SOCK_STREAM):
    """An IPv4 socket in a machine's network namespace."""
    made = []

    def make():
        # setns moves only the calling thread, which then ends.
        with open(netns.NETNS / machine.netns) as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.socket(socket.AF_INET, kind))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def reached(router):
    """How many other nodes the router's tincd 1.1 reaches; 0 while it does not answer."""
    try:
        words = router.path("/tmp/run/bgpmesh/tinc.pid").read_text().split()
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(2)
            control.connect(str(router.path("/tmp/run/bgpmesh/tinc.socket")))
            with control.makefile("rw", encoding="utf-8", newline="\n") as stream:
                stream.write(f"0 ^{words[1]} 0\n18 3\n")
                stream.flush()
                count = 0
                for line in stream:
                    fields = line.split()
                    if fields == ["18", "3"]:
                        return count
                    # tinc's control_common.h: name, id, host, "port", port, five numbers, options, status …
                    if len(fields) > 12 and fields[4] != "MYSELF":
                        count += bool(int(fields[12], 16) & 16)
    except (OSError, IndexError, ValueError):
        pass
    return 0


def etcd_requests(lab):
    """How many transactions etcd has answered since its start: a poll that finds nothing is one."""
    text = _http_get(lab.etcd, "/metrics")
    found = re.search(r'grpc_server_handled_total\{grpc_code="OK",grpc_method="Txn".*\} (\S+)', text)
    return int(float(found.group(1))) if found else 0


def _http_get(machine, path):
    with contextlib.closing(socket_in(machine)) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", 2379))
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with sock.makefile("rb") as stream:
            return stream.read().decode()


def cpu(pid):
    """Seconds of processor time that a process has used (all of its threads)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pid):
    """(private, resident) memory of a process in kB: RssAnon and VmRSS as counted page by page.

    /proc/PID/status has the same two, but kernels from 6.2 on sum them up lazily there: up to 64 pages off
    for each processor.
    """
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return tuple(int(re.search(name + r":\s+(\d+)", text).group(1)) for name in ("Anonymous", "Rss"))


def wakeups(pid):
    """How often a process (all of its threads) has waited for something, and gone on."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M).group(1))
    return total


def flash(routers):
    """All that the routers have written to their flash: "router:path" -> what any touch of it changes."""
    found = {}
    for router in routers:
        upper = router.dir / "upper"
        for path in [upper, *upper.rglob("*")]:
            facts = path.lstat()
            name = f"{router.name}:/{path.relative_to(upper)}"
            found[name] = (facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size)
    return found


def peak(pid):
    """The most resident memory that a process ever had, in kB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))


def started(pid):
    """When a process was started, on time.monotonic()'s clock, to a hundredth of a second."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / _TICK - time.clock_gettime(time.CLOCK_BOOTTIME) + time.monotonic()


def changed(path):
    """When a file was put in place, on time.monotonic()'s clock, to 4 ms; None where there is none."""
    try:
        return path.stat().st_ctime - time.time() + time.monotonic()
    except OSError:
        return None
