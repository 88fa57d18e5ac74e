"""The kinds of images that a recipe can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from harness.core import toml
from harness.core.sizes import parse_size
from harness.recipe.contents import Content, KernelName, Name

if TYPE_CHECKING:
    from collections.abc import Iterator

Compression = Literal["none", "gzip", "xz", "zstd", "lz4", "bzip2", "lzma", "lzo"]
Filesystem = Literal["ext2", "ext3", "ext4", "swap", "none"]
Label = Annotated[str, msgspec.Meta(max_length=16)]
Uuid = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12})?$")]


class Initramfs(toml.Table, frozen=True, tag_field="kind", tag="initramfs"):
    """A cpio archive that the kernel unpacks as its first root.

    `behind` names earlier initramfs images that stand, as they are, in front of this one's archive.
    """

    name: Name
    contents: tuple[Content, ...]
    compression: Compression = "none"
    behind: tuple[Name, ...] = ()


class Partition(toml.Table, frozen=True):
    """A part of a disk, with a filesystem of its own; without a size it takes all that is left.

    `offset` is where it begins, if not right behind what stands before it.
    """

    filesystem: Filesystem = "ext4"
    offset: str = ""
    size: str = ""
    label: Label = ""
    uuid: Uuid = ""
    bootable: bool = False
    contents: tuple[Content, ...] = ()

    @property
    def size_bytes(self) -> int | None:
        """Size in bytes; None for all that is left."""
        return parse_size(self.size) if self.size else None

    @property
    def offset_bytes(self) -> int:
        """The first byte that it may have; 0 where the recipe does not say."""
        return parse_size(self.offset) if self.offset else 0


class Disk(toml.Table, frozen=True, tag_field="kind", tag="disk"):
    """A disk: one filesystem over all of it, or partitions behind a partition table."""

    name: Name
    size: str
    filesystem: Filesystem = "ext4"
    label: Label = ""
    uuid: Uuid = ""
    format: Literal["raw", "qcow2"] = "raw"
    table: Literal["none", "mbr", "gpt"] = "none"
    partition: tuple[Partition, ...] = ()
    contents: tuple[Content, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of the whole disk in bytes."""
        return parse_size(self.size)


class MenuEntry(toml.Table, frozen=True):
    """What the boot menu of a hybrid image offers: a kernel with its initramfs and command line."""

    title: str
    kernel: KernelName
    initramfs: Name
    command_line: str


class Iso(toml.Table, frozen=True, tag_field="kind", tag="iso"):
    """A hybrid image that boots from CD and from a USB stick, by BIOS and by UEFI, with a menu.

    The menu is on the screen and on the first serial port; its first entry starts after `timeout` seconds.
    `disk` puts an earlier disk image on it as a file, for the target's own disk.
    """

    name: Name
    menu: Annotated[tuple[MenuEntry, ...], msgspec.Meta(min_length=1)]
    label: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]{0,32}$")] = ""
    timeout: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 3
    disk: Name | None = None
    contents: tuple[Content, ...] = ()


class Dib(toml.Table, frozen=True, tag_field="kind", tag="dib"):
    """A root that diskimage-builder makes from elements: a tarball for `unpacked`. It needs root."""

    name: Name
    elements: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    packages: tuple[Name, ...] = ()
    environment: dict[str, str] = {}  # noqa: RUF012 - msgspec copies it
    drop: tuple[str, ...] = ()


class BuilderHex0(toml.Table, frozen=True, tag_field="kind", tag="builder-hex0"):
    """A disk that a BIOS boots without any Linux: builder-hex0, the files that it loads, and its commands.

    `stage1` is the boot sector, as hex0 or as it is, and `stage2` the hex0 source that it compiles, as paths;
    without `stage2`, `stage1` is all of it. `commands` follow on the files.
    """

    name: Name
    stage1: str
    commands: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    stage2: str = ""
    size: str = "64M"
    contents: tuple[Content, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of the whole disk in bytes."""
        return parse_size(self.size)


Image = Initramfs | Disk | Iso | Dib | BuilderHex0


def contents_by_key(image: Image) -> Iterator[tuple[str, Content]]:
    """All that is added to an image, with its key below the image's: "partition[1].contents[0]"."""
    if isinstance(image, Dib):
        return
    yield from _numbered("contents", image.contents)
    if isinstance(image, Disk):
        for number, partition in enumerate(image.partition):
            yield from _numbered(f"partition[{number}].contents", partition.contents)


def contents_of(image: Image) -> tuple[Content, ...]:
    """All that is added to an image, in its partitions too."""
    return tuple(content for _, content in contents_by_key(image))


def _numbered(key: str, contents: tuple[Content, ...]) -> Iterator[tuple[str, Content]]:
    return ((f"{key}[{number}]", content) for number, content in enumerate(contents))
