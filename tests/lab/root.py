"""The file systems the routers run on: a Debian root and small layers over it.

Built once under `.cache/roots/` with the machine's own apt and mirror, each in a
directory whose name carries a hash of its recipe: a changed recipe is another
directory. A build happens in a temporary directory that is renamed when it is
whole, so an interrupted build leaves nothing that looks finished.
"""

import contextlib
import fcntl
import hashlib
import inspect
import json
import lzma
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache"
ROOTS = CACHE / "roots"

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# MicroPython and etcd 3.5, and what the four daemons of LAYERS link against:
# those conflict as packages, so they are laid over this one by one.
BASE = {
    "suite": "trixie",
    "packages": [
        "micropython", "python3", "python3-etcd", "etcd-server", "etcd-client",
        "iproute2", "iputils-ping", "procps", "nftables", "openssl", "tcpdump", "libfaketime",
        "liblzo2-2", "libncurses6", "libreadline8t64", "libssh-4", "libssl3t64", "zlib1g",
    ],
    "exclude": ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"],
}

# What lies over the base: per layer the packages, each from its suite. tinc 1.1 links
# against a libminiupnpc that only bookworm has.
LAYERS = {
    "tinc-1.0": ["tinc/trixie"],
    "tinc-1.1": ["tinc/experimental", "libminiupnpc17/bookworm"],
    "bird-2": ["bird2/trixie"],
    "bird-3": ["bird3/trixie"],
}

# A kernel with TCP-AO for virtual machines, and of its modules those that connect network namespaces: each after those
# that it needs.
KERNEL = {"package": "linux-image-cloud-amd64", "suite": "sid", "modules": ["llc", "stp", "bridge", "veth"]}


class BuildError(Exception):
    """A root could not be built; the text says what is missing and what to do."""


def build(say=lambda text: None):
    """Build what is not there yet.

    Returns `{"base", "tinc-1.0", "tinc-1.1", "bird-2", "bird-3"}` → directory.
    `say` is called with one line before anything that takes long. Raises BuildError.
    """
    ROOTS.mkdir(parents=True, exist_ok=True)
    base = ROOTS / ("base-" + recipe_hash(BASE, build_base))
    layers = ROOTS / ("layers-" + recipe_hash(LAYERS, build_layers, own_apt))
    with locked(ROOTS / "lock"):
        for path in ROOTS.iterdir():
            if not path.name.startswith(("base-", "layers-", "kernel-", "lock")):
                shutil.rmtree(path)
        if not base.exists():
            say("building the Debian root (once, about 20 s)")
            finish(base, build_base)
        if not layers.exists():
            say("fetching tinc 1.0 and 1.1, BIRD 2 and 3 (once, about 15 s)")
            finish(layers, build_layers)
    found = {name: layers / name for name in LAYERS}
    found["base"] = base
    return found


def kernel(say=lambda text: None):
    """A folder with KERNEL, fetched where it is not there yet: `vmlinuz`, and `<number>-<module>.ko` in their order.

    `say` is as of build(). Raises BuildError.
    """
    ROOTS.mkdir(parents=True, exist_ok=True)
    folder = ROOTS / ("kernel-" + recipe_hash(KERNEL, build_kernel, own_apt))
    with locked(ROOTS / "lock"):
        if not folder.exists():
            say("fetching a kernel for virtual machines (once, about 15 s)")
            finish(folder, build_kernel)
    return folder


def recipe_hash(recipe, *builders):
    """Twelve hexadecimal digits that change when the recipe or what follows it does."""
    text = json.dumps(recipe, sort_keys=True) + "".join(inspect.getsource(builder) for builder in builders)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextlib.contextmanager
def locked(path):
    """Hold the lock file `path`, waiting for whoever has it."""
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def finish(target, builder):
    """Let `builder(directory)` fill a new directory, then name it `target`."""
    work = Path(tempfile.mkdtemp(prefix="tmp-", dir=ROOTS))
    try:
        work.chmod(0o755)
        builder(work)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(argv, **kw):
    """Run a command and return its output. Raises BuildError with its last lines."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise BuildError(f"{argv[0]} ended with {done.returncode}:\n{tail}")
    return done.stdout


def mirror():
    """The URI this machine fetches Debian from, read from its own apt configuration."""
    for attempt in ("as it is", "updated"):
        filters = ["Identifier: Packages", "Origin: Debian"]
        for uri in run(["apt-get", "indextargets", "--format", "$(REPO_URI)", *filters]).split():
            # The security archive comes under the same origin, without the suites we need.
            if not uri.startswith("cdrom:") and "debian-security" not in uri:
                return uri
        if attempt == "as it is":
            run(["apt-get", "update"])
    raise BuildError("apt knows no Debian mirror here: the lab needs a Debian machine with one in /etc/apt")


def build_base(work):
    argv = ["--variant=minbase", "--include=" + ",".join(BASE["packages"])]
    argv += ["--dpkgopt=path-exclude=" + pattern for pattern in BASE["exclude"]]
    mmdebstrap(work, argv)


def extract(work, arch, packages):
    """Unpacks packages of an architecture and what they depend on, of the base's suite, into a folder."""
    mmdebstrap(work, ["--variant=extract", "--architectures=" + arch, "--include=" + ",".join(packages)])


def mmdebstrap(work, arguments):
    # A mount namespace of its own: whatever mmdebstrap mounts goes when it ends, however it ends.
    argv = ["unshare", "--mount", "mmdebstrap", "--quiet", "--mode=root", "--format=directory", *arguments]
    argv += ["--aptopt=" + line for line in run(["apt-config", "dump"]).splitlines() if "::Proxy" in line]
    argv += ["--keyring=" + KEYRING, BASE["suite"], str(work), mirror()]
    run(argv, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(ROOTS)})


def own_apt(apt, suites):
    """The environment of an apt that knows these suites and nothing of this machine; it keeps all in a new folder."""
    for directory in ("lists/partial", "archives/partial", "empty"):
        (apt / directory).mkdir(parents=True)
    (apt / "status").touch()
    lines = [f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n" for suite in suites]
    (apt / "sources.list").write_text("".join(lines))
    settings = {
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": apt / "empty",
        "Dir::Etc::PreferencesParts": apt / "empty",
        "Dir::State::Lists": apt / "lists",
        "Dir::State::Status": apt / "status",
        "Dir::Cache": apt,
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    config = apt / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    env = {**os.environ, "APT_CONFIG": str(config)}
    run(["apt-get", "update"], env=env)
    return env


def build_layers(work):
    apt = work / "apt"
    suites = sorted({package.split("/")[1] for packages in LAYERS.values() for package in packages})
    env = own_apt(apt, suites)
    for name, packages in sorted(LAYERS.items()):
        debs = apt / name
        debs.mkdir()
        run(["apt-get", "download", *packages], env=env, cwd=debs)
        for deb in sorted(debs.glob("*.deb")):
            run(["dpkg", "-x", str(deb), str(debs / "root")])
        # Only /usr: older packages carry a real /lib, which would hide the base's link of that name.
        (work / name).mkdir()
        (debs / "root" / "usr").rename(work / name / "usr")
        shutil.rmtree(work / name / "usr" / "share", ignore_errors=True)
    shutil.rmtree(apt)


def build_kernel(work):
    apt = work / "apt"
    env = own_apt(apt, [KERNEL["suite"]])
    # The package itself is empty. Which of those that it needs have the kernel and its modules depends on the version.
    needed = run(["apt-cache", "depends", "--recurse", "--important", KERNEL["package"]], env=env)
    packages = re.findall(r"^linux-(?:image|binary|modules)-[0-9]\S*$", needed, re.M)
    if not packages:
        raise BuildError(f"{KERNEL['package']} of {KERNEL['suite']} needs no linux-image-*: mend KERNEL in {__file__}")
    run(["apt-get", "download", *packages], env=env, cwd=apt)
    for deb in sorted(apt.glob("*.deb")):
        run(["dpkg", "-x", str(deb), str(apt / "root")])
    found = {"vmlinuz": [*apt.glob("root/boot/vmlinuz-*"), *apt.glob("root/usr/lib/modules/*/vmlinuz")]}
    for number, name in enumerate(KERNEL["modules"]):
        found[f"{number}-{name}.ko"] = [*apt.glob(f"root/**/{name}.ko.xz")]
    for name, paths in found.items():
        if not paths:
            raise BuildError(f"no {name} in {' '.join(packages)}: mend build_kernel in {__file__}")
        data = paths[0].read_bytes()
        (work / name).write_bytes(lzma.decompress(data) if paths[0].suffix == ".xz" else data)
    shutil.rmtree(apt)


def micropython():
    """Write `.cache/bin/micropython`, the root's interpreter run on this machine's files.

    It runs with the root's own C library. Returns the path of the wrapper.
    """
    base = build()["base"]
    loader = sorted([*base.glob("usr/lib64/ld-linux*.so.*"), *base.glob("usr/lib/ld-linux*.so.*")])[0]
    libraries = sorted(base.glob("usr/lib/*-linux-gnu*"))[0]
    wrapper = CACHE / "bin" / "micropython"
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    program = shlex.join([str(loader), "--library-path", str(libraries), str(base / "usr/bin/micropython")])
    text = f'#!/bin/sh\nexec {program} "$@"\n'
    if not wrapper.exists() or wrapper.read_text() != text:
        fresh = wrapper.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.rename(wrapper)
    return wrapper
