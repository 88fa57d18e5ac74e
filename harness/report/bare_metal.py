"""A run as Markdown to paste into reports about real machines.

What firmware and kernel say of the machine is read off the console: Linux prints it in its first lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.core.sizes import format_size
from harness.stages.verdict import StageResult, StageStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.record.reading import Reading

_STAMP = r"^(?:<\d>)?(?:\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? )?"
_LINUX = re.compile(_STAMP + r"Linux version (?P<value>.*)")
# What Linux says of the machine, once per kernel: arch/x86/kernel/e820.c, drivers/firmware/dmi_scan.c,
# drivers/firmware/efi/efi.c, arch/x86/kernel/cpu/common.c.
_MAP = re.compile(r"\bBIOS-e820: (?P<value>\[mem .*)")
_FACTS = {
    "machine": re.compile(_STAMP + r"DMI: (?P<value>.*)"),
    "UEFI": re.compile(_STAMP + r"efi: (?P<value>EFI v.*)"),
    "processor": re.compile(_STAMP + r"(?:smpboot: CPU0|CPU): (?P<value>\S.*family:.*)"),
    "memory": re.compile(_STAMP + r"Memory: (?P<value>\d+K.*)"),
}
_TAIL = 40  # lines of the console in the excerpt
_STATUS = {
    StageStatus.PASSED: "passed",
    StageStatus.FAILED: "FAILED",
    StageStatus.NOT_REACHED: "not reached",
    StageStatus.RESUMED: "resumed",
}


def report(reading: Reading) -> Iterator[str]:
    """The lines of a report in Markdown; nothing of the host's name, user or directories is in it."""
    document, seen = reading.document, _seen(reading)
    verdict = document.verdict
    outcome = f"{verdict.outcome} in stage {verdict.stage}" if verdict else reading.ending()
    yield f"## {document.recipe}: {outcome}"
    yield ""
    if verdict:
        yield f"{verdict.reason}"
        yield ""
    if document.taken_over is not None:
        yield f"A person typed from stage {document.taken_over.stage} on; the result is not the plan's alone."
        yield ""
    yield from _machine(reading, seen)
    yield from _stages(document.stages)
    for check in document.checks:
        yield f"- {'passed' if check.passed else 'FAILED'}: {check.stage}.{check.name} ({check.answer})"
    if document.checks:
        yield ""
    if seen["map"]:
        yield "Memory map, as the first kernel got it from the firmware:"
        yield ""
        yield from _block(seen["map"])
    yield from _excerpt(reading)


def _seen(reading: Reading) -> dict[str, list[str]]:
    """What the console says of the machine."""
    found: dict[str, list[str]] = {"map": [], "kernels": [], **{name: [] for name in _FACTS}}
    for line in reading.lines():
        text = line.text
        if match := _LINUX.search(text):
            found["kernels"].append(match["value"])
        elif (match := _MAP.search(text)) and len(found["kernels"]) <= 1:
            found["map"].append(match["value"])
        else:
            for name, pattern in _FACTS.items():
                if match := pattern.search(text):
                    found[name].append(match["value"])
    return found


def _machine(reading: Reading, seen: dict[str, list[str]]) -> Iterator[str]:
    document = reading.document
    machine = document.machine
    yield "| | |"
    yield "|---|---|"
    if machine is not None:
        yield f"| run on | {machine.title}, {format_size(machine.memory)} of memory |"
        yield f"| firmware | {machine.firmware}, boot medium: {machine.medium} |"
        yield f"| command line | `{machine.command_line}` |"
    for name in _FACTS:
        for value in dict.fromkeys(seen[name]):
            yield f"| {name} | {_cell(value)} |"
    for kernel in document.kernels:
        yield f"| {kernel.role} kernel | {kernel.name} {kernel.version}, sha256 {kernel.sha256} |"
    for banner in seen["kernels"]:
        yield f"| came up | Linux {_cell(banner)} |"
    for image in document.images:
        digest = image.digest or image.sha256
        yield f"| image | {image.name} ({image.kind}, {format_size(image.size)}), sha256 {digest} |"
    yield f"| started | {document.started}, by harness {document.harness}, plan {document.plan} |"
    yield ""


def _stages(stages: tuple[StageResult, ...]) -> Iterator[str]:
    yield "| stage | | seconds | console bytes |"
    yield "|---|---|---:|---:|"
    for stage in stages:
        reached = stage.status in {StageStatus.PASSED, StageStatus.FAILED}
        figures = f"{stage.wall:.1f} | {stage.end - stage.start}" if reached else " | "
        yield f"| {stage.name} | {_STATUS[stage.status]} | {figures} |"
    yield f"| total | | {sum(stage.wall for stage in stages):.1f} | |"
    yield ""


def _excerpt(reading: Reading) -> Iterator[str]:
    """What the verdict rests on, and the console's last lines."""
    verdict = reading.document.verdict
    evidence = [item.text for item in verdict.evidence] if verdict else []
    if evidence:
        yield "The verdict rests on:"
        yield ""
        yield from _block(evidence)
    last: list[str] = []
    for line in reading.lines():
        last = [*last[-_TAIL + 1 :], line.text]
    yield "The console's last lines:"
    yield ""
    yield from _block(last)


def _block(lines: list[str]) -> Iterator[str]:
    """Lines as they are: a fence that none of them holds."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield fence
    yield from lines
    yield fence
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
