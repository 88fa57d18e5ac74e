"""Every kernel of the catalogue, from the archive: what its file says, its modules, and what cannot work."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.core.architecture import DEFAULT, of_debian
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.kernel import bzimage, catalogue, modules
from harness.kernel.inspection import examine
from harness.recipe import load_recipe
from harness.sources.debian import DebianSource
from harness.store import Store
from testcases.support.profiles import by_night
from testcases.support.runs import run_built
from testcases.system.test_depmod import DEPMOD, answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.image.factory import Build
    from harness.stages.verdict import Verdict

    VerdictOf = Callable[..., Verdict]

DISK = ("ata_piix?", "ahci", "sd_mod", "virtio_pci", "virtio_blk", "ext4", "nvme", "usb_storage?", "btrfs")


# Those of x86; the others have tests of their own (unit/test_foreign_kernels.py, boot/test_architectures.py).
KERNELS = [
    name
    for name in catalogue.kernel_files()
    if (debian := catalogue.load_line(name).debian) and of_debian(debian.architecture) == DEFAULT
]


@pytest.fixture(params=KERNELS, scope="module")
def kernel(request: pytest.FixtureRequest, harness_cache: Path) -> catalogue.Kernel:
    return catalogue.obtain(request.param, DebianSource(Store(harness_cache), Quiet()))


def test_what_a_kernel_of_the_catalogue_says(kernel: catalogue.Kernel) -> None:
    found = examine(kernel.image.path)
    line = catalogue.load_line(kernel.name)
    assert (found.kind, found.problem, found.image.bits) == ("bzImage", "", line.bits)
    assert found.image.efi
    assert found.image.protocol >= (2, 15)
    assert found.config is not None
    assert found.config.get("PVH") == ("y" if found.image.pvh else "n")
    assert found.config.get(f"KERNEL_{found.image.payload.upper()}") == "y"
    assert found.config.get("64BIT") == ("y" if line.bits == 64 else "n")
    assert "zstd" in found.compressions


@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_kernel_of_the_catalogue_cut_off(kernel: catalogue.Kernel, tmp_path: Path, part: float) -> None:
    path = tmp_path / "vmlinuz"
    data = kernel.image.path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ConfigError, match="cut off"):
        bzimage.inspect(path)


@pytest.mark.skipif(DEPMOD is None, reason="depmod (package kmod) is not installed")
@pytest.mark.parametrize(
    "kernel",
    [
        name
        if name in {"debian-6.1-i686", "debian-sid-x86_64"}
        else pytest.param(name, marks=pytest.mark.thorough)
        for name in KERNELS
    ],
    indirect=True,
)
def test_the_closure_is_depmods(kernel: catalogue.Kernel, tmp_path: Path) -> None:
    assert kernel.modules is not None
    place = tmp_path / "lib/modules" / kernel.modules.name
    shutil.copytree(kernel.modules, place, symlinks=True)
    known = answers(tmp_path, place.name)
    for name in DISK:
        word = name.removesuffix("?")
        if word not in known:
            continue
        found = [module.name for module in modules.closure(kernel.modules, [word])]
        assert set(known[word]) <= set(found), name
        for each in found:
            position = found.index(each)
            assert all(found.index(needed) < position for needed in known[each]), (
                f"{each} before what it needs"
            )
        # What is there beyond that, a soft dependency asks for.
        soft = (place / "modules.softdep").read_text()
        extra = set(found) - {word, *known[word]}
        assert not extra or any(f"softdep {each} " in soft for each in found), extra


# --- what cannot work is refused before the boot, and recognised where it boots all the same ---


def build(cache: Path, seed: str, second: str | None = None) -> Build:
    options = BuildOptions(cache=cache, kernel=seed, second=second, names=("sysa", "sysc"))
    return build_recipe(load_recipe("relay"), options, Quiet())


class Misfit(msgspec.Struct, frozen=True):
    """A pair of kernels on a machine that cannot work: how it is refused, and what comes of it by force."""

    seed: str
    second: str
    options: dict[str, Any]
    refusal: str
    outcome: Outcome
    stage: str
    reason: str


MISFITS = {
    "no-ia32-emulation": Misfit(
        "debian-sid-x86_64",
        "debian-6.1-i686",
        {"append": "ia32_emulation=0"},
        "the seed kernel debian-sid-x86_64 .* lacks programs of the payload's width",
        Outcome.FAIL,
        "sysa",
        "no format that this kernel executes",
    ),
    "locked-down": Misfit(
        "debian-6.1-i686",
        "debian-5.10-i686",
        {"append": "lockdown=integrity"},
        "the seed kernel debian-6.1-i686 .* lacks kexec",
        Outcome.FAIL,
        "sysa",
        "refuses kexec",
    ),
    "second-too-wide": Misfit(
        "debian-6.1-i686",
        "debian-6.1-x86_64",
        {"cpu": "pentium3"},
        "the second kernel debian-6.1-x86_64 .* needs an x86-64 processor",
        Outcome.HANG,
        "kexec",
        "",
    ),
}


@pytest.mark.parametrize(
    "name", [name if name == "no-ia32-emulation" else by_night(name) for name in MISFITS]
)
def test_a_pair_that_cannot_work(
    name: str, harness_cache: Path, verdict_of: VerdictOf, tmp_path: Path
) -> None:
    misfit = MISFITS[name]
    built = build(harness_cache, misfit.seed, misfit.second)
    with pytest.raises(ConfigError, match=misfit.refusal) as caught:
        run_built(built, cache=harness_cache, runs=tmp_path, force=False, **misfit.options)
    assert "--force" in caught.value.hint
    verdict = verdict_of(built, **misfit.options)
    assert (verdict.outcome, verdict.stage) == (misfit.outcome, misfit.stage)
    assert misfit.reason in verdict.reason


@pytest.mark.thorough
def test_a_64_bit_kernel_started_unpacked(harness_cache: Path, tmp_path: Path) -> None:
    built = build(harness_cache, "debian-6.1-x86_64")
    run = run_built(built, cache=harness_cache, runs=tmp_path, unpacked=True)
    assert run.result.verdict.outcome == Outcome.PASS
    assert '"unpacked":true' in (run.directory / "run.json").read_text().replace(" ", "")
    assert "vmlinux" in (run.directory / "qemu.cmd").read_text()


def test_a_kernel_that_cannot_be_started_unpacked(harness_cache: Path, tmp_path: Path) -> None:
    built = build(harness_cache, "debian-6.1-i686")
    with pytest.raises(ConfigError, match="no entry point for PVH"):
        run_built(built, cache=harness_cache, runs=tmp_path, unpacked=True)
