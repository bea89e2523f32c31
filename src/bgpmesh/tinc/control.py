"""A running tincd: what it knows, and reload. Version 1.1 by its control socket, 1.0 by signals and log."""

import asyncio
import errno

from .. import compat, disk, stream

TIMEOUT = 5
_PAUSE = 0.3  # seconds that tinc 1.0 is left alone after its start and after a reload


class TincError(Exception):
    """tincd could not be asked, or refused; the text says which."""


class Node:
    """A node as tincd sees it.

    reachable: whether there is a path; keyed: whether packets can be encrypted for it (None where
    unknown); direct: whether its tunnel is dialled or dialled-in, not by way of another; address:
    where its packets come from, or None: only of a direct one. Those alike may be one object.
    """

    def __init__(self, reachable, keyed, direct, address):
        self.reachable = reachable
        self.keyed = keyed
        self.direct = direct
        self.address = address


async def version():
    """ "1.0" or "1.1": which tincd this router has. Raises OSError where there is none."""
    status, output = await compat.run(["/usr/sbin/tincd", "--version"], TIMEOUT)
    words = output.decode().split()
    if status or len(words) < 3 or words[:2] != ["tinc", "version"]:
        raise OSError(errno.ENOENT, "tincd --version says %s" % output[:60])
    return "1.0" if words[2].startswith("1.0") else "1.1"


class Socket:
    """tincd 1.1's control socket, beside its pid file (source: tinc's control_common.h)."""

    def __init__(self, pid_file):
        self._pid_file = pid_file

    async def nodes(self, names=None):
        """name -> Node. Raises TincError. names: name -> node of those that are known."""
        dump = Dump(names)
        await self._ask("18 3", dump.take)
        return dump.nodes

    async def tunnels(self):
        """[(node, node)] of every tunnel in the mesh, sorted. Raises TincError."""
        lines = []
        await self._ask("18 4", lines.append)
        return pairs([line.split(" ", 4)[2:4] for line in lines])

    async def reload(self):
        """Reads the files again. Raises TincError."""
        if await self._ask("18 1") != "18 1 0":
            raise TincError("tincd refused its files at reload; its log says why")

    async def retry(self, hung):
        """Dials at once who is waiting to be dialled; a connection to a node in `hung` is given up first.

        A peer that does not know our key yet lets the connection hang, and tincd waits for it. Raises TincError.
        """
        for node in hung:
            await self._ask("18 12 " + node)
        await self._ask("18 10")

    async def _ask(self, request, take=None):
        """The line of the reply; of one with many, each is given to take() as it comes."""
        try:
            return await asyncio.wait_for(self._converse(request, take), TIMEOUT)
        except asyncio.TimeoutError:
            raise TincError("tincd does not answer on its control socket")
        except (OSError, EOFError, ValueError) as error:
            raise TincError("tincd's control socket: %s" % error)

    async def _converse(self, request, take):
        words = (disk.read(self._pid_file) or "").split()
        if len(words) < 2:
            raise TincError("tincd does not run (no %s); logread -e tincd may say why" % self._pid_file)
        connection = await stream.open_unix(self._pid_file.replace(".pid", ".socket"), TIMEOUT)
        try:
            await connection.write(("0 ^%s 0\n%s\n" % (words[1], request)).encode())
            for greeting in ("0 ", "4 "):
                line = await connection.read_until(b"\n")
                if not line.startswith(greeting.encode()):
                    raise TincError("tincd greets with %s" % line[:60])
            while True:
                line = (await connection.read_until(b"\n")).decode()
                if line == request or not take:
                    return line
                take(line)
        finally:
            connection.close()


class Dump:
    """A node dump, of lines `18 3 NAME ID HOST port PORT …`. nodes: name -> Node; names: as of Socket.nodes."""

    def __init__(self, names=None):
        self.nodes = {}
        self._names = names or {}
        self._alike = {}  # those by way of others are many, and of few kinds

    def take(self, line):
        """Takes one line. Raises TincError."""
        words = line.split(" ", 14)
        try:
            status, host, hop = int(words[12], 16) & 18, words[4], words[13]
        except (IndexError, ValueError):
            raise TincError("tincd's node dump has a line %s" % line[:80])
        if host == "MYSELF":
            return
        if hop == words[2]:
            node = Node(status & 16 > 0, status & 2 > 0, True, None if host == "unknown" else host)
        else:
            node = self._alike.get(status)
            if not node:
                node = self._alike[status] = Node(status & 16 > 0, status & 2 > 0, False, None)
        known = self._names.get(words[2])
        # Most are called as their node is: that text is there already.
        self.nodes[known if known == words[2] else words[2]] = node


def parse_nodes(lines):
    """name -> Node from the lines of a node dump. Raises TincError."""
    dump = Dump()
    for line in lines:
        dump.take(line)
    return dump.nodes


def pairs(edges):
    """[(node, node)] of tunnels, each once and sorted, from the edges of tincd's graph: one for each direction."""
    return sorted(set([tuple(sorted(edge)) for edge in edges if len(edge) == 2]))


class Log:
    """tincd 1.0, which has no control socket: asked by signals, it answers in its log file.

    It does so right in the signal's handler, whatever it was doing: where that is to log or to read its files it may
    never come back.
    """

    def __init__(self, pid_file, log_file, report):
        self._pid_file = pid_file
        self._log_file = log_file
        self._report = report  # gets tincd's own log lines, which would be lost with the file
        self._lock = asyncio.Lock()  # one dump at a time
        self._known = None  # the text of the pid file of the process that is over its start

    async def nodes(self, _=None):
        """name -> Node. Raises TincError."""
        return (await self._look())[0]

    async def tunnels(self):
        """[(node, node)] of every tunnel in the mesh, sorted. Raises TincError."""
        return pairs((await self._look())[1])

    async def _look(self):
        async with self._lock:
            return await self._dump()

    async def _dump(self):
        started = disk.read(self._pid_file)
        if started != self._known:
            await asyncio.sleep(_PAUSE)
            self._known = started
        self._empty()  # a dump that came too late for an earlier look
        await self._signal("USR2")
        deadline = compat.monotonic() + TIMEOUT
        while True:
            text = disk.read(self._log_file) or ""
            if "End of subnet list." in text:  # the last thing it writes
                break
            if compat.monotonic() > deadline:
                raise TincError("tincd does not write its nodes to %s" % self._log_file)
            await asyncio.sleep(0.05)
        return self._empty()

    async def reload(self):
        """Reads the files again. Raises TincError."""
        async with self._lock:
            await self._signal("HUP")
            await asyncio.sleep(_PAUSE)

    async def retry(self, _):
        """Dials at once who is waiting to be dialled. Raises TincError.

        Not by ALRM, which is for that: it has every timer of tincd expire, those of the path MTU included.
        """
        await self.reload()

    def _empty(self):
        text = disk.read(self._log_file)
        if not text:
            return {}, []
        open(self._log_file, "w").close()  # tincd appends, so it may be cut while it is open
        nodes, edges, rest = parse_log(text)
        for line in rest:
            self._report("tincd: " + line)
        return nodes, edges

    async def _signal(self, name):
        argv = ["/usr/sbin/tincd", "--pidfile=" + self._pid_file, "-k" + name]
        try:
            status, output = await compat.run(argv, TIMEOUT)
        except OSError as error:
            raise TincError("tincd -k%s: %s" % (name, error))
        if status:
            raise TincError("tincd -k%s: %s" % (name, output.decode().strip()))


def parse_log(text):
    """(name -> Node, edges, lines that are not part of a dump) from what tincd 1.0 wrote for USR2."""
    nodes = {}
    edges = []
    rest = []
    section = None
    for line in text.split("\n"):
        message = line.split("]: ", 1)[-1] if "]: " in line else line
        if message in ("Nodes:", "Edges:", "Subnet list:") or message.startswith("Statistics for "):
            section = message
        elif message.startswith("End of "):
            section = None
        elif section and message.startswith(" "):
            words = message.split()
            if section == "Nodes:":
                try:
                    status = int(words[words.index("status") + 1], 16)
                    hop = words[words.index("nexthop") + 1]
                    host = words[2]
                except (IndexError, ValueError):
                    continue  # cut short
                if host != "MYSELF":
                    known = None if host == "unknown" else host
                    nodes[words[0]] = Node(bool(status & 16), None, hop == words[0], known)
            elif section == "Edges:" and words[1:2] == ["to"]:
                edges.append(words[0:3:2])
        elif message.strip() and not (message.startswith("Got ") and message.endswith(" signal")):
            rest.append(message.strip())
    return nodes, edges, rest
