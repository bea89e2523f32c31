"""procd's services of the agent's daemons, over ubus (object `service`; source: procd's service.c)."""


class Procd:
    """Sets services and looks whether they run. Every method raises ubus.UbusError."""

    def __init__(self, bus):
        self._bus = bus
        self._set = {}

    async def set(self, name, instances):
        """Makes the service what `instances` says; procd leaves alone what runs with the same definition.

        Asked only when the definition changed or procd does not know the service.
        """
        if self._set.get(name) == instances and await self._known(name):
            return False
        await self._bus.call("service", "set", {"name": name, "instances": instances})
        self._set[name] = instances
        return True

    async def delete(self, name):
        """Stops the service; harmless where there is none."""
        self._set.pop(name, None)
        if await self._known(name):
            await self._bus.call("service", "delete", {"name": name})

    async def instance(self, name, instance):
        """The instance as procd lists it ({"running", "pid", …}); {} where there is none."""
        found = await self._bus.call("service", "list", {"name": name})
        return found.get(name, {}).get("instances", {}).get(instance, {})

    async def _known(self, name):
        return name in await self._bus.call("service", "list", {"name": name})
