"""What is fuzzed: a function for each thing that the agent reads from outside. Runs on both runtimes.

Each takes bytes and returns where they were understood or refused as their readers expect it. It raises where
the agent would have met an exception that it is not prepared for, or kept more than its bounds allow.
"""

import json

try:
    import urllib3

    from bgpmesh.etcd import python_etcd, v2
except ImportError:
    urllib3 = None  # CPython's alone

from example import ED25519, RSA, SECRET, Thing, options
from fake_registry import Registry, Store

from bgpmesh import config, disk, exporter, lan, latency, membership, netifd, plan, records, status, trust, uci, usign
from bgpmesh.bird import control as bird
from bgpmesh.bird import render as bird_render
from bgpmesh.bird import rpki
from bgpmesh.discovery import _servers
from bgpmesh.etcd import registry, v3
from bgpmesh.etcd.http import Connection, HttpError
from bgpmesh.problems import Problems
from bgpmesh.roster import Seat
from bgpmesh.stream import Stream
from bgpmesh.tinc import control as tinc
from bgpmesh.tinc import render as tinc_render
from bgpmesh.ubus import blob, client

CONFIGS = (
    options(),
    options("option network6 'fd00:99::/64'", "option network '10.0.0.0/8'", "option etcd_prefix '/mesh'"),
    options("option secret '%s'" % SECRET),
)
_LIMIT = 4096  # bytes of an answer that the client of the fuzzed server takes
_SEPARATOR = b"\n\n"  # between the answers of one input


class Pieces(Stream):
    """A stream that brings these bytes, `size` at a time, and then ends."""

    def __init__(self, data, size):
        self._buffer = b""
        self._at = 0
        self._data = data
        self._size = size

    async def read_some(self, size=4096):
        if self._at < len(self._buffer):
            return self._rest()
        data = self._data[: self._size]
        self._data = self._data[self._size :]
        return data

    async def write(self, data):
        pass

    def close(self):
        pass


def done(coroutine):
    """What a coroutine returns that never has to wait: no loop is needed, which saves most of the time."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


_OWNER = usign.parse_public(usign.make(bytes(range(56)))[1])


def text_of(data):
    """The bytes as text, whatever they are."""
    try:
        return data.decode()
    except UnicodeError:
        return "".join([chr(byte) for byte in data])


def plain(text):
    """Fails where a line of a message could be taken for two, or is longer than a log bears."""
    assert text and "\n" not in text and len(text) < 1000, text


# -- etcd


def http(data):
    """An answer of HTTP: understood in the same way whatever pieces it comes in."""
    results = []
    for size in (1, 4096):
        connection = Connection("192.0.2.1", 2379, None, _LIMIT)
        connection._stream = Pieces(data, size)
        try:
            code, body = done(connection._send_and_read(b""))
            assert 200 <= code <= 999 and len(body) <= _LIMIT
            results.append((code, body))
        except HttpError as error:
            plain(str(error))
            results.append(error.kind)
        except EOFError:
            results.append(None)
    # What is too long may be seen sooner where more of it comes at once.
    assert results[0] == results[1] or "limit" in results, results
    followed(data)


def followed(data):
    """The same as an answer that has no end."""
    connection = Connection("192.0.2.1", 2379, None, _LIMIT)
    connection._stream = Pieces(data, 4096)
    pieces = []
    try:
        head = done(connection._begin(b""))
        if head[1] == 200:
            done(connection._read_chunks(pieces.append))
    except HttpError as error:
        plain(str(error))
    except EOFError:
        pass
    assert sum([len(piece) for piece in pieces]) <= len(data)


class _Answers:
    """A connection whose server gives these answers one after the other, and then is gone."""

    def __init__(self, answers):
        self._answers = answers

    async def post(self, path, body, headers="", timeout=5):
        if not self._answers:
            raise HttpError("closed", "it is gone")
        answer = self._answers.pop(0)
        code = {b"!": 400, b"?": 401, b"#": 503, b"%": 403}.get(answer[:1])
        return (code, answer[1:]) if code else (200, answer)

    async def follow(self, take, path, body=None, headers="", timeout=5):
        while True:
            code, answer = await self.post(path, body)
            if code != 200:
                return code, answer
            take(answer)

    def close(self):
        pass


def gateway(data):
    """The answers of etcd's JSON gateway to all that a registry asks."""
    connection = _Answers(data.split(_SEPARATOR)[:40])
    etcd = v3.Client(["http://192.0.2.1:2379"], "router", "password")
    etcd._token = ""
    etcd._connect = lambda: connection
    view = registry.Registry(etcd, "", "alfa", 30, True)
    asked = (
        view.poll,
        view.keep_alive,
        view.poll,
        lambda: view.claim("10.0.0.1"),
        lambda: view.put_record("{}"),
        lambda: view.steal("10.0.0.2", "bravo"),
        view.try_rights,
        view.poll,
        lambda: view.release("10.0.0.1"),
        view.keep_alive,
        view.leave,
    )
    answered(view, asked)


def answered(view, asked):
    """Asks all that; fails where the view takes in what it should not, or is not prepared for an answer."""
    for ask in asked:
        try:
            done(ask())
        except v3.EtcdError as error:
            plain(str(error))
        with_all_texts(view)


class _Response:
    """An answer as urllib3 has it. A first byte stands for a status that is not 200, or headers that are not etcd's."""

    def __init__(self, answer):
        status = {b"!": 400, b"?": 401, b"#": 503, b"-": 404, b"=": 412, b"+": 201}.get(answer[:1])
        self.status = status or 200
        self.headers = {"x-etcd-cluster-id": "77", "x-etcd-index": "12", "x-raft-term": "2"}
        if answer[:1] == b"@":
            self.headers = {"x-etcd-index": text_of(answer[1:9])}
        self._data = answer[1:] if status else answer

    def read(self, size):
        """The next bytes."""
        found, self._data = self._data[:size], self._data[size:]
        return found

    def close(self):
        """Nothing."""


def directory(data):
    """The answers of etcd's v2 API to all that a registry asks, by way of python-etcd."""
    answers = data.split(_SEPARATOR)[:40]

    def urlopen(*arguments, **options):
        if not answers:
            raise urllib3.exceptions.ProtocolError("it is gone", ConnectionResetError(104, "reset"))
        return _Response(answers.pop(0))

    async def call(work, subject):
        endpoint.subject = subject
        return endpoint.ask(work)

    endpoint = python_etcd.Endpoint("http://192.0.2.1:2379", "", "", None, _LIMIT)
    endpoint.http = Thing(urlopen=urlopen, clear=int)
    endpoint.deadline = float("inf")
    view = v2.Registry(Thing(call=call, endpoint="http://192.0.2.1:2379", turn=int), "", "alfa", 30, True)
    asked = (
        view.poll,
        view.keep_alive,
        view.poll,
        lambda: view.claim("10.0.0.1"),
        lambda: view.put_record("{}"),
        lambda: view.steal("10.0.0.2", "bravo"),
        lambda: view.restore_statement("bravo", "text", 3),
        view.poll,
        lambda: view.release("10.0.0.1"),
        view.leave,
    )
    answered(view, asked)


def watch(data):
    """What etcd tells who watches."""
    connection = _Answers(data.split(_SEPARATOR)[:40])
    etcd = v3.Client(["http://192.0.2.1:2379"])
    etcd._connect = lambda: connection
    rings = []
    try:
        done(etcd.watch([("/peers/", "/peers0")], 1, lambda: rings.append(True)))
    except v3.EtcdError as error:
        plain(str(error))
    assert len(rings) <= 40


def with_all_texts(view):
    """Fails where the view holds what no reader of it is prepared for."""
    for node in view.members:
        entry = view.members[node]
        assert isinstance(node, str) and len(node) <= 4 * 255
        assert entry.text is None or isinstance(entry.text, str) and len(entry.text) <= records.MAX_LENGTH
        assert isinstance(entry.created, int) and isinstance(entry.modified, int)
    assert all([isinstance(name, str) for name in view.alive])
    assert all([isinstance(view.claims[ip], (str, type(None))) for ip in view.claims])


# -- members


def record(data):
    """A member record, signed where the network has a secret, as far as the files that it brings a line into."""
    node, _, text = text_of(data[1:]).partition("\n")
    options = CONFIGS[data[0] % len(CONFIGS)] if data else CONFIGS[0]
    key = "/peers/" + node
    text = _signed(text, key, options.secret)
    try:
        member = records.decode(node, text, options, key, 1)
    except records.RecordError as error:
        return plain(str(error))
    assert records.is_name(member.node) and len(member.prefixes) <= records.MAX_PREFIXES
    again = records.encode(member, key, options.secret)
    assert records.encode(records.decode(node, again, options, key, 1), key, options.secret) == again
    me = records.Member("me_", "10.0.0.200", None, None, ED25519[0], None, 65000, "10.0.0.200", [], 1, "0")
    if options.network6:
        me.ip6 = "fd00:99::c8"
    rendered = tinc_render.host(member, {})
    rendered += "".join(bird_render.conf(options, me, [], [Seat(member, member.prefixes)]))
    for char in rendered:
        assert char in "\n\t" or " " <= char < "\x7f", char


def members(data):
    """The cache file, as the agent starts from it."""
    before = disk.pieces
    disk.pieces = lambda path: iter([data[at : at + 1024] for at in range(0, len(data), 1024)])
    try:
        keys = Thing(rsa=RSA[0], ed25519=ED25519[0], generation=0, next=None)
        found = Problems(plain)
        view = membership.Membership(CONFIGS[0], keys, Registry(Store(), "alfa"), found, plain)
        view.load()
    finally:
        disk.pieces = before
    assert len(view.others) <= data.count(b"\n") + 1
    if view.me:
        records.encode(view.me)


def mesh(data):
    """What may stand in the registry, as far as the plan that comes of it.

    The first byte chooses the options; then there are records, signs of life and claims, each a line `p`, `a` or
    `c` with a name and the text behind it.
    """
    options = CONFIGS[data[0] % len(CONFIGS)] if data else CONFIGS[0]
    store = Store()
    for entry in data[1:].split(_SEPARATOR)[:20]:
        head, _, text = text_of(entry).partition("\n")
        kind, _, name = head.partition(" ")
        if kind == "a":
            store.alive.add(name)
        elif kind == "c":
            store.claims[name] = text
        else:
            store.put(name, _signed(text, options.etcd_prefix + "/peers/" + name, options.secret))
    keys = Thing(rsa=RSA[0], ed25519=ED25519[0], generation=0, next=None)
    before = disk.pieces, disk.write_pieces
    disk.pieces, disk.write_pieces = lambda path: iter(()), None
    try:
        view = membership.Membership(options, keys, Registry(store, "alfa"), Problems(plain), plain)
        view.load()
        view.announce([])
        for _ in range(3):
            done(view.step())
    finally:
        disk.pieces, disk.write_pieces = before
    others = [view.others[node] for node in sorted(view.others)]
    if view.me:
        made = plan.make(options, view.me, others, view.claims, view.online, {}, [], "1.1")
        for path in made.tinc:
            name = path[6:] if path.startswith("hosts/") else path
            assert name in ("tinc.conf", "tinc-up", "tinc-down") or records.is_name(name), path


def _signed(text, key, secret):
    """A record as somebody with the secret would sign it."""
    if secret and text.endswith("}"):
        return text[:-1] + records._SIGNATURE + records._sign(text, key, secret) + '"}'
    return text


def statement(data):
    """What the network's owner says of a node, and the keys that he says it with."""
    text = text_of(data)
    for key in ("/trust/bravo", "/trust/north"):
        try:
            found = trust.parse(text, key)
            assert found.verb in ("approve", "revoke") and 0 <= found.serial < 10**15
            assert bool(found.approved) == (found.verb == "approve") and len(text) <= trust.MAX_LENGTH
            assert text.startswith(trust.compose(found.verb, key, found.serial, found.approved))
            trust.read(text, key, _OWNER)
        except ValueError as error:
            plain(str(error))
    for parse in (usign.parse_public, usign.Secret):
        try:
            parse(text)
        except ValueError as error:
            plain(str(error))


# -- the router's other programs


def frames(data):
    """What comes over ubus' socket."""
    report = []
    bus = client.Bus("/nowhere", report.append)
    bus.listen("bgpmesh.*", lambda name, values: report.append(name))
    bus.subscribe("network.interface", lambda name, values: report.append(name))
    bus._mine = {1: bus._listener, 2: bus._objects[0]}
    bus._listener.id, bus._objects[0].id = 1, 2
    answer = bus._waiting[1] = client._Answer(None)
    connection = Pieces(data, 4096)
    try:
        while True:
            bus._dispatch(*done(client._read_frame(connection)))
    except (EOFError, blob.BlobError):
        pass
    for attributes in answer.data:
        try:
            values = blob.decode_table(attributes.get(blob.ATTR_DATA, b""))
        except blob.BlobError:
            continue
        try:
            again = blob.encode_table(values)
        except blob.BlobError:
            continue  # text with a NUL: ubus has none, and nothing of ours passes it on
        assert len(again) <= 4 * len(data)
    for line in report:
        assert isinstance(line, str) and len(line) < 400 + len(data)
    assert bus._outbox_size <= client._OUTBOX


def interfaces(data):
    """netifd's dump and umdns' answer; as JSON here, which has the same values as ubus."""
    try:
        values = json.loads(text_of(data))
    except (ValueError, RuntimeError):
        return
    if not isinstance(values, dict):
        return
    for prefix in netifd.from_dump(values, ["lan", "guest"]):
        assert 0 < prefix.length < 128
    for secrets in ([], [SECRET]):
        seen = lan.sightings(values, secrets)
        for node in seen:
            for server in _servers(seen[node].etcd):
                config.server_text(server)


def bird_reply(data):
    """BIRD's answers."""
    try:
        whole = done(bird._read_reply(Pieces(data, 4096)))
        reply = bird.parse_reply(whole)
        learned, total = bird.parse_learned(whole, 3)
    except (ValueError, EOFError):
        return
    assert reply and len(learned) <= 3 and total >= len(learned)
    sessions = bird.parse_protocols(reply)
    for name in sessions:
        age = status._age(sessions[name].since)
        assert age is None or age >= 0
    for parse in (bird.parse_routes, bird.parse_imported, bird.parse_sent):
        counts = parse(reply)
        assert all([counts[name] >= 0 for name in counts])
    assert all([isinstance(text, str) for text in bird.parse_watched(reply)])
    assert isinstance(rpki.parse_state(reply), str)
    assert all([len(route) == 2 for route in rpki.parse_filtered(reply)])


def tinc_reply(data):
    """What tincd 1.1 answers, and what 1.0 writes into its log."""
    text = text_of(data)
    try:
        tinc.parse_nodes(text.split("\n"))
    except tinc.TincError as error:
        assert len(str(error)) < 200
    tinc.pairs([line.split(" ", 4)[2:4] for line in text.split("\n")])
    nodes, edges, rest = tinc.parse_log(text)
    assert all([len(pair) == 2 for pair in tinc.pairs(edges)])
    assert len(rest) <= text.count("\n") + 1
    assert conversed(data, 1) == conversed(data, 4096)


async def _at_once(coroutine, _):
    return await coroutine


def conversed(data, size):
    """What comes of it where a control socket says this, whatever it is asked."""

    async def open_unix(path, timeout):
        return Pieces(data, size)

    socket = tinc.Socket("/run/tinc.pid")
    results = []
    before = tinc.asyncio, tinc.disk, tinc.stream
    tinc.asyncio = Thing(wait_for=_at_once, TimeoutError=before[0].TimeoutError)
    tinc.disk = Thing(read=lambda path: "18772 %064d 127.0.0.1 port 655\n" % 0)
    tinc.stream = Thing(open_unix=open_unix)
    try:
        for ask in (socket.nodes, socket.tunnels, socket.reload, lambda: socket.retry(["n1"])):
            try:
                results.append(done(ask()))
            except tinc.TincError as error:
                plain(str(error))
                results.append(str(error))
    finally:
        tinc.asyncio, tinc.disk, tinc.stream = before
    if not isinstance(results[0], str):
        nodes = results[0]
        results[0] = [(name, nodes[name].keyed, nodes[name].direct, nodes[name].address) for name in sorted(nodes)]
        assert len(results[0]) <= data.count(b"\n")
    if not isinstance(results[1], str):
        assert all([len(pair) == 2 for pair in results[1]])
    return results


def echo(data):
    """A packet of ICMP; the kernel gives none without its first byte."""
    if data:
        found = latency.reply(data)
        assert found is None or len(found[2].split(".")) == 4


def uci_file(data):
    """The options, as a text of UCI."""
    text = text_of(data)
    try:
        config.load(text, "alfa")
    except config.ConfigError as error:
        assert str(error)
    except uci.UciError as error:
        assert 1 <= error.line <= text.count("\n") + 1


def request(data):
    """What is sent to option `http`."""

    class Reply(Pieces):
        async def write(self, data):
            sent.append(bytes(data))

    sent = []
    synced = []
    agent = Thing(config=CONFIGS[0], sync=lambda: synced.append(True))
    agent.config.http_token = "token of eighteen"
    before = exporter.exposition, exporter.status
    exporter.exposition = _nothing
    exporter.status = Thing(status=lambda agent: {}, peers=_nothing)
    try:
        done(exporter._answer(agent, Reply(data, 4096)))
        assert sent[0].startswith(b"HTTP/1.1 ") and b"\r\n\r\n" in sent[0]
        assert not synced or b"Bearer token of eighteen" in data  # nobody syncs without the token
    except (EOFError, ValueError):
        pass
    finally:
        exporter.exposition, exporter.status = before


async def _nothing(agent):
    return []


TARGETS = {
    "http": http,
    "gateway": gateway,
    "watch": watch,
    "record": record,
    "members": members,
    "mesh": mesh,
    "statement": statement,
    "frames": frames,
    "interfaces": interfaces,
    "bird": bird_reply,
    "tinc": tinc_reply,
    "echo": echo,
    "uci": uci_file,
    "request": request,
}
CPYTHON = ["directory"]  # those of that runtime alone
if urllib3:
    TARGETS["directory"] = directory
