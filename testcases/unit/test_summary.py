"""What a person sees at the end of a run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import msgspec
import pytest
from rich.console import Console

from harness.core.outcome import Outcome
from harness.machine.protocol import MachineRecord
from harness.recipe import load_recipe
from harness.record.record import HostRecord, KernelRecord, RunDocument
from harness.report.summary import show_run, show_verdict
from harness.stages.events import FetchedRecord, ProducedRecord
from harness.stages.plan_file import load_plan
from harness.stages.verdict import CheckResult, Evidence, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from pathlib import Path

PLAN = load_plan(load_recipe("relay").plan)
PASS = Verdict(Outcome.PASS, "power-off", "everything was proved")
PANIC = Verdict(
    Outcome.PANIC,
    "sysb",
    "the kernel has no root [/dev/sda]",
    "check [boot.disk]",
    (
        Evidence("console", "[    1.23] Kernel panic - not syncing: [/sbin/init] :boom:", 12345),
        Evidence("processor", "halted with interrupts off"),
    ),
)
DOCUMENT = RunDocument(
    id="1",
    harness="0",
    recipe="relay",
    plan="relay",
    recipe_sha256="",
    plan_sha256="",
    started="",
    pid=1,
    host=HostRecord("Linux", "", 1, 1),
    kernels=(KernelRecord("seed", "debian-6.1-i686", "6.1.0-50-686", 32, ""),),
    machine=MachineRecord("qemu", "tcg", "", 1 << 30, "", "7.2.22"),
    verdict=PASS,
    stages=(
        StageResult("sysa", StageStatus.PASSED, wall=12.34, cpu=10.0),
        StageResult("kexec", StageStatus.FAILED, wall=2.0, cpu=1.5),
        StageResult("sysb", StageStatus.NOT_REACHED),
    ),
    checks=(CheckResult("shell", "nonce", passed=True, answer="42 [5.2]", seconds=1, offset=0),),
)


def shown(document: RunDocument, directory: Path, *, colours: bool = False, width: int = 100) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream, width=width, force_terminal=colours, color_system="standard" if colours else None
    )
    show_run(console, document, PLAN, directory)
    return stream.getvalue()


def words_of(text: str, first: str) -> list[str]:
    """The words of the line that holds this one."""
    [line] = [line for line in text.splitlines() if first in line.split()]
    return line.split()


def test_stages_stand_with_their_times_and_how_far_they_got(tmp_path: Path) -> None:
    text = shown(DOCUMENT, tmp_path)
    assert words_of(text, "sysa") == ["✓", "sysa", *PLAN.stages[0].title.split(), "12.3", "10.0"]
    assert words_of(text, "kexec") == ["✗", "kexec", *PLAN.stages[1].title.split(), "2.0", "1.5"]
    assert words_of(text, "sysb") == ["·", "sysb", *PLAN.stages[2].title.split()]
    assert words_of(text, "total") == ["total", "14.3", "11.5"]


def test_the_rest_says_what_ran_what_was_proved_and_where_the_record_is(tmp_path: Path) -> None:
    lines = shown(DOCUMENT, tmp_path).splitlines()
    proves = next(check.proves for stage in PLAN.stages for check in stage.checks if check.name == "nonce")
    assert f"✓ {proves}  (42 [5.2])" in lines
    assert "seed     Linux 6.1.0-50-686 (32 bit, debian-6.1-i686)" in lines
    assert "machine  QEMU 7.2.22, tcg, 1024 MiB" in lines
    assert "verdict  PASS: everything was proved" in lines
    assert lines[-1] == f"record   {tmp_path}"


def test_what_was_taken_out_of_the_guest_is_listed(tmp_path: Path) -> None:
    document = msgspec.structs.replace(
        DOCUMENT,
        produced=ProducedRecord("gcc", 2, 4096, 1.25, fast=True),
        fetched=(FetchedRecord("gcc", "/a[b]", "files/a[b]", 1, 0.5, fast=False),),
    )
    lines = shown(document, tmp_path).splitlines()
    assert "produced 2 files, 4.0 KiB: manifest.sha256 (1.2 s, through the virtio port)" in lines
    assert "fetched  /a[b], 1 B: files/a[b] (0.5 s, over the console)" in lines
    one = msgspec.structs.replace(document, produced=ProducedRecord("gcc", 1, 1, 1.0, fast=False))
    assert (
        "produced 1 file, 1 B: manifest.sha256 (1.0 s, over the console)" in shown(one, tmp_path).splitlines()
    )


def test_a_failure_comes_with_stage_reason_next_step_and_evidence(tmp_path: Path) -> None:
    lines = shown(msgspec.structs.replace(DOCUMENT, verdict=PANIC), tmp_path).splitlines()
    begin = lines.index("verdict  PANIC in stage sysb: the kernel has no root [/dev/sda]")
    assert lines[begin + 1 :] == [
        "next     check [boot.disk]",
        "         console @12345: [    1.23] Kernel panic - not syncing: [/sbin/init] :boom:",
        "         processor: halted with interrupts off",
        f"record   {tmp_path}",
    ]


def test_much_evidence_is_cut_to_its_end() -> None:
    evidence = tuple(Evidence("console", f"line {number}", number) for number in range(100))
    stream = io.StringIO()
    show_verdict(Console(file=stream), msgspec.structs.replace(PANIC, evidence=evidence))
    lines = stream.getvalue().splitlines()
    assert len(lines) < 20
    assert lines[-1].endswith("line 99")


def test_nothing_that_is_for_copying_is_broken_into_lines(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 120)
    text = shown(msgspec.structs.replace(DOCUMENT, verdict=PANIC), place, width=40)
    assert f"record   {place}" in text.splitlines()
    assert "verdict  PANIC in stage sysb: the kernel has no root [/dev/sda]" in text.splitlines()


def test_colours_are_on_a_terminal_only(tmp_path: Path) -> None:
    assert "\x1b[" in shown(DOCUMENT, tmp_path, colours=True)
    assert "\x1b[" not in shown(DOCUMENT, tmp_path)


@pytest.mark.parametrize("title", ["the [initramfs] root", "the [/root] disk", "done :thumbs_up:"])
def test_a_plans_titles_are_shown_as_they_stand(tmp_path: Path, title: str) -> None:
    first = msgspec.structs.replace(PLAN.stages[0], title=title)
    stream = io.StringIO()
    plan = msgspec.structs.replace(PLAN, stages=(first, *PLAN.stages[1:]))
    show_run(Console(file=stream, width=100), DOCUMENT, plan, tmp_path)
    assert title in stream.getvalue()


def test_a_run_that_was_killed_before_anything_is_shown_too(tmp_path: Path) -> None:
    document = msgspec.structs.replace(DOCUMENT, verdict=None, machine=None, stages=(), checks=(), kernels=())
    assert shown(document, tmp_path).splitlines()[-1] == f"record   {tmp_path}"
