"""Checks of images that mke2fs, sfdisk and cpio make."""

from __future__ import annotations

import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.image.checks.kernel_checks import Seed
from testcases.unit.test_image_opened import ext, partitioned, program
from testcases.unit.test_image_verify import SHELL, bad, found, kernel_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_root_filesystem(tmp_path: Path) -> None:
    path = ext(tmp_path)
    assert [finding.what for finding in found(path) if "/bin/sh" in finding.what] == [
        "/bin/sh is there, with 1 more file that it needs"
    ]
    assert bad(path) == []
    assert bad(path, init="/sbin/init") == ["no filesystem has /sbin/init"]
    assert bad(path, kernel=Seed(kernel_of(tmp_path, 64), {"BLK_DEV_INITRD": "y"})) == [
        "/bin/busybox, which /bin/sh needs, is 32-bit, and kernel vmlinuz is built without IA32_EMULATION"
    ]


def test_data_without_an_init_are_only_mentioned(tmp_path: Path) -> None:
    path = ext(tmp_path)
    subprocess.run([program("debugfs"), "-w", "-R", "rm bin/sh", str(path)], check=True, capture_output=True)
    assert [finding.good for finding in found(path) if "has init" in finding.what] == [None]
    assert bad(path) == []


def _of_group(path: Path, what: str) -> str:
    """The first number behind some words of dumpe2fs."""
    said = subprocess.run([program("dumpe2fs"), str(path)], capture_output=True, text=True, check=True).stdout
    return said.partition(f"{what} ")[2].split()[0]


def test_a_filesystem_that_is_not_clean(tmp_path: Path) -> None:
    path = ext(tmp_path)
    subprocess.run(
        [program("debugfs"), "-w", "-R", "ssv state 0", str(path)], check=True, capture_output=True
    )
    assert bad(path) == []
    said = "the filesystem says: not cleanly unmounted; e2fsck finds nothing wrong"
    assert [finding.good for finding in found(path) if finding.what == said] == [None]
    with path.open("r+b") as image:  # a bit of the block bitmap: no reader looks at it
        image.seek(int(_of_group(path, "Block bitmap at")) * 1024)
        image.write(b"\xf0\0")
    assert any("not cleanly unmounted, and is damaged: " in what for what in bad(path))
    subprocess.run(
        [program("debugfs"), "-w", "-R", "feature has_journal needs_recovery", str(path)],
        check=True,
        capture_output=True,
    )
    assert bad(path) == []  # what the journal has may mend it
    assert any("its journal has changes that are not seen here, which may" in f.what for f in found(path))


@pytest.mark.parametrize(
    ("label", "offset", "value", "what"),
    [
        ("dos", 446 + 16 + 8, 4096, "overlaps"),
        ("gpt", 1024 + 128 + 40, 0xFFFF, "primary GPT table is corrupt"),
        ("gpt", (16 << 20) - 512, 0, "backup GPT table is corrupt"),
    ],
)
def test_a_partition_table(tmp_path: Path, label: str, offset: int, value: int, what: str) -> None:
    path = partitioned(tmp_path, label)
    assert bad(path) == []
    assert "the partition table is sound" in [finding.what for finding in found(path)]
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, offset, value)
    path.write_bytes(data)
    assert any(what in told for told in bad(path))


def test_a_partition_behind_the_end_of_its_disk(tmp_path: Path) -> None:
    path = partitioned(tmp_path, "dos")
    path.write_bytes(path.read_bytes()[: 6 << 20])
    with pytest.raises(ConfigError, match="partition 2 ends at byte"):
        found(path)


def test_an_archive_with_a_wrong_checksum(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    (tmp_path / "init").write_bytes(SHELL)
    (tmp_path / "init").chmod(0o755)
    (tmp_path / "data").write_bytes(b"sound data")
    done = subprocess.run(
        ["cpio", "-o", "-H", "crc", "--quiet"],
        input=b"init\ndata\n",
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    path = tmp_path / "crc.cpio"
    path.write_bytes(done.stdout)
    assert bad(path) == []
    path.write_bytes(done.stdout.replace(b"sound data", b"other data"))
    assert any("checksum" in what for what in bad(path))
    assert b"TRAILER!!!" in done.stdout
