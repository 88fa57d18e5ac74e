"""The check before a boot, asked of archives that kernels were booted with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.formats.opened import open_image
from harness.image.checks.kernel_checks import seed
from harness.image.checks.verify import problems_for_boot, verify
from harness.kernel.bzimage import inspect
from testcases.support.archives import ARCHIVES
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    from pathlib import Path

CURES = {
    "directories without records": "find . | sort | cpio",
    "two groups of hard links with one inode number": "--renumber-inodes",
    "an empty interpreter": "put the real one in",
    "line ends of Windows": "sed -i",
    "lz4 frame": "lz4 -l",
    "pzstd": "zstd instead of pzstd",
    "two gzip members": "one stream",
    "two bzip2 streams": "bzip2 instead of pbzip2",
    "two zstd frames": "zstd instead of pzstd",
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_checks_agree_with_the_kernel(tmp_path: Path, name: str) -> None:
    """testcases/boot/test_archives.py boots each of these."""
    sound, make = ARCHIVES[name]
    image, vmlinuz = tmp_path / "initramfs", tmp_path / "vmlinuz"
    image.write_bytes(make())
    vmlinuz.write_bytes(kernel())
    try:
        found = problems_for_boot(image, inspect(vmlinuz), command_line="console=ttyS0", cpu="")
        with open_image(image) as opened:
            assert sum(each.good is False for each in verify(opened, kernel=seed(inspect(vmlinuz)))) == len(
                found
            )
        said = [(each.what, each.hint) for each in found]
    except ConfigError as error:
        said = [(error.message, error.hint)]
    assert bool(said) != sound, said
    assert any(CURES.get(name, "") in hint for _, hint in said) != sound
    assert all("\n" not in what for what, _ in said)
