"""Changes are heard of at once: here polls alone would take ten minutes."""

from lab.etcd import ETCD_ADDRESS
from lab.mesh import SOON, clear, forgets, knows, settled

LAB = {"nodes": 3, "boot": (1, 2), "options": {"poll_interval": "600"}}


def calm(lab):
    """Waits until r1 and r2 are in step, and no longer ask the registry often because something has changed."""
    seen = {}

    def quiet():
        before = dict(seen)
        for number in (1, 2):
            seen[number] = clear(lab, lab.router(number))["etcd"]["age"]
        return before and all(seen[number] > max(before[number], 4) for number in seen)

    lab.wait(quiet, SOON, "the routers to be calm", 1)


def connections(router):
    """How many connections to etcd the router has: one for requests, and one for each watch."""
    argv = ["ss", "-Htn", "state", "established", "dst", f"{ETCD_ADDRESS}:2379"]
    return len(router.exec(argv).stdout.splitlines())


def test_who_joins_and_leaves_is_heard_of_without_a_poll(lab):
    calm(lab)
    lab.router(3).start()
    for number in (1, 2):
        knows(lab, lab.router(number), "r3")
    settled(lab)
    calm(lab)
    assert lab.router(3).bgpmesh("leave").returncode == 0
    for number in (1, 2):
        forgets(lab, lab.router(number), "r3")


def test_a_watch_is_opened_again_after_the_registry_was_away(lab):
    calm(lab)
    assert [peer["node"] for peer in lab.router(1).peers()] == ["r2"]
    for _ in range(2):
        lab.etcd.stop()
        lab.etcd.start()
        for number in (1, 2):
            assert lab.router(number).bgpmesh("sync").returncode == 0
        calm(lab)
    for number in (1, 2):
        lab.wait(lambda: connections(lab.router(number)) == 2, SOON, "one watch, and never more")
    lab.router(3).reboot()
    for number in (1, 2):
        knows(lab, lab.router(number), "r3")
    settled(lab)
