"""Builds disk images: one filesystem, or partitions with one each."""

from __future__ import annotations

import shutil
import struct
import uuid
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError, explaining
from harness.core.files import replaced
from harness.core.sizes import format_size
from harness.formats.disk import partitions, qcow2
from harness.formats.ext import writer as ext_writer
from harness.formats.ext.groups import Identity
from harness.formats.ext.layout import KINDS
from harness.formats.ext.writer import Filesystem, write_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from uuid import UUID

    from harness.formats.tree import Entry, Written
    from harness.recipe import Disk, Partition

_NAMESPACE = uuid.UUID("6f1d6b0e-5a0c-5a3e-9d2f-0d7b6c1e4a55")  # of the UUIDs that we derive from names
_ALIGNMENT = 1 << 20  # where partitions begin: fits every disk, and leaves room for boot loaders
_LABEL_MAX = 16  # bytes
_MBR_MAX = 2 << 40  # of a disk with an MBR, whose sectors are counted with 32 bits
_EXT_MAX = 16 << 40  # of blocks that are counted with 32 bits


class _Place(msgspec.Struct, frozen=True):
    """Room on the disk, and what goes there."""

    key: str  # the recipe's key of its size, in words
    offset: int  # first byte
    size: int  # in bytes
    wanted: Disk | Partition  # what the recipe says about it
    identity: Identity  # label, UUID and time of what is made there


def write(
    disk: Disk, trees: Sequence[Sequence[Entry]], path: Path, *, work: Path, mtime: int = 0
) -> list[Written]:
    """Write a disk image. Everything is planned before the first byte is written.

    Args:
        disk: What the recipe asks for.
        trees: What goes into the disk's filesystem, or into that of each partition.
        path: The file to write; raw images are sparse.
        work: An empty directory for what is needed on the way.
        mtime: Time of all files and filesystems, in seconds since 1970.

    Returns:
        What was written; paths of a partitioned disk begin with p1/, p2/, ….

    Raises:
        ConfigError: The content does not fit, a file cannot be read, a key asks for what cannot be, the
            host's disk has no room, or a program is missing.
        InfraError: The image cannot be written, or a program failed. Nothing is left behind.
    """
    places = _places(disk, mtime)
    planned = [_plan(disk, place, tree) for place, tree in zip(places, trees, strict=True)]
    _check_space(disk, path.parent, sum(each.bytes for each in planned if each))
    with (
        explaining(InfraError, f"cannot write {path}", "free some space there"),
        replaced(path) as unfinished,
    ):
        if disk.format == "raw":
            return _write_raw(disk, places, planned, unfinished)
        written = _write_raw(disk, places, planned, work / "disk.img")
        qcow2.write_qcow2(work / "disk.img", unfinished)
        (work / "disk.img").unlink()
        return written


def _write_raw(
    disk: Disk, places: Sequence[_Place], planned: Sequence[Filesystem | None], path: Path
) -> list[Written]:
    written = []
    with path.open("wb") as file:
        file.truncate(disk.size_bytes)
        for number, (place, filesystem) in enumerate(zip(places, planned, strict=True), start=1):
            if filesystem:
                prefix = f"p{number}/" if disk.partition else ""
                written += [
                    msgspec.structs.replace(
                        each, path=prefix + each.path, link=prefix + each.link if each.link else ""
                    )
                    for each in filesystem.write(file.fileno(), place.offset)
                ]
            elif place.wanted.filesystem == "swap":
                header = _swap_header(place.size, place.identity.label, place.identity.uuid)
                write_at(file.fileno(), header, place.offset)
    if disk.partition:
        partitions.write(path, table_commands(disk))
    return written


def table_commands(disk: Disk) -> str:
    """What sfdisk reads to write the partition table of a disk that has one."""
    places = _places(disk, mtime=0)
    new = [
        partitions.New(
            place.offset,
            place.size,
            "swap" if place.wanted.filesystem == "swap" else "linux",
            _derived(f"{disk.name}/partition{number}"),
            wanted.bootable,
        )
        for number, (place, wanted) in enumerate(zip(places, disk.partition, strict=True), start=1)
    ]
    return partitions.commands(disk.table, _derived(f"{disk.name}/table"), new)


def _places(disk: Disk, mtime: int) -> list[_Place]:
    """Where everything goes, and what it is called."""
    if disk.table == "none":
        label = disk.label or ("" if disk.filesystem == "none" else disk.name[:_LABEL_MAX])
        identity = Identity(_label(disk, "", label), _uuid(disk.uuid, label), mtime)
        return [_Place("size", 0, disk.size_bytes, disk, identity)]
    if disk.table == "mbr" and disk.size_bytes > _MBR_MAX:
        message = f"the disk image {disk.name} (key size) has more than the 2T that an MBR can address"
        raise ConfigError(message, hint='choose a smaller size, or table = "gpt"')
    end = disk.size_bytes // _ALIGNMENT * _ALIGNMENT
    if disk.table == "gpt":
        end -= _ALIGNMENT  # for its copy at the end of the disk
    offset = _ALIGNMENT
    places = []
    for index, wanted in enumerate(disk.partition):
        key = f"partition[{index}]."
        name = wanted.label or f"{disk.name}/p{index + 1}"
        identity = Identity(_label(disk, key, wanted.label), _uuid(wanted.uuid, name), mtime)
        offset = max(offset, _aligned(wanted.offset_bytes))
        # One that takes what is left gets at least something.
        size = max(end - offset, _ALIGNMENT) if wanted.size_bytes is None else _aligned(wanted.size_bytes)
        places.append(_Place(f"{key}size", offset, size, wanted, identity))
        offset += size
    if offset > end:
        raise ConfigError(
            f"the disk image {disk.name} (key size): {exact_size(disk.size_bytes)} are too small for its "
            f"partitions by {exact_size(offset - end)}",
            hint=f"make it at least {exact_size(_aligned(disk.size_bytes) + offset - end)}",
        )
    return places


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _label(disk: Disk, key: str, label: str) -> bytes:
    encoded = label.encode()
    if len(encoded) > _LABEL_MAX:
        raise ConfigError(
            f"the disk image {disk.name} (key {key}label): {label!r} has {len(encoded)} bytes",
            hint=f"a label has room for {_LABEL_MAX} bytes; letters beyond ASCII take several",
        )
    return encoded


def _uuid(given: str, name: str) -> uuid.UUID:
    return uuid.UUID(given) if given else _derived(name)


def _derived(name: str) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, name)


def _plan(disk: Disk, place: _Place, tree: Sequence[Entry]) -> Filesystem | None:
    kind = place.wanted.filesystem
    where = f"the disk image {disk.name} (key {place.key})"
    if kind == "swap" and place.size < _SWAP_LEAST:
        raise ConfigError(f"{where} is too small for swap space", hint="make it at least 40K")
    if kind not in KINDS:
        return None
    if place.size > _EXT_MAX:
        raise ConfigError(
            f"{where} is larger than the 16T of an {kind} filesystem", hint="choose a smaller size"
        )
    try:
        return ext_writer.plan(KINDS[kind], place.size, tree, place.identity)
    except ext_writer.TooSmallError as error:
        raise ConfigError(
            f"{where}: {exact_size(place.size)} are too small for its content by "
            f"{exact_size(error.needed - place.size)}",
            hint=f"make it at least {exact_size(error.needed)}",
        ) from None


def exact_size(size: int) -> str:
    """A size as a recipe takes it: "640M"."""
    for unit, power in (("G", 30), ("M", 20), ("K", 10)):
        if size and size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)


def _check_space(disk: Disk, directory: Path, needed: int) -> None:
    if disk.format == "qcow2":
        needed *= 2  # the raw image on the way
    free = shutil.disk_usage(directory).free
    if free < needed:
        message = f"{directory} has {format_size(free)} left, and {disk.name} takes {format_size(needed)}"
        raise ConfigError(message, hint="free some space, or choose another cache with --cache DIR")


_PAGE = 4096
_SWAP_LEAST = 10 * _PAGE  # mkswap makes no smaller one
_SWAP_MAGIC = b"SWAPSPACE2"


def _swap_header(size: int, label: bytes, uuid: UUID) -> bytes:
    """The first page of swap space (linux/swap.h, union swap_header); its label has at most 16 bytes."""
    # The first 1024 bytes are a boot sector's. Then version, last page, number of bad pages, UUID, label.
    known = struct.pack("<III16s16s", 1, size // _PAGE - 1, 0, uuid.bytes, label)
    return (bytes(1024) + known).ljust(_PAGE - len(_SWAP_MAGIC), b"\0") + _SWAP_MAGIC
