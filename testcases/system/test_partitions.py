"""Partition tables and qcow2 of other people, sound and damaged."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.disk import partitions, qcow2
from testcases.support.filesystems import MIB, SBIN
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    not all(shutil.which(program, path=SBIN) for program in ("sfdisk", "qemu-img")),
    reason="fdisk or qemu-utils is not installed",
)


def sfdisk(path: Path, script: str, size: int = 64 * MIB) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    program = shutil.which("sfdisk", path=SBIN)
    assert program
    subprocess.run([program, "-q", path], input=script.encode(), check=True, capture_output=True)
    return path


def test_logical_partitions_of_an_mbr(tmp_path: Path) -> None:
    script = (
        "label: dos\nlabel-id: 0xcafe0001\n1: size=10M, type=83, bootable\n2: size=20M, type=5\n"
        "5: size=5M, type=83\n6: size=5M, type=82\n"
    )
    table = partitions.read(sfdisk(tmp_path / "disk", script))
    assert (table.label, table.id) == ("mbr", "0xcafe0001")
    assert [(each.number, each.type, each.bootable) for each in table.partitions] == [
        (1, "83", True),
        (2, "5", False),
        (5, "83", False),
        (6, "82", False),
    ]
    assert (table.partitions[0].offset, table.partitions[0].size) == (MIB, 10 * MIB)


def test_a_gpt_whose_name_ends_in_a_digit_and_whose_numbers_have_gaps(tmp_path: Path) -> None:
    script = (
        "label: gpt\n3: size=10M, type=L, uuid=00112233-4455-6677-8899-AABBCCDDEEFF\n"
        '7: size=1M, type=L, attrs="LegacyBIOSBootable"\n'
    )
    table = partitions.read(sfdisk(tmp_path / "disk2", script))
    assert [each.number for each in table.partitions] == [3, 7]
    assert table.partitions[0].uuid == "00112233-4455-6677-8899-aabbccddeeff"
    assert [each.bootable for each in table.partitions] == [False, True]


@pytest.mark.parametrize("data", [b"", bytes(512), b"x" * 5000])
def test_no_table_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "disk"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="has no partition table that can be read") as caught:
        partitions.read(path)
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message


def test_a_table_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a partition table of the kind sun; known are MBR and GPT"):
        partitions.read(sfdisk(tmp_path / "disk", "label: sun\n"))


def test_a_cut_disk(tmp_path: Path) -> None:
    path = sfdisk(tmp_path / "disk", "label: dos\n,20M,L\n")
    with path.open("r+b") as file:
        file.truncate(10 * MIB)
    with pytest.raises(ConfigError, match=r"partition 1 ends at byte 22020096, the image at byte 10485760"):
        partitions.read(path)


@fewer(2)
@given(
    edits=st.lists(
        st.tuples(st.one_of(st.integers(440, 511), st.integers(512, 1100)), st.integers(0, 255)), max_size=10
    ),
    label=st.sampled_from(["dos", "gpt"]),
)
def test_damaged_tables_are_read_or_refused(tmp_path: Path, edits: list[tuple[int, int]], label: str) -> None:
    path = sfdisk(
        tmp_path / "disk", f"label: {label}\n,20M,L\n,5M,E\n" if label == "dos" else "label: gpt\n,9M,L\n"
    )
    with path.open("r+b") as file:
        for at, value in edits:
            file.seek(at)
            file.write(bytes([value]))
    try:
        table = partitions.read(path)
    except ConfigError as error:
        words = error.message
    else:
        assert all(each.offset >= 0 <= each.size <= 64 * MIB - each.offset for each in table.partitions)
        words = f"{path} was read"
    assert str(path) in words
    assert "\n" not in words


def test_a_damaged_qcow2(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(b"QFI\xfb" + b"\xff" * 600)
    with (
        pytest.raises(ConfigError, match=r"disk.qcow2 is no qcow2 image that can be read"),
        qcow2.raw_of_qcow2(path),
    ):
        pass


def test_an_overlay_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(MIB))
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        str(tmp_path / "secret"),
        "-F",
        "raw",
        str(tmp_path / "over"),
    ]
    subprocess.run(command, check=True)
    with (
        pytest.raises(ConfigError, match="only what differs from"),
        qcow2.raw_of_qcow2(tmp_path / "over"),
    ):
        pass


def test_a_cut_qcow2(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(b"x" * MIB)
    qcow2.write_qcow2(tmp_path / "raw", tmp_path / "packed")
    with (tmp_path / "packed").open("r+b") as file:
        file.truncate(200_000)
    with pytest.raises(ConfigError, match="packed"), qcow2.raw_of_qcow2(tmp_path / "packed"):
        pass
