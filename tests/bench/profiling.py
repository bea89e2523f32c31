"""CPython's profilers, around a step of lone.py."""

import cProfile
import pstats
import tracemalloc
from pathlib import Path

_SHOWN = 5
_TOP = Path(__file__).resolve().parents[2]

tracemalloc.start()


class Profiler:
    """Profiles from now on, to its end()."""

    def __init__(self):
        self._profile = cProfile.Profile()
        self._profile.enable()

    def end(self):
        """{"functions": [(function, part of all processor time that it takes itself)], "memory": [(file, bytes)]}.

        The greatest of each; the memory is what is in use and was asked for in that file.
        """
        self._profile.disable()
        spent = {}
        for (path, line, name), (_, _, own, _, _) in pstats.Stats(self._profile).stats.items():
            where = f"{_short(path)}:{name}" if line else name
            # Waiting is not working.
            if "epoll" not in name and "sleep" not in name:
                spent[where] = spent.get(where, 0) + own
        total = sum(spent.values())
        functions = sorted(spent, key=lambda where: -spent[where])[:_SHOWN]
        held = tracemalloc.take_snapshot().statistics("filename")[:_SHOWN]
        return {
            "functions": [(where, spent[where] / total) for where in functions],
            "memory": [(_short(one.traceback[0].filename), one.size) for one in held],
        }


def _short(path):
    path = Path(path)
    return str(path.relative_to(_TOP)) if path.is_relative_to(_TOP) else "/".join(path.parts[-2:])
