"""A browser, a server, and one lab that all tests share."""

import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.lab import Lab
from luci.server import APP, PROJECT, Server, app_acl

SHOTS = PROJECT / ".cache" / "luci"
FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic", "--disable-gpu",
]
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
DARK = {"color_scheme": "dark"}


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", headless=True, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="session")
def lab():
    """Three routers, a mesh."""
    with Lab("luci", 3) as running:
        running.wait(running.converged, 60, "the mesh")
        yield running


class Pages:
    """Opens pages of a server in a browser; whatever a page complains of is in `complaints`."""

    def __init__(self, browser, server):
        self.browser = browser
        self.server = server
        self.complaints = []
        self.contexts = []

    def open(self, path="admin/status/bgpmesh", sid=None, ready=True, **options):
        """A page, loaded, for a session that may do everything unless `sid` says another."""
        context = self.browser.new_context(**{"viewport": {"width": 1000, "height": 900}, "locale": "en-GB", **options})
        self.contexts.append(context)
        sid = sid or self.server.login(*app_acl())
        context.add_cookies([{"name": "sysauth_http", "value": sid, "url": self.server.url}])
        page = context.new_page()
        page.set_default_timeout(15000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append("a dialog: " + dialog.message), dialog.dismiss()))
        page.sid = sid
        page.goto(f"{self.server.url}/cgi-bin/luci/{path}")
        if ready:
            page.wait_for_selector("#view h2, #view h3, #view .cbi-section")
        return page

    def close(self):
        for context in self.contexts:
            context.close()


def _pages(browser, router):
    with Server(router) as server:
        pages = Pages(browser, server)
        yield pages
        pages.close()
        assert pages.complaints == []


@pytest.fixture
def told(browser):
    """Pages of a router that answers what the test tells it to; nothing runs."""
    yield from _pages(browser, None)


@pytest.fixture
def live(browser, lab):
    """Pages of the lab's first router."""
    yield from _pages(browser, lab.router(1))


def shot(page, name):
    """Keeps what the page looks like, for a person to see, in .cache/luci/."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


__all__ = ["APP", "DARK", "PHONE", "shot"]
