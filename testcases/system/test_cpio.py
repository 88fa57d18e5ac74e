"""Our cpio archives as GNU cpio and bsdtar see them, and large ones."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import InfraError
from harness.formats import cpio
from harness.formats.cpio import reader as cpio_reader
from harness.formats.tree import Entry, Written
from testcases.support.leftovers import none_left
from testcases.unit.test_cpio import DIRECTORY, FILE, LINK, data, headers, pack, unpack
from testcases.unit.test_cpio import entry as make

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random


needs_cpio = pytest.mark.skipif(shutil.which("cpio") is None, reason="GNU cpio is not installed")


needs_bsdtar = pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar is not installed")


def gnu_cpio(*options: str, stdin: bytes, cwd: Path) -> bytes:
    return subprocess.run(
        ["cpio", "--quiet", *options], input=stdin, cwd=cwd, capture_output=True, check=True
    ).stdout


def sample(tmp_path: Path) -> list[Entry]:
    big = tmp_path / "big"
    big.write_bytes(bytes(range(256)) * 10_000)
    return [
        Entry("bin/tool", stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
        Entry("bin/link", LINK, target="tool"),
        Entry("etc", stat.S_IFDIR | 0o750),
        Entry("etc/empty", FILE),
        Entry("etc/with space", FILE, b"x"),
        Entry(os.fsdecode(b"etc/odd\xff\x01name"), FILE, b"four"),
        Entry("lib/big", FILE, big),
    ]


def extract_with_cpio(archive: bytes, root: Path) -> None:
    gnu_cpio("-idm", "--no-absolute-filenames", stdin=archive, cwd=root)


def extract_with_bsdtar(archive: bytes, root: Path) -> None:
    subprocess.run(["bsdtar", "-xpf", "-"], input=archive, cwd=root, capture_output=True, check=True)


@pytest.mark.parametrize(
    "extract",
    [
        pytest.param(extract_with_cpio, marks=needs_cpio),
        pytest.param(extract_with_bsdtar, marks=needs_bsdtar),
    ],
)
def test_others_extract_what_went_in(tmp_path: Path, extract: Callable[[bytes, Path], None]) -> None:
    files = sample(tmp_path)
    links = [Entry(path, FILE, link="lib/big") for path in ("bin/first", "lib/last", "zlast")]
    root = tmp_path / "root"
    root.mkdir()
    extract(pack(*files, *links, mtime=1_000_000_000), root)

    found = {os.fsdecode(p.relative_to(root)) for p in root.rglob("*")}
    assert found == {entry.path for entry in (*files, *links)} | {"bin", "lib"}
    for entry in files:
        there = root / entry.path
        assert there.lstat().st_mode == entry.mode
        if entry.is_symlink:
            assert str(there.readlink()) == entry.target
        elif entry.is_file:
            content = entry.content if isinstance(entry.content, bytes) else entry.content.read_bytes()
            assert there.read_bytes() == content
            assert there.stat().st_mtime == 1_000_000_000
    for link in links:
        assert (root / link.path).samefile(root / "lib/big")
    assert (root / "lib/big").stat().st_nlink == 4


@needs_cpio
@needs_bsdtar
def test_others_list_the_same_as_we_do(tmp_path: Path) -> None:
    archive = pack(
        Entry("bin/tool", stat.S_IFREG | 0o4755, b"#!/bin/sh\n", uid=1000, gid=50),
        Entry("bin/also", FILE, link="bin/tool"),
        Entry("etc/link to", LINK, target="some where"),
        Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
        Entry("dev/sda", stat.S_IFBLK | 0o660, device=(8, 300), uid=7, gid=6),
        Entry("pipe", stat.S_IFIFO | 0o644),
    )
    ours = []
    links = {
        member.path: fields[4] for member, fields in zip(unpack(archive), headers(archive), strict=False)
    }
    sizes = {
        member.path: fields[6] for member, fields in zip(unpack(archive), headers(archive), strict=False)
    }
    for member in unpack(archive):
        size = ",".join(map(str, member.device)) if member.is_device else str(sizes[member.path])
        shown = f"{member.path} -> {member.target}" if member.is_symlink else member.path
        mode = stat.filemode(member.mode)
        ours.append([mode, str(links[member.path]), str(member.uid), str(member.gid), size, shown])
    assert ours[2][:5] == ["-rwsr-xr-x", "2", "1000", "50", "10"]  # the last name has the content

    gnu = gnu_cpio("-itvn", stdin=archive, cwd=tmp_path).decode()
    bsd = subprocess.run(
        ["bsdtar", "-tvf", "-", "--numeric-owner"], input=archive, capture_output=True, check=True
    ).stdout.decode()
    for listing in (gnu, bsd):
        theirs = []
        for line in listing.splitlines():
            said = line.partition(" link to bin/")[0]  # bsdtar's words for hard links
            words = re.sub(r",\s+", ",", said).split(maxsplit=8)
            theirs.append([*words[:5], words[8]])
        assert theirs == ours


@needs_cpio
def test_gnu_cpio_lists_names_in_order_of_bytes(tmp_path: Path) -> None:
    archive = pack(*(Entry(name, FILE) for name in ("b", "a/z", "a-b", "a.c", "B")))
    assert gnu_cpio("-it", stdin=archive, cwd=tmp_path).split() == [b"B", b"a", b"a-b", b"a.c", b"a/z", b"b"]


def test_report_says_what_was_written(tmp_path: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(b"ab" * 700_000)  # more than a block
    written = cpio.write(
        [
            Entry("d/file", FILE, content, uid=5, source="a package"),
            Entry("d/link", LINK, target="file"),
            Entry("d/hard", FILE, link="d/file"),
            Entry("d/text", FILE, b"x"),
        ],
        io.BytesIO(),
    )
    sha256 = hashlib.sha256(content.read_bytes()).hexdigest()
    assert written == [
        Written(path="d", mode=DIRECTORY, uid=0, gid=0, size=0, sha256=""),
        Written(path="d/file", mode=FILE, uid=5, gid=0, size=1_400_000, sha256=sha256, source="a package"),
        Written(path="d/hard", mode=FILE, uid=5, gid=0, size=1_400_000, sha256=sha256, link="d/file"),
        Written(path="d/link", mode=LINK, uid=0, gid=0, size=4, sha256="", target="file"),
        Written(path="d/text", mode=FILE, uid=0, gid=0, size=1, sha256=hashlib.sha256(b"x").hexdigest()),
    ]


def test_order_of_entries_does_not_matter(tmp_path: Path) -> None:
    entries = sample(tmp_path)
    archive = pack(*entries)
    assert len(archive) % 512 == 0
    assert pack(*reversed(entries)) == archive
    assert pack(*entries[3:], *entries[:3]) == archive


NAMES = st.lists(
    st.binary(min_size=1, max_size=20).filter(
        lambda b: not {0, ord("/")} & set(b) and b not in {b".", b".."}
    ),
    min_size=1,
    max_size=3,
).map(lambda parts: os.fsdecode(b"/".join(parts)))


TARGETS = st.binary(min_size=1, max_size=30).filter(lambda b: 0 not in b).map(os.fsdecode)


NUMBERS = st.integers(0, 0xFFFFFFFF)


DEVICES = st.tuples(st.integers(0, 4095), st.integers(0, 0xFFFFF))


ENTRIES = st.one_of(
    st.builds(
        make,
        NAMES,
        st.integers(0, 0o7777).map(lambda m: stat.S_IFREG | m),
        st.one_of(st.binary(max_size=2000), st.just(bytes(range(256)) * 5000)),
        uid=NUMBERS,
        gid=NUMBERS,
    ),
    st.builds(make, NAMES, st.just(LINK), target=TARGETS),
    st.builds(make, NAMES, st.sampled_from([stat.S_IFBLK | 0o600, stat.S_IFCHR | 0o666]), device=DEVICES),
    st.builds(make, NAMES, st.integers(0, 0o7777).map(lambda m: stat.S_IFDIR | m), uid=NUMBERS),
)


def prefix_free(entries: list[Entry]) -> list[Entry]:
    """Drop entries below something that is no directory."""
    solid = {e.path for e in entries if not e.is_directory}
    return [e for e in entries if not any(str(p) in solid for p in list(_parents(e.path)))]


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:i]) for i in range(1, len(parts))]


@given(
    st.lists(ENTRIES, max_size=8, unique_by=lambda e: e.path).map(prefix_free),
    st.lists(st.integers(0, 7), max_size=6),
    NUMBERS,
    st.randoms(use_true_random=False),
)
def test_round_trip(entries: list[Entry], linked: list[int], mtime: int, random: Random) -> None:
    files = [entry for entry in entries if entry.is_file]
    taken = {entry.path for entry in entries} | {p for e in entries for p in _parents(e.path)}
    links = {}
    for number, choice in enumerate(linked):
        path = f"hard link {number}"
        if files and path not in taken:
            links[path] = files[choice % len(files)]
    everything = [*entries, *(Entry(path, FILE, link=main.path) for path, main in links.items())]
    archive = pack(*everything, mtime=mtime)
    random.shuffle(everything)
    assert pack(*everything, mtime=mtime) == archive

    members = {m.path: m for m in unpack(archive)}
    assert members.keys() == taken | links.keys()
    for path, entry in [*((entry.path, entry) for entry in entries), *links.items()]:
        member = members[path]
        assert (member.mode, member.uid, member.gid, member.mtime) == (
            entry.mode,
            entry.uid,
            entry.gid,
            mtime,
        )
        assert (member.target, member.device) == (entry.target, entry.device)
        assert data(member) == (entry.content if entry.is_file else b"")
        assert member.size == len(data(member))
        if names := {p for p, main in links.items() if main is entry}:
            first = min({entry.path, *names}, key=os.fsencode)
            assert member.link == ("" if path == first else first)
        else:
            assert not member.link


class Sparse:
    """A file in which blocks of zeros take no room."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def write(self, data: bytes | memoryview, /) -> None:
        if bytes(data) == ZEROS:
            self.file.seek(len(data), os.SEEK_CUR)
        else:
            self.file.write(data)


ZEROS = bytes(1 << 20)


@needs_bsdtar
@pytest.mark.thorough
def test_file_of_one_byte_less_than_4_gib(tmp_path: Path) -> None:
    size = (1 << 32) - 1
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(size)  # sparse
        file.seek(size - 4)
        file.write(b"last")
    with (tmp_path / "archive").open("wb") as out:
        written = cpio.write([Entry("x", FILE, huge), Entry("y", FILE, b"behind")], Sparse(out))
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(ZEROS)
    digest.update(ZEROS[: (size & 0xFFFFF) - 4] + b"last")
    assert written[0].sha256 == digest.hexdigest()
    with (tmp_path / "archive").open("rb") as file:
        members = list(cpio_reader.members(file))
        assert [(m.path, m.size) for m in members] == [("x", size), ("y", 6)]
        assert data(members[1]) == b"behind"
    listed = subprocess.run(["bsdtar", "-tf", tmp_path / "archive"], capture_output=True, check=True).stdout
    assert listed.split() == [b"x", b"y"]


@pytest.mark.parametrize("change", [-1, 1, -(2 << 20), 2 << 20])
def test_file_that_changes_while_it_is_read(tmp_path: Path, change: int) -> None:
    moving = tmp_path / "moving"
    size = 3 << 20
    moving.write_bytes(bytes(size))

    class Meddler(io.BytesIO):
        """Change the file when the first MiB of the archive is written."""

        def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
            os.truncate(moving, size + change)
            return super().write(data)

    with pytest.raises(InfraError, match="moving"):
        cpio.write([Entry("x", FILE, moving)], Meddler())


def test_content_of_all_sizes_around_the_buffer(tmp_path: Path) -> None:
    """Header, content and next header meet the buffer's end in all ways."""
    noise = hashlib.shake_256(b"noise").digest((2 << 20) + 300)
    for size in [0, 1, *range((1 << 20) - 240, (1 << 20) + 9, 3), (2 << 20) - 116, 2 << 20, (2 << 20) + 300]:
        file = tmp_path / "file"
        file.write_bytes(noise[:size])
        entries = [Entry("a", FILE, file), Entry("b", FILE, noise[:size]), Entry("c", FILE, link="a")]
        out = io.BytesIO()
        written = cpio.write(entries, out)
        assert {w.sha256 for w in written} == {hashlib.sha256(noise[:size]).hexdigest()}
        members = list(cpio_reader.members(out))
        assert [data(member) for member in members] == [noise[:size]] * 3


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(9 << 20))

    class Full:
        def write(self, _: bytes | memoryview, /) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with none_left(), pytest.raises(OSError, match="No space left"):
        cpio.write([Entry("x", FILE, tmp_path / "f")], Full())
