"""A running stand-in for ubusd, procd and netifd, and our client on it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bgpmesh.ubus.client import Bus

INIT = Path(__file__).resolve().parents[1] / "standin" / "init.py"
LAN = {"interface": "lan", "up": True, "ipv4-address": [{"address": "192.168.1.1", "mask": 24}]}


class Standin:
    """The process and its files."""

    def __init__(self, folder):
        self.folder = folder
        self.config = folder / "standin.json"
        self.socket = str(folder / "ubus.sock")
        self.log = folder / "messages"
        self.process = None

    def start(self, config, before=(), arguments=()):
        self.write(config)
        arguments = ["--config", self.config, "--socket", self.socket, "--log", self.log, *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("COV")}
        self.process = subprocess.Popen([*before, sys.executable, INIT, *arguments], env=environment)
        wait(lambda: os.path.exists(self.socket))

    def write(self, config):
        fresh = self.config.with_suffix(".new")
        fresh.write_text(json.dumps(config))
        fresh.rename(self.config)

    def stop(self):
        """Its exit status after a SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def lines(self):
        """The log without the dates."""
        return [line[16:] for line in self.log.read_text().splitlines()]

    def run(self, script, *, buses=1):
        """Runs script(bus, …) with that many clients of ours connected."""

        async def main():
            clients = [Bus(self.socket) for _ in range(buses)]
            running = [asyncio.create_task(bus.run()) for bus in clients]
            try:
                return await asyncio.wait_for(script(*clients), 120)
            finally:
                for task in running:
                    task.cancel()

        return asyncio.run(main())


def wait(condition, what="it"):
    """Waits for a condition, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within a minute"
        time.sleep(0.01)


async def until(condition):
    """The same within asyncio; the condition may be a coroutine function. What it returned."""
    deadline = time.monotonic() + 60
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come about within a minute"
        await asyncio.sleep(0.01)
