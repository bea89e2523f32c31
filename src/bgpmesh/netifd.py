"""netifd's interfaces, over ubus (object `network.interface`)."""

from . import address

_ADDRESSES = ("ipv4-address", "ipv6-address", "ipv6-prefix-assignment")
_DEVICES = ("l3_device", "device")


async def dump(bus):
    """What netifd says of all its interfaces, as the functions below take it. Raises ubus.UbusError."""
    return await bus.call("network.interface", "dump")


def from_dump(dump, names):
    """The prefixes on the interfaces in `names` that are up: sorted, each once; no single host's."""
    found = {}
    for interface in _tables(dump, "interface"):
        if interface.get("interface") in names:
            for prefix in _prefixes(interface):
                if prefix.length < address.BITS[prefix.family]:
                    found[str(prefix)] = prefix
    return sorted(found.values(), key=lambda prefix: prefix.key())


def networks(dump, overlay):
    """(name, Prefix) of what all interfaces that are up have, single hosts' as well; sorted, each once.

    overlay: the overlay's network interface, which is left out, as is `lo`.
    """
    found = {}
    for interface in _tables(dump, "interface"):
        name = interface.get("interface")
        if isinstance(name, str) and not [kind for kind in _DEVICES if interface.get(kind) in (overlay, "lo")]:
            for prefix in _prefixes(interface):
                found[name, prefix.key()] = name, prefix
    return [found[key] for key in sorted(found)]


def missing(dump, names):
    """Those of `names` that are no interface, not even one that is down."""
    known = [interface.get("interface") for interface in _tables(dump, "interface")]
    return [name for name in names if name not in known]


def _prefixes(interface):
    """The prefixes of an interface that is up. An address that netifd gives and that is none is passed over."""
    found = []
    for kind in _ADDRESSES if interface.get("up") else ():
        for item in _tables(interface, kind):
            # An assignment's own address is in local-address; its "address" is the prefix.
            try:
                prefix = _network(item["address"], item["mask"])
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
            if not prefix.is_special():
                found.append(prefix)
    return found


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
