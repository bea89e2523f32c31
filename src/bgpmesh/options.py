"""The options in force: those of /etc/config/bgpmesh, or the last good ones while they are wrong."""

from . import compat, config, disk, etcd
from .model import STATE, Problem

CONFIG = "/etc/config/bgpmesh"
_GOOD = STATE + "/config.good"


class Options:
    """config: the Config in force, None where there never was one."""

    def __init__(self, problems, report):
        self.config = None
        self._problems = problems
        self._report = report
        self._read = None  # (host name, text) that `config` was made from

    def read(self):
        """Reads them into `config`. Whether they are others now.

        What is wrong with them is a problem, and the last good ones stay in force.
        """
        name = (disk.read("/proc/sys/kernel/hostname") or "").strip()
        try:
            text = disk.read(CONFIG) or ""
            if (name, text) == self._read and not self._problems.of("config"):
                return False
            found = _load(text, name)
        except (config.ConfigError, OSError, ValueError) as error:
            return self._fall_back(name, error)
        for warning in found.warnings:
            self._report(warning)
        self.config = found
        self._read = name, text
        self._problems.replace("config", self._keep(text) if found.enabled else [])
        return True

    def _fall_back(self, name, error):
        good = None if self.config else disk.read_or_none(_GOOD)
        if good:
            try:
                self.config = _load(good, name)
            except config.ConfigError:
                good = None  # they were good for another runtime: `etcd_api` v2 takes CPython
        faults = getattr(error, "faults", [error])
        found = [Problem("config", getattr(fault, "option", None) or "", str(fault)) for fault in faults]
        self._problems.replace("config", found)
        return bool(good)

    def _keep(self, text):
        try:
            disk.make_folder(STATE)
            disk.write(_GOOD, text, 0o600)
        except OSError as error:
            return [Problem("disk", "config", "cannot write to %s: %s" % (STATE, compat.reason(error)))]
        return []


def _load(text, name):
    """The Config of a text, which this runtime can follow. Raises config.ConfigError."""
    found = config.load(text, name)
    etcd.check_api(found)
    return found
