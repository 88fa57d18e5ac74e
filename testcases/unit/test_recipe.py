"""Recipes: the shipped ones are good, and whatever is wrong with one is named before anything is built."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from harness.errors import ConfigError
from harness.kernel import catalogue
from harness.recipe import Disk, File, Initramfs, Recipe, load_recipe, recipe_files
from harness.stages.plan import load_plan

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
summary = "a recipe"
plan = "short"

[debian]
suite = "bookworm"
architecture = "i386"

[kernels]
seed = "debian-6.1-i686"
second = ["debian-5.10-i686"]

[boot]
initramfs = "first"
disk = "root"
command-line = "console=ttyS0"
memory = "512M"

[[image]]
name = "first"
kind = "initramfs"
contents = [
    { add = "file", path = "init", source = "files/init", mode = 0o755 },
    { add = "kernel", path = "kernel", kernel = "second" },
    { add = "device", path = "dev/null", type = "char", major = 1, minor = 3 },
]

[[image]]
name = "root"
kind = "disk"
size = "8M"
contents = [{ add = "image", path = "first.cpio", image = "first" }]
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A directory like `images/`, for a recipe of one's own."""
    for name in ("recipes", "plans", "files"):
        (tmp_path / name).mkdir()
    (tmp_path / "files/init").write_text("#!/bin/sh\n")
    (tmp_path / "plans/short.toml").touch()
    return tmp_path


def load(images: Path, text: str) -> Recipe:
    path = images / "recipes/own.toml"
    path.write_text(text)
    return load_recipe(str(path))


def test_a_good_recipe_is_read(images: Path) -> None:
    recipe = load(images, GOOD)
    assert (recipe.name, recipe.plan, recipe.base) == ("own", images / "plans/short.toml", images)
    assert recipe.boot.memory_bytes == 512 << 20
    first, root = recipe.images
    assert isinstance(first, Initramfs)
    assert first.contents[0] == File(path="init", source="files/init", mode=0o755)
    assert isinstance(root, Disk)
    assert root.size_bytes == 8 << 20
    assert recipe.image("root") is root


@pytest.mark.parametrize("name", recipe_files())
def test_the_shipped_recipes_are_good(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert load_plan(recipe.plan).stages
    lines = {name: catalogue.load_line(name) for name in (recipe.kernels.seed, *recipe.kernels.second)}
    assert set(recipe.kernels.qualified) <= set(catalogue.kernel_files())
    for seed in recipe.kernels.qualified:
        versions = {lines[second].version for second in recipe.kernels.second}
        assert versions - {catalogue.load_line(seed).version}, f"kexec from {seed} would change nothing"


def test_the_shipped_plans_are_good() -> None:
    plans = {load_recipe(name).plan for name in recipe_files()}
    assert plans
    for path in plans:
        assert load_plan(path).name == path.stem


@pytest.mark.parametrize("name", catalogue.kernel_files())
def test_the_shipped_kernels_are_named_after_what_they_are(name: str) -> None:
    line = catalogue.load_line(name)
    processor = {32: "i686", 64: "x86_64"}[line.bits]
    assert name == f"debian-{line.version}-{processor}"


def test_an_unknown_recipe_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="there is no recipe 'relai'") as caught:
        load_recipe("relai")
    assert all(name in caught.value.hint for name in recipe_files())


def test_a_recipe_file_that_is_not_there_is_named(images: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot read {images}/recipes/none.toml: No such file"):
        load_recipe(str(images / "recipes/none.toml"))


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_recipe_that_may_not_be_read_is_named(images: Path) -> None:
    path = images / "recipes/own.toml"
    path.touch(mode=0)
    with pytest.raises(ConfigError, match=f"cannot read {path}: Permission denied"):
        load_recipe(str(path))


def test_a_relative_path_stays_true_from_elsewhere(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (images / "recipes/own.toml").write_text(GOOD)
    monkeypatch.chdir(images)
    recipe = load_recipe("recipes/own.toml")
    monkeypatch.chdir("/")
    assert recipe.path.is_file()
    assert recipe.plan.is_file()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('summary = "a recipe"\n', "", "key summary is missing"),
        ('seed = "debian-6.1-i686"\n', "", "key kernels.seed is missing"),
        ("[debian]", "colour = 1\n[debian]", "key colour is not known"),
        ('suite = "bookworm"', 'suite = "bookworm"\nmirror = ""', "key debian.mirror is not known"),
        ('suite = "bookworm"', "suite = 12", "key debian.suite: expected `str`, got `int`"),
        ('suite = "bookworm"', 'suite = "book worm"', "key debian.suite: expected `str` matching"),
        ('architecture = "i386"', 'architecture = "../.."', "key debian.architecture: expected `str` match"),
        ('plan = "short"', 'plan = "long"', "key plan: there is no plan {images}/plans/long.toml"),
        ('plan = "short"', 'plan = "../short"', "key plan: expected `str` matching"),
        ('memory = "512M"', 'memory = "much"', "key boot.memory: 'much' is no size"),
        (
            'initramfs = "first"',
            'initramfs = "root"',
            "key boot.initramfs: no initramfs image is named 'root'",
        ),
        ('disk = "root"', 'disk = "first"', "key boot.disk: no disk image is named 'first'"),
        ('disk = "root"', 'disk = "none"', "key boot.disk: no disk image is named 'none'"),
        ('name = "root"', 'name = "first"', "key image[1].name: 'first' is the name of an earlier image"),
        ('kind = "disk"', 'kind = "tape"', "key image[1].kind: invalid value 'tape'"),
        ('size = "8M"', 'size = "8 potatoes"', "key image[1].size: '8 potatoes' is no size"),
        ('size = "8M"\n', "", "key image[1].size is missing"),
        ('size = "8M"', 'size = "8M"\nlabel = "seventeen letters"', "key image[1].label: expected `str` of"),
        ("mode = 0o755", "mode = 0o17777", "key image[0].contents[0].mode: expected `int` <= 4095"),
        ("mode = 0o755", 'mode = "755"', "key image[0].contents[0].mode: expected `int`, got `str`"),
        ("files/init", "files/none", "key image[0].contents[0].source: there is no file {images}/files/none"),
        ('add = "file"', 'add = "fiel"', "key image[0].contents[0].add: invalid value 'fiel'"),
        ('path = "init"', 'path = "/init"', "key image[0].contents[0].path: '/init' is no plain path"),
        (
            'path = "init"',
            'path = "a/../../b"',
            "key image[0].contents[0].path: 'a/../../b' is no plain path",
        ),
        ('path = "init"', 'path = ""', "key image[0].contents[0].path: '' is no plain path"),
        ('path = "init"', "path = 'a\"b'", "key image[0].contents[0].path: 'a\"b' is no plain path"),
        ('path = "init"', 'path = "a\\u0000b"', "key image[0].contents[0].path: 'a\\x00b' is no plain path"),
        ("second = [", "qualified = [", "key image[0].contents[1].kernel: the recipe has no second kernel"),
        ('kernel = "second"', 'kernel = "third"', "key image[0].contents[1].kernel: invalid enum value"),
        ("minor = 3", "minor = -3", "key image[0].contents[2].minor: expected `int` >= 0"),
        ('type = "char"', 'type = "tape"', "key image[0].contents[2].type: invalid enum value 'tape'"),
        ('image = "first"', 'image = "root"', "key image[1].contents[0].image: no earlier image is named"),
        ('image = "first"', 'image = "later"', "key image[1].contents[0].image: no earlier image is named"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(images: Path, old: str, new: str, problem: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load(images, GOOD.replace(old, new))
    assert caught.value.message.startswith(f"{images}/recipes/own.toml: {problem.format(images=images)}")
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_recipe_without_images_is_refused(images: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("own.toml: key image: expected `array` of length >= 1")):
        load(images, "image = []\n" + GOOD.partition("[[image]]")[0])


@pytest.mark.parametrize("path", [".", "./", "a/..", "..", "//init", "bin/", "a//b", "./init"])
def test_a_path_that_leaves_the_image_or_is_not_plain_is_refused(images: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"contents\[0\]\.path: .* is no plain path"):
        load(images, GOOD.replace('path = "init"', f'path = "{path}"'))


def test_a_directory_is_no_source(images: Path) -> None:
    with pytest.raises(ConfigError, match=r"contents\[0\]\.source: there is no file"):
        load(images, GOOD.replace("files/init", "files"))
