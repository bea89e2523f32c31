import asyncio

from example import Clock
from fake_http import run

from bgpmesh import compat, names


class Resolver:
    """What a name server says; a name that it does not know is not found, and one of None is never answered."""

    def __init__(self, **known):
        self.known = known
        self.asked = []

    async def resolve(self, host, port):
        self.asked.append(host)
        found = self.known.get(host, ())
        if found is None:
            await asyncio.sleep(60)
        if not found:
            raise OSError(2, "cannot resolve " + host)
        return [compat.inet_address(one, port) for one in found]


def with_resolver(resolver, steps):
    """What steps(names.Names, wait) returns, where wait() waits until nothing is asked any more."""

    async def main():
        found = names.Names()

        async def wait():
            while found._busy:
                await asyncio.sleep(0.01)

        return await steps(found, wait)

    before, compat.resolve = compat.resolve, resolver.resolve
    time, names._TIME = names._TIME, 0.1
    try:
        return run(main())
    finally:
        compat.resolve, names._TIME = before, time


def test_names_are_looked_up_beside_the_work_and_again_after_a_while():
    resolver = Resolver(north=["192.0.2.2", "192.0.2.1"], south=["2001:db8::1"])

    async def steps(found, wait):
        assert not found.look(["north", "south"], []) and not resolver.asked
        await wait()
        assert found.known == {"north": ("192.0.2.1", "192.0.2.2"), "south": ("2001:db8::1",)}
        assert found.look(["north", "south"], []) and not found.look(["north", "south"], [])
        resolver.known["north"] = ["192.0.2.1", "192.0.2.2"]
        resolver.known["south"] = ["2001:db8::2"]
        # Where nobody is reached any more sooner than where all is well.
        for later, missing, asked in ((20, ["south"], 2), (40, [], 2), (45, ["south"], 3), (700, [], 5)):
            with Clock(later):
                fresh = found.look(["north", "south"], missing)
            await wait()
            assert (len(resolver.asked), fresh) == (asked, later == 700), later
        assert found.known["south"] == ("2001:db8::2",)
        assert not found.look(["north"], []) and found.known == {"north": ("192.0.2.1", "192.0.2.2")}
        return True

    assert with_resolver(resolver, steps)


def test_a_name_server_that_does_not_answer_keeps_nothing_else_waiting():
    resolver = Resolver(alfa=None, north=["192.0.2.1"])

    async def steps(found, wait):
        found.look(["alfa", "north", "zulu"], ["alfa", "north", "zulu"])
        await wait()
        assert found.known == {"north": ("192.0.2.1",)} and resolver.asked == ["alfa", "north", "zulu"]
        # What was known is the best guess while nobody answers.
        resolver.known["north"] = None
        with Clock(60):
            found.look(["north", "zulu"], ["north", "zulu"])
            await wait()
        assert found.known == {"north": ("192.0.2.1",)} and len(resolver.asked) == 5
        return True

    assert with_resolver(resolver, steps)


def test_a_name_that_is_new_waits_for_none_that_was_not_found_before():
    resolver = Resolver(alfa=None, bravo=None, north=["192.0.2.1"])

    async def steps(found, wait):
        found.look(["alfa", "bravo"], ["alfa", "bravo"])
        await wait()
        with Clock(40):
            found.look(["alfa", "bravo"], ["alfa", "bravo"])
            while len(resolver.asked) < 3:
                await asyncio.sleep(0)
            found.look(["alfa", "bravo", "north"], ["alfa", "bravo", "north"])
            await wait()
        return resolver.asked

    assert with_resolver(resolver, steps) == ["alfa", "bravo", "alfa", "north", "bravo"]


def test_a_server_that_tells_many_addresses_or_them_in_turns_tells_little():
    resolver = Resolver(north=["192.0.2.%d" % number for number in range(1, 9)])

    async def steps(found, wait):
        found.look(["north"], [])
        await wait()
        assert found.look(["north"], []) and len(found.known["north"]) == 4
        resolver.known["north"].reverse()
        with Clock(700):
            found.look(["north"], [])
            await wait()
            return found.look(["north"], [])

    assert with_resolver(resolver, steps) is False


def test_a_socket_address_as_text():
    for one in ("192.0.2.1", "2001:db8::1"):
        assert compat.address_text(compat.inet_address(one, 655)) == one
