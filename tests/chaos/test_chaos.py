"""`make chaos` as a person types it, and the schedule that it goes by."""

import json

import pytest
from conftest import make
from lab import netns
from lab.root import CACHE

from chaos import invariants
from chaos.faults import FAULTS, NODES
from chaos.schedule import schedule

ROUNDS = [schedule("a seed", number, 40) for number in range(1, 60)]


def test_a_short_run_bears_its_faults_and_leaves_nothing():
    done = make("chaos", "SECONDS=25", "SEED=short", "LAB=chaos-short")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"] and result["seed"] == "short" and result["rounds"] == len(result["recovery_s"]) == 1
    assert result["faults"] == len(schedule("short", 1, 25)) and result["pings"] > 0
    assert set(result["looks"]) == {*invariants.ALWAYS, *invariants.MEMBER, *invariants.STRANGER}
    assert netns.names("chaos-short-.*") == []
    assert not (CACHE / "lab" / "chaos-short").exists() and not (CACHE / "chaos" / "short").exists()


def test_the_same_seed_gives_the_same_faults_and_another_gives_others():
    assert schedule("a", 3, 40) == schedule("a", 3, 40)
    assert schedule("a", 3, 40) != schedule("b", 3, 40) != schedule("b", 4, 40)


def test_every_fault_comes_and_is_over_within_its_round():
    strikes = [strike for strikes in ROUNDS for strike in strikes]
    assert {strike.fault for strike in strikes} == set(FAULTS)
    assert all(0 < strike.at <= strike.at + strike.seconds <= 40.01 for strike in strikes)
    assert all((strike.seconds > 0) == (FAULTS[strike.fault].seconds is not None) for strike in strikes)


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


@pytest.mark.parametrize("text", ['{"address": "10.0.0.1"}\n{"node":', "\0" * 10, '{"address": "10.0.0.1"}', "[]\n"])
def test_half_a_cache_is_seen(text):
    assert not invariants._is_cache(text)
    assert invariants._is_cache('{"address": "10.0.0.1"}\n')
