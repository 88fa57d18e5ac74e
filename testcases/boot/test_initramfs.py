"""A stock kernel unpacks our archives: the guest says what it finds, and we compare all of it."""

from __future__ import annotations

import hashlib
import os
import random
import re
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.formats.cpio import reader as cpio_reader
from harness.formats.cpio.unpacking import unpack
from harness.formats.tree import Entry
from harness.image import initramfs
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.recipe import load_recipe
from testcases.boot import guests
from testcases.support.archives import Row, newc
from testcases.support.profiles import by_night
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.formats.tree import Member
    from harness.image.factory import Build

RECIPE = """\
summary = "The guest lists the tree that it was given"
plan = "tree"

[debian]
suite = "bookworm"
architecture = "i386"

[kernels]
seed = "debian-6.1-i686"

[boot]
initramfs = "base"
memory = "256M"
command-line = "console=ttyS0 panic=-1 no_timer_check"

[[image]]
name = "base"
kind = "initramfs"
contents = [
    { add = "file", path = "init", source = "tree/init", mode = 0o755 },
    { add = "file", path = "say", source = "tree/say", mode = 0o755 },
    { add = "packages", names = ["busybox-static"], keep = ["bin/busybox"] },
    { add = "symlink", path = "bin/sh", target = "busybox" },
    { add = "device", path = "dev/console", type = "char", major = 5, minor = 1 },
]
"""

PLAN = """\
summary = "LISTED, and power off"
end = "guest-shutdown"

[[stage]]
name = "boot"
title = "the seed kernel starts /init"
budget = 120
silence = 60

[[stage]]
name = "listed"
title = "/init has listed the tree and powers off"
begins = '^LISTED$'
budget = 60
silence = 30
"""

INIT = """\
#!/bin/sh
busybox dmesg -n 1
busybox find /tree* -exec /say {} \\;
echo LISTED
exec busybox poweroff -f
"""

# Names and targets in hex: the console carries any byte, but lines of it are text.
SAY = """\
#!/bin/sh
hex() { busybox od -An -v -tx1 | busybox tr -d ' \\n'; }
sum=- target=-
if [ -L "$1" ]; then target=$(busybox readlink -n "$1" | hex)
elif [ -f "$1" ]; then sum=$(busybox sha256sum < "$1" | busybox cut -c 1-64)
fi
name=$(printf %s "$1" | hex)
echo "ENTRY $name $(busybox stat -c '%f %u %g %Y %t %T %h %i %s' "$1") $sum $target"
"""

LINE = re.compile(
    rb"ENTRY (?P<path>[0-9a-f]+) (?P<mode>[0-9a-f]+) (?P<uid>\d+) (?P<gid>\d+) (?P<mtime>\d+) "
    rb"(?P<major>[0-9a-f]+) (?P<minor>[0-9a-f]+) (?P<links>\d+) (?P<inode>\d+) (?P<size>\d+) "
    rb"(?P<sum>[0-9a-f]{64}|-) (?P<target>[0-9a-f]+|-)\r*\n"
)


class Seen(msgspec.Struct, frozen=True):
    """What a guest says of a path; the size of a directory is its filesystem's business, and 0 here."""

    mode: int
    uid: int
    gid: int
    mtime: int
    device: tuple[int, int]
    size: int
    sha256: str
    target: bytes
    names: frozenset[bytes]


def tree(top: str) -> list[Entry]:
    """Everything that an archive can hold, below a directory."""
    noise = hashlib.shake_256(top.encode()).digest(3 << 20)
    file = stat.S_IFREG
    return [
        Entry(top, stat.S_IFDIR | 0o750, uid=3, gid=4),
        Entry(f"{top}/empty", file | 0o600),
        Entry(f"{top}/one", file | 0o644, b"1"),
        Entry(f"{top}/large", file | 0o444, noise, uid=1000, gid=100),
        Entry(f"{top}/set-user", file | 0o4755, b"#!/bin/sh\n", uid=7),
        Entry(f"{top}/owner beyond 16 bits", file | 0o640, b"x", uid=70_000, gid=4_000_000_000),
        Entry(f"{top}/sticky", stat.S_IFDIR | 0o1777),
        Entry(f"{top}/sticky/deep/er", stat.S_IFDIR | 0o2710, gid=9),
        Entry(f"{top}/sticky/deep/er/still", file | 0o644, b"down here\n"),
        Entry(f"{top}/with  two spaces and 'quotes\" $HOME * \\", file | 0o644, b"odd"),
        Entry(os.fsdecode(f"{top}/".encode() + b"\xff\xfe\x01 no UTF-8 \xc3"), file | 0o644, b"bytes"),
        Entry(f"{top}/ünïcödé", file | 0o644, b"letters"),
        Entry(f"{top}/{'n' * 255}", file | 0o644, b"long"),
        Entry(f"{top}/symlink", stat.S_IFLNK | 0o777, target="no where/at all", uid=5, gid=6),
        Entry(f"{top}/longest symlink", stat.S_IFLNK | 0o777, target="t" * 500),
        Entry(f"{top}/char", stat.S_IFCHR | 0o620, device=(4, 65), gid=5),
        Entry(f"{top}/block", stat.S_IFBLK | 0o660, device=(4095, 0xFFFFF), gid=6),
        Entry(f"{top}/pipe", stat.S_IFIFO | 0o622),
        Entry(f"{top}/hard", file | 0o755, b"shared" * 99, uid=11, gid=12),
        Entry(f"{top}/a hard link", file | 0o600, link=f"{top}/hard"),
        Entry(f"{top}/sticky/z", file | 0o600, link=f"{top}/hard"),
        Entry(f"{top}/empty too", file | 0o600, link=f"{top}/empty"),
    ]


def expected(entries: Sequence[Entry]) -> dict[bytes, Seen]:
    given = {entry.path: entry for entry in entries}
    seen = {}
    for entry in entries:
        main = given[entry.link] if entry.link else entry
        content = main.content if main.is_file else os.fsencode(main.target)
        assert isinstance(content, bytes)
        names = {e.path for e in entries if main.path in {e.path, e.link}}
        seen[os.fsencode(entry.path)] = Seen(
            mode=main.mode,
            uid=main.uid,
            gid=main.gid,
            mtime=0,
            device=main.device,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest() if main.is_file else "-",
            target=os.fsencode(main.target),
            names=frozenset(map(os.fsencode, names)),
        )
    return seen


def heard(console: bytes) -> dict[bytes, Seen]:
    lines = [match.groupdict() for match in LINE.finditer(console)]
    assert len(lines) == console.count(b"ENTRY "), "every line is whole"
    names: dict[bytes, set[bytes]] = {}
    for line in lines:
        names.setdefault(line["inode"], set()).add(bytes.fromhex(line["path"].decode())[1:])
    seen = {}
    for line in lines:
        path = bytes.fromhex(line["path"].decode())[1:]
        mode = int(line["mode"], 16)
        same = names[line["inode"]]
        if not stat.S_ISDIR(mode):
            assert int(line["links"]) == len(same)
        seen[path] = Seen(
            mode=mode,
            uid=int(line["uid"]),
            gid=int(line["gid"]),
            mtime=int(line["mtime"]),
            device=(int(line["major"], 16), int(line["minor"], 16)),
            size=0 if stat.S_ISDIR(mode) else int(line["size"]),
            sha256=line["sum"].decode(),
            target=b"" if line["target"] == b"-" else bytes.fromhex(line["target"].decode()),
            names=frozenset(same),
        )
    return seen


@pytest.fixture(scope="module")
def base(harness_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A kernel, and an initramfs with what the guest needs to list a tree."""
    root = tmp_path_factory.mktemp("lister")
    for name, text in {
        "recipes/tree.toml": RECIPE,
        "plans/tree.toml": PLAN,
        "tree/init": INIT,
        "tree/say": SAY,
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    recipe = load_recipe(str(root / "recipes/tree.toml"))
    return build_recipe(recipe, BuildOptions(cache=harness_cache), Quiet())


def boot(built: Build, image: Path, cache: Path, runs: Path) -> bytes:
    """What is on the console of a guest that boots with an image."""
    run = run_built(guests.with_image(built, "base", image), cache=cache, runs=runs)
    assert run.result.verdict.outcome == Outcome.PASS, run.result.verdict
    return (run.directory / "console.raw").read_bytes()


@pytest.mark.parametrize("compression", [by_night("none"), "gzip", by_night("xz"), "zstd", by_night("lz4")])
def test_kernel_unpacks_all_that_went_in(
    base: Build, harness_cache: Path, tmp_path: Path, compression: str
) -> None:
    entries = tree("tree")
    image = tmp_path / "image"
    initramfs.write([*guests.files_of(base, "base"), *entries], image, compression=compression)
    parents = [Entry("tree/sticky/deep", stat.S_IFDIR | 0o755)]
    assert heard(boot(base, image, harness_cache, tmp_path / "runs")) == expected([*entries, *parents])


def test_kernel_unpacks_segments_of_all_kinds(base: Build, harness_cache: Path, tmp_path: Path) -> None:
    """Each kind of stream has a plain archive, another kind and a member that is replaced behind it."""
    kinds = ["lz4", "none", "xz", "gzip", "none", "zstd", "lz4"]
    entries: dict[str, Entry] = {}
    fronts = []
    for number, kind in enumerate(kinds):
        added = [*tree(f"tree{number}"), Entry("tree", stat.S_IFREG | 0o644, kind.encode())]
        entries |= {entry.path: entry for entry in added}
        parent = Entry(f"tree{number}/sticky/deep", stat.S_IFDIR | 0o755)
        entries[parent.path] = parent
        fronts.append(tmp_path / f"{number}")
        initramfs.write(added, fronts[-1], compression=kind)
    image = tmp_path / "image"
    initramfs.write(guests.files_of(base, "base"), image, compression="gzip", behind=fronts)
    with image.open("rb") as file:
        assert [segment.compression for segment in cpio_reader.segments(file)] == [*kinds, "gzip"]
    assert heard(boot(base, image, harness_cache, tmp_path / "runs")) == expected(list(entries.values()))


SOCKET = stat.S_IFSOCK | 0o600


def odd_records(seed: int) -> list[Row]:
    """Records as no writer makes them: any order, names twice, links and dots on the way, shared inodes."""
    chance = random.Random(seed)  # noqa: S311 - a test, not secrets
    kinds = [(stat.S_IFREG | 0o644, 6), (stat.S_IFDIR | 0o755, 5), (stat.S_IFLNK | 0o777, 2), (SOCKET, 1)]
    rows = [Row("tree", stat.S_IFDIR | 0o755)]
    for number in range(400):
        parts = chance.choices("abcde", k=chance.choice((1, 1, 2, 2, 3)))
        end = chance.choice(("/", "/.", "/..", "/" + "n" * 256)) if chance.random() < 0.1 else ""
        path = "tree/" + chance.choice(("/", "/", "//", "/./", "/../")).join(parts) + end
        [mode] = chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        if stat.S_ISLNK(mode):
            target = chance.choice(("a", "../a", "/tree/b", "c/d", ".", "nowhere", "/tree"))
            rows.append(Row(path, mode, target.encode()))
        elif mode in {SOCKET, stat.S_IFREG | 0o644} and chance.random() < 0.4:
            content = b"" if mode == SOCKET or chance.random() < 0.4 else b"%d" % number
            rows.append(Row(path, mode, content, 5000 + chance.randrange(8), chance.choice((2, 2, 3))))
        else:
            rows.append(Row(path, mode, b"%d" % number if stat.S_ISREG(mode) else b""))
    return rows


def test_odd_records_become_what_the_check_says(base: Build, harness_cache: Path, tmp_path: Path) -> None:
    """The kernel does with each record what `unpacking` does with it in thought."""
    front, image = tmp_path / "odd", tmp_path / "image"
    front.write_bytes(newc(*odd_records(1)) + newc(*odd_records(2)))
    initramfs.write(guests.files_of(base, "base"), image, behind=[front])
    with image.open("rb") as file:
        unpacking = unpack(file)
        foreseen = {
            os.fsencode(m.path): (stat.S_IFMT(m.mode), m.size, os.fsencode(m.target), _sum(m))
            for m in unpacking.members
            if m.path.partition("/")[0] == "tree"
        }
    assert len(unpacking.dropped) > 50
    assert unpacking.mixed
    seen = {
        path: (stat.S_IFMT(each.mode), each.size if stat.S_ISREG(each.mode) else 0, each.target, each.sha256)
        for path, each in heard(boot(base, image, harness_cache, tmp_path / "runs")).items()
    }
    differ = [path for path in seen.keys() | foreseen.keys() if seen.get(path) != foreseen.get(path)]
    assert [(path, seen.get(path), foreseen.get(path)) for path in sorted(differ)] == []


def _sum(member: Member) -> str:
    return hashlib.sha256(b"".join(member.blocks())).hexdigest() if member.is_file else "-"
