"""Derivations of Nix and Guix, built by their daemons and again without: the same hashes on every machine."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.outcome import Outcome
from harness.core.paths import data_root
from harness.core.progress import Quiet
from harness.derivation import graph, replay
from harness.derivation.payload import DerivationRequest
from harness.image.build import BuildOptions
from harness.payload.chosen import PayloadRequest
from harness.record.reading import read_run
from harness.report.compare import compare
from harness.run.execute import execute
from harness.run.prepare import prepare
from harness.run.request import WHOLE, RunRequest, StageRange
from harness.stages import products
from testcases.support import stores
from testcases.support.derivations import closure
from testcases.support.stores import Tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.run.execute import Run

pytestmark = pytest.mark.xdist_group("derivation")

# Machines, and the seed kernel of those that have one.
MACHINES = [
    ("bwrap", None),
    pytest.param("chroot", None, marks=pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")),
    ("qemu", "debian-6.1-x86_64-cloud"),
    ("qemu", "debian-6.12-x86_64"),
]


def genesis_sums() -> dict[str, str]:
    """The sha256 that each program of genesis should have."""
    found = {}
    for file in (data_root() / "images/genesis").glob("*/sums"):
        for line in file.read_text("utf-8").splitlines():
            digest, name = line.split()
            found[name] = digest
    return found


def replayed(
    drv: Path,
    place: Path,
    cache: Path,
    machine: str = "bwrap",
    kernel: str | None = None,
    *,
    part: StageRange = WHOLE,
    **said: object,
) -> Run:
    about = msgspec.structs.replace(DerivationRequest(path=drv), **said)
    request = RunRequest(
        recipe="derivation",
        payload=PayloadRequest(derivation=about, disk_size=about.disk),
        build=BuildOptions(cache=cache, kernel=kernel),
        machine=machine,
        runs=place / "runs",
        part=part,
    )
    return execute(prepare(request, Quiet()))


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory, harness_cache: Path) -> Iterator[Tools]:
    tools = Tools("nix-bin", "/nix/store", tmp_path_factory.mktemp("nix"), harness_cache)
    yield tools
    tools.clean()


@pytest.fixture(scope="module")
def nix(tools: Tools) -> Path:
    return stores.nix_closure(tools)


@pytest.fixture(scope="module")
def guix_tools(tmp_path_factory: pytest.TempPathFactory, harness_cache: Path) -> Iterator[Tools]:
    tools = Tools("guix", "/gnu/store", tmp_path_factory.mktemp("guix"), harness_cache)
    yield tools
    tools.clean()


@pytest.fixture(scope="module")
def guix(guix_tools: Tools) -> Path:
    return stores.guix_closure(guix_tools)


@pytest.mark.parametrize(("machine", "kernel"), MACHINES)
def test_what_nix_built_has_the_same_hashes(
    nix: Path, machine: str, kernel: str | None, tmp_path: Path, harness_cache: Path
) -> None:
    done = replayed(nix, tmp_path, harness_cache, machine, kernel)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert done.result.verdict.reason.startswith("6 of 6 outputs have the hashes")


@pytest.mark.thorough
def test_outputs_can_lie_on_a_disk(nix: Path, tmp_path: Path, harness_cache: Path) -> None:
    done = replayed(nix, tmp_path, harness_cache, "qemu", disk="64M")
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert "derivation: outputs go to /dev/sda" in (done.directory / "console.log").read_text()


@pytest.mark.thorough
@pytest.mark.parametrize(("machine", "kernel"), MACHINES)
def test_what_guix_built_has_the_same_hashes(
    guix: Path, machine: str, kernel: str | None, tmp_path: Path, harness_cache: Path
) -> None:
    done = replayed(guix, tmp_path, harness_cache, machine, kernel)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert done.result.verdict.reason.startswith("5 of 5 outputs have the hashes")


@pytest.mark.thorough
def test_what_the_stage0_of_guix_lacks_is_named(guix_tools: Tools) -> None:
    found = replay.choose(graph.read(stores.guix_stage0(guix_tools)))
    assert "stage0-posix" in found.build[-1]
    assert not list(graph.wrong_paths(found.graph))
    missing = [path for path in found.taken if not found.graph.has(path)]
    assert len(found.problems) == len(missing) > 5
    for path, problem in zip(missing, found.problems, strict=True):
        assert problem.startswith(f"{path} is missing, which ")
        assert re.search(r"makes from .+://.+ with the (r:)?sha256 [0-9a-f]{64} in its daemon", problem)


@pytest.mark.thorough
def test_a_run_goes_on_from_a_derivation(nix: Path, tmp_path: Path, harness_cache: Path) -> None:
    ends = []
    for part in (StageRange(until="structured"), StageRange(start="structured")):
        done = replayed(nix, tmp_path, harness_cache, "qemu", "debian-6.1-x86_64-cloud", part=part)
        ends.append(done.result.verdict)
    assert [end.outcome for end in ends] == [Outcome.PASS, Outcome.PASS]
    assert "6 of 6 outputs have the hashes" in ends[1].reason


@pytest.mark.parametrize(("machine", "kernel"), [("bwrap", None), ("qemu", None)])
def test_genesis_is_built_without_a_shell(
    tools: Tools, machine: str, kernel: str | None, tmp_path: Path, harness_cache: Path
) -> None:
    drv = next(tools.store.glob("*-cc.drv"), None) or stores.genesis_chain(tools)
    done = replayed(drv, tmp_path, harness_cache, machine, kernel, bare=True)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert done.result.verdict.reason.startswith("7 of 7 outputs have the hashes")
    made = products.read(done.directory)
    assert made is not None
    sums, found = genesis_sums(), {name[44:]: digest for name, digest in made.items()}
    for name in ("mc", "c0", "cc-1", "cc"):
        assert found[name] == sums[name], name


def test_a_run_in_qemu_and_one_in_bwrap_made_the_same_files(tmp_path: Path, harness_cache: Path) -> None:
    fake, second = closure(tmp_path / "store")
    drv = fake.on_host(second)
    first = replayed(drv, tmp_path, harness_cache, "qemu", "debian-6.1-x86_64-cloud")
    other = replayed(drv, tmp_path, harness_cache, "bwrap")
    for done in (first, other):
        assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
        assert "for 3 there is nothing to compare with" in done.result.verdict.reason
    assert (first.directory / "manifest.nar").read_bytes() == (other.directory / "manifest.nar").read_bytes()
    produced = compare(read_run(first.directory), read_run(other.directory)).produced
    assert produced is not None
    assert (produced.same, produced.differing) == (2, ())
