"""Round trips to the members over the overlay, and what gets lost: an ICMP echo request each a minute (RFC 792)."""

import asyncio
import socket
import struct

from . import compat

_INTERVAL = 60  # seconds from one request to a member to the next
_LOSSY = 10  # the same while any get lost
_SOON = 5  # seconds until one that did not answer is asked again, and twice as long each time after that
_AT_ONCE = 8  # requests under way: more of them would wait for each other, and that would be measured
_PATIENCE = 2  # seconds that an answer may take
_ICMP = 1
_SOL_RAW, _ICMP_FILTER = 255, 1
_ONLY_REPLIES = 0xFFFFFFFE  # which types the kernel keeps from us: all but 0, echo reply
_REQUEST = 8
_CLOSE = 16  # requests of a closer look
_GAP = 0.1  # seconds between two of them
_KEPT = 900  # seconds for which a path that lost so much is given its time, whatever it loses then
# (times as many BFD packets that may be lost in a row, from this loss on). A path that loses a twentieth of all packets
# loses a tenth of the round trips; a tenth, a fifth; and a fifth, a third.
_STEPS = ((4, 6 / _CLOSE), (2, 2 / _CLOSE))


class Latency:
    """rtt: node -> round trip in milliseconds of those that answered the last time they were asked.

    loss: node -> part of the round trips that fail, without those of which none does. Whose request is lost is looked
    at more closely, and again until nothing is lost; the lesser loss of two looks counts, and one at which nothing
    comes back does not: a path that was down for a while is not one that loses packets. patience: node -> 2 or 4, how
    many times as many BFD packets as usual it may lose in a row, for a quarter of an hour after it has lost so much;
    without those for which it is 1.
    """

    def __init__(self):
        self.rtt = {}
        self.loss = {}
        self.patience = {}
        self._closely = {}  # node -> (when it was last looked at closely, what was lost), while it is anything
        self._lossy = {}  # node -> when it last lost so much that it has its patience
        self._asked = {}  # node -> (when it was asked last, seconds until it is asked again)
        self._round = None  # the task of the round under way

    def look(self, peers, members):
        """Has those of `peers` (node -> overlay address) asked whose turn it is; to be called now and then.

        members: names of all those of which anything is to be remembered while they are away.
        """
        for found in (self.rtt, self._asked):
            _keep(found, peers)
        for found in (self.loss, self.patience, self._closely, self._lossy):
            _keep(found, members)
        now = compat.monotonic()
        for node in [node for node in self._lossy if now - self._lossy[node] >= _KEPT]:
            del self._lossy[node], self.patience[node]
        due = []
        for node in peers:
            at, wait = self._asked.get(node, (now, 0))
            if now - at >= wait:
                due.append(node)
        if due and (not self._round or self._round.done()):
            kinds = {}  # one object for many nodes
            for node in due:
                missed = node in self._asked and node not in self.rtt
                state = now, min(_INTERVAL, 2 * self._asked[node][1]) if missed else _SOON
                self._asked[node] = kinds.setdefault(state[1], state)
            self._round = asyncio.create_task(self._ask({node: peers[node] for node in due}))

    async def _ask(self, peers):
        nodes = sorted(peers)
        suspects = []
        kinds = {}
        for first in range(0, len(nodes), _AT_ONCE):
            some = {node: peers[node] for node in nodes[first : first + _AT_ONCE]}
            answers = await _measured(some)
            for node in some:
                answered = self.rtt.pop(node, None) is not None
                if node in answers and node in self._asked:
                    self.rtt[node] = answers[node][0]
                    state = self._asked[node][0], _LOSSY if node in self._closely else _INTERVAL
                    self._asked[node] = kinds.setdefault(state, state)
                if node in self._closely or answered and node not in answers:
                    suspects.append(node)
        # A few at a time, all in their turn: where many do not answer it is most likely we who are cut off.
        suspects.sort(key=lambda node: self._closely.get(node, (0, 0))[0])
        if suspects:
            some = {node: peers[node] for node in suspects[:_AT_ONCE]}
            answers = await _measured(some, _CLOSE)
            now = compat.monotonic()
            for node in some:
                if node in answers and node in self._asked:
                    self.rtt.setdefault(node, answers[node][0])
                    self._note(node, 1 - len(answers[node]) / _CLOSE, now)
                elif node in self._closely:
                    self._closely[node] = now, self._closely[node][1]

    def _note(self, node, lost, now):
        """What a closer look saw lost of a path on which something came back."""
        loss = min(lost, self._closely.pop(node, (0, 0))[1])
        self.loss.pop(node, None)
        if lost:
            self._closely[node] = now, lost
        if loss:
            self.loss[node] = loss
        for times, least in _STEPS:
            if loss >= least:
                if times >= self.patience.get(node, 1):
                    self.patience[node] = times
                    self._lossy[node] = now
                break


def _keep(found, nodes):
    for node in [node for node in found if node not in nodes]:
        del found[node]


async def _measured(peers, times=1):
    try:
        return await measure(peers, times)
    except OSError:
        return {}  # as without an answer: what is wrong with the overlay is said by others


async def measure(peers, times=1):
    """node -> round trips in milliseconds, of those of `peers` (node -> IPv4 address) that answer. Raises OSError.

    times: how many requests each is sent.
    """
    answers = {}
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, _ICMP)
    try:
        compat.cloexec(sock)
        sock.setblocking(False)
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", _ONLY_REPLIES))
        identity = compat.getpid() & 0xFFFF
        sent = {}
        for turn in range(times):
            for number, node in enumerate(sorted(peers), turn * len(peers)):
                target = compat.inet_address(peers[node], 0)
                began = compat.ticks_us()
                try:
                    sock.sendto(request(identity, number), target)
                    sent[number] = node, peers[node], began
                except OSError:
                    pass  # no route to this one
            last = turn == times - 1
            try:
                await asyncio.wait_for(_collect(sock, identity, sent, answers, last), _PATIENCE if last else _GAP)
            except asyncio.TimeoutError:
                pass
    finally:
        sock.close()
    return answers


async def _collect(sock, identity, sent, answers, last):
    """Takes what comes, until all has come where it is the last time."""
    while sent or not last:
        await compat.readable(sock)
        packet = compat.try_recv(sock, 256)
        now = compat.ticks_us()
        found = packet and reply(packet)
        if found and found[0] == identity and found[1] in sent and found[2] == sent[found[1]][1]:
            node, _, began = sent.pop(found[1])
            answers.setdefault(node, []).append(compat.ticks_diff(now, began) / 1000)


def request(identity, number):
    """An echo request: type, code, checksum (RFC 1071), identifier, sequence number."""
    total = (_REQUEST << 8) + identity + number
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">BBHHH", _REQUEST, 0, ~total & 0xFFFF, identity, number)


def reply(packet):
    """(identifier, sequence number, address of who sent it) of an IPv4 packet with an echo reply, else None."""
    start = (packet[0] & 15) * 4
    if len(packet) < start + 8 or start < 20 or packet[start] != 0:
        return None
    identity, number = struct.unpack_from(">HH", packet, start + 4)
    return identity, number, ".".join([str(byte) for byte in packet[12:16]])
