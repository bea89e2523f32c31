"""Round trips to the members over the overlay, and what gets lost: an ICMP echo request each a minute (RFC 792)."""

import asyncio
import socket
import struct

from . import compat

_INTERVAL = 60  # seconds from one request to a member to the next
_LOSSY = 10  # the same while requests to it get lost
_SOON = 5  # seconds until one that did not answer is asked again, and twice as long each time after that
_AT_ONCE = 8  # requests under way: more of them would wait for each other, and that would be measured
_PATIENCE = 2  # seconds that an answer may take
_ICMP = 1
_SOL_RAW, _ICMP_FILTER = 255, 1
_ONLY_REPLIES = 0xFFFFFFFE  # which types the kernel keeps from us: all but 0, echo reply
_REQUEST = 8
_WEIGHT = 1 / 16  # of one request in what is known of a path
_NOTHING = 0.01  # what is lost less often is not remembered
# (times as many BFD packets that may be lost in a row, from this loss on, until it is below that one). Six of them, as
# many as usual, are lost in a row once in 2,500 hours where a twentieth is lost, once in 36 at a tenth, and twice an
# hour at a fifth.
_STEPS = ((4, 0.25, 0.12), (2, 0.1, 0.04))


class Latency:
    """rtt: node -> round trip in milliseconds of those that answered the last time they were asked.

    loss: node -> part of the requests that get lost, as a moving average; without those of which none is. Several in a
    row count as one: a path that was down for a while is not one that loses packets. patience: node -> 2 or 4, how many
    times as many BFD packets as usual it may lose in a row; without those for which it is 1.
    """

    def __init__(self):
        self.rtt = {}
        self.loss = {}
        self.patience = {}
        self._asked = {}  # node -> (when it was asked last, seconds until it is asked again)
        self._round = None  # the task of the round under way

    def look(self, peers, members):
        """Has those of `peers` (node -> overlay address) asked whose turn it is; to be called now and then.

        members: names of all those of which anything is to be remembered while they are away.
        """
        for found, kept in ((self.rtt, peers), (self._asked, peers), (self.loss, members), (self.patience, members)):
            for node in [node for node in found if node not in kept]:
                del found[node]
        now = compat.monotonic()
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
        kinds = {}
        for first in range(0, len(nodes), _AT_ONCE):
            some = {node: peers[node] for node in nodes[first : first + _AT_ONCE]}
            try:
                answers = await measure(some)
            except OSError:
                answers = {}  # as without an answer: what is wrong with the overlay is said by others
            for node in some:
                self.rtt.pop(node, None)
                if node in answers and node in self._asked:
                    self.rtt[node] = answers[node]
                    at, wait = self._asked[node]
                    self._note(node, wait > _SOON)
                    state = at, _LOSSY if node in self.loss else _INTERVAL
                    self._asked[node] = kinds.setdefault(state, state)

    def _note(self, node, missed):
        """A member has answered; missed: but not to the request before."""
        loss = self.loss.pop(node, 0)
        if missed:
            loss += (1 - loss) * _WEIGHT
        loss -= loss * _WEIGHT
        if loss >= _NOTHING:
            self.loss[node] = loss
        before = self.patience.pop(node, 1)
        for times, start, end in _STEPS:
            if loss >= (end if before >= times else start):
                self.patience[node] = times
                break


async def measure(peers):
    """node -> round trip in milliseconds, of those of `peers` (node -> IPv4 address) that answer. Raises OSError."""
    answers = {}
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, _ICMP)
    try:
        compat.cloexec(sock)
        sock.setblocking(False)
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", _ONLY_REPLIES))
        identity = compat.getpid() & 0xFFFF
        sent = {}
        for number, node in enumerate(sorted(peers)):
            target = compat.inet_address(peers[node], 0)
            began = compat.ticks_us()
            try:
                sock.sendto(request(identity, number), target)
                sent[number] = node, peers[node], began
            except OSError:
                pass  # no route to this one
        await asyncio.wait_for(_collect(sock, identity, sent, answers), _PATIENCE)
    except asyncio.TimeoutError:
        pass
    finally:
        sock.close()
    return answers


async def _collect(sock, identity, sent, answers):
    while sent:
        await compat.readable(sock)
        packet = compat.try_recv(sock, 256)
        now = compat.ticks_us()
        found = packet and reply(packet)
        if found and found[0] == identity and found[1] in sent and found[2] == sent[found[1]][1]:
            node, _, began = sent.pop(found[1])
            answers[node] = compat.ticks_diff(now, began) / 1000


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
