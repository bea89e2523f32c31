"""TCP-AO (RFC 5925) for BGP sessions, where the kernel and BIRD have it at both ends; else they have MD5 (RFC 2385).

BIRD has it from 2.17 and 3.1 on, Linux from 6.7 on where it was built with CONFIG_TCP_AO. BIRD takes a configuration
with it on any kernel, and then cannot open a session: both are asked.
"""

import socket

from .. import compat

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
    """Whether BIRD knows the option `authentication`."""
    try:
        _, output = await compat.run(["/usr/sbin/bird", "--version"], 10)
        major, minor = [int(part) for part in output.decode().split()[2].split(".")[:2]]  # BIRD version 3.1.7
    except (OSError, IndexError, ValueError):
        return False
    return (2, 17) <= (major, minor) != (3, 0)
