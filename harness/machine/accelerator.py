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
from harness.machine.command import qemu_program
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
        image = Path(directory, "probe.rom")
        image.write_bytes(rom())
        command = [qemu_program(), "-no-user-config", "-nodefaults", "-machine", "pc", "-accel", accelerator]
        command += ["-display", "none", "-m", "16M", "-bios", str(image)]
        command += ["-device", f"isa-debug-exit,iobase={DEBUG_EXIT_PORT:#x},iosize=1"]
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
    if result.returncode == EXIT_STATUS:
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
        message = f"the accelerator {found.accelerator} does not work here: {found.reason}"
        raise ConfigError(message, hint="leave --accelerator away to take what works")


# The guest does what every kernel does first: it enters protected mode, draws a random number where the
# processor has RDRAND, switches paging on, and reports through a debug port. Broken accelerators fail on one
# of these steps: on one nested host, KVM ran real mode and hung on RDRAND, as did every kernel that
# randomises its address. Instruction encodings and the reset vector: Intel 64 and IA-32 Architectures
# Software Developer's Manual, volumes 2 and 3.
DEBUG_EXIT_PORT = 0xF4
REPORT = 0x2A
EXIT_STATUS = REPORT << 1 | 1  # how QEMU's isa-debug-exit device makes a status of the written byte

_ROM_SIZE = 0x10000  # mapped below 1 MiB, at 0xf0000, and again below 4 GiB, where the processor starts
_RESET_VECTOR = _ROM_SIZE - 16

_CODE = (
    # Real mode.
    b"\xfa"  # cli
    b"\x2e\x66\x0f\x01\x16\x80\x00"  # lgdt cs:[0x80]
    b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"  # cr0 |= 1: protected mode
    b"\x66\xea\x18\x00\x0f\x00\x08\x00"  # jmp 0x08:0xf0018
    # Protected mode, offset 0x18.
    b"\x66\xb8\x10\x00\x8e\xd8"  # ds = 0x10
    b"\xb8\x01\x00\x00\x00\x0f\xa2\x89\xce"  # esi = ecx of cpuid(1)
    b"\x0f\xba\xe6\x1e\x73\x03\x0f\xc7\xf0"  # if bit 30 of esi: rdrand eax
    b"\xc7\x05\x00\x10\x00\x00\x83\x00\x00\x00"  # page directory at 0x1000: the first 4 MiB map themselves
    b"\x0f\x20\xe0\x0c\x10\x0f\x22\xe0"  # cr4 |= 0x10: 4 MiB pages
    b"\xb8\x00\x10\x00\x00\x0f\x22\xd8"  # cr3 = 0x1000
    b"\x0f\x20\xc0\x0d\x00\x00\x00\x80\x0f\x22\xc0"  # cr0 |= 0x80000000: paging
    b"\x0f\xba\xe6\x1e\x73\x03\x0f\xc7\xf0"  # if bit 30 of esi: rdrand eax
    b"\xb0\x2a\xe6\xf4"  # write REPORT to DEBUG_EXIT_PORT
    b"\xf4\xeb\xfd"  # hlt, for ever
)
_TABLE_OFFSET = 0x68
_SEGMENTS = (
    b"\x00\x00\x00\x00\x00\x00\x00\x00"  # the null segment
    b"\xff\xff\x00\x00\x00\x9a\xcf\x00"  # 0x08: code, 4 GiB
    b"\xff\xff\x00\x00\x00\x92\xcf\x00"  # 0x10: data, 4 GiB
    b"\x17\x00\x68\x00\x0f\x00"  # 0x80: the table's limit, and its address 0xf0068
)


def rom() -> bytes:
    """The guest as a firmware image for QEMU's `-bios`."""
    image = bytearray(_ROM_SIZE)
    image[: len(_CODE)] = _CODE
    image[_TABLE_OFFSET : _TABLE_OFFSET + len(_SEGMENTS)] = _SEGMENTS
    # jmp to the start of the ROM; the displacement counts from the next instruction.
    image[_RESET_VECTOR : _RESET_VECTOR + 3] = b"\xe9" + (_ROM_SIZE - _RESET_VECTOR - 3).to_bytes(2, "little")
    return bytes(image)
