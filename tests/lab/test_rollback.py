"""Options that cut a router off are taken back, and traffic returns."""

import pytest

from lab.mesh import SOON, clear, has_route, problems, reaches, settled, told
from lab.router import uci

LAB = {"nodes": 2, "options": {"poll_interval": "1", "rollback": "10"}}
CUT_OFF = {"etcd": "http://192.0.2.1:2379", "network": "10.77.0.0/24"}


@pytest.fixture(autouse=True)
def whole(lab):
    settled(lab)


def change(router, options):
    text = uci({**router.options, **options})
    router.write("/etc/config/bgpmesh", text)
    router.reload()
    return text


def test_a_change_that_cuts_the_router_off_is_taken_back(lab):
    one, two = lab.routers
    worked = one.path("/etc/bgpmesh/config.worked")
    lab.wait(worked.exists, SOON, "the options to be seen working")
    text = change(one, CUT_OFF)
    has_route(lab, one, "192.168.2.0/24", gone=True)
    told(lab, one, "config_undone", "10 s", "option 'etcd', option 'network'")
    reaches(lab, one, two)
    reaches(lab, two, one)
    assert one.read("/etc/config/bgpmesh") == text
    done = one.bgpmesh("check")
    assert done.returncode == 1 and "BAD   changes" in done.stdout and "ok    etcd" in done.stdout

    # The agent is killed in the middle of a trial, which goes on, and after one, which is not begun again.
    text = change(one, {**CUT_OFF, "network": "10.78.0.0/24"})
    lab.wait(lambda: not problems_of(one), SOON, "the second change to be tried", 0.1)
    has_route(lab, one, "192.168.2.0/24", gone=True)
    one.kill("agent")
    told(lab, one, "config_undone", "option 'network'")
    one.kill("agent")
    reaches(lab, one, two)
    assert problems_of(one) and one.read("/etc/config/bgpmesh") == text

    change(one, {})
    clear(lab, one)
    assert problems(one) == [] and "ok    changes" in one.bgpmesh("check").stdout


def problems_of(router):
    return [code for code, _, _ in problems(router) if code == "config_undone"]
