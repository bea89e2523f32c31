"""Our client against the stand-in, and the stand-in against what procd and ubusd do."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from standin_process import INIT, LAN, Standin, until, wait

from bgpmesh.ubus import UbusError, blob

SLEEP = ["/bin/sleep", "1000"]


def service(name, **instance):
    return {"name": name, "instances": {"main": {"command": SLEEP, **instance}}}


async def instance_of(bus, name="svc"):
    listed = await bus.call("service", "list", {"name": name})
    return listed.get(name, {}).get("instances", {}).get("main")


async def failure(call):
    with pytest.raises(UbusError) as caught:
        await call
    return caught.value.name


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_service_is_set_listed_and_deleted(standin):
    async def script(bus):
        assert await bus.call("service", "set", service("svc", respawn=["3600", "5", "0"])) == {}
        found = await instance_of(bus)
        pid = found.pop("pid")
        assert found == {
            "running": True,
            "command": SLEEP,
            "term_timeout": 5,
            "respawn": {"threshold": 3600, "timeout": 5, "retry": 0},
        }
        assert alive(pid)
        await bus.call("service", "delete", {"name": "svc"})
        await until(lambda: not alive(pid))
        assert await bus.call("service", "list") == {}
        assert await failure(bus.call("service", "delete", {"name": "svc"})) == "NOT_FOUND"
        assert await failure(bus.call("service", "set", {})) == "INVALID_ARGUMENT"
        assert await failure(bus.call("service", "nothing")) == "METHOD_NOT_FOUND"

    standin.run(script)


def test_set_leaves_alone_what_did_not_change(standin):
    watched = standin.folder / "watched"
    watched.write_text("one")
    instance = {"respawn": ["3600", "1", "0"], "env": {"A": "1"}, "file": [str(watched)]}

    async def script(bus):
        starts = []
        bus.subscribe("service", lambda name, data: name == "instance.start" and starts.append(name))
        await until(lambda: bus.connected)

        async def change(count, **changes):
            instance.update(changes)
            await bus.call("service", "set", service("svc", **instance))
            await until(lambda: len(starts) == count)

        await change(1)
        await change(1)
        await change(1, data={"firewall": {"x": "y"}})
        await change(2, env={"A": "2"})
        watched.write_text("two")
        await change(3)
        await change(3)
        await bus.call("service", "delete", {"name": "svc"})
        await until(lambda: gone(bus))
        assert len(starts) == 3

    async def gone(bus):
        return not await bus.call("service", "list")

    standin.run(script)


def test_add_leaves_the_other_instances_and_set_removes_them(standin):
    async def names(bus):
        return sorted((await bus.call("service", "list"))["svc"].get("instances", {}))

    async def script(bus):
        await bus.call("service", "set", service("svc"))
        await bus.call("service", "add", {"name": "svc", "instances": {"two": {"command": SLEEP}}})
        assert await names(bus) == ["main", "two"]
        await bus.call("service", "delete", {"name": "svc", "instance": "two"})
        await until(lambda: is_list(bus, ["main"]))
        await bus.call("service", "set", {"name": "svc", "instances": {"three": {"command": SLEEP}}})
        await until(lambda: is_list(bus, ["three"]))

    async def is_list(bus, wanted):
        return await names(bus) == wanted

    standin.run(script)


def test_a_process_that_dies_is_started_again(standin):
    async def script(bus):
        await bus.call("service", "set", service("svc", respawn=["3600", "0", "0"]))
        for _ in range(8):
            pid = (await instance_of(bus))["pid"]
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: restarted(bus, pid))

    async def restarted(bus, pid):
        return (await instance_of(bus)).get("pid", pid) != pid

    standin.run(script)


def test_more_quick_ends_than_retry_are_a_crash_loop(standin):
    crash = {"command": ["/bin/sh", "-c", "exit 7"], "respawn": ["3600", "0", "2"], "stdout": True}

    async def script(bus):
        heard = []
        bus.subscribe("service", lambda name, data: heard.append((name, data)))
        await until(lambda: bus.connected)
        await bus.call("service", "set", service("svc", **crash))
        await until(lambda: any(name == "instance.fail" for name, _ in heard))
        found = await instance_of(bus)
        assert found["running"] is False and found["exit_code"] == 7 and "respawn" not in found
        assert [name for name, _ in heard].count("instance.start") == 3
        assert heard[-1][1]["respawn_count"] == 3
        assert any("svc::main s in a crash loop 3 crashes" in line for line in standin.lines())
        # `set` starts it again, and the count goes on where it was.
        del heard[:]
        await bus.call("service", "set", service("svc", **crash))
        await until(lambda: any(name == "instance.fail" for name, _ in heard))
        assert [name for name, _ in heard].count("instance.start") == 1

    standin.run(script)


def test_without_respawn_the_end_is_final(standin):
    async def script(bus):
        await bus.call("service", "set", service("svc", command=["/bin/sh", "-c", "kill -9 $$"]))
        found = await until(lambda: ended(bus))
        assert found["exit_code"] == 128 + 9 and "pid" not in found

    async def ended(bus):
        found = await instance_of(bus)
        return None if found["running"] else found

    standin.run(script)


def test_options_of_the_wrong_type_are_read_as_procd_reads_them(standin):
    async def script(bus):
        await bus.call("service", "set", service("svc", respawn=[3600, 5, 5], term_timeout="1"))
        found = await instance_of(bus)
        assert found["respawn"] == {"threshold": 0, "timeout": 0, "retry": 0}
        assert found["term_timeout"] == 5
        await bus.call("service", "set", service("bad", command=["/bin/sleep", 1000]))
        assert (await bus.call("service", "list"))["bad"] == {"instances": {}}

    standin.run(script)


def test_what_ignores_sigterm_is_killed_after_term_timeout(standin):
    deaf = ["/bin/sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]

    async def script(bus):
        await bus.call("service", "set", service("svc", command=deaf, term_timeout=1, stdout=True))
        pid = (await instance_of(bus))["pid"]
        await until(lambda: f"sh[{pid}]: deaf" in standin.lines())
        await bus.call("service", "delete", {"name": "svc"})
        assert (await instance_of(bus))["running"]
        await until(lambda: not alive(pid))
        await until(lambda: gone(bus))

    async def gone(bus):
        return await instance_of(bus) is None

    standin.run(script)
    assert any("svc::main pid" in line and "SIGKILL" in line for line in standin.lines())


def test_signals_and_reload_signal(standin):
    echo = [
        "/bin/sh",
        "-c",
        "trap 'echo hup' HUP; trap 'echo usr1' USR1; echo up; while :; do sleep 0.05; done",
    ]

    async def script(bus):
        config = {"command": echo, "stdout": True, "reload_signal": signal.SIGUSR1, "env": {"A": "1"}}
        await bus.call("service", "set", service("svc", **config))
        pid = (await instance_of(bus))["pid"]
        await until(lambda: f"sh[{pid}]: up" in standin.lines())
        await bus.call("service", "signal", {"name": "svc"})
        await until(lambda: f"sh[{pid}]: hup" in standin.lines())
        await bus.call("service", "set", service("svc", **{**config, "env": {"A": "2"}}))
        await until(lambda: f"sh[{pid}]: usr1" in standin.lines())
        assert (await instance_of(bus))["pid"] == pid
        assert await failure(bus.call("service", "signal", {"name": "other"})) == "NOT_FOUND"
        wrong = {"name": "svc", "instance": "main", "signal": 4000}
        assert await failure(bus.call("service", "signal", wrong)) == "INVALID_ARGUMENT"

    standin.run(script)


def test_surroundings_of_a_process(standin):
    pidfile = standin.folder / "pid"
    shell = [
        "/bin/sh",
        "-c",
        "echo out $A; echo err >&2; id -un; echo half; printf end; exec sleep 1000 >&- 2>&-",
    ]
    user = "nobody" if os.getuid() == 0 else None

    async def script(bus):
        options = {"stdout": True, "stderr": True, "env": {"A": "b c"}, "pidfile": str(pidfile)}
        if user:
            options["user"] = user
        await bus.call("service", "set", service("svc", command=shell, **options))
        pid = (await instance_of(bus))["pid"]
        assert pidfile.read_text() == f"{pid}\n"
        wanted = {f"sh[{pid}]: {text}" for text in ("out b c", "err", "half", "end", user) if text}
        await until(lambda: wanted <= set(standin.lines()))
        await bus.call("service", "delete", {"name": "svc"})
        await until(lambda: not pidfile.exists())

    standin.run(script)


def test_data_is_found_by_type(standin):
    async def script(bus):
        rule = {"type": "rule", "dest_port": "655"}
        await bus.call("service", "set", service("svc", data={"firewall": [rule], "other": 1}))
        found = await bus.call("service", "get_data", {"type": "firewall"})
        assert found == {"svc": {"main": {"firewall": [rule]}}}

    standin.run(script)


def test_interfaces_are_dumped_and_changes_are_told(standin):
    async def script(bus):
        heard = []
        bus.subscribe("network.interface", lambda name, data: heard.append((name, data)))
        bus.listen("network.interface", lambda name, data: heard.append((name, data)))
        await until(lambda: bus.connected)
        assert await bus.call("network.interface", "dump") == {"interface": [LAN]}
        status = await bus.call("network.interface.lan", "status")
        assert status == {key: LAN[key] for key in LAN if key != "interface"}
        changed = {**LAN, "ipv4-address": [{"address": "192.168.2.1", "mask": 24}]}
        standin.write({"interfaces": [changed]})
        await until(lambda: heard)
        assert heard == [("interface.update", changed)]
        assert await bus.call("network.interface", "dump") == {"interface": [changed]}
        del heard[:]
        standin.write({"interfaces": []})
        standin.process.send_signal(signal.SIGHUP)
        await until(lambda: len(heard) == 2)
        assert heard[0] == ("network.interface", {"action": "ifdown", "interface": "lan"})
        assert heard[1][0] == "interface.down"
        assert await failure(bus.call("network.interface.lan", "status")) == "NOT_FOUND"

    standin.run(script)


def test_two_clients_call_each_other_and_a_slow_method_holds_nothing_up(standin):
    async def script(one, two):
        proceed = asyncio.Event()

        async def slow(args):
            await proceed.wait()
            return {"n": args["n"]}

        one.publish("bgpmesh", {"slow": ({"n": blob.INT32}, slow), "echo": ({}, lambda args: args)})
        await until(lambda: one.connected)
        calls = [asyncio.create_task(two.call("bgpmesh", "slow", {"n": n})) for n in range(10)]
        assert await two.call("bgpmesh", "echo", {"ubus_rpc_session": "0"}) == {"ubus_rpc_session": "0"}
        assert await failure(two.call("bgpmesh", "slow", {"n": 0}, timeout=0.05)) == "TIMEOUT"
        assert not any(call.done() for call in calls)
        proceed.set()
        assert [answer["n"] for answer in await asyncio.gather(*calls)] == list(range(10))

    standin.run(script, buses=2)


def test_an_object_that_exists_is_refused_until_its_owner_is_gone(standin):
    async def script(bus):
        taken = socket.socket(socket.AF_UNIX)
        taken.connect(standin.socket)
        attributes = [(blob.ATTR_OBJPATH, "bgpmesh"), (blob.ATTR_SIGNATURE, {})]
        taken.sendall(blob.encode_frame(blob.ADD_OBJECT, 1, 0, attributes))
        await until(lambda: bus.connected)
        bus.publish("bgpmesh", {"who": ({}, lambda args: {"who": "we"})})
        assert await failure(bus.call("bgpmesh", "who", timeout=0.2)) == "TIMEOUT"
        taken.close()
        answer = await until(lambda: tried(bus))
        assert answer == {"who": "we"}

    async def tried(bus):
        try:
            return await bus.call("bgpmesh", "who", timeout=1)
        except UbusError:
            return None

    standin.run(script)


def test_after_a_restart_of_ubusd_all_is_as_before(standin):
    async def script(one, two):
        heard = []
        one.publish("bgpmesh", {"echo": ({}, lambda args: args)})
        one.listen("bgpmesh.*", lambda name, data: heard.append(data))
        one.subscribe("service", lambda name, data: heard.append(name))
        await two.call("service", "set", service("svc"))
        pid = (await instance_of(two))["pid"]
        assert await two.call("bgpmesh", "echo", {"n": 1}) == {"n": 1}
        standin.process.send_signal(signal.SIGUSR1)
        await until(lambda: not one.connected and not two.connected)
        # Called while there is no ubusd: waits, and finds the objects' new ids.
        assert (await instance_of(two))["pid"] == pid
        await until(lambda: one.connected)
        assert await two.call("bgpmesh", "echo", {"n": 2}) == {"n": 2}
        await two.send_event("bgpmesh.peer", {"node": "a"})
        await two.call("service", "delete", {"name": "svc"})
        await until(lambda: {"node": "a"} in heard and "instance.stop" in heard)

    standin.run(script, buses=2)


def test_large_messages(standin):
    async def script(one, two):
        one.publish(
            "bgpmesh", {"large": ({}, lambda args: {"x": "x" * args["n"]}), "echo": ({}, lambda args: {})}
        )
        await until(lambda: one.connected)
        assert len((await two.call("bgpmesh", "large", {"n": 1048000}))["x"]) == 1048000
        assert await failure(two.call("bgpmesh", "large", {"n": 1048577})) == "UNKNOWN_ERROR"
        # The largest request that ubusd takes is larger when it arrives, by the user and the group.
        room = (
            blob.LIMIT - len(blob.encode_frame(blob.INVOKE, 1, 1, [(3, 1), (4, "echo"), (7, {"x": ""})])) + 8
        )
        assert await two.call("bgpmesh", "echo", {"x": "x" * (room // 4 * 4 - 4)}) == {}
        assert await failure(two.call("bgpmesh", "echo", {"x": "x" * blob.LIMIT})) == "INVALID_ARGUMENT"
        assert one.connected and two.connected

    standin.run(script, buses=2)


def test_a_client_that_sends_too_much_is_dropped(standin):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(standin.socket)
        assert len(sock.recv(100)) == blob.HEADER
        sock.sendall(b"\0\3\0\1" + bytes(4) + (blob.LIMIT + 4).to_bytes(4, "big"))
        assert sock.recv(1) == b""


def test_the_end(tmp_path):
    standin = Standin(tmp_path)
    trap = "trap 'echo stopped; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    programs = {}
    for name in ("one", "two", "three"):
        programs[name] = tmp_path / name
        programs[name].write_text("#!/bin/sh\n" + trap)
        programs[name].chmod(0o755)

    def config(name):
        return {"instances": {"main": {"command": [str(programs[name])], "stdout": True}}}

    standin.start({"services": {"one": config("one"), "two": config("two")}})

    async def script(bus):
        await bus.call("service", "set", {"name": "three", **config("three")})

    standin.run(script)
    wait(lambda: len([line for line in standin.lines() if line.endswith("up")]) == 3)
    assert standin.stop() == 0
    stopped = [line.partition("[")[0] for line in standin.lines() if line.endswith("stopped")]
    assert stopped == ["two", "one", "three"]
    assert not os.path.exists(standin.socket)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root for a PID namespace")
def test_process_1_reaps_orphans(tmp_path):
    standin = Standin(tmp_path)
    go = tmp_path / "go"
    orphan = ["/bin/sh", "-c", f"(sh -c 'while ! test -e {go}; do sleep 0.05; done; exit 3' &); exec sleep 1000"]
    config = {"services": {"svc": {"instances": {"main": {"command": orphan}}}}}
    before = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    standin.start(config, before)
    try:
        child = Path(f"/proc/{standin.process.pid}/task/{standin.process.pid}/children")
        first = int(child.read_text())

        def children():
            return Path(f"/proc/{first}/task/{first}/children").read_text().split()

        wait(lambda: len(children()) == 2, "the orphan")
        go.touch()
        wait(lambda: len(children()) == 1, "its end")
        os.kill(first, signal.SIGTERM)
        assert standin.process.wait(60) == 0
    finally:
        standin.process.kill()
        standin.process.wait()


def command_line(standin, *words):
    command = [sys.executable, INIT.with_name("ubus.py"), "-s", standin.socket, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_line(standin):
    assert command_line(standin, "list").stdout.split() == [
        "network.interface",
        "network.interface.lan",
        "service",
        "umdns",
    ]
    assert command_line(standin, "list", "network.*").stdout.split()[-1] == "network.interface.lan"
    assert '"signal":{' in command_line(standin, "-v", "list", "service").stdout
    assert json.loads(command_line(standin, "call", "network.interface", "dump").stdout) == {
        "interface": [LAN]
    }
    failed = command_line(standin, "call", "service", "delete", '{"name":"nothing"}')
    assert failed.returncode == 256 - 4 and "NOT_FOUND" in failed.stderr
    assert command_line(standin, "call", "nothing", "x").returncode == 256 - 4

    async def script(bus):
        heard = []
        bus.listen("some.*", lambda name, data: heard.append((name, data)))
        await until(lambda: bus.connected)
        done = await asyncio.to_thread(command_line, standin, "send", "some.event", '{"a":[1,"b"]}')
        assert done.returncode == 0
        await until(lambda: heard == [("some.event", {"a": [1, "b"]})])

    standin.run(script)
