"""A stand-in for pyubus (PyPI's `ubus` 0.1.3 on libubus), which needs OpenWrt's libraries.

It speaks the real protocol to whatever ubusd listens, on a socket of its own, and has the library's ways as they
were measured: one connection in a process, given up but not noticed when ubusd goes away; arguments that must be
those of the signature exactly; no status but 9 for a handler that fails, and a traceback; answers that must be
there when the handler returns; requests that come while it waits for ubusd kept until the next loop(0); signals
that nobody handles taken at connect. What it cannot have is the interpreter's lock held meanwhile.

`misuse` lists what the real one would not survive. What pyubus.py has no use for is left out.
"""

import ctypes
import json
import select
import signal
import socket
import struct
import threading
import traceback

from bgpmesh.ubus import STATUS_NAMES, blob

misuse = []
loops = 0  # how often loop(0) was called
_libc = ctypes.CDLL(None)
_libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
_inside = threading.Lock()
_connection = None
_taken = []  # signals


class _Connection:
    def __init__(self, path):
        self.objects = {}  # id -> methods
        self.pending = []  # INVOKEs that came while something else was waited for
        self.serial = 0
        self.lost = False
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.connect(path)
            self.read()
        except (OSError, EOFError):
            self.sock.close()
            raise OSError(f"Failed to connect to the ubus socket '{path}'\n") from None

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def read(self):
        kind, serial, peer, size = blob.decode_header(self.exactly(blob.HEADER))
        return kind, serial, peer, dict(blob.attributes(self.exactly(size)))

    def request(self, kind, attributes):
        """(status, attributes of the last DATA) of a request."""
        self.serial += 1
        data = {}
        try:
            self.sock.sendall(blob.encode_frame(kind, self.serial, 0, attributes))
            while True:
                frame = self.read()
                if frame[0] == blob.INVOKE:
                    self.pending.append(frame)
                elif frame[:2] == (blob.DATA, self.serial):
                    data = frame[3]
                elif frame[:2] == (blob.STATUS, self.serial):
                    return frame[3][blob.ATTR_STATUS], data
        except (OSError, EOFError):
            self.lost = True
            return STATUS_NAMES.index("INVALID_ARGUMENT"), data

    def handle(self):
        while self.pending or select.select([self.sock], [], [], 0)[0]:
            try:
                kind, serial, peer, attributes = self.pending.pop(0) if self.pending else self.read()
                if kind == blob.INVOKE:
                    self.invoked(serial, peer, attributes)
            except (OSError, EOFError):
                self.lost = True
                return

    def invoked(self, serial, peer, attributes):
        identity = attributes[blob.ATTR_OBJID]
        status = self.status(_Request(self, identity, serial, peer), attributes)
        answer = [(blob.ATTR_STATUS, status), (blob.ATTR_OBJID, identity)]
        try:
            self.sock.sendall(blob.encode_frame(blob.STATUS, serial, peer, answer))
        except OSError:
            pass  # what came before the end is handled nevertheless

    def status(self, request, attributes):
        method = self.objects[request.identity].get(attributes[blob.ATTR_METHOD])
        if not method:
            return STATUS_NAMES.index("METHOD_NOT_FOUND")
        args = blob.decode_table(attributes.get(blob.ATTR_DATA, b""))
        if blob.ATTR_DATA not in attributes or sorted(args) != sorted(method["signature"]):
            return STATUS_NAMES.index("INVALID_ARGUMENT")
        try:
            method["method"](request, json.loads(json.dumps(args)))
        except Exception:
            traceback.print_exc()
            return STATUS_NAMES.index("UNKNOWN_ERROR")
        finally:
            request.connection = None
        return STATUS_NAMES.index("OK")


class _Request:
    def __init__(self, connection, identity, serial, peer):
        self.connection = connection
        self.identity = identity
        self.serial = serial
        self.peer = peer

    def reply(self, data):
        if not self.connection:
            raise RuntimeError("Handler is not linked to a call response.")
        payload = blob.encode_table(json.loads(json.dumps(data)))
        body = struct.pack(">II", blob.ATTR_OBJID << 24 | 8, self.identity)
        body += struct.pack(">I", blob.ATTR_DATA << 24 | 4 + len(payload)) + payload + bytes(-len(payload) & 3)
        # However large: ubusd then ends the connection.
        head = struct.pack(">BBHII", 0, blob.DATA, self.serial, self.peer, 4 + len(body))
        try:
            self.connection.sock.sendall(head + body)
        except OSError:
            return False
        return True


def _alone(function):
    """Notes when two threads use the library at once."""

    def checked(*arguments):
        if not _inside.acquire(blocking=False):
            misuse.append(f"{function.__name__} while another thread is in pyubus")
            raise RuntimeError(misuse[-1])
        try:
            return function(*arguments)
        finally:
            _inside.release()

    return checked


def handled(number):
    """How the system treats a signal: "default", "ignored" or "caught", whatever Python believes."""
    with open("/proc/self/status") as file:
        masks = dict(line.split(":\t") for line in file.read().splitlines() if line.startswith("Sig"))
    if int(masks["SigIgn"], 16) >> number - 1 & 1:
        return "ignored"
    return "caught" if int(masks["SigCgt"], 16) >> number - 1 & 1 else "default"


def _dispose():
    global _connection
    for number in _taken:
        if handled(number) == "ignored":
            _libc.signal(number, signal.SIG_DFL)
    _taken.clear()
    if _connection:
        _connection.sock.close()
    _connection = None


@_alone
def connect(path):
    global _connection
    if _connection:
        raise RuntimeError("You are already connected to ubus.")
    # libubox' handlers only take a note: to those who wait for the signal it is as if it were ignored.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        if handled(number) == "default":
            _taken.append(number)
            _libc.signal(number, signal.SIG_IGN)
    try:
        _connection = _Connection(path)
    except OSError:
        _dispose()
        raise
    return True


@_alone
def disconnect(deregister=True):
    _connected()
    if deregister:
        misuse.append("deregistering waits for an ubusd that may be gone")
    _dispose()


def get_connected():
    return _connection is not None


@_alone
def add(path, methods):
    for method in methods.values():
        if sorted(method) != ["method", "signature"]:
            raise TypeError("Incorrect method arguments!")
    connection = _connected()
    signature = {name: methods[name]["signature"] for name in methods}
    attributes = [(blob.ATTR_OBJPATH, path), (blob.ATTR_SIGNATURE, signature)]
    status, data = connection.request(blob.ADD_OBJECT, attributes)
    if status:
        raise RuntimeError("ubus error occured: " + STATUS_NAMES[status].replace("_", " ").capitalize())
    connection.objects[data[blob.ATTR_OBJID]] = methods


@_alone
def loop(timeout):
    global loops
    loops += 1
    if timeout != 0:
        misuse.append("only loop(0) leaves children and SIGTERM alone")
    connection = _connected()
    if not connection.lost:
        connection.handle()


def _connected():
    if not _connection:
        raise RuntimeError("You are not connected to ubus.")
    return _connection
