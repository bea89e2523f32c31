"""The last known members, on flash: what a router starts with while it cannot reach the registry.

One JSON text per line: the router's own address first, then a line for each member's record.
"""

import json

from . import compat, disk, records
from .model import STATE

PATH = STATE + "/members"
_INTERVAL = 60  # seconds between two writes, at least: flash wears out


class Cache:
    """address: this router's last overlay address, or None. entries: node -> records.Entry."""

    def __init__(self):
        self.address = None
        self.entries = {}
        self._written = None
        self._at = None

    def load(self):
        """Reads what is there; a line that is no whole entry is passed over. Raises OSError."""
        try:
            text = disk.read(PATH) or ""
        except ValueError:
            return
        self._written = compat.digest([text])
        for line in text.split("\n"):
            try:
                item = records.loads(line)
            except ValueError:
                continue
            if not isinstance(item, dict):
                continue
            if isinstance(item.get("address"), str):
                self.address = item["address"]
            found = [item.get(name) for name in ("node", "text", "created", "modified")]
            if [type(value) for value in found] == [str, str, int, int]:
                self.entries[found[0]] = records.Entry(*found[1:])

    def save(self, address, entries):
        """Writes address and entries, when they differ from what is there and the last write is long ago.

        Returns False while something is still to be written. Raises OSError.
        """
        if self._at is not None and compat.monotonic() - self._at < _INTERVAL:
            return False
        digest = compat.digest(_lines(address, entries))
        if digest != self._written:
            disk.write_pieces(PATH, _lines(address, entries), 0o600)
            self._at = compat.monotonic()
        self._written = digest
        return True


def _lines(address, entries):
    # Made one by one: all of a large mesh at once would be the most memory that the agent ever takes.
    yield json.dumps({"address": address}) + "\n"
    for node in sorted(entries):
        entry = entries[node]
        fields = (("node", node), ("created", entry.created), ("modified", entry.modified), ("text", entry.text))
        yield "{" + ",".join(['"%s":%s' % (name, json.dumps(value)) for name, value in fields]) + "}\n"
