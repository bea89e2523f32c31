"""Round trips to the members over the overlay: one ICMP echo request each, once a minute (RFC 792)."""

import asyncio
import socket
import struct

from . import compat

_INTERVAL = 60  # seconds from one request to a member to the next
_SOON = 5  # seconds until one that did not answer is asked again, and twice as long each time after that
_AT_ONCE = 8  # requests under way: more of them would wait for each other, and that would be measured
_PATIENCE = 2  # seconds that an answer may take
_ICMP = 1
_SOL_RAW, _ICMP_FILTER = 255, 1
_ONLY_REPLIES = 0xFFFFFFFE  # which types the kernel keeps from us: all but 0, echo reply
_REQUEST = 8


class Latency:
    """rtt: node -> round trip in milliseconds of those that answered the last time they were asked."""

    def __init__(self):
        self.rtt = {}
        self._asked = {}  # node -> (when it was asked last, seconds until it is asked again)
        self._round = None  # the task of the round under way

    def look(self, peers):
        """Has those of `peers` (node -> overlay address) asked whose turn it is; to be called now and then."""
        for known in (self.rtt, self._asked):
            for node in [node for node in known if node not in peers]:
                del known[node]
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
                    at = self._asked[node][0]
                    self._asked[node] = kinds.setdefault(at, (at, _INTERVAL))


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
