"""GUID partition tables: both sizes of sectors, both copies, and disks that are cut off."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.disk import partitions
from harness.formats.disk.partitions import Table, read_gpt
from harness.formats.opened import open_image

if TYPE_CHECKING:
    from pathlib import Path

LINUX = UUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
DISK, FIRST = UUID(int=1), UUID(int=2)
SECTORS = 4096  # of the disk


def copy(sector: int, own: int, other: int, table: int, entries: bytes) -> bytes:
    """A header, padded to its sector."""
    fields = (own, other, 6, SECTORS - 7, DISK.bytes_le, table, len(entries) // 128, 128, zlib.crc32(entries))
    head = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, *fields)
    return (head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]).ljust(sector, b"\0")


def disk(sector: int = 512) -> bytes:
    """A disk with a protective MBR and one partition of 100 sectors."""
    data = bytearray(SECTORS * sector)
    struct.pack_into("<B3sB3sII", data, 446, 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, SECTORS - 1)
    data[510:512] = b"\x55\xaa"
    entry = struct.pack(
        "<16s16sQQQ72s", LINUX.bytes_le, FIRST.bytes_le, 40, 139, 4, "root".encode("utf-16-le")
    )
    entries = entry.ljust(4 * 128, b"\0")
    for own, other, table in ((1, SECTORS - 1, 2), (SECTORS - 1, 1, SECTORS - 5)):
        data[own * sector : (own + 1) * sector] = copy(sector, own, other, table, entries)
        data[table * sector : table * sector + len(entries)] = entries
    return bytes(data)


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_table_is_read(tmp_path: Path, sector: int) -> None:
    path = tmp_path / "disk"
    path.write_bytes(disk(sector))
    table = partitions.read(path)
    assert (table.label, table.id, table.sector, table.problem) == ("gpt", str(DISK), sector, "")
    [part] = table.partitions
    assert (part.number, part.offset, part.size) == (1, 40 * sector, 100 * sector)
    assert (part.type, part.uuid, part.bootable) == (str(LINUX).upper(), str(FIRST), True)
    with open_image(path) as image:
        assert image.format == "disk with GPT: p1 (Linux)"


@pytest.mark.parametrize("sector", [512, 4096])
def test_the_copy_at_the_end_counts_when_the_first_is_damaged(sector: int) -> None:
    data = bytearray(disk(sector))
    data[sector + 16] ^= 1
    found = read_gpt(io.BytesIO(data))
    assert isinstance(found, Table)
    assert found.partitions[0].offset == 40 * sector
    assert found.problem == "the copy at the beginning does not match its checksum"
    data[-sector + 16] ^= 1
    assert read_gpt(io.BytesIO(data)) == "does not match its checksum"


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_cut_disk_is_refused_at_every_sector(tmp_path: Path, sector: int) -> None:
    whole = disk(sector)
    path = tmp_path / "disk"
    for size in (*range(512, 6 * sector, 256), *range(6 * sector, len(whole), 97 * 256), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ConfigError, match=r"is cut off|GPT (is missing|has entries)") as caught:
            partitions.read(path)
        assert "\n" not in caught.value.message


def test_a_disk_that_grew_is_read(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(disk() + bytes(1 << 20))
    assert [part.size for part in partitions.read(path).partitions] == [100 * 512]


@given(edits=st.lists(st.tuples(st.integers(512, 512 * 4), st.integers(0, 255)), max_size=8))
def test_a_damaged_copy_never_wins(edits: list[tuple[int, int]]) -> None:
    data = bytearray(disk())
    for at, value in edits:
        data[at] = value
    found = read_gpt(io.BytesIO(data))
    assert isinstance(found, Table)
    assert [(entry.offset, entry.size) for entry in found.partitions] == [(40 * 512, 100 * 512)]
