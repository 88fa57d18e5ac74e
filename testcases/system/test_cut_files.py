"""A file that is cut off is read as the whole one or refused: never shorter, and never with a traceback."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import zstandard

from harness.core.errors import ConfigError
from harness.formats import compression
from harness.formats.opened import open_image
from harness.image.checks.verify import verify
from harness.kernel import inspection
from testcases.support import kernels
from testcases.system.test_iso import Shelf, regular
from testcases.system.test_iso import write as write_hybrid
from testcases.unit.test_image_opened import archive, ext, partitioned, program, staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What an image says of itself: for each path, all but its content; and the contents.
Said = tuple[list[object], dict[str, bytes]]


def tree(directory: Path) -> Path:
    """Files of many sizes that do not compress, so that cuts meet their contents."""
    made = staged(directory)
    chance = random.Random(1)  # noqa: S311 - contents, not secrets
    for size in (1, 2047, 2048, 2049, 5000, 70_000):
        (made / f"size{size}").write_bytes(chance.randbytes(size))
    (made / "deep/er").mkdir(parents=True)
    (made / "deep/er/last").write_bytes(chance.randbytes(9000))
    return made


def iso(directory: Path, *options: str) -> Path:
    path = directory / "image.iso"
    listed = [f"--options={each}" for each in options]
    command = ["bsdtar", "-c", "--format=iso9660", *listed, "-f", str(path), "-C", str(tree(directory)), "."]
    subprocess.run([program("bsdtar"), *command[1:]], check=True)
    return path


def hybrid(directory: Path) -> Path:
    (directory / "shelf").mkdir()
    entries = [regular("a/b/a file with a long name", os.urandom(3000)), regular("z", os.urandom(9000))]
    return write_hybrid(Shelf(directory / "shelf"), directory / "stick.iso", entries)[0]


def newc(directory: Path) -> Path:
    return archive(directory / "archive")


def tar(directory: Path) -> Path:
    path = directory / "archive.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as made:
        made.add(tree(directory), ".")
    return path


def disk(label: str) -> Callable[[Path], Path]:
    return lambda directory: partitioned(directory, label)


def filesystem(kind: str) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        path = directory / "disk"
        command = [program("mke2fs"), "-q", "-t", kind, "-d", str(tree(directory)), str(path), "2M"]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return make


def qcow2(*options: str) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        raw, path = ext(directory, "-t", "ext4", size=2 << 20), directory / "disk.qcow2"
        command = [program("qemu-img"), "convert", "-O", "qcow2", *options, str(raw), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return make


def packed(make: Callable[[Path], Path], pack: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def made(directory: Path) -> Path:
        path = directory / "packed"
        path.write_bytes(pack(make(directory).read_bytes()))
        return path

    return made


def by_writer(name: str) -> Callable[[bytes], bytes]:
    def pack(data: bytes) -> bytes:
        out = io.BytesIO()
        with compression.writer(out, name) as writer:
            writer.write(data)
        return out.getvalue()

    return pack


def halves(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Two streams, one behind the other."""
    return lambda data: pack(data[: len(data) // 2]) + pack(data[len(data) // 2 :])


IMAGES: dict[str, Callable[[Path], Path]] = {
    "iso with rock ridge": iso,
    "iso with joliet": lambda directory: iso(directory, "!rockridge"),
    "iso with plain names": lambda directory: iso(directory, "!rockridge,!joliet"),
    "hybrid iso": hybrid,
    "newc": newc,
    **{f"newc, {name}": packed(newc, by_writer(name)) for name in compression.MAGICS.values()},
    **{kind: filesystem(kind) for kind in ("ext2", "ext3", "ext4")},
    "mbr": disk("dos"),
    "gpt": disk("gpt"),
    "qcow2": qcow2(),
    "qcow2, compressed": qcow2("-c"),
    "qcow2, zstd": qcow2("-c", "-o", "compression_type=zstd"),
    "qcow2, subclusters": qcow2("-o", "extended_l2=on,cluster_size=128k"),
    "tar": tar,
    "tar.gz": packed(tar, gzip.compress),
    "tar.xz": packed(tar, lzma.compress),
    "tar.bz2, two streams": packed(tar, halves(bz2.compress)),
    "tar.zst": packed(tar, zstandard.compress),
    "tar.gz, two streams": packed(tar, halves(gzip.compress)),
    "ext4.gz, two streams": packed(filesystem("ext4"), halves(gzip.compress)),
    "iso.xz": packed(iso, lzma.compress),
}


def said(path: Path) -> Said:
    with open_image(path) as image:
        members = list(image.members())
        rows: list[object] = [
            (m.path, m.mode, m.uid, m.gid, m.mtime, m.size, m.target, m.link, m.device) for m in members
        ]
        contents = {m.path: b"".join(m.blocks()) for m in members if m.is_file}
        assert [m.size for m in members if m.is_file] == list(map(len, contents.values()))
        return rows, contents


def cuts(size: int) -> list[int]:
    """Where a file is cut: at borders of sectors and blocks, beside them, and in between."""
    chance = random.Random(size)  # noqa: S311
    borders = [size * part // 16 // unit * unit for part in range(1, 16) for unit in (512, 2048, 4096)]
    near = {at + step for at in borders for step in (-1, 0, 1)}
    ends = {size - back for back in (1, 2, 7, 8, 9, 511, 512, 513, 1024, 2048, 4096, 65536)}
    inside = {chance.randrange(size) for _ in range(12)}
    return sorted(at for at in near | ends | inside if 0 <= at < size)


def tried(call: Callable[[], Said]) -> Said | str:
    """What an image says, or the sentence that refuses it."""
    try:
        return call()
    except ConfigError as error:
        return error.message


def of_each(path: Path) -> Said:
    """What the files say that can be asked before the image is refused, as `extract` meets them."""
    contents: dict[str, bytes] = {}
    with suppress(ConfigError), open_image(path) as image:
        for member in image.members():
            with suppress(ConfigError):
                if member.is_file:
                    contents[member.path] = b"".join(member.blocks())
    return [], contents


@pytest.mark.parametrize("name", IMAGES)
def test_a_cut_image_is_whole_or_refused(name: str, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copy(IMAGES[name](tmp_path), cut)
    whole = said(cut)
    refused = []
    for at in reversed(cuts(cut.stat().st_size)):
        os.truncate(cut, at)
        found = tried(lambda: said(cut))
        if isinstance(found, str):
            refused.append(found)
        else:
            assert found == whole, at
        assert of_each(cut)[1].items() <= whole[1].items(), at
        with suppress(ConfigError), open_image(cut) as image:
            assert all(finding.what for finding in verify(image))
    assert len(refused) > 10
    assert all(str(cut) in sentence and "\n" not in sentence for sentence in refused)


KERNELS: dict[str, Callable[[], bytes]] = {
    "bzImage": lambda: kernels.packed(kernels.elf(), "xz"),
    "vmlinux": kernels.elf,
    "unified": lambda: kernels.unified(
        {".cmdline": b"console=ttyS0", ".linux": kernels.packed(kernels.elf()), ".initrd": os.urandom(3000)}
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_a_cut_kernel_is_refused(name: str, tmp_path: Path) -> None:
    data = KERNELS[name]()
    path = tmp_path / "kernel"
    path.write_bytes(data)
    assert inspection.examine(path).image.version
    last = len(data.rstrip(b"\0"))  # the padding of a section behind its content says nothing
    for at in cuts(len(data)):
        path.write_bytes(data[:at])
        if at < last:
            with pytest.raises(ConfigError):
                inspection.examine(path)
