"""The packages that `make ipk` makes, unpacked and held against their recipes."""

import io
import os
import re
import shutil
import subprocess
import tarfile

import pytest
from conftest import PROJECT, make
from lab.packages import NAMES, unpack

from bgpmesh import VERSION

APP = PROJECT / "package" / "luci-app-bgpmesh"
AGENT = ("bgpmesh", "bgpmesh-python3")
RUNTIMES = {name: runtime for runtime, name in NAMES.items()}
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
    ours |= {f"{name}_{VERSION}-r1_all.ipk" for name in ("luci-app-bgpmesh", "luci-i18n-bgpmesh-es")}
    assert {path.name for path in folder.iterdir()} == ours | {
        "python3-etcd_0.4.5-r1_all.ipk",
        "python3-etcd-src_0.4.5-r1_all.ipk",
    }


def test_the_same_tree_gives_the_same_bytes(folder, tmp_path):
    make_ipk(tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_the_agent_fits_a_small_flash(folder, packages, roots):
    # What lies on flash is compressed, by the file system as by the package.
    installed = {name: sum(item.size for item in packages[name].files.values()) for name in AGENT}
    packed = {name: next(folder.glob(name + "_*.ipk")).stat().st_size for name in AGENT}
    assert installed["bgpmesh"] < 250_000 and packed["bgpmesh"] < 150_000
    assert installed["bgpmesh-python3"] < 615_000 and packed["bgpmesh-python3"] < 182_000
    micropython = (roots["base"] / "usr/bin/micropython").stat().st_size
    assert installed["bgpmesh"] + micropython < 1_000_000


@pytest.mark.parametrize("name", AGENT)
def test_the_whole_agent_is_in_it_and_nothing_else(packages, name):
    package = packages[name]
    source = PROJECT / "src"
    modules = {"usr/lib/bgpmesh/" + str(path.relative_to(source)) for path in source.rglob("*.py")}
    if name == "bgpmesh":
        sources = {f"usr/lib/bgpmesh/bgpmesh/{name}.py" for name in ("__init__", "__main__")}
        others = {path for path in modules if path.endswith(("/pyubus.py", "/python_etcd.py", "/v2.py"))}
        compiled = {path[: -len("py")] + "mpy" for path in modules - sources - others}
    else:
        sources, compiled = modules, set()
    extra = {"etc/config/bgpmesh", "lib/upgrade/bgpmesh.sh", "lib/upgrade/keep.d/" + name}
    assert {path for path, item in package.files.items() if item.isfile()} == sources | compiled | SCRIPTS | extra
    for path in sources:
        assert package.read(path) == (source / path[len("usr/lib/bgpmesh/") :]).read_bytes()
    for path in compiled:
        # Version 6; no architecture; small integers of 31 bits, which every router has.
        assert package.read(path)[:4] == b"M\6\0\x1f"


@pytest.fixture
def router(box, folder):
    """router(name, script) runs a script where the agent's package `name` is installed."""
    here = box()
    shutil.copy(PROJECT / "package" / "bgpmesh" / "test.sh", here.folder)

    def run(name, command):
        unpack(folder, RUNTIMES[name], here.folder / name)
        return here.sh(f"cp -r /mnt/{name}/. /; {command}")

    return run


@pytest.mark.parametrize("name", AGENT)
def test_installed_it_runs(router, name):
    done = router(name, f"sh /mnt/test.sh {name} {VERSION}")
    assert done.returncode == 0, done.stdout


def test_what_only_cpython_can_is_refused_with_the_package_that_can(router):
    options = "config mesh 'main'\n\toption enabled '1'\n\tlist etcd 'http://192.0.2.1:2379'\n\toption etcd_api 'v2'\n"
    done = router("bgpmesh", f'echo "{options}" > /etc/config/bgpmesh; bgpmesh check || true')
    assert "install the packages bgpmesh-python3 and python3-etcd" in done.stdout


def test_what_went_wrong_is_said_with_the_line_of_the_source(router):
    line = "import sys; sys.path.append('/usr/lib/bgpmesh'); from bgpmesh import uci; uci.parse(None)"
    done = router("bgpmesh", f'micropython -c "{line}"')
    places = re.findall(r'File "bgpmesh/uci.py", line (\d+), in', done.stdout)
    source = (PROJECT / "src/bgpmesh/uci.py").read_text().split("\n")
    assert places and all(int(place) > source.index("def parse(text):") for place in places), done.stdout


def test_a_micropython_that_takes_other_bytecode_is_named_with_a_remedy(router):
    other = r"printf '\007' | dd of=/usr/lib/bgpmesh/bgpmesh/cli.mpy bs=1 seek=1 conv=notrunc 2> /dev/null"
    done = router("bgpmesh", f"{other}; bgpmesh --version")
    assert done.returncode == 1
    assert "incompatible .mpy file" in done.stdout and "remedy: " in done.stdout and "Traceback" not in done.stdout


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
    # So what depends on bgpmesh is content with either.
    assert packages["bgpmesh-python3"].control["Provides"] == "bgpmesh"
    assert packages["luci-app-bgpmesh"].depends == ["libc", "luci-base", "bgpmesh"]
    assert packages["luci-i18n-bgpmesh-es"].depends == ["libc", "luci-app-bgpmesh"]
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


def files(package):
    return {path for path, item in package.files.items() if item.isfile()}


def test_the_app_is_where_luci_looks_for_it(packages):
    app = packages["luci-app-bgpmesh"]
    source = {"www/" + str(path.relative_to(APP / "htdocs")): path for path in (APP / "htdocs").rglob("*")}
    source |= {str(path.relative_to(APP / "root")): path for path in (APP / "root").rglob("*")}
    source = {path: source[path] for path in source if source[path].is_file()}
    assert files(app) == set(source)
    for path in ("www/luci-static/resources/view/bgpmesh/status.js", "usr/share/rpcd/acl.d/luci-app-bgpmesh.json"):
        assert path in source
    for path in source:
        assert app.read(path) == source[path].read_bytes(), path


def test_the_translation_is_a_language_of_luci_and_its_texts(packages):
    spanish = packages["luci-i18n-bgpmesh-es"]
    texts, language = "usr/lib/lua/luci/i18n/bgpmesh.es.lmo", "etc/uci-defaults/luci-i18n-bgpmesh-es"
    assert files(spanish) == {texts, language}
    # It is run at the first boot, or by default_postinst, and then deleted.
    assert spanish.read(language).decode() == "uci set luci.languages.es='Español (Spanish)'; uci commit luci\n"
    # The plain ones: what is spelled as in English, or over several lines, is test_po2lmo's.
    pairs = re.findall(r'^msgid "([^"\\]+)"\nmsgstr "([^"\\]+)"$', (APP / "po/es/bgpmesh.po").read_text(), re.M)
    translated = [text for source, text in pairs if text != source]
    assert translated and not [text for text in translated if text.encode() not in spanish.read(texts)]


@pytest.mark.parametrize("name", ["luci-app-bgpmesh", "luci-i18n-bgpmesh-es"])
def test_owner_and_modes_of_the_app(packages, name):
    assert packages[name].owners == {(0, 0)}
    for path, item in packages[name].files.items():
        assert item.mode == (0o755 if item.isdir() else 0o644), path


def test_the_app_gives_the_same_bytes_whatever_the_umask_of_the_clone_was(folder, tmp_path):
    copy = tmp_path / "package"
    shutil.copytree(PROJECT / "package", copy)
    for path in (copy / "luci-app-bgpmesh").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    python = PROJECT / ".cache" / "venv" / "bin" / "python"
    epoch = Package(next(folder.glob("luci-app*"))).control["SourceDateEpoch"]
    command = ["make", "--silent", "-C", copy / "luci-app-bgpmesh", f"TOPDIR={copy}/ipk", f"PYTHON={python}"]
    command += [f"BIN_DIR={tmp_path}/bin", f"BUILD_DIR={tmp_path}/build"]
    subprocess.run(command, env={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": epoch}, check=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "bin").iterdir()}
    assert made == {path.name: path.read_bytes() for path in folder.glob("luci-*")}


def test_luci_and_rpcd_are_told_of_the_app_on_a_router_but_not_in_an_image(packages, tmp_path):
    script = packages["luci-app-bgpmesh"].scripts["postinst-pkg"].replace("/tmp/", f"{tmp_path}/")
    script = script.replace("/etc/init.d/rpcd", "echo rpcd")
    for root, told in (("/image", ""), ("", "rpcd reload")):
        cache = tmp_path / "luci-indexcache.1.json"
        cache.write_text("{}")
        done = subprocess.run(["sh", "-c", script], env={"IPKG_INSTROOT": root}, capture_output=True, text=True)
        assert (done.returncode, done.stdout.strip(), cache.exists()) == (0, told, not told)


@pytest.mark.parametrize("name", ["bgpmesh", "luci-app-bgpmesh"])
def test_the_recipes_have_the_version_of_the_agent(name):
    recipe = (PROJECT / "package" / name / "Makefile").read_text()
    assert f"PKG_VERSION:={VERSION}\n" in recipe
