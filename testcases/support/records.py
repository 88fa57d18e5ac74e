"""Records as runs leave them, made without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.outcome import Outcome
from harness.machine.protocol import MachineRecord
from harness.record.record import HostRecord, KernelRecord, RunDocument
from harness.stages.events import TakenOverRecord
from harness.stages.verdict import CheckResult, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def leave_run(
    runs: Path,
    name: str,
    *,
    recipe: str = "relay",
    kernel: str = "debian-6.1-i686",
    outcome: Outcome | None = Outcome.PASS,
    inputs: str = "",
    checks: tuple[CheckResult, ...] = (),
    labels: Mapping[str, str] | None = None,
    console: Mapping[str, str] | None = None,
    machine: bool = True,
    taken_over: bool = False,
    **walls: float,
) -> Path:
    """Leave the record of a run that took so many seconds in these stages, and said this in them."""
    document = RunDocument(
        id=name,
        harness="0",
        recipe=recipe,
        plan="relay",
        recipe_sha256=inputs,
        plan_sha256="",
        started="",
        ended="2026-01-01T00:00:00Z" if outcome else "",
        pid=1,
        host=HostRecord("Linux", "", 1, 1),
        kernels=(
            KernelRecord("seed", kernel, "6.1", 32, ""),
            KernelRecord("second", "debian-5.10-i686", "5.10", 32, ""),
        ),
        machine=MachineRecord("qemu", "tcg", "", 1 << 30, "console=ttyS0", "7.2") if machine else None,
        verdict=Verdict(outcome, "sysa", "as the test has it") if outcome else None,
        stages=tuple(StageResult(stage, StageStatus.PASSED, wall=wall) for stage, wall in walls.items()),
        checks=checks,
        labels=dict(labels or {}),
        taken_over=TakenOverRecord("sysa", 1.0, 0) if taken_over else None,
    )
    directory = runs / name
    directory.mkdir()
    (directory / "run.json").write_bytes(msgspec.json.encode(document))
    if console is not None:
        leave_console(directory, console)
    return directory


def leave_console(directory: Path, said: Mapping[str, str]) -> None:
    """Leave what the console said in each stage."""
    raw, events = b"", b""
    for stage, text in said.items():
        events += msgspec.json.encode(
            {"seconds": 0.0, "event": "StageBegan", "stage": stage, "offset": len(raw)}
        )
        events += b"\n"
        raw += text.replace("\n", "\r\n").encode()
    (directory / "console.raw").write_bytes(raw)
    (directory / "console.idx").write_text("0 0.000\n")
    (directory / "events.jsonl").write_bytes(events)
