"""The image factory, from a recipe of one's own to files; nothing is downloaded."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness.core.digest import digest_of
from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.image import factory, ingredients, manifest
from harness.recipe import load_recipe
from harness.sources.downloads import Downloads
from harness.store import Store, seal
from testcases.conftest import Larder
from testcases.unit.test_bzimage import kernel
from testcases.unit.test_catalogue import stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.core.progress import Task

RECIPE = """
summary = "an archive on a disk"
plan = "any"

[debian]
suite = "bookworm"
architecture = "i386"

[kernels]
seed = "debian-6.1-i686"
SECOND

[boot]
initramfs = "inner"
disk = "outer"
command-line = ""

[[image]]
name = "inner"
kind = "initramfs"
contents = [
    { add = "file", path = "init", source = "files/init", mode = 0o755 },
    { add = "packages", names = ["tools"] },
]

[[image]]
name = "outer"
kind = "disk"
size = "4M"
contents = [{ add = "image", path = "inner.cpio", image = "inner" }]
"""


class Titles(Quiet):
    """Remembers what work was done."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def task(self, title: str) -> Iterator[Task]:
        self.titles.append(title)
        yield self


class Workshop:
    """A recipe, a kernel file and a store."""

    def __init__(self, place: Path, larder: Larder) -> None:
        self.larder = larder
        larder.add("tools", {"tools": {"bin/tool": b"a tool"}})
        for name in ("recipes", "plans", "files"):
            (place / name).mkdir(parents=True)
        self.source = place / "files/init"
        self.source.write_text("#!/bin/tool\n")
        (place / "plans/any.toml").touch()
        self.recipe = place / "recipes/own.toml"
        self.recipe.write_text(RECIPE.replace("SECOND", ""))
        self.kernel = place / "vmlinuz"
        self.kernel.write_bytes(kernel())
        self.done = Titles()

    def build(self, only: str | None = None) -> factory.Build:
        workshop = ingredients.BuildContext(
            self.larder.store, self.larder.debian(), Downloads(self.larder.store, self.done), self.done
        )
        recipe = load_recipe(str(self.recipe))
        return factory.Factory(recipe, workshop, str(self.kernel)).build(only, wants_kernels=True)


@pytest.fixture
def workshop(tmp_path: Path, larder: Larder) -> Workshop:
    return Workshop(tmp_path / "images", larder)


def test_all_images_of_a_recipe_are_built(workshop: Workshop) -> None:
    built = workshop.build()
    assert list(built.images) == ["inner", "outer"]
    for image in built.images.values():
        data = image.path.read_bytes()
        assert (image.size, image.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert image.path.stat().st_mode & 0o777 == 0o444, "artifacts are shared"
    assert (built.images["inner"].kind, built.images["outer"].kind) == ("initramfs", "disk")
    assert built.images["outer"].size == 4 << 20
    assert [package.name for package in built.lock.resolutions[0].packages] == ["tools"]


def test_an_archive_holds_what_the_recipe_says(workshop: Workshop) -> None:
    archive = workshop.build().images["inner"].path
    listing = subprocess.run(
        ["cpio", "-t", "--quiet"], input=archive.read_bytes(), capture_output=True, check=True
    )
    assert {"init", "bin/tool"} <= set(listing.stdout.decode().split())


def test_what_is_built_is_not_built_again(workshop: Workshop) -> None:
    first = workshop.build()
    assert workshop.done.titles == ["building inner", "building outer"]
    assert workshop.build().images == first.images
    assert len(workshop.done.titles) == 2


def test_a_changed_file_changes_all_that_it_is_in(workshop: Workshop) -> None:
    before = workshop.build().images
    workshop.source.write_text("#!/bin/another\n")
    after = workshop.build().images
    for name in ("inner", "outer"):
        assert before[name].sha256 != after[name].sha256
        assert before[name].path.is_file()


def test_a_changed_setting_builds_only_what_it_is_about(workshop: Workshop) -> None:
    workshop.build()
    workshop.recipe.write_text(workshop.recipe.read_text().replace('"4M"', '"5M"'))
    assert workshop.build().images["outer"].size == 5 << 20
    assert workshop.done.titles[2:] == ["building outer"]


def test_another_checkout_and_cache_give_the_same_bits(workshop: Workshop, tmp_path: Path) -> None:
    elsewhere = Larder(Store(tmp_path / "another cache"))
    other = Workshop(tmp_path / "another checkout", elsewhere).build().images
    images = workshop.build().images
    assert [image.sha256 for image in images.values()] == [image.sha256 for image in other.values()]
    assert images["inner"].path != other["inner"].path


def test_an_image_that_fails_leaves_nothing_half_built(workshop: Workshop) -> None:
    workshop.recipe.write_text(workshop.recipe.read_text().replace('"4M"', '"1M"'))
    with workshop.source.open("ab") as source:
        source.write(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match=r"outer.* too small"):
        workshop.build()
    store = workshop.larder.store.cache / "store"
    assert not list((store / "disk").iterdir())
    assert len(list((store / "initramfs").iterdir())) == 1


def test_a_cache_without_room_for_the_files_is_named_before_anything_is_written(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with workshop.source.open("ab") as source:
        source.write(b"#" * (2 << 20))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    message = r"cache.* has 1\.0 MiB left, and the files of inner.cpio alone take 2\.0 MiB"
    with pytest.raises(InfraError, match=message) as caught:
        workshop.build()
    assert "--cache" in caught.value.hint
    assert not list((workshop.larder.store.cache / "store/initramfs").iterdir())


def test_only_what_is_asked_for_is_built_and_what_it_needs(workshop: Workshop) -> None:
    assert list(workshop.build(only="initramfs").images) == ["inner"]
    assert workshop.done.titles == ["building inner"]
    assert list(workshop.build(only="disk").images) == ["outer"], "what it needs is not what was asked for"
    with pytest.raises(ConfigError, match="the recipe own has no iso image") as caught:
        workshop.build(only="iso")
    assert caught.value.hint == "it has: disk, initramfs"


@pytest.mark.parametrize("name", ["artifact", "manifest"])
def test_a_damaged_artifact_is_built_again(workshop: Workshop, name: str) -> None:
    image = workshop.build().images["inner"]
    victim = image.path if name == "artifact" else image.manifest
    before = victim.read_bytes()
    victim.chmod(0o644)
    victim.write_bytes(before[:-1])
    again = workshop.build().images["inner"]
    assert again == image
    assert victim.read_bytes() == before


def test_a_manifest_says_what_is_in_an_artifact_and_where_it_came_from(workshop: Workshop) -> None:
    built = workshop.build()
    inner = manifest.read(built.images["inner"].manifest)
    archive = built.images["inner"]
    assert (inner.image, inner.kind, inner.file) == ("inner", "initramfs", "inner.cpio")
    assert (inner.size, inner.sha256) == (archive.size, archive.sha256)
    files = {file.path: file for file in inner.files}
    source = workshop.source.read_bytes()
    assert files["init"].sha256 == hashlib.sha256(source).hexdigest()
    assert (files["init"].mode, files["init"].size) == (0o100755, len(source))
    assert files["init"].source == "files/init"
    assert files["bin/tool"].source == "tools 1"
    [package] = workshop.larder.debian().closure("bookworm", "i386", ["tools"])
    assert inner.inputs == (
        manifest.Input("file", "files/init", sha256=files["init"].sha256),
        manifest.Input("package", "tools", "1", "i386", "bookworm", package.sha256),
    )
    assert {"harness", "python", "dpkg-deb"} == set(inner.tools)
    outer = manifest.read(built.images["outer"].manifest)
    assert outer.inputs == (manifest.Input("image", "inner", origin="this recipe", sha256=archive.sha256),)
    assert set(outer.tools) == {"harness", "python"}
    assert all(any(letter.isdigit() for letter in version) for version in outer.tools.values())
    assert manifest.read_origins(archive.manifest).inputs == inner.inputs


COMPOSED = """
summary = "a checkout and a download behind another archive"
[[image]]
name = "first"
kind = "initramfs"
contents = [{ add = "checkout", source = "tree" }]
[[image]]
name = "second"
kind = "initramfs"
behind = ["first"]
contents = [{ add = "download", path = "archive.tar", url = "files/archive.tar", sha256 = "HASH" }]
"""


def test_checkouts_downloads_and_other_images_are_named_as_inputs(workshop: Workshop) -> None:
    base = workshop.recipe.parent.parent
    (base / "tree").mkdir()
    (base / "tree/seed").write_text("hex0\n")
    git = ["git", "-C", str(base / "tree"), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    (base / "files/archive.tar").write_bytes(b"an archive")
    sha256 = hashlib.sha256(b"an archive").hexdigest()
    workshop.recipe.write_text(COMPOSED.replace("HASH", sha256))
    first, second = (manifest.read(image.manifest).inputs for image in workshop.build().images.values())
    assert [(given.kind, given.name, given.version) for given in first] == [("checkout", "tree", commit)]
    assert [given.modified for given in first] == [False]
    assert [(given.kind, given.name, given.origin, given.sha256) for given in second] == [
        ("download", "archive.tar", "files/archive.tar", sha256),
        ("image", "first", "this recipe", workshop.build().images["first"].sha256),
    ]
    (base / "tree/seed").write_text("another\n")
    [given] = manifest.read(workshop.build().images["first"].manifest).inputs
    assert (given.version, given.modified) == (commit, True)


def test_a_manifest_tells_nothing_of_the_place(workshop: Workshop, tmp_path: Path) -> None:
    elsewhere = Larder(Store(tmp_path / "another cache"))
    other = Workshop(tmp_path / "another checkout", elsewhere).build().images
    for name, image in workshop.build().images.items():
        assert image.manifest.read_bytes() == other[name].manifest.read_bytes()
        assert str(tmp_path).encode() not in image.manifest.read_bytes()


def test_the_second_kernel_is_chosen_and_comes_along(workshop: Workshop) -> None:
    stock(workshop.larder, kernel())
    workshop.kernel.write_bytes(kernel(banner=b"4.9.10 own"))
    second = 'second = ["debian-6.1-i686"]'
    workshop.recipe.write_text(RECIPE.replace("SECOND", second))
    built = workshop.build()
    assert {role: kernel.image.version for role, kernel in built.kernels.items()} == {
        "seed": "4.9.10",
        "second": "6.1.0-50-686",
    }


HUGE = """
summary = "a large disk with little in it"
[[image]]
kind = "disk"
name = "huge"
size = "16G"
contents = [{ add = "text", path = "hello", text = "hello" }]
"""


def test_a_large_disk_is_known_by_its_extents(workshop: Workshop) -> None:
    workshop.recipe.write_text(HUGE)
    image = workshop.build().images["huge"]
    assert (image.size, image.sha256) == (16 << 30, "")
    assert image.digest == digest_of(image.path)
    assert image.digest.startswith("extents:")
    said = manifest.read(image.manifest)
    assert (said.sha256, said.digest) == ("", image.digest)
    assert seal.damage(image.path.parent) == []
