"""The figures of a run: told as they come, a table at the end, one JSON object."""

import os
import time


class Report:
    """Collects figures. `say` prints a line of progress with the seconds since the start."""

    def __init__(self):
        self._start = time.monotonic()
        self._rows = []
        self._beside = []
        self.values = {}
        self.missed = []

    def say(self, text):
        """Prints a line with the time and the machine's load."""
        print(f"{time.monotonic() - self._start:6.1f} s  load {os.getloadavg()[0]:4.1f}  {text}", flush=True)

    def add(self, part, name, value, unit="", limit=None, note="", digits=2):
        """A figure; above its limit it is missed, and so it is when it could not be measured (None)."""
        if value is not None:
            value = round(value, digits) if digits else round(value)
        self.values.setdefault(part, {})[name] = value
        verdict = ""
        if limit is not None:
            good = value is not None and value <= limit
            verdict = "ok" if good else "MISSED"
            if not good:
                self.missed.append(f"{part}.{name}")
        self._rows.append(
            (
                part,
                name,
                "-" if value is None else f"{value} {unit}".strip(),
                "" if limit is None else f"<= {limit} {unit}".strip(),
                verdict,
                note,
            )
        )
        self.say("  ".join(cell for cell in self._rows[-1] if cell))

    def beside(self, what, this, other, unit):
        """A figure of this and of what people would use instead, from one run: the ratio is what is shown first."""
        if this and other:
            self.values.setdefault("beside", {})[what] = round(other / this, 2)
            self._beside.append((f"{other / this:.1f} x", f"{this:.4g} {unit}", f"{other:.4g} {unit}", what))

    def table(self):
        """All figures as text: the ratios first, then everything, the limits beside it."""
        found = _aligned([("LESS", "THIS", "THE OTHER", "OF WHAT"), *self._beside]) + "\n\n" if self._beside else ""
        return found + _aligned([("PART", "FIGURE", "VALUE", "LIMIT", "", "NOTE"), *self._rows])


def _aligned(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
