"""The options in force: those of /etc/config/bgpmesh, or the last good ones while they are wrong."""

from . import compat, config, disk, etcd, trial
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
        self._trial = trial.Trial()
        self._in_force = None  # text

    def read(self):
        """Reads them into `config`. Whether they are others now.

        What is wrong with them is a problem, and the last good ones stay in force.
        """
        name = (disk.read("/proc/sys/kernel/hostname") or "").strip()
        try:
            text = disk.read(CONFIG) or ""
            if (name, text) == self._read and not self._problems.of("config"):
                return False
            wanted = _load(text, name)
            if wanted.enabled:
                return self._try(text, wanted, name)
            found = wanted
        except (config.ConfigError, OSError, ValueError) as error:
            return self._fall_back(name, error)
        self._read = name, text
        self._problems.replace("config", [])
        self._take(text, found)
        return True

    def look(self, connected):
        """Takes the options back where they have cut the router off. Whether they are others now.

        connected: whether the router has its registry, or a member.
        """
        if not self._read or not self.config or not self.config.enabled:
            return False
        try:
            undo = self._trial.look(connected, self.config.rollback)
            self._problems.replace("trial", [])
        except OSError as error:
            self._problems.replace("trial", [_unwritten(error)])
            return False
        if undo:
            self._go_back()
        return undo

    def _go_back(self):
        """Puts what worked into force, whatever the file says by now: it may be wrong, too."""
        name, worked = self._read[0], self._trial.text
        try:
            self._take(worked, _load(worked, name))
            self._read = name, worked
            disk.write(_GOOD, worked, 0o600)
            self._trial.keep()  # last: until then a next start falls back on what worked
        except config.ConfigError:
            self._read = None  # they were good for another version, or runtime
        except OSError:
            pass  # said where right options are read; the agent's next start comes to the same
        self.read()

    def settled(self):
        """Whether it is known that the options work, or do not."""
        return self._trial.proved or self._trial.undone

    def _try(self, text, wanted, name):
        """Takes options that are right into force, unless they were tried, and cut the router off."""
        problems = []
        in_force, found = text, wanted
        try:
            in_force = self._trial.begin(text)
            if in_force != text:
                found = _load(in_force, name)
                problems.append(Problem("config_undone", "", _undone(wanted, found)))
            disk.make_folder(STATE)
            self._trial.keep()
            disk.write(_GOOD, in_force, 0o600)
        except OSError as error:
            problems.append(_unwritten(error))
        changed = in_force != self._in_force or (name, text) != self._read and in_force == text
        self._read = name, text
        self._problems.replace("config", problems)
        if changed:
            self._take(in_force, found)
        return changed

    def _take(self, text, found):
        for warning in found.warnings:
            self._report(warning)
        self.config = found
        self._in_force = text

    def keep(self):
        """Keeps the good options on flash where that has failed, as on a full one. To be called once in a while."""
        if [problem for problem in self._problems.of("config") if problem.code == "disk"]:
            name, text = self._read
            self._try(text, _load(text, name), name)

    def _fall_back(self, name, error):
        good = None if self.config else trial.before() or disk.read_or_none(_GOOD)
        if good:
            try:
                self.config = _load(good, name)
            except config.ConfigError:
                good = None  # they were good for another runtime: `etcd_api` v2 takes CPython
        faults = getattr(error, "faults", [error])
        found = [Problem("config", getattr(fault, "option", None) or "", str(fault)) for fault in faults]
        self._problems.replace("config", found)
        return bool(good)


def _unwritten(error):
    return Problem("disk", "config", "cannot write to %s: %s" % (STATE, compat.reason(error)))


def _undone(wanted, found):
    names = [option[0] for option in config.OPTIONS]
    names = [name for name in names if repr(getattr(wanted, name)) != repr(getattr(found, name))]
    return (
        "/etc/config/bgpmesh was taken back: with it the router had neither the registry nor a member for %d s. What "
        "worked before is in force until the file changes. Different are: %s"
        % (wanted.rollback, ", ".join(["option '%s'" % name for name in names]))
    )


def _load(text, name):
    """The Config of a text, which this runtime can follow. Raises config.ConfigError."""
    found = config.load(text, name)
    etcd.check_api(found)
    return found
