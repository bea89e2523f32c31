"""A hundred real tincds that start together with the agent's own files; what comes of it, as JSON.

Each then sends broadcasts, and ten of them something to one other. All are on one machine, whose kernel does not know
that: frames are sent and looked for at their interfaces. On CPython, in a box of tests/daemons.
"""

import asyncio
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time

from example import options

from bgpmesh import disk
from bgpmesh.records import Member
from bgpmesh.tinc import control, graph, keys, render

COUNT = int(sys.argv[1])
PATIENCE = 240  # seconds
KIND = 0x88B5  # of a frame: for local experiments (IEEE 802)
CONFIG = options()


class Router:
    """One of them: its folder, keys, port and interface."""

    def __init__(self, number):
        self.node = "r%d" % number
        self.folder = "/run/" + self.node
        self.state = "/etc/bgpmesh/" + self.node
        self.port = 10000 + number
        self.ip = "10.0.0.%d" % number
        self.control = control.Socket(self.folder + ".pid")
        self.address = bytes.fromhex(render.hardware_address(self.node).replace(":", ""))

    async def make(self, like):
        """Makes its keys; the RSA ones, which only tinc 1.0 would use, are those of another."""
        keys.STATE = self.state
        keys._SCRATCH = self.folder + "-keys"
        if like:
            shutil.copytree(like.state, self.state, ignore=shutil.ignore_patterns("ed25519*"))
        made = await keys.load_or_make("1.1", lambda text: None)
        where = ("127.0.0.1", self.port)
        self.member = Member(self.node, self.ip, None, made.rsa, made.ed25519, where, 65000, self.ip, [], 1, "1.0")

    def write(self, members):
        CONFIG.port = self.port
        CONFIG.interface = self.node
        render.STATE = self.state
        others = [one for one in members if one is not self.member]
        files = render.Files(CONFIG, self.member, others, graph.dials(self.node, members), "1.1", {})
        disk.make_folder(self.folder + "/hosts")
        for name in files:
            disk.write(self.folder + "/" + name, files[name][0], files[name][1], old=True)

    def start(self):
        argv = ["/usr/sbin/tincd", "-c", self.folder, "--pidfile=%s.pid" % self.folder]
        return subprocess.Popen([*argv, "--logfile=%s.log" % self.folder, "-D"])

    async def others(self):
        """How many it has a path to; 0 while it does not answer."""
        try:
            nodes = await self.control.nodes()
        except control.TincError:
            return 0
        return sum(nodes[name].reachable for name in nodes if name != self.node)

    def send(self, sock, target, text):
        sock.sendto(target + self.address + KIND.to_bytes(2, "big") + text.ljust(46), (self.node, KIND))

    def peak(self):
        """The most memory that its tincd ever took, in kB."""
        pid = disk.read(self.folder + ".pid").split()[0]
        return int(disk.read("/proc/%s/status" % pid).split("VmHWM:")[1].split()[0])


async def main():
    routers = [Router(number) for number in range(1, COUNT + 1)]
    for router in routers:
        await router.make(routers[0] if router is not routers[0] else None)
    members = [router.member for router in routers]
    for router in routers:
        router.write(members)
    began = time.monotonic()
    tincds = [router.start() for router in routers]
    found = {}
    waiting = list(routers)
    while waiting and time.monotonic() < began + PATIENCE:
        waiting = [router for router in waiting if await router.others() < COUNT - 1]
        await asyncio.sleep(0.2)
    found["apart"] = [router.node for router in waiting]
    found["seconds"] = round(time.monotonic() - began, 1)
    found["tunnels"] = len(await routers[0].control.tunnels())
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(KIND)) as sock:
        for _ in range(3):
            for router in routers:
                router.send(sock, b"\xff" * 6, b"to all")
        pairs = {routers[at + COUNT // 2].node: (routers[at], routers[at + COUNT // 2]) for at in range(10)}
        strays = arrived = 0
        deadline = time.monotonic() + PATIENCE
        while pairs and time.monotonic() < deadline:
            for one, other in pairs.values():
                one.send(sock, other.address, b"to one")
            while select.select([sock], [], [], 0.3)[0]:
                frame, (interface, _, way, _, _) = sock.recvfrom(2048)
                if way != socket.PACKET_OUTGOING and frame[14:].startswith(b"to all"):
                    strays += 1
                elif way != socket.PACKET_OUTGOING:
                    arrived += pairs.pop(interface, None) is not None
    found.update(strays=strays, arrived=arrived, peak=max(router.peak() for router in routers))
    used = [disk.read("/proc/%d/stat" % tincd.pid).split()[13:15] for tincd in tincds]
    found["processor"] = round(sum(int(ticks) for pair in used for ticks in pair) / os.sysconf("SC_CLK_TCK"), 1)
    for tincd in tincds:
        tincd.terminate()
    print(json.dumps(found))


asyncio.run(main())
