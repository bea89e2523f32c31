"""Files that are whole or absent, never half: a temporary file beside, fsync, rename."""

import errno
import hashlib
import os

from . import compat

_LONG_AGO = 1000000000


def read(path):
    """The text of a file, or None where there is none. Raises OSError; ValueError when it is no text."""
    try:
        with open(path, "rb") as file:
            return file.read().decode()
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    except UnicodeError:
        raise ValueError("%s is not UTF-8 text" % path)


def pieces(path):
    """The bytes of a file in pieces, as an iterator; none where there is no file. Raises OSError."""
    try:
        with open(path, "rb") as file:
            while True:
                data = file.read(1024)
                if not data:
                    return
                yield data
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def digest(path):
    """SHA-256 of a file's bytes, as 32 of them, or None where there is none. Raises OSError."""
    total = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while True:
                data = file.read(1024)
                if not data:
                    return total.digest()
                total.update(data)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def write(path, text, mode, old=False):
    """Puts `text` at `path`; False, and nothing is touched, where it is there already.

    The temporary file's name starts with a dot, which no node's name has. old: gives the file a
    modification time long past, for tincd, which at a reload drops the connection of every host
    file that is newer than its last look. Raises OSError.
    """
    if read_or_none(path) == text:
        return False
    write_pieces(path, [text], mode, old)
    return True


def write_pieces(path, pieces, mode, old=False):
    """Puts the joined texts `pieces` at `path`, whatever is there, without ever holding all of them. Raises OSError."""
    folder, _, name = path.rpartition("/")
    temporary = "%s/.%s.new" % (folder, name)
    try:
        with open(temporary, "w") as file:
            for piece in pieces:
                file.write(piece)
        compat.chmod(temporary, mode)
        if old:
            compat.set_mtime(temporary, _LONG_AGO)
        compat.fsync(temporary)
        os.rename(temporary, path)
    except OSError:
        remove(temporary)
        raise


def read_or_none(path):
    """The text of a file, or None where there is none or it cannot be read as text."""
    try:
        return read(path)
    except (OSError, ValueError):
        return None


def remove(path):
    """Removes a file; False where there was none. Raises OSError."""
    try:
        os.remove(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def make_folder(path, mode=0o700):
    """Makes a folder, and those above it; one that is there gets the mode. Raises OSError."""
    if not compat.exists(path):
        above = path.rpartition("/")[0]
        if above and not compat.exists(above):
            make_folder(above, 0o755)
        os.mkdir(path)
    if os.stat(path)[0] & 0o777 != mode:
        compat.chmod(path, mode)


def remove_folder(path):
    """Removes a folder and the files in it; harmless where there is none. Raises OSError."""
    if compat.exists(path):
        for name in os.listdir(path):
            inner = path + "/" + name
            if os.stat(inner)[0] & 0o170000 == 0o040000:
                remove_folder(inner)
            else:
                os.remove(inner)
        os.rmdir(path)
