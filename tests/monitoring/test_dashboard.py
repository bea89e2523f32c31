"""The dashboard as a file: whether Grafana can show it, and whether it shows all that there is."""

import itertools
import re

from monitoring.prometheus import DASHBOARD, RULES, dashboard, names_in, panels

from bgpmesh.metrics import METRICS

SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
# Panels that Grafana itself has.
BUILT_IN = {"stat", "state-timeline", "table", "timeseries"}
# Metrics that neither the dashboard nor a rule looks at, and why. There is none.
LEFT_OUT = {}


def test_every_panel_has_a_number_of_its_own():
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(numbers) == len(set(numbers))


def test_no_panel_lies_over_another_or_outside():
    taken = {}
    for panel in dashboard()["panels"]:
        where = panel["gridPos"]
        assert where["x"] >= 0 and where["x"] + where["w"] <= 24, panel["title"]
        columns = range(where["x"], where["x"] + where["w"])
        for cell in itertools.product(columns, range(where["y"], where["y"] + where["h"])):
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]


def test_it_needs_nothing_but_grafana_and_a_data_source_of_choice():
    board = dashboard()
    assert board["schemaVersion"] >= 39 and "id" not in board
    assert {panel["type"] for panel in panels()} <= BUILT_IN
    source, *variables = board["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("DS_PROMETHEUS", "datasource", "prometheus")
    for part in [*panels(), *variables]:
        assert part["datasource"] == SOURCE, part
    for target in [target for panel in panels() for target in panel["targets"]]:
        assert "datasource" not in target


def test_every_panel_says_what_it_shows_and_in_which_unit():
    for panel in panels():
        assert panel["title"] and len(panel["description"]) > 10
        if panel["type"] in ("stat", "timeseries") and panel["title"] != "State":
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len(set(titles))


def test_every_variable_of_a_query_is_one_of_the_dashboard():
    known = {variable["name"] for variable in dashboard()["templating"]["list"]} | {"__rate_interval"}
    text = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    used = set(re.findall(r"\$(\w+)", text))
    assert used == known - {"DS_PROMETHEUS", "node"}


def test_rates_are_taken_over_more_than_the_half_minute_between_two_files():
    for panel in panels():
        if any("$__rate_interval" in target["expr"] for target in panel["targets"]):
            assert panel["interval"] == "30s", panel["title"]


def test_it_shows_no_metric_that_routers_do_not_have():
    assert names_in(DASHBOARD.read_text()) <= {row[0] for row in METRICS}


def test_every_metric_is_looked_at():
    seen = names_in(DASHBOARD.read_text()) | names_in(RULES.read_text())
    assert {row[0] for row in METRICS} - seen == set(LEFT_OUT)
