"""Roots of diskimage-builder: what is kept of them, what determines them, and who may make them. No root."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tarfile
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import paths
from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.image import contents, dib
from harness.image.dib import elements as dib_elements
from harness.image.dib import host as dib_host
from harness.image.dib import root as dib_root
from harness.image.ingredients import Artifact
from harness.recipe import Dib, Unpacked, load_recipe
from harness.store import Store

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[2]
ELEMENTS = ROOT / "images/elements"
RECIPE = """
summary = "a root"

[debian]
suite = "bookworm"
architecture = "i386"

[[image]]
name = "root"
kind = "dib"
elements = ["own"]
"""


class Item(msgspec.Struct, frozen=True):
    """A member of an archive: content for a file, `to` for links, numbers for a device."""

    name: str
    content: bytes | None = None
    to: str = ""
    hard: bool = False
    device: tuple[int, int] | None = None
    mode: int = 0o644
    uid: int = 0


def archive(path: Path, items: Iterable[Item], *, salt: int = 0) -> Path:
    """An archive as GNU tar makes it of a root, with times and names of owners that depend on the salt."""
    with tarfile.open(path, "w", errors="surrogateescape") as tar:
        for item in [Item("."), *items]:
            info = tarfile.TarInfo(f"./{item.name}" if item.name != "." else ".")
            info.mode, info.uid, info.mtime, info.uname = item.mode, item.uid, 10**9 + salt, f"user{salt}"
            info.pax_headers = {"atime": f"{salt}.5"}
            if item.content is not None:
                info.size = len(item.content)
                tar.addfile(info, io.BytesIO(item.content))
                continue
            if item.device:
                info.type, (info.devmajor, info.devminor) = tarfile.CHRTYPE, item.device
            elif item.to:
                info.type = tarfile.LNKTYPE if item.hard else tarfile.SYMTYPE
                info.linkname = f"./{item.to}" if item.hard else item.to
            else:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
    return path


def kept(path: Path, items: Iterable[Item], **options: Any) -> dict[str, tarfile.TarInfo]:
    """Members of the normalised archive by name."""
    dib_root.normalise(archive(path / "raw.tar", items), path / "root.tar", **options)
    with tarfile.open(path / "root.tar", errors="surrogateescape") as tar:
        return {info.name: info for info in tar}


def content_of(tar: Path, name: str) -> bytes:
    with tarfile.open(tar, errors="surrogateescape") as opened, opened.extractfile(name) as file:  # type: ignore[union-attr]
        return file.read()


part = st.binary(min_size=1, max_size=9).filter(lambda b: b not in {b".", b".."} and not set(b) & {0, 47})
names = st.lists(part, min_size=1, max_size=3).map(lambda parts: "own/" + os.fsdecode(b"/".join(parts)))


@given(
    files=st.dictionaries(names, st.binary(max_size=700), min_size=1, max_size=6),
    links=st.lists(st.tuples(names, st.randoms(use_true_random=False)), max_size=4),
    shuffle=st.randoms(use_true_random=False),
)
def test_order_times_and_names_of_owners_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    links: list[tuple[str, random.Random]],
    shuffle: random.Random,
) -> None:
    place = tmp_path_factory.mktemp("order")
    contents = dict(files)
    named = []
    for name, choice in links:
        if name not in contents:
            target = choice.choice(sorted(files))
            contents[name] = files[target]
            named.append(Item(name, to=target, hard=True))
    results = []
    for turn in (0, 1):
        items = [Item(name, content) for name, content in files.items()]
        # Any name of a file can be the one that GNU tar sees first, and the host's devices are others.
        if turn:
            shuffle.shuffle(items)
            named.reverse()
        device = Item(f"dev/host{turn}", device=(7, turn))
        raw = archive(place / "raw.tar", [*items, device, *named], salt=turn)
        written = dib_root.normalise(raw, place / f"{turn}.tar").files
        results.append(written)
        for entry in written:
            if stat.S_ISREG(entry.mode):
                data = content_of(place / f"{turn}.tar", entry.path)
                assert data == contents[entry.path]
                assert entry.link or entry.sha256 == hashlib.sha256(data).hexdigest()
    assert results[0] == results[1]
    assert (place / "0.tar").read_bytes() == (place / "1.tar").read_bytes()
    paths = [os.fsencode(entry.path) for entry in results[0]]
    assert paths == sorted(paths)
    assert {os.fsdecode(path) for path in paths if path.startswith(b"own/")} == set(contents)


def test_whichever_name_of_a_file_comes_first_carries_its_content(tmp_path: Path) -> None:
    first = [
        Item("b", b"shared", mode=0o755, uid=7),
        Item("a", to="b", hard=True),
        Item("c", to="b", hard=True),
    ]
    other = [
        Item("c", b"shared", mode=0o755, uid=7),
        Item("b", to="c", hard=True),
        Item("a", to="c", hard=True),
    ]
    for items in (first, other):
        found = kept(tmp_path, items)
        assert [(found[name].linkname, found[name].mode, found[name].uid) for name in "abc"] == [
            ("", 0o755, 7),
            ("a", 0o755, 7),
            ("a", 0o755, 7),
        ]
        assert content_of(tmp_path / "root.tar", "c") == b"shared"


def test_a_link_takes_over_when_its_file_is_dropped(tmp_path: Path) -> None:
    found = kept(tmp_path, [Item("a", b"shared"), Item("b", to="a", hard=True)], drop=["a"])
    assert "a" not in found
    assert found["b"].isreg()
    assert content_of(tmp_path / "root.tar", "b") == b"shared"


@pytest.mark.parametrize(
    "path",
    [
        "dev/vda",
        "etc/hostname",
        "etc/machine-id",
        "etc/passwd-",
        "etc/resolv.conf",
        "etc/ssh/ssh_host_ed25519_key",
        "root/.cache/x/y",
        "run/lock/x",
        "tmp/x",
        "var/cache/apt/archives/x.deb",
        "var/cache/debconf/config.dat-old",
        "var/cache/ldconfig/aux-cache",
        "var/lib/apt/lists/x_Packages",
        "var/lib/dpkg/status-old",
        "var/lib/systemd/random-seed",
        "var/log/apt/history.log",
    ],
)
def test_traces_of_the_build_are_left_out(tmp_path: Path, path: str) -> None:
    parents = [Item(str(parent)) for parent in reversed(Path(path).parents[:-1])]
    found = kept(tmp_path, [*parents, Item(path, b"today")])
    assert path not in found


@pytest.mark.parametrize(
    "path",
    [
        "etc/passwd",
        "etc/ssh/sshd_config",
        "usr/bin/passwd-",
        "var/lib/dpkg/status",
        "usr/share/run/x",
        "home/tmp/x",
    ],
)
def test_all_else_is_kept(tmp_path: Path, path: str) -> None:
    assert kept(tmp_path, [Item(path, b"", mode=0o4755, uid=33)])[path].mode == 0o4755


def test_password_dates_are_forgotten_and_nothing_else(tmp_path: Path) -> None:
    shadow = b"root:*:20778:0:99999:7:::\nown:$y$123:45:0:99999:7::20779:\nnone:*::0:::::\n"
    kept(tmp_path, [Item("etc/shadow", shadow, mode=0o640)])
    assert content_of(tmp_path / "root.tar", "etc/shadow") == (
        b"root:*::0:99999:7:::\nown:$y$123::0:99999:7::20779:\nnone:*::0:::::\n"
    )


def test_a_root_has_the_usual_places_and_devices(tmp_path: Path) -> None:
    found = kept(tmp_path, [Item("dev"), Item("dev/null", device=(9, 9))])
    console, null = found["dev/console"], found["dev/null"]
    assert (console.type, console.devmajor, console.devminor, console.mode) == (tarfile.CHRTYPE, 5, 1, 0o600)
    assert (null.type, null.devmajor, null.devminor, null.mode) == (tarfile.CHRTYPE, 1, 3, 0o666)
    assert found["tmp"].mode == 0o1777
    assert found["proc"].isdir()


STATUS = b"""\
Package: tool
Status: install ok installed
Architecture: i386
Version: 1:2-3

Package: gone
Status: deinstall ok config-files
Architecture: i386
Version: 1
"""


def test_files_are_traced_to_their_packages(tmp_path: Path) -> None:
    items = [
        Item("usr/bin/tool", b"x"),
        Item("usr/bin/made", b"x"),
        Item("var/lib/dpkg/status", STATUS),
        Item("var/lib/dpkg/info/tool:i386.list", b"/.\n/bin\n/bin/tool\n"),
    ]
    root = dib_root.normalise(archive(tmp_path / "raw.tar", items), tmp_path / "root.tar")
    source = {entry.path: entry.source for entry in root.files}
    assert source["usr/bin/tool"] == source["var/lib/dpkg/info/tool:i386.list"] == "tool 1:2-3"
    assert source["usr/bin/made"] == dib_root.MADE_HERE
    assert root.installed == (dib_root.Installed("tool", "1:2-3", "i386"),)


@pytest.mark.parametrize("size", [0, 700])
def test_a_damaged_archive_is_the_hosts_failure(tmp_path: Path, size: int) -> None:
    raw = archive(tmp_path / "raw.tar", [Item("a", b"x" * 5000)])
    raw.write_bytes(raw.read_bytes()[:size])
    with pytest.raises(InfraError, match="diskimage-builder made an archive that cannot be read"):
        dib_root.normalise(raw, tmp_path / "root.tar")


def unpacked(place: Path, items: Sequence[Item], **keys: Any) -> dict[str, Any]:
    """Entries of a root that is unpacked into another image, by path."""
    dib_root.normalise(archive(place / "raw.tar", items), place / "root.tar")
    digest = hashlib.sha256((place / "root.tar").read_bytes()).hexdigest()
    artifact = Artifact("root", "dib", place / "root.tar", 1, digest, place / "manifest.json")
    found = list(contents.root_entries(artifact, Unpacked(image="root", **keys), Store(place / "cache")))
    assert len({entry.path for entry in found}) == len(found)
    return {entry.path: entry for entry in found}


def test_a_root_is_unpacked_with_owners_links_and_devices(tmp_path: Path) -> None:
    items = [
        Item("a", b"one", mode=0o4755, uid=5),
        Item("b", b"two"),
        Item("c", to="a", hard=True),
        Item("d", b"after a link"),
        Item("l", to="../a"),
        Item("n", device=(4, 64), mode=0o600),
        Item("own"),
    ]
    found = unpacked(tmp_path, items, path="below")
    assert (found["below/a"].mode, found["below/a"].uid) == (stat.S_IFREG | 0o4755, 5)
    assert found["below/a"].content.read_bytes() == b"one"
    assert found["below/b"].content.read_bytes() == b"two"
    assert found["below/c"].link == "below/a"
    assert found["below/d"].content.read_bytes() == b"after a link"
    assert (found["below/l"].is_symlink, found["below/l"].target) == (True, "../a")
    assert (found["below/n"].is_device, found["below/n"].device) == (True, (4, 64))
    assert found["below/own"].is_directory


def test_what_is_dropped_takes_no_link_with_it(tmp_path: Path) -> None:
    items = [Item("own"), Item("own/a", b"one"), Item("z", to="own/a", hard=True), Item("b", b"two")]
    found = unpacked(tmp_path, items, drop=["own"])
    assert {"own", "own/a"}.isdisjoint(found)
    assert (found["z"].link, found["z"].content.read_bytes()) == ("", b"one")
    assert found["b"].content.read_bytes() == b"two"


class Project(msgspec.Struct, frozen=True):
    """A recipe of one's own, with an element, and what its image is made from."""

    place: Path

    @property
    def given(self) -> Any:
        recipe = load_recipe(str(self.place / "recipes/own.toml"))
        debian = SimpleNamespace(mirror="http://mirror.invalid/debian")
        context = SimpleNamespace(debian=debian, store=Store(self.place / "cache"), progress=Quiet())
        return SimpleNamespace(recipe=recipe, context=context)

    @property
    def image(self) -> Dib:
        image = self.given.recipe.images[0]
        assert isinstance(image, Dib)
        return image

    def describe(self) -> dict[str, object]:
        return dib.describe(self.image, self.given)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_in(tmp_path)


def project_in(tmp_path: Path) -> Project:
    """A project with one recipe and one element."""
    place = tmp_path / "images"
    (place / "recipes").mkdir(parents=True)
    (place / "recipes/own.toml").write_text(RECIPE)
    (place / "elements/own/install.d").mkdir(parents=True)
    (place / "elements/own/element-deps").write_text("debian-minbase\n")
    (place / "elements/own/install.d/50-own").write_text("#!/bin/sh\n")
    return Project(place)


def test_elements_are_found_beside_the_recipe_in_the_project_and_upstream(project: Project) -> None:
    described = project.describe()
    assert set(described["elements"]) == {"own", "debian-minbase", "install-bin"}  # type: ignore[call-overload]
    assert described["not_reproducible"]
    assert (described["suite"], described["architecture"]) == ("bookworm", "i386")
    assert "mirror.invalid" not in str(described), "the same packages come from anywhere"


def test_an_image_is_made_anew_when_an_element_changes(project: Project) -> None:
    script = project.place / "elements/own/install.d/50-own"
    seen = [project.describe()]
    os.utime(script, (1, 1))
    assert project.describe() == seen[0]
    for change in (
        lambda: script.write_text("#!/bin/sh\ntrue\n"),
        lambda: script.chmod(0o755),
        lambda: script.rename(script.with_name("51-own")),
    ):
        change()
        seen.append(project.describe())
    assert len({str(described) for described in seen}) == len(seen)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (None, r"own\.toml: image\[0\] \(root, kind dib\): key elements: there is no element 'own'$"),
        ("nonesuch", r"there is no element 'nonesuch', which own needs$"),
    ],
)
def test_an_element_that_is_not_there_is_named(project: Project, needs: str | None, message: str) -> None:
    if needs:
        (project.place / "elements/own/element-deps").write_text(f"{needs} # why\n")
    else:
        shutil.rmtree(project.place / "elements/own")
    with pytest.raises(ConfigError, match=message):
        project.describe()


def test_elements_may_need_each_other(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "element-deps").write_text(f"{other}\n")
    assert set(dib_elements.closure(["a"], [tmp_path], "x")) == {"a", "b"}


def test_who_is_not_root_is_told_so_before_anything_happens(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match=r"own\.toml: image\[0\] \(root, kind dib\) needs root") as caught:
        dib.write(project.image, project.given, project.place / "root.tar", work=project.place)
    assert "packages" in caught.value.hint
    assert not (project.place / "cache/logs").exists()


def test_missing_programs_are_named_with_their_packages(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = tmp_path / "data/images/elements"
    data.mkdir(parents=True)
    (data / "programs.toml").write_text('sh = "dash"\nno-such-program = "its-package"\n')
    monkeypatch.setattr(paths, "data_root", lambda: tmp_path / "data")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(
        ConfigError, match=r"needs programs that are not installed: no-such-program$"
    ) as caught:
        dib.require_host(project.given.recipe, project.image, tmp_path)
    assert caught.value.hint.endswith(" its-package")


def test_a_store_below_a_directory_with_a_space_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dib_host, "require", lambda _: None)
    message = r"own\.toml: image\[0\] \(root, kind dib\) cannot be built below \S+/my cache, which has"
    with pytest.raises(ConfigError, match=message) as caught:
        dib.require_host(project.given.recipe, project.image, tmp_path / "my cache")
    assert "--cache DIR" in caught.value.hint


def test_ci_installs_what_diskimage_builder_needs() -> None:
    wanted = set(tomllib.loads((ELEMENTS / "programs.toml").read_text()).values())
    listed = {
        line.split("#")[0].strip()
        for name in ("debian-packages.txt", "debian-packages-dib.txt")
        for line in (ROOT / "ci" / name).read_text().splitlines()
    }
    assert wanted <= listed | {"util-linux"}
