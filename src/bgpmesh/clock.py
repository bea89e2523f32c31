"""The system's clock. TLS needs it to judge certificates, tincd for its timers; what is signed is numbered by it at
first. No more."""

import os
import time

from . import disk

_RELEASED = 1767225600  # 2026-01-01: no router's clock is right before this


def built():
    """When this package was made, in seconds since 1970: a clock that shows an earlier time is wrong."""
    try:
        made = os.stat(__file__)[8]
    except OSError:
        made = 0
    return max(_RELEASED, made)


def is_wrong():
    """Whether the clock is surely behind: on a router without a battery for it, until NTP has set it."""
    return time.time() < built()


def now():
    """What it shows, in seconds since 1970."""
    return int(time.time())


def lead():
    """How far it is ahead of the time since the router's start, in seconds: other than before where it was set."""
    return now() - int((disk.read_or_none("/proc/uptime") or "0").split(".")[0])


def shown():
    """What the clock shows, to the minute."""
    return "%04d-%02d-%02d %02d:%02d UTC" % tuple(time.gmtime(time.time())[:5])
