"""`make chaos` as a person types it, and the schedule that it goes by."""

import json
from types import SimpleNamespace

import pytest
from conftest import make
from lab import netns
from lab.root import CACHE, PROJECT

from chaos import invariants
from chaos.__main__ import Run
from chaos.faults import FAULTS, NODES, PROGRAMS
from chaos.schedule import schedule

ROUNDS = [schedule("a seed", number, 40) for number in range(1, 60)]


SEED = "short14713"  # one that has all of MUST in 25 seconds
MUST = {"killed", "cut-off", "etcd-killed", "clock-jumped", "cache-corrupted", "hostile-records"}


def test_a_short_run_bears_its_faults_and_leaves_nothing():
    strikes = schedule(SEED, 1, 25)
    assert {strike.fault for strike in strikes} >= MUST
    assert {strike.arguments["program"] for strike in strikes if strike.fault == "killed"} == set(PROGRAMS)
    done = make("chaos", "SECONDS=25", f"SEED={SEED}", "LAB=chaos-short")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"] and result["seed"] == SEED and result["rounds"] == len(result["recovery_s"]) == 1
    assert result["faults"] == len(strikes) and result["pings"] > 0
    assert set(result["memory_kb"]) == set(PROGRAMS)
    assert set(result["looks"]) == {*invariants.ALWAYS, *invariants.MEMBER, *invariants.STRANGER}
    assert netns.names("chaos-short-.*") == []
    assert not (CACHE / "lab" / "chaos-short").exists() and not (CACHE / "chaos" / SEED).exists()


def test_the_same_seed_gives_the_same_faults_and_another_gives_others():
    assert schedule("a", 3, 40) == schedule("a", 3, 40)
    assert schedule("a", 3, 40) != schedule("b", 3, 40) != schedule("b", 4, 40)


def test_every_fault_comes_and_is_over_within_its_round():
    strikes = [strike for strikes in ROUNDS for strike in strikes]
    assert {strike.fault for strike in strikes} == set(FAULTS)
    assert all(0 < strike.at <= strike.at + strike.seconds <= 40.01 for strike in strikes)
    for strike in strikes:
        shortest, longest = FAULTS[strike.fault].seconds or (0, 0)
        assert shortest <= strike.seconds <= longest


def test_what_a_fault_touches_no_other_fault_touches_meanwhile():
    for strikes in ROUNDS:
        for strike in strikes:
            during = [other for other in strikes if other.at < strike.at < other.at + other.seconds]
            for other in during:
                assert not strike.touches & other.touches, (strike, other)
                assert not {machine for machine, thing in other.touches if thing == "power"} & {
                    machine for machine, _ in strike.touches
                }


def test_the_mesh_begins_with_four_and_three_join_at_once():
    assert ROUNDS[0][0].fault == "joins" and ROUNDS[0][0].arguments == {"routers": list(NODES[4:])}
    assert "joins" not in {strike.fault for strikes in ROUNDS[1:] for strike in strikes}


def test_a_watch_that_ends_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr(invariants, "LOOK", 0)
    watch = invariants.Watch(None, tmp_path)  # where there is no field to look at
    watch.start()
    watch.join(10)
    (violation,) = watch.violations
    assert violation.startswith("the watch has ended: AttributeError(\"'NoneType' object")


def test_a_watch_that_has_seen_nothing_says_so(tmp_path):
    watch = invariants.Watch(None, tmp_path)
    watch.start()
    watch.stop()
    assert watch.violations == ["the watch has never looked at log, memory, routes, files, tunnels, refusal"]


@pytest.mark.parametrize("program", invariants.GROWTH)
def test_a_program_that_grows_is_seen_for_as_long_as_it_runs(monkeypatch, program):
    run = Run(SimpleNamespace(seconds=1, keep=False, name="chaos-grown"), "grown")
    sizes = {("r1", program, 7): 1000, ("r2", program, 7): 5000}
    monkeypatch.setattr(invariants, "memory", lambda field: sizes)
    run.judge_memory()
    sizes["r1", program, 7] += invariants.GROWTH[program]
    run.judge_memory()
    sizes["r1", program, 8] = sizes.pop(("r1", program, 7)) + 1
    run.judge_memory()
    sizes["r1", program, 8] += invariants.GROWTH[program] + 1
    with pytest.raises(invariants.Violation, match=f"r1: {program} has "):
        run.judge_memory()
    assert run.result["grown_kb"] == {program: invariants.GROWTH[program] + 1}


def test_a_host_file_is_seen_to_be_cut_wherever_it_is():
    text = (PROJECT / "tests/golden/tinc/three/hosts/bravo").read_text()
    added = f"\n# The following line was automatically added by tinc\nEd25519PublicKey = {'A' * 43}\n"
    assert all(map(invariants._HOST_FILE, (text, text + added, added)))
    assert not any(invariants._HOST_FILE(whole[:end]) for whole in (text, added) for end in range(len(whole)))


@pytest.mark.parametrize("text", ['{"address": "10.0.0.1"}\n{"node":', "\0" * 10, '{"address": "10.0.0.1"}', "[]\n"])
def test_half_a_cache_is_seen(text):
    assert not invariants._is_cache(text)
    assert invariants._is_cache('{"address": "10.0.0.1"}\n')
