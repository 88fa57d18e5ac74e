"""What a recipe asks for becomes a file tree."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from harness import recipe as r
from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.formats.tree import Entry
from harness.image.contents import entries, merge, tree
from harness.image.ingredients import Artifact, BuildContext
from harness.image.origins import describe
from harness.kernel.bzimage import inspect
from harness.kernel.catalogue import Kernel
from harness.recipe import load_recipe
from harness.sources.downloads import Downloads
from testcases.support.profiles import fewer
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from testcases.conftest import Files, Larder

BUSYBOX: Files = {
    "bin/busybox": b"a program",
    "bin/sh": "busybox",
    "usr/share/doc/busybox/copyright": b"words",
    "usr/share/doc-base/busybox": b"more words",
}
SCRIPTS: Files = {"usr/bin/script": b"#!/bin/sh\n", "usr/bin/unused": b"#!/bin/sh\n"}


class Given(msgspec.Struct):
    """The relay's recipe in a directory of ours, with a test's contents; kernels and packages are ours."""

    place: Path
    context: BuildContext
    contents: tuple[r.Content, ...] = ()
    kernels: dict[str, Kernel] = msgspec.field(default_factory=dict)
    images: dict[str, Artifact] = msgspec.field(default_factory=dict)

    @property
    def recipe(self) -> r.Recipe:
        relay = load_recipe("relay")
        image = r.Initramfs(name="own", contents=self.contents)
        document = msgspec.structs.replace(relay.document, image=(image,))
        return msgspec.structs.replace(relay, path=self.place / "images/recipes/own.toml", document=document)

    def kernel(self, name: str) -> Kernel:
        return self.kernels[name]

    def image(self, name: str, recipe: str = "") -> Artifact:
        return self.images[f"{recipe}/{name}" if recipe else name]

    def file(self, path: str, data: bytes = b"") -> Path:
        place = self.recipe.base / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return place


class Notes(Quiet):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def given(tmp_path: Path, larder: Larder, notes: Notes) -> Given:
    return given_in(tmp_path, larder, notes)


def given_in(tmp_path: Path, larder: Larder, notes: Notes) -> Given:
    """A context with two packages, a kernel and two images."""
    larder.add("busybox scripts", {"busybox": BUSYBOX, "scripts": SCRIPTS})
    downloads = Downloads(larder.store, Quiet())
    given = Given(tmp_path, BuildContext(larder.store, larder.debian(), downloads, notes))
    given.file("files/init", b"#!/bin/sh\n").chmod(0o600)
    (tmp_path / "vmlinuz").write_bytes(kernel())
    given.kernels["seed"] = Kernel(name="own", image=inspect(tmp_path / "vmlinuz"))
    given.images["first"] = artifact("first", given.file("first.cpio", b"an archive"))
    given.images["relay/first"] = artifact("first", given.file("other.cpio", b"another archive"))
    return given


def artifact(name: str, path: Path) -> Artifact:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Artifact(name, "initramfs", path, path.stat().st_size, sha256, path)


def tree_of(content: r.Content, given: Given) -> dict[str, Entry]:
    return {entry.path: entry for entry in tree(added(given, content), given)}


def added(given: Given, *contents: r.Content) -> Sequence[r.Content]:
    given.contents = contents
    return given.contents


def failure(given: Given, *contents: r.Content) -> str:
    with pytest.raises(ConfigError) as caught:
        tree(added(given, *contents), given)
    return caught.value.message.removeprefix(f"{given.recipe.path}: ")


def packages(*, keep: tuple[str, ...] = (), drop: tuple[str, ...] = ()) -> r.Packages:
    return r.Packages(names=("busybox", "scripts"), keep=keep, drop=drop)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            r.Text(path="etc/motd", text="grüße\n", mode=0o600),
            Entry("etc/motd", stat.S_IFREG | 0o600, content="grüße\n".encode(), source="the recipe"),
        ),
        (r.Directory(path="tmp", mode=0o1777), Entry("tmp", stat.S_IFDIR | 0o1777, source="the recipe")),
        (
            r.Symlink(path="bin/sh", target="busybox"),
            Entry("bin/sh", stat.S_IFLNK | 0o777, target="busybox", source="the recipe"),
        ),
        (
            r.Device(path="dev/console", type="char", major=5, minor=1),
            Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1), source="the recipe"),
        ),
        (
            r.Device(path="dev/sda", type="block", major=8, minor=0, mode=0o660),
            Entry("dev/sda", stat.S_IFBLK | 0o660, device=(8, 0), source="the recipe"),
        ),
    ],
)
def test_what_stands_in_the_recipe_is_taken_as_it_stands(
    given: Given, content: r.Content, expected: Entry
) -> None:
    assert list(entries(content, given)) == [expected]


def test_a_file_has_the_mode_of_the_recipe_and_not_of_the_checkout(given: Given) -> None:
    [entry] = entries(r.File(path="init", source="files/init", mode=0o755), given)
    source = given.recipe.base / "files/init"
    assert entry == Entry("init", stat.S_IFREG | 0o755, content=source, source="files/init")


def test_a_kernel_and_an_earlier_image_go_in_as_files(given: Given) -> None:
    [entry] = entries(r.KernelFile(path="boot/kernel", kernel="seed"), given)
    assert (entry.path, entry.content) == ("boot/kernel", given.kernels["seed"].image.path)
    assert entry.source == "Linux 6.1.0-50-686"
    [entry] = entries(r.ImageFile(path="first.cpio", image="first"), given)
    assert (entry.content, entry.source) == (given.images["first"].path, "image first")
    [entry] = entries(r.ImageFile(path="other.cpio", image="first", recipe="relay"), given)
    assert (entry.content, entry.source) == (given.images["relay/first"].path, "image first of relay")


def test_packages_come_as_they_are_packed(given: Given) -> None:
    tree = tree_of(packages(), given)
    assert {path for path, entry in tree.items() if not entry.is_directory} == {*BUSYBOX, *SCRIPTS}
    assert {(entry.uid, entry.gid) for entry in tree.values()} == {(0, 0)}
    assert tree["bin/sh"].target == "busybox"
    assert tree["bin/busybox"].mode == stat.S_IFREG | 0o755
    assert tree["bin/busybox"].source == "busybox 1"
    assert tree["usr/share/doc"].is_directory


def test_keep_takes_the_program_and_what_it_needs(given: Given) -> None:
    assert list(tree_of(packages(keep=("usr/bin/script",)), given)) == [
        "bin/busybox",
        "bin/sh",
        "usr/bin/script",
    ]


def test_keep_of_what_no_package_has_is_an_error(given: Given) -> None:
    with pytest.raises(ConfigError, match="bin/nothing is not in the tree"):
        tree_of(packages(keep=("bin/nothing",)), given)


@pytest.mark.parametrize("drop", ["usr/share/doc", "/usr/share/doc", "usr/share/doc/"])
def test_drop_leaves_out_a_directory_and_no_neighbour(given: Given, drop: str) -> None:
    tree = tree_of(packages(drop=(drop,)), given)
    assert not any(path == "usr/share/doc" or path.startswith("usr/share/doc/") for path in tree)
    assert "usr/share/doc-base/busybox" in tree
    assert "usr/share" in tree


def test_drop_of_a_single_file_leaves_out_that_file(given: Given) -> None:
    assert set(tree_of(packages(), given)) - set(tree_of(packages(drop=("bin/sh",)), given)) == {"bin/sh"}


def test_modules_of_a_kernel_that_has_none_are_the_users_affair(given: Given) -> None:
    with pytest.raises(ConfigError, match=r"the kernel own comes without modules, .* needs ext4, ahci"):
        tree_of(r.Modules(path="modules", kernel="seed", names=("ext4", "ahci")), given)


def test_two_contents_at_one_path_are_both_named() -> None:
    added = [
        Entry("etc/motd", stat.S_IFREG | 0o644, source="base-files 12"),
        Entry("etc/motd", stat.S_IFREG | 0o644, source="files/motd"),
    ]
    with pytest.raises(
        ConfigError, match="two contents add etc/motd: base-files 12 and files/motd"
    ) as caught:
        merge(added)
    assert caught.value.hint


@pytest.mark.parametrize("kinds", [(stat.S_IFDIR, stat.S_IFLNK), (stat.S_IFREG, stat.S_IFDIR)])
def test_a_directory_and_something_else_at_one_path_do_not_merge(kinds: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="two contents add lib: one and two"):
        merge([Entry("lib", kinds[0], source="one"), Entry("lib", kinds[1], source="two")])


def test_directories_merge_and_the_last_mode_holds() -> None:
    first, second = (Entry("tmp", stat.S_IFDIR | mode) for mode in (0o755, 0o1777))
    assert merge([first, Entry("a", stat.S_IFREG), second]) == [Entry("a", stat.S_IFREG), second]


def test_the_tree_is_sorted_by_the_bytes_of_its_paths() -> None:
    paths = ["b", "a/z", "a-b", "\U00010000", "é", "z", "\udcff"]
    merged = merge(Entry(path, stat.S_IFREG) for path in paths)
    assert [os.fsencode(entry.path) for entry in merged] == sorted(map(os.fsencode, paths))


def test_the_description_changes_with_the_content_and_not_with_its_place(
    given: Given, tmp_path: Path
) -> None:
    content = r.File(path="init", source="files/init")
    before = describe(content, given)
    source = given.recipe.base / "files/init"
    os.utime(source, (0, 0))
    assert describe(content, given) == before
    source.write_bytes(b"#!/bin/bash\n")
    assert describe(content, given) != before

    def of_kernel(name: str, data: bytes) -> dict[str, object]:
        (tmp_path / name).write_bytes(data)
        kernels = {"seed": Kernel(name=name, image=inspect(tmp_path / name))}
        changed = Given(tmp_path, given.context, kernels=kernels)
        return describe(r.KernelFile(path="kernel", kernel="seed"), changed)

    assert of_kernel("one", kernel()) == of_kernel("other", kernel())
    assert of_kernel("one", kernel()) != of_kernel("one", kernel(banner=b"5.10.0-33-686 another"))


def test_the_description_changes_with_the_packages(given: Given, larder: Larder) -> None:
    before = describe(packages(), given)
    larder._resolutions.clear()
    larder.add("busybox scripts", {"busybox": BUSYBOX, "scripts": {**SCRIPTS, "usr/bin/unused": b"new"}})
    given.context = msgspec.structs.replace(given.context, debian=larder.debian())
    assert describe(packages(), given) != before


def test_a_hard_link_of_the_recipe_has_the_files_content_and_mode(given: Given) -> None:
    contents = added(given, packages(keep=("bin/busybox",)), r.HardLink(path="sh", target="bin/busybox"))
    found = {entry.path: entry for entry in tree(contents, given)}
    assert (found["sh"].link, found["sh"].mode) == ("bin/busybox", stat.S_IFREG | 0o755)
    assert found["sh"].content == found["bin/busybox"].content


def test_a_download_beside_the_recipe_goes_in_with_its_mode(given: Given) -> None:
    sha256 = hashlib.sha256(b"data").hexdigest()
    given.file("files/d", b"data")
    [entry] = tree_of(r.Download(path="x/d", url="files/d", sha256=sha256, mode=0o755), given).values()
    assert (entry.path, entry.mode, entry.source) == ("x/d", stat.S_IFREG | 0o755, "files/d")
    assert not isinstance(entry.content, bytes)
    assert entry.content.read_bytes() == b"data"


def test_a_download_that_is_another_file_names_recipe_key_and_hashes(given: Given) -> None:
    given.file("files/d", b"data")
    text = r.Text(path="t", text="")
    message = failure(given, text, r.Download(path="d", url="files/d", sha256="0" * 64))
    assert message.startswith(f"key image[0].contents[1].sha256: {given.recipe.base}/files/d has the sha256 ")
    assert hashlib.sha256(b"data").hexdigest() in message
    assert "0" * 64 in message
    assert failure(given, r.Tarball(url="none", sha256="0" * 64)).startswith(
        "key image[0].contents[0].url: cannot"
    )


def test_a_directory_adds_all_its_files(given: Given) -> None:
    for name in ("b/two.c", "a.c", "notes.md", "b/x/three.c"):
        given.file(f"files/src/{name}", name.encode())
    content = r.Files(path="src", source="files/src", mode=0o600, drop=("*.md", "b/x"))
    tree = tree_of(content, given)
    found = {
        path: (entry.mode & 0o777, entry.content) for path, entry in tree.items() if not entry.is_directory
    }
    top = given.recipe.base / "files/src"
    assert found == {"src/a.c": (0o600, top / "a.c"), "src/b/two.c": (0o600, top / "b/two.c")}
    assert "has no files to add" in failure(given, r.Files(path="src", source="files/src", drop=("*",)))


def test_a_listing_spells_out_a_file(given: Given) -> None:
    given.file("files/seed.hex", b"# a comment\n7f 45 4c46  # ELF\n\n00ff\n")
    entry = tree_of(r.Hex(path="init", source="files/seed.hex", mode=0o755), given)["init"]
    assert (entry.mode & 0o777, entry.content) == (0o755, bytes.fromhex("7f454c4600ff"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"7f 4\n", "seed.hex:1: '7f 4' is not pairs of hexadecimal digits"),
        (b"00\n7 f\n", "seed.hex:2: '7 f' is not pairs"),
        (b"00\nzz # no digits\n", "seed.hex:2: 'zz' is not pairs"),
        (b"# only words\n", "spells out no byte"),
        ("00 # käse\n".encode(), "is no hexadecimal listing: it is not ASCII text"),
    ],
)
def test_a_listing_that_is_none_is_named(given: Given, text: bytes, problem: str) -> None:
    given.file("files/seed.hex", text)
    assert problem in failure(given, r.Hex(path="init", source="files/seed.hex"))


def tarball(given: Given, *members: tarfile.TarInfo, **options: int | str | tuple[str, ...]) -> r.Tarball:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    given.file("files/t.tar.gz", data.getvalue())
    sha256 = hashlib.sha256(data.getvalue()).hexdigest()
    return msgspec.convert(
        {"url": "files/t.tar.gz", "sha256": sha256, "add": "tarball", **options}, r.Tarball
    )


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def test_a_tarball_keeps_owners_modes_links_and_devices(given: Given) -> None:
    content = tarball(
        given,
        member("top", tarfile.DIRTYPE, mode=0o755),
        member("top/su", mode=0o4755, size=3, uid=1, gid=42),
        member("top/sg", tarfile.LNKTYPE, linkname="top/su"),
        member("top/l", tarfile.SYMTYPE, linkname="../su"),
        member("top/tty", tarfile.CHRTYPE, mode=0o620, devmajor=5, devminor=1),
        path="usr",
        strip=1,
    )
    found = tree_of(content, given)
    su = found["usr/su"]
    assert (su.mode, su.uid, su.gid, su.source) == (stat.S_IFREG | 0o4755, 1, 42, "files/t.tar.gz")
    assert found["usr/sg"] == msgspec.structs.replace(su, path="usr/sg", link="usr/su")
    assert found["usr/l"].target == "../su"
    assert (found["usr/tty"].mode, found["usr/tty"].device) == (stat.S_IFCHR | 0o620, (5, 1))
    assert len(found) == 4


def test_a_link_whose_file_is_left_out_becomes_the_file(given: Given) -> None:
    parts = (
        member("a", size=3),
        member("d/b", tarfile.LNKTYPE, linkname="a"),
        member("d/c", tarfile.LNKTYPE, linkname="a"),
    )
    for options in ({"drop": ("a",), "path": "d"}, {"strip": 1, "path": "d/d"}):
        found = tree_of(tarball(given, *parts, **options), given)
        assert {path: entry.link for path, entry in found.items()} == {"d/d/b": "", "d/d/c": "d/d/b"}


@pytest.mark.parametrize(
    ("member", "options", "problem"),
    [
        (member("../x"), {}, "url: files/t.tar.gz cannot be unpacked: '../x' would leave the archive's root"),
        (
            member("a/b"),
            {"strip": 2},
            "strip: with 2 directories taken off, nothing is left of files/t.tar.gz",
        ),
        (member("c/x"), {"strip": 1}, "strip: with 1 directories taken off, files/t.tar.gz has x twice"),
        (member("p", tarfile.FIFOTYPE), {}, "strip: files/t.tar.gz has the FIFO p, and images hold none"),
    ],
)
def test_a_tarball_that_does_not_fit_is_named(
    given: Given, member: tarfile.TarInfo, options: dict[str, int], problem: str
) -> None:
    others = [] if options.get("strip") == 2 else [tarfile.TarInfo("b/x")]
    message = failure(given, tarball(given, member, *others, **options))
    assert message == f"key image[0].contents[0].{problem}"


def test_what_is_no_tarball_is_named(given: Given) -> None:
    given.file("files/t", b"no archive")
    content = r.Tarball(url="files/t", sha256=hashlib.sha256(b"no archive").hexdigest())
    assert failure(given, content).startswith(
        "key image[0].contents[0].url: files/t is no tar archive, or a damaged"
    )


def test_contents_in_each_others_way_name_recipe_and_image(given: Given) -> None:
    files = packages(keep=("bin/busybox",)), r.Text(path="bin/busybox", text="")
    assert (
        failure(given, *files)
        == "key image[0].contents: two contents add bin/busybox: busybox 1 and the recipe"
    )
    link = packages(keep=("bin/busybox",)), r.Symlink(path="bin", target="usr/bin")
    assert "bin/busybox (busybox 1) would be below bin, a symbolic link" in failure(given, *link)


def test_a_source_that_vanished_is_named(given: Given) -> None:
    [content] = added(given, r.File(path="init", source="files/init"))
    (given.recipe.base / "files/init").unlink()
    with pytest.raises(
        ConfigError, match=r"key image\[0\]\.contents\[0\]\.source: cannot read .*: No such file"
    ):
        describe(content, given)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (r.Packages(names=("unknown",)), "contents[0].names: the lock file does not say what unknown"),
        (packages(keep=("bin/nothing",)), "contents[0].keep: "),
        (
            r.Modules(path="m", kernel="seed", names=("ext4",)),
            "contents[0].names: the kernel own comes without",
        ),
    ],
)
def test_what_packages_and_kernels_lack_is_named(given: Given, content: r.Content, problem: str) -> None:
    assert failure(given, content).startswith(f"key image[0].{problem}")


parts = st.sampled_from(["a", "b", "cc"])
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


@drawn(st.sets(paths, min_size=1), st.integers(0, 3), st.lists(paths, max_size=3))
@fewer(2)
def test_strip_and_drop_take_off_and_leave_out(
    given: Given, names: set[str], strip: int, drop: list[str]
) -> None:
    files = {name for name in names if not any(other.startswith(f"{name}/") for other in names)}
    content = tarball(given, *map(member, sorted(files)), strip=strip, drop=tuple(drop))
    stripped = ["/".join(name.split("/")[strip:]) for name in files]
    wanted = [p for p in stripped if p and not any(f"{p}/".startswith(f"{out}/") for out in drop)]
    clash = len(set(wanted)) < len(wanted)
    below = any(one.startswith(f"{other}/") for one in wanted for other in wanted)
    if not wanted or clash or below:
        failure(given, content)
    else:
        assert sorted(tree_of(content, given)) == sorted(wanted)
