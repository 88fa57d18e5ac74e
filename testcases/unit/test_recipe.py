"""Recipes: the shipped ones are good, and whatever is wrong with one is named before anything is built."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from harness.core.architecture import DEFAULT, of_debian
from harness.core.errors import ConfigError
from harness.kernel import catalogue
from harness.recipe import Disk, File, Initramfs, Recipe, contents_of, load_recipe, recipe_files
from harness.stages.plan_file import load_plan

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
    if not recipe.document.kernels:
        assert recipe.boot.initramfs is None
        return
    lines = {name: catalogue.load_line(name) for name in (recipe.kernels.seed, *recipe.kernels.second)}
    assert set(recipe.kernels.qualified) <= set(catalogue.kernel_files())
    assert set(recipe.kernels.behind) <= set(recipe.kernels.qualified)
    for seed, second in recipe.kernels.behind.items():
        assert catalogue.load_line(seed) != catalogue.load_line(second)
    for seed in recipe.kernels.qualified:
        versions = {lines[second].version for second in recipe.kernels.second} or {""}
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
    if line.debian and of_debian(line.debian.architecture) != DEFAULT:
        processor = line.debian.architecture
    if line.build:
        assert name.startswith(f"tiny-{line.version}-{processor}-")
        return
    assert line.debian
    version = "sid" if line.debian.suite == "sid" else line.version
    flavour = "-cloud" if "cloud" in line.debian.package else ""
    assert name == f"debian-{version}-{processor}{flavour}"


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
        ('kind = "disk"', 'kind = "tape"', "key image[1].kind: 'tape' is none of initramfs, disk, iso, "),
        ('size = "8M"', 'size = "8 potatoes"', "key image[1].size: '8 potatoes' is no size"),
        ('size = "8M"\n', "", "key image[1].size is missing"),
        ('size = "8M"', 'size = "8M"\nlabel = "seventeen letters"', "key image[1].label: expected `str` of"),
        ("mode = 0o755", "mode = 0o17777", "key image[0].contents[0].mode: expected `int` <= 4095"),
        ("mode = 0o755", 'mode = "755"', "key image[0].contents[0].mode: expected `int`, got `str`"),
        ("files/init", "files/none", "key image[0].contents[0].source: there is no file {images}/files/none"),
        ('add = "file"', 'add = "fiel"', "key image[0].contents[0].add: 'fiel' is none of file, files, "),
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
        ('kernel = "second"', 'kernel = "a b"', "key image[0].contents[1].kernel: expected `str` matching"),
        ("minor = 3", "minor = -3", "key image[0].contents[2].minor: expected `int` >= 0"),
        ('type = "char"', 'type = "tape"', "key image[0].contents[2].type: 'tape' is none of "),
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


MORE = """
summary = "images only"

[kernels]
seed = "debian-6.1-i686"

[debian]
suite = "bookworm"
architecture = "amd64"

[[image]]
name = "root"
kind = "dib"
elements = ["own"]

[[image]]
name = "first"
kind = "initramfs"
contents = []

[[image]]
name = "second"
kind = "initramfs"
behind = ["first"]
contents = [
    { add = "symlink", path = "bin/sh", target = "busybox" },
    { add = "hardlink", path = "bin/ash", target = "bin/busybox" },
    { add = "checkout", source = "files", path = "src" },
    { add = "download", path = "a", url = "https://example.org/a", sha256 = "ZEROS" },
    { add = "tarball", url = "files/init", sha256 = "ZEROS", strip = 1 },
    { add = "kernel", path = "k", kernel = "seed" },
    { add = "image", path = "i", image = "sysb", recipe = "relay" },
]

[[image]]
name = "plain"
kind = "disk"
size = "8M"
label = "plain"
contents = [{ add = "unpacked", image = "root" }]

[[image]]
name = "parted"
kind = "disk"
size = "8M"
table = "mbr"
partition = [{ size = "4M", contents = [{ add = "text", path = "t", text = "" }] }, { filesystem = "swap" }]

[[image]]
name = "stick"
kind = "iso"
disk = "plain"
menu = [{ title = "Title", kernel = "seed", initramfs = "second", command-line = "quiet" }]
""".replace("ZEROS", "0" * 64)


def test_a_recipe_without_a_machine_is_read_and_says_what_it_lacks(images: Path) -> None:
    recipe = load(images, MORE)
    assert not recipe.boots
    for key in ("boot", "plan"):
        with pytest.raises(ConfigError, match=rf"own\.toml: key {key}: it is missing, and this needs it"):
            getattr(recipe, key)


def test_every_content_knows_its_key(images: Path) -> None:
    recipe = load(images, MORE)
    keys = [recipe.key_of(content) for image in recipe.images for content in contents_of(image)]
    assert keys == [
        *(f"image[2].contents[{number}]" for number in range(7)),
        "image[3].contents[0]",
        "image[4].partition[0].contents[0]",
    ]
    with pytest.raises(LookupError):
        recipe.key_of(File(path="init", source="files/init"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'behind = ["first"]',
            'behind = ["third"]',
            "image[2].behind[0]: no earlier initramfs image is named",
        ),
        ('"busybox"', '""', "image[2].contents[0].target: a link's target has 1 to 4095 bytes"),
        ('"busybox"', f'"{"x" * 4096}"', "image[2].contents[0].target: a link's target has 1 to 4095 bytes"),
        ('"busybox"', '"busy\\u0000box"', "image[2].contents[0].target: 'busy\\x00box' has control"),
        ('"busybox"', '"busy\\nbox"', "image[2].contents[0].target: 'busy\\nbox' has control characters"),
        ('"bin/busybox"', '"/bin/busybox"', "image[2].contents[1].target: '/bin/busybox' is no plain path"),
        (
            'path = "bin/ash"',
            'path = "bin/sh"',
            "image[2].contents[1].path: image[2].contents[0] adds 'bin/sh'",
        ),
        ('path = "k"', f'path = "{"k" * 256}"', "image[2].contents[5].path: 'kkk"),
        (
            'source = "files"',
            'source = "none"',
            "image[2].contents[2].source: there is no directory {images}/none",
        ),
        ('path = "src"', 'path = "../src"', "image[2].contents[2].path: '../src' is no plain path"),
        (
            "https://example.org/a",
            "ftp://example.org/a",
            "image[2].contents[3].url: 'ftp://example.org/a' is no",
        ),
        ("https://example.org/a", "https:///a", "image[2].contents[3].url: 'https:///a' names no server"),
        ("https://example.org/a", "https://[a", "image[2].contents[3].url: 'https://[a' is no address: "),
        ("https://example.org/a", "file://host/a", "image[2].contents[3].url: 'file://host/a' is no address"),
        ("https://example.org/a", "files/b", "image[2].contents[3].url: there is no file '{images}/files/b'"),
        (
            f'a", sha256 = "{"0" * 64}',
            'a", sha256 = "0',
            "image[2].contents[3].sha256: expected `str` matching",
        ),
        ("strip = 1", "strip = -1", "image[2].contents[4].strip: expected `int` >= 0"),
        (', recipe = "relay"', "", "image[2].contents[6].image: no earlier image is named 'sysb'"),
        (
            'image = "root"',
            'image = "first"',
            "image[3].contents[0].image: no earlier dib image is named 'first'",
        ),
        ('label = "plain"', 'label = "a\\u0007"', "image[3].label: 'a\\x07' has control characters, or more"),
        (
            'label = "plain"',
            'label = "ééééééééé"',
            "image[3].label: 'ééééééééé' has control characters, or more",
        ),
        ('label = "plain"', 'uuid = "12"', "image[3].uuid: expected `str` matching"),
        ('label = "plain"', 'filesystem = "none"', "image[3].contents: the filesystem 'none' holds no files"),
        (
            'filesystem = "swap"',
            'filesystem = "none", uuid = "UUID"',
            "image[4].partition[1].uuid: there is no",
        ),
        (
            'filesystem = "swap"',
            'filesystem = "none", label = "l"',
            "image[4].partition[1].label: there is no",
        ),
        ('table = "mbr"', "", "image[4].table: a disk with partitions needs a partition table"),
        ('table = "mbr"', 'table = "gpt"\nlabel = "l"', "image[4].label: this belongs to a partition"),
        (
            'size = "4M", ',
            "",
            "image[4].partition[0].size: only the last partition can take all that is left",
        ),
        ('disk = "plain"', 'disk = "first"', "image[5].disk: no earlier disk image is named 'first'"),
        (
            '"Title"',
            '"Ti\\"tle"',
            "image[5].menu[0].title: 'Ti\"tle' has letters that boot menus cannot carry",
        ),
        ('"quiet"', '"quiet\\n"', "image[5].menu[0].command-line: 'quiet\\n' has letters"),
        (
            'initramfs = "second"',
            'initramfs = "plain"',
            "image[5].menu[0].initramfs: no earlier initramfs image",
        ),
        (
            'kernel = "seed", i',
            'kernel = "second", i',
            "image[5].menu[0].kernel: the recipe has no second kernel",
        ),
        (
            '[debian]\nsuite = "bookworm"\narchitecture = "amd64"',
            "",
            "debian: the table is missing, and image[0]",
        ),
    ],
)
def test_a_wrong_key_of_an_image_is_named_with_its_file(
    images: Path, old: str, new: str, problem: str
) -> None:
    assert old in MORE
    new = new.replace("UUID", "00000000-0000-0000-0000-000000000000")
    with pytest.raises(ConfigError) as caught:
        load(images, MORE.replace(old, new))
    assert caught.value.message.startswith(f"{images}/recipes/own.toml: key {problem.format(images=images)}")
    assert caught.value.hint


def test_a_command_line_of_two_lines_is_refused(images: Path) -> None:
    with pytest.raises(ConfigError, match=r"key boot\.command-line: 'a\\nb' has control characters"):
        load(images, GOOD.replace('"console=ttyS0"', '"a\\nb"'))
