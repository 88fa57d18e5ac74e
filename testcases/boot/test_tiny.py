"""Tiny kernels boot: those that the store has, since building them takes minutes (`harness kernel build`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.recipe import load_recipe
from harness.record.record import RunDocument
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.recipe import Recipe

INSIDE = Path(__file__).parent / "tiny/recipes/inside.toml"
WIDTHS = pytest.mark.parametrize("width", ["i686", "x86_64"])


@pytest.fixture
def run(harness_cache: Path, tmp_path: Path) -> Callable[..., RunDocument]:
    """Builds a recipe for a seed kernel, boots it, and returns the record of a run that passed."""

    def boot(recipe: Recipe, kernel: str | None = None, second: str | None = None) -> RunDocument:
        building = BuildOptions(cache=harness_cache, kernel=kernel, second=second)
        images = build_recipe(recipe, building, Quiet())
        done = run_built(images, cache=harness_cache, runs=tmp_path / "runs")
        document = msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)
        assert document.verdict
        assert document.verdict.outcome == Outcome.PASS, document.verdict
        return document

    return boot


@pytest.mark.parametrize("variant", ["disk", "initramfs-only", "boot-anything"])
@WIDTHS
def test_the_relay_starts_from_a_tiny_kernel(
    require: Callable[[str], str], run: Callable[..., RunDocument], width: str, variant: str
) -> None:
    name = require(f"tiny-6.1-{width}-{variant}")
    document = run(load_recipe("relay"), name)
    assert document.facts["seed_kernel"].endswith(f"-tiny-{width}-{variant}")


@pytest.mark.parametrize("variant", ["disk", "boot-anything"])
@WIDTHS
def test_the_relay_ends_on_a_tiny_kernel(
    require: Callable[[str], str], run: Callable[..., RunDocument], width: str, variant: str
) -> None:
    """The second kernel drives the disk, with drivers that are built in."""
    name = require(f"tiny-6.1-{width}-{variant}")
    document = run(load_recipe("relay"), "debian-5.10-i686", name)
    assert document.facts["sysc_kernel"].endswith(f"-tiny-{width}-{variant}")


@WIDTHS
def test_a_kernel_without_disks_is_refused_for_a_disk_before_anything_boots(
    require: Callable[[str], str], harness_cache: Path, width: str
) -> None:
    name = require(f"tiny-6.1-{width}-initramfs-only")
    building = BuildOptions(cache=harness_cache, kernel="debian-5.10-i686", second=name)
    with pytest.raises(HarnessError, match="has no modules, and 'ata_piix' is not built in"):
        build_recipe(load_recipe("relay"), building, Quiet())


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd", "lz4"])
@WIDTHS
def test_a_payload_lives_in_the_initramfs_alone(
    require: Callable[[str], str], run: Callable[..., RunDocument], width: str, compression: str
) -> None:
    name = require(f"tiny-6.1-{width}-initramfs-only")
    recipe = load_recipe(str(INSIDE))
    image = msgspec.structs.replace(recipe.images[0], compression=compression)
    recipe = msgspec.structs.replace(
        recipe, document=msgspec.structs.replace(recipe.document, image=(image,))
    )
    facts = run(recipe, name).facts
    assert facts["release"].endswith(f"-tiny-{width}-initramfs-only")
    assert (facts["tmpfs"], facts["pipe"]) == ("works", "works")
    assert (facts["network"], facts["disks"], facts["modules"]) == ("none", "0", "none")
    assert int(facts["year"]) >= 2024
    assert int(facts["config"]) > 100
