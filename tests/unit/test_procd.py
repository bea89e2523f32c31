from fake_http import run

from bgpmesh.procd import Procd
from bgpmesh.ubus import TIMEOUT, UbusError

ONE = {"tincd": {"command": ["/usr/sbin/tincd"]}}
TWO = {"tincd": {"command": ["/usr/sbin/tincd", "-d"]}}


class Bus:
    """procd's object `service`: what it was asked, and what it has."""

    def __init__(self):
        self.services = {}
        self.asked = []
        self.refuses = False

    async def call(self, path, method, args):
        assert path == "service"
        self.asked.append(method)
        if self.refuses:
            raise UbusError(TIMEOUT, method)
        name = args["name"]
        if method == "set":
            self.services[name] = args["instances"]
        elif method == "delete":
            del self.services[name]  # KeyError where there is none
        elif method == "list":
            found = {each: {"running": True, "pid": 9} for each in self.services.get(name, {})}
            return {name: {"instances": found}} if name in self.services else {}
        return {}

    def sets(self):
        return self.asked.count("set")


def test_a_service_is_set_when_it_changed():
    bus = Bus()
    procd = Procd(bus)
    assert run(procd.set("a", ONE)) and bus.services == {"a": ONE}
    assert not run(procd.set("a", ONE)) and bus.sets() == 1
    assert run(procd.set("a", TWO)) and bus.services == {"a": TWO}


def test_a_service_that_somebody_deleted_is_set_again():
    bus = Bus()
    procd = Procd(bus)
    run(procd.set("a", ONE))
    bus.services.clear()
    assert run(procd.set("a", ONE)) and bus.services == {"a": ONE}


def test_an_agent_that_was_started_again_sets_what_is_there_already():
    # procd leaves alone what runs with the same definition; what is not the same must not stay.
    bus = Bus()
    bus.services["a"] = TWO
    assert run(Procd(bus).set("a", ONE)) and bus.services == {"a": ONE}


def test_what_procd_refused_is_not_taken_for_set():
    bus = Bus()
    procd = Procd(bus)
    bus.refuses = True
    try:
        run(procd.set("a", ONE))
        raise AssertionError("set")
    except UbusError:
        pass
    bus.refuses = False
    assert run(procd.set("a", ONE)) and bus.services == {"a": ONE}


def test_a_service_is_deleted_once():
    bus = Bus()
    procd = Procd(bus)
    run(procd.set("a", ONE))
    run(procd.delete("a"))
    assert bus.services == {}
    run(procd.delete("a"))
    run(procd.delete("b"))
    assert run(procd.set("a", ONE)) and bus.services == {"a": ONE}


def test_an_instance_as_procd_lists_it():
    bus = Bus()
    procd = Procd(bus)
    assert run(procd.instance("a", "tincd")) == {}
    run(procd.set("a", ONE))
    assert run(procd.instance("a", "tincd"))["running"] and run(procd.instance("a", "other")) == {}
