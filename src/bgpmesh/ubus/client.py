"""The agent's connection to ubusd: calls, objects served, events and notifications, kept up for ever."""

import asyncio
import errno

from .. import compat, stream
from . import (
    CONNECTION_FAILED,
    INVALID_ARGUMENT,
    METHOD_NOT_FOUND,
    NOT_FOUND,
    OK,
    PARSE_ERROR,
    TIMEOUT,
    UNKNOWN_ERROR,
    UbusError,
    blob,
)

SOCKET = "/var/run/ubus/ubus.sock"
_EVENTS = 1  # the object of ubusd itself that registers listeners and sends events
_ADDED = "ubus.object.add"
_SLACK = 65536  # ubusd adds user and group to what it passes on, so a frame can exceed the limit
_TASKS = 16  # methods that run at once, at most
_OUTBOX = 4 * blob.LIMIT  # bytes that wait for ubusd to take them, at most
_STEP = 5  # seconds for one step of registering, and until what ubusd refused is tried again
_SLOWEST = 5  # seconds between attempts to connect, at most


class Bus:
    """One connection to ubusd. Nothing happens before `run` runs."""

    def __init__(self, path=SOCKET, report=print):
        """`report(text)` is told what goes wrong where no caller can be told."""
        self.connected = False
        """Whether ubusd is there and has been given our objects and listeners."""
        self.ready = asyncio.Event()
        """Set while connected."""
        self._path = path
        self._report = report
        self._objects = []  # of _Object: what should be on the bus
        self._listener = _Object("", None, None, self._event)  # hears the events of all of _listeners
        self._listeners = []  # (pattern, handler)
        self._changed = asyncio.Event()  # there is something to register
        self._tasks = []  # the methods that run now
        self._serial = 0
        self._live = False
        self._begin()

    def _begin(self):
        self._waiting = {}  # _Answer by sequence number
        self._ids = {}  # ids of others' objects, by path
        self._mine = {}  # _Object by id
        self._patterns = []  # that ubusd sends us the events of
        self._outbox = []
        self._outbox_size = 0
        self._filled = asyncio.Event()
        for served in self._objects:
            served.id = served.target = None
        self._listener.id = None

    def publish(self, path, methods):
        """Serves an object: methods = {method: ({argument: type constant of blob}, handler)}.

        handler(args) returns a dict, or None for an answer without data, or is a coroutine function that
        does; raising UbusError answers its status. The signature is shown to those who list the object;
        the arguments come as the caller sent them.
        """
        self._add(_Object(path, methods, None, self._invoked))

    def listen(self, pattern, handler):
        """Calls handler(event, data) for each event of that name; a `*` at its end stands for any rest."""
        self._listeners.append((pattern, handler))
        self._changed.set()

    def subscribe(self, path, handler):
        """Calls handler(notification, data) for what the object at `path` notifies, whenever it is there."""

        def notified(served, serial, peer, attributes):
            self._deliver(handler, attributes)
            if blob.ATTR_NO_REPLY not in attributes:
                self._reply(served, serial, peer, OK, None)

        self._add(_Object("", None, path, notified))

    def _add(self, served):
        self._objects.append(served)
        self._changed.set()

    async def call(self, path, method, args=None, timeout=5):
        """What a method of an object answers, as a dict. `timeout` in seconds, the wait for ubusd included.

        Raises UbusError: the callee's status, NOT_FOUND without such an object, TIMEOUT without an answer,
        CONNECTION_FAILED without ubusd.
        """
        text = "%s %s" % (path, method)
        deadline = compat.monotonic() + timeout
        await self._wait_ready(text, deadline)
        for cached in (self._ids.get(path), None):
            identity = cached or await self._lookup(path, text, deadline)
            self._ids[path] = identity
            try:
                return await self._invoke(identity, method, args, text, deadline)
            except _Gone:
                pass  # its process restarted since, and it has another id
        raise UbusError(NOT_FOUND, text)

    async def send_event(self, name, data):
        """Sends an event to whoever listens, data being a dict. Raises UbusError."""
        text = "event %s" % name
        deadline = compat.monotonic() + _STEP
        await self._wait_ready(text, deadline)
        await self._invoke(_EVENTS, "send", {"id": name, "data": data}, text, deadline)

    async def run(self):
        """Connects, registers and serves; when ubusd goes away, all that again. Ends by being cancelled."""
        delay = 0.2
        quiet = False
        while True:
            try:
                connection = await stream.open_unix(self._path, 5)
                try:
                    await _greeting(connection)
                    await self._session(connection)
                finally:
                    connection.close()
                    if self.connected:
                        self.connected = quiet = False
                        delay = 0.2
            except (OSError, EOFError, blob.BlobError, MemoryError) as error:
                if not quiet:
                    self._report("ubus: %s: %s: trying again" % (self._path, error))
                quiet = True
            await asyncio.sleep(delay)
            delay = min(delay * 2, _SLOWEST)

    async def _session(self, connection):
        self._begin()
        self._live = True
        self._changed.set()
        tasks = [asyncio.create_task(self._write(connection)), asyncio.create_task(self._register())]
        try:
            while True:
                kind, serial, peer, body = await _read_frame(connection)
                self._dispatch(kind, serial, peer, body)
                await asyncio.sleep(0)  # a flood of frames must not keep the rest of the agent from running
        finally:
            self._live = False
            self.ready.clear()
            for task in tasks:
                task.cancel()
            for serial in sorted(self._waiting):
                self._waiting[serial].finish(CONNECTION_FAILED, True)

    async def _write(self, connection):
        # One task writes all frames, so that no caller who gives up leaves half of one behind.
        while True:
            await self._filled.wait()
            self._filled.clear()
            while self._outbox:
                frame = self._outbox.pop(0)
                try:
                    await connection.write(frame)
                except OSError:
                    return  # the reader finds the connection ended, too
                self._outbox_size -= len(frame)

    def _send(self, kind, serial, peer, attributes):
        frame = blob.encode_frame(kind, serial, peer, attributes)
        if self._outbox_size + len(frame) > _OUTBOX:
            raise blob.BlobError("ubusd has not taken the last %d bytes yet" % self._outbox_size)
        self._outbox_size += len(frame)
        self._outbox.append(frame)
        self._filled.set()

    # Requests

    async def _wait_ready(self, text, deadline):
        if not self.connected:
            try:
                await asyncio.wait_for(self.ready.wait(), max(0, deadline - compat.monotonic()))
            except asyncio.TimeoutError:
                raise UbusError(CONNECTION_FAILED, "%s: no ubusd at %s" % (text, self._path))

    async def _request(self, kind, peer, attributes, text, deadline, served=None):
        """The attributes of each DATA frame that answers a request. Raises UbusError.

        `served` is the object of ours that the request brings onto the bus.
        """
        if not self._live:
            raise UbusError(CONNECTION_FAILED, text)
        waiting = self._waiting
        while True:
            serial = self._serial = self._serial % 65535 + 1
            if serial not in waiting:
                break
        answer = waiting[serial] = _Answer(served)
        late = False
        try:
            self._send(kind, serial, peer, attributes)
            await asyncio.wait_for(answer.done.wait(), max(0, deadline - compat.monotonic()))
        except asyncio.TimeoutError:
            # An object that ubusd adds late is on the bus all the same, and it would refuse to add it again.
            late = served and len([one for one in waiting.values() if one.served is served]) == 1
            raise UbusError(TIMEOUT, text)
        except blob.BlobError as error:
            raise UbusError(INVALID_ARGUMENT, "%s: %s" % (text, error))
        finally:
            if not late:
                waiting.pop(serial, None)
        if answer.status == NOT_FOUND and not answer.by_callee:
            raise _Gone(NOT_FOUND, text)
        if answer.status:
            raise UbusError(answer.status, text)
        return answer.data

    async def _lookup(self, path, text, deadline):
        found = await self._request(blob.LOOKUP, 0, [(blob.ATTR_OBJPATH, path)], text, deadline)
        if not found or blob.ATTR_OBJID not in found[0]:
            raise _Gone(NOT_FOUND, text)  # it is there, but hidden from us
        return found[0][blob.ATTR_OBJID]

    async def _invoke(self, identity, method, args, text, deadline):
        attributes = [(blob.ATTR_OBJID, identity), (blob.ATTR_METHOD, method), (blob.ATTR_DATA, args or {})]
        result = {}
        for answered in await self._request(blob.INVOKE, identity, attributes, text, deadline):
            try:
                result.update(blob.decode_table(answered.get(blob.ATTR_DATA, b"")))
            except blob.BlobError as error:
                raise UbusError(PARSE_ERROR, "%s: %s" % (text, error))
        return result

    # Registering: at each change what is on the bus is compared with what should be

    async def _register(self):
        while self._live:
            self._changed.clear()
            complete = await self._register_events()
            for served in list(self._objects):
                complete = await self._register_object(served) and complete
            if not self._live:
                return  # cancelled, which the wait_for of CPython 3.11 can swallow
            if not self.connected:
                self.connected = True
                self.ready.set()
            try:
                await asyncio.wait_for(self._changed.wait(), None if complete else _STEP)
            except asyncio.TimeoutError:
                pass

    async def _register_events(self):
        wanted = [pattern for pattern, _ in self._listeners]
        if any([served.watched for served in self._objects]):
            wanted.append(_ADDED)
        missing = [pattern for pattern in wanted if pattern not in self._patterns]
        try:
            if missing and self._listener.id is None:
                await self._request(blob.ADD_OBJECT, 0, [], "listener", compat.monotonic() + _STEP, self._listener)
            for pattern in missing:
                # A u32 travels as blobmsg's int32, which is signed.
                identity = self._listener.id - ((self._listener.id & 0x80000000) << 1)
                arguments = {"object": identity, "pattern": pattern}
                text = "events %s" % pattern
                await self._invoke(_EVENTS, "register", arguments, text, compat.monotonic() + _STEP)
                self._patterns.append(pattern)
        except UbusError as error:
            return self._refused(self._listener, error)
        return True

    async def _register_object(self, served):
        text = "object %s" % (served.path or "subscriber")
        try:
            if served.id is None:
                attributes = []
                if served.path:
                    signatures = {name: served.methods[name][0] for name in served.methods}
                    attributes = [(blob.ATTR_OBJPATH, served.path), (blob.ATTR_SIGNATURE, signatures)]
                await self._request(blob.ADD_OBJECT, 0, attributes, text, compat.monotonic() + _STEP, served)
            if served.watched and served.target is None:
                await self._watch(served, "subscribe %s" % served.watched, compat.monotonic() + _STEP)
        except UbusError as error:
            return self._refused(served, error)
        served.complained = False
        return True

    async def _watch(self, served, text, deadline):
        try:
            # Noted before it is asked for: ubusd may take it back before this task runs again.
            served.target = await self._lookup(served.watched, text, deadline)
            attributes = [(blob.ATTR_OBJID, served.id), (blob.ATTR_TARGET, served.target)]
            await self._request(blob.SUBSCRIBE, 0, attributes, text, deadline)
        except _Gone:
            served.target = None  # the event tells when it comes
        except UbusError:
            served.target = None
            raise

    def _refused(self, served, error):
        if self._live and not served.complained:
            self._report("ubus: %s: trying again" % error)
        served.complained = True
        return False

    # What comes in

    def _dispatch(self, kind, serial, peer, body):
        try:
            attributes = dict(blob.attributes(body))
        except blob.BlobError as error:
            self._report("ubus: a frame of type %d that cannot be read: %s" % (kind, error))
            return
        identity = attributes.get(blob.ATTR_OBJID)
        if kind == blob.STATUS or kind == blob.DATA:
            answer = self._waiting.get(serial)
            if not answer:
                return
            if kind == blob.STATUS:
                self._waiting.pop(serial)
                answer.finish(attributes.get(blob.ATTR_STATUS, UNKNOWN_ERROR), identity is not None)
                return
            answer.data.append(attributes)
            if answer.served and identity is not None:
                answer.served.id = identity
                self._mine[identity] = answer.served
            return
        served = self._mine.get(identity)
        if served and kind == blob.INVOKE:
            served.receive(served, serial, peer, attributes)
        elif served and kind == blob.UNSUBSCRIBE and served.target == attributes.get(blob.ATTR_TARGET):
            served.target = None
            self._changed.set()

    def _event(self, _, serial, peer, attributes):
        name = attributes.get(blob.ATTR_METHOD, "")
        if name == _ADDED:
            self._changed.set()
        for pattern, handler in list(self._listeners):
            if name == pattern or pattern[-1:] == "*" and name.startswith(pattern[:-1]):
                self._deliver(handler, attributes)

    def _deliver(self, handler, attributes):
        name = attributes.get(blob.ATTR_METHOD, "")
        try:
            handler(name, blob.decode_table(attributes.get(blob.ATTR_DATA, b"")))
        except Exception as error:
            self._report("ubus: %s: %r" % (name, error))

    def _invoked(self, served, serial, peer, attributes):
        if len(self._tasks) >= _TASKS:
            self._reply(served, serial, peer, UNKNOWN_ERROR, None)
        else:
            self._tasks.append(asyncio.create_task(self._serve(served, serial, peer, attributes)))

    async def _serve(self, served, serial, peer, attributes):
        method = attributes.get(blob.ATTR_METHOD)
        mine = self._mine
        status = OK
        result = None
        try:
            if method not in served.methods:
                raise UbusError(METHOD_NOT_FOUND, "")
            try:
                args = blob.decode_table(attributes.get(blob.ATTR_DATA, b""))
            except blob.BlobError as error:
                raise UbusError(INVALID_ARGUMENT, str(error))
            result = served.methods[method][1](args)
            if hasattr(result, "send"):
                result = await result
        except UbusError as error:
            status = error.status
            result = None
        except Exception as error:
            status = UNKNOWN_ERROR
            self._report("ubus: %s %s: %r" % (served.path, method, error))
        finally:
            self._tasks.remove(asyncio.current_task())
        if mine is self._mine:  # else the one who asked went with the last connection
            self._reply(served, serial, peer, status, result)

    def _reply(self, served, serial, peer, status, result):
        try:
            if status == OK and result is not None:
                try:
                    attributes = [(blob.ATTR_OBJID, served.id), (blob.ATTR_DATA, result)]
                    self._send(blob.DATA, serial, peer, attributes)
                except (blob.BlobError, MemoryError) as error:
                    status = UNKNOWN_ERROR
                    self._report("ubus: answer of %s: %s" % (served.path, error))
            attributes = [(blob.ATTR_STATUS, status), (blob.ATTR_OBJID, served.id)]
            self._send(blob.STATUS, serial, peer, attributes)
        except blob.BlobError as error:
            self._report("ubus: answer of %s: %s" % (served.path, error))


class _Gone(UbusError):
    """ubusd itself said NOT_FOUND: there is no such object. The same status can come from a callee."""


class _Object:
    """One object of ours: served under a path, or without one to receive events or notifications."""

    def __init__(self, path, methods, watched, receive):
        self.path = path
        self.methods = methods
        self.watched = watched  # path of the object it subscribes to
        self.receive = receive  # called with (this, sequence number, peer, attributes) of an INVOKE
        self.id = None  # where ubusd knows it
        self.target = None  # id of the object subscribed to, while it is there
        self.complained = False


class _Answer:
    """What has come so far for one request."""

    def __init__(self, served):
        self.served = served
        self.data = []
        self.status = OK
        self.by_callee = False
        self.done = asyncio.Event()

    def finish(self, status, by_callee):
        self.status = status
        self.by_callee = by_callee
        self.done.set()


async def _greeting(connection):
    try:
        kind, _, _, _ = await asyncio.wait_for(_read_frame(connection), 5)
    except asyncio.TimeoutError:
        raise OSError(errno.ETIMEDOUT, "no greeting within 5 s")
    if kind != blob.HELLO:
        raise blob.BlobError("a frame of type %d where ubusd greets" % kind)


async def _read_frame(connection):
    kind, serial, peer, size = blob.decode_header(await connection.read_exactly(blob.HEADER))
    if size > blob.LIMIT + _SLACK:
        raise blob.BlobError("a frame of %d bytes, ubus has %d at most" % (size, blob.LIMIT))
    return kind, serial, peer, await connection.read_exactly(size)
