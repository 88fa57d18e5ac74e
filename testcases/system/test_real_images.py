"""Images, kernels and archives of Debian packages and of other programs: sound ones are called sound."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import zlib
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, HarnessError
from harness.core.progress import Quiet
from harness.formats.opened import open_image
from harness.image.checks.verify import verify
from harness.kernel.inspection import examine
from harness.sources.debian import DebianSource
from harness.store import Store
from testcases.unit.test_image_opened import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.image.checks.kernel_checks import Finding


@pytest.fixture(scope="module")
def package(harness_cache: Path) -> Callable[[str], Path]:
    """Where the files of a package of bookworm lie."""
    debian = DebianSource(Store(harness_cache), Quiet())

    def get(name: str) -> Path:
        try:
            newest = debian.newest("bookworm", "amd64", name)
            return debian.unpack("bookworm", "amd64", [newest])[name]
        except HarnessError as error:
            pytest.skip(f"{name} cannot be had: {error.message}")

    return get


@pytest.fixture
def run(package: Callable[[str], Path], tmp_path: Path) -> Callable[..., bytes]:
    """Runs a program of a package, with libraries of other ones."""

    def call(name: str, *arguments: str | Path, libraries: tuple[str, ...] = (), given: bytes = b"") -> bytes:
        program = tmp_path / name
        shutil.copy(next((package(name) / "usr/bin").glob(f"{name}*")), program)
        program.chmod(0o755)
        paths = ":".join(str(package(library) / "usr/lib/x86_64-linux-gnu") for library in libraries)
        result = subprocess.run(
            [program, *arguments],
            input=given,
            capture_output=True,
            check=False,
            env={**os.environ, "LD_LIBRARY_PATH": paths},
        )
        if result.returncode:
            pytest.skip(f"{name} does not run here: {result.stderr.decode(errors='replace')}")
        return result.stdout

    return call


def findings(path: Path) -> list[Finding]:
    with open_image(path) as image:
        return list(verify(image))


def bad(path: Path) -> list[str]:
    return [finding.what for finding in findings(path) if finding.good is False]


@pytest.mark.parametrize(
    ("name", "path", "version"),
    [
        ("memtest86+", "boot/memtest86+x64.bin", "Memtest86+"),
        ("memtest86+", "boot/memtest86+ia32.bin", "Memtest86+"),
        ("ipxe", "boot/ipxe.lkrn", "1.0.0+git"),
        ("syslinux-common", "usr/lib/syslinux/memdisk", "MEMDISK"),
    ],
)
def test_what_boots_as_a_linux_kernel_is_not_cut_off(
    package: Callable[[str], Path], tmp_path: Path, name: str, path: str, version: str
) -> None:
    kernel = package(name) / path
    assert examine(kernel).image.version.startswith(version)
    if name == "syslinux-common":  # its header promises less than it has
        return
    cut = tmp_path / "cut"
    cut.write_bytes(kernel.read_bytes()[:-16])
    with pytest.raises(ConfigError, match="is cut off"):
        examine(cut)


@pytest.mark.parametrize("name", ["grub-rescue-cdrom.iso", "grub-rescue-floppy.img"])
def test_an_image_that_boots_by_bios_alone_is_sound(package: Callable[[str], Path], name: str) -> None:
    found = findings(package("grub-rescue-pc") / "usr/lib/grub-rescue" / name)
    assert [each.what for each in found if each.good is False] == []
    remarks = " ".join(each.what for each in found if each.good is None)
    assert "does not boot from CD by UEFI" in remarks
    assert "/vmlinuz, which is not in the image; it may be on another disk" in remarks
    assert "made to boot from CD by BIOS, from USB by BIOS" in found[-1].what


def test_an_iso_of_ipxe_is_sound(package: Callable[[str], Path]) -> None:
    assert bad(package("ipxe") / "usr/lib/ipxe/ipxe.iso") == []


def zisofs(data: bytes) -> bytes:
    """What mkzftree makes of a file."""
    blocks = [data[at : at + 32768] for at in range(0, len(data), 32768)]
    packed = [zlib.compress(block) if block.strip(b"\0") else b"" for block in blocks]
    pointers = [16 + 4 * (len(packed) + 1)]
    for block in packed:
        pointers.append(pointers[-1] + len(block))
    head = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07" + struct.pack("<IBBxx", len(data), 4, 15)
    return head + struct.pack(f"<{len(pointers)}I", *pointers) + b"".join(packed)


def test_zisofs_is_unpacked_and_a_cut_one_refused(run: Callable[..., bytes], tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(70_000)  # noqa: S311 - contents, not secrets
    contents = {"noise": noise, "zeros": bytes(100_000), "text": b"words\n" * 20_000}
    tree, image = tmp_path / "tree", tmp_path / "z.iso"
    tree.mkdir()
    for name, content in contents.items():
        (tree / name).write_bytes(zisofs(content))
    run("genisoimage", "-quiet", "-z", "-R", "-o", image, tree, libraries=("libmagic1",))
    assert files(image) == contents
    assert bad(image) == []
    whole = image.stat().st_size
    for size in range(whole - 4096, 40_000, -7001):
        os.truncate(image, size)
        try:
            assert files(image) == contents
        except ConfigError as error:
            refused = error.message
    assert "is cut off" in refused


@pytest.mark.parametrize("options", [("-udf", "-R"), ("-hfs", "-R"), ("-J",), ("-J", "-R", "-D")])
def test_isos_of_genisoimage(run: Callable[..., bytes], tmp_path: Path, options: tuple[str, ...]) -> None:
    tree, image = tmp_path / "tree", tmp_path / "image.iso"
    (tree / "a/b/c/d/e/f/g/h/i/j").mkdir(parents=True)
    (tree / "a/b/c/d/e/f/g/h/i/j/deep").write_bytes(b"deep" * 999)
    (tree / "a name of some length").write_bytes(b"content" * 1000)
    run("genisoimage", "-quiet", "-D", *options, "-o", image, tree, libraries=("libmagic1",))
    assert files(image) == {
        "a/b/c/d/e/f/g/h/i/j/deep": b"deep" * 999,
        "a name of some length": b"content" * 1000,
    }
    assert bad(image) == []


def test_packers_that_the_kernel_does_not_know_are_named(run: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(run("lzip", "-c", given=b"anything"))
    with pytest.raises(ConfigError, match="an lzip file, which the kernel does not unpack"), open_image(path):
        pytest.fail("it is no image")
    (tmp_path / "big").write_bytes(b"".join(b"%06d\n" % number for number in range(400_000)))
    made = subprocess.run(
        ["cpio", "-o", "-H", "newc"], input=b"big\n", cwd=tmp_path, capture_output=True, check=True
    ).stdout
    path.write_bytes(run("pbzip2", "-c", "-p2", given=made))
    with pytest.raises(ConfigError, match="goes on in a second bzip2 stream") as caught:
        files(path)
    assert "bzip2 instead of pbzip2" in caught.value.hint
