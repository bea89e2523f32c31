"""Debian's Prometheus as `make test` unpacks it, and the files of contrib/ that it is tried with."""

import json
import re
import subprocess
import time
from pathlib import Path

from lab import netns

PROJECT = Path(__file__).resolve().parents[2]
BIN = PROJECT / ".cache" / "prometheus" / "usr" / "bin"
RULES = PROJECT / "contrib" / "prometheus-rules.yml"
DASHBOARD = PROJECT / "contrib" / "grafana-dashboard.json"
README = PROJECT / "contrib" / "README.md"


def promtool(*argv, text=None):
    """Run promtool; `text` is its input. Returns (exit status, all that it printed)."""
    done = subprocess.run(
        [BIN / "promtool", *argv], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    return done.returncode, done.stdout


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    """The dashboard's panels that are no rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def names_in(text):
    """The metrics that a text names; a summary's _sum and _count are one."""
    found = set(re.findall(r"\bbgpmesh_\w+", text))
    return {re.sub("_seconds_(sum|count)$", "_seconds", name) for name in found}


class Prometheus:
    """A server on the fabric of `lab`, at 198.18.255.2, that keeps what it has in `folder`. A context manager.

    `config` is its configuration as a dictionary.
    """

    ADDRESS = "198.18.255.2"

    def __init__(self, lab, folder, config):
        self._lab = lab
        self._folder = folder
        self._config = config
        self._process = None

    def __enter__(self):
        netns.batch(self._lab.fabric, ["link set lo up", f"address add {self.ADDRESS}/16 dev br0"])
        config = self._folder / "prometheus.yml"
        config.write_text(json.dumps(self._config))  # JSON is YAML
        argv = [BIN / "prometheus", f"--config.file={config}", f"--storage.tsdb.path={self._folder / 'data'}"]
        argv += [f"--web.listen-address={self.ADDRESS}:9090", "--log.level=warn"]
        with open(self._folder / "log", "w") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self._lab.fabric, *argv], stdout=log, stderr=log, env=netns.ENV
            )
        try:
            self._lab.wait(self._answers, 60, "Prometheus to answer", 0.1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        self._process.kill()
        self._process.wait()

    def _answers(self):
        assert self._process.poll() is None, (self._folder / "log").read_text()
        return self._curl("/-/ready", {}).startswith("Prometheus Server is Ready")

    def _curl(self, path, parameters):
        argv = ["curl", "--silent", "--max-time", "20", "--get", f"http://{self.ADDRESS}:9090{path}"]
        for name, value in parameters.items():
            argv += ["--data-urlencode", f"{name}={value}"]
        return netns.run(["ip", "netns", "exec", self._lab.fabric, *argv], check=False).stdout

    def get(self, path, **parameters):
        """What /api/v1/… answers."""
        answer = json.loads(self._curl("/api/v1/" + path, parameters))
        assert answer["status"] == "success", (path, parameters, answer)
        return answer["data"]

    def query(self, expr, at=None):
        """The series that an expression gives now, or at another time: [labels]."""
        found = self.get("query", query=expr, time=time.time() if at is None else at)
        assert found["resultType"] == "vector", expr
        return [row["metric"] for row in found["result"]]

    def draw(self, expr):
        """The same over the last 20 seconds, as a graph asks for it: [labels]."""
        now = time.time()
        found = self.get("query_range", query=expr, start=now - 20, end=now, step=1)
        return [row["metric"] for row in found["result"]]

    def label_values(self, text):
        """What a variable `label_values(selector, label)` gives, asked for as Grafana does."""
        selector, label = re.fullmatch(r"label_values\((.+), (\w+)\)", text).groups()
        return self.get(f"label/{label}/values", **{"match[]": selector})
