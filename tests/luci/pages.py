"""Pages in a browser, and what tests do with them."""

from playwright.sync_api import expect

from luci.server import PROJECT, app_acl

SHOTS = PROJECT / ".cache" / "luci"
FLAGS = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-quic", "--disable-gpu",
]
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
DARK = {"color_scheme": "dark"}
WAIT = 20000  # ms that a test waits for what a page will show

expect.set_options(timeout=WAIT)


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
        page.set_default_timeout(WAIT)
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


POLL = """async () => {
    while (!L.classes.poll.queue.every(entry => entry.ready))
        await new Promise(done => setTimeout(done, 5));
    await Promise.all(L.classes.poll.queue.map(entry => entry.fn()));
}"""


def poll(page):
    """What the page does every few seconds, done now and to its end, after what it had begun itself."""
    page.evaluate(POLL)


def column(page, title, table=0):
    """The texts of a table's column, top to bottom; the first line of each cell, without a sign before it."""
    cells = page.locator(".bm-list").nth(table).locator(f'td[data-title="{title}"]')
    return [text.split("\n")[0].split()[-1] for text in cells.all_inner_texts()]


def shot(page, name, part=None):
    """Keeps what the page, or a part of it, looks like, for a person to see, in .cache/luci/."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    if part:
        page.locator(part).screenshot(path=SHOTS / f"{name}.png")
    else:
        page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
