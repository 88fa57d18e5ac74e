"""genesis-tcc under kernels and without one, from our compiler and from others: the same bits everywhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine import native
from harness.machine.protocol import MachineKind
from harness.payload.chosen import Payload
from harness.recipe import Initramfs, Text, load_recipe
from harness.record.reading import read_run
from harness.report.compare import compare
from harness.run.execute import execute
from harness.run.prepare import prepare, to_build
from harness.run.request import RunRequest
from harness.stages.plan_file import find_plan, load_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.recipe import Content
    from harness.run.execute import Run

pytestmark = pytest.mark.xdist_group("genesis")

# Kept for the run of every lineage: what a compiler outside of it made.
OUTSIDE = {"tcc-0"}
# What makes tcc-0, with a compiler that knows one function of its own source and adds an instruction there.
TROJAN = (
    r"edit tcc/tccgen.c 1 gfunc_prolog(sym); "
    r'gfunc_prolog(sym);\sif\s(!strcmp(funcname,"tcc_output_file"))\sg(0x90);'
    "\nCOMPILE\nuntar tcc.tar tcc 0\n"
)


def request(place: Path, cache: Path, machine: MachineKind, kernel: str | None = None) -> RunRequest:
    return RunRequest(runs=place, build=BuildOptions(cache=cache, kernel=kernel), machine=machine)


def run(asked: RunRequest, name: str, change: Callable[[Content], Content] = lambda content: content) -> Run:
    """Run a recipe in which some contents are changed."""
    recipe = load_recipe(name)
    image, *others = recipe.images
    assert isinstance(image, Initramfs)
    image = msgspec.structs.replace(image, contents=tuple(map(change, image.contents)))
    document = msgspec.structs.replace(recipe.document, image=(image, *others))
    recipe = msgspec.structs.replace(recipe, document=document)
    built = build_recipe(recipe, to_build(asked, recipe), Quiet())
    return execute(prepare(asked, Quiet(), Payload(recipe=recipe), built))


def sums(done: Run) -> dict[str, str]:
    """The sums that a run printed at its end, by file."""
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    said = (
        (done.directory / "console.log")
        .read_text("utf-8")
        .partition("= genesis: the sums of all programs")[2]
    )
    return {
        name: value for value, name in re.findall(r"^ *[\d.]+ ([0-9a-f]{64})  (\S+)$", said, re.MULTILINE)
    }


@pytest.fixture(scope="module")
def bwrap() -> MachineKind:
    try:
        native.check_host(MachineKind.BWRAP)
    except ConfigError as error:
        pytest.skip(error.message)
    return MachineKind.BWRAP


@pytest.fixture(scope="module")
def ours(bwrap: MachineKind, harness_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """genesis-tcc on the host's kernel."""
    return run(request(tmp_path_factory.mktemp("genesis"), harness_cache, bwrap), "genesis-tcc")


@pytest.fixture(scope="module")
def expected(ours: Run) -> dict[str, str]:
    """The sums of genesis-tcc on the host's kernel."""
    found = sums(ours)
    assert {"seed", "c0", "cc", "tcc-0", "tcc-6", "musl/lib/libc.a", "signals"} <= found.keys()
    assert found["init"] == found["seed"], "the seed makes itself"
    return found


@pytest.mark.parametrize("kernel", ["debian-6.1-i686", "debian-6.1-x86_64"])
def test_the_seed_is_pid_1_of_a_guest(
    kernel: str, expected: dict[str, str], tmp_path: Path, harness_cache: Path
) -> None:
    done = run(request(tmp_path, harness_cache, MachineKind.QEMU, kernel), "genesis-tcc")
    assert sums(done) == expected


@pytest.mark.parametrize("compiler", ["gcc", "tcc", pytest.param("clang", marks=pytest.mark.thorough)])
def test_from_the_fixed_point_on_all_compilers_make_the_same(
    compiler: str, ours: Run, expected: dict[str, str], tmp_path: Path, harness_cache: Path
) -> None:
    done = run(request(tmp_path, harness_cache, MachineKind.BWRAP), f"genesis-tcc-{compiler}")
    found = sums(done)
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name] != expected[name]} == OUTSIDE
    shown = compare(read_run(ours.directory), read_run(done.directory))
    assert shown.ends == ()
    assert shown.produced is not None
    assert shown.produced.same > 4000
    assert (shown.produced.differing, shown.produced.only_first, shown.produced.only_second) == (
        ("/tcc-0",),
        (),
        (),
    )


def test_a_compiler_that_adds_something_is_found(
    bwrap: MachineKind, ours: Run, tmp_path: Path, harness_cache: Path
) -> None:
    first = (load_recipe("genesis-tcc").base / "genesis/08-tcc/first").read_text("utf-8")
    compile_ = next(line for line in first.splitlines() if line.startswith("cc "))
    trojan = Text(path="08-tcc/first", text=TROJAN.replace("COMPILE", compile_))

    def plant(content: Content) -> Content:
        return trojan if getattr(content, "path", "") == "08-tcc/first" else content

    done = run(request(tmp_path, harness_cache, bwrap), "genesis-tcc-gcc", plant)
    verdict = done.result.verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "tcc")
    assert re.match(r"tcc-1 has the sha256 [0-9a-f]{64} and should have", verdict.reason), verdict
    shown = compare(read_run(ours.directory), read_run(done.directory))
    (reason,) = [each.second for each in shown.ends if each.second.startswith("FAIL")]
    assert "tcc-1 has the sha256" in reason
    assert shown.produced is not None
    assert {"/tcc-0", "/tcc-1"} <= set(shown.produced.differing)
    assert not {"/cc", "/sha256", "/tcc.tar"} & set(shown.produced.differing)


def test_a_step_that_fails_is_named(bwrap: MachineKind, tmp_path: Path, harness_cache: Path) -> None:
    def damage(content: Content) -> Content:
        if getattr(content, "path", "") != "08-tcc/first":
            return content
        return Text(path="08-tcc/first", text="edit tcc/tcc.h 1 no-such-text x\n")

    done = run(request(tmp_path, harness_cache, bwrap), "genesis-tcc-gcc", damage)
    verdict = done.result.verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "tcc")
    assert "edit failed in line 1 of 08-tcc/first: tcc/tcc.h does not have the old text" in verdict.reason


@pytest.mark.parametrize(
    "machine", [MachineKind.BWRAP, pytest.param(MachineKind.QEMU, marks=pytest.mark.thorough)]
)
def test_the_chain_goes_on_to_gcc_and_bash(
    machine: MachineKind, bwrap: MachineKind, tmp_path: Path, harness_cache: Path
) -> None:
    """The steps compare what they make with the sums of each package; the checks ask bash and GCC."""
    done = run(request(tmp_path, harness_cache, machine), "genesis")
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert (done.result.facts["bash"], done.result.facts["gcc"]) == ("5.2.15", "3.4.6")
    plan = load_plan(find_plan("genesis"))
    assert [package.name for package in read_run(done.directory).document.packages] == [*plan.packages]
    lines = (done.directory / "manifest.sha256").read_text("utf-8").splitlines()
    produced = {path: digest for digest, path in map(str.split, lines)}
    for sums in (load_recipe("genesis").base / "genesis").glob("1[3-9]-*/sums"):
        for line in sums.read_text("utf-8").splitlines():
            digest, path = line.split()
            assert produced[f"/{path}"] == digest
