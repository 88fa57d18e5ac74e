"""A run as Markdown to paste into reports about real machines.

What firmware and kernel say of the machine is read off the console: Linux prints it in its first lines.
"""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.sizes import format_size
from harness.stages.verdict import StageStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
_STATUS = {status: str(status) for status in StageStatus} | {StageStatus.FAILED: "FAILED"}


def report(reading: Reading) -> Iterator[str]:
    """The lines of a report in Markdown; nothing of the host's name, user or directories is in it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(  # noqa: S701 - Markdown to read before it is pasted, and no page
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"size": format_size, "cell": lambda text: text.replace("|", "\\|")}
    found = _seen(reading)
    text = pages.get_template("bare_metal.md").render(
        document=reading.document,
        ending=reading.ending(),
        map=found.pop("map"),
        kernels=found.pop("kernels"),
        facts=[(name, value) for name, values in found.items() for value in dict.fromkeys(values)],
        status=_STATUS,
        last=deque((line.text for line in reading.lines()), _TAIL),
        fence=_fence,
    )
    yield from text.split("\n")


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


def _fence(lines: Sequence[str]) -> str:
    """What stands around lines and is in none of them."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    return "`" * max(3, longest + 1)
