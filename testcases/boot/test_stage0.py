"""stage0-posix in miniature as PID 1 of a guest, and without Linux from a boot sector: the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.payload.chosen import Payload
from harness.record.record import RunDocument
from harness.run.execute import execute
from harness.run.prepare import prepare
from harness.run.request import RunRequest
from harness.stages import products
from testcases.support.mini_stage0 import SAYS, builder, chosen, seed, tree
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from pathlib import Path

    from harness.run.execute import Run

# Longer than 80 columns, so that the BIOS's console wraps it.
LONG = f" +> ./x86/bin/kaem --verbose --strict --file ./x86/kaem.run {'and more ' * 6}\n"
SUM = f"{'0123456789abcdef' * 4}  ./x86/artifact/a-name-so-long-that-it-wraps\n"


def run(name: str, checkout: Path, place: Path, cache: Path, append: str = "") -> Run:
    recipe, expected = chosen(name, checkout, "x86", None, instrument=False)
    request = RunRequest(runs=place / "runs", build=BuildOptions(cache=cache), append=append)
    return execute(prepare(request, Quiet(), Payload(recipe=recipe, expected=expected)))


def document(done: Run) -> RunDocument:
    return msgspec.json.decode((done.directory / "run.json").read_bytes(), type=RunDocument)


def test_the_seed_is_pid_1_of_a_guest(tmp_path: Path, harness_cache: Path) -> None:
    append = "console_msg_format=syslog"  # each message with its level
    done = run("stage0-posix", tree(tmp_path / "tree", seed()), tmp_path, harness_cache, append)
    assert b"<5>[    0.000000] Linux version" in (done.directory / "console.raw").read_bytes()
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert [stage.name for stage in done.result.stages] == ["kernel", "seed", "full", "answers"]
    assert not document(done).not_applicable


def test_an_answer_that_the_seed_does_not_give_fails_the_run(tmp_path: Path, harness_cache: Path) -> None:
    says = SAYS.replace("x86/bin/mini: OK", "x86/bin/other: OK")
    done = run("stage0-posix", tree(tmp_path / "tree", seed(says=says)), tmp_path, harness_cache)
    assert done.result.verdict.outcome == Outcome.FAIL
    assert "x86/bin/mini" in done.result.verdict.reason


def test_a_disk_without_linux_speaks_through_the_bios(tmp_path: Path, harness_cache: Path) -> None:
    kaem = " +> ./x86/bin/kaem --verbose --strict --file ./x86/kaem.run \n"
    says = SAYS.replace(kaem, LONG) + SUM + "Build finished.\n"
    own = builder(tmp_path / "builder", says)
    checkout = tree(tmp_path / "tree", seed())
    recipe, expected = chosen("builder-hex0", checkout, "x86", own, instrument=False)
    boots = msgspec.structs.replace(recipe.boot, memory="64M")
    recipe = msgspec.structs.replace(recipe, document=msgspec.structs.replace(recipe.document, boot=boots))
    built = build_recipe(recipe, BuildOptions(cache=harness_cache), Quiet())
    done = run_built(built, cache=harness_cache, runs=tmp_path / "runs")
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert (done.directory / products.SUMS).read_text() == SUM.replace("./x86", "/x86")
    assert document(done).kernels == ()
    # The sums that were shown are the harness's own knowledge, and they lack the expected product.
    done = run_built(built, cache=harness_cache, runs=tmp_path / "runs", expected=expected)
    assert done.result.verdict.outcome == Outcome.FAIL
    assert "x86/bin/mini" in done.result.verdict.reason
