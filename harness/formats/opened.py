"""Opens an image of any known format, recognised by its bytes."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core import programs
from harness.core.errors import ConfigError, InfraError, explaining
from harness.core.sizes import format_size
from harness.formats import compression, magic
from harness.formats.tree import Member, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.formats.disk.partitions import Partition
    from harness.formats.ext.superblock import ExtFilesystem
    from harness.formats.magic import FileKind

# As much as recognising takes: the first volume descriptor of an ISO is the furthest (ECMA-119, 6.2.1).
_HEAD = 0x8800
# Most that a compressed disk may unpack to; zeros become holes.
_LIMIT = 64 << 30
_CPIO = (b"070701", b"070702")
_GPT = b"EFI PART"
# Types of partitions that have no name of their own.
_TYPES = {
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system",
    "21686148-6449-6E6F-744E-656564454649": "BIOS boot",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "swap",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "Microsoft basic data",
}


class OpenedImage(msgspec.Struct, frozen=True):
    """An image that can be read until its `with` block ends."""

    path: Path  # the file, as the user named it
    kind: str  # "cpio", "ext", "disk", "iso", "tar" or "hex0"
    format: str  # what it is, in words
    raw: Path  # a file with the image's bytes, unpacked where `path` is compressed or qcow2
    # yields what is in it, as often as it is called; what is in a partition is below p1/, p2/, …. Raises
    # ConfigError where the image is damaged
    members: Callable[[], Iterator[Member]]
    # directories that are roots of their own: "", or one for each partition with files
    roots: tuple[str, ...] = ("",)
    # yields what the bytes of `raw` are, where that is known
    parts: Callable[[], Iterator[Part]] = iter(()).__iter__
    remarks: list[str] = []  # why its contents may not be the newest


@contextmanager
def open_image(path: Path) -> Iterator[OpenedImage]:
    """Open an image for reading.

    Raises:
        ConfigError: It cannot be read, is no image, is damaged so that its kind cannot be told, or unpacks to
            more than 64 GiB.
        InfraError: There is no room to unpack it.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_open(path))
        raw, packed = path, ""
        head = _read_head(file)
        if head.startswith(b"QFI\xfb"):
            from harness.formats.disk.qcow2 import raw_of_qcow2

            raw, packed = stack.enter_context(raw_of_qcow2(path)), "qcow2: "
        elif (name := compression.detect(head)) != "none" and not _starts_cpio(_unpacked_head(path, file)):
            file = stack.enter_context(_unpacked(path, file))
            # Other programs open it by this name as well: the file itself has none.
            raw, packed = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}"), f"{name}-compressed "
        if raw != path:
            file = stack.enter_context(_open(raw))
            head = _read_head(file)
        image = _recognise(path, raw, file, head)
        yield msgspec.structs.replace(image, format=packed + image.format)


def _open(path: Path) -> BinaryIO:
    with explaining(ConfigError, f"cannot read {path}"):
        if not path.is_file() and not path.is_block_device():
            what = "is no regular file" if path.exists() else "does not exist"
            raise ConfigError(f"{path} {what}", hint="give an image: cpio, ext2/3/4, disk, qcow2 or ISO")
        return path.open("rb")


def _read_head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(_HEAD)


def _starts_cpio(head: bytes) -> bool:
    """Whether the kernel would find an archive here; zeros in front do not count."""
    return head.lstrip(b"\0").startswith(_CPIO)


class _EnoughError(Exception):
    """The head is complete."""


class _Head:
    """Takes the first bytes of a stream."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes | memoryview, /) -> None:
        self.data += data
        if len(self.data) >= _HEAD:
            raise _EnoughError


def _unpacked_head(path: Path, file: BinaryIO) -> bytes:
    head = _Head()
    try:
        compression.unpack(file, 0, head, limit=_LIMIT)
    except _EnoughError:
        pass
    except compression.StreamError as error:
        if not head.data:
            raise ConfigError(f"{path}, byte {error.offset}: {error.what}") from None
    return head.data


class _Holes:
    """Writes to a file, and leaves holes where there is nothing but zeros."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes | memoryview, /) -> None:
        if any(data):
            self._file.write(data)
        else:
            self._file.seek(len(data), os.SEEK_CUR)


@contextmanager
def _unpacked(path: Path, file: BinaryIO) -> Iterator[BinaryIO]:
    """Unpack all streams of a file into one that has no name and is gone with us."""
    with tempfile.TemporaryFile() as unpacked:
        out = _Holes(unpacked)
        size, offset = path.stat().st_size, 0
        try:
            while offset < size:
                offset = compression.unpack(file, offset, out, limit=_LIMIT - unpacked.tell())
                file.seek(offset)
                if compression.detect(file.read(6)) == "none":
                    break
        except compression.StreamError as error:
            raise ConfigError(f"{path}, byte {error.offset}: {error.what}") from None
        except OSError as error:
            raise InfraError(
                f"cannot unpack {path} into {tempfile.gettempdir()}: {error.strerror}",
                hint="free some space there, or name another directory in the environment variable TMPDIR",
            ) from error
        unpacked.truncate(unpacked.tell())
        unpacked.flush()
        yield unpacked


def _recognise(path: Path, raw: Path, file: BinaryIO, head: bytes) -> OpenedImage:
    if _starts_cpio(head) or compression.detect(head) != "none":
        return _cpio(path, raw, file, head)
    if head.startswith(b"CD001", 0x8001):  # before the MBR, which a hybrid image has too
        from harness.formats.iso import reader as iso_reader

        words = f"ISO 9660 image, {format_size(raw.stat().st_size)}"
        return OpenedImage(path, "iso", words, raw, lambda: iso_reader.members(raw))
    if head.startswith(b"\x53\xef", 1024 + 56):
        return _ext(path, raw, file)
    if _starts_tar(head):
        from harness.formats import tar_reader

        return OpenedImage(path, "tar", "tar archive", raw, lambda: tar_reader.members(raw))
    boots = head.startswith(b"\x55\xaa", 510) and not head.startswith(b"HdrS", 0x202)
    if boots and (disk := _hex0_disk(path, raw, file)):
        return disk
    if head.startswith(_GPT, 512) or head.startswith(_GPT, 4096) or (boots and _has_table(head)):
        return _disk(path, raw, file)
    file.seek(len(head))
    kind = _stranger(raw, head + file.read(magic.HEAD - len(head)))
    raise ConfigError(
        f"{path} is no image but {kind.words}",
        hint=kind.hint
        or "images are cpio archives, ext2/3/4 filesystems, disks with an MBR or GPT, ISO 9660 and tar",
    )


def _starts_tar(head: bytes) -> bool:
    """Whether a header of tar begins a file; that of the oldest kind (v7) only has a checksum."""
    if head.startswith(b"ustar", 257):
        return True
    try:
        expected = int(head[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    return len(head) >= 512 and bool(head[0]) and sum(head[:148]) + 8 * 32 + sum(head[156:512]) == expected


def _has_table(head: bytes) -> bool:
    """Whether the first sector ends in an MBR's four partitions: each is active or not, one has a type."""
    entries = [head[offset : offset + 16] for offset in range(446, 510, 16)]
    complete = len(head) >= 512
    return complete and all(e[0] in {0, 0x80} for e in entries) and any(e[4] for e in entries)


def _stranger(path: Path, head: bytes) -> FileKind:
    kind = magic.kind_of(head)
    if kind not in {magic.UNKNOWN, magic.ZEROS}:
        return kind
    if _has_table(head):
        what = "a disk whose first sector does not end with the signature 55 aa: no BIOS boots it"
        return magic.FileKind(what, "make its partition table anew")
    if programs.find("file"):
        said = programs.output(["file", "-bL", str(path)]).strip()
        if said != "data":
            return magic.FileKind(f"what file(1) calls {said!r}")
    return kind


def _cpio(path: Path, raw: Path, file: BinaryIO, head: bytes) -> OpenedImage:
    from harness.formats.cpio.reader import cpio_parts, members

    name = compression.detect(head)
    words = "cpio archive" + (f", {name}-compressed" if name != "none" else "")
    return OpenedImage(path, "cpio", words, raw, lambda: members(file), parts=lambda: cpio_parts(file))


def _ext(path: Path, raw: Path, file: BinaryIO) -> OpenedImage:
    from harness.formats.ext import reader as ext_reader

    known = ext_reader.identify(file, 0)
    words = "ext filesystem"
    if known:
        words = " ".join(filter(None, [known.kind, "filesystem", known.label]))
        words += f", {format_size(known.size)}"
    remarks = _stale("the filesystem", known)
    return OpenedImage(path, "ext", words, raw, lambda: ext_reader.members(file), remarks=remarks)


def _stale(name: str, known: ExtFilesystem | None) -> list[str]:
    """A remark about a filesystem that a kernel would bring up to date from its journal when it mounts it."""
    if known is None or "needs_recovery" not in known.features:
        return []
    return [f"the journal of {name} has changes that are not seen here: contents may be older or damaged"]


def _disk(path: Path, raw: Path, file: BinaryIO) -> OpenedImage:
    from harness.formats.disk import partitions
    from harness.formats.ext import reader as ext_reader

    table = partitions.read(raw)
    readable = {}
    parts: list[Part] = []
    remarks: list[str] = []
    for each in table.partitions:
        known = ext_reader.identify(file, each.offset)
        what = known.kind if known else _TYPES.get(each.type, each.type)
        parts.append(Part(f"p{each.number} ({what})", each.offset, each.size))
        remarks += _stale(f"p{each.number}", known)
        if known or ext_reader.begins(file, each.offset):  # one that is damaged says so when it is read
            readable[f"p{each.number}"] = each
    words = f"disk with {table.label.upper()}: " + ", ".join(part.name for part in parts)
    members = partial(_members_of, file, readable)
    return OpenedImage(path, "disk", words, raw, members, tuple(readable), lambda: iter(parts), remarks)


def _hex0_disk(path: Path, raw: Path, file: BinaryIO) -> OpenedImage | None:
    from harness.formats import hex0_disk

    file.seek(0)
    start = hex0_disk.find_script(file.read(hex0_disk.HEAD))
    if start is None:
        return None
    words = f"disk that boots builder-hex0, {format_size(raw.stat().st_size)}"
    return OpenedImage(path, "hex0", words, raw, lambda: hex0_disk.members(file, start))


def _members_of(file: BinaryIO, partitions: dict[str, Partition]) -> Iterator[Member]:
    from harness.formats.ext import reader as ext_reader

    for root, partition in partitions.items():
        for member in ext_reader.members(file, partition.offset, partition.size):
            path = f"{root}/{member.path}".rstrip("/")
            yield msgspec.structs.replace(
                member, path=path, link=f"{root}/{member.link}" if member.link else ""
            )
