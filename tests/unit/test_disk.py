import errno
import os

from example import folder
from fake_http import run

from bgpmesh import compat, disk

_MODE, _INODE, _MTIME = 0, 1, 8  # places in what os.stat gives
_FULL = 28  # ENOSPC, which MicroPython does not name


class Folder:
    """A folder of this test's own; `path(name)` is in it."""

    def __enter__(self):
        self.name = folder("disk")
        return self

    def __exit__(self, *_):
        disk.remove_folder(self.name)

    def path(self, name="file"):
        return self.name + "/" + name


class Failing:
    """Has one of compat's functions fail with ENOSPC."""

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        self._before = getattr(compat, self._name)

        def fail(*_):
            raise OSError(_FULL, "no space left")

        setattr(compat, self._name, fail)

    def __exit__(self, *_):
        setattr(compat, self._name, self._before)


def failure(function, *arguments):
    """The errno that a call ends in."""
    try:
        function(*arguments)
    except OSError as error:
        return error.errno
    raise AssertionError("no error")


def mode(path):
    return os.stat(path)[_MODE] & 0o7777


def test_what_was_written_is_read():
    with Folder() as here:
        for text in ("", "one\ntwo\n", "é ✓ \x00 \r\n", "x" * 100000):
            assert disk.write(here.path(), text, 0o600) is True or text == ""
            assert disk.read(here.path()) == text


def test_no_file_is_none():
    with Folder() as here:
        assert disk.read(here.path()) is None
        assert disk.read_or_none(here.path()) is None
        assert disk.read(here.path("no/such")) is None


def test_what_cannot_be_read():
    with Folder() as here:
        assert failure(disk.read, here.name) == errno.EISDIR
        assert disk.read_or_none(here.name) is None
        with open(here.path(), "wb") as file:
            file.write(b"\xff\xfe")
        try:
            disk.read(here.path())
            raise AssertionError("no error")
        except ValueError:
            pass
        assert disk.read_or_none(here.path()) is None


def test_the_same_text_is_not_written_again():
    with Folder() as here:
        assert disk.write(here.path(), "text", 0o600) is True
        compat.set_mtime(here.path(), 1234567890)
        inode = os.stat(here.path())[_INODE]
        assert disk.write(here.path(), "text", 0o600) is False
        found = os.stat(here.path())
        assert (found[_INODE], found[_MTIME]) == (inode, 1234567890)
        assert disk.write(here.path(), "texts", 0o600) is True
        assert os.stat(here.path())[_MTIME] != 1234567890


def test_a_file_that_is_no_text_is_replaced():
    with Folder() as here:
        with open(here.path(), "wb") as file:
            file.write(b"\xff\xfe")
        assert disk.write(here.path(), "text", 0o600) is True
        assert disk.read(here.path()) == "text"


def test_modes():
    with Folder() as here:
        for wanted in (0o600, 0o644, 0o700):
            disk.write(here.path("%o" % wanted), "text", wanted)
            assert mode(here.path("%o" % wanted)) == wanted


def test_an_old_file_is_older_than_anything_tincd_has_looked_at():
    with Folder() as here:
        disk.write(here.path("old"), "text", 0o600, old=True)
        disk.write(here.path("new"), "text", 0o600)
        assert os.stat(here.path("old"))[_MTIME] == 1000000000
        assert os.stat(here.path("new"))[_MTIME] > 1600000000


def test_a_failure_leaves_the_old_file_whole_and_nothing_beside_it():
    for step in ("chmod", "fsync", "set_mtime"):
        with Folder() as here:
            disk.write(here.path(), "the old text", 0o644)
            with Failing(step):
                assert failure(disk.write, here.path(), "the new one", 0o600, True) == _FULL
            assert disk.read(here.path()) == "the old text"
            assert mode(here.path()) == 0o644
            assert os.listdir(here.name) == ["file"]


def test_the_new_text_is_on_the_disk_before_it_takes_the_place():
    with Folder() as here:
        disk.write(here.path(), "the old text", 0o600)
        seen = []
        before = compat.fsync

        def fsync(path):
            seen.append((disk.read(path), disk.read(here.path()), mode(path)))
            before(path)

        compat.fsync = fsync
        try:
            disk.write(here.path(), "the new one", 0o640)
        finally:
            compat.fsync = before
        assert seen == [("the new one", "the old text", 0o640)]
        assert os.listdir(here.name) == ["file"]


def test_a_full_disk():
    for size in (10, 100000):
        with Folder() as here:
            disk.write(here.path(), "the old text", 0o600)
            run(compat.run(["ln", "-s", "/dev/full", here.path(".file.new")], 5))
            assert failure(disk.write, here.path(), "x" * size, 0o600) == _FULL
            assert disk.read(here.path()) == "the old text"
            assert os.listdir(here.name) == ["file"]


def test_a_folder_that_is_not_there():
    with Folder() as here:
        assert failure(disk.write, here.path("no/file"), "text", 0o600) == errno.ENOENT


def test_remove():
    with Folder() as here:
        disk.write(here.path(), "text", 0o600)
        assert disk.remove(here.path()) is True
        assert disk.remove(here.path()) is False
        assert failure(disk.remove, here.name) in (errno.EISDIR, 1)


def test_folders_are_made_with_those_above():
    with Folder() as here:
        disk.make_folder(here.path("a/b/c"))
        assert mode(here.path("a/b/c")) == 0o700
        assert mode(here.path("a/b")) == 0o755
        disk.make_folder(here.path("a/b/c"), 0o750)
        assert mode(here.path("a/b/c")) == 0o750
        disk.write(here.path("file"), "text", 0o600)
        assert failure(disk.make_folder, here.path("file/x")) in (errno.EEXIST, 20)


def test_a_folder_is_removed_with_what_is_in_it():
    with Folder() as here:
        disk.make_folder(here.path("a/b/c"))
        for name in ("a/one", "a/b/.two", "a/b/c/three"):
            disk.write(here.path(name), "text", 0o400)
        disk.remove_folder(here.path("a"))
        assert os.listdir(here.name) == []
        disk.remove_folder(here.path("a"))
