"""`make lab` as a person types it."""

import json

from conftest import make

from lab import netns
from lab.root import CACHE


def test_make_lab_shows_the_mesh_proves_it_and_takes_it_down():
    done = make("lab", "NODES=3", "LAB=make-lab")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert 0 < result.pop("converged_s") < 60
    assert result == {
        "nodes": 3, "established": 6, "ping_ok": True, "ping6_ok": True,
        "runtime": "micropython", "tinc": "1.1", "bird": "3",
    }
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("r") and "converged" in line]
    assert [row[0] for row in rows] == ["r1", "r2", "r3"]
    assert {row[2] for row in rows} == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    assert [row[3:5] for row in rows] == [["2/2", "2/2"]] * 3
    assert netns.names("make-lab-.*") == []
    assert not (CACHE / "lab" / "make-lab").exists()


def test_a_kept_lab_is_looked_into_and_taken_down():
    assert make("lab", "NODES=2", "LAB=make-keep", "KEEP=1").returncode == 0
    try:
        shell = make("shell", "LAB=make-keep", "R=2", "CMD=hostname; echo it\\'s $SHLVL")
        assert shell.stdout == "r2\nit's 1\n"
    finally:
        assert make("lab-down", "LAB=make-keep").returncode == 0
    assert netns.names("make-keep-.*") == []
    assert make("shell", "LAB=make-keep").returncode != 0
