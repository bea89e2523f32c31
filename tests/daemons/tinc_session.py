"""Makes keys, files and two real tincd's with the agent's own modules, asks them, and prints the answers as JSON.

Runs on both runtimes, in a box of tests/daemons.
"""

import asyncio
import json

from example import options

from bgpmesh import compat, disk
from bgpmesh.records import Member
from bgpmesh.tinc import control, keys, render

SAID = []
CONFIG = options()


class Router:
    """A tincd of its own, with its folder, keys, port and interface."""

    def __init__(self, node, port):
        self.node = node
        self.port = port
        self.folder = "/run/" + node
        self.state = "/etc/bgpmesh/" + node

    async def make(self, version):
        keys.STATE = self.state
        keys._SCRATCH = self.folder + "-keys"
        made = await keys.load_or_make(version, SAID.append)
        again = await keys.load_or_make(version, SAID.append)
        assert (made.rsa, made.ed25519) == (again.rsa, again.ed25519)
        ip = "10.0.0.%d" % (self.port - 655)
        endpoint = ("127.0.0.1", self.port)
        self.member = Member(self.node, ip, None, made.rsa, made.ed25519, endpoint, 65000, ip, [], 1, "1.0")
        pid_file = self.folder + ".pid"
        self.control = control.Socket(pid_file)
        if version == "1.0":
            self.control = control.Log(pid_file, self.folder + ".log", SAID.append)

    def write(self, others, version):
        CONFIG.port = self.port
        CONFIG.interface = "t" + self.node
        render.STATE = self.state
        dialled = [other.node for other in others if other.node < self.node]
        files = render.Files(CONFIG, self.member, [other.member for other in others], dialled, version, {})
        disk.make_folder(self.folder + "/hosts")
        for name in files:
            disk.write(self.folder + "/" + name, files[name][0], files[name][1], old=True)

    async def start(self):
        argv = ["/usr/sbin/tincd", "-c", self.folder, "--pidfile=%s.pid" % self.folder]
        assert (await compat.run(argv + ["--logfile=%s.log" % self.folder], 10))[0] == 0

    async def answers(self):
        """Waits until it can be asked; TincError where not within a minute."""
        deadline = compat.monotonic() + 60
        while True:
            try:
                return await self.control.nodes()
            except control.TincError:
                if compat.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)

    async def sees(self, node, reachable):
        """The Node, or {} where there is none any more, once it is reachable, or not; None if not within a minute."""
        deadline = compat.monotonic() + 60
        while compat.monotonic() < deadline:
            try:
                found = (await self.control.nodes()).get(node)
                if bool(found and found.reachable) == reachable:
                    return found or {}
            except control.TincError:
                pass  # it has just been started
            await asyncio.sleep(0.05)
        return None

    def pid(self):
        return int(disk.read(self.folder + ".pid").split()[0])


async def main():
    version = await control.version()
    found = {"version": version}
    one, two = Router("one", 656), Router("two", 657)
    for router in (one, two):
        await router.make(version)
    found["keys"] = [bool(one.member.key), bool(one.member.ed25519)]
    found["modes"] = [compat.exists(one.state + "/rsa_key.priv"), compat.exists(one.folder + "-keys")]
    one.write([], version)
    two.write([one], version)
    await one.start()
    await two.start()
    for router in (one, two):
        await router.answers()
    # Two dials, and one does not let it in.
    await asyncio.sleep(0.3)
    found["stranger"] = sorted(await one.control.nodes())
    one.write([two], version)
    await one.control.reload()
    await two.control.retry([])
    node = await one.sees("two", True)
    found["reached"] = node and [node.direct, node.address]
    found["tunnels"] = await one.control.tunnels()
    if version == "1.1":
        disk.write(one.folder + "/tinc.conf", "Name = one\nnonsense\n", 0o600)
        try:
            await one.control.reload()
            found["refused"] = None
        except control.TincError as error:
            found["refused"] = str(error)
    compat.kill(two.pid(), compat.SIGKILL)
    found["lost"] = await one.sees("two", False) is not None
    compat.kill(one.pid(), compat.SIGTERM)
    found["said"] = [line for line in SAID if "total bytes" in line or "Statistics" in line]
    print(json.dumps(found))


asyncio.run(main())
