"""Runs the unit tests without pytest, which is how they run on MicroPython.

    micropython tests/unit/run.py [test_uci.py ...]

Calls every function `test_...` of the files named, or of all `test_*.py` beside this one; prints each
failure's traceback and a last line `N passed, N failed`. Exit status 0 when all passed and there were any.
"""

import gc
import os
import sys

from bgpmesh import cli


def main(names):
    """The exit status of running the test files of these names."""
    cli.load()  # as a command does: or a test's imports add to those within each other
    folder = __file__.rpartition("/")[0] or "."
    if not names:
        names = [name for name in os.listdir(folder) if name.startswith("test_") and name.endswith(".py")]
    passed = failed = 0
    for name in sorted(names):
        module = name.rpartition("/")[2][: -len(".py")]
        try:
            tests = tests_of(__import__(module))
        except Exception as error:
            tests = []
            failed += 1
            report(module, error)
        for test, function in tests:
            try:
                function()
                passed += 1
            except Exception as error:
                failed += 1
                report("%s.%s" % (module, test), error)
        gc.collect()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def tests_of(module):
    """The (name, function) of the tests in a module, by name."""
    return [(name, getattr(module, name)) for name in sorted(dir(module)) if name.startswith("test_")]


def report(name, error):
    """Prints the failure of a test."""
    print("FAILED %s: %s" % (name, repr(error)))
    sys.print_exception(error, sys.stdout)


sys.exit(main(sys.argv[1:]))
