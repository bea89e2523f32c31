"""The packages that `make ipk` makes of this tree, for labs whose routers have what is installed."""

import os
import tarfile

from . import root

FOLDER = root.CACHE / "lab-packages"
NAMES = {"micropython": "bgpmesh", "python3": "bgpmesh-python3"}


def build(folder=FOLDER):
    """Makes them anew; returns the folder. Raises BuildError."""
    # What a `make` that runs this hands down is not for that one.
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    root.run(["make", "-C", str(root.PROJECT), "ipk", f"BIN_DIR={folder}"], env=env)
    return folder


def unpack(folder, runtime, layer):
    """Lays out in `layer` the files of the agent's package for a runtime."""
    [path] = folder.glob(f"{NAMES[runtime]}_*.ipk")
    with tarfile.open(path) as package, tarfile.open(fileobj=package.extractfile("./data.tar.gz")) as data:
        # Debian's /lib is a link, which a folder of that name would hide.
        data.extractall(layer, [item for item in data if not item.name.startswith("./lib")])


def size(path):
    """Bytes that the files of a package have once they are installed."""
    with tarfile.open(path) as package, tarfile.open(fileobj=package.extractfile("./data.tar.gz")) as data:
        return sum(item.size for item in data)
