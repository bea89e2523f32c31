"""`python -m bgpmesh`, on either runtime."""

import sys

try:
    from . import compat
    from .cli import main
except ValueError as error:
    # The package's modules are compiled, all but this one.
    if "mpy" not in str(error):
        raise
    version = ".".join(str(part) for part in sys.implementation[1][:3])
    print("bgpmesh: %s: it was compiled for another MicroPython than %s" % (error, version), file=sys.stderr)
    print("remedy: install bgpmesh of this OpenWrt's release, or bgpmesh-python3", file=sys.stderr)
    sys.exit(1)

try:
    status = main(sys.argv[1:])
    compat.flush()
except OSError as error:
    if error.errno != compat.EPIPE:
        raise
    status = 0  # who reads, such as head, has seen enough
sys.exit(status)
