"""Archives that a kernel boots or not: the check before a boot must have said the same."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.image.checks.verify import problems_for_boot
from harness.kernel import catalogue
from harness.sources.debian import DebianSource
from harness.store import Store
from testcases.support.archives import ARCHIVES, HELLO
from testcases.support.profiles import by_night

if TYPE_CHECKING:
    from pathlib import Path

    from harness.kernel.bzimage import KernelImage

# One for each kind of fault; testcases/system/test_archives.py asks the check of all.
_BY_DAY = {
    "as it should be",
    "directories without records",
    "two groups of hard links with one inode number",
    "an empty interpreter",
    "lz4 frame",
    "two gzip members",
}
QEMU = shutil.which("qemu-system-i386")
pytestmark = pytest.mark.skipif(QEMU is None, reason="qemu-system-i386 is not installed")


@pytest.fixture(scope="module")
def kernel(harness_cache: Path) -> KernelImage:
    return catalogue.obtain("debian-6.1-i686", DebianSource(Store(harness_cache), Quiet())).image


@pytest.mark.parametrize("name", [name if name in _BY_DAY else by_night(name) for name in ARCHIVES])
def test_the_check_says_what_the_kernel_does(kernel: KernelImage, tmp_path: Path, name: str) -> None:
    sound, make = ARCHIVES[name]
    image = tmp_path / "initramfs"
    image.write_bytes(make())
    command_line = "console=ttyS0 panic=-1 no_timer_check lpj=1000000 tsc=reliable quiet"
    guest = subprocess.run(
        [
            *(str(QEMU), "-accel", "tcg", "-m", "128M", "-nodefaults", "-no-reboot", "-display", "none"),
            *("-serial", "stdio", "-kernel", kernel.path, "-initrd", image, "-append", command_line),
        ],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    said = guest.stdout.replace(b"\r", b"")
    complains = b"Initramfs unpacking failed" in said or b"Failed to execute /init" in said
    assert (HELLO in said and not complains) == sound, said[-2000:]
    try:
        problems = [each.what for each in problems_for_boot(image, kernel, command_line=command_line, cpu="")]
    except ConfigError as error:
        problems = [error.message]
    assert bool(problems) != sound, problems
    assert all("\n" not in problem for problem in problems)
