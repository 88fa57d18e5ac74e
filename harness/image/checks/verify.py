"""Checks of a whole image that need no guest: what would be a silent hang at boot is a sentence before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.formats.lookup import MemberTree
from harness.formats.opened import open_image
from harness.image.checks.init_checks import check_console, check_init
from harness.image.checks.kernel_checks import Finding, check_carried, check_compression, check_kernel, seed
from harness.image.checks.table_checks import check_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.formats.member import Member
    from harness.formats.opened import OpenedImage
    from harness.image.checks.kernel_checks import Seed
    from harness.kernel.bzimage import KernelImage

_AGAIN = "build it or fetch it again"
_RAM_INIT = "init"
# Where the kernel looks for init on a root filesystem, in this order (init/main.c).
_ROOT_INITS = ("sbin/init", "etc/init", "bin/init", "bin/sh")


def verify(
    image: OpenedImage, *, kernel: Seed | None = None, cpu: str = "", init: str = ""
) -> Iterator[Finding]:
    """Check an image, and that a kernel could start what is in it.

    Args:
        image: The image.
        kernel: The kernel that is to boot with it, if known.
        cpu: QEMU's processor model that is to run the kernel, if known.
        init: Path of the init, instead of those that kernels look for.
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
            yield from _check_initramfs(image, tree, kernel, init)
        case "ext" | "disk":
            yield from _check_disk(image, tree, kernel, init)
        case "iso":
            yield from _check_iso(image)
    yield from check_carried(tree)


def problems_for_boot(initramfs: Path, kernel: KernelImage, *, command_line: str, cpu: str) -> list[Finding]:
    """Find what would keep a kernel from starting init out of an initramfs.

    Quick enough to be asked before every boot: contents are read only as far as init needs them.

    Args:
        initramfs: The archive.
        kernel: The kernel that boots with it.
        command_line: The kernel's command line; `rdinit=` names another init.
        cpu: QEMU's processor model; "" for the default one.

    Returns:
        What is wrong; empty if nothing is.

    Raises:
        ConfigError: The archive cannot be opened.
    """
    known = seed(kernel)
    options = dict(word.split("=", 1) for word in command_line.split() if "=" in word)
    findings = list(check_kernel(known, cpu))
    with open_image(initramfs) as image:
        try:
            tree = MemberTree(image.members())
        except ConfigError as error:
            findings.append(Finding(False, error.message, error.hint or _AGAIN))
        else:
            init = options.get("rdinit", _RAM_INIT).lstrip("/")
            # Without an init here the kernel goes on to the root that it is told.
            if tree.find(init) or "root" not in options:
                findings += _check_initramfs(image, tree, known, init)
            findings += check_carried(tree)
    return [finding for finding in findings if finding.good is False]


def _read_all(image: OpenedImage) -> Iterator[Member]:
    """Read every content to its end; a hard link's is read with its file."""
    for member in image.members():
        if not member.link:
            for _ in member.blocks():
                pass
        yield member


def _check_initramfs(
    image: OpenedImage, tree: MemberTree, kernel: Seed | None, init: str
) -> Iterator[Finding]:
    from harness.formats.cpio import reader as cpio_reader

    with image.raw.open("rb") as file:
        segments = cpio_reader.segments(file)
    for segment in segments:
        if segment.objection:
            yield Finding(False, f"segment at byte {segment.offset}: {segment.objection}", "compress it anew")
    if kernel:
        yield from check_compression({segment.compression for segment in segments}, kernel)
    yield from check_init(tree, kernel, init or _RAM_INIT)
    yield check_console(tree)


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
                yield Finding(False, f"{name} says: {known.state}", "check it with e2fsck -f")


def _check_iso(image: OpenedImage) -> Iterator[Finding]:
    from harness.image.checks import iso as iso_problems

    try:
        bad = list(iso_problems.problems(image.raw))
    except ConfigError as error:
        bad = [error.message]
    for problem in bad:
        yield Finding(False, problem, _AGAIN)
    if not bad:
        yield Finding(True, "boot catalog, partition table and menu are sound")
