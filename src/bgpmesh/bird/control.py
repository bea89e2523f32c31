"""A running BIRD, by its control socket: sessions, and a new configuration taken with a way back.

The protocol (BIRD's user's guide, "Remote control"): lines `NNNN-` with more to follow, `NNNN `
ends the reply, a leading space continues the code before, a leading `+` is asynchronous.
"""

import asyncio
import hashlib

from .. import compat, stream
from .render import RECOVERY_TIME

TIMEOUT = 10
_LIMIT = 1 << 22  # bytes of a reply
_PIECE = 4096
UNDO_AFTER = 30  # seconds until BIRD takes an unconfirmed configuration back


class BirdError(Exception):
    """BIRD could not be asked; the text says why."""


class ConfigError(BirdError):
    """BIRD refused a configuration; the text is its own: file, line, column, and what."""


class Session:
    """A BGP session as BIRD shows it. state: BGP's, such as Established; since: `YYYY-MM-DD HH:MM:SS`
    of the router's clock; info: the last error, or ''."""

    def __init__(self, state, since, info):
        self.state = state
        self.info = info
        # A number takes no memory of its own, and few sessions have the same.
        digits = since.replace("-", "").replace(" ", "").replace(":", "")
        self._since = int(digits) if len(since) == 19 and len(digits) == 14 and digits.isdigit() else since

    @property
    def since(self):
        """As given."""
        if not isinstance(self._since, int):
            return self._since
        text = "%014d" % self._since
        return "%s-%s-%s %s:%s:%s" % (text[:4], text[4:6], text[6:8], text[8:10], text[10:12], text[12:])


class Socket:
    """BIRD's control socket at `path`. One conversation at a time.

    rename: gives what a BGP protocol is called here, for its name.
    """

    def __init__(self, path, rename=str):
        self._path = path
        self._rename = rename
        self._lock = asyncio.Lock()
        self._seen = None  # digest of the reply that _sessions was made from
        self._sessions = {}

    async def ask(self, command):
        """The reply as a list of (code, text), the last one ending it. Raises BirdError."""
        return await self._ask(command, parse_reply)

    async def version(self):
        """BIRD's version, such as "3.1.7"; once it answers, its configuration is in force."""
        return (await self.ask("show status"))[0][1].split(" ")[-1]

    async def sessions(self):
        """name -> Session, of all BGP protocols. The same dict again while nothing changed."""
        return await self._ask("show protocols", self._take_sessions, False)

    def _take_sessions(self, pieces):
        # Most looks find what the last one found, and taking it apart is what costs.
        total = hashlib.sha256()
        for piece in pieces:
            total.update(piece)
        digest = total.digest()
        if digest != self._seen:
            self._seen = None
            self._sessions = {}  # before the new ones take as much room
            self._sessions = parse_protocols(reply_lines(pieces), self._rename)
            self._seen = digest
        return self._sessions

    async def routes(self):
        """protocol name -> number of routes in use, all channels together."""
        return parse_routes(await self.ask('show protocols all "_*"'))

    async def watched(self):
        """Addresses of the peers whose BFD session is up."""
        return parse_watched(await self.ask("show bfd sessions"))

    async def exports(self):
        """protocol name -> (announcements sent since the session is up, routes announced now), of all channels."""
        reply = await self.ask('show protocols all "_*"')
        sent, announced = parse_sent(reply), parse_exported(reply)
        return {name: (sent[name], announced[name]) for name in sent}

    async def learned(self, limit):
        """([(prefix, protocol name, next hop)], number of all): the routes in use, `limit` of them at most."""
        return await self._ask("show route primary where source = RTS_BGP", lambda data: parse_learned(data, limit))

    async def check(self, path):
        """Raises ConfigError where BIRD would not take the configuration file at `path`."""
        _refuse(await self.ask('configure check "%s"' % path))

    async def configure(self, path, expected):
        """Takes the configuration file at `path`, and keeps it only when it gives what is expected.

        expected: the names, as of sessions(), of the BGP protocols that must be there, and no others. BIRD goes back by
        itself after UNDO_AFTER seconds otherwise. Raises ConfigError, BirdError.
        """
        await self._settle()
        _refuse(await self.ask('configure "%s" timeout %d' % (path, UNDO_AFTER)))
        deadline = compat.monotonic() + TIMEOUT
        while True:
            await self._settle()
            found = sorted(await self.sessions())
            if found == sorted(expected):
                break
            if compat.monotonic() > deadline:
                raise BirdError("BIRD took a configuration but shows the sessions %s" % ", ".join(found))
            await asyncio.sleep(0.05)
        await self.ask("configure confirm")

    async def is_recovering(self):
        """Whether BIRD still waits for its peers' routes, after the one before it was killed."""
        return _recovers(await self.ask("show status"))

    async def _settle(self):
        # A second reconfiguration while one runs is what BIRD 3.1.7 does not survive. And a recovery amid which
        # sessions begin anew it may never end.
        began = compat.monotonic()
        while True:
            reply = await self.ask("show status")
            waited = compat.monotonic() - began
            busy = reply[-1][1] != "Daemon is up and running"
            if busy and waited > TIMEOUT:
                raise BirdError("BIRD is still busy with a reconfiguration after %d s" % TIMEOUT)
            if not busy and (not _recovers(reply) or waited > RECOVERY_TIME + 1):
                return
            await asyncio.sleep(0.05)

    async def _ask(self, command, take, joined=True):
        """take(bytes of the reply to the command), or of the pieces that it came in, of whole lines."""
        async with self._lock:
            try:
                pieces = await asyncio.wait_for(self._exchange(command), TIMEOUT)
                return take(b"".join(pieces) if joined else pieces)
            except asyncio.TimeoutError:
                raise BirdError("BIRD does not answer on %s" % self._path)
            except OSError as error:
                why = compat.reason(error)
                raise BirdError("bird does not run (%s: %s); logread -e bird may say why" % (self._path, why))
            except (EOFError, ValueError) as error:
                raise BirdError("BIRD's control socket: %s" % error)

    async def _exchange(self, command):
        connection = await stream.open_unix(self._path, TIMEOUT)
        try:
            greeting = parse_reply(await _read_reply(connection))
            if greeting[-1][0] != 1:
                raise BirdError("BIRD greets with %s" % greeting[-1][1])
            await connection.write(command.encode() + b"\n")
            return await _read_pieces(connection)
        finally:
            connection.close()


def _recovers(status):
    return any(["recovery in progress" in text for _, text in status])


async def _read_reply(connection):
    """The bytes of a reply, to its last line. Nothing follows it before the next command."""
    return b"".join(await _read_pieces(connection))


async def _read_pieces(connection):
    """The same in pieces of whole lines: of a large mesh there may be no room for all of it in one place."""
    pieces = []
    size = 0
    last = b""  # what has come since the first half of the pieces
    while not _is_whole(last):
        more = await connection.read_some()
        if not more:
            raise EOFError("the other side closed the connection")
        if len(last) > _PIECE and b"\n" in last[1:-1]:
            at = last.rfind(b"\n", 0, -1) + 1
            pieces.append(last[:at])
            last = last[at:]
        last += more
        size += len(more)
        if (pieces or [last])[0][0] not in b"0123456789+":
            raise ValueError("it says %r" % last[:40])
        if size > _LIMIT:
            raise ValueError("no end of a reply within %d bytes" % _LIMIT)
    return pieces + [last]


def _is_whole(data):
    end = len(data) - 1
    while end > 0 and data[end] == 10:
        start = data.rfind(b"\n", 0, end) + 1
        if data[start] != 43:  # "+"
            return data[start : start + 4].isdigit() and data[start + 4 : start + 5] != b"-"
        end = start - 1
    return False


def parse_reply(data):
    """[(code, text)] of the lines of a reply. Raises ValueError where it is none."""
    return list(reply_lines([data]))


def reply_lines(pieces):
    """The same one by one, of a reply in pieces."""
    code = 0
    for data in pieces:
        start = 0
        while start < len(data):
            end = data.find(b"\n", start)
            line = _line(data[start:end])
            start = end + 1
            if line.startswith(" "):
                yield code, line[1:]
            elif not line.startswith("+"):
                code = int(line[:4])
                yield code, line[5:]


def _line(data):
    """Bytes as text; what is no UTF-8 is a message that a peer has sent, which nobody has to bear with."""
    try:
        return data.decode()
    except UnicodeError:
        return "".join([chr(byte) if byte < 128 else "?" for byte in data])


def _refuse(reply):
    for code, text in reply:
        if code >= 8000:
            raise ConfigError(text)


def parse_protocols(reply, rename=str):
    """rename(name) -> Session from the reply to `show protocols` (time format iso long: two words)."""
    sessions = {}
    texts = {}  # each is there once, however many sessions have it
    for code, text in reply:
        words = text.split(None, 7)
        if code == 1002 and len(words) > 5 and words[1] == "BGP":
            state = words[6] if len(words) > 6 else "Down"
            info = words[7].strip() if len(words) > 7 else ""
            state, info = texts.setdefault(state, state), texts.setdefault(info, info)
            sessions[rename(words[0])] = Session(state, words[4] + " " + words[5], info)
    return sessions


def parse_watched(reply):
    """Addresses of the peers whose BFD session is up, from the reply to `show bfd sessions`: `ADDRESS IFACE Up …`."""
    found = set()
    for code, text in reply:
        words = text.split(None, 3)
        if code == 1020 and words[2:3] == ["Up"]:
            found.add(words[0])
    return found


def parse_routes(reply):
    """name -> routes in use, from the reply to `show protocols all`: `Routes: 3 imported, 2 exported, 1 preferred`.

    What is imported besides is another member's, to be used when that member itself is not heard.
    """
    return _totals(reply, ["Routes:"], -2)


def parse_imported(reply):
    """name -> imported routes from the reply to `show protocols all`."""
    return _totals(reply, ["Routes:"], 1)


def parse_exported(reply):
    """name -> routes that are announced now, from the reply to `show protocols all`."""
    return _totals(reply, ["Routes:"], -4)


def parse_sent(reply):
    """name -> announcements sent, from the reply to `show protocols all`: the last column of its statistics."""
    return _totals(reply, ["Export", "updates:"], -1)


def _totals(reply, heading, place):
    """name -> the sum, over all channels, of a column of the lines that begin so in `show protocols all`."""
    totals = {}
    name = None
    for code, text in reply:
        words = text.split()
        if code == 1002 and words:
            name = words[0]
            totals[name] = 0
        elif name and words[: len(heading)] == heading and -len(words) <= place < len(words):
            if not words[place].strip("0123456789"):
                totals[name] += int(words[place])
    return totals


def parse_learned(data, limit):
    """([(prefix, protocol name, next hop)], number of all) from the reply to `show route`. Raises ValueError.

    A route is two lines: `PREFIX unicast [PROTOCOL SINCE …] …`, indented `via NEXTHOP on INTERFACE`. Where nothing
    matches BIRD says so with a code of its own.
    """
    routes = []
    total = 0
    prefix = name = None
    for _, text in parse_reply(data):
        words = text.split(None, 4)
        if len(words) > 2 and words[1] == "unicast" and words[2].startswith("["):
            prefix, name = words[0], words[2][1:]
        elif prefix and len(words) > 1 and words[0] == "via":
            total += 1
            if total <= limit:
                routes.append((prefix, name, words[1]))
            prefix = None
    return routes, total
