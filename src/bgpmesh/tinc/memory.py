"""What a running tincd remembers of host files that have changed or gone since.

tincd 1.1 goes by the Ed25519 key that it read first under a name, for as long as it runs. The tunnel of a node that has
another one comes up, but no key for packets is agreed on ("Failed to verify SIG record"): what fits into no such
tunnel, or has to be relayed, is lost. And every tincd reads its own keys at its start alone.
"""

from .. import compat, disk, records

_MOST = 16384  # characters that are kept: of some 500 names
_OF_NODE = 8  # characters of a mark that are the node's, whatever generation of its keys it is of
_EACH = 4  # names of one node of which something is: who ever rotates its keys is not to have the others forgotten


def key(text, version, own):
    """What of a host file tincd does not read again, as a short text; "" where it reads all."""
    kept = []
    for line in (text or "").split("\n"):
        if own and line[:1] != "#" and not line.startswith("Address"):
            kept.append(line)
        elif version != "1.0" and line.startswith("Ed25519PublicKey"):
            kept.append(line)
    found = "".join(kept)
    return found and compat.sha256(found.encode())[:16]


def note(path, name, found):
    """Remembers, in the file at `path`, the key() of a host file that is about to go. Raises OSError."""
    if found:
        mark = _mark(name)
        text = _without(disk.read_or_none(path) or "", mark)
        if ("\n" + text).count("\n" + mark[:_OF_NODE]) >= _EACH:
            text = _without(text, mark[:_OF_NODE])
        text += "%s %s\n" % (mark, found)
        if len(text) > _MOST:
            text = text[text.find("\n", len(text) - _MOST) + 1 :]
        disk.write(path, text, 0o600)


def recall(path, name):
    """What was noted last under the name; "" where nothing was."""
    text = disk.read_or_none(path) or ""
    at = text.rfind(_mark(name) + " ")
    return text[at:].split()[1] if at >= 0 else ""


def _without(text, start):
    """The text without its first line that begins so."""
    at = ("\n" + text).find("\n" + start)
    return text if at < 0 else text[:at] + text[text.find("\n", at) + 1 :]


def _mark(name):
    # Who has left the mesh, or was never let in, is named in no file.
    return compat.sha256(records.node_of(name).encode())[:_OF_NODE] + compat.sha256(name.encode())[:8]
