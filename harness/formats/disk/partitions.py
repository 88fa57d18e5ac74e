"""Partition tables, written and read by sfdisk; and qcow2 images, by qemu-img. Neither needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.core.errors import ConfigError, InfraError, command_failed

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

SECTOR = 512
OPTIONS = ("--quiet", "--no-reread", "--no-tell-kernel", "--wipe=never")  # of sfdisk, for a file

# Types as sfdisk names them: MBR bytes in hex, GPT's UUIDs (Discoverable Partitions Specification).
_TYPES = {
    ("mbr", "linux"): "83",
    ("mbr", "swap"): "82",
    ("gpt", "linux"): "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    ("gpt", "swap"): "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
}


class Partition(msgspec.Struct, frozen=True):
    """A partition of a disk.

    Attributes:
        number: From 1 on, as in the device's name.
        offset: First byte.
        size: In bytes.
        type: Its type, as sfdisk names it: two hex digits of an MBR, a UUID of a GPT.
        uuid: GPT: its UUID; "" in an MBR.
        bootable: Whether an MBR says that it is active, or a GPT that BIOSes may boot it.
    """

    number: int
    offset: int
    size: int
    type: str
    uuid: str = ""
    bootable: bool = False


class Table(msgspec.Struct, frozen=True):
    """A partition table.

    Attributes:
        label: "mbr" or "gpt".
        id: The disk's identifier: "0x" and 8 hex digits, or a UUID.
        partitions: In the order of their numbers.
    """

    label: str
    id: str
    partitions: tuple[Partition, ...]


class New(msgspec.Struct, frozen=True):
    """A partition that is to be made.

    Attributes:
        offset: First byte, a multiple of 512.
        size: In bytes, a multiple of 512.
        type: "linux" or "swap".
        uuid: Its UUID in a GPT.
        bootable: Whether it is marked for the BIOS.
    """

    offset: int
    size: int
    type: Literal["linux", "swap"]
    uuid: uuid.UUID
    bootable: bool = False


def write(path: Path, label: str, disk: uuid.UUID, partitions: Sequence[New]) -> None:
    """Write a partition table into a file that is as large as the disk.

    Args:
        path: The file.
        label: "mbr" or "gpt".
        disk: The disk's UUID; an MBR takes the first 32 bits of it.
        partitions: What is made, in the order of the numbers.

    Raises:
        ConfigError: sfdisk is not installed.
        InfraError: sfdisk failed.
    """
    command = ["sfdisk", *OPTIONS, str(path)]
    result = _run(command, "fdisk", commands(label, disk, partitions))
    if result.returncode != 0:
        raise command_failed(command, result.returncode, result.stderr)


def commands(label: str, disk: uuid.UUID, partitions: Sequence[New]) -> str:
    """What sfdisk reads to write a partition table; arguments are those of `write`."""
    lines = [
        f"label: {'dos' if label == 'mbr' else label}",
        f"label-id: {f'0x{disk.hex[:8]}' if label == 'mbr' else disk}",
        "unit: sectors",
    ]
    for number, part in enumerate(partitions, start=1):
        line = f"{number}: start={part.offset // SECTOR}, size={part.size // SECTOR}"
        line += f", type={_TYPES[label, part.type]}"
        if label == "gpt":
            line += f", uuid={part.uuid}" + (', attrs="LegacyBIOSBootable"' if part.bootable else "")
        elif part.bootable:
            line += ", bootable"
        lines.append(line)
    return "\n".join(lines) + "\n"


class _Row(msgspec.Struct, frozen=True):
    node: str
    start: int
    size: int
    type: str
    uuid: str = ""
    attrs: str = ""
    bootable: bool = False


class _Rows(msgspec.Struct, frozen=True):
    label: str
    device: str
    id: str = ""
    sectorsize: int = SECTOR
    partitions: tuple[_Row, ...] = ()


class _Dump(msgspec.Struct, frozen=True):
    partitiontable: _Rows


def read(path: Path) -> Table:
    """Read the partition table of a disk image.

    Raises:
        ConfigError: There is none, it is damaged or of another kind, a partition lies outside of the image,
            or sfdisk is not installed.
    """
    command = ["sfdisk", "--json", str(path)]
    result = _run(command, "fdisk")
    if result.returncode != 0:
        reason = " ".join(result.stderr.split()) or f"sfdisk ended with status {result.returncode}"
        raise ConfigError(f"{path} has no partition table that can be read: {reason}")
    try:
        found = msgspec.json.decode(result.stdout, type=_Dump).partitiontable
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} has a partition table that makes no sense: {error}") from None
    label = {"dos": "mbr", "gpt": "gpt"}.get(found.label)
    if label is None:
        raise ConfigError(f"{path} has a partition table of the kind {found.label}; known are MBR and GPT")
    size = path.stat().st_size
    partitions = []
    for row in found.partitions:
        number = int(row.node[len(found.device) :].lstrip("p"))
        offset, length = row.start * found.sectorsize, row.size * found.sectorsize
        if offset + length > size:
            raise ConfigError(
                f"{path}: partition {number} ends at byte {offset + length}, the image at byte {size}",
                hint="the image is cut off, or its partition table is damaged",
            )
        bootable = row.bootable or "LegacyBIOSBootable" in row.attrs
        partitions.append(Partition(number, offset, length, row.type, row.uuid.lower(), bootable))
    return Table(label, found.id, tuple(sorted(partitions, key=lambda each: each.number)))


def write_qcow2(raw: Path, path: Path) -> None:
    """Make a qcow2 image of a raw one; zeros take no room in it.

    Raises:
        ConfigError: qemu-img is not installed.
        InfraError: qemu-img failed.
    """
    options = "compat=1.1,cluster_size=65536,lazy_refcounts=off,preallocation=off"
    command = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "-o",
        options,
        "-S",
        "4k",
        str(raw),
        str(path),
    ]
    result = _run(command, "qemu-utils")
    if result.returncode != 0:
        raise command_failed(command, result.returncode, result.stderr)


class _Check(msgspec.Struct, frozen=True):
    end: int = msgspec.field(name="image-end-offset")
    corruptions: int = 0
    errors: int = msgspec.field(name="check-errors", default=0)


class _Info(msgspec.Struct, frozen=True):
    virtual_size: int = msgspec.field(name="virtual-size")
    backing: str = msgspec.field(name="backing-filename", default="")
    encrypted: bool = False


@contextmanager
def raw_of_qcow2(path: Path) -> Iterator[Path]:
    """Unpack a qcow2 image into a raw file, sparse, that is gone when the `with` block ends.

    Raises:
        ConfigError: The image is damaged, encrypted, or an overlay of another one; qemu-img is not installed.
        InfraError: There is no room to unpack it.
    """
    described = _run(["qemu-img", "info", "--output=json", "-f", "qcow2", str(path)], "qemu-utils")
    if described.returncode != 0:
        raise ConfigError(f"{path} is no qcow2 image that can be read: {_last_line(described.stderr)}")
    info = msgspec.json.decode(described.stdout, type=_Info)
    if info.backing:  # it names a file of this host, which a foreign image has no business with
        raise ConfigError(
            f"{path} holds only what differs from {info.backing}",
            hint="merge both with `qemu-img convert`, if you trust where they come from",
        )
    if info.encrypted:
        raise ConfigError(f"{path} is encrypted", hint="decrypt it with `qemu-img convert`")
    _check_qcow2(path)
    with tempfile.TemporaryDirectory() as directory:
        raw = Path(directory, f"{path.stem}.img")
        result = _run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)], "qemu-utils")
        if result.returncode != 0:
            reason = _last_line(result.stderr)
            if "No space left" in reason:
                raise InfraError(
                    f"cannot unpack {path} into {directory}: {reason}",
                    hint="free some space there, or choose another place with the variable TMPDIR",
                )
            raise ConfigError(f"{path} cannot be unpacked: {reason}")
        yield raw


def _check_qcow2(path: Path) -> None:
    """Find what `qemu-img convert` would read as zeros."""
    result = _run(["qemu-img", "check", "--output=json", "-f", "qcow2", str(path)], "qemu-utils")
    try:
        check = msgspec.json.decode(result.stdout, type=_Check)
    except msgspec.MsgspecError:
        raise ConfigError(f"{path} cannot be checked: {_last_line(result.stderr)}") from None
    if check.end > path.stat().st_size:
        raise ConfigError(f"{path} is cut off: it has {path.stat().st_size} bytes of {check.end}")
    if check.corruptions or check.errors:
        raise ConfigError(f"{path} is damaged: {_last_line(result.stderr or result.stdout)}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason was given"])[-1]


def _run(command: Sequence[str], package: str, script: str = "") -> subprocess.CompletedProcess[str]:
    # Administrators' programs are not on every user's PATH.
    program = shutil.which(command[0], path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if program is None:
        raise ConfigError(f"{command[0]} is not installed", hint=f"install the Debian package {package}")
    return subprocess.run(
        [program, *command[1:]],
        input=script,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
