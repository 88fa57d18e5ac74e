"""`harness build` and what it says, and whether `--check` notices what it must."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.image.manifest import Manifest, read
from testcases.system.test_cli import User
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    import subprocess

TWO = """
summary = "an archive on a disk"
[[image]]
name = "root"
kind = "initramfs"
contents = [
    { add = "text", path = "init", text = "hello", mode = 0o755 },
    { add = "file", path = "etc/motd", source = "motd" },
]
[[image]]
name = "store"
kind = "disk"
size = "4M"
contents = [{ add = "image", path = "root.cpio", image = "root" }]
"""

# What a careless builder would let into an image, one file for each of the surroundings.
PLANTS = {
    "umask": "oct(os.umask(0o77) + 0 * os.umask(0))",
    "zone": "time.strftime('%Z %z')",
    "locale": "str(os.environ.get('LC_ALL'))",
    "moment": "str(time.time_ns())",
    "home": "os.environ['HOME']",
    "directory": "os.getcwd()",
    "listing": "str(os.listdir(os.path.dirname(os.__file__)))",
    "scan": "str([entry.name for entry in os.scandir(os.path.dirname(os.__file__))])",
    "walk": "str(next(os.walk(os.path.dirname(os.__file__))))",
    "hashing": "str(hash('a text'))",
    "cache": "str(given.context.store.cache)",
}
CARELESS = """
import os, time
from harness.image import contents
from harness.formats.tree import Entry
PLANTS = {plants!r}
honest = contents.entries
def entries(content, given):
    yield from honest(content, given)
    if content.path == "init":
        for name, expression in PLANTS.items():
            yield Entry("plant-" + name, 0o100644, content=eval(expression).encode())
contents.entries = entries
"""


class Builder(User):
    """Somebody with a recipe that nothing has to be downloaded for."""

    def __init__(self, home: Path, cache: Path) -> None:
        super().__init__(home, cache)
        (home / "images/motd").write_text("welcome\n")
        (home / "images/recipes/two.toml").write_text(TWO)

    def builds(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.starts("build", "images/recipes/two.toml", *words, **environment)

    def is_careless(self, plants: dict[str, str]) -> dict[str, str]:
        """An environment in which our program lets such things into images."""
        place = self.home / "careless"
        place.mkdir()
        (place / "sitecustomize.py").write_text(CARELESS.format(plants=plants))
        return {"PYTHONPATH": f"{place}{os.pathsep}{self.environment['PYTHONPATH']}"}


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path, tmp_path / "cache")


def test_path_size_hash_and_inputs_are_said(builder: Builder) -> None:
    result = builder.builds()
    assert result.returncode == 0, result
    paths = [Path(path) for path in re.findall(r"^  path    (.*)$", result.stdout, re.MULTILINE)]
    assert [path.name for path in paths] == ["root.cpio", "store.img"]
    hashes = re.findall(r"^  sha256  (.*)$", result.stdout, re.MULTILINE)
    assert hashes == [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert re.search(r"^store  disk, 4\.0 MiB$", result.stdout, re.MULTILINE)
    assert re.search(r"^  file motd +beside the recipe$", result.stdout, re.MULTILINE)
    assert "building" not in builder.builds().stderr


def test_copies_manifests_and_bills_go_where_they_are_wanted(builder: Builder) -> None:
    # Here alone: they take seconds, and every worker imports all tests.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    result = builder.builds("-o", "out", "--json")
    assert result.returncode == 0, result
    told = json.loads(result.stdout)
    out = builder.home / "out"
    suffixes = ("cpio", "manifest.json", "cdx.json"), ("img", "manifest.json", "cdx.json")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}.{suffix}"
        for name, group in zip(("root", "store"), suffixes, strict=True)
        for suffix in group
    )
    for image in told["images"]:
        place = Path(builder.home / told["output"][image["name"]]["path"])
        assert hashlib.sha256(place.read_bytes()).hexdigest() == image["sha256"]
        assert place.stat().st_mode & stat.S_IWUSR
        manifest = read(out / f"{image['name']}.manifest.json")
        assert isinstance(manifest, Manifest)
        assert manifest.sha256 == image["sha256"]
        text = (out / f"{image['name']}.cdx.json").read_text()
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert [given["name"] for given in told["made_from"]["root"]["inputs"]] == ["motd"]
    assert "python" in told["made_from"]["store"]["tools"]
    assert told["check"] is None


def test_only_one_kind_is_built_when_asked(builder: Builder) -> None:
    told = json.loads(builder.builds("--only", "disk", "-o", "out", "--json").stdout)
    assert [image["name"] for image in told["images"]] == ["store"]
    assert not (builder.home / "out/root.cpio").exists()
    for word in ("iso", "usb"):
        refused = builder.is_refused("build", "images/recipes/two.toml", "--only", word)
        assert refused == "the recipe two has no iso image\n  it has: disk, initramfs\n"


@pytest.mark.parametrize("option", ["--cache", "--store"])
def test_cache_and_store_are_one_option(builder: Builder, option: str) -> None:
    told = json.loads(builder.builds(option, "elsewhere", "--json").stdout)
    assert all(image["path"].startswith(f"{builder.home}/elsewhere/") for image in told["images"])


def test_an_output_that_cannot_be_is_refused_before_anything_is_built(builder: Builder) -> None:
    told = builder.is_refused("build", "images/recipes/two.toml", "-o", "notes.txt/out")
    assert re.match(r"cannot create the output directory \S+/notes.txt/out: Not a directory\n.*-o DIR", told)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_source_that_cannot_be_read_is_named(builder: Builder) -> None:
    (builder.home / "images/motd").chmod(0)
    (builder.home / "cache").mkdir()
    assert "motd" in builder.is_refused("build", "images/recipes/two.toml")


def test_two_builds_are_equal_and_it_is_said_what_was_varied(builder: Builder) -> None:
    result = builder.builds("--check", "--json")
    assert result.returncode == 0, result
    check = json.loads(result.stdout)["check"]
    assert check["reproducible"]
    assert [each["image"] for each in check["comparisons"]] == ["root", "store"]
    assert all(each["first"] == each["second"] for each in check["comparisons"])
    always = {"umask", "time zone", "locale", "home", "working directory", "store", "hash seed", "file order"}
    assert always <= set(check["varied"])
    assert set(check["varied"]) | set(check["same"]) == {
        *always,
        "clock",
        "user",
        "processors",
        "file system",
    }
    assert all(first != second for first, second in check["varied"].values())
    assert all(check["same"].values()), "what was not varied has a reason"
    words = builder.builds("--check").stdout
    assert "✓ reproducible: root\n✓ reproducible: store\n" in words
    assert not Path(check["varied"]["store"][1]).parent.exists(), "nothing is left of the second build"


def test_whatever_gets_in_from_the_surroundings_is_named_with_its_bytes(builder: Builder) -> None:
    careless = builder.is_careless(PLANTS)
    result = builder.builds("--check", "--only", "initramfs", **careless)
    assert result.returncode == 1, result
    assert "✗ not reproducible: root" in result.stdout
    for name in PLANTS:
        assert re.search(rf"plant-{name}.*\n?.*byte", result.stdout), f"{name} was not noticed"
    assert "motd" not in result.stdout.partition("not reproducible")[2].partition("varied")[0]
    check = json.loads(builder.builds("--check", "--only", "initramfs", "--json", **careless).stdout)["check"]
    assert not check["reproducible"]


def test_the_bytes_of_the_image_are_named_with_what_they_are(builder: Builder) -> None:
    careless = builder.is_careless({"moment": PLANTS["moment"]})
    result = builder.builds("--check", "--only", "initramfs", **careless)
    assert re.search(r"^ +bytes? \d+.*: content of plant-moment$", result.stdout, re.MULTILINE), result.stdout
    assert not re.search(r"content of init|header of", result.stdout)


def test_a_user_number_that_gets_in_is_named(builder: Builder) -> None:
    careless = builder.is_careless({"user": "str(os.getuid())"})
    result = builder.builds("--check", "--only", "initramfs", "--json", **careless)
    check = json.loads(result.stdout)["check"]
    if "user" in check["same"]:
        pytest.skip(check["same"]["user"])
    assert any("plant-user" in line for line in check["comparisons"][0]["differences"])


def test_a_second_build_that_fails_says_why(builder: Builder) -> None:
    plant = "given.recipe.image('no such one').name if os.environ.get('USER') == 'another' else 'x'"
    result = builder.builds("--check", **builder.is_careless({"failure": plant}))
    assert result.returncode == 6
    assert "harness: the second build failed: " in result.stderr
    assert "has no image 'no such one'" in result.stderr


def test_a_kernel_of_ones_own_is_found_from_elsewhere(builder: Builder) -> None:
    (builder.home / "vmlinuz").write_bytes(kernel())
    recipe = builder.home / "images/recipes/own.toml"
    recipe.write_text(
        recipe.read_text().replace(
            'text = "hello", mode = 0o755 }',
            'text = "hello" }, { add = "kernel", path = "k", kernel = "seed" }',
        )
    )
    result = builder.starts("build", "images/recipes/own.toml", "--kernel", "vmlinuz", "--check")
    assert result.returncode == 0, result
    assert re.search(r"kernel vmlinuz +Linux .* \(a file\)", result.stdout)
