"""Real stage0-posix: all answers in every mode, and the same bits in all of them.

HARNESS_STAGE0_POSIX and HARNESS_BUILDER_HEX0 name checkouts; without them nothing is run.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine import native
from harness.machine.kinds import find_kind
from harness.machine.protocol import MachineKind
from harness.run.prepare import to_build
from harness.run.request import RunRequest
from harness.stages import products
from testcases.support.mini_stage0 import BASE, CHDIR, EXIT, OPEN, READ, SAYS, WRITE, Call, chosen, elf, tree
from testcases.support.runs import run_built

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
    if not find_kind(kind).kernels:
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
    recipe, expected = chosen(name, Path(TREE), arch, builder, instrument=find_kind(kind).kernels)
    request = RunRequest(runs=place, build=BuildOptions(cache=cache, kernel=kernel), machine=kind)
    built = build_recipe(recipe, to_build(request, recipe), Quiet())
    done = run_built(built, cache=cache, runs=place / "runs", machine=kind, expected=expected)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    made = products.read(done.directory)
    assert made is not None
    assert set(expected) < set(made)
    mode = f"{name} under {kind} {kernel or ''}"
    for other, sums in manifests[arch].items():
        assert made == sums, f"{mode} made other bits than {other}"
    manifests[arch][mode] = made


@needs_builder
def test_the_real_builder_hex0_runs_the_miniature(tmp_path: Path, harness_cache: Path) -> None:
    """In seconds: it loads files, makes seeds from hex0, and finds its way from a directory to the root."""
    somewhere = BASE + 8192
    calls: list[Call] = [
        (WRITE, 1, SAYS.encode(), len(SAYS)),
        (CHDIR, b"x86\0", 0, 0),
        (CHDIR, b"..\0", 0, 0),
        (OPEN, b"kaem.x86\0", 0, 0),
        (READ, None, somewhere, 20),
        (WRITE, 1, somewhere, 20),
        (WRITE, 1, b"\n", 1),
        (EXIT, 0, 0, 0),
    ]
    checkout = tree(tmp_path / "tree", elf(calls))
    recipe, expected = chosen("builder-hex0", checkout, "x86", Path(BUILDER), instrument=False)
    built = build_recipe(recipe, BuildOptions(cache=harness_cache), Quiet())
    done = run_built(built, cache=harness_cache, runs=tmp_path / "runs", expected=expected)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert b"\n./bootstrap-seeds/PO" in (done.directory / "console.raw").read_bytes()
