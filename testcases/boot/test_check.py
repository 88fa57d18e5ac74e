"""The project's own images are the same bits on another day, for another user, and in another place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.progress import Quiet
from harness.image.build import BuildOptions, build
from harness.image.reproducibility.check import recheck
from harness.recipe import load_recipe

if TYPE_CHECKING:
    from harness.image.reproducibility.check import Recheck


@pytest.fixture(scope="module")
def compared(harness_cache: Path) -> Recheck:
    options = BuildOptions(cache=harness_cache)
    return recheck(build(load_recipe("relay"), options, Quiet()), options, Quiet())


@pytest.mark.xdist_group("check")
def test_all_images_of_the_relay_are_reproducible(compared: Recheck) -> None:
    assert {comparison.image for comparison in compared.comparisons} >= {"sysa", "sysb", "sysc"}
    for comparison in compared.comparisons:
        assert comparison.differences == (), comparison.image
    assert compared.reproducible


@pytest.mark.xdist_group("check")
def test_the_second_build_was_on_another_day(compared: Recheck) -> None:
    if "clock" in compared.same:
        pytest.skip(compared.same["clock"])
    first, second = compared.varied["clock"]
    assert int(second[:4]) in {int(first[:4]) + 1, int(first[:4]) + 2}


@pytest.mark.xdist_group("check")
def test_nothing_is_left_of_the_second_build(harness_cache: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    options = BuildOptions(cache=harness_cache, only="initramfs")
    recheck(build(load_recipe("relay"), options, Quiet()), options, Quiet())
    assert not list(harness_cache.glob("harness-check-*"))
    left = {path.name for path in set(Path("/dev/shm").iterdir()) - before}
    assert not [name for name in left if "faketime" in name]  # others may check something meanwhile
