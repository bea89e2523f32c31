"""The alerts: promtool's own judgement, and what fires in a mesh whose metrics are made up, sample by sample."""

import json
import re

import pytest
from monitoring.prometheus import RULES, names_in, promtool

from bgpmesh.metrics import METRICS

# alfa and bravo are scraped over HTTP, carol by way of node exporter.
TARGETS = {
    "alfa": 'job="bgpmesh",instance="192.168.1.1:9179"',
    "bravo": 'job="bgpmesh",instance="192.168.2.1:9179"',
    "carol": 'job="node",instance="carol:9100"',
}
EVER = 300  # samples: five hours of one a minute, three days of one in a quarter of an hour
QUARTER = 15
DAY = 24 * 60 // QUARTER


def series(node, name, labels=""):
    """A metric of a router, as Prometheus stores it."""
    return "%s{%s}" % (name, ",".join(part for part in (TARGETS[node], labels) if part))


def steady(value, samples=EVER):
    """The same value again and again, in promtool's notation; parts are joined with a blank."""
    return f"{value}+0x{samples - 1}"


def growing(step, samples=EVER, start=0):
    return f"{start}+{step}x{samples - 1}"


def well(interval=1):
    """{series: values} of a mesh in which all is well; interval: minutes between two samples."""
    found = {}
    for node in TARGETS:
        labels = f'node="{node}",version="1.0",runtime="micropython",tinc="1.1",bird="3.1"'
        found[series(node, "bgpmesh_build_info", labels)] = steady(1)
        found[series(node, "bgpmesh_uptime_seconds")] = growing(60 * interval)
        for state in ("starting", "waiting", "syncing", "converged", "degraded", "stopping"):
            found[series(node, "bgpmesh_state", f'state="{state}"')] = steady(int(state == "converged"))
        found[series(node, "bgpmesh_memory_private_bytes")] = steady(800000)
        for part in ("etcd", "tinc", "bird"):
            found[series(node, f"bgpmesh_{part}_up")] = steady(1)
        found[series(node, "bgpmesh_etcd_polls_total", 'status="success"')] = growing(6)
        found[series(node, "bgpmesh_etcd_polls_total", 'status="error"')] = steady(0)
        found[series(node, "bgpmesh_etcd_poll_duration_seconds_sum")] = growing(0.06)
        found[series(node, "bgpmesh_etcd_poll_duration_seconds_count")] = growing(6)
        for peer in TARGETS:
            if peer != node:
                found[series(node, "bgpmesh_peer_online", f'peer="{peer}"')] = steady(1)
                found[series(node, "bgpmesh_peer_session_up", f'peer="{peer}"')] = steady(1)
                found[series(node, "bgpmesh_peer_session_age_seconds", f'peer="{peer}"')] = growing(60)
                found[series(node, "bgpmesh_peer_rtt_seconds", f'peer="{peer}"')] = steady(0.02)
        found[series(node, "up")] = steady(1)
    return found


def in_state(mesh, node, state, after):
    """The router is converged for `after` samples, and then in another state."""
    mesh[series(node, "bgpmesh_state", 'state="converged"')] = f"{steady(1, after)} {steady(0)}"
    mesh[series(node, "bgpmesh_state", f'state="{state}"')] = f"{steady(0, after)} {steady(1)}"


def silenced(mesh, node, after):
    """The router delivers nothing any more after so many samples."""
    for name in mesh:
        if TARGETS[node] in name:
            mesh[name] = f"{mesh[name].rpartition('x')[0]}x{after - 1} stale"
    mesh[series(node, "up")] = f"{steady(1, after)} {steady(0)}"


@pytest.fixture
def firing(tmp_path):
    """firing(mesh, {sample: alerts}): exactly those fire then, each as 'name router peer'."""

    def check(mesh, expected, interval=1):
        queries = [
            {
                "expr": 'count by (alertname, node, peer) (ALERTS{alertstate="firing"})',
                "eval_time": f"{number * interval}m",
                "exp_samples": [{"labels": labels_of(alert), "value": 1} for alert in alerts],
            }
            for number, alerts in expected.items()
        ]
        test = {
            "interval": f"{interval}m",
            "input_series": [{"series": name, "values": values} for name, values in mesh.items()],
            "promql_expr_test": queries,
        }
        file = {"rule_files": [str(RULES)], "evaluation_interval": f"{interval}m", "tests": [test]}
        path = tmp_path / "test.yml"  # JSON is YAML
        path.write_text(json.dumps(file))
        status, output = promtool("test", "rules", str(path))
        assert status == 0, output

    return check


def labels_of(alert):
    found = zip(("alertname", "node", "peer"), alert.split())
    return "{%s}" % ",".join(f'{name}="{value}"' for name, value in found)


# -- the file


def test_promtool_finds_nothing_wrong():
    status, output = promtool("check", "rules", "--lint-fatal", str(RULES))
    assert status == 0, output
    assert "SUCCESS: 15 rules found" in output


def test_every_metric_is_one_that_routers_have():
    assert names_in(RULES.read_text()) <= {row[0] for row in METRICS}


def test_every_alert_says_how_bad_it_is_and_what_to_do():
    alerts = RULES.read_text().split("- alert: ")[1:]
    assert len(alerts) == len({alert.split()[0] for alert in alerts})
    for alert in alerts:
        assert re.search("severity: (critical|warning)\n", alert), alert
        assert re.search("summary: .{20,100}\n", alert), alert
        assert "description: >-\n" in alert, alert
        assert "://" not in alert, alert


def test_every_alert_is_tried_here():
    alerts = re.findall("- alert: (.*)", RULES.read_text())
    text = open(__file__).read()
    assert [name for name in alerts if f'"{name}' not in text] == []


# -- is anything heard?


def test_nothing_fires_while_all_is_well(firing):
    firing(well(), {1: [], 30: [], 240: []})
    firing(well(QUARTER), {DAY: [], 3 * DAY: []}, QUARTER)


def test_one_router_that_is_heard_no_more(firing):
    mesh = well()
    silenced(mesh, "alfa", 10)
    silenced(mesh, "carol", 10)  # node exporter answers, without a file of ours
    mesh[series("carol", "up")] = steady(1)
    both = ["BgpmeshRouterSilent alfa", "BgpmeshRouterSilent carol"]
    firing(mesh, {14: [], 17: both})


def test_a_router_that_is_gone_for_a_day_is_gone_for_good(firing):
    mesh = well(QUARTER)
    silenced(mesh, "carol", 10)
    mesh[series("carol", "up")] = steady(1)
    firing(mesh, {11: ["BgpmeshRouterSilent carol"], DAY + 8: ["BgpmeshRouterSilent carol"], DAY + 11: []}, QUARTER)


def test_a_router_that_never_answered(firing):
    mesh = well()
    for name in [name for name in mesh if TARGETS["alfa"] in name]:
        del mesh[name]
    mesh[series("alfa", "up")] = steady(0)
    firing(mesh, {4: [], 6: ["BgpmeshRouterSilent"]})


def test_a_router_with_new_software_is_still_the_same(firing):
    mesh = well()
    old = [name for name in mesh if name.startswith("bgpmesh_build_info") and TARGETS["alfa"] in name][0]
    mesh[old] = f"{steady(1, 10)} stale"
    mesh[old.replace('version="1.0"', 'version="1.1"')] = f"_x10 {steady(1)}"
    firing(mesh, {9: [], 10: [], 11: [], 20: []})


def test_no_router_at_all(firing):
    mesh = well()
    for node in TARGETS:
        silenced(mesh, node, 10)
    firing(mesh, {19: [], 22: ["BgpmeshNothingHeard"]})


def test_a_file_that_nobody_writes_any_more(firing):
    mesh = well()
    mesh[series("carol", "bgpmesh_uptime_seconds")] = f"{growing(60, 10)} {steady(540)}"
    firing(mesh, {19: [], 23: ["BgpmeshMetricsStale carol"]})


def test_a_router_that_stopped_or_has_just_started_is_not_taken_for_stale(firing):
    mesh = well()
    silenced(mesh, "alfa", 20)
    mesh[series("bravo", "bgpmesh_uptime_seconds")] = f"_x20 {growing(60)}"
    firing(mesh, {number: [] for number in range(20, 25)})
    firing(mesh, {31: ["BgpmeshRouterSilent alfa"]})


# -- the router


def test_a_router_that_is_not_converged(firing):
    mesh = well()
    in_state(mesh, "alfa", "degraded", 10)
    firing(mesh, {19: [], 21: ["BgpmeshNotConverged alfa"]})


def test_a_router_that_goes_from_state_to_state_without_converging(firing):
    mesh = well()
    in_state(mesh, "alfa", "degraded", 10)
    mesh[series("alfa", "bgpmesh_state", 'state="degraded"')] = f"{steady(0, 10)} {steady(1, 5)} {steady(0)}"
    mesh[series("alfa", "bgpmesh_state", 'state="syncing"')] = f"{steady(0, 15)} {steady(1)}"
    firing(mesh, {21: ["BgpmeshNotConverged alfa"]})


def test_a_router_that_converges_now_and_then(firing):
    mesh = well()
    mesh[series("alfa", "bgpmesh_state", 'state="converged"')] = " ".join([steady(0, 8), steady(1, 1)] * 5)
    mesh[series("alfa", "bgpmesh_state", 'state="syncing"')] = " ".join([steady(1, 8), steady(0, 1)] * 5)
    firing(mesh, {number: [] for number in range(5, 45, 10)})


@pytest.mark.parametrize(("part", "alert"), [("tinc", "BgpmeshTincDown"), ("bird", "BgpmeshBirdDown")])
def test_a_daemon_that_does_not_run(firing, part, alert):
    mesh = well()
    mesh[series("bravo", f"bgpmesh_{part}_up")] = f"{steady(1, 10)} {steady(0, 5)} {steady(1)}"
    firing(mesh, {12: [], 14: [f"{alert} bravo"], 15: []})


def test_daemons_that_are_not_to_run_yet(firing):
    mesh = well()
    for node, state in (("alfa", "waiting"), ("carol", "starting")):
        in_state(mesh, node, state, 1)
        mesh[series(node, "bgpmesh_tinc_up")] = mesh[series(node, "bgpmesh_bird_up")] = steady(0)
        for peer in [peer for peer in TARGETS if peer != node]:
            del mesh[series(node, "bgpmesh_peer_session_up", f'peer="{peer}"')]
    firing(mesh, {15: ["BgpmeshNotConverged alfa", "BgpmeshNotConverged carol"]})


def test_an_agent_that_restarts_again_and_again(firing):
    mesh = well()
    mesh[series("alfa", "bgpmesh_uptime_seconds")] = " ".join([growing(60, 10)] * 5 + [growing(60)])
    mesh[series("bravo", "bgpmesh_uptime_seconds")] = " ".join([growing(60, 10)] * 3 + [growing(60)])
    firing(mesh, {39: [], 41: ["BgpmeshAgentRestarting alfa"], 120: []})


# -- the registry


def test_one_router_that_does_not_reach_the_registry(firing):
    mesh = well()
    mesh[series("alfa", "bgpmesh_etcd_up")] = f"{steady(1, 10)} {steady(0)}"
    in_state(mesh, "alfa", "degraded", 10)
    firing(mesh, {14: [], 16: ["BgpmeshEtcdUnreachable alfa"], 30: ["BgpmeshEtcdUnreachable alfa"]})


def test_no_router_reaches_the_registry(firing):
    mesh = well()
    for node in ("alfa", "bravo"):
        mesh[series(node, "bgpmesh_etcd_up")] = f"{steady(1, 10)} {steady(0)}"
        mesh[series(node, "bgpmesh_etcd_polls_total", 'status="success"')] = f"{growing(6, 10)} {steady(54)}"
        mesh[series(node, "bgpmesh_etcd_polls_total", 'status="error"')] = f"{steady(0, 10)} {growing(6)}"
        mesh[series(node, "bgpmesh_etcd_poll_duration_seconds_sum")] = f"{growing(0.06, 10)} {growing(30)}"
        in_state(mesh, node, "degraded", 10)
    firing(mesh, {12: [], 14: ["BgpmeshEtcdDown"], 60: ["BgpmeshEtcdDown"]})


def test_polls_that_fail_now_and_then(firing):
    mesh = well()
    mesh[series("alfa", "bgpmesh_etcd_polls_total", 'status="error"')] = f"{steady(0, 10)} {growing(2)}"
    mesh[series("bravo", "bgpmesh_etcd_polls_total", 'status="error"')] = f"{steady(0, 10)} {growing(1)}"
    firing(mesh, {20: [], 40: ["BgpmeshPollsFailing alfa"]})


@pytest.mark.parametrize("outage", [2, 4, 6, 30])
def test_an_outage_that_is_over_is_not_taken_for_polls_that_fail_now_and_then(firing, outage):
    mesh = well()
    good, bad = (series("alfa", "bgpmesh_etcd_polls_total", f'status="{status}"') for status in ("success", "error"))
    mesh[series("alfa", "bgpmesh_etcd_up")] = f"{steady(1, 10)} {steady(0, outage)} {steady(1)}"
    mesh[good] = f"{growing(6, 10)} {steady(54, outage)} {growing(6, start=60)}"
    mesh[bad] = f"{steady(0, 10)} {growing(6, outage)} {steady(6 * outage)}"
    firing(mesh, {number: [] for number in range(10 + outage + 1, 10 + outage + 25, 2)})


def test_polls_that_are_slow(firing):
    mesh = well()
    mesh[series("alfa", "bgpmesh_etcd_poll_duration_seconds_sum")] = f"{growing(0.06, 10)} {growing(18)}"
    mesh[series("bravo", "bgpmesh_etcd_poll_duration_seconds_sum")] = f"{growing(0.06, 10)} {growing(6)}"
    firing(mesh, {20: [], 40: ["BgpmeshPollsSlow alfa"]})


# -- the peers


def test_a_peer_without_its_session(firing):
    mesh = well()
    mesh[series("alfa", "bgpmesh_peer_session_up", 'peer="bravo"')] = f"{steady(1, 10)} {steady(0)}"
    mesh[series("bravo", "bgpmesh_peer_session_up", 'peer="carol"')] = f"{steady(1, 10)} stale"
    firing(mesh, {14: [], 17: ["BgpmeshSessionDown alfa bravo", "BgpmeshSessionDown bravo carol"]})


def test_a_peer_whose_routes_come_from_reflectors_need_have_no_session(firing):
    mesh = well()
    for peer, up in (("bravo", f"{steady(1)}"), ("carol", f"{steady(1, 10)} {steady(0)}")):
        mesh[series("alfa", "bgpmesh_peer_session_up", f'peer="{peer}"')] = "stale"
        mesh[series("alfa", "bgpmesh_peer_up", f'peer="{peer}"')] = up
    firing(mesh, {14: [], 17: ["BgpmeshSessionDown alfa carol"]})


def test_a_peer_that_is_offline_need_have_no_session(firing):
    mesh = well()
    for node in ("alfa", "bravo"):
        for name in ("bgpmesh_peer_session_up", "bgpmesh_peer_online"):
            mesh[series(node, name, 'peer="carol"')] = f"{steady(1, 10)} {steady(0)}"
    firing(mesh, {30: []})


def test_no_session_is_missed_where_bird_itself_is(firing):
    mesh = well()
    mesh[series("alfa", "bgpmesh_bird_up")] = f"{steady(1, 10)} {steady(0)}"
    for peer in ("bravo", "carol"):
        mesh[series("alfa", "bgpmesh_peer_session_up", f'peer="{peer}"')] = f"{steady(1, 10)} stale"
    firing(mesh, {30: ["BgpmeshBirdDown alfa"]})


def test_a_session_that_comes_and_goes(firing):
    mesh = well()
    flaps = [growing(60, 2)] * 8  # down and up again four times
    mesh[series("alfa", "bgpmesh_peer_session_age_seconds", 'peer="carol"')] = " ".join([growing(60, 10), *flaps])
    mesh[series("bravo", "bgpmesh_peer_session_age_seconds", 'peer="carol"')] = " ".join([growing(60, 10), *flaps[:6]])
    firing(mesh, {20: [], 26: ["BgpmeshSessionFlapping alfa carol"]})


# -- trends


def test_a_path_that_takes_far_longer_than_before(firing):
    mesh = well(QUARTER)
    for node, before, after in (("alfa", 0.02, 0.1), ("bravo", 0.04, 0.1), ("carol", 0.002, 0.04)):
        peer = "bravo" if node == "alfa" else "alfa"
        values = f"{steady(before, DAY)} {steady(after)}"
        mesh[series(node, "bgpmesh_peer_rtt_seconds", f'peer="{peer}"')] = values
    firing(mesh, {DAY: [], DAY + 3: ["BgpmeshLatencyHigh alfa bravo"], 2 * DAY + 8: []}, QUARTER)


def test_a_single_slow_answer_is_nothing(firing):
    mesh = well()
    name = series("alfa", "bgpmesh_peer_rtt_seconds", 'peer="bravo"')
    mesh[name] = " ".join([steady(0.02, 120), *[f"0.9 {steady(0.02, 5)}"] * 20])
    firing(mesh, {number: [] for number in range(125, 240, 10)})


def test_an_agent_whose_memory_grows(firing):
    mesh = well(QUARTER)
    mesh[series("alfa", "bgpmesh_memory_private_bytes")] = growing(15000, start=800000)
    mesh[series("bravo", "bgpmesh_memory_private_bytes")] = growing(7500, start=800000)
    # carol grows as alfa does, and starts anew every twelve hours: the last run has twice what the first had
    runs = [growing(15000, DAY // 2, 800000 * number) for number in range(1, 7)]
    mesh[series("carol", "bgpmesh_memory_private_bytes")] = " ".join(runs)
    mesh[series("carol", "bgpmesh_uptime_seconds")] = " ".join([growing(900, DAY // 2)] * 6)
    firing(mesh, {DAY: [], 2 * DAY: ["BgpmeshMemoryGrowing alfa"], 3 * DAY - 1: ["BgpmeshMemoryGrowing alfa"]}, QUARTER)
