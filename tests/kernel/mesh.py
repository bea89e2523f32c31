"""Starts the routers that /mesh.json names, each a BIRD in a network namespace, and prints how they are.

Runs on MicroPython in a guest, where BIRD 2 and 3 are in /bird-2 and /bird-3, and a router's configuration is
/STAGE/NAME.conf. Each line that it prints is one JSON: `stage`; `answered`; `routers`: name -> {`ao`: what its agent
finds out of kernel and BIRD; `sessions`: name -> [BGP's state, good packets by TCP-AO or None]; `routes`: prefix ->
next hop, in the kernel; `tcp`: its kernel's counters; `log`: BIRD's}.

Each line that it reads is a command: `knock` has all connect to all without any authentication, and sets `answered` to
the pairs where there was an answer; any other word has all BIRDs take the configuration of the stage of that name.
"""

import asyncio
import json
import os
import sys

from bgpmesh import compat
from bgpmesh.bird import control, render

SWITCH = """\
set -eu
ip link add switch type bridge
ip link set switch up
"""
# Each has its BIRD where the agent looks for it, and another one when that has ended, as by procd.
ROUTER = """\
ip netns add {node}
ip link add {node} master switch up type veth peer name {interface} netns {node}
ip -n {node} link set lo up
ip -n {node} address add {address}/24 dev {interface}
ip -n {node} link set {interface} up
ip netns exec {node} sh -euc '
	mount --bind /bird-{bird} /usr/sbin
	micropython -c "import asyncio; from bgpmesh.bird import ao; print(asyncio.run(ao.usable()))" > /run/{node}.ao
	echo $$ > /run/{node}.pid
	while true; do
		bird -f -c /{stage}/{node}.conf -s /run/{node}.ctl || echo "it ended with $?"
		sleep 1
	done
' > /run/{node}.log 2>&1 < /dev/null &
"""
# Prints the addresses of those that have answered after two seconds.
KNOCK = """
import socket, sys, time
socks = []
for address in sys.argv[1:]:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect(socket.getaddrinfo(address, 179)[0][-1])
    except OSError:
        pass
    socks.append((address, sock))
time.sleep(2)
for address, sock in socks:
    try:
        sock.send(b'x')
    except OSError:
        continue
    print(address)
"""

control.TIMEOUT, control.UNDO_AFTER = 60, 120  # seconds, for all is slow here


async def main():
    with open("/mesh.json") as file:
        found = json.load(file)
    routers, stage = found["routers"], found["stage"]
    if os.system(SWITCH + "".join([ROUTER.format(stage=stage, **router) for router in routers])):
        raise OSError("the routers do not start")
    birds = {router["node"]: control.Socket("/run/%s.ctl" % router["node"]) for router in routers}
    answered = None
    while True:
        found = {}
        for node in birds:
            found[node] = await seen(node, birds[node])
        print(json.dumps({"stage": stage, "answered": answered, "routers": found}))
        try:
            await asyncio.wait_for(compat.readable(0), 1)
        except asyncio.TimeoutError:
            continue
        word = sys.stdin.readline().strip()
        if word == "knock":
            calls = []
            for router in routers:
                others = {other["address"]: other["node"] for other in routers if other is not router}
                calls.append(knock(router["node"], others))
            answered = sum(await asyncio.gather(*calls), [])
        else:
            stage, answered = word, None
            for node in birds:
                await birds[node].configure("/%s/%s.conf" % (stage, node), sorted(await birds[node].sessions()))


async def seen(node, bird):
    found = {"log": read("/run/%s.log" % node), "ao": read("/run/%s.ao" % node).strip()}
    try:
        states = await bird.sessions()
    except control.BirdError as error:
        found["problem"] = str(error)
        return found
    found["sessions"] = {}
    for name in states:
        good = None
        for _, text in await bird.ask("show protocols all " + name):
            if text.strip().startswith("Good packets:"):
                good = int(text.split()[-1])
        found["sessions"][render.node_name(name)] = [states[name].state, good]
    _, output = await compat.run(["/usr/bin/ip", "-n", node, "route", "show", "proto", "12"], 60)
    lines = [line.split() for line in output.decode().split("\n")]
    found["routes"] = {words[0]: words[2] for words in lines if words[1:2] == ["via"]}
    found["tcp"] = counters(read("/proc/%s/net/netstat" % read("/run/%s.pid" % node).strip()))
    return found


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def counters(text):
    """The counters of authentication that are not 0, in the text of /proc/net/netstat: names, below them numbers."""
    lines = [line.split() for line in text.split("\n")]
    found = {}
    for names, numbers in zip(lines, lines[1:]):
        if names[:1] == ["TcpExt:"] == numbers[:1]:
            found.update(dict(zip(names, numbers)))
    return {name: int(found[name]) for name in found if name.startswith(("TCPAO", "TCPMD5")) and found[name] != "0"}


async def knock(node, others):
    """[[node, other router]] of the others, address -> name, that answer it."""
    command = ["/usr/bin/ip", "netns", "exec", node, "micropython", "-c", KNOCK] + sorted(others)
    _, output = await compat.run(command, 60)
    return [[node, others.get(line, line)] for line in output.decode().split("\n") if line]


asyncio.run(main())
