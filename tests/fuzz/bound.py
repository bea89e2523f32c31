"""How much memory an input may take for a while: half of the agent's heap, beside what the agent has anyway.

By CPython's count, whose objects are larger than MicroPython's.
"""

import tracemalloc
import zlib

MEMORY = 1 << 20  # bytes


def within(target, share=1):
    """The target as a function that fails, too, where it takes more than that.

    share: of so many inputs one is measured, which takes five times as long; always the same, so that what failed does
    so again.
    """

    def read(data):
        if zlib.crc32(data) % share:
            return target(data)
        tracemalloc.start()
        try:
            target(data)
            taken = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert taken <= MEMORY, "%d bytes of memory for an input of %d" % (taken, len(data))

    return read
