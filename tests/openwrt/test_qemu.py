"""What `make qemu` says without an image. With one it is a test itself, of OpenWrt as a whole."""

from conftest import make


def test_without_an_image_it_says_where_to_get_one():
    done = make("--silent", "qemu")
    assert done.returncode == 2
    assert "x86-64-generic-ext4-combined.img.gz" in done.stdout and "sha256sums" in done.stdout


def test_an_image_that_is_not_there_is_named():
    done = make("--silent", "qemu", "IMAGE=/nowhere.img")
    assert done.returncode == 2 and "there is no /nowhere.img" in done.stderr
