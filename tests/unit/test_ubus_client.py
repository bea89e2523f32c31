import asyncio
import os
import socket

from bgpmesh import compat, ubus
from bgpmesh.stream import Stream
from bgpmesh.ubus import UbusError, blob, client
from bgpmesh.ubus.client import Bus

PATH = "/tmp/bgpmesh-test-ubus-%d" % compat.getpid()
US = 0x1234
OTHER = 0x90000001
OBJECT = 0xA0000002


class Ubusd:
    """The other side, played by each test: takes one connection at a time and reads and writes frames."""

    def __init__(self):
        self.listener = None
        self.connection = None

    def listen(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(compat.unix_address(PATH))
        self.listener.listen(5)
        self.listener.setblocking(False)

    async def accept(self):
        await compat.readable(self.listener)
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        self.connection = Stream(sock)
        await self.send(blob.HELLO, 0, US)

    async def send(self, kind, serial, peer, *attributes):
        await self.connection.write(blob.encode_frame(kind, serial, peer, attributes))

    async def read(self, wanted):
        """The next frame, which must be of that type: (sequence number, peer, attributes)."""
        header = await self.connection.read_exactly(blob.HEADER)
        kind, serial, peer, size = blob.decode_header(header)
        attributes = dict(blob.attributes(await self.connection.read_exactly(size)))
        for key in (blob.ATTR_DATA, blob.ATTR_SIGNATURE):
            if key in attributes:
                attributes[key] = blob.decode_table(attributes[key])
        assert kind == wanted, (kind, wanted, attributes)
        return serial, peer, attributes

    async def status(self, serial, peer, status, *more):
        await self.send(blob.STATUS, serial, peer, (blob.ATTR_STATUS, status), *more)

    async def lookup(self, path, identity):
        """Answers a LOOKUP of that path: the id, or that there is none where it is None."""
        serial, _, attributes = await self.read(blob.LOOKUP)
        assert attributes == {blob.ATTR_OBJPATH: path}
        if identity:
            await self.send(blob.DATA, serial, 0, (blob.ATTR_OBJPATH, path), (blob.ATTR_OBJID, identity))
        await self.status(serial, 0, 0 if identity else ubus.NOT_FOUND)

    async def answer(self, serial, peer, table, status=0):
        """What a callee answers."""
        if table is not None:
            await self.send(blob.DATA, serial, peer, (blob.ATTR_OBJID, peer), (blob.ATTR_DATA, table))
        await self.status(serial, peer, status, (blob.ATTR_OBJID, peer))

    async def add_object(self, identity, status=0):
        """Answers an ADD_OBJECT; the path and the signature that came with it."""
        serial, peer, attributes = await self.read(blob.ADD_OBJECT)
        if not status:
            await self.send(blob.DATA, serial, peer, (blob.ATTR_OBJID, identity))
        await self.status(serial, peer, status)
        return attributes.get(blob.ATTR_OBJPATH), attributes.get(blob.ATTR_SIGNATURE)

    async def register(self, identity):
        """Answers the registration of a listener; its pattern."""
        serial, peer, attributes = await self.read(blob.INVOKE)
        assert peer == 1 and attributes[blob.ATTR_METHOD] == "register"
        data = attributes[blob.ATTR_DATA]
        assert data["object"] == identity - (1 << 32)
        await self.status(serial, peer, 0)
        return data["pattern"]

    async def invoke(self, serial, method, data, *more):
        attributes = [(blob.ATTR_OBJID, OBJECT), (blob.ATTR_METHOD, method), (blob.ATTR_USER, "root")]
        attributes += [(blob.ATTR_DATA, data)] if data is not None else []
        await self.send(blob.INVOKE, serial, OTHER, *(attributes + list(more)))

    async def reply(self):
        """The answer of our side to an INVOKE: (sequence number, status, table or None)."""
        table = None
        header = await self.connection.read_exactly(blob.HEADER)
        kind, serial, peer, size = blob.decode_header(header)
        attributes = dict(blob.attributes(await self.connection.read_exactly(size)))
        if kind == blob.DATA:
            assert peer == OTHER and attributes[blob.ATTR_OBJID] == OBJECT
            table = blob.decode_table(attributes[blob.ATTR_DATA])
            first = serial
            serial, peer, attributes = await self.read(blob.STATUS)
            assert serial == first
        assert peer == OTHER and attributes[blob.ATTR_OBJID] == OBJECT
        return serial, attributes[blob.ATTR_STATUS], table

    def drop(self):
        self.connection.close()

    def close(self):
        self.listener.close()
        os.remove(PATH)


def play(script, prepare=None):
    """Runs script(ubusd, bus, said) with a running Bus, `said` being its reports; `prepare(bus)` before."""

    async def main():
        said = []
        ubusd = Ubusd()
        ubusd.listen()
        bus = Bus(PATH, said.append)
        if prepare:
            prepare(bus)
        running = asyncio.create_task(bus.run())
        try:
            await ubusd.accept()
            await asyncio.wait_for(script(ubusd, bus, said), 120)
        finally:
            running.cancel()
            ubusd.close()
            if ubusd.connection:
                ubusd.drop()
            for _ in range(5):
                await asyncio.sleep(0)

    asyncio.run(main())


async def until(condition):
    """Waits for a condition, a minute at most."""
    deadline = compat.monotonic() + 60
    while not condition():
        assert compat.monotonic() < deadline, "it did not come about within a minute"
        await asyncio.sleep(0.005)


async def failure(call):
    try:
        await call
    except UbusError as error:
        return error
    raise AssertionError("the call did not fail")


def start(call):
    """Lets a call run; a list that holds its result or UbusError once it ended."""
    result = []

    async def run():
        try:
            result.append(await call)
        except UbusError as error:
            result.append(error)

    asyncio.create_task(run())
    return result


async def end(result):
    await until(lambda: result)
    return result[0]


def test_it_is_the_bus_where_there_is_no_pyubus():
    try:
        from ubus import connect  # noqa: F401
    except ImportError:
        assert type(ubus.open_bus()) is Bus


def test_a_call_looks_the_object_up_once():
    async def script(ubusd, bus, said):
        for number in range(2):
            result = start(bus.call("service", "list", {"name": "a"} if number else None))
            if number == 0:
                await ubusd.lookup("service", OTHER)
            serial, peer, attributes = await ubusd.read(blob.INVOKE)
            assert peer == OTHER
            assert attributes == {
                blob.ATTR_OBJID: OTHER,
                blob.ATTR_METHOD: "list",
                blob.ATTR_DATA: {"name": "a"} if number else {},
            }
            await ubusd.answer(serial, peer, {"number": number})
            assert await end(result) == {"number": number}
        assert said == []

    play(script)


def test_an_object_that_restarted_is_looked_up_anew():
    async def script(ubusd, bus, said):
        result = start(bus.call("service", "list"))
        await ubusd.lookup("service", OTHER)
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        await ubusd.status(serial, peer, ubus.NOT_FOUND)
        await ubusd.lookup("service", OTHER + 1)
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        assert peer == OTHER + 1
        await ubusd.answer(serial, peer, None)
        assert await end(result) == {}

    play(script)


def test_not_found_said_by_the_callee_is_the_answer():
    async def script(ubusd, bus, said):
        result = start(bus.call("service", "delete", {"name": "a"}))
        await ubusd.lookup("service", OTHER)
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        await ubusd.answer(serial, peer, None, ubus.NOT_FOUND)
        error = await end(result)
        assert error.status == ubus.NOT_FOUND and error.name == "NOT_FOUND"
        assert str(error) == "service delete: NOT_FOUND"

    play(script)


def test_an_unknown_object_is_not_found():
    async def script(ubusd, bus, said):
        result = start(bus.call("nothing", "x"))
        await ubusd.lookup("nothing", None)
        assert (await end(result)).status == ubus.NOT_FOUND

    play(script)


def test_an_answer_that_cannot_be_read_is_a_parse_error():
    async def script(ubusd, bus, said):
        result = start(bus.call("service", "list"))
        await ubusd.lookup("service", OTHER)
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        await ubusd.answer(serial, peer, b"\x83\0\0\x09abcd")
        assert (await end(result)).name == "PARSE_ERROR"

    play(script)


def test_no_answer_is_a_timeout_and_a_late_one_is_ignored():
    async def script(ubusd, bus, said):
        result = start(bus.call("service", "list", timeout=1))
        await ubusd.lookup("service", OTHER)
        late, peer, _ = await ubusd.read(blob.INVOKE)
        error = await end(result)
        assert error.status == ubus.TIMEOUT and str(error) == "service list: TIMEOUT"
        result = start(bus.call("service", "list"))
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        await ubusd.answer(late, peer, {"late": True})
        await ubusd.answer(serial, peer, {"late": False})
        assert await end(result) == {"late": False}

    play(script)


def test_answers_find_their_calls_in_any_order():
    async def script(ubusd, bus, said):
        first = start(bus.call("service", "list"))
        await ubusd.lookup("service", OTHER)
        one = await ubusd.read(blob.INVOKE)
        second = start(bus.call("service", "list"))
        two = await ubusd.read(blob.INVOKE)
        await ubusd.answer(two[0], two[1], {"n": 2})
        await ubusd.answer(one[0], one[1], {"n": 1})
        assert await end(second) == {"n": 2}
        assert await end(first) == {"n": 1}

    play(script)


def test_arguments_that_ubus_cannot_carry_fail_the_call():
    async def script(ubusd, bus, said):
        result = start(bus.call("service", "list", {"x": b"bytes"}))
        await ubusd.lookup("service", OTHER)
        error = await end(result)
        assert error.status == ubus.INVALID_ARGUMENT and "bytes" in str(error)

    play(script)


def test_a_call_waits_for_ubusd():
    async def main():
        bus = Bus(PATH, lambda text: None)
        running = asyncio.create_task(bus.run())
        error = await failure(bus.call("service", "list", timeout=0.05))
        assert error.status == ubus.CONNECTION_FAILED
        assert str(error) == "service list: no ubusd at %s: CONNECTION_FAILED" % PATH
        result = start(bus.call("service", "list"))
        ubusd = Ubusd()
        ubusd.listen()
        try:
            await asyncio.wait_for(ubusd.accept(), 60)
            await ubusd.lookup("service", OTHER)
            serial, peer, _ = await ubusd.read(blob.INVOKE)
            await ubusd.answer(serial, peer, {"a": 1})
            assert await end(result) == {"a": 1}
        finally:
            running.cancel()
            ubusd.close()
            ubusd.drop()

    asyncio.run(main())


def test_everything_is_registered_anew_after_ubusd_restarted():
    events = []

    def prepare(bus):
        bus.publish("bgpmesh", {"status": ({"a": blob.STRING}, lambda args: {})})
        bus.listen("x.*", lambda name, data: events.append(name))
        bus.subscribe("network.interface", lambda name, data: events.append(name))

    async def registration(ubusd, first):
        assert await ubusd.add_object(OBJECT + 7) == (None, None)
        assert await ubusd.register(OBJECT + 7) == "x.*"
        assert await ubusd.register(OBJECT + 7) == "ubus.object.add"
        assert await ubusd.add_object(OBJECT) == ("bgpmesh", {"status": {"a": blob.STRING}})
        assert await ubusd.add_object(OBJECT + 1) == (None, None)
        await ubusd.lookup("network.interface", OTHER if first else OTHER + 3)
        serial, peer, attributes = await ubusd.read(blob.SUBSCRIBE)
        assert attributes == {
            blob.ATTR_OBJID: OBJECT + 1,
            blob.ATTR_TARGET: OTHER if first else OTHER + 3,
        }
        await ubusd.status(serial, peer, 0)

    async def script(ubusd, bus, said):
        assert not bus.connected
        await registration(ubusd, True)
        await until(lambda: bus.connected)
        result = start(bus.call("service", "list"))
        await ubusd.read(blob.LOOKUP)
        ubusd.drop()
        assert (await end(result)).status == ubus.CONNECTION_FAILED
        assert not bus.connected
        result = start(bus.call("network.interface", "dump"))
        await ubusd.accept()
        await registration(ubusd, False)
        # The id that was found for the subscription is not a call's to know: it looks for itself.
        await ubusd.lookup("network.interface", OTHER + 3)
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        await ubusd.answer(serial, peer, {"interface": []})
        assert await end(result) == {"interface": []}
        await until(lambda: bus.connected)
        assert len(said) == 1 and "closed the connection" in said[0]

    play(script, prepare)


def test_a_connection_that_ends_while_registering_leaves_nothing_behind():
    def prepare(bus):
        bus.publish("bgpmesh", {})
        bus.publish("luci.bgpmesh", {})

    async def script(ubusd, bus, said):
        await ubusd.read(blob.ADD_OBJECT)
        ubusd.drop()
        await ubusd.accept()
        # The last answer and the end come at once.
        await ubusd.add_object(OBJECT)
        ubusd.drop()
        await ubusd.accept()
        assert (await ubusd.add_object(OBJECT))[0] == "bgpmesh"
        assert (await ubusd.add_object(OBJECT + 1))[0] == "luci.bgpmesh"
        await until(lambda: bus.connected)
        result = start(bus.call("service", "list"))
        await ubusd.lookup("service", OTHER)
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        await ubusd.answer(serial, peer, {"a": 1})
        assert await end(result) == {"a": 1}
        assert all(["closed the connection" in text for text in said])

    play(script, prepare)


def test_an_object_that_ubusd_refuses_is_reported_and_the_rest_works():
    async def script(ubusd, bus, said):
        await ubusd.add_object(0, ubus.INVALID_ARGUMENT)
        await until(lambda: bus.connected)
        assert said == ["ubus: object bgpmesh: INVALID_ARGUMENT: trying again"]
        bus.publish("luci.bgpmesh", {})
        assert await ubusd.add_object(0, ubus.INVALID_ARGUMENT) == ("bgpmesh", {})
        assert await ubusd.add_object(OBJECT) == ("luci.bgpmesh", {})
        assert len(said) == 1

    play(script, lambda bus: bus.publish("bgpmesh", {}))


def test_an_object_that_ubusd_adds_late_is_served():
    async def script(ubusd, bus, said):
        late, peer, _ = await ubusd.read(blob.ADD_OBJECT)
        await until(lambda: said)
        # It is asked for again before the first answer comes; ubusd has the object by then.
        again, _, _ = await ubusd.read(blob.ADD_OBJECT)
        await ubusd.send(blob.DATA, late, peer, (blob.ATTR_OBJID, OBJECT))
        await ubusd.status(late, peer, 0)
        await ubusd.status(again, peer, ubus.INVALID_ARGUMENT)
        await ubusd.invoke(7, "status", {})
        assert await ubusd.reply() == (7, 0, {"a": 1})
        # And now it is complete: nothing but what is new is registered.
        bus.publish("luci.bgpmesh", {})
        assert await ubusd.add_object(OBJECT + 1) == ("luci.bgpmesh", {})

    before, client._STEP = client._STEP, 1
    try:
        play(script, lambda bus: bus.publish("bgpmesh", {"status": ({}, lambda args: {"a": 1})}))
    finally:
        client._STEP = before


def serving(methods, script):
    async def with_object(ubusd, bus, said):
        await ubusd.add_object(OBJECT)
        await script(ubusd, bus, said)

    play(with_object, lambda bus: bus.publish("bgpmesh", {name: ({}, methods[name]) for name in methods}))


def test_methods_are_served():
    def fails(args):
        raise KeyError("oops")

    def denied(args):
        raise UbusError(6, "not for you")

    async def coroutine(args):
        await asyncio.sleep(0)
        return {"async": True}

    methods = {"echo": lambda args: args, "none": lambda args: None, "fails": fails, "denied": denied}
    methods["coroutine"] = coroutine
    methods["strange"] = lambda args: {"x": b"bytes"}

    async def script(ubusd, bus, said):
        async def ask(serial, method, data):
            await ubusd.invoke(serial, method, data)
            return await ubusd.reply()

        data = {"a": [1, None], "ubus_rpc_session": "00"}
        assert await ask(5, "echo", data) == (5, 0, data)
        assert await ask(6, "echo", None) == (6, 0, {})
        assert await ask(65535, "none", {}) == (65535, 0, None)
        assert await ask(0, "coroutine", {}) == (0, 0, {"async": True})
        assert await ask(7, "denied", {}) == (7, 6, None)
        assert await ask(8, "unknown", {}) == (8, ubus.METHOD_NOT_FOUND, None)
        assert await ask(9, "echo", b"\x83\0\0\x09abcd") == (9, ubus.INVALID_ARGUMENT, None)
        assert said == []
        assert await ask(10, "fails", {}) == (10, ubus.UNKNOWN_ERROR, None)
        assert len(said) == 1 and "bgpmesh fails" in said[0] and "oops" in said[0]
        assert await ask(11, "strange", {}) == (11, ubus.UNKNOWN_ERROR, None)
        assert len(said) == 2 and "bytes" in said[1]
        assert await ask(12, "echo", data) == (12, 0, data)

    serving(methods, script)


def test_a_slow_method_holds_nothing_up_and_their_number_is_bounded():
    proceed = []

    async def slow(args):
        await until(lambda: proceed)
        return {}

    async def script(ubusd, bus, said):
        await ubusd.invoke(100, "slow", {})
        await ubusd.invoke(101, "quick", {})
        assert await ubusd.reply() == (101, 0, {"quick": True})
        for serial in range(1, 16):
            await ubusd.invoke(serial, "slow", {})
        await ubusd.invoke(200, "quick", {})
        assert await ubusd.reply() == (200, ubus.UNKNOWN_ERROR, None)
        proceed.append(True)
        answered = []
        for _ in range(16):
            serial, status, _ = await ubusd.reply()
            assert status == 0
            answered.append(serial)
        assert sorted(answered) == list(range(1, 16)) + [100]
        await ubusd.invoke(201, "quick", {})
        assert await ubusd.reply() == (201, 0, {"quick": True})

    serving({"slow": slow, "quick": lambda args: {"quick": True}}, script)


def test_events_reach_who_listens_for_them():
    heard = []

    def listener(label):
        def handler(name, data):
            heard.append((label, name, data))
            if label == "bad":
                raise ValueError("bad listener")

        return handler

    def prepare(bus):
        bus.listen("bgpmesh.peer", listener("bad"))
        bus.listen("bgpmesh.*", listener("all"))
        bus.listen("bgpmesh.peer.*", listener("none"))

    async def script(ubusd, bus, said):
        await ubusd.add_object(OBJECT)
        for pattern in ("bgpmesh.peer", "bgpmesh.*", "bgpmesh.peer.*"):
            assert await ubusd.register(OBJECT) == pattern
        attributes = [
            (blob.ATTR_OBJID, OBJECT),
            (blob.ATTR_METHOD, "bgpmesh.peer"),
            (blob.ATTR_DATA, {"a": 1}),
        ]
        await ubusd.send(blob.INVOKE, 1, 0, *attributes)
        await until(lambda: len(heard) == 2)
        assert heard == [("bad", "bgpmesh.peer", {"a": 1}), ("all", "bgpmesh.peer", {"a": 1})]
        assert len(said) == 1 and "bad listener" in said[0]
        result = start(bus.send_event("bgpmesh.session", {"state": "up"}))
        serial, peer, attributes = await ubusd.read(blob.INVOKE)
        assert (peer, attributes[blob.ATTR_OBJID], attributes[blob.ATTR_METHOD]) == (1, 1, "send")
        assert attributes[blob.ATTR_DATA] == {"id": "bgpmesh.session", "data": {"state": "up"}}
        await ubusd.status(serial, peer, 0)
        assert await end(result) is None

    play(script, prepare)


def test_a_subscription_follows_the_object():
    heard = []

    async def subscribed(ubusd, target):
        await ubusd.lookup("network.interface", target)
        serial, peer, attributes = await ubusd.read(blob.SUBSCRIBE)
        assert attributes[blob.ATTR_TARGET] == target
        await ubusd.status(serial, peer, 0)

    async def added(ubusd, path, identity):
        data = {"id": identity - (1 << 32), "path": path}
        attributes = [
            (blob.ATTR_OBJID, OBJECT + 1),
            (blob.ATTR_METHOD, "ubus.object.add"),
            (blob.ATTR_DATA, data),
        ]
        await ubusd.send(blob.INVOKE, 1, 0, *attributes)

    async def script(ubusd, bus, said):
        await ubusd.add_object(OBJECT + 1)
        assert await ubusd.register(OBJECT + 1) == "ubus.object.add"
        await ubusd.add_object(OBJECT)
        await ubusd.lookup("network.interface", None)
        await until(lambda: bus.connected)
        await added(ubusd, "network.interface", OTHER)
        await subscribed(ubusd, OTHER)
        await ubusd.invoke(3, "interface.update", {"interface": "lan"}, (blob.ATTR_NO_REPLY, True))
        await ubusd.invoke(4, "interface.update", {"interface": "wan"})
        assert await ubusd.reply() == (4, 0, None)
        assert heard == [
            ("interface.update", {"interface": "lan"}),
            ("interface.update", {"interface": "wan"}),
        ]
        await ubusd.send(blob.UNSUBSCRIBE, 1, 0, (blob.ATTR_OBJID, OBJECT), (blob.ATTR_TARGET, OTHER))
        await ubusd.lookup("network.interface", None)
        await added(ubusd, "network.interface", OTHER + 1)
        await subscribed(ubusd, OTHER + 1)
        assert said == []

    play(
        script, lambda bus: bus.subscribe("network.interface", lambda name, data: heard.append((name, data)))
    )


def test_a_frame_beyond_all_limits_ends_the_connection_and_another_begins():
    async def script(ubusd, bus, said):
        await until(lambda: bus.connected)
        await ubusd.connection.write(b"\0\2\0\0" + bytes(4) + b"\0\x20\0\0")
        await ubusd.accept()
        assert len(said) == 1 and "2097148 bytes" in said[0]

    play(script)


def test_a_frame_that_cannot_be_read_is_passed_over():
    async def script(ubusd, bus, said):
        await until(lambda: bus.connected)
        await ubusd.connection.write(b"\0\2\0\1" + bytes(4) + b"\0\0\0\x09\x03\0\0\x09\0")
        result = start(bus.call("service", "list"))
        await ubusd.lookup("service", OTHER)
        serial, peer, _ = await ubusd.read(blob.INVOKE)
        await ubusd.answer(serial, peer, {"a": 1})
        assert await end(result) == {"a": 1}
        assert len(said) == 1 and "cannot be read" in said[0]

    play(script)
