"""Who is on the LAN, by umdns (over ubus), and the registry that a neighbour with the same secret announces."""

from . import compat, config, disk, lan, records
from .model import STATE, TAKE, Problem
from .ubus import NOT_FOUND, UbusError

_MOST = 8  # servers that are taken from neighbours
_FILE = STATE + "/registry"  # the servers that were taken last, with blanks between


class Discovery:
    """seen: node -> lan.Sighting of the members that umdns has heard."""

    def __init__(self, bus, problems, report):
        self.seen = {}
        self._bus = bus
        self._problems = problems
        self._report = report

    async def look(self, secrets):
        """Asks umdns. A router without it sees nobody."""
        try:
            await self._bus.call("umdns", "update")
            answer = await self._bus.call("umdns", "browse", {"service": lan.SERVICE, "array": True})
        except UbusError as error:
            if error.status != NOT_FOUND:
                self._report("umdns: %s" % error)
            answer = {}
        self.seen = lan.sightings(answer, secrets)

    def take_registry(self, options):
        """Gives a Config without `etcd` the servers of a neighbour, or those taken last. Whether there are any.

        Without one it is a problem that says whose registry there would be.
        """
        problems = []
        if not options.etcd:
            options.borrowed = True
            # All of them, tried in turn: an announcement from the past may have been put on the LAN again.
            for node in sorted(self.seen):
                sighting = self.seen[node]
                found = [server for server in _servers(sighting.etcd) if server not in options.etcd]
                if sighting.trusted and found and len(options.etcd) + len(found) <= _MOST:
                    options.etcd += found
                    self._report("the registry is that of the neighbour '%s': %s" % (node, sighting.etcd))
            if options.etcd:
                problems = _keep(" ".join([config.server_text(server) for server in options.etcd]))
            options.etcd = options.etcd or taken_last()
        self._problems.replace("registry", problems if options.etcd else [self._missing(options.secret)])
        return bool(options.etcd)

    def elsewhere(self, options):
        """Whether a neighbour with the same secret announces other servers than the Config has."""
        found = [server for one in self.seen.values() if one.trusted for server in _servers(one.etcd)]
        return bool([server for server in found if server not in options.etcd])

    def _missing(self, secret):
        text = "no registry: uci set bgpmesh.main.etcd=http://ADDRESS:2379; " + TAKE
        others = [node for node in sorted(self.seen) if _servers(self.seen[node].etcd)]
        if others:
            reason = "signs with another secret" if secret else "is not trusted without option 'secret'"
            text = "no registry: '%s' on the LAN announces %s, but %s; uci set bgpmesh.main.etcd=…; %s takes it" % (
                records.plain(others[0]),
                " ".join([config.server_text(server) for server in _servers(self.seen[others[0]].etcd)]),
                reason,
                TAKE,
            )
        return Problem("no_registry", "etcd", text)


def taken_last():
    """The servers of the registry that a neighbour announced and this router took last; [] without one."""
    return _servers(disk.read_or_none(_FILE) or "")


def _keep(text):
    try:
        disk.write(_FILE, text, 0o600)
    except OSError as error:
        text = "cannot keep the registry's address in %s: %s" % (STATE, compat.reason(error))
        return [Problem("disk", "registry", text)]
    return []


def _servers(text):
    """The servers in a text; [] where one is none, for it came from outside."""
    try:
        return [config.parse_server(word) for word in text.split()]
    except ValueError:
        return []
