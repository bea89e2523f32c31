"""A bad cable: hands frames on between two interfaces, and loses, delays, doubles and overtakes some of them.

In user space, so that it does not ask for a kernel with sch_netem. Run as `python3 cable.py ONE OTHER LOSS DELAY JITTER
TWICE SEED`: parts of 1 that are lost and doubled, milliseconds that every frame takes and, at random, up to so many
more. A jitter that is longer than the gap between two frames has one overtake the other.
"""

import heapq
import random
import select
import socket
import struct
import sys
import time

_SOL_PACKET, _PACKET_VNET_HDR, _ALL = 263, 15, 3
_OUTGOING = 4  # PACKET_OUTGOING: what this machine itself sent there


def open_interface(name):
    """A packet socket on the interface, for frames behind a virtio header: what checksum is to be made."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    wire.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, struct.pack("i", 1))
    wire.bind((name, _ALL))
    wire.setblocking(False)
    return wire


def main(one, other, loss, delay, jitter, twice, seed):
    """Runs until it is killed."""
    dice = random.Random(seed)
    ends = [open_interface(one), open_interface(other)]
    across = {ends[0]: ends[1], ends[1]: ends[0]}
    under_way = []  # heap of (when it arrives, number, where, frame)
    number = 0
    print("plugged in", flush=True)
    while True:
        wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
        for wire in select.select(ends, [], [], wait)[0]:
            try:
                frame, origin = wire.recvfrom(1 << 17)
            except OSError:
                continue  # the interface is down
            if origin[2] == _OUTGOING or dice.random() < float(loss):
                continue
            for _ in range(2 if dice.random() < float(twice) else 1):
                number += 1
                at = time.monotonic() + (float(delay) + float(jitter) * dice.random()) / 1000
                heapq.heappush(under_way, (at, number, across[wire], frame))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, wire, frame = heapq.heappop(under_way)
            try:
                wire.send(frame)
            except OSError:
                pass  # down, or its queue is full: lost like others


if __name__ == "__main__":
    main(*sys.argv[1:])
