"""sdk-build.sh with an SDK made up here: what it checks, in which order it asks for what, and what it says when a
step fails. That the recipes build in a real SDK is not shown by this."""

import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import tarfile
import threading

import pytest
from conftest import PROJECT

NAMES = (
    "bgpmesh", "bgpmesh-python3", "bgpmesh-bird2", "bgpmesh-bird3", "luci-app-bgpmesh", "luci-i18n-bgpmesh-es",
    "python3-etcd",
)
FEEDS = """\
#!/bin/sh
echo "feeds $*" >> asked
"""
MAKEFILE = """\
.DEFAULT:
	@echo "make $@" >> asked
defconfig:
	@echo "make $@" >> asked; {config}
package/index:
	@echo "make $@" >> asked
	@mkdir -p bin/packages/x/bgpmesh
	@for name in {names}; do echo > bin/packages/x/bgpmesh/$${{name}}{end}; done
	@touch bin/packages/x/bgpmesh/Packages.gz bin/packages/x/bgpmesh/Packages.sig
"""


def make_sdk(folder, config="true", names=NAMES, end="_0.1.0-r1_all.ipk"):
    (folder / "scripts").mkdir(parents=True)
    (folder / "rules.mk").write_text("")
    (folder / "feeds.conf.default").write_text("src-git base https://example.org/base.git\n")
    (folder / "Makefile").write_text(MAKEFILE.format(config=config, names=" ".join(names), end=end))
    (folder / "scripts" / "feeds").write_text(FEEDS)
    (folder / "scripts" / "feeds").chmod(0o755)
    usign = folder / "staging_dir" / "host" / "bin" / "usign"
    usign.parent.mkdir(parents=True)
    usign.write_text("#!/bin/sh\ntouch key-build key-build.pub\n")
    usign.chmod(0o755)
    return folder


@pytest.fixture
def tree(tmp_path):
    """A copy of what the script needs of the project, for it writes into bin/ and .cache/."""
    folder = tmp_path / "tree"
    folder.mkdir()
    shutil.copy(PROJECT / "sdk-build.sh", folder)
    # The machine that runs the tests need not have all that a real SDK needs.
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("rsync", "gawk", "unzip", "zstd", "gcc", "g++", "file", "bzip2", "patch"):
        if not shutil.which(name):
            (tools / name).write_text("#!/bin/sh\nexit 1\n")
            (tools / name).chmod(0o755)

    def build(*arguments, **env):
        path = f"{os.environ['PATH']}:{tools}"
        return subprocess.run(
            [folder / "sdk-build.sh", *arguments],
            env={"PATH": path, "HOME": "/root", **env},
            capture_output=True,
            text=True,
            timeout=300,
        )

    build.folder = folder
    return build


def test_with_an_sdk_that_is_there(tree, tmp_path):
    sdk = make_sdk(tmp_path / "sdk")
    done = tree("--sdk", sdk)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tree.folder / "bin").iterdir()} == {
        *(name + "_0.1.0-r1_all.ipk" for name in NAMES), "Packages.gz", "Packages.sig", "key-build.pub",
    }
    assert (sdk / "asked").read_text().splitlines() == [
        "feeds update -a",
        "feeds install -f -p bgpmesh -a",
        "make defconfig",
        "make package/bgpmesh/compile",
        "make package/luci-app-bgpmesh/compile",
        "make package/python3-etcd/compile",
        "make package/index",
    ]
    assert f"src-link bgpmesh {tree.folder}/package" in (sdk / "feeds.conf").read_text()
    chosen = (sdk / ".config").read_text().splitlines()
    assert {*(f"CONFIG_PACKAGE_{name}=m" for name in NAMES), "CONFIG_LUCI_LANG_es=m"} <= set(chosen)


def test_an_sdk_of_a_release_with_apk_gives_apk(tree, tmp_path):
    sdk = make_sdk(tmp_path / "sdk", config="echo CONFIG_USE_APK=y >> .config", end="-0.1.0-r1.apk")
    done = tree("--sdk", sdk)
    assert done.returncode == 0, done.stderr
    found = {path.name for path in (tree.folder / "bin").iterdir()}
    assert found >= {name + "-0.1.0-r1.apk" for name in NAMES} | {"public-key.pem"}


def test_what_went_wrong_is_said_with_the_end_of_its_output(tree, tmp_path):
    sdk = make_sdk(tmp_path / "sdk")
    (sdk / "scripts" / "feeds").write_text("#!/bin/sh\necho fatal: unable to access the feed >&2; exit 1\n")
    done = tree("--sdk", sdk)
    assert done.returncode == 1
    assert "unable to access the feed" in done.stderr and "updating the feeds failed" in done.stderr


def test_a_package_that_the_sdk_does_not_know_or_make_is_named(tree, tmp_path):
    done = tree("--sdk", make_sdk(tmp_path / "one", config="sed -i /bird3/d .config"))
    assert done.returncode == 1 and "bgpmesh-bird3 cannot be selected" in done.stderr
    done = tree("--sdk", make_sdk(tmp_path / "two", names=NAMES[:-1]))
    assert done.returncode == 1 and "the SDK made no python3-etcd" in done.stderr


def test_a_folder_that_is_no_sdk(tree, tmp_path):
    assert "no folder" in tree("--sdk", tmp_path / "nowhere").stderr
    assert "no OpenWrt SDK" in tree("--sdk", tmp_path).stderr
    assert tree().returncode == 2


class Server:
    """A download server with one SDK in it."""

    def __init__(self, folder):
        self.folder = folder / "www" / "releases" / "24.10.4" / "targets" / "x86" / "64"
        self.folder.mkdir(parents=True)
        self.archive = self.folder / "openwrt-sdk-24.10.4-x86-64_gcc-13.3.0_musl.Linux-x86_64.tar.xz"
        sdk = make_sdk(folder / "openwrt-sdk")
        with tarfile.open(self.archive, "w:xz") as archive:
            archive.add(sdk, "openwrt-sdk")
        self.sums(hashlib.sha256(self.archive.read_bytes()).hexdigest())
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder / "www")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def sums(self, digest):
        (self.folder / "sha256sums").write_text(f"{'0' * 64} *config.buildinfo\n{digest} *{self.archive.name}\n")


@pytest.fixture
def server(tmp_path):
    found = Server(tmp_path)
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_an_sdk_is_fetched_once_and_checked(tree, server):
    done = tree("24.10.4", "x86/64", OPENWRT_URL=server.url)
    assert done.returncode == 0, done.stderr
    assert "downloading" in done.stdout and (tree.folder / "bin" / "Packages.sig").exists()
    again = tree("24.10.4", "x86/64", OPENWRT_URL=server.url)
    assert again.returncode == 0 and "downloading" not in again.stdout


def test_an_sdk_with_another_sum_is_not_used(tree, server):
    server.sums("1" * 64)
    done = tree("24.10.4", "x86/64", OPENWRT_URL=server.url)
    assert done.returncode == 1 and "another sum" in done.stderr
    assert not list((tree.folder / ".cache" / "sdk").glob("*/rules.mk"))


def test_a_release_or_a_network_that_is_not_there(tree, server):
    done = tree("1.2.3", "x86/64", OPENWRT_URL=server.url)
    assert done.returncode == 1 and "'1.2.3' and 'x86/64'" in done.stderr
    done = tree("24.10.4", "x86/64", OPENWRT_URL="http://127.0.0.1:9")
    assert done.returncode == 1 and "is there a network" in done.stderr
