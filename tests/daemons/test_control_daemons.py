"""The agent's control modules against real daemons, on both runtimes."""

import errno
import json
import socket

import pytest

RUNTIMES = ["micropython", "python3"]
BIRD = (
    "cp /mnt/golden/bird/three.conf /run/one.conf; bird -f -c /run/one.conf -s /run/bird.ctl & "
    "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/mnt/src:/mnt/unit MICROPYPATH=/mnt/src:/mnt/unit:.frozen "
    "RUNTIME /mnt/bird_session.py; kill $!"
)


def last(done):
    """The JSON in the last line that a session printed."""
    assert done.returncode == 0, done.stdout
    return json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])


def kernel_has_ao():
    """Whether this machine's kernel knows TCP_AO_ADD_KEY, whatever else it has to say."""
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, 38, bytes(280))
        except OSError as error:
            return error.errno != errno.ENOPROTOOPT
    return True


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("bird", ["2", "3"])
def test_a_real_bird_is_asked_and_configured(box, bird, runtime):
    found = last(box(bird=bird).sh(BIRD.replace("RUNTIME", runtime)))
    assert found["version"].startswith(bird + ".")
    # Of this machine's kernel; both BIRDs are new enough.
    assert found["ao"] == [kernel_has_ao(), True, kernel_has_ao()]
    assert found["first"] == found["after refusal"] == ["_bravo", "_carol"]
    assert found["session"][0] in ("Idle", "Connect", "Active", "Passive") and len(found["session"][1]) == 19
    assert found["routes"] == {"_bravo": 0, "_carol": 0}
    for step in ("check refused", "configure refused"):
        kind, text = found[step]
        assert kind == "ConfigError" and "/run/two.conf:" in text
    assert found["check accepted"] is found["configure accepted"] is found["back"] is None
    kind, text = found["unexpected"]
    assert kind == "BirdError" and "_emil" in text
    assert found["taken back"] is True
    assert found["second"] == ["_bravo", "_carol", "_emil"]
    assert found["confirmed"] == [[19, "Nothing to do"]]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("tinc", ["1.0", "1.1"])
def test_real_tincds_are_given_keys_files_and_orders(box, tinc, runtime):
    found = last(box(tinc=tinc).agent(runtime, "/mnt/tinc_session.py"))
    assert found["version"] == tinc
    assert found["keys"] == [True, tinc == "1.1"]
    assert found["modes"] == [True, False]
    assert found["stranger"] == []
    assert found["reached"] == [True, "127.0.0.1"]
    assert found["tunnels"] == [["one", "two"]]
    assert found["lost"] is True
    assert found["said"] == []
    if tinc == "1.1":
        assert "refused its files" in found["refused"]
