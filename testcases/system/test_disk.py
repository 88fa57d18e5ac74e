"""Disk images as recipes ask for them: whole, in partitions, raw and qcow2."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.formats.disk import partitions, qcow2
from harness.formats.ext import reader as ext_reader
from harness.formats.ext import writer as ext_writer
from harness.image import disk
from harness.recipe import Disk, Partition
from testcases.support.filesystems import MIB, SBIN, assert_clean, needs_e2fsprogs, regular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.formats.tree import Entry, Written

pytestmark = [
    needs_e2fsprogs,
    pytest.mark.skipif(
        not all(shutil.which(program, path=SBIN) for program in ("sfdisk", "qemu-img", "mkswap")),
        reason="fdisk, qemu-utils or util-linux is not installed",
    ),
]

TREE = [regular("etc/hello", b"hello\n", 0o640, (7, 8)), regular("large", b"0123456789" * 100_000)]
PARTS = (
    Partition(filesystem="ext2", size="8M", label="boot", bootable=True),
    Partition(filesystem="ext3", size="12M"),
    Partition(filesystem="swap", size="4M", label="swap"),
    Partition(filesystem="none", size="1M"),
    Partition(filesystem="ext4", label="root"),
)
TREES = [TREE, TREE, [], [], TREE]


def write(place: Path, wanted: Disk, *trees: Sequence[Entry], mtime: int = 0) -> tuple[Path, list[Written]]:
    work = place / "work"
    work.mkdir(parents=True)
    path = place / "disk"
    written = disk.write(wanted, trees or [[]], path, work=work, mtime=mtime)
    assert not list(work.iterdir())
    return path, written


def cut_out(image: Path, part: partitions.Partition, to: Path) -> Path:
    """A partition as a file of its own."""
    with image.open("rb") as file, to.open("wb") as out:
        file.seek(part.offset)
        out.write(file.read(part.size))
    return to


def test_a_whole_disk_bears_its_name_and_a_uuid_of_it(tmp_path: Path) -> None:
    path, written = write(tmp_path, Disk(name="a-name-of-more-than-16-bytes", size="8M"), TREE)
    assert_clean(path)
    assert path.stat().st_size == 8 * MIB
    with path.open("rb") as file:
        known = ext_reader.identify(file)
    assert known
    assert (known.kind, known.label) == ("ext4", "a-name-of-more-t")
    namespace = uuid.UUID("6f1d6b0e-5a0c-5a3e-9d2f-0d7b6c1e4a55")
    assert known.uuid == str(uuid.uuid5(namespace, "a-name-of-more-t"))
    assert [each.path for each in written] == ["etc", "etc/hello", "large", "lost+found"]


def test_label_and_uuid_can_be_chosen(tmp_path: Path) -> None:
    identity = "00112233-4455-6677-8899-aabbccddeeff"
    path, _ = write(
        tmp_path, Disk(name="d", size="8M", label="Größe", uuid=identity, filesystem="ext2"), TREE
    )
    assert_clean(path)
    with path.open("rb") as file:
        known = ext_reader.identify(file)
    assert known
    assert (known.kind, known.label, known.uuid) == ("ext2", "Größe", identity)


@pytest.mark.parametrize("table", ["mbr", "gpt"])
def test_partitions_are_where_the_table_says(tmp_path: Path, table: Any) -> None:
    parts = PARTS if table == "gpt" else PARTS[:3] + PARTS[4:]
    trees = TREES if table == "gpt" else [*TREES[:3], TREE]
    path, written = write(tmp_path, Disk(name="d", size="64M", table=table, partition=parts), *trees)
    assert path.stat().st_size == 64 * MIB
    assert path.stat().st_blocks * 512 < 16 * MIB
    found = partitions.read(path)
    assert found.label == table
    assert [each.number for each in found.partitions] == list(range(1, len(parts) + 1))
    assert [each.bootable for each in found.partitions] == [True] + [False] * (len(parts) - 1)
    assert all(each.offset % MIB == 0 for each in found.partitions)
    assert [each.size for each in found.partitions[:3]] == [8 * MIB, 12 * MIB, 4 * MIB]
    last = found.partitions[-1]
    assert last.offset + last.size == 64 * MIB - (MIB if table == "gpt" else 0)
    for each, wanted in zip(found.partitions, parts, strict=True):
        inner = cut_out(path, each, tmp_path / "part")
        if wanted.filesystem.startswith("ext"):
            assert_clean(inner)
            with path.open("rb") as file:
                known = ext_reader.identify(file, each.offset)
                members = {member.path: member for member in ext_reader.members(file, each.offset)}
                assert b"".join(members["large"].blocks()) == TREE[1].content
            assert known
            assert (known.kind, known.label) == (wanted.filesystem, wanted.label)
        elif wanted.filesystem == "none":
            assert not any(inner.read_bytes())
    prefixes = {each.path.partition("/")[0] for each in written}
    assert prefixes == {"p1", "p2", f"p{len(parts)}"}
    [hello] = [each for each in written if each.path == "p2/etc/hello"]
    assert (hello.sha256, hello.uid) == (hashlib.sha256(b"hello\n").hexdigest(), 7)
    # sfdisk's own opinion of what it wrote.
    program = shutil.which("sfdisk", path=SBIN)
    assert program
    check = subprocess.run([program, "--verify", path], capture_output=True, text=True, check=False)
    assert (check.returncode, check.stderr) == (0, ""), check.stdout


def test_types_are_those_of_the_table(tmp_path: Path) -> None:
    path, _ = write(tmp_path, Disk(name="d", size="64M", table="gpt", partition=PARTS), *TREES)
    types = [each.type for each in partitions.read(path).partitions]
    assert types[2] == "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
    assert {*types[:2], *types[3:]} == {"0FC63DAF-8483-4772-8E79-3D69D8477DE4"}


def test_swap_space_is_that_of_mkswap(tmp_path: Path) -> None:
    identity = "00112233-4455-6677-8899-aabbccddeeff"
    wanted = Disk(name="d", size="3M", filesystem="swap", label="here", uuid=identity)
    path, written = write(tmp_path, wanted, [])
    other = tmp_path / "other"
    other.write_bytes(bytes(3 * MIB))
    program = shutil.which("mkswap", path=SBIN)
    assert program
    subprocess.run([program, "-L", "here", "-U", identity, other], check=True, capture_output=True)
    assert path.read_bytes() == other.read_bytes()
    assert written == []


def test_a_disk_can_be_empty(tmp_path: Path) -> None:
    path, written = write(tmp_path, Disk(name="d", size="3M", filesystem="none"), [])
    assert (path.read_bytes(), path.stat().st_blocks, written) == (bytes(3 * MIB), 0, [])


# Pinned: what must change with a new version of the factory, and with nothing else.
SUMS = {
    "none": "c26102a39b190866b80b7dcaff310c19164ef80b3d3a40d664d9c1b7fe0aac6e",
    "mbr": "5a27b5fdeadb62c3398dfcfec7a123a49a9405c8823d40fe86d2abb4fc9abaaf",
    "gpt": "13bc1af6724588aad324c7224583e5a761fb77b69437ae91bddebbb2e1cc8597",
}


@pytest.mark.parametrize("table", ["none", "mbr", "gpt"])
@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_equal_recipes_give_equal_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Any, format_: Any
) -> None:
    if table == "none":
        wanted = Disk(name="d", size="64M", format=format_)
        trees = [TREE]
    else:
        wanted = Disk(name="d", size="64M", format=format_, table=table, partition=PARTS[:3])
        trees = TREES[:3]
    first, _ = write(tmp_path / "first", wanted, *trees)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    before = os.umask(0o077)
    try:
        second, _ = write(tmp_path / "second", wanted, *trees)
    finally:
        os.umask(before)
    assert first.read_bytes() == second.read_bytes()
    if format_ == "raw":
        assert hashlib.sha256(first.read_bytes()).hexdigest() == SUMS[table]


def test_qcow2_is_the_raw_image_and_does_not_depend_on_its_holes(tmp_path: Path) -> None:
    raw, _ = write(tmp_path / "raw", Disk(name="d", size="64M"), TREE)
    packed, _ = write(tmp_path / "packed", Disk(name="d", size="64M", format="qcow2"), TREE)
    assert packed.stat().st_size < 8 * MIB
    with qcow2.raw_of_qcow2(packed) as unpacked:
        assert unpacked.read_bytes() == raw.read_bytes()
    assert not unpacked.exists()
    (tmp_path / "dense").write_bytes(raw.read_bytes())
    qcow2.write_qcow2(tmp_path / "dense", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == packed.read_bytes()


def refused(tmp_path: Path, wanted: Disk, *trees: Sequence[Entry]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        write(tmp_path / "refused", wanted, *trees)
    assert not (tmp_path / "refused/disk").exists()
    return caught.value


def test_content_that_does_not_fit_is_told_by_how_much(tmp_path: Path) -> None:
    large = [regular("large", b"x" * (20 * MIB))]
    error = refused(tmp_path, Disk(name="d", size="9M"), large)
    assert error.message == "the disk image d (key size): 9M are too small for its content by 16M"
    assert error.hint == "make it at least 25M"
    path, _ = write(tmp_path, Disk(name="d", size="25M"), large)
    assert_clean(path)


def test_content_that_does_not_fit_into_a_partition(tmp_path: Path) -> None:
    parts = (Partition(filesystem="none", size="1M"), Partition(filesystem="ext2", size="9M"))
    wanted = Disk(name="d", size="64M", table="mbr", partition=parts)
    error = refused(tmp_path, wanted, [], [regular("large", b"x" * (20 * MIB))])
    assert "(key partition[1].size): 9M are too small" in error.message


@pytest.mark.parametrize(("table", "needed"), [("mbr", "22M"), ("gpt", "23M")])
def test_partitions_that_do_not_fit(tmp_path: Path, table: Any, needed: str) -> None:
    parts = (Partition(filesystem="ext2", size="20M"), Partition(filesystem="none"))
    error = refused(tmp_path, Disk(name="d", size="16M", table=table, partition=parts), [], [])
    assert "the disk image d (key size): 16M are too small for its partitions" in error.message
    assert error.hint == f"make it at least {needed}"
    write(tmp_path, Disk(name="d", size=needed, table=table, partition=parts), [], [])


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Disk(name="d", size="3T", table="mbr", partition=(Partition(),)), "more than the 2T"),
        (Disk(name="d", size="17T"), "larger than the 16T"),
        (Disk(name="d", size="8K", filesystem="swap"), "too small for swap"),
        (Disk(name="d", size="8M", label="ÄÖÜäöüßÄÖ"), "has 18 bytes"),
        (
            Disk(name="d", size="8M", table="gpt", partition=(Partition(label="ÄÖÜäöüßÄÖ"),)),
            "key partition.0.*label",
        ),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, wanted: Disk, words: str) -> None:
    error = refused(tmp_path, wanted, [])
    assert re.search(words, error.message), error.message
    assert error.hint


def test_a_host_without_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=MIB))
    error = refused(tmp_path, Disk(name="d", size="64M"), [regular("large", b"x" * (2 * MIB))])
    assert "1.0 MiB left" in error.message
    write(tmp_path, Disk(name="d", size="64M"), [])  # holes take nothing


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit of the process stands for it: the kernel refuses to write beyond."""
    script = (
        "import resource, signal, sys, pathlib\n"
        "from harness.image import disk\n"
        "from harness.recipe import Disk\n"
        "from testcases.support.filesystems import regular\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "for size in ('3M', '8M'):\n"
        "    disk.write(Disk(name='d', size=size), [[regular('f', b'x')]], path, work=None)\n"
    )
    path = tmp_path / "image"
    result = subprocess.run(
        [sys.executable, "-c", script, path],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert f"InfraError: cannot write {path}: File too large" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_cannot_be_read_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    plan = ext_writer.plan

    def and_then_gone(*arguments: Any) -> ext_writer.Filesystem:
        planned = plan(*arguments)
        source.write_bytes(b"more content")
        return planned

    monkeypatch.setattr(ext_writer, "plan", and_then_gone)
    with pytest.raises(InfraError, match="changed its size"):
        write(tmp_path / "image", Disk(name="d", size="8M"), [regular("file", source)])
    assert not (tmp_path / "image/disk").exists()


@pytest.mark.parametrize(
    ("wanted", "program"),
    [
        (Disk(name="d", size="8M", table="mbr", partition=(Partition(filesystem="none"),)), "sfdisk"),
        (Disk(name="d", size="8M", format="qcow2"), "qemu-img"),
    ],
)
def test_a_missing_program_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Disk, program: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match=f"{program} is not installed") as caught:
        write(tmp_path, wanted, [])
    assert "Debian package" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
