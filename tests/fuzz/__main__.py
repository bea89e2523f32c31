"""`make fuzz`: what the agent reads from outside against inputs that coverage guides (atheris, libFuzzer).

Each target has a process for its share of the time. What it finds is left in .cache/fuzz/<target>, and a crash, a
hang or more memory than bound.py allows ends it with the input in .cache/fuzz/<target>.found-…; the last line is one
JSON object. With --keep, inputs that reach what those in tests/fuzz/corpus do not are added there.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".cache" / "fuzz"
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "tests" / "unit"), str(ROOT / "tests" / "fuzz")]

import bound  # noqa: E402
import kept  # noqa: E402

_MEASURED = 8  # one input of so many
_FORBIDDEN = ("os.remove", "os.rename", "os.mkdir", "os.chmod", "os.link", "subprocess.Popen", "socket.connect")


def forbid(event, arguments):
    """An audit hook that lets nothing be written, started or connected."""
    if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or event in _FORBIDDEN:
        raise RuntimeError("%s %r" % (event, arguments))


def fuzz(name, arguments):
    """Runs a target in this process, which then ends."""
    import atheris

    with atheris.instrument_imports(include=["bgpmesh"], enable_loader_override=False):
        import targets

        # What is imported only when it is needed takes memory once, and is to be instrumented, too.
        for data in kept.load(name):
            targets.TARGETS[name](data)
    # What raises must end the run, whatever it derives from.
    atheris.Setup([sys.argv[0], *arguments], bound.within(targets.TARGETS[name], _MEASURED))
    sys.addaudithook(forbid)
    atheris.Fuzz()


def run(name, seconds):
    """Fuzzes a target for so long; returns what came of it, a dict."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(kept.load(name)):
        (folder / f"kept-{number}").write_bytes(data)
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=1024", "-max_len=8192"]
    argv = [sys.executable, __file__, "--in-process", name, *limits, f"-artifact_prefix={WORK}/{name}.found-"]
    began = time.monotonic()
    done = subprocess.run(
        [*argv, "-print_final_stats=1", str(folder)], capture_output=True, errors="replace", cwd=ROOT
    )
    said = done.stdout + done.stderr
    if done.returncode:
        print("\n".join(line for line in said.split("\n") if line and not re.match(r"#\d|INFO|DE:", line)))
    covered = re.findall(r"cov: (\d+)", said)
    executions = re.search(r"stat::number_of_executed_units: *(\d+)", said)
    return {
        "target": name,
        "seconds": round(time.monotonic() - began),
        "executions": int(executions[1]) if executions else 0,
        "edges": int(covered[-1]) if covered else 0,
        "inputs": len(list(folder.iterdir())),
        "failed": bool(done.returncode),
    }


def keep(name):
    """Adds to the corpus what reaches new code, the shortest first; returns (before, after)."""
    import targets

    source = str(ROOT / "src")
    reached = set()

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(source):
            return None
        last = frame.f_lineno

        def local(frame, event, _):
            nonlocal last
            if event == "line":
                reached.add((frame.f_code, last, frame.f_lineno))
                last = frame.f_lineno
            return local

        return local

    def new(data):
        known = len(reached)
        sys.settrace(trace)
        try:
            targets.TARGETS[name](data)
        finally:
            sys.settrace(None)
        return len(reached) > known

    before = kept.load(name)
    for data in before:
        new(data)
    found = sorted((path.read_bytes() for path in (WORK / name).iterdir()), key=len)
    more = [data for data in found if len(data) <= 4096 and new(data)]
    kept.save(name, before + more)
    return len(before), len(kept.load(name))


def main():
    if sys.argv[1:2] == ["--in-process"]:
        fuzz(sys.argv[2], sys.argv[3:])
        return 1
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=300, help="for all targets together")
    parser.add_argument("--keep", action="store_true", help="add to tests/fuzz/corpus what reaches new code")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(kept.names()))
    given = parser.parse_args()
    chosen = given.targets or kept.names()
    unknown = [name for name in chosen if name not in kept.names()]
    if unknown:
        parser.error("no target %s; there are %s" % (", ".join(unknown), ", ".join(kept.names())))
    rows = []
    for name in chosen:
        row = run(name, max(1, given.seconds // len(chosen)))
        print("%(target)-12s %(executions)9d executions, %(edges)5d edges, %(inputs)5d inputs%(end)s" % {
            **row, "end": ", FAILED" if row["failed"] else ""
        }, flush=True)
        if given.keep and not row["failed"]:
            print("%-12s %d inputs kept, %d now" % ("", *keep(name)), flush=True)
        rows.append(row)
    print(json.dumps({"targets": rows, "failed": [row["target"] for row in rows if row["failed"]]}))
    return 1 if any(row["failed"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
