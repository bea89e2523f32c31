"""ubusd: routes calls, events and notifications between the processes that connect (ubus: ubusd_proto.c)."""

import asyncio
import grp
import os
import pwd
import random
import socket
import struct

from bgpmesh.ubus import INVALID_ARGUMENT, METHOD_NOT_FOUND, NOT_FOUND, OK, PERMISSION_DENIED, UbusError, blob

INVALID_COMMAND = 1
EVENTS = 1
SYSTEM_OBJECTS = 1024


class Client:
    """One connection."""

    def __init__(self, identity, writer):
        self.id = identity
        self.writer = writer
        sock = writer.get_extra_info("socket")
        peer = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.user = name_of(pwd.getpwuid, peer[1])
        self.group = name_of(grp.getgrgid, peer[2])

    def send_raw(self, kind, serial, peer, body):
        """Sends a frame, or drops it without a word where 1 MiB waits for the client already."""
        waiting = self.writer.transport.get_write_buffer_size()
        if self.writer.is_closing() or waiting and waiting + 12 + len(body) > blob.LIMIT:
            return
        self.writer.write(struct.pack(">BBHII", 0, kind, serial & 0xFFFF, peer, 4 + len(body)) + body)

    def send(self, kind, serial, peer, *attributes):
        self.send_raw(
            kind, serial, peer, blob.encode_frame(kind, serial & 0xFFFF, peer, attributes)[blob.HEADER :]
        )


class Object:
    """Something with an id: of a client, or of this process where `client` is None and `handler` answers."""

    def __init__(self, path, client, signature, type_id, handler=None):
        self.id = 0
        self.path = path
        self.client = client
        self.signature = signature  # bytes; None where none was given
        self.type_id = type_id
        self.handler = handler
        self.subscribers = []
        self.targets = []
        self.patterns = []
        self.serial = 0


class Ubusd:
    """The bus at one socket."""

    def __init__(self, path, log):
        self.path = path
        self.log = log
        self.clients = {}
        self.objects = {}
        self.types = {}
        self.own = []
        self.server = None
        self.event_serial = 0

    async def start(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = await asyncio.start_unix_server(self._connected, self.path, backlog=128)
        os.chmod(self.path, 0o666)
        for served in self.own:
            self._insert(served)

    async def stop(self):
        self.server.close()
        for client in list(self.clients.values()):
            client.writer.transport.abort()
        self.objects.clear()
        self.types.clear()
        for served in self.own:
            served.subscribers.clear()
        if os.path.exists(self.path):
            os.unlink(self.path)
        while self.clients:
            await asyncio.sleep(0.01)

    async def restart(self):
        """What a crash of ubusd and its respawn after a second look like."""
        self.log("ubusd restarts")
        await self.stop()
        await asyncio.sleep(1)
        await self.start()

    def publish(self, path, methods):
        """An object of this process: methods = {name: ({argument: type}, handler(args) -> dict or None)}."""

        def handler(method, args):
            if method not in methods:
                raise UbusError(METHOD_NOT_FOUND, method)
            return methods[method][1](args)

        signature = blob.encode_table(tuple((name, methods[name][0]) for name in methods))
        served = Object(path, None, signature, self._type(signature), handler)
        self.own.append(served)
        if self.server:
            self._insert(served)
        return served

    def withdraw(self, served):
        self.own.remove(served)
        self._remove(served)

    def notify(self, served, name, data):
        """A notification of an object of this process to its subscribers."""
        served.serial += 1
        for subscriber in list(served.subscribers):
            self._forward(
                subscriber, name, blob.encode_table(data), served.serial, 0, None, (blob.ATTR_NO_REPLY, True)
            )

    def event(self, name, payload, sender=None):
        """Sends an event, `payload` being an encoded table, to the listeners but the sender."""
        for listener in list(self.objects.values()):
            if (
                listener.client is not None
                and listener.client is not sender
                and matches(listener.patterns, name)
            ):
                self.event_serial += 1
                listener.client.send(
                    blob.INVOKE,
                    self.event_serial,
                    0,
                    (blob.ATTR_OBJID, listener.id),
                    (blob.ATTR_METHOD, name),
                    (blob.ATTR_DATA, payload),
                )

    # Connections

    async def _connected(self, reader, writer):
        client = Client(self._new_id(self.clients), writer)
        self.clients[client.id] = client
        client.send(blob.HELLO, 0, client.id)
        try:
            while True:
                kind, serial, peer, size = blob.decode_header(await reader.readexactly(blob.HEADER))
                if size + 4 > blob.LIMIT:
                    self.log("ubusd: a client sent %d bytes: dropped" % size)
                    break
                body = await reader.readexactly(size)
                status = self._handle(client, kind, serial, peer, body)
                if status is not None:
                    client.send(blob.STATUS, serial, peer, (blob.ATTR_STATUS, status))
        except (asyncio.IncompleteReadError, OSError, blob.BlobError):
            pass
        finally:
            del self.clients[client.id]
            for gone in [each for each in self.objects.values() if each.client is client]:
                self._remove(gone)
            writer.transport.abort()

    def _handle(self, client, kind, serial, peer, body):
        """The status to answer with, None for none."""
        handlers = {
            blob.PING: self._ping,
            blob.LOOKUP: self._lookup,
            blob.INVOKE: self._invoke,
            blob.ADD_OBJECT: self._add_object,
            blob.REMOVE_OBJECT: self._remove_object,
            blob.SUBSCRIBE: self._subscribe,
            blob.UNSUBSCRIBE: self._unsubscribe,
            blob.NOTIFY: self._notify,
        }
        try:
            attributes = dict(blob.attributes(body))
        except blob.BlobError:
            return INVALID_ARGUMENT
        if kind in (blob.STATUS, blob.DATA):
            return self._response(client, kind, serial, peer, body, attributes)
        if kind not in handlers:
            return INVALID_COMMAND
        return handlers[kind](client, serial, peer, attributes)

    def _ping(self, client, serial, peer, attributes):
        client.send(blob.DATA, serial, peer, *attributes.items())
        return OK

    def _lookup(self, client, serial, peer, attributes):
        pattern = attributes.get(blob.ATTR_OBJPATH, "*")
        if not pattern:
            return INVALID_ARGUMENT
        found = [each for each in self.objects.values() if each.path and matches([pattern], each.path)]
        for each in sorted(found, key=lambda one: one.path):
            if each.signature is not None:
                client.send(
                    blob.DATA,
                    serial,
                    peer,
                    (blob.ATTR_OBJPATH, each.path),
                    (blob.ATTR_OBJID, each.id),
                    (blob.ATTR_OBJTYPE, each.type_id),
                    (blob.ATTR_SIGNATURE, each.signature),
                )
        return OK if found or blob.ATTR_OBJPATH not in attributes else NOT_FOUND

    def _invoke(self, client, serial, peer, attributes):
        if blob.ATTR_METHOD not in attributes or blob.ATTR_OBJID not in attributes:
            return INVALID_ARGUMENT
        method = attributes[blob.ATTR_METHOD]
        if attributes[blob.ATTR_OBJID] == EVENTS:
            return self._event_object(client, method, attributes.get(blob.ATTR_DATA))
        served = self.objects.get(attributes[blob.ATTR_OBJID])
        if not served:
            return NOT_FOUND
        if served.client:
            self._forward(served, method, attributes.get(blob.ATTR_DATA), serial, client.id, client)
            return None
        status = OK
        try:
            if blob.ATTR_DATA not in attributes:
                raise UbusError(INVALID_ARGUMENT, method)
            result = served.handler(method, blob.decode_table(attributes[blob.ATTR_DATA]))
            if result is not None:
                client.send(
                    blob.DATA, serial, served.id, (blob.ATTR_OBJID, served.id), (blob.ATTR_DATA, result)
                )
        except UbusError as error:
            status = error.status
        except blob.BlobError:
            status = INVALID_ARGUMENT
        client.send(blob.STATUS, serial, served.id, (blob.ATTR_STATUS, status), (blob.ATTR_OBJID, served.id))
        return None

    def _forward(self, served, method, payload, serial, peer, caller, *first):
        attributes = list(first) + [(blob.ATTR_OBJID, served.id), (blob.ATTR_METHOD, method)]
        attributes.append((blob.ATTR_USER, caller.user if caller else "root"))
        attributes.append((blob.ATTR_GROUP, caller.group if caller else "root"))
        body = blob.encode_frame(0, 0, 0, attributes)[blob.HEADER :]
        if payload is not None:
            # Not through encode_frame: by what is added here a frame may come to exceed the limit.
            body += (
                struct.pack(">I", blob.ATTR_DATA << 24 | 4 + len(payload))
                + payload
                + bytes(-len(payload) & 3)
            )
        served.client.send_raw(blob.INVOKE, serial, peer, body)

    def _response(self, client, kind, serial, peer, body, attributes):
        served = self.objects.get(attributes.get(blob.ATTR_OBJID))
        needed = blob.ATTR_STATUS if kind == blob.STATUS else blob.ATTR_DATA
        if served and served.client is client and needed in attributes and peer in self.clients:
            self.clients[peer].send_raw(kind, serial, served.id, body)

    def _add_object(self, client, serial, peer, attributes):
        path = attributes.get(blob.ATTR_OBJPATH)
        signature = attributes.get(blob.ATTR_SIGNATURE)
        type_id = attributes.get(blob.ATTR_OBJTYPE)
        if path is not None and any(each.path == path for each in self.objects.values()):
            return INVALID_ARGUMENT
        if type_id is not None:
            signature = self.types.get(type_id)
        elif signature is not None:
            try:
                blob.decode_table(signature)
            except blob.BlobError:
                return INVALID_ARGUMENT
            type_id = self._type(signature)
        served = Object(path, client, signature, type_id)
        self._insert(served)
        answer = [(blob.ATTR_OBJID, served.id)]
        if blob.ATTR_SIGNATURE in attributes:
            answer.append((blob.ATTR_OBJTYPE, type_id))
        client.send(blob.DATA, serial, peer, *answer)
        return OK

    def _remove_object(self, client, serial, peer, attributes):
        if blob.ATTR_OBJID not in attributes:
            return INVALID_ARGUMENT
        served = self.objects.get(attributes[blob.ATTR_OBJID])
        if not served:
            return NOT_FOUND
        if served.client is not client:
            return PERMISSION_DENIED
        answer = [(blob.ATTR_OBJID, served.id)]
        if served.type_id is not None:
            answer.append((blob.ATTR_OBJTYPE, served.type_id))
        client.send(blob.DATA, serial, peer, *answer)
        self._remove(served)
        return OK

    def _subscribe(self, client, serial, peer, attributes):
        status, subscriber, target = self._pair(client, attributes)
        if status == OK:
            target.subscribers.append(subscriber)
            subscriber.targets.append(target)
            if len(target.subscribers) == 1:
                self._active(target)
        return status

    def _unsubscribe(self, client, serial, peer, attributes):
        status, subscriber, target = self._pair(client, attributes)
        if status == OK and target not in subscriber.targets:
            status = NOT_FOUND
        if status == OK:
            self._part(subscriber, target)
        return status

    def _pair(self, client, attributes):
        if blob.ATTR_OBJID not in attributes or blob.ATTR_TARGET not in attributes:
            return INVALID_ARGUMENT, None, None
        subscriber = self.objects.get(attributes[blob.ATTR_OBJID])
        target = self.objects.get(attributes[blob.ATTR_TARGET])
        if not subscriber or not target:
            return NOT_FOUND, None, None
        if subscriber.client is not client or target.client is client:
            return INVALID_ARGUMENT, None, None
        return OK, subscriber, target

    def _notify(self, client, serial, peer, attributes):
        if blob.ATTR_METHOD not in attributes or blob.ATTR_OBJID not in attributes:
            return INVALID_ARGUMENT
        served = self.objects.get(attributes[blob.ATTR_OBJID])
        if not served:
            return NOT_FOUND
        if served.client is not client:
            return PERMISSION_DENIED
        silent = attributes.get(blob.ATTR_NO_REPLY, False)
        if not silent:
            ids = b"".join(struct.pack(">II", 8, each.id) for each in served.subscribers)
            answer = ((blob.ATTR_OBJID, served.id), (blob.ATTR_SUBSCRIBERS, ids), (blob.ATTR_STATUS, OK))
            client.send(blob.STATUS, serial, peer, *answer)
        first = ((blob.ATTR_NO_REPLY, True),) if silent else ()
        method = attributes[blob.ATTR_METHOD]
        for subscriber in list(served.subscribers):
            self._forward(
                subscriber, method, attributes.get(blob.ATTR_DATA), serial, client.id, client, *first
            )
        return None

    def _event_object(self, client, method, payload):
        if method not in ("register", "send"):
            return INVALID_COMMAND
        try:
            args = blob.decode_table(payload or b"")
        except blob.BlobError:
            return INVALID_ARGUMENT
        if method == "send":
            name, data = args.get("id"), args.get("data")
            if not isinstance(name, str) or not isinstance(data, dict):
                return INVALID_ARGUMENT
            if name.startswith("ubus."):
                return PERMISSION_DENIED
            self.event(name, blob.encode_table(data), client)
            return OK
        identity, pattern = args.get("object"), args.get("pattern")
        # ubusd's policy takes an int32 and nothing else.
        if not isinstance(pattern, str) or not isinstance(identity, int) or not -(2**31) <= identity < 2**31:
            return INVALID_ARGUMENT
        listener = self.objects.get(identity & 0xFFFFFFFF)
        if 0 <= identity < SYSTEM_OBJECTS or not pattern:
            return PERMISSION_DENIED
        if not listener:
            return NOT_FOUND
        if listener.client is not client:
            return PERMISSION_DENIED
        listener.patterns.append(pattern)
        return OK

    # Objects

    def _new_id(self, taken):
        while True:
            identity = random.randrange(SYSTEM_OBJECTS, 2**32)
            if identity not in taken:
                return identity

    def _type(self, signature):
        identity = self._new_id(self.types)
        self.types[identity] = signature
        return identity

    def _insert(self, served):
        served.id = self._new_id(self.objects)
        self.objects[served.id] = served
        if served.path:
            self._announce("ubus.object.add", served)

    def _remove(self, served):
        if self.objects.get(served.id) is not served:
            return
        for target in list(served.targets):
            self._part(served, target)
        for subscriber in list(served.subscribers):
            subscriber.client.send(
                blob.UNSUBSCRIBE, 1, 0, (blob.ATTR_OBJID, subscriber.id), (blob.ATTR_TARGET, served.id)
            )
            self._part(subscriber, served)
        del self.objects[served.id]
        if served.path:
            self._announce("ubus.object.remove", served)

    def _part(self, subscriber, target):
        subscriber.targets.remove(target)
        target.subscribers.remove(subscriber)
        if not target.subscribers:
            self._active(target)

    def _active(self, target):
        if target.client:
            target.serial += 1
            attributes = ((blob.ATTR_OBJID, target.id), (blob.ATTR_ACTIVE, bool(target.subscribers)))
            target.client.send(blob.NOTIFY, target.serial, 0, *attributes)

    def _announce(self, name, served):
        signed = served.id - (1 << 32) if served.id >> 31 else served.id
        self.event(name, blob.encode_table((("id", signed), ("path", served.path))))


def name_of(database, number):
    """The name of a user or group id, or the number as text."""
    try:
        return database(number)[0]
    except KeyError:
        return str(number)


def matches(patterns, name):
    """Whether one of the patterns is the name, or with a `*` at its end the beginning of it."""
    return any(name == each or each.endswith("*") and name.startswith(each[:-1]) for each in patterns)
