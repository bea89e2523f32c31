#!/usr/bin/python3
"""Process 1 of a lab router: ubusd, procd and netifd in one. README.md beside this tells how it is used."""

import argparse
import asyncio
import json
import os
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "..", "src"))

from netifd import Netifd  # noqa: E402
from procd import Procd  # noqa: E402
from ubusd import Ubusd  # noqa: E402
from umdns import Umdns  # noqa: E402


class Init:
    """The daemons and what process 1 does besides."""

    def __init__(self, options):
        self.options = options
        os.makedirs(os.path.dirname(options.log) or ".", exist_ok=True)
        self.log_file = open(options.log, "a", buffering=1, encoding="utf-8")
        self.bus = Ubusd(options.socket, lambda text: self.write_line("procd: " + text))
        self.procd = Procd(self.bus, self.write_line)
        self.netifd = Netifd(self.bus)
        self.umdns = Umdns(self.bus)
        if options.bus_only:
            self.bus.own.clear()
        self.seen = None

    def write_line(self, text):
        self.log_file.write("%s %s\n" % (time.strftime("%b %d %H:%M:%S"), text))

    def read(self):
        """The configuration, or None where it is as it was or cannot be read."""
        try:
            state = os.stat(self.options.config)
            seen = (state.st_mtime_ns, state.st_size, state.st_ino)
            if seen == self.seen:
                return None
            with open(self.options.config, encoding="utf-8") as file:
                config = json.load(file)
            self.seen = seen
            return config
        except (OSError, ValueError) as error:
            self.write_line("procd: %s: %s" % (self.options.config, error))
            return None

    def load_interfaces(self):
        config = self.read()
        if config is not None:
            self.take(config)

    def take(self, config):
        self.netifd.load(config.get("interfaces", []))
        self.umdns.neighbours = config.get("neighbours", {})

    async def watch(self):
        while True:
            await asyncio.sleep(0.5)
            self.load_interfaces()

    def hangup(self):
        self.seen = None
        self.load_interfaces()

    async def run(self):
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        first = os.getpid() == 1
        loop.add_signal_handler(signal.SIGCHLD, self.procd.reap, first)
        loop.add_signal_handler(signal.SIGHUP, self.hangup)
        tasks = []
        loop.add_signal_handler(signal.SIGUSR1, lambda: tasks.append(loop.create_task(self.bus.restart())))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        config = self.read() or {}
        self.take(config)
        await self.bus.start()
        services = config.get("services", {})
        for name in services:
            self.procd.set(dict(services[name], name=name), False)
        tasks.append(loop.create_task(self.watch()))
        await stop.wait()
        self.write_line("procd: stopping")
        # As at a shutdown: first the init scripts' services, then what was set besides.
        await self.procd.stop_all(list(reversed(list(services))))
        for task in tasks:
            task.cancel()
        if self.bus.server.is_serving():
            await self.bus.stop()


def main():
    parser = argparse.ArgumentParser(description="ubusd, procd and netifd of a lab router")
    parser.add_argument("--config", default="/etc/standin.json")
    parser.add_argument("--socket", default="/var/run/ubus/ubus.sock")
    parser.add_argument("--log", default="/var/log/messages")
    parser.add_argument("--bus-only", action="store_true", help="no objects of procd and netifd")
    asyncio.run(Init(parser.parse_args()).run())


if __name__ == "__main__":
    main()
