"""Real stage0-posix: all answers in every mode, and the same bits in all of them.

HARNESS_STAGE0_POSIX and HARNESS_BUILDER_HEX0 name checkouts; without them nothing is run.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import pipeline
from harness.cli.payloads import chosen
from harness.errors import ConfigError
from harness.machine import native
from harness.machine.protocol import MachineKind
from harness.outcome import Outcome
from harness.progress import Quiet
from harness.report import produced

TREE = os.environ.get("HARNESS_STAGE0_POSIX", "")
BUILDER = os.environ.get("HARNESS_BUILDER_HEX0", "")
needs_tree = pytest.mark.skipif(not TREE, reason="HARNESS_STAGE0_POSIX names no checkout of stage0-posix")
needs_builder = pytest.mark.skipif(
    not BUILDER, reason="HARNESS_BUILDER_HEX0 names no checkout of builder-hex0"
)

MODES = [
    *((arch, kind, None) for arch in ("x86", "AMD64") for kind in (MachineKind.CHROOT, MachineKind.BWRAP)),
    ("x86", MachineKind.QEMU, "debian-6.1-i686"),
    ("x86", MachineKind.QEMU, "debian-6.1-x86_64"),
    ("AMD64", MachineKind.QEMU, "debian-6.1-x86_64"),
]


@pytest.fixture(scope="session")
def manifests() -> dict[str, dict[str, dict[str, str]]]:
    """What each run made, by architecture and mode."""
    return {"x86": {}, "AMD64": {}}


@needs_tree
@pytest.mark.xdist_group("stage0-posix")
@pytest.mark.parametrize(("arch", "kind", "kernel"), MODES)
def test_all_answers_are_right_and_the_bits_the_same(
    *,
    arch: str,
    kind: MachineKind,
    kernel: str | None,
    tmp_path: Path,
    harness_cache: Path,
    manifests: dict[str, dict[str, dict[str, str]]],
) -> None:
    if not kind.has_kernel:
        try:
            native.check_host(kind)
        except ConfigError as error:
            pytest.skip(error.message)
    run(
        arch=arch,
        name="stage0-posix",
        place=tmp_path,
        cache=harness_cache,
        manifests=manifests,
        kind=kind,
        kernel=kernel,
    )


@needs_tree
@needs_builder
@pytest.mark.xdist_group("stage0-posix")
def test_without_linux(
    tmp_path: Path, harness_cache: Path, manifests: dict[str, dict[str, dict[str, str]]]
) -> None:
    run(
        arch="x86",
        name="builder-hex0",
        place=tmp_path,
        cache=harness_cache,
        manifests=manifests,
        kind=MachineKind.QEMU,
        kernel=None,
    )


def run(
    *,
    arch: str,
    name: str,
    place: Path,
    cache: Path,
    manifests: dict[str, dict[str, dict[str, str]]],
    kind: MachineKind,
    kernel: str | None,
) -> None:
    builder = Path(BUILDER) if BUILDER else None
    recipe, expected = chosen(name, Path(TREE), arch, builder, instrument=kind.has_kernel)
    options = pipeline.RunOptions(runs=place / "runs", machine=kind, expected=expected)
    building = pipeline.BuildOptions(
        cache=cache,
        kernel=kernel,
        names=pipeline.needed_images(recipe, options),
        kernels=kind.has_kernel,
    )
    built = pipeline.build(recipe, building, Quiet())
    done = pipeline.boot(built, options, cache=cache, listeners=[], progress=Quiet())
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    made = produced.read(done.directory / produced.NAME)
    assert set(expected) < set(made)
    mode = f"{name} under {kind} {kernel or ''}"
    for other, sums in manifests[arch].items():
        assert made == sums, f"{mode} made other bits than {other}"
    manifests[arch][mode] = made
