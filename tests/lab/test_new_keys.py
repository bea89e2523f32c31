"""A router that comes back under its name with other keys: tincd remembers those that it read first."""

import asyncio
import re
import shutil
import signal
import subprocess

import pytest

from bgpmesh.tinc.control import Socket
from lab.mesh import RUN, SOON, STATE, delete, get, sessions, settled
from lab.netns import ENV

LAB = {"nodes": 3, "options": {"poll_interval": "1", "secret": "as the others have it"}}
LOST = 5  # seconds of packets that two routers may lose over a third one's new keys


@pytest.fixture(autouse=True)
def whole(lab):
    settled(lab)


def keyed(router):
    """Whether its tincd has agreed with every other one on keys for packets."""
    nodes = asyncio.run(Socket(str(router.path(RUN + "/tinc.pid"))).nodes())
    return len(nodes) == 2 and all(node.reachable and node.keyed for node in nodes.values())


def whole_again(lab, before):
    three = lab.router(3)
    lab.wait(lambda: key(lab) not in (None, before), 2 * SOON, "other keys of r3", 0.2)
    settled(lab)
    lab.wait(lambda: all(keyed(router) for router in lab.routers), SOON, "keys for packets between all", 0.2)
    assert all(three.ping(other.lan, seconds=SOON) for other in lab.routers[:2])


def key(lab):
    """What r3's record says; None where there is none, or a farewell."""
    found = re.search('"ed25519":"([^"]*)"', get(lab, "/peers/r3"))
    return found and found[1]


def test_who_left_and_was_set_up_anew_is_met_with_its_new_keys(lab):
    one, two, three = lab.routers
    before = key(lab)
    assert three.bgpmesh("leave").returncode == 0
    three.stop()
    shutil.rmtree(three.dir / "upper" / STATE.lstrip("/"))
    held = sessions(one)["r2"]
    ping = subprocess.Popen(
        [*one.enter(), "ping", "-n", "-i", "0.1", "-I", one.lan, two.lan], stdout=subprocess.PIPE, text=True, env=ENV
    )
    three.start()
    whole_again(lab, before)
    one.kill("ping", signal.SIGINT)
    answered = [int(number) for number in re.findall(r"icmp_seq=(\d+) ", ping.communicate()[0])]
    lost = (max(answered) - len(answered)) / 10
    print("seconds of packets lost between the others:", lost)
    assert sessions(one)["r2"] == held and lost <= LOST, lab.dump()


def test_who_lost_its_keys_at_work_goes_by_new_ones(lab):
    three = lab.router(3)
    before = key(lab)
    three.exec(["sh", "-c", f"rm {STATE}/*"])
    delete(lab, "/peers/r3")  # or it would wait until the sign of life of the earlier one is gone
    three.kill("agent")
    whole_again(lab, before)
