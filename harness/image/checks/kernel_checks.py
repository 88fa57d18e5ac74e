"""Checks that a kernel fits its processor, archive and image."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.kernel import bzimage, config, features

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.formats.tree import Member, MemberTree
    from harness.kernel.bzimage import KernelImage

# QEMU's models without long mode (target/i386/cpu.c); versions such as qemu32-v1 are the same.
_NARROW_CPUS = frozenset(
    {"486", "athlon", "base", "coreduo", "kvm32", "n270", "pentium", "pentium2", "pentium3", "qemu32"}
)
_SOURCES = (".patch", ".diff", ".sh", ".kaem", ".c", ".h", ".txt", ".list", ".md")
# Names of initramfs archives; others that begin so are about them: initramfs.conf, initrd.target.
_PACKED = r"(\.(gz|xz|zst|lz4|bz2|lzma|lzo))?"
_ARCHIVE_NAME = re.compile(
    rf"(initramfs|initrd)(-\d[\w+.~-]*|(-[\w+.~-]+)?\.(img|cpio)(-\d[\w+.~-]*)?)?{_PACKED}"
)
_KERNEL_MIN = 512 << 10  # no kernel is smaller


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    good: bool | None  # whether it is as it should be; None for something to know that may be meant so
    what: str  # one sentence
    hint: str = ""  # what to do when it is not good


class Seed(msgspec.Struct, frozen=True):
    """A kernel, and what is known of its configuration."""

    image: KernelImage  # the kernel
    # symbols without CONFIG_, with their values; None where no configuration lies beside it
    config: Mapping[str, str] | None = None

    def lacks(self, symbol: str) -> bool:
        """Whether the kernel is known to be built without a symbol."""
        return self.config is not None and symbol not in self.config


def seed(image: KernelImage) -> Seed:
    """Look for a kernel's configuration: beside it, or in it."""
    found = config.of(image)
    return Seed(image, found.symbols if found else None)


def check_needs(
    kernel: Seed,
    *,
    built_in: Sequence[str],
    modular: Sequence[str],
    memory: int = 0,
    command_line: str = "",
) -> Iterator[Finding]:
    """Check that a kernel has the features that a plan needs; arguments are those of `features.lacking`."""
    lacks = features.lacking(
        kernel.image,
        kernel.config,
        built_in=built_in,
        modular=modular,
        memory=memory,
        command_line=command_line,
    )
    for lack in lacks:
        yield Finding(False if lack.strict else None, lack.what, lack.hint)


def check_kernel(kernel: Seed, cpu: str, *, archives: bool = True) -> Iterator[Finding]:
    """Check that a processor model of QEMU can run a kernel; with `archives`, that it takes an initramfs."""
    image = kernel.image
    name = f"kernel {image.path.name} ({image.version or 'of no version'}, {image.bits}-bit)"
    if image.bits == 64 and _is_narrow(cpu):
        what = f"{name} needs an x86-64 processor, and QEMU's {cpu.partition(',')[0]} is none"
        yield Finding(False, what, "choose another --cpu, or a 32-bit kernel")
    else:
        yield Finding(True, name)
    if archives and kernel.lacks("BLK_DEV_INITRD"):
        yield Finding(
            False, f"{name} is built without BLK_DEV_INITRD: it ignores every initramfs", "build it with it"
        )


def _is_narrow(cpu: str) -> bool:
    model, *features = cpu.split(",")
    base = model.partition("-v")[0] if model.partition("-v")[2].isdigit() else model
    if "+lm" in features or "lm=on" in features:
        return False
    return base in _NARROW_CPUS or "-lm" in features or "lm=off" in features


def check_compression(needs: Iterable[str], kernel: Seed) -> Iterator[Finding]:
    """Check that a kernel has the symbols without which it cannot unpack an initramfs."""
    for symbol in sorted(filter(kernel.lacks, needs)):
        what = f"kernel {kernel.image.path.name} is built without {symbol}, and cannot unpack this"
        yield Finding(False, what, "compress the archive in another way, or not at all")


def check_carried(tree: MemberTree) -> Iterator[Finding]:
    """Check the kernels and initramfs archives that an image carries, by their content or by their name."""
    for path, member in tree.members.items():
        if member.is_file and (what := _carried(path, member)):
            with tempfile.TemporaryDirectory() as directory:
                copy = Path(directory, "copy")
                try:
                    with copy.open("wb") as file:
                        file.writelines(member.blocks())
                    described = _describe_kernel(copy) if what == "kernel" else _describe_archive(copy)
                    yield Finding(True, f"{path} is {described}")
                except ConfigError as error:
                    yield Finding(
                        False, error.message.replace(str(copy), path), error.hint or "put a sound file in"
                    )


def _carried(path: str, member: Member) -> str:
    """Return "kernel", "archive", or "" for what is neither."""
    name = path.rpartition("/")[2]
    if name.endswith(_SOURCES):  # about kernels and archives, as source trees have them
        return ""
    if name.startswith(("vmlinuz", "bzImage")):
        return "kernel"
    if _ARCHIVE_NAME.fullmatch(name):
        return "archive"
    head = next(member.blocks(), b"") if member.size >= _KERNEL_MIN else b""
    if head.startswith(b"HdrS", 0x202):
        return "kernel"
    return "archive" if head.startswith((b"070701", b"070702")) else ""


def _describe_kernel(path: Path) -> str:
    image = bzimage.inspect(path)
    return f"a {image.bits}-bit kernel, {image.version or 'of no version'}"


def _describe_archive(path: Path) -> str:
    from harness.formats.cpio.reader import segments

    with path.open("rb") as file:
        entries = sum(segment.members for segment in segments(file))
    return f"a complete cpio archive with {entries} entries"
