"""The last known members, on flash: what a router starts with while it cannot reach the registry.

One JSON text per line: the router's own address and the registry's cluster first, then a line for each
member's record, and one for the serial of each that is none any more.
"""

import hashlib
import json

from . import compat, disk, records
from .model import STATE

PATH = STATE + "/members"
_INTERVAL = 60  # seconds between two writes, at least: flash wears out
_LINE = 1 << 17  # bytes of a line, at most
_LONGEST = 3600  # and at most, to which they grow where somebody changes records all the time


class Cache:
    """address: this router's last overlay address, or None. cluster: the id of the etcd cluster that the entries are
    from, or None. approved_by: the public key of the owner who had approved them all, or None.
    entries: node -> records.Entry. serials: node -> the highest serial seen of who has no entry."""

    def __init__(self):
        self.address = None
        self.cluster = None
        self.approved_by = None
        self.entries = {}
        self.serials = {}
        self._written = None
        self._at = None
        self._interval = _INTERVAL

    def load(self):
        """Reads what is there; a line that is no whole entry is passed over. Raises OSError."""
        total = hashlib.sha256()
        for line in _read(total):
            try:
                item = records.loads(line)
            except ValueError:
                continue
            if not isinstance(item, dict):
                continue
            if isinstance(item.get("address"), str):
                self.address = item["address"]
            if isinstance(item.get("cluster"), str):
                self.cluster = item["cluster"]
            if isinstance(item.get("approved_by"), str):
                self.approved_by = item["approved_by"]
            found = [item.get(name) for name in ("node", "text", "created", "modified")]
            if [type(value) for value in found] == [str, str, int, int]:
                self.entries[found[0]] = records.Entry(*found[1:])
            found = [item.get(name) for name in ("node", "serial")]
            if [type(value) for value in found] == [str, int]:
                self.serials[found[0]] = found[1]
        self._written = total.digest()

    def save(self, address, entries, serials=(), at_once=False):
        """Writes them and the cluster, when they differ from what is there and the last write is long ago, or at once.

        Returns False while something is still to be written. Raises OSError.
        """
        now = compat.monotonic()
        if self._at is not None and now - self._at < self._interval and not at_once:
            return False
        head = address, self.cluster, self.approved_by
        digest = compat.digest(_lines(head, entries, serials))
        if digest != self._written:
            busy = self._at is not None and now - self._at < 2 * self._interval
            self._interval = min(_LONGEST, 2 * self._interval) if busy else _INTERVAL
            self._at = now  # a flash that is full is not tried more often either
            disk.write_pieces(PATH, _lines(head, entries, serials), 0o600)
        self._written = digest
        return True


def forget(serials):
    """Keeps nothing of the mesh but these serials, node -> serial, and not even them where flash is full."""
    try:
        if serials:
            disk.write_pieces(PATH, _lines((None,) * 3, {}, serials), 0o600)
            return
    except OSError:
        pass  # the file of before says more than is to be kept
    disk.remove(PATH)


def _read(total):
    """The lines of the file that are text, one by one, each piece of it given to total.update()."""
    rest = b""
    for piece in disk.pieces(PATH):
        total.update(piece)
        lines = (rest + piece).split(b"\n")
        rest = lines.pop()
        if len(rest) > _LINE:
            rest = b""  # it is none of ours
        for line in lines:
            try:
                yield line.decode()
            except UnicodeError:
                pass


def _lines(head, entries, serials):
    # Made one by one: all of a large mesh at once would be the most memory that the agent ever takes.
    yield '{"address":%s,"cluster":%s,"approved_by":%s}\n' % tuple([json.dumps(value) for value in head])
    for node in sorted(entries):
        entry = entries[node]
        fields = (("node", node), ("created", entry.created), ("modified", entry.modified), ("text", entry.text))
        yield "{" + ",".join(['"%s":%s' % (name, json.dumps(value)) for name, value in fields]) + "}\n"
    for node in sorted(serials):
        yield '{"node":%s,"serial":%d}\n' % (json.dumps(node), serials[node])
