"""TCP-AO (RFC 5925) for BGP sessions, where the kernel and BIRD have it at both ends; else they have MD5 (RFC 2385).

BIRD has it from 2.17 and 3.1 on, Linux from 6.7 on where it was built with CONFIG_TCP_AO. BIRD takes a configuration
with it on any kernel, and then cannot open a session: both are asked.
"""

import socket

from .. import compat, disk
from ..model import RUN
from . import render

_TRIAL = RUN + "/bird.trial"
_CONF = """\
router id 192.0.2.1;
protocol bgp trial {
	local 192.0.2.1 as 65000;
	neighbor 192.0.2.2 as 65000;
	%s
	ipv4;
}
"""
_ADD_KEY = 38  # TCP_AO_ADD_KEY
_EINVAL = 22


async def usable():
    """Whether sessions of this router can have it; None where its BIRD does not know the option."""
    return kernel_has_it() if await bird_has_it() else None


def kernel_has_it():
    """Whether the kernel knows the option: then it is too short a key that it complains of."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(6, _ADD_KEY, bytes(4))  # fewer bytes are too short for any option
    except OSError as error:
        return error.errno == _EINVAL
    finally:
        sock.close()
    return False


async def bird_has_it():
    """Whether BIRD can read such a configuration."""
    try:
        disk.write(_TRIAL, _CONF % render.ao_authentication("trial"), 0o600)
        try:
            status, _ = await compat.run(["/usr/sbin/bird", "-p", "-c", _TRIAL], 10)
        finally:
            disk.remove(_TRIAL)
    except OSError:
        return False
    return not status
