"""Chooses the accelerator by booting a tiny guest, once per host.

`/dev/kvm` that opens proves nothing: in nested or filtered environments guests start and then hang.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.machine import probe_guest
from harness.machine.program import qemu_program
from harness.machine.protocol import Accelerator

if TYPE_CHECKING:
    from harness.store import Store

_ANSWER = "answer.json"
_PROBE_LIMIT = 5.0  # seconds; the guest needs a few milliseconds


class Probe(msgspec.Struct, frozen=True):
    """What a tiny guest showed about an accelerator."""

    accelerator: Accelerator  # which one was tried
    works: bool  # whether the guest ran
    reason: str = ""  # why not, in QEMU's words


def probe(accelerator: Accelerator) -> Probe:
    """Boot the probe guest and see whether it reports back."""
    if accelerator == Accelerator.KVM and not Path("/dev/kvm").exists():
        return Probe(accelerator, works=False, reason="this host has no /dev/kvm")
    with tempfile.TemporaryDirectory(prefix="harness-probe-") as directory:
        rom = Path(directory, "probe.rom")
        rom.write_bytes(probe_guest.rom())
        command = [qemu_program(), "-no-user-config", "-nodefaults", "-machine", "pc", "-accel", accelerator]
        command += ["-display", "none", "-m", "16M", "-bios", str(rom)]
        command += ["-device", f"isa-debug-exit,iobase={probe_guest.DEBUG_EXIT_PORT:#x},iosize=1"]
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_PROBE_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            reason = f"the probe guest did not come back within {_PROBE_LIMIT:.0f} s"
            return Probe(accelerator, works=False, reason=reason)
    if result.returncode == probe_guest.EXIT_STATUS:
        return Probe(accelerator, works=True)
    words = [line.removeprefix(f"{command[0]}: ") for line in result.stderr.strip().splitlines()]
    return Probe(
        accelerator, works=False, reason=words[0] if words else f"QEMU exit status {result.returncode}"
    )


def choose(wanted: str, store: Store) -> Accelerator:
    """The accelerator that the user asked for; for "auto" KVM where it works, TCG otherwise.

    The answer is kept until the host boots again or QEMU changes, unless what was asked for does not work.
    """
    accelerator = Accelerator.KVM if wanted == "auto" else Accelerator(wanted)
    program = Path(qemu_program()).resolve()
    inputs = {
        "accelerator": accelerator,
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "qemu": [str(program), program.stat().st_mtime_ns],
        "may-open": os.access("/dev/kvm", os.R_OK | os.W_OK),
    }

    def build(directory: Path) -> None:
        found = probe(accelerator)
        if wanted != "auto":
            _check(found)
        (directory / _ANSWER).write_bytes(msgspec.json.encode(found))

    answer = store.get("accelerator", inputs, build) / _ANSWER
    found = msgspec.json.decode(answer.read_bytes(), type=Probe)
    if wanted != "auto" and not found.works:  # as a run with "auto" found out
        _check(probe(accelerator))
    return accelerator if found.works or wanted != "auto" else Accelerator.TCG


def _check(found: Probe) -> None:
    if not found.works:
        raise ConfigError(
            f"the accelerator {found.accelerator} does not work here: {found.reason}",
            hint="leave --accelerator away to take what works",
        )
