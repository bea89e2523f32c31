"""ubus, OpenWrt's message bus: its status codes, shared by every way of speaking it."""

STATUS_NAMES = (
    "OK",
    "INVALID_COMMAND",
    "INVALID_ARGUMENT",
    "METHOD_NOT_FOUND",
    "NOT_FOUND",
    "NO_DATA",
    "PERMISSION_DENIED",
    "TIMEOUT",
    "NOT_SUPPORTED",
    "UNKNOWN_ERROR",
    "CONNECTION_FAILED",
    "NO_MEMORY",
    "PARSE_ERROR",
    "SYSTEM_ERROR",
)
"""Names of the status codes 0 to 13 (libubus: enum ubus_msg_status)."""

OK = 0
INVALID_ARGUMENT = 2
METHOD_NOT_FOUND = 3
NOT_FOUND = 4
PERMISSION_DENIED = 6
TIMEOUT = 7
UNKNOWN_ERROR = 9
CONNECTION_FAILED = 10
PARSE_ERROR = 12


class UbusError(Exception):
    """A call that failed. `status` is the code, `name` its name; the text says what was called and why."""

    def __init__(self, status, text):
        self.status = status
        self.name = STATUS_NAMES[status] if 0 <= status < len(STATUS_NAMES) else "status %d" % status
        super().__init__("%s: %s" % (text, self.name))


def open_bus(report=print):
    """The Bus to use: pyubus.Bus where there is pyubus (OpenWrt's python3-ubus), else client.Bus."""
    try:
        from ubus import connect  # noqa: F401 (a mere folder of that name has none)
    except ImportError:
        from .client import Bus
    else:
        from .pyubus import Bus
    return Bus(report=report)


async def ask(path, method, timeout=5, data=None):
    """What a method of an object answers to who is on the bus for this alone. Raises UbusError."""
    import asyncio

    from .. import compat
    from .client import SOCKET

    if not compat.exists(SOCKET):
        raise UbusError(CONNECTION_FAILED, "no ubusd at " + SOCKET)
    bus = open_bus(lambda text: None)
    running = asyncio.create_task(bus.run())
    try:
        return await bus.call(path, method, data or {}, timeout)
    finally:
        running.cancel()
