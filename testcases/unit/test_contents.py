"""What a recipe asks for becomes a file tree."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness import recipe as r
from harness.errors import ConfigError
from harness.image.artifact import artifact_of
from harness.image.contents import Ingredients, describe, entries, merge
from harness.image.tree import Entry
from harness.kernel.bzimage import inspect
from harness.kernel.catalogue import Kernel
from harness.recipe import load_recipe
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    from pathlib import Path

    from testcases.unit.conftest import Files, Larder

BUSYBOX: Files = {
    "bin/busybox": b"a program",
    "bin/sh": "busybox",
    "usr/share/doc/busybox/copyright": b"words",
    "usr/share/doc-base/busybox": b"more words",
}
SCRIPTS: Files = {"usr/bin/script": b"#!/bin/sh\n", "usr/bin/unused": b"#!/bin/sh\n"}


@pytest.fixture
def given(tmp_path: Path, larder: Larder) -> Ingredients:
    """The relay's recipe in a directory of ours, its kernels and packages made here."""
    recipe = msgspec.structs.replace(load_recipe("relay"), path=tmp_path / "images/recipes/own.toml")
    source = recipe.base / "files/init"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"#!/bin/sh\n")
    source.chmod(0o600)
    (tmp_path / "vmlinuz").write_bytes(kernel())
    (tmp_path / "first.cpio").write_bytes(b"an archive")
    larder.add("busybox scripts", {"busybox": BUSYBOX, "scripts": SCRIPTS})
    return Ingredients(
        recipe=recipe,
        kernels={"seed": Kernel(name="own", image=inspect(tmp_path / "vmlinuz"))},
        debian=larder.debian(),
        images={"first": artifact_of("first", "initramfs", tmp_path / "first.cpio")},
    )


def tree_of(content: r.Content, given: Ingredients) -> dict[str, Entry]:
    return {entry.path: entry for entry in merge(entries(content, given))}


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
    given: Ingredients, content: r.Content, expected: Entry
) -> None:
    assert list(entries(content, given)) == [expected]


def test_a_file_has_the_mode_of_the_recipe_and_not_of_the_checkout(given: Ingredients) -> None:
    [entry] = entries(r.File(path="init", source="files/init", mode=0o755), given)
    source = given.recipe.base / "files/init"
    assert entry == Entry("init", stat.S_IFREG | 0o755, content=source, source="files/init")


def test_a_kernel_and_an_earlier_image_go_in_as_files(given: Ingredients) -> None:
    [entry] = entries(r.KernelFile(path="boot/kernel", kernel="seed"), given)
    assert (entry.path, entry.content) == ("boot/kernel", given.kernels["seed"].image.path)
    assert entry.source == "Linux 6.1.0-50-686"
    [entry] = entries(r.ImageFile(path="first.cpio", image="first"), given)
    assert (entry.content, entry.source) == (given.images["first"].path, "image first")


def test_packages_come_with_all_files_owned_by_root(given: Ingredients) -> None:
    tree = tree_of(packages(), given)
    assert {path for path, entry in tree.items() if not entry.is_directory} == {*BUSYBOX, *SCRIPTS}
    assert {(entry.uid, entry.gid) for entry in tree.values()} == {(0, 0)}
    assert tree["bin/sh"].target == "busybox"
    assert tree["bin/busybox"].mode == stat.S_IFREG | 0o755
    assert tree["bin/busybox"].source == "busybox 1"
    assert tree["usr/share/doc"].is_directory


def test_keep_takes_the_program_and_what_it_needs(given: Ingredients) -> None:
    assert list(tree_of(packages(keep=("usr/bin/script",)), given)) == [
        "bin/busybox",
        "bin/sh",
        "usr/bin/script",
    ]


def test_keep_of_what_no_package_has_is_an_error(given: Ingredients) -> None:
    with pytest.raises(ConfigError, match="bin/nothing is not in the tree"):
        tree_of(packages(keep=("bin/nothing",)), given)


@pytest.mark.parametrize("drop", ["usr/share/doc", "/usr/share/doc", "usr/share/doc/"])
def test_drop_leaves_out_a_directory_and_no_neighbour(given: Ingredients, drop: str) -> None:
    tree = tree_of(packages(drop=(drop,)), given)
    assert not any(path == "usr/share/doc" or path.startswith("usr/share/doc/") for path in tree)
    assert "usr/share/doc-base/busybox" in tree
    assert "usr/share" in tree


def test_drop_of_a_single_file_leaves_out_that_file(given: Ingredients) -> None:
    assert set(tree_of(packages(), given)) - set(tree_of(packages(drop=("bin/sh",)), given)) == {"bin/sh"}


def test_modules_of_a_kernel_that_has_none_are_the_users_affair(given: Ingredients) -> None:
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
    paths = ["b", "a/z", "a", "a-b", "\U00010000", "é", "z", "\udcff"]
    merged = merge(Entry(path, stat.S_IFREG) for path in paths)
    assert [os.fsencode(entry.path) for entry in merged] == sorted(map(os.fsencode, paths))


@pytest.mark.parametrize(
    "content",
    [
        r.Text(path="a", text="b"),
        r.File(path="init", source="files/init"),
        r.Packages(names=("busybox", "scripts")),
        r.KernelFile(path="kernel", kernel="seed"),
        r.ImageFile(path="first", image="first"),
    ],
)
def test_a_description_is_the_same_twice_and_fit_for_json(given: Ingredients, content: r.Content) -> None:
    described = describe(content, given)
    assert described == describe(content, given)
    assert msgspec.json.encode(described)


def test_the_description_changes_with_the_content_and_not_with_its_place(
    given: Ingredients, tmp_path: Path
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
        changed = Ingredients(given.recipe, kernels, given.debian, given.images)
        return describe(r.KernelFile(path="kernel", kernel="seed"), changed)

    assert of_kernel("one", kernel()) == of_kernel("other", kernel())
    assert of_kernel("one", kernel()) != of_kernel("one", kernel(banner=b"5.10.0-33-686 another"))


def test_the_description_changes_with_the_packages(given: Ingredients, larder: Larder) -> None:
    before = describe(packages(), given)
    larder._resolutions.clear()
    larder.add("busybox scripts", {"busybox": BUSYBOX, "scripts": {**SCRIPTS, "usr/bin/unused": b"new"}})
    after = describe(packages(), Ingredients(given.recipe, given.kernels, larder.debian(), given.images))
    assert before != after
