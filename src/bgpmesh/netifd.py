"""netifd's interfaces, over ubus (object `network.interface`)."""

from . import address


async def prefixes(bus, names):
    """The prefixes on the interfaces in `names` that are up: sorted, each once. Raises ubus.UbusError."""
    return from_dump(await bus.call("network.interface", "dump"), names)


def from_dump(dump, names):
    """The same from a dump's reply. An address that netifd gives and that is none is passed over."""
    found = {}
    for interface in _tables(dump, "interface"):
        if interface.get("interface") not in names or not interface.get("up"):
            continue
        for kind in ("ipv4-address", "ipv6-address", "ipv6-prefix-assignment"):
            for item in _tables(interface, kind):
                # An assignment's own address is in local-address; its "address" is the prefix.
                try:
                    prefix = _network(item["address"], item["mask"])
                except (KeyError, TypeError, ValueError, AttributeError):
                    continue
                if not prefix.is_special() and prefix.length < (32 if prefix.family == 4 else 128):
                    found[str(prefix)] = prefix
    return sorted(found.values(), key=lambda prefix: prefix.key())


def _tables(table, name):
    """The tables in the list of this name, if it is one."""
    found = table.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _network(text, length):
    family, number = address.parse(text)
    if not 0 < length <= address.BITS[family]:
        raise ValueError("no length of a prefix")
    spare = address.BITS[family] - length
    return address.Prefix(family, number >> spare << spare, length)
