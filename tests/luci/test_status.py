"""Status → BGP mesh, and the card on the overview."""

import re
import threading

import pytest
from playwright.sync_api import expect

from luci import told as mesh
from luci.pages import DARK, PHONE, WAIT, column, poll, shot
from luci.server import ACCESS_DENIED, OBJECT_NOT_FOUND

MARKUP = "<img src=x onerror=alert(1)>"
STATUS, PEERS, ROUTES, TUNNELS = [("luci.bgpmesh", name) for name in ("status", "peers", "routes", "tunnels")]
BROKEN = mesh.problem("router 'n5' has no BGP session: see that TCP port 179 is open there")


# -- what it says


def headline(page):
    return page.locator(".bm-row h3").first


def test_each_state_has_words(told):
    told.server.answers = mesh.mesh(3)
    page = told.open()
    for state, words in (
        ("converged", "The mesh works"),
        ("degraded", "The mesh works in part"),
        ("syncing", "The mesh is being set up"),
        ("waiting", "This router waits to join"),
        ("starting", "The agent is starting"),
        ("stopping", "The agent is stopping"),
        ("another", "Unknown state"),
    ):
        told.server.answers[STATUS]["state"] = state
        poll(page)
        expect(headline(page)).to_have_text(words)


def test_problems_and_what_is_waited_for_are_on_top(told):
    told.server.answers = mesh.mesh(6, offline=[4], broken=[5], state="degraded", problems=[BROKEN],
                                    doing="waits for BGP sessions: 3 of 5")
    page = told.open()
    expect(page.locator(".bm-doing")).to_have_text("Now: waits for BGP sessions: 3 of 5")
    expect(page.locator(".bm-problems li")).to_contain_text(BROKEN["text"])
    shot(page, "degraded")


def test_a_router_alone_has_no_picture_until_there_is_another(told):
    told.server.answers = mesh.mesh(1)
    page = told.open()
    expect(headline(page)).to_have_text("The mesh works")
    expect(page.locator(".bm-row").first).to_contain_text("No other router has joined yet.")
    expect(page.locator(".bm-net")).not_to_be_visible()
    told.server.answers = mesh.mesh(2)
    poll(page)
    expect(page.locator(".bm-net > svg .bm-session")).to_have_count(1)


def test_a_router_of_the_lab_shows_its_mesh(live, lab):
    lab.wait(lambda: lab.router(1).status()["state"] == "converged", 60, "the state of r1")
    page = live.open()
    expect(headline(page)).to_have_text("The mesh works")
    expect(page.locator(".bm-list").first.locator("tbody tr")).to_have_count(2)
    assert column(page, "Router") == ["r2", "r3"]
    expect(page.locator('td[data-title="BGP session"]').first).to_contain_text("Established")
    prefixes = column(page, "Prefix", table=1)
    assert {"192.168.2.0/24", "192.168.3.0/24"} <= set(prefixes)
    expect(page.locator(".bm-net > svg .bm-session")).to_have_count(2)
    shot(page, "live")


def test_a_peer_that_goes_offline_is_seen_to_while_the_page_is_open(live, lab):
    page = live.open()
    row = page.locator(".bm-list").first.locator("tr.tr", has_text="r3")
    expect(row).to_contain_text("connected")
    lab.router(3).stop()
    try:
        # What the end of its lease does half a minute later.
        lab.etcdctl(["del", "/alive/r3"])
        lab.wait(lambda: poll(page) or "offline" in row.inner_text(), 60, "r3 to be shown as offline")
        expect(page.locator("svg desc").first).to_contain_text("Offline: r3")
    finally:
        lab.router(3).start()
    lab.wait(lambda: poll(page) or "connected" in row.inner_text(), 60, "r3 to be shown as connected")


def test_an_agent_that_stops_is_missed_and_what_was_known_stays(live, lab):
    router = lab.router(1)
    page = live.open()
    expect(page.locator('td[data-title="Router"]').first).to_be_visible()
    router.ubus_call("service", "delete", {"name": "bgpmesh"})
    try:
        # By the page's own polls, of which one may have come upon its end.
        expect(headline(page)).to_have_text("The agent is not running", timeout=2 * WAIT)
        expect(page.locator(".bm-row").first).to_contain_text("service bgpmesh start")
        expect(page.locator(".bm-old")).to_contain_text(re.compile(r"was so \d+ s ago"))
        expect(page.locator('td[data-title="Router"]').first).to_be_visible()
        page.get_by_role("button", name="Check now").click()
        expect(page.locator(".bm-layers")).to_contain_text("it does not run")
        expect(page.locator(".bm-layers")).to_contain_text("What to do: service bgpmesh start")
        shot(page, "not-running")
    finally:
        router.ubus_call("service", "set", {"name": "bgpmesh", **router.service()})
    lab.wait(lambda: poll(page) or "running" not in headline(page).inner_text(), 30, "the agent to be back")
    expect(page.locator(".bm-old")).to_have_text("")


def test_without_an_agent_from_the_start_there_is_no_more_than_how_to_start_it(told):
    page = told.open()
    expect(headline(page)).to_have_text("The agent is not running")
    expect(page.get_by_text("Routers")).not_to_be_visible()
    expect(page.get_by_role("button", name="Check now")).to_be_visible()


def test_an_expired_login_is_named_and_what_was_known_stays_with_its_age(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    told.server.expire(page.sid)
    poll(page)
    expect(headline(page)).to_have_text("Your login has expired")
    # Only now: an answer that was under way would have been one of that later hour.
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 90000; }")
    poll(page)
    expect(page.locator(".bm-old")).to_have_text("What is shown below was so 1 min ago.")
    assert column(page, "Router") == ["n2", "n3", "n4"]


def test_what_keeps_it_from_answering_is_told_apart(told):
    told.server.answers = mesh.mesh(3)
    page = told.open()
    for answer, words in (
        (ACCESS_DENIED, "Access denied"),
        (6, "Access denied"),
        (OBJECT_NOT_FOUND, "The agent is not running"),
        (4, "The agent is not running"),
        (7, "The agent does not answer"),
        ((-32700, "?"), "The router does not answer"),
    ):
        told.server.answers[STATUS] = answer
        poll(page)
        expect(headline(page)).to_have_text(words)
    told.server.answers = mesh.mesh(3)
    poll(page)
    expect(headline(page)).to_have_text("The mesh works")


def test_a_call_that_nobody_answers_holds_up_no_other(told):
    told.server.answers = mesh.mesh(3)
    page = told.open()
    ended = threading.Event()
    told.server.answers[STATUS] = lambda args: ended.wait(60) and 4
    expect(headline(page)).to_have_text("The agent does not answer", timeout=2 * WAIT)
    told.server.answers[STATUS] = OBJECT_NOT_FOUND
    expect(headline(page)).to_have_text("The agent is not running")
    ended.set()


def test_a_server_that_is_gone_is_no_mistake_of_the_page(told):
    told.server.answers = mesh.mesh(3)
    page = told.open()
    page.context.set_offline(True)
    poll(page)
    expect(headline(page)).to_have_text("The router does not answer")
    page.context.set_offline(False)
    poll(page)
    expect(headline(page)).to_have_text("The mesh works")


def test_an_agent_without_tunnels_and_routes_is_shown_all_the_same(told):
    told.server.answers = {**mesh.mesh(4), TUNNELS: 3, ROUTES: 3}
    page = told.open()
    expect(headline(page)).to_have_text("The mesh works")
    assert page.locator(".bm-net > svg .bm-tunnel").count() == 3


def test_routes_that_cannot_be_had_just_now_are_those_of_before(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    page.evaluate("() => L.classes.poll.stop()")
    told.server.answers[ROUTES] = 7
    before = told.server.calls.count(ROUTES)
    while told.server.calls.count(ROUTES) == before:
        poll(page)
    expect(page.get_by_text("Routes learned over the mesh: 3")).to_be_visible()
    assert column(page, "Prefix", table=1) == ["192.168.2.0/24", "192.168.3.0/24", "192.168.4.0/24"]


# -- buttons


def test_a_check_shows_every_layer_with_what_to_do(told):
    layers = [("configuration", True, "node 'n1'", ""), ("etcd", False, "no answer", "see that etcd runs there")]
    told.server.answers = {**mesh.mesh(3), **mesh.check(layers)}
    page = told.open()
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("Not every layer is fine")).to_be_visible()
    items = page.locator(".bm-layers li")
    expect(items.nth(0)).to_contain_text("configuration – fine")
    expect(items.nth(0)).not_to_contain_text("What to do")
    expect(items.nth(1)).to_contain_text("etcd – not fine")
    expect(items.nth(1)).to_contain_text("What to do: see that etcd runs there")


def test_a_check_that_fails_says_so(told):
    told.server.answers = {**mesh.mesh(3), ("file", "exec"): {"code": 127, "stderr": "not found"}}
    page = told.open()
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("The check could not be run")).to_be_visible()
    expect(page.get_by_text("not found", exact=True)).to_be_visible()


def test_a_check_of_a_real_router(live):
    page = live.open()
    page.get_by_role("button", name="Check now").click()
    expect(page.locator(".bm-layers li")).not_to_have_count(0)
    expect(page.locator(".bm-layers")).to_contain_text("configuration – fine")


def test_sync_asks_the_agent(live):
    page = live.open()
    page.get_by_role("button", name="Sync now").click()
    expect(page.get_by_text("The registry is asked now")).to_be_visible()
    assert ("luci.bgpmesh", "sync") in live.server.calls


def test_a_login_that_may_only_read_cannot_sync(told):
    told.server.answers = mesh.mesh(3)
    sid = told.server.login("luci-app-bgpmesh", write=False)
    page = told.open(sid=sid)
    expect(page.get_by_role("button", name="Sync now")).to_be_disabled()
    message = {"id": 1, "method": "call", "params": [sid, "luci.bgpmesh", "sync", {}]}
    assert told.server.answer(message)["error"]["code"] == ACCESS_DENIED[0]


# -- the table

SORTED = {
    "Router": ["n2", "n3", "n4", "n5", "n10"],
    "Address": ["n2", "n3", "n4", "n5", "n10"],
    "Reached at": ["n2", "n3", "n5", "n10", "n4"],
    "Tunnel": ["n2", "n4", "n10", "n3", "n5"],
    "BGP session": ["n10", "n4", "n3", "n2", "n5"],
    "Routes": ["n5", "n10", "n2", "n3", "n4"],
    "Latency": ["n10", "n4", "n2", "n3", "n5"],
}
SORTED_DOWN = {
    "Router": ["n10", "n5", "n4", "n3", "n2"],
    "Address": ["n10", "n5", "n4", "n3", "n2"],
    "Reached at": ["n10", "n5", "n3", "n2", "n4"],
    "Tunnel": ["n5", "n3", "n2", "n4", "n10"],
    "BGP session": ["n2", "n3", "n4", "n10", "n5"],
    "Routes": ["n4", "n3", "n2", "n10", "n5"],
    "Latency": ["n3", "n2", "n4", "n10", "n5"],
}


def five():
    """n2, n3, n4 (dials itself), n5 (offline) and n10, with values that every column sorts another way."""
    answers = mesh.mesh(10, offline=[5], indirect=[3])
    peers = [peer for peer in answers[PEERS]["peers"] if peer["node"] in ("n2", "n3", "n4", "n5", "n10")]
    latency = {"n10": 2, "n4": 9.5, "n2": 80, "n3": 100, "n5": None}
    routes = {"n5": 0, "n10": 1, "n2": 2, "n3": 3, "n4": 20}
    for peer in peers:
        peer.update(rtt_ms=latency[peer["node"]], routes_received=routes[peer["node"]])
    answers[PEERS] = {"peers": peers}
    return answers


def test_a_member_without_a_session_is_connected_by_way_of_the_reflectors(told):
    told.server.answers = mesh.mesh(5, broken=[5])
    by = {peer["node"]: peer for peer in told.server.answers[PEERS]["peers"]}
    by["n4"].update(bgp="", bgp_since="", bgp_age=None, via=["n2", "n3"])
    by["n5"].update(bgp="", bgp_since="", bgp_age=None, via=[])
    page = told.open()
    rows = page.locator(".bm-list").first
    expect(rows.locator("tr", has_text="via n2, n3")).to_contain_text("n4")
    expect(rows.locator("tr", has_text="via n2, n3")).to_contain_text("connected")
    expect(rows.locator("tr", has_text="10.0.0.5")).to_contain_text("no BGP session")
    assert rows.locator("tr", has_text="via").count() == 1
    rows.get_by_role("button", name="BGP session").click()
    assert column(page, "Router") == ["n3", "n2", "n4", "n5"]


def test_a_page_that_does_not_show_all_routers_says_so(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    expect(page.get_by_text("other routers are known")).to_have_count(0)
    told.server.answers[PEERS]["total"] = 2000
    poll(page)
    expect(page.get_by_text("2000 other routers are known; the first 3 are shown")).to_be_visible()


def test_what_a_path_loses_is_beside_its_latency(told):
    told.server.answers = mesh.mesh(4)
    for peer in told.server.answers[PEERS]["peers"]:
        peer.update(rtt_ms=30, loss_percent=12 if peer["node"] == "n3" else 0)
    page = told.open()
    cells = page.locator('.bm-list td[data-title="Latency"]')
    assert [" ".join(text.split()) for text in cells.all_inner_texts()[:3]] == ["30 ms", "30 ms 12% lost", "30 ms"]


def sign(page, title):
    return page.get_by_role("columnheader", name=title).first.get_attribute("aria-sort")


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_every_column_sorts_both_ways(told, by):
    told.server.answers = five()
    page = told.open()
    for title in ["Address", "Reached at", "Tunnel", "BGP session", "Routes", "Latency", "Router"]:
        press = page.locator(".bm-list").first.get_by_role("button", name=title)
        for direction, order in (("ascending", SORTED), ("descending", SORTED_DOWN)):
            if by == "mouse":
                press.click()
            else:
                press.press("Enter" if direction == "ascending" else "Space")
            assert (sign(page, title), column(page, "Router")) == (direction, order[title]), title
    assert page.locator("th[aria-sort=ascending], th[aria-sort=descending]").count() == 2, "one in each table"


def test_order_focus_scroll_and_rows_survive_polls(told):
    told.server.answers = five()
    page = told.open(viewport={"width": 1000, "height": 400})
    press = page.locator(".bm-list").first.get_by_role("button", name="Latency")
    press.focus()
    press.press("Enter")
    press.press("Enter")
    page.evaluate("() => { window.scrollTo(0, 700); document.querySelector('.bm-list tbody tr').mark = 'same'; }")
    before = page.evaluate("() => window.scrollY")
    for peer in told.server.answers[PEERS]["peers"]:
        peer["rtt_ms"] = {"n3": 1, "n10": 500}.get(peer["node"], peer["rtt_ms"])
    told.server.answers[PEERS]["peers"].append({**told.server.answers[PEERS]["peers"][0], "node": "n7", "rtt_ms": 90})
    poll(page)
    expect(page.locator(".bm-list").first.locator("tbody tr")).to_have_count(6)
    assert column(page, "Router") == ["n10", "n7", "n2", "n4", "n3", "n5"]
    assert sign(page, "Latency") == "descending"
    assert page.evaluate("() => document.activeElement.textContent").startswith("Latency")
    assert page.evaluate("() => window.scrollY") == before
    rows = page.evaluate("() => [...document.querySelectorAll('.bm-list tbody tr')].filter(tr => tr.mark).length")
    assert rows == 1, "the rows are those that were there"
    # And a row whose router is gone goes.
    told.server.answers[PEERS]["peers"].pop()
    poll(page)
    assert column(page, "Router") == ["n10", "n2", "n4", "n3", "n5"]


def test_a_poll_that_brings_nothing_new_changes_nothing(told):
    told.server.answers = mesh.mesh(6, offline=[4])
    page = told.open()
    poll(page)
    page.evaluate("""() => {
        window.changes = 0;
        const watch = new MutationObserver(found => { window.changes += found.length; });
        document.querySelectorAll('.bm-row, .bm-net, .bm-list').forEach(node =>
            watch.observe(node, { childList: true, characterData: true, subtree: true }));
    }""")
    poll(page)
    assert page.evaluate("() => window.changes") == 0


# -- the drawing


def test_the_drawing_shows_every_router_and_names_what_fits(told):
    told.server.answers = mesh.mesh(1)
    page = told.open()
    picture = page.locator(".bm-net > svg")
    for count in (2, 3, 12, 16, 17, 60):
        offline = [3] if count > 2 else []
        told.server.answers = mesh.mesh(count, offline=offline)
        poll(page)
        expect(picture.locator("g")).to_have_count(count)
        assert picture.locator(".bm-session").count() == count - 1 - len(offline)
        names = picture.locator("text").all_text_contents()
        assert "n1" in names
        assert count > 16 or {f"n{number}" for number in range(1, count + 1)} <= set(names)
        boxes = picture.evaluate("""svg => [...svg.querySelectorAll('text')].map(text => {
            const box = text.getBoundingClientRect();
            return [box.left, box.right];
        })""")
        width = page.evaluate("() => document.documentElement.clientWidth")
        assert all(left >= 0 and right <= width for left, right in boxes)
        shot(page, f"mesh-{count}", ".bm-net")


def test_offline_routers_differ_by_their_shape(told):
    told.server.answers = mesh.mesh(5, offline=[3], broken=[4])
    page = told.open()
    shapes = page.evaluate("""() => Object.fromEntries([...document.querySelectorAll('.bm-net > svg g')].map(g =>
        [g.firstChild.textContent, [...g.children].slice(1).map(shape => shape.outerHTML)]))""")
    # Without where they are and how they are coloured: what is drawn.
    place = re.compile(r'class="[^"]*"|[\d. -]')
    drawn = {name: tuple(place.sub("", shape) for shape in found) for name, found in shapes.items()}
    assert len({drawn[name] for name in ("n1 (this router)", "n2", "n3", "n4")}) == 4
    assert drawn["n2"] == drawn["n5"]


def test_the_drawing_is_told_in_words(told):
    told.server.answers = mesh.mesh(5, offline=[3], broken=[4])
    page = told.open()
    picture = page.locator(".bm-net > svg")
    assert picture.get_attribute("role") == "img"
    named = [page.locator("#" + name).text_content() for name in picture.get_attribute("aria-labelledby").split()]
    assert named == [
        "The mesh as n1 sees it",
        "Routers: 5. Tunnels: 6. Connected: n2, n5. Without a BGP session: n4. Offline: n3.",
    ]


def test_latencies_are_at_the_lines_and_follow(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    for peer in told.server.answers[PEERS]["peers"]:
        peer["rtt_ms"] = {"n2": 3.25, "n3": 45.4, "n4": None}[peer["node"]]
    poll(page)
    found = [text for text in page.locator(".bm-net > svg text").all_text_contents() if "ms" in text]
    assert sorted(found) == ["3.3 ms", "45 ms"]


# -- the curves

TIMES = "() => { const now = Date.now; window.later = 0; Date.now = () => now() + window.later; }"


def hold_time(page):
    """From now on the page polls when it is told to, and `wait_for` makes its time pass."""
    page.evaluate("() => L.classes.poll.stop()")
    poll(page)
    page.evaluate(TIMES)


def wait_for(page, seconds):
    """Let so much time pass for the page, and have it poll."""
    page.evaluate("seconds => { window.later += seconds * 1000; }", seconds)
    poll(page)


def curve(page, chart, line=0):
    """The strokes of a line of a chart: lists of (x, y)."""
    path = page.locator(".bm-charts > div").nth(chart).locator("div > svg > path").nth(line).get_attribute("d") or ""
    strokes = []
    for letter, x, y in re.findall(r"([ML])([\d.]+) ([\d.]+)", path):
        if letter == "M":
            strokes.append([])
        strokes[-1].append((float(x), float(y)))
    return strokes


def test_the_time_axis_is_the_time_and_a_gap_is_a_gap(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    hold_time(page)
    rates = []
    for seconds in (5, 5, 10, 40, 5):
        wait_for(page, seconds)
        rates.append(page.locator(".bm-charts > div").nth(2).locator("strong").first.inner_text())
    assert rates == ["0 bit/s"] * 3 + ["–", "0 bit/s"], "what passed in a gap is no rate of now"
    strokes = curve(page, 0)
    assert [len(stroke) for stroke in strokes][-2:] == [sum(len(stroke) for stroke in strokes[:-1]), 2]
    first, second = strokes[-2:]
    steps = [b[0] - a[0] for a, b in zip(first, first[1:], strict=False)][-3:]
    assert steps[2] == pytest.approx(2 * steps[1], rel=0.2)
    assert second[0][0] - first[-1][0] == pytest.approx(8 * steps[1], rel=0.2)


def test_an_agent_that_was_away_leaves_a_gap(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    hold_time(page)
    wait_for(page, 5)
    told.server.answers[STATUS] = OBJECT_NOT_FOUND
    wait_for(page, 5)
    told.server.answers = mesh.mesh(4)
    wait_for(page, 5)
    wait_for(page, 5)
    assert len(curve(page, 0)) == 2


def test_traffic_is_a_rate_and_counters_that_start_again_are_no_spike(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    hold_time(page)
    counter = told.server.answers[STATUS]["tinc"]
    texts = []
    for rx in (1125000, 1250000, 5000, 130000, 255000):
        counter["rx_bytes"] = rx
        wait_for(page, 5)
        texts.append(page.locator(".bm-charts > div").nth(2).locator("strong").first.inner_text())
    assert texts[2] == "–", texts
    for text in texts[1:2] + texts[3:]:
        # 125,000 bytes in five seconds, and what the polls themselves took
        assert text.endswith(" kbit/s") and 150 < float(text.split()[0]) <= 201, texts
    strokes = curve(page, 2)
    assert len(strokes) == 2
    heights = [y for stroke in strokes for _, y in stroke][1:]
    assert max(heights) - min(heights) < 40, "about the same rate all the time"


def test_the_axes_have_units_and_the_clock(told):
    told.server.answers = mesh.mesh(4)
    page = told.open()
    labels = [chart.locator("svg text").all_text_contents() for chart in page.locator(".bm-charts > div").all()]
    assert any(re.fullmatch(r"\d\d:\d\d", text) for text in labels[0])
    assert any(text.endswith(" ms") for text in labels[1])
    assert any(text.endswith("bit/s") for text in labels[2])
    label = page.locator(".bm-charts > div").nth(1).locator("div > svg").get_attribute("aria-label")
    assert re.fullmatch(r"Latency, the last 5 minutes. Now: median \S+ ms, worst \S+ ms", label)


# -- what others wrote


def poisoned(value):
    """The answer with markup as every text in it, numbers and flags as they are."""
    if isinstance(value, dict):
        return {name: poisoned(found) for name, found in value.items()}
    if isinstance(value, list):
        return [poisoned(found) for found in value]
    return MARKUP if isinstance(value, str) else value


def test_no_text_of_anybody_becomes_markup(told):
    answers = mesh.mesh(3, broken=[3], state="degraded", problems=[BROKEN], doing="waits")
    bad = {name: poisoned(answer) for name, answer in answers.items()}
    bad[STATUS]["node"] = "n1"
    for number, peer in enumerate(bad[PEERS]["peers"]):
        peer["node"] = f"{number}{MARKUP}"
    bad[TUNNELS] = {"tunnels": [["n1", "0" + MARKUP], ["0" + MARKUP, "1" + MARKUP]]}
    told.server.answers = {**bad, **mesh.check([(MARKUP, False, MARKUP, MARKUP)])}
    page = told.open()
    page.get_by_role("button", name="Check now").click()
    expect(page.locator(".bm-layers")).to_contain_text(f"What to do: {MARKUP}")
    told.server.answers["file", "exec"] = {"code": 1, "stdout": MARKUP}
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("The check could not be run")).to_be_visible()
    expect(page.locator(".bm-problems")).to_have_text(f"!{MARKUP}")
    expect(page.locator(".bm-doing")).to_contain_text(MARKUP)
    expect(page.locator('td[data-title="Reached at"]').first).to_have_text(MARKUP)
    expect(page.locator('td[data-title="Prefix"]').first).to_have_text(MARKUP)
    told.server.answers[STATUS]["node"] = MARKUP
    poll(page)
    expect(page.locator("#bm-title")).to_contain_text(MARKUP)
    assert page.locator("img").count() == 0
    told.server.answers[STATUS]["problems"][0]["text"] = MARKUP
    overview = told.open("admin/status/overview")
    expect(overview.get_by_text(MARKUP).first).to_be_visible()
    assert overview.locator("img").count() == 0


# -- for everybody

CONTRAST = """() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const linear = c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const light = rgb => rgb.slice(0, 3).reduce((sum, c, i) => sum + linear(c / 255) * [.2126, .7152, .0722][i], 0);
    const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
    const ratio = (a, b) => (Math.max(light(a), light(b)) + .05) / (Math.min(light(a), light(b)) + .05);
    const found = [];
    const walk = document.createTreeWalker(document.getElementById('view'), NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const node = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.closest('style, script, title, desc'))
            continue;
        let below = null, opacity = 1;
        for (let up = node; up; up = up.parentElement) {
            const back = parse(getComputedStyle(up).backgroundColor);
            opacity *= +getComputedStyle(up).opacity;
            if (!below && back[3] !== 0)
                below = back;
        }
        const style = getComputedStyle(node);
        const ink = parse(node.closest('svg') ? style.fill : style.color);
        found.push([ratio(over([...ink.slice(0, 3), (ink[3] ?? 1) * opacity], below), below), walk.currentNode.data]);
    }
    return found;
}"""


@pytest.mark.parametrize("look", [{}, DARK], ids=["light", "dark"])
def test_every_text_stands_out_from_its_background(told, look):
    told.server.answers = mesh.mesh(6, offline=[4], broken=[5], state="degraded", problems=[BROKEN], doing="waits")
    page = told.open(**look)
    expect(page.locator(".bm-net > svg text").first).to_be_visible()
    shot(page, "dark" if look else "light")
    found = page.evaluate(CONTRAST)
    assert len(found) > 80
    assert [text for ratio, text in found if ratio < 4.5] == []


def test_a_phone_shows_it_without_scrolling_sideways(told):
    answers = mesh.mesh(6, offline=[4], broken=[5], state="degraded", problems=[BROKEN])
    answers[PEERS]["peers"][0]["endpoint"] = "a-very-long-name-of-a-router-that-goes-on.north.example.net:65535"
    told.server.answers = {**answers, **mesh.check([("configuration", False, "x" * 80, "y" * 80)])}
    page = told.open(**PHONE)
    page.get_by_role("button", name="Check now").click()
    expect(page.locator(".bm-layers")).to_be_visible()
    shot(page, "phone")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    cell = page.locator('td[data-title="Latency"]').first
    assert page.evaluate("td => getComputedStyle(td, '::before').content", cell.element_handle()) == '"Latency"'
    page.locator(".bm-list").first.get_by_role("button", name="Latency").tap()
    assert sign(page, "Latency") == "ascending"


def test_all_of_it_can_be_done_with_the_keyboard(told):
    told.server.answers = {**mesh.mesh(4), **mesh.check([("configuration", True, "node 'n1'", "")])}
    page = told.open()
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.innerText.replace(/[▲▼\\u00a0]/g, '').trim()"))
    assert reached == [
        "Check now", "Sync now", "Router", "Address", "Reached at", "Tunnel", "BGP session", "Routes", "Latency",
        "Routes learned over the mesh: 3", "Prefix", "Router", "Next hop", "Latency",
    ]
    page.get_by_role("button", name="Check now").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".bm-layers")).to_contain_text("node 'n1'")
    assert page.evaluate("() => document.activeElement.innerText") == "Check now"


def test_nothing_comes_from_elsewhere(told):
    told.server.answers = mesh.mesh(4)
    asked = []
    context_pages = told.open(ready=False)
    context_pages.on("request", lambda request: asked.append(request.url))
    context_pages.reload()
    expect(context_pages.locator(".bm-row h3").first).to_be_visible()
    poll(context_pages)
    assert asked and all(url.startswith((told.server.url, "data:")) for url in asked)


def test_it_speaks_spanish(told):
    told.server.answers = mesh.mesh(4)
    told.server.language = "es"
    page = told.open()
    expect(headline(page)).to_have_text("La malla funciona")
    shot(page, "spanish")


# -- the overview


def test_the_overview_has_a_card(told):
    told.server.answers = mesh.mesh(4, offline=[3], problems=[BROKEN], state="degraded")
    page = told.open("admin/status/overview")
    card = page.locator(".cbi-section", has_text="BGP mesh")
    expect(card).to_contain_text("The mesh works in part")
    for title, value in (("Address", "10.0.0.1"), ("Peers online", "2 of 3"), ("Reachable peers", "2 of 3"),
                         ("BGP sessions", "2 of 3"), ("First problem", BROKEN["text"])):
        expect(card.locator("tr", has_text=title)).to_contain_text(value)
    assert card.get_by_role("link").get_attribute("href") == "/cgi-bin/luci/admin/status/bgpmesh"
    shot(page, "overview")


def test_the_overview_lives_without_the_agent(told):
    told.server.answers = {STATUS: ACCESS_DENIED, PEERS: ACCESS_DENIED}
    page = told.open("admin/status/overview")
    card = page.locator(".cbi-section", has_text="BGP mesh")
    expect(card).not_to_be_visible()
    for answer, words in ((OBJECT_NOT_FOUND, "The agent is not running"), (7, "The agent does not answer")):
        told.server.answers = {STATUS: answer, PEERS: answer}
        poll(page)
        expect(card).to_contain_text(words)
        expect(page.locator(".cbi-section", has_text="System")).to_be_visible()
