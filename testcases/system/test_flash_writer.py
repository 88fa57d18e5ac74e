"""What is on a disk after a flash is the image, whatever its holes and sizes; half an image never boots."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, InfraError, Interrupted
from harness.core.progress import Quiet
from harness.flash import discovery, ranges, source, writer
from harness.flash.ranges import Range
from harness.flash.target import BLOCK, Target
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
SIZE = 64 * MIB


class Noted(Target, frozen=True):
    """A target that notes what is done to it, and fails when it is told to."""

    steps: list[tuple[str, int, int]] = msgspec.field(default_factory=list)
    failing: list[tuple[str, int, BaseException]] = msgspec.field(default_factory=list)

    def write(self, data: memoryview, offset: int) -> None:
        self._note("write", offset, len(data))
        Target.write(self, data, offset)

    def zero(self, offset: int, length: int) -> None:
        self._note("zero", offset, length)
        Target.zero(self, offset, length)

    def read(self, into: memoryview, offset: int) -> None:
        self._note("read", offset, len(into))
        Target.read(self, into, offset)

    def _note(self, what: str, offset: int, length: int) -> None:
        for step, at, error in self.failing:
            if step == what and offset <= at < offset + length:
                raise error
        self.steps.append((what, offset, offset + length))


@contextmanager
def target_of(path: Path, size: int) -> Iterator[Noted]:
    """A file in place of a disk, full of what was there before."""
    path.write_bytes(b"old!" * (size // 4))
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield Noted(str(path), descriptor, size)
    finally:
        os.close(descriptor)


def write_image(path: Path, size: int, data: list[Range], seed: int = 0) -> bytes:
    """A sparse file of a size with random bytes in the ranges; its content."""
    noise = random.Random(seed)  # noqa: S311 - no secret
    with path.open("wb") as file:
        file.truncate(size)
        for each in data:
            file.seek(each.start)
            file.write(noise.randbytes(each.length))
    return path.read_bytes()


def flash(image: Path, target: Target, **options: str) -> writer.Flashed:
    descriptor = os.open(image, os.O_RDONLY)
    try:
        return writer.flash(descriptor, image.stat().st_size, target, Quiet(), **options)  # type: ignore[arg-type]
    finally:
        os.close(descriptor)


spans = st.lists(st.tuples(st.integers(0, 3 * MIB), st.integers(1, 300_000)), max_size=6).map(
    lambda pairs: [Range(start, start + length) for start, length in pairs]
)


@fewer(2)
@given(data=spans, size=st.integers(1, 3 * MIB + 7), spare=st.sampled_from([0, 512, 4096, MIB]))
def test_the_disk_is_what_the_image_is(
    tmp_path_factory: pytest.TempPathFactory, data: list[Range], size: int, spare: int
) -> None:
    place = tmp_path_factory.mktemp("flash")
    inside = [Range(each.start, min(each.end, size)) for each in data if each.start < size]
    content = write_image(place / "image", size, inside)
    room = -(-size // 512) * 512 + spare
    with target_of(place / "disk", room) as target:
        done = flash(place / "image", target)
    found = (place / "disk").read_bytes()
    assert found[:size] == content
    whole = min(-(-size // BLOCK) * BLOCK, room)
    assert found[size:whole] == bytes(whole - size)
    assert found[whole:] == (b"old!" * (room // 4))[whole:]  # what is behind the image stays
    # Every byte of the image was read back, once.
    assert [(each.start, each.end) for each in done.ranges] == _chain(done.ranges, whole)
    for each in done.ranges:
        assert each.sha256 == hashlib.sha256(found[each.start : each.end]).hexdigest()
    shutil.rmtree(place)


def _chain(found: tuple[writer.Sum, ...], whole: int) -> list[tuple[int, int]]:
    """The same ranges, if each begins where the one before ends, from 0 to the end."""
    starts = [0, *(each.end for each in found)]
    assert starts[-1] == whole
    return list(pairwise(starts))


def test_holes_are_left_alone_if_that_is_asked_for(tmp_path: Path) -> None:
    write_image(tmp_path / "image", 8 * MIB, [Range(0, 512), Range(4 * MIB, 5 * MIB)])
    with target_of(tmp_path / "disk", 9 * MIB) as target:
        done = flash(tmp_path / "image", target, elsewhere="keep")
    found = (tmp_path / "disk").read_bytes()
    assert found[2 * MIB : 2 * MIB + 8] == b"old!old!"
    assert found[4 * MIB : 5 * MIB] == (tmp_path / "image").read_bytes()[4 * MIB : 5 * MIB]
    assert (done.written, done.zeroed) == (2 * MIB, 0)


def test_what_boots_is_taken_away_first_and_written_last(tmp_path: Path) -> None:
    write_image(tmp_path / "image", 8 * MIB, [Range(0, MIB), Range(4 * MIB, 5 * MIB)])
    with target_of(tmp_path / "disk", 8 * MIB) as target:
        flash(tmp_path / "image", target)
        head = [step for step in target.steps if step[1] < writer.HEAD]
        first, rest = (0, BLOCK), (BLOCK, MIB)
        assert head == [
            ("zero", 0, MIB),
            ("write", *rest),
            ("read", *rest),
            ("write", *first),
            ("read", *first),
        ]
        assert target.steps[0] == head[0]
        assert target.steps[-4:] == head[1:]


def test_a_disk_that_is_gone_before_the_first_byte_is_not_said_to_be_half_written(tmp_path: Path) -> None:
    write_image(tmp_path / "image", MIB, [Range(0, MIB)])
    with target_of(tmp_path / "disk", MIB) as target:
        target.failing.append(("zero", 0, InfraError("gone")))
        with pytest.raises(InfraError, match=r"^gone$"):
            flash(tmp_path / "image", target)


@pytest.mark.parametrize(
    ("step", "at"),
    [("write", 4 * MIB), ("read", 4 * MIB), ("zero", 6 * MIB), ("write", BLOCK), ("write", 0), ("read", 0)],
)
@pytest.mark.parametrize("error", [InfraError("gone"), Interrupted("stopped by SIGINT"), ValueError("ours")])
def test_a_flash_that_fails_leaves_no_boot_sector(
    tmp_path: Path, step: str, at: int, error: Exception
) -> None:
    write_image(tmp_path / "image", 8 * MIB, [Range(0, MIB), Range(4 * MIB, 5 * MIB)])
    with target_of(tmp_path / "disk", 8 * MIB) as target:
        target.failing.append((step, at, error))
        with pytest.raises(type(error)) as caught:
            flash(tmp_path / "image", target)
    assert (tmp_path / "disk").read_bytes()[: writer.HEAD] == bytes(writer.HEAD)
    if isinstance(error, InfraError | Interrupted):
        assert "nothing boots from it" in str(caught.value)


def test_a_disk_that_gives_back_something_else(tmp_path: Path) -> None:
    class Lying(Noted, frozen=True):
        def write(self, data: memoryview, offset: int) -> None:
            if offset != 4 * MIB:
                super().write(data, offset)

    write_image(tmp_path / "image", 8 * MIB, [Range(0, MIB), Range(4 * MIB, 5 * MIB)])
    with target_of(tmp_path / "disk", 8 * MIB) as noted:
        target = Lying(noted.path, noted.descriptor, noted.size)
        with pytest.raises(InfraError, match=rf"1 of 3 ranges, the first at byte {4 * MIB};"):
            flash(tmp_path / "image", target)
    assert (tmp_path / "disk").read_bytes()[: writer.HEAD] == bytes(writer.HEAD)


def test_an_image_that_shrinks_meanwhile(tmp_path: Path) -> None:
    image = tmp_path / "image"
    write_image(image, 8 * MIB, [Range(0, 8 * MIB)])
    descriptor = os.open(image, os.O_RDONLY)

    class Shrinking(Noted, frozen=True):
        def zero(self, offset: int, length: int) -> None:
            super().zero(offset, length)
            os.truncate(image, 2 * MIB)

    with target_of(tmp_path / "disk", 8 * MIB) as noted:
        target = Shrinking(noted.path, noted.descriptor, noted.size)
        with pytest.raises(InfraError, match="became shorter"):
            writer.flash(descriptor, 8 * MIB, target, Quiet())
    os.close(descriptor)


def test_progress_has_a_rate_and_an_end(tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []

    class Listening(Quiet):
        def update(self, fraction: float, detail: str = "") -> None:
            heard.append((fraction, detail))

    write_image(tmp_path / "image", 16 * MIB, [Range(0, 16 * MIB)])
    with target_of(tmp_path / "disk", 16 * MIB) as target:
        descriptor = os.open(tmp_path / "image", os.O_RDONLY)
        writer.flash(descriptor, 16 * MIB, target, Listening())
        os.close(descriptor)
    fractions = [fraction for fraction, _ in heard]
    assert fractions.count(1.0) == 2  # written, read back
    assert all("iB/s, " in detail and detail.endswith(" left") for _, detail in heard)


@given(spans)
def test_aligned_ranges_cover_the_same_and_only_whole_blocks(data: list[Range]) -> None:
    ordered = sorted(data, key=lambda each: each.start)
    found = list(ranges.aligned(ordered, BLOCK))
    covered = {block for each in found for block in range(each.start // BLOCK, each.end // BLOCK)}
    assert covered == {b for r in data for b in range(r.start // BLOCK, -(-r.end // BLOCK))}
    for each, following in pairwise(found):
        assert each.end < following.start
    end = 4 * MIB
    rest = list(ranges.between(found, 0, end))
    assert sum(each.length for each in rest) + sum(r.length for r in ranges.within(found, 0, end)) == end


# What is on a disk, by real programs and by hand.


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        (["mke2fs", "-q", "-t", "ext4"], ["ext4"]),
        (["mkswap", "-q"], ["swap"]),
        (["mformat", "-i"], ["vfat"]),
    ],
)
def test_real_filesystems_are_recognised(tmp_path: Path, command: list[str], kinds: list[str]) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(16 * MIB)
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    extra = ["-C", "-T", "32768", "::"] if command[0] == "mformat" else []
    subprocess.run([*command, str(path), *extra], check=True, capture_output=True)
    assert _kinds(path) == kinds


def _md(version: int, offset: int) -> bytes:
    """The start of a superblock of md(4), as large as libblkid wants to see it."""
    if version == 0:
        return struct.pack("<II", 0xA92B4EFC, 0).ljust(4096, b"\0")
    return struct.pack("<II136xQ", 0xA92B4EFC, 1, offset // 512).ljust(256, b"\0")


_UBERBLOCKS = b"".join(struct.pack("<QQ", 0x00BAB10C, 5000).ljust(1024, b"\0") for _ in range(128))


@pytest.mark.parametrize(
    ("offset", "data", "kind"),
    [
        (512, struct.pack("<8sQII8s32s", b"LABELONE", 1, 0, 32, b"LVM2 001", b"a" * 32), "LVM"),
        (0, b"LUKS\xba\xbe\0\1".ljust(592, b"\0"), "LUKS"),
        (4096, _md(1, 4096), "RAID"),
        (SIZE - 0x10000, _md(0, 0), "RAID"),
        (SIZE - 0x2000, _md(1, SIZE - 0x2000), "RAID"),
        (SIZE - 512, b"\xde\x11\xde\x11", "RAID"),
        (SIZE - 1024, b"Intel Raid ISM Cfg Sig. ", "RAID"),
        (128 << 10, _UBERBLOCKS, "ZFS"),
    ],
)
def test_members_are_recognised(tmp_path: Path, offset: int, data: bytes, kind: str) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.seek(offset)
        file.write(data)
    assert _kinds(path) == [kind]
    assert all(content.member for content in discovery.on_disk("sdb", str(path)))


def test_a_device_that_cannot_be_read_has_no_contents(tmp_path: Path) -> None:
    assert discovery.on_disk("sdb", str(tmp_path / "none")) == []


def _kinds(path: Path) -> list[str]:
    return [content.kind for content in discovery.on_disk("sdb", str(path))]


# The image, by its bytes.


def test_images_of_other_kinds_are_refused(tmp_path: Path) -> None:
    cases = {
        "kernel": (bytes(510) + b"\x55\xaa\xeb\x66HdrS" + bytes(64), "a Linux kernel"),
        "initramfs": (b"070701" + b"0" * 104, "no machine boots from it"),
        "text": (b"hello\n" * 200, "a text"),
        "nothing": (b"", "empty"),
        "cd": (bytes(0x8001) + b"CD001" + bytes(4096), "ISO image for CDs only"),
    }
    for name, (content, words) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=words) as caught, source.opened(path):
            pass
        assert str(path) in caught.value.message
    with pytest.raises(ConfigError, match="does not exist"), source.opened(tmp_path / "none"):
        pass


def test_a_boot_sector_of_its_own_kind_is_an_image(tmp_path: Path) -> None:
    path = tmp_path / "builder-hex0"
    path.write_bytes(b"\xfa" * 510 + b"\x55\xaa" + b"hex0 source" * 100)
    with source.opened(path) as opened:
        assert (opened.what, opened.size) == ("disk image with a boot sector", path.stat().st_size)


def test_a_qcow2_image_is_unpacked(tmp_path: Path) -> None:
    raw, packed = tmp_path / "raw", tmp_path / "disk.qcow2"
    with raw.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", raw], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, packed], check=True)
    with source.opened(packed) as opened:
        assert opened.what.startswith("qcow2: ext")
        assert os.pread(opened.descriptor, opened.size, 0) == raw.read_bytes()


# The command line.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no disk is given"),
        (["/dev/null", "--image", "x", "--recipe", "y"], "both --image and --recipe are given"),
        (["/dev/null", "--image", "x"], "the disk cannot be confirmed"),
        (["/dev/null", "--expect-serial", "x"], "/dev/null is a character device and no block device"),
        (["/dev/none", "--expect-serial", "x"], "there is no device /dev/none"),
    ],
)
def test_wrong_commands_are_one_sentence_and_write_nothing(arguments: list[str], words: str) -> None:
    done = run([sys.executable, "-m", "harness", "flash", *arguments])
    said = done.stderr.splitlines()
    assert (done.returncode, len(said)) == (2, 2), done.stderr
    assert words in said[0]


def test_the_list_is_there_for_programs() -> None:
    done = run([sys.executable, "-m", "harness", "flash", "--list", "--json"])
    assert done.returncode == 0, done.stderr
    for disk in json.loads(done.stdout)["disks"]:
        assert disk["candidate"] == (not disk["refusals"])


# The real thing, on loop devices.


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A loop device of 64 MiB, and its file."""
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("loop devices need root and losetup")
    backing = tmp_path / "backing"
    with backing.open("wb") as file:
        file.truncate(64 * MIB)
    done = subprocess.run(["losetup", "-f", "--show", backing], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device is to be had: {done.stderr.strip()}")
    device = done.stdout.strip()
    yield device, backing
    subprocess.run(["losetup", "-d", device], check=True)


def command(device: str, image: Path, *more: str) -> list[str]:
    serial = f"virtual {device.removeprefix('/dev/')}"
    words = [
        sys.executable,
        "-m",
        "harness",
        "flash",
        device,
        "--image",
        str(image),
        "--expect-serial",
        serial,
    ]
    return [*words, *more]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("elsewhere", ["zero", "discard", "keep"])
def test_a_loop_device_is_flashed(loop: tuple[str, Path], tmp_path: Path, elsewhere: str) -> None:
    device, backing = loop
    image = tmp_path / "image"
    write_image(
        image, 32 * MIB + 512, [Range(0, 5000), Range(3 * MIB + 5, 17 * MIB), Range(32 * MIB, 32 * MIB + 512)]
    )
    with image.open("r+b") as file:
        file.seek(510)
        file.write(b"\x55\xaa")
    done = run(command(device, image))
    assert done.returncode == 2
    assert "neither removable nor on USB" in done.stderr
    done = run(command(device, image, "--force", "--elsewhere", elsewhere))
    assert done.returncode == 0, done.stderr
    assert backing.read_bytes()[: 32 * MIB + 512] == image.read_bytes()


def test_no_other_disk_is_opened_for_writing(loop: tuple[str, Path], tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    device, _ = loop
    image, log = tmp_path / "image", tmp_path / "strace"
    image.write_bytes(b"\xfa" * 510 + b"\x55\xaa" + os.urandom(3 * MIB))
    trace = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=open,openat,openat2,creat"]
    done = run([*trace, *command(device, image, "--force")])
    assert done.returncode == 0, done.stderr
    for_writing = [
        line
        for line in log.read_text().splitlines()
        if "/dev/" in line and ("O_RDWR" in line or "O_WRONLY" in line)
    ]
    disks = [line for line in for_writing if f'"{device}"' in line]
    assert len(disks) == 1
    assert all(word in disks[0] for word in ("O_EXCL", "O_DIRECT"))
    harmless = ('"/dev/null"', '"/dev/tty"', '"/dev/shm')
    assert [line for line in for_writing if line not in disks and not any(h in line for h in harmless)] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_flash_that_is_stopped_says_so_and_leaves_nothing_that_boots(
    loop: tuple[str, Path], tmp_path: Path, number: signal.Signals
) -> None:
    device, backing = loop
    image = tmp_path / "image"
    image.write_bytes(b"\xfa" * 510 + b"\x55\xaa" + os.urandom(60 * MIB))
    child = subprocess.Popen(
        command(device, image, "--force"), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 60
    while not _begun(backing) and child.poll() is None:
        assert time.monotonic() < deadline
    child.send_signal(signal.SIGSTOP)
    child.send_signal(number)
    child.send_signal(signal.SIGCONT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert f"stopped by {number.name}" in said
    assert "nothing boots from it" in said
    assert backing.read_bytes()[: writer.HEAD] == bytes(writer.HEAD)


def _begun(backing: Path) -> bool:
    """Whether something behind the first MiB was written."""
    with backing.open("rb") as file:
        file.seek(2 * MIB)
        return bool(file.read(64).strip(b"\0"))


def test_a_loop_device_in_use_is_refused(loop: tuple[str, Path], tmp_path: Path) -> None:
    device, backing = loop
    image = tmp_path / "image"
    image.write_bytes(b"\xfa" * 510 + b"\x55\xaa" + os.urandom(MIB))
    holder = os.open(device, os.O_RDONLY | os.O_EXCL)  # as a mount elsewhere would hold it
    done = run(command(device, image, "--force"))
    os.close(holder)
    assert (done.returncode, backing.stat().st_blocks) == (2, 0)
    assert f"{device} is in use by another program" in done.stderr
