"""umdns' object, answered from what the test says was heard (mdnsd: ubus.c, `browse` with "array")."""

from bgpmesh.ubus import blob


class Umdns:
    """neighbours: {service: {instance: {"txt": [...], ...}}}."""

    def __init__(self, bus):
        self.neighbours = {}
        browse = ({"service": blob.STRING, "array": blob.BOOL, "address": blob.BOOL}, self.browse)
        bus.publish("umdns", {"update": ({}, lambda args: None), "browse": browse})

    def browse(self, args):
        service = args.get("service")
        return {name: self.neighbours[name] for name in self.neighbours if service in (None, name)}
