"""What contrib/README.md tells to do is what works."""

import re
import shutil

from monitoring.prometheus import README, RULES, promtool


def test_prometheus_takes_the_configuration(tmp_path):
    (block,) = re.findall("```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(block)
    shutil.copy(RULES, tmp_path)
    status, output = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert status == 0 and "15 rules found" in output, output


def test_the_job_has_the_name_that_the_rules_ask_for():
    assert set(re.findall('job="(.*?)"', RULES.read_text())) == {"bgpmesh"}
    assert "job_name: bgpmesh\n" in README.read_text()


def test_every_alert_and_file_that_is_named_is_there():
    text = README.read_text()
    assert set(re.findall("`(Bgpmesh.*?)`", text)) <= set(re.findall("- alert: (.*)", RULES.read_text()))
    for name in re.findall(r"`([\w-]+\.(?:json|yml))`", text):
        assert name == "prometheus.yml" or (README.parent / name).exists(), name
