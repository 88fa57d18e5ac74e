"""Checks a whole image without a guest.

It names what would end in a silent hang at boot.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.core import programs
from harness.core.errors import ConfigError
from harness.formats.cpio.unpacking import Unpacking, unpack
from harness.formats.disk import partitions
from harness.formats.opened import OpenedImage, open_image
from harness.formats.tree import Member, MemberTree
from harness.image.checks.init_checks import check_console, check_init
from harness.image.checks.kernel_checks import (
    Finding,
    Seed,
    check_carried,
    check_compression,
    check_kernel,
    seed,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from harness.formats.ext.superblock import ExtFilesystem
    from harness.kernel.bzimage import KernelImage

_AGAIN = "build it or fetch it again"
_RAM_INIT = "init"
# Where the kernel looks for init on a root filesystem, in this order (init/main.c).
_ROOT_INITS = ("sbin/init", "etc/init", "bin/init", "bin/sh")


def verify(
    image: OpenedImage,
    *,
    kernel: Seed | None = None,
    cpu: str = "",
    init: str = "",
    ways: Collection[str] = (),
) -> Iterator[Finding]:
    """Check an image, and that a kernel could start what is in it.

    Args:
        image: The image.
        kernel: The kernel that is to boot with it, if known.
        cpu: QEMU's processor model that is to run the kernel, if known.
        init: Path of the init, instead of those that kernels look for.
        ways: In which an ISO image must boot, of `checks.iso.WAYS`.
    """
    if kernel:
        yield from check_kernel(kernel, cpu)
    try:
        tree = MemberTree(_read_all(image), image.roots)
    except ConfigError as error:
        yield Finding(False, f"{image.format}: {error.message}", error.hint or _AGAIN)
        return
    yield Finding(True, f"{image.format}: all {len(tree.members)} entries can be read")
    match image.kind:
        case "cpio":
            with _unpacking(image) as (unpacking, unpacked):
                wanted = kernel is not None or bool(init)
                yield from _check_initramfs(unpacking, unpacked, kernel, init or _RAM_INIT, wanted=wanted)
        case "ext" | "disk":
            yield from _check_disk(image, tree, kernel, init)
        case "iso":
            yield from _check_iso(image.raw, ways)
    yield from check_carried(tree)


def problems_for_boot(initramfs: Path, kernel: KernelImage, *, command_line: str, cpu: str) -> list[Finding]:
    """What would keep a kernel from starting init out of an initramfs; empty if nothing does.

    Quick enough to be asked before every boot: contents are read only as far as init needs them. `rdinit=` on
    the command line names another init; `cpu` is QEMU's processor model, "" for the default one.
    """
    known = seed(kernel)
    options = dict(word.split("=", 1) for word in command_line.split() if "=" in word)
    findings = list(check_kernel(known, cpu))
    with open_image(initramfs) as image:
        try:
            with _unpacking(image) as (unpacking, tree):
                init = options.get("rdinit", _RAM_INIT).lstrip("/")
                # Without an init here the kernel goes on to the root that it is told.
                if tree.find(init) or "root" not in options:
                    findings += _check_initramfs(unpacking, tree, known, init)
                findings += check_carried(tree)
        except ConfigError as error:
            findings.append(Finding(False, error.message, error.hint or _AGAIN))
    return [finding for finding in findings if finding.good is False]


def _read_all(image: OpenedImage) -> Iterator[Member]:
    """Read every content to its end; a hard link's is read with its file."""
    for member in image.members():
        if not member.link:
            for _ in member.blocks():
                pass
        yield member


@contextmanager
def _unpacking(image: OpenedImage) -> Iterator[tuple[Unpacking, MemberTree]]:
    """What the kernel makes of an initramfs; contents can be read until the `with` block ends."""
    with image.raw.open("rb") as file:
        unpacking = unpack(file)
        yield unpacking, MemberTree(unpacking.members)


def _check_initramfs(
    unpacking: Unpacking, tree: MemberTree, kernel: Seed | None, init: str, *, wanted: bool = True
) -> Iterator[Finding]:
    for segment in unpacking.segments:
        if segment.objection:
            yield Finding(False, f"segment at byte {segment.offset}: {segment.objection}", "compress it anew")
    if kernel:
        yield from check_compression(
            {need for segment in unpacking.segments for need in segment.needs}, kernel
        )
    yield from _check_unpacking(unpacking)
    files = [path for path, member in tree.members.items() if not member.is_directory]
    if unpacking.early and not files:
        yield Finding(None, "it only has what the kernel reads before there are files, such as microcode")
        return
    yield from check_init(tree, kernel, init, wanted=wanted)
    if wanted or tree.find(init):
        yield check_console(tree)


def _check_unpacking(unpacking: Unpacking) -> Iterator[Finding]:
    if unpacking.dropped:
        path, why = next(iter(unpacking.dropped.items()))
        more = len(unpacking.dropped) - 1
        others = f", and {more} more" if more else ""
        yield Finding(
            False,
            f"the kernel leaves out {path} without a word: {why}{others}",
            "pack each directory before what is in it: find . | sort | cpio -o -H newc",
        )
    for a, b in unpacking.mixed[:1]:
        yield Finding(
            False,
            f"{a} and {b} have one inode number and different contents: the kernel gives both the later one",
            "number them anew: cpio -o -H newc --renumber-inodes",
        )


def _check_disk(image: OpenedImage, tree: MemberTree, kernel: Seed | None, init: str) -> Iterator[Finding]:
    if image.kind == "disk":
        yield from check_table(image.raw)
    yield from _check_filesystems(image)
    inits = [init.lstrip("/")] if init else _ROOT_INITS
    found = False
    for root in image.roots:
        if path := next((path for path in inits if tree.find(f"{root}/{path}")), ""):
            found = True
            yield from check_init(tree, kernel, path, root=root)
    if not found:
        missing = f"/{inits[0]}" if init else f"init (/{', /'.join(_ROOT_INITS)})"
        # A filesystem with nothing but data is none the worse for it.
        yield Finding(
            False if init else None, f"no filesystem has {missing}", "name another init with --init"
        )


def _check_filesystems(image: OpenedImage) -> Iterator[Finding]:
    from harness.formats.ext import reader as ext_reader

    places = [(part.name, part.offset) for part in image.parts()] or [("the filesystem", 0)]
    with image.raw.open("rb") as file:
        for name, offset in places:
            known = ext_reader.identify(file, offset)
            if known and known.state != "clean":
                yield _check_unclean(image.raw, name, offset, known)


def _check_unclean(path: Path, name: str, offset: int, known: ExtFilesystem) -> Finding:
    """Have e2fsck look at a filesystem that says that it may not be sound."""
    said = f"{name} says: {known.state}"
    replayed = "needs_recovery" in known.features
    if replayed:
        said += "; its journal has changes that are not seen here"
    try:
        asked = programs.call(["e2fsck", "-fn", f"{path}?offset={offset}"], package="e2fsprogs")
    except ConfigError:
        return Finding(None, f"{said}; e2fsck is not installed, and could say whether that did harm")
    if asked.returncode == 0:
        return Finding(None, f"{said}; e2fsck finds nothing wrong")
    problem = next((line for line in asked.stdout.splitlines() if line.endswith("? no")), "")
    if replayed:  # which is not done where nothing may be written
        what = f"{said}, which may mend what e2fsck finds: {problem.removesuffix('? no')}"
        return Finding(None, what)
    return Finding(False, f"{said}, and is damaged: {problem.removesuffix('? no')}", "mend it with e2fsck -f")


def _check_iso(path: Path, ways: Collection[str]) -> Iterator[Finding]:
    from harness.image.checks.iso import check_iso

    try:
        yield from check_iso(path, ways)
    except ConfigError as error:
        yield Finding(False, error.message, error.hint or _AGAIN)


_COUNT = re.compile(r"\d+ errors? detected\.")
# What sfdisk says of disks that every system takes: mostly an image that was copied to a larger disk.
_HARMLESS = re.compile(
    r"PMBR size mismatch|not on the end of the device|physical sector boundary", re.IGNORECASE
)
_HINT = "make the partition table anew, or fetch the image again"


def check_table(path: Path) -> Iterator[Finding]:
    """Ask sfdisk, which checks sums, second copies, overlaps and ends; its exit status says nothing."""
    table = partitions.read(path)
    problems = [table.problem] if table.problem else []
    if table.sector == partitions.SECTOR:  # sfdisk knows no other ones in files
        # The standard output only has what is well, and sizes.
        said = programs.call(["sfdisk", "--verify", str(path)], package="fdisk").stderr.splitlines()
        problems = [
            line.strip().rstrip(".") for line in said if line.strip() and not _COUNT.fullmatch(line.strip())
        ]
    damaged = [problem for problem in problems if not _HARMLESS.search(problem)]
    for problem in problems:
        if problem in damaged:
            yield Finding(False, f"the partition table is damaged: {problem}", _HINT)
        else:
            yield Finding(None, f"sfdisk says of the partition table: {problem}")
    if not damaged:
        yield Finding(True, "the partition table is sound")
