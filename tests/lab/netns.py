"""Network namespaces, made and removed with iproute2's `ip`."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

NETNS = Path("/run/netns")

# What every child gets: root's path even where root came by `su` without it.
ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}


class CommandError(Exception):
    """A command failed; the text is the command, its exit status and its output."""


def run(argv, input=None, timeout=60, check=True, env=ENV):
    """Run a command to its end. Returns a CompletedProcess with `stdout` (str, stderr in it).

    Raises CommandError when it fails (unless `check` is false) or takes longer than `timeout` seconds.
    """
    stdin = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            timeout=timeout, env=env, **stdin,
        )
    except subprocess.TimeoutExpired as e:
        output = (e.output or b"").decode(errors="replace")
        raise CommandError(f"{' '.join(argv)}: no end after {timeout} s\n{output}") from None
    if check and done.returncode:
        raise CommandError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}")
    return done


def ip(*argv):
    """Run `ip`; returns what it printed."""
    return run(["ip", *argv]).stdout


def batch(netns, lines):
    """Run several `ip` commands inside a namespace with one process; the first that fails ends it."""
    run(["ip", "-netns", netns, "-batch", "-"], input="\n".join(lines) + "\n")


def mounted():
    """Whether /run/netns is a mount point (a bind mount of itself, which Path.is_mount() does not see)."""
    with open("/proc/self/mountinfo") as table:
        return any(line.split()[4] == str(NETNS) for line in table)


def names(pattern):
    """The namespaces whose whole name matches the regular expression, sorted."""
    if not NETNS.is_dir():
        return []
    return sorted(path.name for path in NETNS.iterdir() if re.fullmatch(pattern, path.name))


def pids(name):
    """The processes inside the namespace, as this machine numbers them."""
    return [int(pid) for pid in ip("netns", "pids", name).split()]


def inner_pid(pid):
    """The number a process has in its own pid namespace; None for one of the host's, or one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    numbers = status.partition("NSpid:")[2].partition("\n")[0].split()
    return int(numbers[-1]) if len(numbers) > 1 else None


def delete(name, deadline=60):
    """Kill what runs in the namespace and remove it; nothing happens when there is none."""
    if not (NETNS / name).exists():
        return
    end = time.monotonic() + deadline
    while left := pids(name):
        if time.monotonic() > end:
            raise CommandError(f"namespace {name}: processes {left} do not die")
        # A process 1 takes its pid namespace along, and the unshare that waits for it ends then.
        for pid in [pid for pid in left if inner_pid(pid) == 1] or left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.01)
    ip("netns", "delete", name)
