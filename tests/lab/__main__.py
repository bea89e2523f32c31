"""`make lab`, `make shell`, `make lab-down`: the lab for a person."""

import argparse
import json
import os
import signal
import sys
import time

from . import root
from .lab import Lab, LabTimeout
from .machine import Machine
from .netns import ENV, CommandError


def main():
    """Run one of the commands; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m lab")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring the mesh up, show it, prove it, take it down")
    up.add_argument("--nodes", type=int, default=5)
    up.add_argument("--runtime", default="micropython")
    up.add_argument("--tinc", default="1.1")
    up.add_argument("--bird", default="3")
    up.add_argument("--keep", action="store_true", help="leave it up")
    commands.add_parser("down", help="take a kept lab down")
    shell = commands.add_parser("shell", help="a shell, or a command, inside a kept lab's machine")
    shell.add_argument("machine", help="1, 2, …, etcd")
    shell.add_argument("line", nargs="?", help="what sh should run instead of an interactive shell")
    commands.add_parser("roots", help="only build the file systems")
    for command in commands.choices.values():
        command.add_argument("--name", default="mesh")
    arguments = parser.parse_args()
    # Ended from outside, a lab takes itself down as it does at its own end.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        command = {"up": bring_up, "down": take_down, "shell": enter, "roots": build}[arguments.command]
        return command(arguments)
    except (CommandError, ValueError, root.BuildError) as e:
        print(f"lab: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def build(arguments):
    """Build the roots and the interpreter the unit tests run on."""
    root.build(Progress())
    root.micropython()
    return 0


def take_down(arguments):
    """End a lab that was kept, or left by a program that was killed."""
    Lab(arguments.name).down()
    return 0


def enter(arguments):
    """Become a shell inside a machine."""
    name = arguments.machine if arguments.machine.startswith("etcd") else "r" + arguments.machine.lstrip("r")
    machine = Machine(Lab(arguments.name), name, [])
    shell = ["bash", "-c", arguments.line] if arguments.line else ["bash"]
    argv = [*machine.enter(), *shell]
    os.execvpe(argv[0], argv, {**ENV, "TERM": os.environ.get("TERM", "dumb"), "PS1": f"{name}:\\w# "})


def bring_up(arguments):
    """The lab from nothing to the table; returns 0 when everything asked for was seen."""
    if arguments.nodes < 2:
        raise ValueError(f"{arguments.nodes} nodes: a mesh takes at least 2")
    say = Progress()
    lab = Lab(arguments.name, arguments.nodes, arguments.runtime, arguments.tinc, arguments.bird, say=say)
    kept = False
    try:
        lab.up()
        result = prove(lab, say)
        result.update(runtime=arguments.runtime, tinc=arguments.tinc, bird=arguments.bird)
        kept = arguments.keep
    finally:
        if not kept:
            say("taking everything down")
            lab.down()
    if kept:
        print(LOOK_AROUND.format(lab=lab.name, name="" if lab.name == "mesh" else f" LAB={lab.name}"))
    print(json.dumps(result), flush=True)
    return 0 if result["ping_ok"] and result["ping6_ok"] else 1


LOOK_AROUND = """
The lab is still up. Look around with
    make shell R=1{name}                            a shell on router 1
    make shell R=1{name} CMD='bgpmesh status'       one command there
    make shell R=etcd{name} CMD='etcdctl get --prefix / --keys-only'
    ip netns exec {lab}-r1 ip route
and end it with
    make lab-down{name}
"""


def prove(lab, say):
    """Wait for the mesh, show it, and return what the last line reports."""
    wanted = lab.sessions
    first, last = lab.router(1), lab.router(lab.nodes)
    seen = -1

    def complete():
        nonlocal seen
        established = lab.established()
        # Not every single one, but something every few seconds.
        say(f"{established}/{wanted} BGP sessions Established", every=5 if established == seen else 0.5)
        seen = established
        # With reflectors some are more at first: those that there were before all had joined.
        return established >= wanted and lab.converged() and first.ping(last.lan)

    result = {"nodes": lab.nodes, "established": 0, "converged_s": None, "ping_ok": False, "ping6_ok": False}
    try:
        lab.wait(complete, 120 + 2 * lab.nodes, f"{wanted} sessions and a ping")
        result["converged_s"] = round(lab.elapsed(), 2)
        result["ping_ok"] = True
        lab.wait(lambda: first.ping(last.lan6), 60, f"a ping from {first.lan6} to {last.lan6}")
        result["ping6_ok"] = True
        said = lab.wait(lambda: all_converged(lab), 60 + 2 * lab.nodes, "every router to say it converged")
    except LabTimeout as e:
        print(e, file=sys.stderr)
        said = [router.status() for router in lab.routers]
    result["established"] = lab.established()
    print("\n" + table(lab, said) + "\n")
    for address, source in ((last.lan, first.lan), (last.lan6, first.lan6)):
        ping = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "2", "-I", source, address]
        print(first.exec(ping, check=False).stdout)
    if result["converged_s"] is not None:
        print(f"All {wanted} sessions Established and {first.name} reached {last.name} "
              f"{result['converged_s']} s after the first router was switched on.\n")
    return result


def all_converged(lab):
    """The status of every router, or None while one of them does not say that it has converged."""
    said = []
    for router in lab.routers:
        said.append(router.status())
        if not said[-1] or said[-1]["state"] != "converged":
            return None
    return said


def table(lab, said):
    """The routers as they describe themselves, as text; `said` is the status of each."""
    rows = [("router", "state", "overlay address", "tunnels up", "BGP Established", "routes received")]
    for router, status in zip(lab.routers, said):
        peers = router.peers()
        if not status or peers is None:
            rows.append((router.name, "no answer", "-", "-", str(router.established()), "-"))
            continue
        tinc, bird = status["tinc"], status["bird"]
        rows.append((
            router.name, status["state"], status["address"] or "-",
            f"{sum(peer['tinc'] != 'down' for peer in peers)}/{lab.nodes - 1}" if tinc["running"] else "-",
            f"{bird['established']}/{bird['sessions']}",
            str(sum(peer["routes_received"] or 0 for peer in peers)),
        ))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


class Progress:
    """Prints a line with the seconds since the start, unless the last one is younger than `every` seconds."""

    def __init__(self):
        self._start = time.monotonic()
        self._last = 0

    def __call__(self, text, every=0):
        now = time.monotonic()
        if now - self._last >= every:
            print(f"{now - self._start:6.1f} s  {text}", flush=True)
            self._last = now


if __name__ == "__main__":
    sys.exit(main())
