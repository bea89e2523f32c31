"""The golden files read by the daemons they are for."""

import re
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CONFS = sorted(path.stem for path in (GOLDEN / "bird").glob("*.conf"))

# The private halves of golden's public keys are nowhere: the router is given others.
START = """
tinc -c /tmp/k --batch generate-rsa-keys 2048 >/dev/null 2>&1 || tincd -c /tmp/k -K2048 < /dev/null >/dev/null 2>&1
tinc -c /tmp/k --batch generate-ed25519-keys >/dev/null 2>&1 || true
mv /tmp/k/*.priv /etc/bgpmesh
cp -r /mnt/golden/tinc/NAME /run/bgpmesh/tinc
chmod 700 /run/bgpmesh/tinc/tinc-*
tincd -D -c /run/bgpmesh/tinc --pidfile=/run/bgpmesh/tinc.pid > /tmp/log 2>&1 &
for _ in $(seq 1200); do
	# It says so after tinc-up has ended.
	grep -q Ready /tmp/log && break
	kill -0 $! || break
	sleep 0.05
done
cat /tmp/log
echo ==
ip address show dev INTERFACE
echo ==
kill $!
wait $! && echo ended
"""


def test_there_are_golden_files():
    assert len(CONFS) >= 6 and len(list((GOLDEN / "tinc").iterdir())) >= 4


@pytest.mark.parametrize("bird", ["2", "3"])
def test_bird_takes_every_golden_configuration(box, bird):
    # Each of them in one box: the reader's opinion is printed after its name.
    done = box(bird=bird).sh('cd /mnt/golden/bird; for name in *.conf; do echo "== $name"; bird -p -c $name; done')
    assert done.returncode == 0, done.stdout
    for part in done.stdout.split("== ")[1:]:
        name, _, said = part.partition("\n")
        # Newer ones would like another word for it, which the older do not know.
        said = [line for line in said.splitlines() if "authentication" not in line.lower()]
        assert said == [], (name, said)
    assert done.stdout.count("== ") == len(CONFS)


@pytest.mark.parametrize("bird", ["2", "3"])
@pytest.mark.parametrize(
    "what, right",
    [
        ("hold time 9;", "hold time x;"),
        ("neighbor 10.0.0.2 as 65000;", "neighbor 10.0.0.2 as 0;"),
        ("192.168.2.0/24", "192.168.2.1/24"),
        ("protocol bgp _bravo", "protocol bgp bgp"),
    ],
)
def test_bird_refuses_what_is_wrong(box, bird, what, right):
    here = box(bird=bird)
    path = here.folder / "golden" / "bird" / "three.conf"
    text = path.read_text()
    assert what in text
    path.write_text(text.replace(what, right))
    assert here.run("bird", "-p", "-c", "/mnt/golden/bird/three.conf").returncode == 1


@pytest.mark.parametrize(
    "name, tinc, interface",
    [
        ("alone", "1.1", "tinc0"),
        ("three", "1.1", "tinc0"),
        ("everything", "1.1", "mesh.0-1"),
        ("earlier", "1.0", "tinc0"),
        ("earlier", "1.1", "tinc0"),
    ],
)
def test_tincd_starts_on_every_golden_folder(box, name, tinc, interface):
    script = START.replace("NAME", name).replace("INTERFACE", interface)
    done = box(tinc=tinc).sh("mkdir -p /tmp/k/hosts; echo 'Name = k' > /tmp/k/tinc.conf" + script)
    assert "ended" in done.stdout, done.stdout
    log, interface, _ = done.stdout.split("==\n")
    assert "Ready" in log
    assert not re.search("(?i)unknown|invalid|obsolete|expected|syntax|not allowed|exited with", log), log
    up = (GOLDEN / "tinc" / name / "tinc-up").read_text()
    assert "link/ether " + re.search("address (02:[0-9a-f:]+)", up)[1] in interface
    assert " mtu " + re.search("mtu ([0-9]+)", up)[1] in interface
    for address in re.findall("addr add ([^ ]+)", up):
        assert address in interface
    assert "global tentative" not in interface
