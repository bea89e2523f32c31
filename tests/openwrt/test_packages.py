"""The packages that `make ipk` makes, unpacked and held against their recipes."""

import io
import os
import re
import subprocess
import tarfile

import pytest
from conftest import PROJECT, make

from bgpmesh import VERSION

AGENT = ("bgpmesh", "bgpmesh-python3")
SCRIPTS = {"usr/sbin/bgpmesh", "etc/init.d/bgpmesh", "etc/uci-defaults/90-bgpmesh", "usr/lib/bgpmesh/forget"}


def make_ipk(folder):
    done = make("ipk", f"BIN_DIR={folder}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("ipk")
    make_ipk(found)
    return found


class Package:
    """An .ipk: `control` (field -> text), `scripts` (name -> text), `files` (path -> TarInfo), read(path)."""

    def __init__(self, path):
        with tarfile.open(path, "r:gz") as outer:
            self.order = outer.getnames()
            parts = {name: outer.extractfile(name).read() for name in self.order}
        assert parts["./debian-binary"] == b"2.0\n"
        self._data = tarfile.open(fileobj=io.BytesIO(parts["./data.tar.gz"]))
        self.files = {item.name[2:]: item for item in self._data.getmembers()}
        control = tarfile.open(fileobj=io.BytesIO(parts["./control.tar.gz"]))
        self.owners = {(item.uid, item.gid) for archive in (control, self._data) for item in archive.getmembers()}
        self.modes = {item.name[2:]: item.mode for item in control.getmembers()}
        self.scripts = {item.name[2:]: control.extractfile(item).read().decode() for item in control if item.isfile()}
        self.control = dict(re.findall(r"^([\w-]+): (.*)$", self.scripts.pop("control"), re.M))

    def read(self, path):
        return self._data.extractfile("./" + path).read()

    @property
    def depends(self):
        return self.control["Depends"].split(", ")


@pytest.fixture(scope="module")
def packages(folder):
    return {path.name.split("_")[0]: Package(path) for path in folder.glob("*.ipk")}


def test_there_are_all_of_them_and_each_is_named_by_its_version(folder):
    ours = {f"{name}_{VERSION}-r1_all.ipk" for name in (*AGENT, "bgpmesh-bird2", "bgpmesh-bird3")}
    assert {path.name for path in folder.iterdir()} == ours | {
        "python3-etcd_0.4.5-r1_all.ipk",
        "python3-etcd-src_0.4.5-r1_all.ipk",
    }


def test_the_same_tree_gives_the_same_bytes(folder, tmp_path):
    make_ipk(tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", AGENT)
def test_the_whole_agent_is_in_it_and_nothing_else(packages, name):
    package = packages[name]
    source = PROJECT / "src"
    modules = {"usr/lib/bgpmesh/" + str(path.relative_to(source)) for path in source.rglob("*.py")}
    extra = {"etc/config/bgpmesh", "lib/upgrade/keep.d/" + name}
    assert {path for path, item in package.files.items() if item.isfile()} == modules | SCRIPTS | extra
    for path in modules:
        assert package.read(path) == (source / path[len("usr/lib/bgpmesh/") :]).read_bytes()


@pytest.mark.parametrize("name", AGENT)
def test_owner_and_modes(packages, name):
    package = packages[name]
    assert package.owners == {(0, 0)}
    for path, item in package.files.items():
        right = 0o755 if item.isdir() or path in SCRIPTS else 0o600 if path == "etc/config/bgpmesh" else 0o644
        assert item.mode == right, path
    for script in ("postinst", "prerm", "prerm-pkg"):
        assert package.modes[script] == 0o755, script


@pytest.mark.parametrize("name", AGENT)
def test_options_and_keys_survive_an_upgrade(packages, name):
    package = packages[name]
    assert package.scripts["conffiles"].split() == ["/etc/config/bgpmesh"]
    # What is not shipped is named for sysupgrade in a file of its own.
    assert package.read("lib/upgrade/keep.d/" + name).decode().split() == ["/etc/bgpmesh/"]


@pytest.mark.parametrize("name", AGENT)
def test_removal_takes_back_what_the_first_boot_made_and_an_upgrade_does_not(packages, name):
    scripts = packages[name].scripts
    assert "default_postinst $0 $@" in scripts["postinst"] and "default_prerm $0 $@" in scripts["prerm"]
    for upgrade, root, taken in (("1", "", ""), ("", "", "taken"), ("", "/image", "")):
        script = scripts["prerm-pkg"].replace("/usr/lib/bgpmesh/forget", "echo taken")
        env = {"PKG_UPGRADE": upgrade, "IPKG_INSTROOT": root, "PATH": os.environ["PATH"]}
        done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip()) == (0, taken)


def test_what_each_depends_on(packages):
    common = ["libc", "tinc", "bgpmesh-bird"]
    assert packages["bgpmesh"].depends == [*common, "micropython-mbedtls"]
    assert packages["bgpmesh-python3"].depends[:3] == common
    assert set(packages["bgpmesh-python3"].depends[3:]) == {
        "python3-light", "python3-asyncio", "python3-logging", "python3-openssl", "python3-ubus", "python3-etcd",
    }
    assert packages["bgpmesh"].control["Conflicts"] == "bgpmesh-python3"
    for number in ("2", "3"):
        bird = packages["bgpmesh-bird" + number]
        assert bird.depends == ["libc", "bird" + number] and bird.control["Provides"] == "bgpmesh-bird"
    for package in packages.values():
        assert package.control["Architecture"] == "all"


def test_each_has_the_launcher_of_its_runtime(packages):
    assert b"exec micropython " in packages["bgpmesh"].read("usr/sbin/bgpmesh")
    assert b"exec python3 " in packages["bgpmesh-python3"].read("usr/sbin/bgpmesh")


def test_python_etcd_is_byte_code_with_its_sources_apart(packages):
    library = {path for path in packages["python3-etcd"].files if "/etcd/" in path}
    assert {path.rpartition("/")[2] for path in library} == {"__init__.pyc", "auth.pyc", "client.pyc", "lock.pyc"}
    sources = {path for path in packages["python3-etcd-src"].files if path.endswith(".py")}
    assert {path + "c" for path in sources} == library


def test_the_recipe_has_the_version_of_the_agent():
    recipe = (PROJECT / "package" / "bgpmesh" / "Makefile").read_text()
    assert f"PKG_VERSION:={VERSION}\n" in recipe
