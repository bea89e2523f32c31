"""A mesh of three routers that a real Prometheus watches, over HTTP and by way of a file."""

import contextlib
import json
import re
import subprocess
import time

import pytest
from lab import netns
from lab.mesh import settled
from lab.rpki import SERVER, roas, validator
from monitoring.prometheus import RULES, Prometheus, dashboard, panels, promtool

TOKEN = "sixteen or more characters"
LAB = {
    "nodes": 3,
    "boot": [1, 2],
    "options": {"poll_interval": "1", "http_token": TOKEN, "rpki": SERVER},
    "each": {
        1: {"options": {"http": "198.18.0.1:9179"}},
        2: {"options": {"http": "198.18.0.2:9179"}},
        3: {"options": {"http": "198.18.0.3:9179"}, "runtime": "python3"},
    },
}
# r3 is watched both ways.
CONFIG = {
    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
    "scrape_configs": [
        {"job_name": "bgpmesh", "static_configs": [{"targets": [f"198.18.0.{n}:9179" for n in (1, 2, 3)]}]},
        {"job_name": "node", "static_configs": [{"targets": ["198.18.0.3:9100"]}]},
    ],
}
OVER_HTTP, BY_FILE = "198.18.0.1:9179", "198.18.0.3:9100"
COLLECTOR = "/usr/lib/lua/prometheus-collectors/textfile.lua"
FILE = "/tmp/prometheus/bgpmesh.prom"

# As prometheus-node-exporter-lua with its textfile collector: passes on what is in the folder.
EXPORTER = """
import http.server, pathlib, sys

class Scrape(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        for path in pathlib.Path(sys.argv[1]).glob("*.prom"):
            self.wfile.write(path.read_bytes())

    def log_message(self, *_):
        pass

http.server.HTTPServer(("198.18.0.3", 9100), Scrape).serve_forever()
"""


def hasty(text):
    """The rules under names of their own, with seconds for minutes, and with every threshold passed: each of them
    is to be seen firing. Only those that ask whether something is up still take something to be down."""
    text = text.replace("alert: Bgpmesh", "alert: Hasty")
    text = re.sub(r"\b\d+[mh]\b|(?<=offset )1d", "3s", text)
    return re.sub(r"> \d[\d.]*", "> -1e9", text)


@pytest.fixture(scope="module")
def prometheus(lab, tmp_path_factory):
    """The Prometheus, once the mesh has converged."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "hasty.yml").write_text(hasty(RULES.read_text()))
    three = lab.router(3)
    three.write(COLLECTOR, "")
    roas(folder / "roas.json", {"192.168.2.0/24": 65000})
    rules = [str(RULES), "hasty.yml"]
    # Both are at the same address, which Prometheus is given.
    with Prometheus(lab, folder, {**CONFIG, "rule_files": rules}) as server, validator(lab, folder / "roas.json"):
        three.start()
        argv = ["ip", "netns", "exec", three.netns, "python3", "-c", EXPORTER, str(three.path(FILE).parent)]
        with subprocess.Popen(argv, env=netns.ENV) as exporter:
            try:
                settled(lab)
                yield server
            finally:
                exporter.kill()


def fetch(lab, path, *argv, number=1):
    """What a router answers to curl on another one: (status, text)."""
    url = f"http://198.18.0.{number}:9179{path}"
    argv = ["curl", "--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}", *argv, url]
    text, _, status = netns.run(["ip", "netns", "exec", lab.router(2).netns, *argv]).stdout.rpartition("\n")
    return int(status), text


def whole(text):
    """The names in what a router delivers, where it has all of them; a file may still be of its start."""
    names = re.findall("^# TYPE (.*)", text, re.MULTILINE)
    return "bgpmesh_peer_rtt_seconds gauge" in names and names


def fires(lab, prometheus, name, **labels):
    """Wait until the hasty rule fires with these labels, and look at what it then tells."""

    def found():
        for alert in prometheus.get("alerts")["alerts"]:
            matches = {"alertname": "Hasty" + name, **labels}.items() <= alert["labels"].items()
            if matches and alert["state"] == "firing":
                return alert

    alert = lab.wait(found, 40, f"{name} to fire for {labels}", 0.2)
    told = " ".join(alert["annotations"].values())
    assert not re.search("<no value>|<error|%!|{{", told), told
    for label in ("node", "peer"):
        assert labels.get(label, "") in told, told
    return alert


# -- what a router serves


@pytest.mark.parametrize("number", [1, 3], ids=["micropython", "python3"])
def test_promtool_finds_nothing_wrong_with_what_a_router_serves(lab, prometheus, number):
    text = lab.wait(
        lambda: (found := fetch(lab, "/metrics", number=number)[1]) and whole(found) and found, 20, "all metrics", 0.3
    )
    assert promtool("check", "metrics", text=text) == (0, "")


def test_status_and_peers_are_those_of_the_command(lab, prometheus):
    status, text = fetch(lab, "/status")
    assert status == 200
    found, told = json.loads(text), lab.router(1).status()
    assert found.keys() == told.keys()
    for name in ("node", "version", "runtime", "state", "problems", "address", "prefixes"):
        assert found[name] == told[name]
    status, text = fetch(lab, "/peers")
    assert status == 200
    found, told = json.loads(text)["peers"], lab.router(1).peers()
    assert [row["node"] for row in found] == ["r2", "r3"]
    assert [(row.keys(), row["address"], row["bgp"]) for row in found] == [
        (row.keys(), row["address"], row["bgp"]) for row in told
    ]


def test_sync_is_for_who_has_the_token(lab, prometheus):
    post = ("--request", "POST")
    assert fetch(lab, "/sync", *post)[0] == 401
    assert fetch(lab, "/sync", *post, "--header", "Authorization: Bearer another one")[0] == 401
    assert fetch(lab, "/sync", "--header", f"Authorization: Bearer {TOKEN}")[0] == 405
    status, text = fetch(lab, "/sync", *post, "--header", f"Authorization: Bearer {TOKEN}")
    assert (status, json.loads(text)) == (200, {"queued": True})


# -- the dashboard

# What has no series in a mesh that never had a problem; test_an_outage_of_the_registry shows that it gets some then.
EMPTY_WHILE_WELL = ("sum by (code) (bgpmesh_problems)", "bgpmesh_problems{", "sum by (instance) (bgpmesh_problems)")


def queries(instance, peer=".+"):
    """[(title, way to ask, expression)] of the dashboard, its variables replaced as Grafana does."""
    values = {"$instance": instance, "$peer": peer, "$__rate_interval": "10s"}
    found = []
    for panel in panels():
        for target in panel["targets"]:
            expr = target["expr"]
            for name, value in values.items():
                expr = expr.replace(name, value)
            assert "$" not in expr
            found.append((panel["title"], "query" if target.get("instant") else "draw", expr))
    return found


def answered(lab, prometheus, instance):
    """Every query of the dashboard gives something for this instance."""
    for title, ask, expr in queries(instance):
        found = lab.wait(lambda: getattr(prometheus, ask)(expr) or expr.startswith(EMPTY_WHILE_WELL), 20, expr, 0.3)
        assert found, title


def test_every_query_of_the_dashboard_has_an_answer(lab, prometheus):
    answered(lab, prometheus, OVER_HTTP)


def test_the_variables_of_the_dashboard_have_values(lab, prometheus):
    asked = {row["name"]: row["query"]["query"] for row in dashboard()["templating"]["list"] if row["type"] == "query"}
    assert prometheus.label_values(asked["node"]) == ["r1", "r2", "r3"]
    assert prometheus.label_values(asked["instance"].replace("$node", "r1")) == [OVER_HTTP]
    assert prometheus.label_values(asked["instance"].replace("$node", "r3")) == [BY_FILE, "198.18.0.3:9179"]
    assert prometheus.label_values(asked["peer"].replace("$instance", OVER_HTTP)) == ["r2", "r3"]


def test_a_peer_can_be_picked_out(lab, prometheus):
    rtt = [expr for title, _, expr in queries(OVER_HTTP, "r3") if title == "Latency by peer"][0]
    found = lab.wait(lambda: prometheus.draw(rtt), 20, rtt, 0.3)  # a round trip is looked at once a minute
    assert [labels["peer"] for labels in found] == ["r3"]


# -- the rules


def test_prometheus_takes_every_rule(lab, prometheus):
    groups = prometheus.get("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 2 * RULES.read_text().count("- alert: ")
    for rule in rules:
        assert rule["health"] != "err", rule
        prometheus.query(rule["query"])  # also where it is not yet its turn


@pytest.mark.parametrize(
    "name",
    ["AgentRestarting", "PollsFailing", "PollsSlow", "SessionFlapping", "LatencyHigh", "MemoryGrowing"],
)
def test_a_threshold_that_is_passed(lab, prometheus, name):
    fires(lab, prometheus, name, job="bgpmesh", node="r1")


def test_an_outage_of_the_registry(lab, prometheus):
    lab.etcd.stop()
    try:
        fires(lab, prometheus, "EtcdDown", job="bgpmesh")
        for title, ask, expr in queries(OVER_HTTP):
            assert getattr(prometheus, ask)(expr), title
    finally:
        lab.etcd.start()
        settled(lab)


def test_a_router_that_does_not_reach_the_registry(lab, prometheus):
    one = lab.router(1)
    etcd = one.options["etcd"]
    one.set("etcd", "http://198.18.0.2:2379")  # nobody listens there
    try:
        alert = fires(lab, prometheus, "EtcdUnreachable", node="r1")
        assert alert["labels"]["instance"] == OVER_HTTP
    finally:
        one.set("etcd", etcd)
        settled(lab)


def test_a_session_that_is_down(lab, prometheus):
    one = lab.router(1)
    assert "_r2: disabled" in one.bird("disable _r2")
    try:
        fires(lab, prometheus, "SessionDown", node="r1", peer="r2")
        fires(lab, prometheus, "SessionDown", node="r2", peer="r1")
        fires(lab, prometheus, "NotConverged", node="r1")
    finally:
        one.bird("enable _r2")
        settled(lab)


def test_daemons_that_do_not_start(lab, prometheus):
    with contextlib.ExitStack() as stack:
        stack.callback(settled, lab)
        stack.enter_context(without(lab.router(1), "tincd"))
        stack.enter_context(without(lab.router(2), "bird"))
        fires(lab, prometheus, "TincDown", node="r1")
        fires(lab, prometheus, "BirdDown", node="r2")


@contextlib.contextmanager
def without(router, daemon):
    """The daemon ends, and its program is not there to be started again."""
    program = router.path(f"/usr/sbin/{daemon}")
    aside = program.rename(program.with_name("aside"))
    router.kill(daemon)
    try:
        yield
    finally:
        aside.rename(program)


# -- the file, which is written every half minute: the last that is looked at


def test_the_file_says_what_is_served(lab, prometheus):
    three = lab.router(3)
    served = whole(fetch(lab, "/metrics", number=3)[1])
    lab.wait(lambda: whole(three.read(FILE)) == served, 60, "the file to be written once more", 0.3)


def test_every_query_of_the_dashboard_has_an_answer_by_file_as_well(lab, prometheus):
    answered(lab, prometheus, BY_FILE)


def test_a_file_that_stays_the_same(lab, prometheus):
    fires(lab, prometheus, "MetricsStale", job="node", node="r3")


def test_an_agent_that_is_stopped_takes_its_file_along(lab, prometheus):
    three = lab.router(3)
    assert three.read(FILE)
    three.ubus_call("service", "delete", {"name": "bgpmesh"})
    try:
        lab.wait(lambda: not three.path(FILE).exists(), 10, "the file to be gone")
        fires(lab, prometheus, "RouterSilent", job="bgpmesh", node="r3")
        fires(lab, prometheus, "RouterSilent", job="node", node="r3")
    finally:
        three.ubus_call("service", "add", {"name": "bgpmesh", **three.service()})
        settled(lab)
    lab.wait(lambda: three.read(FILE), 10, "the file of the next agent")


def test_nothing_was_heard_before_there_was_a_router(lab, prometheus):
    expr = [rule["query"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]
            if rule["name"] == "BgpmeshNothingHeard"][0]
    assert prometheus.query(expr) == []
    assert prometheus.query(expr, at=time.time() - 3600) != []


def test_every_rule_is_seen_firing_here():
    names = re.findall("- alert: Bgpmesh(.*)", RULES.read_text())
    text = open(__file__).read()
    assert [name for name in names if f'"{name}"' not in text and f'"Bgpmesh{name}"' not in text] == []
