"""Rounds of faults and calm, until the time is over or something does not hold."""

import argparse
import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

from lab import root
from lab.__main__ import Progress
from lab.lab import LabTimeout
from lab.netns import ENV, CommandError

from . import invariants
from .faults import ETCDS, FAULTS, NODES
from .field import Field
from .schedule import schedule

ROUND = 40  # seconds that faults go on until the mesh is left alone
BOUND = 150  # seconds after the last fault by which everything must be as it should; most often it is a few
JOIN = 60  # seconds more, where many are about to join


def main():
    """Run as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m chaos")
    parser.add_argument("--seconds", type=int, default=120, help="begin no round later than this")
    parser.add_argument("--seed", help="of an earlier run, to have it again")
    parser.add_argument("--name", default="chaos", help="of the lab")
    parser.add_argument("--keep", action="store_true", help="leave the lab up when something does not hold")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    chosen = arguments.seed or f"{random.SystemRandom().getrandbits(32):08x}"
    if not re.fullmatch(r"\w+", chosen):
        parser.error(f"--seed {chosen}: must be letters and digits")
    try:
        return Run(arguments, chosen).run()
    except (CommandError, root.BuildError) as e:
        print(f"chaos: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


class Run:
    """One run: a Field, a Watch over it, and the counts for the summary."""

    def __init__(self, arguments, seed):
        self.seconds = arguments.seconds
        self.keep = arguments.keep
        self.seed = seed
        self.say = Progress()
        self.field = Field(arguments.name, self.say)
        self.folder = root.CACHE / "chaos" / seed
        self.watch = None
        self.pings = None
        self.first = {}  # process → kB that it had in its first calm
        self.result = {"seed": seed, "rounds": 0, "faults": 0, "recovery_s": [], "pings": 0, "lost": 0}
        self.result.update(joined=self.field.joined, memory_kb=Counter(), grown_kb=Counter())

    def run(self):
        """All of it; returns the exit status."""
        say = self.say
        say(f"SEED={self.seed}: {len(NODES)} routers, {len(ETCDS)} members of etcd")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        violation = None
        kept = False
        try:
            self.field.up()
            violation = self.rounds()
            kept = self.keep and violation
        finally:
            if self.watch:
                self.watch.stop()
                self.result.update(looks=self.watch.looks, missed=self.watch.missed, asserted=self.watch.asserted)
            if not kept:
                say("taking everything down")
                self.field.down()
        self.result["ok"] = not violation
        if violation:
            print(AGAIN.format(violation=violation, folder=self.folder, seconds=self.seconds, seed=self.seed))
        else:
            shutil.rmtree(self.folder)
        print(json.dumps(self.result), flush=True)
        return 1 if violation else 0

    def rounds(self):
        """Rounds until the time is over; the text of what did not hold, or None."""
        self.watch = invariants.Watch(self.field, self.folder)
        self.watch.start()
        began = time.monotonic()
        try:
            while time.monotonic() - began < self.seconds:
                self.result["rounds"] += 1
                self.storm(self.result["rounds"])
                self.calm()
            self.watch.stop()
            self.pause(0)
        except (invariants.Violation, LabTimeout) as e:
            self.save(str(e))
            return str(e).splitlines()[0]
        return None

    # -- one round

    def storm(self, number):
        """Faults as the seed has them; all are undone by its end."""
        length = min(ROUND, self.seconds)
        strikes = schedule(self.seed, number, length)
        self.say(f"round {number}: {len(strikes)} faults in {length} s")
        self.pings = Pings(self.field)
        began = time.monotonic()
        under_way = []  # [(when it is over, Strike, its context)]
        try:
            for strike in strikes:
                self.undo(under_way, max(began + strike.at, time.monotonic()))
                self.pause(began + strike.at)
                self.say(f"  {strike}")
                context = FAULTS[strike.fault].act(self.field, **strike.arguments)
                context.__enter__()
                under_way.append((began + strike.at + strike.seconds, strike, context))
                self.result["faults"] += 1
            self.undo(under_way, began + length + 1)
        finally:
            for _, _, context in under_way:
                with contextlib.suppress(CommandError, OSError):
                    context.__exit__(None, None, None)

    def undo(self, under_way, until):
        """End the faults whose time is over by then, when it is."""
        for each in sorted(under_way, key=lambda each: each[0]):
            at, strike, context = each
            if at <= until:
                self.pause(at)
                under_way.remove(each)
                if strike.seconds:
                    self.say(f"    over: {strike}")
                context.__exit__(None, None, None)

    def pause(self, until):
        """Sleep until then, unless something does not hold."""
        while True:
            if self.watch.violations:
                raise invariants.Violation(self.watch.violations[0])
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.2))

    def calm(self):
        """Nothing is done any more: by BOUND everything must be as it should."""
        field = self.field
        began = time.monotonic()
        bound = BOUND + (JOIN if field.alone() else 0)
        fault = "not looked at"

        def settled():
            nonlocal fault
            self.pause(0)
            if not field.clear_litter():
                fault = "what faults put into etcd cannot be removed"
            elif field.alone():
                fault = f"{field.alone()} have joined, and have no session"
            elif not field.dismiss():
                fault = f"{sorted(field.dismissed)} cannot be revoked"
            elif not field.undrain():
                fault = f"{sorted(field.drained)} cannot be told that they are not drained"
            else:
                fault = invariants.unfinished(field)
            return not fault

        try:
            field.lab.wait(settled, bound, "the mesh to be as it should", 0.3)
        except LabTimeout as e:
            raise invariants.Violation(f"{bound} s after the last fault: {fault}\n{e}") from None
        field.settled += 1
        recovered = round(time.monotonic() - began, 1)
        self.result["recovery_s"].append(recovered)
        lost = invariants.unreached(field)
        if lost:
            raise invariants.Violation(f"no answer to pings: {lost}")
        # What was announced for a while is so no longer: from now on nobody may have it but from flash.
        field.withdrawn.update(prefix for prefix, _ in field.announced)
        field.announced.clear()
        field.refuse()
        sent, gone = self.pings.end()
        self.result["pings"] += sent
        self.result["lost"] += gone
        self.judge_memory()
        self.say(f"  as it should be after {recovered} s; {gone} of {sent} pings were lost since the round began")

    def judge_memory(self):
        for process, size in invariants.memory(self.field).items():
            node, program, _ = process
            grown = size - self.first.setdefault(process, size)
            self.result["memory_kb"] |= Counter({program: size})
            self.result["grown_kb"] |= Counter({program: grown})
            if grown > invariants.GROWTH.get(program, grown):
                raise invariants.Violation(f"{node}: {program} has {size} kB, {grown} more than in its first calm")

    def save(self, text):
        """Everything that a person will want to see."""
        (self.folder / "violation").write_text(text + "\n")
        with contextlib.suppress(CommandError, OSError):
            self.watch.look()
            (self.folder / "dump").write_text(self.field.lab.dump())
        for router in self.field.lab.routers:
            found = [f"-- {command}\n{router.bird(command)}" for command in BIRD]
            found += [f"-- bird.conf\n{router.read(invariants.RUN + '/bird.conf')}"] if router.running else []
            (self.folder / f"{router.name}.bird").write_text("\n".join(found))
        for machine in [*self.field.lab.routers, *self.field.lab.etcds]:
            (self.folder / f"{machine.name}.console").write_text(machine.console())


# What BIRD is asked when something does not hold.
BIRD = ("show protocols all", "show route all", "show route export kernel4", "show route export kernel6")

AGAIN = """
VIOLATION: {violation}
The logs are in {folder}. The same faults again:
    make chaos SECONDS={seconds} SEED={seed}
"""


class Pings:
    """From each router's LAN to the next one's, two a second; a router that is off does not send."""

    def __init__(self, field):
        self._field = field
        self._processes = []
        routers = [field.router(node) for node in NODES]
        for one, other in zip(routers, routers[1:] + routers[:1]):
            if one.running:
                argv = [*one.enter(), "ping", "-n", "-O", "-i", "0.5", "-I", one.lan, other.lan]
                output = open(field.lab.dir / f"{one.name}-pings", "w+")
                process = subprocess.Popen(argv, stdout=output, stderr=subprocess.DEVNULL, env=ENV)
                self._processes.append((one, process, output))

    def end(self):
        """(sent, lost)."""
        sent = lost = 0
        for one, process, output in self._processes:
            if one.running:
                one.kill("ping", signal.SIGKILL)
            process.wait()
            output.seek(0)
            text = output.read()
            output.close()
            numbers = [int(number) for number in re.findall(r"icmp_seq=(\d+)", text)]
            answered = {int(number) for number in re.findall(r"bytes from .*icmp_seq=(\d+)", text)}
            sent += max(numbers, default=0)
            lost += max(numbers, default=0) - len(answered)
        return sent, lost


if __name__ == "__main__":
    sys.exit(main())
