"""procd's `service` object: starts, watches, restarts and stops processes (procd: service/*.c)."""

import asyncio
import fcntl
import grp
import hashlib
import os
import pwd
import resource
import signal
import sys
import time

from bgpmesh.ubus import INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, UNKNOWN_ERROR, UbusError, blob

KILLED = 128  # added to the signal's number in exit_code


def text_items(value):
    return all(isinstance(item, str) for item in value)


def typed(config, name, kind):
    """An option, or None where its type is another, as blobmsg_parse has it: 1 is no boolean."""
    value = config.get(name)
    return value if type(value) is kind else None


def digest(path):
    try:
        with open(path, "rb") as file:
            return hashlib.md5(file.read()).digest()
    except OSError:
        return None


class Config:
    """One instance's parameters as procd reads them, wrong types included."""

    def __init__(self, given):
        self.command = typed(given, "command", list)
        self.env = typed(given, "env", dict) or {}
        self.limits = typed(given, "limits", dict) or {}
        files = typed(given, "file", list) or []
        self.netdev = typed(given, "netdev", list) or []
        self.errors = typed(given, "error", list) or []
        self.data = typed(given, "data", dict) or {}
        self.valid = (self.command is None or bool(self.command) and text_items(self.command)) and all(
            text_items(value)
            for value in (self.env.values(), self.limits.values(), files, self.netdev, self.errors)
        )
        self.files = {path: digest(path) for path in files} if self.valid else {}
        self.term_timeout = given["term_timeout"] if typed(given, "term_timeout", int) is not None else 5
        self.reload_signal = typed(given, "reload_signal", int) or 0
        self.nice = typed(given, "nice", int) or 0
        self.pidfile = typed(given, "pidfile", str)
        self.stdout = typed(given, "stdout", bool) or False
        self.stderr = typed(given, "stderr", bool) or False
        self.respawn = typed(given, "respawn", list) is not None
        numbers = [3600, 5, 5] if self.respawn else [0, 0, 0]
        for place, item in enumerate((given["respawn"] if self.respawn else [])[:3]):
            # A number that is not text reads as an empty text, atoi of which is 0.
            numbers[place] = leading_number(item) if isinstance(item, str) else 0
        self.threshold, self.timeout, self.retry = numbers
        self.user = self.group = None
        self.uid = self.gid = 0
        try:
            self.uid, self.gid = pwd.getpwnam(typed(given, "user", str) or "")[2:4]
            self.user = given["user"]
        except KeyError:
            pass
        try:
            self.gid = grp.getgrnam(typed(given, "group", str) or "")[2]
            self.group = given["group"]
        except KeyError:
            pass

    def restarts(self):
        """What a change of restarts the process."""
        return (
            (
                self.command,
                self.env,
                self.netdev,
                self.files,
                self.limits,
                self.errors,
                self.nice,
                self.pidfile,
            )
            + (self.threshold, self.timeout, self.retry, self.reload_signal, self.term_timeout)
            + (self.user, self.group, self.uid, self.gid)
        )


def leading_number(text):
    digits = ""
    for sign in text.strip():
        if not sign.isdigit():
            break
        digits += sign
    return int(digits or 0)


class Instance:
    """One process of a service, or the place for it."""

    def __init__(self, procd, service, name, config):
        self.procd = procd
        self.service = service
        self.name = name
        self.config = config
        # procd never takes these over from a later `set`.
        self.valid, self.stdout, self.stderr = config.valid, config.stdout, config.stderr
        self.respawns = config.respawn
        self.pid = 0
        self.running = False
        self.halt = self.restart = False
        self.count = 0
        self.exit_code = 0
        self.started = 0
        self.timer = None

    def update(self, config):
        changed = not self.valid or self.config.restarts() != config.restarts()
        if not self.running or self.halt:
            self._take(config)
            self.start()
        else:
            if changed:
                self._restart()
            self._take(config)

    def _take(self, config):
        self.config = config
        self.respawns = config.respawn

    def start(self):
        where = "%s::%s" % (self.service.name, self.name)
        if self.config.errors:
            self.procd.log("Not starting instance %s, an error was indicated" % where)
            return
        if not self.config.command:
            self.procd.log("Not starting instance %s, command not set" % where)
            return
        if self.running:
            if self.halt:
                self.restart = True
            return
        self.restart = self.halt = False
        if not self.valid:
            return
        self._arm(None, None)
        self.pid = self._spawn()
        self.running = True
        self.started = int(time.monotonic())
        self.procd.by_pid[self.pid] = self
        if self.config.pidfile:
            try:
                with open(self.config.pidfile, "w") as file:
                    file.write("%d\n" % self.pid)
            except OSError as error:
                self.procd.log("failed to open pidfile for writing: %s" % error)
        self.procd.tell("instance.start", self.service.name, self.name)

    def stop(self, halt):
        if not self.running:
            if halt:
                self._delete()
            return
        self.halt = halt
        self.restart = self.respawns = False
        self._terminate()

    def _restart(self):
        if self.config.reload_signal:
            os.kill(self.pid, self.config.reload_signal)
            return
        self.halt = self.restart = True
        self._terminate()

    def _terminate(self):
        os.kill(self.pid, signal.SIGTERM)
        self._arm(self.config.term_timeout, self._expired)

    def _expired(self):
        if self.halt:
            where = "%s::%s" % (self.service.name, self.name)
            self.procd.log(
                "Instance %s pid %d not stopped on SIGTERM, sending SIGKILL instead" % (where, self.pid)
            )
            os.kill(self.pid, signal.SIGKILL)
        elif self.restart or self.respawns:
            self.start()

    def _arm(self, seconds, action):
        if self.timer:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(seconds, action) if action else None

    def exited(self, status):
        runtime = int(time.monotonic()) - self.started
        self.running = False
        self.exit_code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else KILLED + os.WTERMSIG(status)
        self._arm(None, None)
        self.procd.tell("instance.stop", self.service.name, self.name)
        again = False
        if self.halt:
            if self.config.pidfile and os.path.exists(self.config.pidfile):
                os.unlink(self.config.pidfile)
            again = self.restart
            if not again:
                self._delete()
        elif self.restart:
            again = True
        elif self.respawns:
            self._respawn(runtime)
        if again:
            self.start()

    def _respawn(self, runtime):
        self.count = self.count + 1 if runtime < self.config.threshold else 0
        if self.count > self.config.retry > 0:
            where = "%s::%s" % (self.service.name, self.name)
            self.procd.log(
                "Instance %s s in a crash loop %d crashes, %d seconds since last crash"
                % (where, self.count, runtime)
            )
            self.restart = self.respawns = False
            self.halt = True
            self._tell_exit("instance.fail")
        else:
            self._tell_exit("instance.respawn")
            self._arm(self.config.timeout, self._expired)

    def _tell_exit(self, kind):
        data = {
            "service": self.service.name,
            "instance": self.name,
            "pid": self.pid,
            "exit_code": self.exit_code,
            "respawn_count": self.count,
            "command": self.config.command,
        }
        self.procd.notify(kind, data)

    def _delete(self):
        self._arm(None, None)
        self.service.instances.pop(self.name, None)
        self.procd.stopped(self.service)

    def dump(self):
        config = self.config
        shown = {"running": self.running, "term_timeout": config.term_timeout}
        if self.running:
            shown["pid"] = self.pid
        else:
            shown["exit_code"] = self.exit_code
        if config.command:
            shown["command"] = config.command
        for name in (
            "errors",
            "env",
            "data",
            "limits",
            "netdev",
            "reload_signal",
            "pidfile",
            "user",
            "group",
        ):
            if getattr(config, name):
                shown[name] = getattr(config, name)
        if self.respawns:
            shown["respawn"] = {
                "threshold": config.threshold,
                "timeout": config.timeout,
                "retry": config.retry,
            }
        return shown

    def _spawn(self):
        readers = []
        writers = []
        for wanted in (self.stdout, self.stderr):
            if wanted:
                reader, writer = os.pipe()
                readers.append(reader)
            else:
                writer = os.open("/dev/null", os.O_WRONLY)
            writers.append(writer)
        sys.stdout.flush()
        # A signal that the child got while it has our handlers would be reported to our event loop.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = os.fork()
        if pid == 0:
            try:
                self._become(writers)
            finally:
                os._exit(127)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for writer in writers:
            os.close(writer)
        for reader in readers:
            self.procd.read_lines(reader, "%s[%d]" % (os.path.basename(self.config.command[0]), pid))
        return pid

    def _become(self, writers):
        config = self.config
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(writers[0], 1)
        os.dup2(writers[1], 2)
        if config.nice:
            os.setpriority(os.PRIO_PROCESS, 0, config.nice)
        for name, value in config.limits.items():
            words = [resource.RLIM_INFINITY if word == "unlimited" else int(word) for word in value.split()]
            resource.setrlimit(getattr(resource, "RLIMIT_" + name.upper()), (words[0], words[-1]))
        os.environ.update(config.env)
        if config.user:
            os.initgroups(config.user, config.gid)
        if config.gid:
            os.setgid(config.gid)
        if config.uid:
            os.setuid(config.uid)
        os.execvp(config.command[0], config.command)


class Service:
    """A name and its instances."""

    def __init__(self, name):
        self.name = name
        self.instances = {}
        self.data = {}
        self.autostart = True
        self.deleted = False

    def dump(self):
        shown = {}
        if not self.autostart:
            shown["autostart"] = False
        if self.data:
            shown["data"] = self.data
        listed = {name: each.dump() for name, each in self.instances.items() if each.valid}
        if self.instances:
            shown["instances"] = listed
        return shown


class Procd:
    """All services, and the `service` object."""

    def __init__(self, bus, write_line):
        self.bus = bus
        self.write_line = write_line
        self.services = {}
        self.by_pid = {}
        text, table, number = blob.STRING, blob.TABLE, blob.INT32
        sets = {
            "name": text,
            "script": text,
            "instances": table,
            "triggers": blob.ARRAY,
            "validate": blob.ARRAY,
        }
        sets = dict(sets, autostart=blob.BOOL, data=table)
        self.object = bus.publish(
            "service",
            {
                "set": (sets, lambda args: self.set(args, False)),
                "add": (sets, lambda args: self.set(args, True)),
                "list": ({"name": text, "verbose": blob.BOOL}, self.list),
                "delete": ({"name": text, "instance": text}, self.delete),
                "signal": ({"name": text, "instance": text, "signal": number}, self.signal),
                "event": ({"type": text, "data": table}, self.event),
                "get_data": ({"name": text, "instance": text, "type": text}, self.get_data),
            },
        )

    def log(self, text):
        self.write_line("procd: " + text)

    def notify(self, kind, data):
        self.bus.notify(self.object, kind, data)

    def tell(self, kind, service, instance=None):
        self.notify(kind, {"service": service, "instance": instance} if instance else {"service": service})

    def set(self, args, add):
        name = typed(args, "name", str)
        if name is None:
            raise UbusError(INVALID_ARGUMENT, "no name")
        service = self.services.get(name)
        new = service is None
        if new:
            service = Service(name)
        if typed(args, "autostart", bool) is not None:
            service.autostart = args["autostart"]
        instances = typed(args, "instances", dict)
        service.deleted = False
        if instances is not None:
            self.services[name] = service
            # The wire keeps an order that a dict of either runtime need not have: procd sorts by name anyway.
            for key in sorted(instances):
                if not isinstance(instances[key], dict):
                    continue
                if key in service.instances:
                    service.instances[key].update(Config(instances[key]))
                else:
                    service.instances[key] = Instance(self, service, key, Config(instances[key]))
                    if service.autostart:
                        service.instances[key].start()
            if not add:
                for key in sorted(set(service.instances) - set(instances)):
                    service.instances[key].stop(True)
        if typed(args, "data", dict) is not None:
            service.data = args["data"]
        if new:
            self.services[name] = service
            self.tell("service.start", name)

    def list(self, args):
        wanted = typed(args, "name", str)
        return {name: each.dump() for name, each in self.services.items() if wanted in (None, name)}

    def delete(self, args):
        service = self._find(args)
        instance = typed(args, "instance", str)
        if instance is not None:
            if instance not in service.instances:
                raise UbusError(NOT_FOUND, instance)
            service.instances[instance].stop(True)
            return
        service.data = {}
        service.deleted = True
        for each in list(service.instances.values()):
            each.stop(True)
        self.stopped(service)

    def signal(self, args):
        service = self._find(args)
        number = signal.SIGHUP if typed(args, "signal", int) is None else args["signal"]
        instance = typed(args, "instance", str)
        if instance is not None and instance not in service.instances:
            raise UbusError(NOT_FOUND, instance)
        chosen = [service.instances[instance]] if instance is not None else list(service.instances.values())
        status = 0
        for each in chosen:
            status = kill_status(each.pid if each.running else 0, number)
        if status:
            raise UbusError(status, "signal")

    def event(self, args):
        if typed(args, "type", str) is None or typed(args, "data", dict) is None:
            raise UbusError(INVALID_ARGUMENT, "type and data")
        self.notify("event.trigger", {"type": args["type"], "data": args["data"]})

    def get_data(self, args):
        name, instance, kind = [typed(args, each, str) for each in ("name", "instance", "type")]
        found = {}
        for service in self.services.values():
            if name not in (None, service.name):
                continue
            groups = [("*", service.data)]
            for each in service.instances.values():
                if instance in (None, each.name):
                    groups.append((each.name, each.config.data))
            for key, data in groups:
                data = {each: data[each] for each in data if kind in (None, each)}
                if data:
                    found.setdefault(service.name, {})[key] = data
        return found

    def _find(self, args):
        service = self.services.get(typed(args, "name", str))
        if service is None:
            raise UbusError(NOT_FOUND, "service")
        return service

    def stopped(self, service):
        """Forgets a service that was deleted and whose last process is gone."""
        if service.deleted and not service.instances and self.services.get(service.name) is service:
            del self.services[service.name]
            self.tell("service.stop", service.name)

    def reap(self, everything):
        """Takes the exit status of each process that ended; of orphans too where this is process 1."""
        for pid in [-1] if everything else list(self.by_pid):
            while True:
                try:
                    gone, status = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    break
                if not gone:
                    break
                instance = self.by_pid.pop(gone, None)
                if instance:
                    instance.exited(status)
                if pid != -1:
                    break

    async def stop_all(self, first):
        """Stops the services one by one: those named in `first`, then the rest, the last set first."""
        order = [name for name in first if name in self.services]
        order += [name for name in reversed(list(self.services)) if name not in order]
        for name in order:
            if name in self.services:
                self.delete({"name": name})
            while name in self.services:
                await asyncio.sleep(0.01)

    def read_lines(self, reader, ident):
        """Copies what comes out of a pipe to the log, line by line."""
        loop = asyncio.get_running_loop()
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_NONBLOCK)
        rest = bytearray()

        def readable():
            try:
                data = os.read(reader, 65536)
            except BlockingIOError:
                return
            rest.extend(data)
            lines = rest.split(b"\n")
            rest[:] = lines.pop()
            if not data:
                loop.remove_reader(reader)
                os.close(reader)
                if rest:
                    lines.append(rest)
            for line in lines:
                self.write_line("%s: %s" % (ident, line.decode("utf-8", "replace")))

        loop.add_reader(reader, readable)


def kill_status(pid, number):
    if not pid:
        return NOT_FOUND
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return NOT_FOUND
    except PermissionError:
        return PERMISSION_DENIED
    except OSError as error:
        return INVALID_ARGUMENT if error.errno == 22 else UNKNOWN_ERROR
    return 0
