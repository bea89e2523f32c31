"""A virtual machine with a kernel that has what this machine's own may lack; programs of the lab's roots run in it.

All of its files are in memory, and are gone with it. Its processor is emulated, which any machine can do: nothing in it
should be timed.
"""

import json
import pprint
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from lab import root

QEMU = "qemu-system-x86_64"
PLACE = "usr/lib/x86_64-linux-gnu"  # of libraries, in the roots and in the guest
TOOLS = ("dash", "ip", "micropython", "mount", "sleep", "stty")
LINKS = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "usr/bin/sh": "dash"}
FOLDERS = ("dev", "proc", "run", "sys", "tmp", "usr/sbin")
# The first serial line is the kernel's, the second one the command's.
INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
stty -F /dev/ttyS1 raw -echo
micropython /modules.py && COMMAND < /dev/ttyS1 > /dev/ttyS1 2>&1
echo "the command ended with $?"
echo o > /proc/sysrq-trigger
"""
# There is no insmod in the roots. finit_module(2), as the processor knows it.
MODULES = """\
import ffi, os
syscall = ffi.open("libc.so.6").func("l", "syscall", "lisi")
for name in sorted(os.listdir("/modules")):
    with open("/modules/" + name, "rb") as file:
        if syscall(313, file.fileno(), "", 0):
            raise OSError(os.errno(), name)
"""


class GuestError(Exception):
    """It did not come to what was waited for; the text says what it printed last."""


class Guest:
    """Boots it, with a command that prints what it sees, as lines of JSON, for ever. To be left by `with`.

    files: path -> bytes, or a file or a folder of this machine; programs: paths in the guest -> files of one of the
    roots, whose libraries come with them. folder: for what belongs to QEMU.
    """

    def __init__(self, folder, command, files, programs):
        if not shutil.which(QEMU):
            raise GuestError(f"there is no {QEMU}: `make test` installs it")
        roots = root.build()
        kernel = root.kernel()
        self._console, self._printed = folder / "console", folder / "printed"
        self._image = folder / "initramfs"
        self._image.write_bytes(archive(_tree(roots["base"], kernel, command, files, programs)))
        # Two emulated processors crash when the kernel changes its own code.
        argv = [
            "setpriv", "--pdeathsig", "KILL", QEMU, "-accel", "tcg", "-smp", "1", "-cpu", "max", "-m", "512",
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-chardev", f"file,id=console,path={self._console},append=on",
            "-serial", "chardev:console", "-serial", "stdio",
            "-kernel", kernel / "vmlinuz", "-initrd", self._image, "-append", "console=ttyS0 panic=-1",
        ]
        with open(self._printed, "wb") as printed, open(self._console, "ab") as console:
            self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=printed, stderr=console)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._image.unlink()

    def tell(self, line):
        """Gives the command a line on its standard input."""
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def until(self, wanted, seconds, what):
        """Waits until wanted(what it printed last) is true, and returns that. Raises GuestError."""
        deadline = time.monotonic() + seconds
        while True:
            ended = self._process.poll() is not None
            last = self.last()
            if last is not None and wanted(last):
                return last
            if ended:
                raise GuestError(f"the guest ended, and {what} had not come" + self.told())
            if time.monotonic() > deadline:
                raise GuestError(f"{what} did not come within {seconds} s" + self.told())
            time.sleep(0.2)

    def last(self):
        """What it printed last, or None."""
        lines = [line for line in _text(self._printed).split("\n")[:-1] if line.startswith("{")]
        return json.loads(lines[-1]) if lines else None

    def told(self):
        """What its kernel and it printed, as the end of an error's text."""
        lines = [line for line in _text(self._printed).split("\n") if not line.startswith("{")]
        shown = pprint.pformat(self.last(), width=150)
        return "\nits console:\n%s\nit printed:\n%s\nand last:\n%s" % (
            _text(self._console)[-4000:], "\n".join(lines)[-2000:], shown
        )


def _text(path):
    return path.read_bytes().decode(errors="replace").replace("\r", "")


def _tree(base, kernel, command, files, programs):
    """path -> what archive() takes, of all that the guest has."""
    tree = {path: None for path in FOLDERS}
    tree.update(LINKS)
    tree["init"] = INIT.replace("COMMAND", shlex.join(command)).encode()
    tree["modules.py"] = MODULES.encode()
    for module in kernel.glob("*.ko"):
        tree["modules/" + module.name] = module.read_bytes()
    loader = base / "usr/lib64/ld-linux-x86-64.so.2"
    tree["usr/lib64/" + loader.name] = loader.read_bytes()
    for path, program in {**{"usr/bin/" + name: base / "usr/bin" / name for name in TOOLS}, **programs}.items():
        tree[path] = program.read_bytes()
        for line in root.run([loader, "--library-path", base / PLACE, "--list", program]).splitlines():
            library = Path(line.partition("=> ")[2].partition(" (")[0])
            if library.parent == base / PLACE:
                tree[f"{PLACE}/{library.name}"] = library.read_bytes()
    for path, found in files.items():
        if isinstance(found, Path) and found.is_dir():
            for one in found.rglob("*.py"):
                tree[f"{path}/{one.relative_to(found)}"] = one.read_bytes()
        else:
            tree[path] = found.read_bytes() if isinstance(found, Path) else found
    return tree


def archive(tree):
    """An initramfs of a tree: path -> bytes of a file, text a link leads to, None for a folder.

    It has the format "newc" of the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    for path in list(tree):
        for parent in Path(path).parents:
            tree.setdefault(str(parent), None)
    tree.pop(".", None)
    pieces = []
    # A folder comes before what is in it.
    for number, path in enumerate([*sorted(tree), "TRAILER!!!"], 1):
        data = tree.get(path)
        mode = 0o040755 if data is None else 0o120777 if isinstance(data, str) else 0o100755
        data = (data or b"") if not isinstance(data, str) else data.encode()
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        pieces += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
    return b"".join(pieces)
