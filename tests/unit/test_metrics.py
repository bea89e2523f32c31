from example import golden
from fake_http import run
from test_status import Agent, running

from bgpmesh import metrics, status
from bgpmesh.metrics import METRICS, View
from bgpmesh.tally import Tally


def view(agent, **changes):
    """The View of test_status's agent, with what differs from run to run set."""
    found = status.status(agent)
    found.update(uptime=7, version="0.0", runtime="python", memory={"private_kb": 812})
    if found["etcd"]["age"] >= 0:
        found["etcd"]["age"] = 3
    polls, tinc, bird = Tally(), Tally(), Tally()
    polls.good, polls.bad, polls.seconds = 40, 2, 0.25
    tinc.good, tinc.seconds = 3, 0.125
    bird.bad, bird.seconds = 1, 0.5
    peers = run(status.peers(agent))
    for row in peers["peers"]:
        if row["bgp_age"] is not None:
            row["bgp_age"] = 75
    events = agent.mesh.events.counts if agent.mesh else {}
    seen = View(found, peers, polls, {"tinc": tinc, "bird": bird}, events, agent.problems.codes)
    for name in changes:
        setattr(seen, name, changes[name])
    return seen


def test_the_metrics_of_a_running_agent():
    agent = running()
    agent.problems.replace("records", [])  # over
    golden("metrics/running.prom", "".join(metrics.exposition(view(agent))))


def test_the_metrics_of_an_agent_that_has_just_started():
    golden("metrics/started.prom", "".join(metrics.exposition(view(Agent()))))


def test_every_name_has_samples():
    names = [piece.split(" ")[2] for piece in metrics.exposition(view(running()))]
    assert names == [row[0] for row in METRICS]


def test_names_from_outside_cannot_break_a_line():
    agent = running()
    seen = view(agent)
    seen.peers[0]["node"] = 'a"} 1\nevil\\'
    lines = "".join(metrics.exposition(seen)).split("\n")
    assert 'bgpmesh_peer_online{peer="a\\"} 1\\nevil\\\\"} 1' in lines
    assert not [line for line in lines if line.startswith("evil")]


def test_a_session_in_a_state_that_rfc_4271_does_not_name():
    seen = view(running())
    seen.peers[0]["bgp"] = "Passive"
    text = "".join(metrics.exposition(seen))
    assert 'bgpmesh_sessions{state="Passive"} 1\n' in text and 'bgpmesh_sessions{state="Idle"} 0\n' in text
