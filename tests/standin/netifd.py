"""netifd's `network.interface` objects, answered from a list (netifd: ubus.c)."""

from bgpmesh.ubus import NOT_FOUND, UbusError, blob


class Netifd:
    """The interfaces as they are configured."""

    def __init__(self, bus):
        self.bus = bus
        self.interfaces = {}
        self.objects = {}
        methods = {"dump": ({}, self.dump), "status": ({"interface": blob.STRING}, self.status)}
        self.object = bus.publish("network.interface", methods)

    def dump(self, args):
        return {"interface": list(self.interfaces.values())}

    def status(self, args):
        name = args.get("interface")
        if name not in self.interfaces:
            raise UbusError(NOT_FOUND, "interface %s" % name)
        return {key: value for key, value in self.interfaces[name].items() if key != "interface"}

    def load(self, interfaces):
        """Takes a new list, and tells the subscribers and listeners what differs from the last one."""
        old = self.interfaces
        self.interfaces = {each["interface"]: each for each in interfaces}
        for name in sorted(set(self.interfaces) - set(self.objects)):
            methods = {"status": ({}, lambda args, name=name: self.status({"interface": name}))}
            self.objects[name] = self.bus.publish("network.interface." + name, methods)
        for name in sorted(set(old) | set(self.interfaces)):
            if old.get(name) != self.interfaces.get(name):
                self._tell(name, old.get(name, {}).get("up", False))
        for name in sorted(set(self.objects) - set(self.interfaces)):
            self.bus.withdraw(self.objects.pop(name))

    def _tell(self, name, was_up):
        now = self.interfaces.get(name, {"interface": name, "up": False})
        up = now.get("up", False)
        if up != was_up:
            action = {"action": "ifup" if up else "ifdown", "interface": name}
            self.bus.event("network.interface", blob.encode_table(action))
        for each in (self.object, self.objects[name]):
            self.bus.notify(each, "interface.update" if up else "interface.down", now)
