"""The bus through pyubus, on a running stand-in for ubusd.

The library is fake_pyubus.py, and where the real one is installed (OpenWrt's python3-ubus) that one as well: each
test runs with both. Callers are our own client and the stand-in's `ubus` command.
"""

import asyncio
import importlib.util
import os
import signal
import socket
import sys
import threading

import fake_pyubus
import pytest
from standin_process import INIT, Standin, until
from test_standin import alive, command_line, failure, instance_of, service
from test_status import running as running_agent

from bgpmesh import cli, compat, status, ubus
from bgpmesh.ubus import blob, client

sys.modules.pop("ubus", None)  # this folder may have been taken for it
try:
    from ubus import connect  # noqa: F401

    REAL = sys.modules["ubus"]
except ImportError:
    REAL = None
_spec = importlib.util.spec_from_file_location("standins_ubus", INIT.with_name("ubus.py"))
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)

LIBRARIES = [fake_pyubus] + ([REAL] if REAL else [])


@pytest.fixture(params=LIBRARIES, ids=["fake", "real"][: len(LIBRARIES)])
def pyubus(request, monkeypatch):
    """Our module on that library, and nothing left of it afterwards."""
    monkeypatch.setitem(sys.modules, "ubus", request.param)
    monkeypatch.delitem(sys.modules, "bgpmesh.ubus.pyubus", raising=False)
    module = importlib.import_module("bgpmesh.ubus.pyubus")
    monkeypatch.setattr(module, "_PAUSE", 0.05)
    del fake_pyubus.misuse[:]
    threads = threading.active_count()
    yield module
    assert not request.param.get_connected()
    assert fake_pyubus.misuse == []
    assert threading.active_count() == threads
    del sys.modules["bgpmesh.ubus.pyubus"]


def play(pyubus, path, script, methods=None, said=None):
    """Runs script(bus, caller) with both connected, `methods` being served as object bgpmesh."""

    async def main():
        bus = pyubus.Bus(path, (lambda text: None) if said is None else said.append)
        if methods:
            bus.publish("bgpmesh", {name: ({}, methods[name]) for name in methods})
        caller = client.Bus(path)
        running = [asyncio.create_task(each.run()) for each in (bus, caller)]
        try:
            await until(lambda: bus.connected and caller.connected)
            return await asyncio.wait_for(script(bus, caller), 120)
        finally:
            for task in running:
                task.cancel()

    return asyncio.run(main())


async def never(args):
    await asyncio.sleep(3600)


async def slow(args):
    await asyncio.sleep(1)
    return {"slow": True}


def test_the_agents_objects(pyubus, standin):
    agent = running_agent()
    left = []

    async def leave():
        await asyncio.sleep(0.1)
        left.append(True)

    agent.leave = leave

    async def script(bus, caller):
        agent.bus = bus
        status.publish(agent)
        await until(lambda: listed("luci.bgpmesh"))
        assert (await caller.call("bgpmesh", "status"))["node"] == "alfa"
        peers = await caller.call("bgpmesh", "peers")
        assert [row["routes_received"] for row in peers["peers"]] == [1, 0, 0, 0]
        session = {"ubus_rpc_session": "00"}  # which uhttpd adds to every call
        assert await caller.call("luci.bgpmesh", "peers", session) == peers
        assert (await caller.call("luci.bgpmesh", "status", session))["node"] == "alfa"
        assert await failure(caller.call("luci.bgpmesh", "status")) == "INVALID_ARGUMENT"
        assert await failure(caller.call("bgpmesh", "status", session)) == "INVALID_ARGUMENT"
        assert await caller.call("bgpmesh", "sync") == {"queued": True} and agent.synced == 1
        assert await caller.call("bgpmesh", "leave") == {"left": True} and left == [True]
        shown = (await asyncio.to_thread(command_line, standin, "-v", "list", "luci.bgpmesh")).stdout
        assert '"peers":{"ubus_rpc_session":"String"}' in shown

    async def listed(path):
        return path in (await asyncio.to_thread(command_line, standin, "list")).stdout.split()

    play(pyubus, standin.socket, script)


def test_answers_of_all_kinds(pyubus, empty_bus, capfd):
    def fails(args):
        raise KeyError("oops")

    async def denied(args):
        raise ubus.UbusError(ubus.PERMISSION_DENIED, "not for you")

    methods = {
        "all": lambda args: {"a": [1, None, True, "ž", 1 << 40, 0.5, {}], "b": {"c": {}}},
        "none": lambda args: None,
        "fails": fails,
        "denied": denied,
        "strange": lambda args: {"x": b"bytes"},
        "large": lambda args: {"x": "x" * 1000000},
        "larger": lambda args: {"x": "x" * blob.LIMIT},
    }

    async def script(bus, caller):
        assert await caller.call("bgpmesh", "all") == methods["all"]({})
        assert await caller.call("bgpmesh", "none") == {}
        assert len((await caller.call("bgpmesh", "large"))["x"]) == 1000000
        for name in ("fails", "denied", "strange", "larger"):
            assert await failure(caller.call("bgpmesh", name)) == "UNKNOWN_ERROR"
        assert await failure(caller.call("bgpmesh", "nothing")) == "METHOD_NOT_FOUND"
        assert await caller.call("bgpmesh", "none") == {} and bus.connected

    play(pyubus, empty_bus, script, methods)
    assert "KeyError: 'oops'" in capfd.readouterr().err


def test_a_method_may_wait_while_the_agent_goes_on(pyubus, empty_bus):
    async def asks(args):
        # What the agent asks others for while it is asked itself
        return await asks.bus.call("other", "echo", {"n": 1})

    async def script(bus, caller):
        asks.bus = bus
        caller.publish("other", {"echo": ({"n": blob.INT32}, lambda args: args)})
        calls = [asyncio.create_task(caller.call("bgpmesh", "slow")) for _ in range(3)]
        assert await caller.call("bgpmesh", "asks") == {"n": 1}
        ticks = 0
        while not all(call.done() for call in calls):
            await asyncio.sleep(0.01)
            ticks += 1
        assert [call.result() for call in calls] == [{"slow": True}] * 3
        assert ticks > 10

    play(pyubus, empty_bus, script, {"slow": slow, "asks": asks})


def test_many_calls_at_once_are_all_answered(pyubus, empty_bus):
    async def script(bus, caller):
        answers = await asyncio.gather(*[caller.call("bgpmesh", "echo", timeout=60) for _ in range(500)])
        assert answers == [{"a": 1}] * 500

    play(pyubus, empty_bus, script, {"echo": lambda args: {"a": 1}})


def test_a_method_that_never_answers_is_given_up(pyubus, empty_bus, monkeypatch, capfd):
    monkeypatch.setattr(pyubus, "LIMIT", 0.3)

    async def script(bus, caller):
        call = asyncio.create_task(caller.call("bgpmesh", "never"))
        assert await caller.call("bgpmesh", "echo") == {"a": 1}
        assert await failure(call) == "UNKNOWN_ERROR"

    play(pyubus, empty_bus, script, {"never": never, "echo": lambda args: {"a": 1}})
    assert "bgpmesh never: no answer within" in capfd.readouterr().err


def test_a_callee_that_never_answers_holds_nothing_up(pyubus, empty_bus):
    async def script(bus, caller):
        caller.publish("other", {"never": ({}, never)})
        await caller.send_event("x", {})
        hanging = asyncio.create_task(bus.call("other", "never", timeout=3))
        assert await caller.call("bgpmesh", "echo") == {"a": 1}
        assert not hanging.done()
        assert await failure(hanging) == "TIMEOUT"
        assert await failure(bus.call("nothing", "x")) == "NOT_FOUND"

    play(pyubus, empty_bus, script, {"echo": lambda args: {"a": 1}})


def test_after_a_restart_of_ubusd_all_is_as_before(pyubus, standin):
    heard = []
    said = []

    async def script(bus, caller):
        bus.listen("bgpmesh.*", lambda name, data: heard.append(name))
        bus.subscribe("service", lambda name, data: heard.append(name))
        for _ in range(3):
            assert await caller.call("bgpmesh", "echo") == {"a": 1}
            standin.process.send_signal(signal.SIGUSR1)
            await until(lambda: not bus.connected and not caller.connected)
            assert await failure(bus.call("service", "list", timeout=0)) == "CONNECTION_FAILED"
            await until(lambda: bus.connected and caller.connected)
        assert await caller.call("bgpmesh", "echo") == {"a": 1}
        await caller.send_event("bgpmesh.peer", {})
        await bus.call("service", "set", service("svc"))
        await until(lambda: "bgpmesh.peer" in heard and "instance.start" in heard)
        pid = (await instance_of(bus))["pid"]
        await bus.call("service", "delete", {"name": "svc"})
        await until(lambda: not alive(pid))

    play(pyubus, standin.socket, script, {"echo": lambda args: {"a": 1}}, said)
    assert said[0] == "ubus: the objects are served by pyubus"
    assert len(said) == 4 and all("trying again" in text for text in said[1:])


def test_a_request_in_the_middle_of_a_restart_is_forgotten(pyubus, standin):
    begun = []

    async def noted(args):
        begun.append(True)
        return await slow(args)

    async def script(bus, caller):
        call = asyncio.create_task(caller.call("bgpmesh", "slow"))
        await until(lambda: begun)
        standin.process.send_signal(signal.SIGUSR1)
        assert await failure(call) == "CONNECTION_FAILED"
        await until(lambda: not bus.connected)
        await until(lambda: bus.connected)
        assert await caller.call("bgpmesh", "slow") == {"slow": True}

    play(pyubus, standin.socket, script, {"slow": noted})


def test_what_is_published_later_or_refused_at_first_is_served(pyubus, empty_bus, monkeypatch):
    monkeypatch.setattr(pyubus, "_STEP", 0.1)
    said = []

    async def script(bus, caller):
        with socket.socket(socket.AF_UNIX) as taken:
            taken.connect(empty_bus)
            attributes = [(blob.ATTR_OBJPATH, "one"), (blob.ATTR_SIGNATURE, {})]
            taken.sendall(blob.encode_frame(blob.ADD_OBJECT, 1, 0, attributes))
            assert taken.recv(12)
            bus.publish("one", {"who": ({}, lambda args: {"who": "we"})})
            bus.publish("two", {"who": ({}, lambda args: {"who": "we"})})
            assert await until(lambda: who(caller, "two")) == "we"
            await until(lambda: len(said) > 1)
        assert await until(lambda: who(caller, "one")) == "we"

    async def who(caller, path):
        try:
            return (await caller.call(path, "who", timeout=0.2))["who"]
        except ubus.UbusError:
            return None

    play(pyubus, empty_bus, script, {"echo": lambda args: {}}, said)
    assert said[1:] == ["ubus: object one: ubus error occured: Invalid argument: trying again"]


def test_a_request_that_comes_while_an_object_is_added_is_answered(pyubus, empty_bus, monkeypatch):
    caller = []

    def add(path, methods):
        if path == "two":
            # ubusd has passed the request on when it answers the ping.
            asking = tool.Connection(empty_bus, 10)
            identity = asking.lookup("one")[0][blob.ATTR_OBJID]
            invoke = [(blob.ATTR_OBJID, identity), (blob.ATTR_METHOD, "echo"), (blob.ATTR_DATA, {})]
            asking.sock.sendall(blob.encode_frame(blob.INVOKE, 99, identity, invoke))
            asking.request(blob.PING, 0, [])
            caller.append(asking)
        add.library(path, methods)

    add.library = sys.modules["ubus"].add
    monkeypatch.setattr(sys.modules["ubus"], "add", add)

    async def script(bus, _):
        bus.publish("one", {"echo": ({}, lambda args: {"a": 1})})
        bus.publish("two", {"echo": ({}, lambda args: {})})
        await until(lambda: caller)
        kind, serial, _, answer = await asyncio.to_thread(caller[0].read)
        assert (kind, serial, blob.decode_table(answer[blob.ATTR_DATA])) == (blob.DATA, 99, {"a": 1})
        caller[0].sock.close()

    play(pyubus, empty_bus, script, {"echo": lambda args: {}})


def test_ubusd_may_come_later(pyubus, tmp_path, monkeypatch):
    late = Standin(tmp_path)
    said = []

    async def main():
        bus = pyubus.Bus(late.socket, said.append)
        bus.publish("bgpmesh", {"echo": ({}, lambda args: {"a": 1})})
        running = asyncio.create_task(bus.run())
        await until(lambda: len(said) == 2)
        assert not bus.connected
        await asyncio.to_thread(late.start, {}, (), ["--bus-only"])
        await until(lambda: bus.connected)
        assert await bus.call("bgpmesh", "echo") == {"a": 1}
        running.cancel()

    try:
        asyncio.run(main())
    finally:
        assert late.stop() == 0


def test_signals_and_children_are_left_to_python(pyubus, standin):
    numbers = (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)
    before = [fake_pyubus.handled(number) for number in numbers]
    assert before == ["default", "default", "ignored"]

    async def script(bus, caller):
        assert [fake_pyubus.handled(number) for number in numbers] == before
        runs = [compat.run(["/bin/sh", "-c", f"exit {number}"], 10) for number in range(5)]
        calls = [caller.call("bgpmesh", "echo") for _ in range(20)]
        results = await asyncio.gather(*runs, *calls)
        assert [status for status, _ in results[:5]] == [0, 1, 2, 3, 4]
        standin.process.send_signal(signal.SIGUSR1)
        await until(lambda: not bus.connected)
        assert [fake_pyubus.handled(number) for number in numbers] == before
        await until(lambda: bus.connected)

    play(pyubus, standin.socket, script, {"echo": lambda args: {"a": 1}})
    assert [fake_pyubus.handled(number) for number in numbers] == before


def test_an_idle_bus_does_nothing(pyubus, empty_bus, monkeypatch):
    async def script(bus, caller):
        await caller.call("bgpmesh", "echo")
        await asyncio.sleep(0.5)
        loops, used = fake_pyubus.loops, sum(os.times()[:2])
        await asyncio.sleep(1)
        assert fake_pyubus.loops == loops
        assert sum(os.times()[:2]) - used < 0.3

    play(pyubus, empty_bus, script, {"echo": lambda args: {}})


def test_a_bus_ends_at_once_whatever_it_does(pyubus, empty_bus):
    async def main(pause):
        bus = pyubus.Bus(empty_bus, lambda text: None)
        bus.publish("bgpmesh", {"never": ({}, never)})
        caller = client.Bus(empty_bus)
        tasks = [asyncio.create_task(each.run()) for each in (bus, caller)]
        tasks += [asyncio.create_task(caller.call("bgpmesh", "never")) for _ in range(3)]
        await asyncio.sleep(pause)
        begun = compat.monotonic()
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert compat.monotonic() - begun < 5
        assert not bus.connected
        for task in tasks:
            task.cancel()

    for pause in (0, 0.001, 0.003, 0.01, 0.1, 0.3):
        asyncio.run(main(pause))


def test_a_command_asks_the_agent(pyubus, empty_bus, monkeypatch, capsys):
    monkeypatch.setattr(client, "SOCKET", empty_bus)
    monkeypatch.setattr(ubus, "open_bus", lambda report: pyubus.Bus(empty_bus, report))

    async def script(bus, caller):
        assert await asyncio.to_thread(cli.main, ["sync"]) == 0

    play(pyubus, empty_bus, script, {"sync": lambda args: {"queued": True}})
    assert capsys.readouterr().out == "queued\n"


def test_pyubus_is_used_where_it_is_installed(pyubus, monkeypatch, tmp_path):
    assert type(ubus.open_bus()) is pyubus.Bus
    (tmp_path / "ubus").mkdir()
    without = [path for path in sys.path if not REAL or path != os.path.dirname(REAL.__file__)]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *without])
    monkeypatch.delitem(sys.modules, "ubus")
    assert type(ubus.open_bus()) is client.Bus
