"""Many real tincds that start at once, as after a power cut."""

import json


def test_a_hundred_tincds_that_start_together_find_each_other_and_drown_in_nothing(box):
    done = box().agent("python3", "/mnt/crowd_session.py", "100", timeout=540)
    assert done.returncode == 0, done.stdout
    found = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
    assert found["apart"] == [] and found["tunnels"] <= 300, found
    # What one sends to all arrives at nobody; what it sends to one does.
    assert (found["strays"], found["arrived"]) == (0, 10), found
    assert found["peak"] < 16384, found  # kB
