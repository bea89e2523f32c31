"""`python -m bgpmesh`, on either runtime."""

import sys

from . import compat
from .cli import main

try:
    status = main(sys.argv[1:])
    compat.flush()
except OSError as error:
    if error.errno != compat.EPIPE:
        raise
    status = 0  # who reads, such as head, has seen enough
sys.exit(status)
