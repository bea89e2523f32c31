"""A browser, a server, and one lab that a module's tests share."""

import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.etcd import ETCD_URL
from lab.lab import Lab

from luci.pages import FLAGS, Pages
from luci.server import Server


@pytest.fixture(scope="package")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path="/usr/bin/chromium", headless=True, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def lab(request):
    """Three routers, a mesh. They look often, and have their registry as a form would write it."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    with Lab("luci-" + name, 3, options={"poll_interval": "1", "etcd": [ETCD_URL]}) as running:
        running.wait(running.converged, 60, "the mesh")
        yield running


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
