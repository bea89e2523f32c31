"""What a change costs in a large mesh: as much as in a small one. Counted, not timed."""

import os

from example import folder, member, options
from fake_etcd import Etcd
from fake_http import Server, run

from bgpmesh import disk, etcd, plan, records
from bgpmesh.membership import Membership
from bgpmesh.problems import Problems
from bgpmesh.tinc import daemon
from bgpmesh.tinc.keys import Keys

SMALL, LARGE = 20, 160


class Mesh:
    """A router with the registry's own code on an etcd with `size` other members, counted: requests and bytes."""

    def __init__(self, size):
        self.store = Etcd()
        self.requests = self.bytes = 0
        self.size = size
        for number in range(1, size + 1):
            self.put(number)
            self.store.put("/claims/10.0.%d.%d" % (number // 200, number % 200 + 1), name(number))
            self.store.put("/alive/" + name(number))

    def put(self, number, *more):
        """Puts the record of a member, which announces these prefixes besides."""
        ip = "10.0.%d.%d" % (number // 200, number % 200 + 1)
        one = member(name(number), number, ip=ip, router_id=ip, prefixes=list(more), serial=1 + len(more))
        self.store.put("/peers/" + one.node, records.encode(one))

    def respond(self, request):
        found = self.store.respond(request)
        self.requests += 1
        self.bytes += len(request) + len(found)
        return found

    def on(self, steps):
        """What steps(self) returns while the etcd can be reached, and the router has joined."""

        async def main():
            server = Server(self.respond)
            await server.start()
            config = options("option network '10.0.0.0/16'", node="north")
            client = etcd.v3.Client(["http://127.0.0.1:%d" % server.port])
            registry = etcd.registry.Registry(client, "", "north", 30)
            keys = Keys(None, "N" * 43)
            self.router = Membership(config, keys, registry, Problems(lambda text: None), lambda text: None)
            self.router.announce([])
            try:
                while await self.router.step():
                    pass
                await self.router.step()
                return await steps(self)
            finally:
                registry.close()
                server.stop()

        return run(main())

    async def cost(self):
        """(requests, bytes) of one step of the membership."""
        self.requests = self.bytes = 0
        await self.router.step()
        return self.requests, self.bytes

    def all(self):
        """The names of all that there are at first."""
        return set([name(number) for number in range(1, self.size + 1)] + ["north"])

    def plan(self):
        """What there is to be done."""
        others = list(self.router.others.values())
        return plan.make(self.router.config, self.router.me, others, {}, set(self.router.online), {}, [], "1.1")


def name(number):
    return "r%03d" % number


def of_both(steps):
    """What steps(Mesh) gives in a small and in a large mesh."""
    return [Mesh(size).on(steps) for size in (SMALL, LARGE)]


def test_a_poll_that_finds_nothing_is_one_small_request():
    async def steps(mesh):
        return await mesh.cost()

    for requests, size in of_both(steps):
        assert requests == 1 and size < 600, (requests, size)


def test_a_change_is_one_more_small_answer():
    async def steps(mesh):
        mesh.put(7, "172.20.0.0/16")
        cost = await mesh.cost()
        assert [str(prefix) for prefix in mesh.router.others[name(7)].prefixes] == ["172.20.0.0/16"]
        return cost

    (few, small), (many, large) = of_both(steps)
    assert few == many == 2
    assert abs(large - small) < 50 and large < 3000, (small, large)


def test_a_member_that_leaves_is_found_without_naming_all():
    async def steps(mesh):
        mesh.store.delete("/alive/" + name(7))
        requests, size = await mesh.cost()
        assert mesh.router.online == mesh.all() - {name(7)}
        mesh.store.delete("/peers/" + name(7))
        mesh.store.delete("/claims/10.0.0.8")
        await mesh.cost()
        assert name(7) not in mesh.router.others and len(mesh.router.others) == mesh.size - 1
        assert "10.0.0.8" not in mesh.router.registry.claims
        return requests, size

    (_, _), (many, large) = of_both(steps)
    assert many == 4 and large < 9000, large


def test_a_delete_among_puts_and_many_deletes_are_found_as_well():
    async def steps(mesh):
        for number in range(3, mesh.size, 5):
            mesh.store.delete("/alive/" + name(number))
        mesh.store.delete("/alive/" + name(1))
        mesh.store.put("/alive/north2")
        for _ in range(3):
            await mesh.cost()
        gone = set([name(number) for number in range(3, mesh.size, 5)] + [name(1)])
        assert mesh.router.online == mesh.all() - gone | {"north2"}

    of_both(steps)


class Procd:
    """procd, under which the daemon runs as it was told to."""

    def __init__(self):
        self.instances = {}

    async def instance(self, _, name):
        return dict(self.instances.get(name, {}), running=True)

    async def set(self, _, instances):
        self.instances = instances


def test_a_change_writes_one_file_of_tincs_and_has_one_reload():
    class Control:
        reloads = 0

        async def reload(self):
            self.reloads += 1

    async def steps(mesh):
        names = ("TINC", "_HOSTS", "_STALE", "_GONE", "_LEAD")
        before = [getattr(daemon, one) for one in names] + [disk.write, disk.read_or_none]
        base = folder("scale")
        seen = []
        try:
            for one, path in zip(names, ("/tinc", "/tinc/hosts", "/tinc.stale", "/gone", "/lead")):
                setattr(daemon, one, base + path)
            tincd = daemon.Tincd(Procd(), "1.1", lambda text: None)
            tincd._control = Control()
            await tincd.apply(mesh.plan())
            assert len(os.listdir(base + "/tinc/hosts")) == mesh.size + 1
            one = records.decode(name(7), mesh.router.entries[name(7)].text, mesh.router.config)
            one.endpoint, one.serial = ("198.51.100.9", 655), 9
            mesh.store.put("/peers/" + name(7), records.encode(one))
            await mesh.cost()
            reloads = tincd._control.reloads
            disk.write = lambda path, *rest, **more: seen.append(("write", path)) or before[-2](path, *rest, **more)
            disk.read_or_none = lambda path: seen.append(("read", path)) or before[-1](path)
            await tincd.apply(mesh.plan())
            assert tincd._control.reloads == reloads + 1
            return [(verb, path[len(base) :]) for verb, path in seen if "hosts/" in path]
        finally:
            for one, value in zip(names, before):
                setattr(daemon, one, value)
            disk.write, disk.read_or_none = before[-2:]
            disk.remove_folder(base)

    host = "/tinc/hosts/" + name(7)
    for seen in of_both(steps):
        assert ("write", host) in seen and len(seen) <= 4, seen
