"""The agent's connection to ubusd where CPython has pyubus: PyPI's `ubus`, OpenWrt's python3-ubus. CPython alone.

pyubus serves the objects, and client.Bus, on a connection of its own, does the rest, because pyubus cannot:

- Calls: pyubus' `call` holds the interpreter's lock until the callee answers. A callee that hangs would stand
  the whole agent still, its signals included; and of all statuses only a text would be left. Commands call,
  too: Ctrl-C ends them while they wait.
- Notifications (`service`, `network.interface`): pyubus knows none. They come by client.Bus, as on MicroPython.
  They only make the agent quicker: what is not heard is found by the polls of agent.py and converge.py.
- Events: `send` would wait for ubusd as `call` does, and `listen` is left with its sender.

What pyubus does not do by itself and is done here:

- It tells neither its descriptor nor that ubusd went away. The descriptor is found in /proc/self/fd, the
  asyncio loop waits for it, and at its end all is begun anew.
- A handler must have answered when it returns. Therefore a thread has pyubus handle what came (`loop(0)`),
  and waits there while the method runs in the asyncio loop, as under client.Bus. One request is answered at
  a time; the others wait, LIMIT seconds for each at most. pyubus is not thread-safe, so everything else
  happens while that thread rests.
- At connect libubox takes SIGTERM and SIGCHLD where nobody handles them, which is undone. Its loop, which reaps
  every child, is never run.

What only ubusd itself answers (`connect`, `add`) is waited for with the asyncio loop at a standstill: about
a millisecond, and begun only while client.Bus has ubusd's answers on the other connection.

What stays: the arguments of a call must be exactly those of the signature, else ubus' INVALID_ARGUMENT; a method
that fails answers UNKNOWN_ERROR, whatever it raises, and pyubus prints the traceback.
"""

import asyncio
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import ubus

from . import blob, client

LIMIT = 15
"""Seconds that a method may take; then its caller is told UNKNOWN_ERROR, and it goes on without one."""
_PAUSE = 1  # seconds until another connection is tried
_STEP = 5  # seconds until an object that ubusd refused is tried again
_FOLDER = "/proc/self/fd/"


class Bus:
    """As client.Bus, with the objects served by pyubus. One of them in a process, run by its main thread."""

    def __init__(self, path=client.SOCKET, report=print):
        self._path = path
        self._report = report
        self._client = client.Bus(path, report)
        self._objects = {}  # path -> methods as pyubus takes them: what should be on the bus
        self._added = []  # paths that ubusd has
        self._refused = []  # paths whose refusal has been reported
        self._loop = None  # the asyncio loop that run() runs in
        self._wake = asyncio.Event()  # there is something to read, or to add
        self._serving = False
        self._ending = False
        self._answer = None  # the method that runs, as the thread waits for it

    @property
    def connected(self):
        """Whether ubusd is there and has been given our objects and listeners."""
        return self._client.connected and (self._serving or not self._objects)

    def publish(self, path, methods):
        """Serves an object, as client.Bus.publish does, to those who give the signature's arguments exactly."""
        self._objects[path] = {
            name: {"signature": signature, "method": self._method("%s %s" % (path, name), handler)}
            for name, (signature, handler) in methods.items()
        }
        self._wake.set()

    def listen(self, pattern, handler):
        """As client.Bus.listen."""
        self._client.listen(pattern, handler)

    def subscribe(self, path, handler):
        """As client.Bus.subscribe."""
        self._client.subscribe(path, handler)

    async def call(self, path, method, args=None, timeout=5):
        """As client.Bus.call."""
        return await self._client.call(path, method, args, timeout)

    async def send_event(self, name, data):
        """As client.Bus.send_event."""
        await self._client.send_event(name, data)

    async def run(self):
        """Connects, registers and serves; when ubusd goes away, all that again. Ends by being cancelled."""
        self._loop = asyncio.get_running_loop()
        if self._objects:
            self._report("ubus: the objects are served by pyubus")
        await asyncio.gather(self._client.run(), self._serve())

    async def _serve(self):
        quiet = False
        while True:
            if not self._objects:
                await self._wake.wait()
            await self._client.ready.wait()
            try:
                await self._session()
            except EOFError:
                quiet = False  # the client says it
            except (OSError, RuntimeError) as error:
                if not quiet:
                    self._report("ubus: %s: %s: trying again" % (self._path, str(error).strip()))
                quiet = True
            await asyncio.sleep(_PAUSE)

    async def _session(self):
        self._added = []
        self._answer = None
        self._ending = False
        thread = ThreadPoolExecutor(1)
        sock = None
        try:
            sock = self._connect()
            while True:
                complete = self._add_missing()
                # Also what came while an object was added, which pyubus keeps until it is asked again.
                await self._loop.run_in_executor(thread, ubus.loop, 0)
                self._serving = True
                await self._wait(sock, complete)
        finally:
            self._serving = False
            self._ending = True
            if self._answer:
                self._answer.cancel()
            if sock:
                _shut_down(sock)  # or the thread may wait for an ubusd that stands still
            thread.shutdown()
            if sock:
                sock.close()
            if ubus.get_connected():
                ubus.disconnect(False)

    def _connect(self):
        """Connects; a socket on pyubus' own connection, to be waited for and looked at but not read."""
        before = _sockets()
        ubus.connect(self._path)
        _give_signals_back()
        for descriptor, _ in _sockets() - before:
            sock = socket.socket(fileno=os.dup(descriptor))
            # A look-up of a name, in a thread of its own, may have opened one as well.
            if sock.family == socket.AF_UNIX and sock.getpeername() == self._path:
                return sock
            sock.close()
        raise OSError("the socket of pyubus is not in " + _FOLDER)

    def _add_missing(self):
        """Adds the objects that ubusd does not have; whether it has all of them now."""
        for path in [path for path in self._objects if path not in self._added]:
            try:
                ubus.add(path, self._objects[path])
            except RuntimeError as error:
                if path not in self._refused:
                    self._refused.append(path)
                    self._report("ubus: object %s: %s: trying again" % (path, error))
            else:
                self._added.append(path)
                if path in self._refused:
                    self._refused.remove(path)
        return len(self._added) == len(self._objects)

    async def _wait(self, sock, complete):
        """Waits for ubusd, for something to add, or to try again to add. Raises EOFError."""
        self._loop.add_reader(sock, self._wake.set)
        again = None if complete else self._loop.call_later(_STEP, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            self._loop.remove_reader(sock)
            if again:
                again.cancel()
        self._wake.clear()
        try:
            if sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return
        except BlockingIOError:
            return  # it was not ubusd
        except ConnectionResetError:
            pass
        raise EOFError("ubusd closed the connection")

    def _method(self, text, handler):
        """What pyubus calls, in the thread, for a method of ours."""

        def method(request, args):
            answer = self._answer = asyncio.run_coroutine_threadsafe(_answer(handler, args), self._loop)
            if self._ending:
                answer.cancel()
            try:
                result = answer.result(LIMIT)
            except TimeoutError:
                raise TimeoutError("%s: no answer within %d s" % (text, LIMIT)) from None
            if result is not None:
                request.reply(result)

        return method


async def _answer(handler, args):
    result = handler(args)
    if asyncio.iscoroutine(result):
        result = await result
    if result is not None:
        # Raises for what ubusd would not take: it would drop us, and the caller would hear nothing.
        blob.encode_frame(blob.DATA, 0, 0, [(blob.ATTR_OBJID, 0), (blob.ATTR_DATA, result)])
    return result


def _sockets():
    """The sockets of this process: (descriptor, name of the inode) of each."""
    found = set()
    for name in os.listdir(_FOLDER):
        try:
            inode = os.readlink(_FOLDER + name)
        except OSError:
            continue  # closed since; the folder itself is one
        if inode.startswith("socket:"):
            found.add((int(name), inode))
    return found


def _shut_down(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # ubusd did it first


def _give_signals_back():
    """Has the signals that libubox took go where they went before."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
