"""Checks what this host has for runs, and names what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from harness.core import paths, programs
from harness.core.architecture import architecture_files, load_architecture
from harness.core.errors import ConfigError
from harness.core.sizes import format_size
from harness.machine import accelerator, native
from harness.machine.command import PROGRAM
from harness.machine.protocol import Accelerator, MachineKind
from harness.sources.apt import machine_mirror

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SPACE_WANTED = 3 << 30  # bytes: packages, kernels and images of the default recipe, with room to rebuild
_MEMORY_WANTED = 2 << 30  # bytes: one guest of the default recipe beside the host

_PROGRAMS = {
    PROGRAM: ("qemu-system-x86", "boots the guests"),
    "sfdisk": ("fdisk", "makes partition tables"),
    "qemu-img": ("qemu-utils", "makes qcow2 images"),
    "mformat": ("mtools", "makes hybrid images start by UEFI"),
    "git": ("git", "knows what belongs to a checkout"),
    "apt-get": ("apt", "fetches packages and kernels"),
    "dpkg-deb": ("dpkg", "unpacks packages"),
    "setpriv": ("util-linux", "ends QEMU when the harness is gone"),
    "cpio": ("cpio", "reads our archives in the tests"),
    "e2fsck": ("e2fsprogs", "judges our filesystems in the tests"),
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    name: str  # what
    good: bool | None  # whether it is as it should be; None when it is worth knowing and nothing more
    found: str  # what was found
    remedy: str = ""  # how to get it, if it is missing


def examine(cache: Path) -> list[Finding]:
    """Look at everything that a run needs."""
    # QEMU is not needed for these machines; without them everything else works.
    others = (MachineKind.CHROOT, MachineKind.BWRAP)
    natives = [_tried(kind, partial(_without_kernel, kind), missing=None) for kind in others]
    findings = [_python(), *_programs(), *_architectures(), *_accelerators(), *natives]
    return [*findings, _memory(), _disk(cache), _tried("archive", _mirror)]


def _tried(name: str, look: Callable[[], str], *, missing: bool | None = False) -> Finding:
    """What a look finds; `missing` tells how bad it is where there is nothing."""
    try:
        return Finding(name, good=True, found=look())
    except ConfigError as error:
        return Finding(name, missing, error.message, error.hint)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")


def _programs() -> list[Finding]:
    findings = []
    for program, (package, purpose) in _PROGRAMS.items():
        place = programs.find(program)
        if place is None:
            remedy = f"apt-get install --no-install-recommends {package}"
            findings.append(Finding(program, good=False, found=f"missing ({purpose})", remedy=remedy))
        else:
            found = _qemu_version(place) if program == PROGRAM else place
            findings.append(Finding(program, good=True, found=found))
    return findings


def _architectures() -> list[Finding]:
    """QEMU for other architectures than x86, which only their kernels need."""
    findings = []
    for name in architecture_files():
        qemu = load_architecture(name).qemu
        if qemu.program != PROGRAM:
            place = programs.find(qemu.program)
            remedy = f"apt-get install --no-install-recommends {qemu.package}"
            found = _qemu_version(place) if place else f"missing (boots kernels for {name}): {remedy}"
            findings.append(Finding(qemu.program, True if place else None, found))
    return findings


def _qemu_version(program: str) -> str:
    result = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return result.stdout.partition("\n")[0].removeprefix("QEMU emulator version ") or "does not start"


def _accelerators() -> list[Finding]:
    findings = []
    for kind in (Accelerator.KVM, Accelerator.TCG):
        try:
            probe = accelerator.probe(kind)
        except ConfigError as error:
            findings.append(Finding(kind, good=False, found=error.message, remedy=error.hint))
            continue
        found = "a probe guest ran" if probe.works else probe.reason
        # Without KVM everything works, only slower; without TCG nothing does.
        good = True if probe.works else (None if kind == Accelerator.KVM else False)
        findings.append(Finding(kind, good, found))
    return findings


def _without_kernel(kind: MachineKind) -> str:
    native.check_host(kind)
    return "payloads can run on this host's kernel"


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0))
    remedy = f"guests need {format_size(_MEMORY_WANTED)} beside the host; ask for less with --memory"
    return Finding("memory", total >= _MEMORY_WANTED, f"{format_size(total)}, {cores} cores", remedy)


def _disk(cache: Path) -> Finding:
    try:
        paths.writable_directory(cache, "cache", "choose another one with --cache DIR or HARNESS_CACHE")
    except ConfigError as error:
        return Finding("cache", good=False, found=error.message, remedy=error.hint)
    free = shutil.disk_usage(cache).free
    remedy = f"a first run needs about {format_size(_SPACE_WANTED)}; choose another cache with --cache DIR"
    return Finding("cache", free >= _SPACE_WANTED, f"{format_size(free)} free in {cache}", remedy)


def _mirror() -> str:
    chosen = os.environ.get("HARNESS_DEBIAN_MIRROR")
    return f"{chosen} (HARNESS_DEBIAN_MIRROR)" if chosen else machine_mirror()
