"""What would be silence at boot is a sentence, and a sound image is not complained about."""

from __future__ import annotations

import lzma
import stat
import struct
from typing import TYPE_CHECKING

import pytest

from harness.formats.opened import open_image
from harness.formats.tree import Entry
from harness.image import initramfs
from harness.image.checks.kernel_checks import Seed, check_kernel, seed
from harness.image.checks.verify import problems_for_boot, verify
from harness.kernel.bzimage import inspect
from testcases.unit.test_bzimage import kernel
from testcases.unit.test_elf import AMD64, I386, elf

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.image.checks.kernel_checks import Finding
    from harness.kernel.bzimage import KernelImage

SHELL = elf(machine=I386)
WIDE = elf(machine=AMD64)
LOADED = elf("libc.so.6", interpreter="/lib/ld.so", machine=I386)
AARCH64 = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 183, 1) + bytes(40)


def file(path: str, content: bytes = b"", mode: int = 0o755) -> Entry:
    return Entry(path, stat.S_IFREG | mode, content)


def link(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target=target)


CONSOLE = Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
SCRIPT = file("init", b"#!/bin/sh -e\nexec true\n")
SOUND = [SCRIPT, file("bin/busybox", SHELL), link("bin/sh", "busybox"), CONSOLE]


def archive(directory: Path, entries: Iterable[Entry], compression: str = "none") -> Path:
    path = directory / "sysa.cpio"
    initramfs.write(list(entries), path, compression=compression)
    return path


def kernel_of(directory: Path, bits: int, **config: str) -> KernelImage:
    path = directory / "vmlinuz"
    path.write_bytes(kernel(xloadflags=int(bits == 64)))
    if config:
        text = "".join(f"CONFIG_{name}={value}\n" for name, value in config.items())
        (directory / "config-6.1.0-50-686").write_text(f"# CONFIG_X is not set\n{text}")
    return inspect(path)


def found(path: Path, **options: object) -> list[Finding]:
    with open_image(path) as image:
        return list(verify(image, **options))  # type: ignore[arg-type] # each test gives what is taken


def bad(path: Path, **options: object) -> list[str]:
    return [finding.what for finding in found(path, **options) if finding.good is False]


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "zstd", "lz4"])
def test_a_sound_initramfs(tmp_path: Path, compression: str) -> None:
    path = archive(tmp_path, SOUND, compression)
    assert bad(path, kernel=seed(kernel_of(tmp_path, 32)), cpu="pentium3") == []
    assert problems_for_boot(path, kernel_of(tmp_path, 32), command_line="console=ttyS0", cpu="") == []
    said = [finding.what for finding in found(path)]
    assert any("all 6 entries can be read" in what for what in said)
    assert "/init is there, with 2 more files that it needs" in said


@pytest.mark.parametrize(
    ("name", "archive_expected"),
    [
        ("initramfs", True),
        ("initrd.gz", True),
        ("initramfs.img", True),
        ("initramfs.cpio.xz", True),
        ("initrd.img-6.12.117+deb13-cloud-amd64", True),
        ("initramfs-6.1.0.img", True),
        ("initramfs-linux-fallback.img", True),
        ("initrd-6.4.0-1-default", True),
        ("initramfs.conf", False),
        ("initramfs.conf.5.gz", False),
        ("initramfs-tools.8.gz", False),
        ("initramfs-tools-core.md5sums", False),
        ("initrd.target", False),
        ("initrd-cleanup.service", False),
    ],
)
def test_what_is_only_about_an_initramfs_is_none(
    tmp_path: Path,
    name: str,
    archive_expected: bool,
) -> None:
    """Every initrd of Debian has a conf/initramfs.conf, and every root more such names."""
    path = archive(tmp_path, [*SOUND, file(f"conf/{name}", b"# initramfs.conf\n")])
    assert any(f"conf/{name}, byte 0" in what for what in bad(path)) == archive_expected


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([link("init", "sbin/init"), *SOUND[1:]], "a link to sbin/init, which leads nowhere"),
        ([link("init", "init"), *SOUND[1:]], "there is no /init"),
        ([file("init", SHELL, 0o644), *SOUND[1:]], "/init is not executable (mode 0644)"),
        ([file("init", b"echo hello\n"), *SOUND[1:]], "/init is neither a program nor a script"),
        ([file("init"), *SOUND[1:]], "/init is neither a program nor a script"),
        ([file("init", b"#!\n"), *SOUND[1:]], "#! line without an interpreter"),
        ([file("init", b"#!/bin/zsh\n"), *SOUND[1:]], "init needs /bin/zsh, which is not in the tree"),
        ([SCRIPT, file("bin/sh", SHELL, 0o600), CONSOLE], "/bin/sh, which runs /init, is not executable"),
        ([file("init", LOADED), CONSOLE], "is not in the tree"),
        ([file("init", LOADED), file("lib/ld.so", SHELL), CONSOLE], "libc.so.6 (32-bit)"),
        (
            [file("init", LOADED), file("lib/ld.so", SHELL), file("lib/libc.so.6", WIDE), CONSOLE],
            "libc.so.6 (32-bit)",
        ),
        (
            [file("init", LOADED), file("lib/ld.so", WIDE), file("lib/libc.so.6", SHELL), CONSOLE],
            "for different processors: /init (i386), /lib/ld.so (x86-64), /lib/libc.so.6 (i386)",
        ),
        ([file("init", SHELL[:60]), CONSOLE], "damaged ELF file"),
        ([*SOUND[:3], Entry("dev/console", stat.S_IFCHR | 0o600, device=(4, 1))], "/dev/console is not"),
        ([*SOUND[:3], file("dev/console")], "/dev/console is not"),
        ([*SOUND, file("sysb/vmlinuz", b"no kernel " * 100)], "sysb/vmlinuz is no x86 kernel image"),
        ([*SOUND, file("boot/bzImage-6", kernel()[:-400])], "kernel boot/bzImage-6 is cut off"),
        ([*SOUND, file("second", (kernel() + bytes(600_000))[:2000] + bytes(600_000))], ""),
        ([*SOUND, file("sysb/initramfs", b"070701" + b"0" * 90)], "sysb/initramfs, byte"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_of_an_initramfs_is_told(tmp_path: Path, entries: list[Entry], what: str) -> None:
    told = bad(archive(tmp_path, entries))
    if what:
        assert len(told) == 1
        assert what in told[0]
        at_boot = problems_for_boot(
            archive(tmp_path, entries), kernel_of(tmp_path, 64), command_line="", cpu=""
        )
        assert [finding.what for finding in at_boot] == told
        assert all(finding.hint for finding in at_boot)
    else:
        assert told == []


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        (SOUND[1:], "there is no /init"),
        ([file("data/numbers", b"1 2 3\n")], "there is no /init"),
        ([Entry("init", stat.S_IFDIR | 0o755), *SOUND[1:]], "/init"),
        ([file("init", AARCH64), CONSOLE], "/init is for aarch64"),
    ],
)
def test_what_an_archive_is_not_made_for(tmp_path: Path, entries: list[Entry], what: str) -> None:
    """It is a remark, unless a kernel is to boot with it."""
    path, image = archive(tmp_path, entries), kernel_of(tmp_path, 64)
    findings = found(path)
    assert [finding.good for finding in findings if what in finding.what] == [None]
    assert all(finding.good is not False for finding in findings)
    (at_boot,) = problems_for_boot(path, image, command_line="", cpu="")
    assert what in at_boot.what
    assert at_boot.hint
    assert at_boot.what in bad(path, kernel=seed(image))


def test_an_init_that_is_asked_for(tmp_path: Path) -> None:
    (told,) = bad(archive(tmp_path, SOUND), init="/sbin/init")
    assert told == "there is no /sbin/init"


def test_foreign_programs_that_do_not_fit_together(tmp_path: Path) -> None:
    mixed = [file("init", b"#!/bin/sh\n"), file("bin/sh", AARCH64), CONSOLE]
    assert bad(archive(tmp_path, mixed)) == []
    foreign = elf(interpreter="/lib/ld.so", machine=(64, 183))
    (told,) = bad(archive(tmp_path, [file("init", foreign), file("lib/ld.so", WIDE), CONSOLE]))
    assert "for different processors" in told


def test_a_missing_console_is_only_mentioned(tmp_path: Path) -> None:
    findings = found(archive(tmp_path, SOUND[:3]))
    assert [f.good for f in findings if "console" in f.what] == [None]


@pytest.mark.parametrize("end", [100, 300, 3000, -200])
def test_an_archive_that_is_cut_off(tmp_path: Path, end: int) -> None:
    whole = archive(tmp_path, [*SOUND, file("last", b"x" * 5000)])
    whole.write_bytes(whole.read_bytes().rstrip(b"\0")[:end])
    (told,) = bad(whole)
    assert "cut off" in told
    (at_boot,) = problems_for_boot(whole, kernel_of(tmp_path, 32), command_line="", cpu="")
    assert at_boot.what in told


def test_a_second_segment_that_is_cut_off(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    initramfs.write(SOUND, first)
    initramfs.write([file("more", b"x" * 3000)], second)
    second.write_bytes(second.read_bytes()[:400])
    initramfs.write([], tmp_path / "none")
    both = tmp_path / "both"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    assert len(bad(both)) == 1


def test_what_the_kernel_objects_to(tmp_path: Path) -> None:
    path = archive(tmp_path, SOUND)
    path.write_bytes(lzma.compress(path.read_bytes(), check=lzma.CHECK_CRC64))
    (told,) = bad(path)
    assert "--check=crc32" in told


@pytest.mark.parametrize(
    ("init", "bits", "config", "what"),
    [
        (WIDE, 64, {}, ""),
        (SHELL, 64, {}, ""),
        (SHELL, 64, {"IA32_EMULATION": "y"}, ""),
        (SHELL, 32, {"BLK_DEV_INITRD": "y", "RD_GZIP": "y", "BINFMT_ELF": "y"}, ""),
        (WIDE, 32, {}, "/init is 64-bit, and kernel vmlinuz is 32-bit"),
        (SHELL, 64, {"BLK_DEV_INITRD": "y"}, "is built without IA32_EMULATION"),
        (
            SHELL,
            64,
            {"IA32_EMULATION": "y", "IA32_EMULATION_DEFAULT_DISABLED": "y"},
            "is built without IA32_EMULATION",
        ),
    ],
)
def test_init_and_kernel(tmp_path: Path, init: bytes, bits: int, config: dict[str, str], what: str) -> None:
    image = kernel_of(tmp_path, bits, **({"BLK_DEV_INITRD": "y"} | config if config else {}))
    told = bad(archive(tmp_path, [file("init", init), CONSOLE]), kernel=seed(image))
    assert [what in each for each in told] == ([True] if what else [])


def test_a_kernel_that_was_built_without_something(tmp_path: Path) -> None:
    known = seed(kernel_of(tmp_path, 32, RD_GZIP="y"))
    assert known.config == {"RD_GZIP": "y"}
    path = archive(tmp_path, SOUND, "zstd")
    told = " ".join(bad(path, kernel=known))
    for symbol in ("BLK_DEV_INITRD", "RD_ZSTD", "BINFMT_SCRIPT"):
        assert f"without {symbol}" in told
    assert bad(path, kernel=Seed(known.image)) == []


def test_the_configuration_of_a_build_tree(tmp_path: Path) -> None:
    place = tmp_path / "linux/arch/x86/boot"
    place.mkdir(parents=True)
    (place / "bzImage").write_bytes(kernel())
    (tmp_path / "linux/.config").write_text("CONFIG_64BIT=y\n")
    assert seed(inspect(place / "bzImage")).config == {"64BIT": "y"}


@pytest.mark.parametrize(
    ("cpu", "bits", "fits"),
    [
        ("", 64, True),
        ("qemu64", 64, True),
        ("max", 64, True),
        ("pentium3", 32, True),
        ("pentium3", 64, False),
        ("qemu32-v1", 64, False),
        ("pentium3,+lm", 64, True),
        ("qemu64,-lm", 64, False),
        ("Skylake-Client-v2,lm=off", 64, False),
    ],
)
def test_kernel_and_processor(tmp_path: Path, cpu: str, bits: int, fits: bool) -> None:
    findings = list(check_kernel(Seed(kernel_of(tmp_path, bits)), cpu))
    assert [finding.good for finding in findings] == [fits]


def test_another_init(tmp_path: Path) -> None:
    path = archive(tmp_path, [file("sbin/start", SHELL), CONSOLE])
    image = kernel_of(tmp_path, 32)
    assert bad(path, init="/sbin/start") == []
    assert bad(path, init="sbin/stop") == ["there is no /sbin/stop"]
    assert problems_for_boot(path, image, command_line="a=b rdinit=/sbin/start c", cpu="") == []
    (told,) = problems_for_boot(path, image, command_line="rdinit=/missing", cpu="")
    assert told.what == "there is no /missing"
    assert problems_for_boot(path, image, command_line="root=/dev/sda", cpu="") == []


def test_a_hard_linked_init(tmp_path: Path) -> None:
    entries = [file("bin/start", SHELL), Entry("init", stat.S_IFREG | 0o755, link="bin/start"), CONSOLE]
    assert bad(archive(tmp_path, entries)) == []
