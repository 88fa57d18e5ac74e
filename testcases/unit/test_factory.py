"""The image factory, from a recipe of one's own to files; nothing is downloaded."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from harness.errors import ConfigError
from harness.image import factory
from harness.progress import Quiet
from harness.recipe import load_recipe
from harness.store import Store
from testcases.unit.conftest import Larder
from testcases.unit.test_bzimage import kernel
from testcases.unit.test_catalogue import stock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.progress import Task

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

    def build(self) -> factory.Build:
        return factory.build(
            load_recipe(str(self.recipe)),
            str(self.kernel),
            store=self.larder.store,
            debian=self.larder.debian(),
            progress=self.done,
        )


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
    with pytest.raises(ConfigError, match="the disk image outer of 1 MiB is too small"):
        workshop.build()
    store = workshop.larder.store.cache / "store"
    assert not list((store / "disk").iterdir())
    assert len(list((store / "initramfs").iterdir())) == 1


def test_a_cache_without_room_for_the_disk_is_the_users_affair(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7 << 20))
    message = r"cache.* has 7\.0 MiB left, and outer may take 8\.0 MiB"
    with pytest.raises(ConfigError, match=message) as caught:
        workshop.build()
    assert "--cache" in caught.value.hint


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
