"""What stands between a browser and a router: web pages, uhttpd's /ubus, rpcd's sessions and permissions.

The pages are those of package/luci-app-bgpmesh, on a stand-in for LuCI's browser side. Who may do what is read from
the app's own acl.d file. Calls to the agent go to a running lab router by its `ubus`; what it is made to say instead,
a test puts into `Server.answers`.
"""

import json
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from lab import router

from bgpmesh import uci

PROJECT = Path(__file__).resolve().parents[2]
APP = PROJECT / "package" / "luci-app-bgpmesh"
RESOURCES = "/luci-static/resources/"
TOPS = (APP / "htdocs" / RESOURCES.strip("/"), Path(__file__).with_name("luci"))

NOBODY = "0" * 32
NOT_FOUND, DENIED = 4, 6  # ubus
OBJECT_NOT_FOUND, ACCESS_DENIED = (-32000, "Object not found"), (-32002, "Access denied")  # JSON-RPC, of uhttpd

# What LuCI itself grants: to anybody, and to every login.
UNAUTHENTICATED = {"read": {"ubus": {"session": ["access", "login"]}}}
BASE = {
    "read": {"ubus": {"file": ["list"], "uci": ["changes", "get"]}, "uci": ["luci"]},
    "write": {"ubus": {"uci": ["apply", "confirm", "delete", "set"]}},
}
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Server:
    """A web server at `url`, a context manager. `router`: a lab's Router, or None for a mesh that is only told of.

    answers: (object, method) -> an answer, a ubus status (int) or a function of the arguments that returns either;
    taken instead of the router's. calls: (object, method) of all that was let through. sent: the texts of all answers.
    """

    def __init__(self, router=None):
        self.router = router
        self.answers = {}
        self.calls = []
        self.sent = []
        self.sessions = {NOBODY: _access({"": UNAUTHENTICATED}, True)}
        self.deltas = {}
        self.language = ""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._http.shutdown()
        self._http.server_close()

    # -- sessions, as rpcd has them

    def login(self, *groups, write=True):
        """A new session's id: what LuCI gives every login, and the app's groups of these names."""
        acl = app_acl()
        sid = secrets.token_hex(16)
        base = _access({"unauthenticated": UNAUTHENTICATED, "luci-base": BASE}, True)
        self.sessions[sid] = _access({group: acl[group] for group in groups}, write, base)
        return sid

    def expire(self, sid):
        """End a session, as rpcd does after five minutes without a call."""
        del self.sessions[sid]

    def allows(self, sid, scope, name, function):
        """Whether a session may call a function of an object in a scope; names in the lists may end in *."""
        for pattern, functions in self.sessions.get(sid, {}).get(scope, {}).items():
            if (pattern == name or pattern.endswith("*") and name.startswith(pattern[:-1])) and function in functions:
                return True
        return False

    # -- /ubus, as uhttpd-mod-ubus answers

    def answer(self, message):
        """The reply to one JSON-RPC message."""
        reply = {"jsonrpc": "2.0", "id": message.get("id")}
        if message["method"] != "call":
            return {**reply, "result": []}
        sid, name, method, args = message["params"]
        allowed = self.allows(sid, "ubus", name, method)
        if allowed:
            self.calls.append((name, method))
        found = self._call(sid, name, method, args) if allowed else ACCESS_DENIED
        # The object is looked up before anybody asks whether it may be called.
        if found == ACCESS_DENIED and not self._exists(name, method):
            found = OBJECT_NOT_FOUND
        if isinstance(found, tuple):
            return {**reply, "error": {"code": found[0], "message": found[1]}}
        return {**reply, "result": [found] if isinstance(found, int) else [0, found]}

    def _exists(self, name, method):
        if name in ("session", "uci", "file") or (name, method) in self.answers:
            return self.answers.get((name, method)) != OBJECT_NOT_FOUND
        return self.router is not None and name in self.router.exec(["ubus", "list"]).stdout.split()

    def _call(self, sid, name, method, args):
        told = self.answers.get((name, method))
        if name == "file" and method == "exec":
            return self._exec(sid, args, told)
        if told is not None:
            return told(args) if callable(told) else told
        own = getattr(self, f"_{name}_{method}", None)
        if own:
            return own(sid, args)
        if self.router is None:
            return OBJECT_NOT_FOUND
        # uhttpd adds the session to every call.
        argv = ["ubus", "call", name, method, json.dumps({**args, "ubus_rpc_session": sid})]
        done = self.router.exec(argv, check=False)
        status = -done.returncode % 256  # `ubus` exits with the negative status
        if status == NOT_FOUND:
            return OBJECT_NOT_FOUND
        return status or json.loads(done.stdout or "{}")

    def _session_access(self, sid, args):
        return {"access": self.allows(sid, args["scope"], args["object"], args["function"])}

    def _session_login(self, sid, args):
        if (args.get("username"), args.get("password")) != ("root", "password"):
            return DENIED
        return {"ubus_rpc_session": self.login(*app_acl())}

    def _exec(self, sid, args, told):
        command = [args["command"], *(args.get("params") or [])]
        if not any(self.allows(sid, "file", text, "exec") for text in (command[0], " ".join(command))):
            return DENIED
        if told is not None:
            return told(args) if callable(told) else told
        done = self.router.exec(command, check=False)
        return {"code": done.returncode, "stdout": done.stdout}

    def _file_list(self, sid, args):
        folder = args["path"].removeprefix("/www" + RESOURCES)
        names = {path.name for top in TOPS for path in (top / folder).glob("*.js")}
        return {"entries": [{"name": name, "type": "file"} for name in sorted(names)]}

    # -- UCI, as rpcd serves it from the router's /etc/config/bgpmesh

    def _uci_get(self, sid, args):
        if not self.allows(sid, "uci", args["config"], "read"):
            return DENIED
        values = {}
        for section in uci.parse(self.router.read("/etc/config/" + args["config"])):
            values[section.name] = {".name": section.name, ".type": section.type, **section.options}
        for (config, section, option), value in self.deltas.items():
            if config == args["config"] and value is None:
                values[section].pop(option, None)
            elif config == args["config"]:
                values[section][option] = value
        return {"values": values}

    def _uci_set(self, sid, args):
        return self._change(sid, args, args["values"])

    def _uci_delete(self, sid, args):
        return self._change(sid, args, dict.fromkeys(args["options"]))

    def _change(self, sid, args, values):
        if not self.allows(sid, "uci", args["config"], "write"):
            return DENIED
        self.deltas.update({(args["config"], args["section"], name): value for name, value in values.items()})
        return {}

    def _uci_apply(self, sid, args):
        sections = self._uci_get(sid, {"config": "bgpmesh"})
        if isinstance(sections, int):
            return sections
        main = sections["values"]["main"]
        self.router.write("/etc/config/bgpmesh", router.uci({k: v for k, v in main.items() if k[0] != "."}))
        self.deltas.clear()
        # What procd does for the init script's reload trigger.
        self.router.reload()
        return {}

    def _uci_confirm(self, sid, args):
        return {}

    # -- pages

    def page(self, path, sid):
        """(status, HTML) of a page: the menu entry's view, for a session that has what the entry depends on."""
        entry = {"admin/status/overview": {"action": {"path": "status/index"}}, **menu()}.get(path)
        if not entry:
            return 404, "no such page"
        groups = entry.get("depends", {}).get("acl", [])
        granted = self.sessions.get(sid, {}).get("access-group", {})
        if sid not in self.sessions or not all(group in granted for group in groups):
            return 403, "a login is required"
        env = {
            "sessionid": sid, "resource": RESOURCES.rstrip("/"), "scriptname": "/cgi-bin/luci", "ubuspath": "/ubus/",
            "nodespec": {"satisfied": True, "readonly": not all("write" in granted[group] for group in groups)},
        }
        return 200, PAGE % {
            "env": json.dumps(env), "language": self.language or "en", "view": entry["action"]["path"],
            "translations": json.dumps(translations(self.language) if self.language else {}),
        }

    def file(self, path):
        """The bytes of a static file: the app's own, else the stand-in's; None when there is none."""
        name = path.removeprefix(RESOURCES)
        for top in TOPS:
            found = (top / name).resolve()
            if found.is_file() and top.resolve() in found.parents:
                return found.read_bytes()
        return None


PAGE = """<!DOCTYPE html>
<html lang="%(language)s">
<head>
<meta charset="utf-8"><title>LuCI</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/luci-static/resources/theme.css">
<script>
const dark = matchMedia('(prefers-color-scheme: dark)');
document.documentElement.setAttribute('data-darkmode', dark.matches);
window.TR = %(translations)s;
</script>
<script src="/luci-static/resources/luci.js"></script>
<script>var L = new LuCI(%(env)s);</script>
</head>
<body>
<div id="maincontent"><div id="view">
<script>addEventListener('DOMContentLoaded', () => L.require('ui').then(ui => ui.instantiateView('%(view)s')));</script>
</div></div>
</body>
</html>
"""


def app_acl():
    """The app's groups of permissions, by name."""
    return json.loads((APP / "root/usr/share/rpcd/acl.d/luci-app-bgpmesh.json").read_text())


def menu():
    """The app's menu entries, by path."""
    return json.loads((APP / "root/usr/share/luci/menu.d/luci-app-bgpmesh.json").read_text())


def translations(language):
    """msgid -> msgstr of the app's texts in a language."""
    found = {}
    current = None
    for line in (APP / "po" / language / "bgpmesh.po").read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word in ("msgid", "msgstr"):
            current = [word, ""]
            line = rest
        if line.startswith('"') and current:
            current[1] += json.loads(line)
            if current[0] == "msgid":
                msgid = current[1]
            else:
                found[msgid] = current[1]
    found.pop("", None)
    return found


def _access(groups, write, access=None):
    """scope -> object -> functions, as rpcd makes it of acl.d's groups; added to `access` where there is one."""
    access = access or {}
    for name, group in groups.items():
        for verb in ("read", "write")[: 1 + write]:
            access.setdefault("access-group", {}).setdefault(name, set()).add(verb)
            for scope, objects in group.get(verb, {}).items():
                if isinstance(objects, list):
                    objects = {found: [verb] for found in objects}
                for found, functions in objects.items():
                    access.setdefault(scope, {}).setdefault(found, set()).update(functions)
    return access


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = urlsplit(self.path).path
            if path.startswith("/cgi-bin/luci/"):
                cookie = re.search("sysauth_http=([0-9a-f]+)", self.headers.get("Cookie", ""))
                status, text = server.page(path.removeprefix("/cgi-bin/luci/"), cookie[1] if cookie else NOBODY)
                return self._send(status, text.encode(), "text/html; charset=utf-8")
            found = server.file(path)
            if found is None:
                return self._send(404, b"", "text/plain")
            return self._send(200, found, TYPES.get(Path(path).suffix, "text/plain") + "; charset=utf-8")

        def do_POST(self):
            messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            many = isinstance(messages, list)
            answers = [server.answer(message) for message in (messages if many else [messages])]
            text = json.dumps(answers if many else answers[0])
            server.sent.append(text)
            self._send(200, text.encode(), "application/json")

        def _send(self, status, body, kind):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the page was left

        def log_message(self, *_):
            pass

    return Handler
