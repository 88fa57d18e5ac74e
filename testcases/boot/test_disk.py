"""A stock kernel mounts our disks: the guest says what it finds, and we compare all of it."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.formats.tree import Entry
from harness.image import disk
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.recipe import Disk, Partition, load_recipe
from testcases.boot import guests
from testcases.boot.test_initramfs import SAY, expected, heard, tree
from testcases.support.profiles import by_night
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from pathlib import Path

    from harness.image.factory import Build

MODULES = '["ata_piix", "sd_mod", "ext4", "crc32c_generic"]'
RECIPE = """\
summary = "The guest lists the filesystems of the disk that it was given"
plan = "disk"

[debian]
suite = "bookworm"
architecture = "i386"

[kernels]
seed = "debian-6.1-i686"

[boot]
initramfs = "base"
disk = "disk"
memory = "256M"
command-line = "console=ttyS0 panic=-1 no_timer_check"

[[image]]
name = "base"
kind = "initramfs"
contents = [
    { add = "file", path = "init", source = "disk/init", mode = 0o755 },
    { add = "file", path = "say", source = "disk/say", mode = 0o755 },
    { add = "packages", names = ["busybox-static"], keep = ["bin/busybox"] },
    { add = "symlink", path = "bin/sh", target = "busybox" },
    { add = "modules", path = "modules", kernel = "seed", names = MODULES },
    { add = "device", path = "dev/console", type = "char", major = 5, minor = 1 },
    { add = "directory", path = "m" },
    { add = "directory", path = "proc" },
]

[[image]]
name = "disk"
kind = "disk"
size = "1M"
filesystem = "none"
contents = []
"""

PLAN = """\
summary = "LISTED, and power off"
end = "guest-shutdown"

[[stage]]
name = "boot"
title = "the seed kernel starts /init, which lists the disk"
budget = 600
silence = 120

[[stage]]
name = "listed"
title = "/init has listed the disk and powers off"
begins = '^LISTED$'
budget = 60
silence = 30
"""

# What is added shows that the kernel can go on with the filesystem as it found it.
INIT = """\
#!/bin/sh
PATH=/bin
busybox dmesg -n 1
busybox mount -t proc proc /proc
busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do busybox insmod "/modules/$module"; done < /modules/order
until [ -e /dev/sda ]; do busybox usleep 100000; done
busybox usleep 500000
while read -r label type; do
    device=$(busybox findfs LABEL=$label) || continue
    echo "FILESYSTEM $label $type $device"
    if [ $type = swap ]; then
        busybox swapon $device
        echo "SWAP $(busybox tail -n 1 /proc/swaps)"
        continue
    fi
    # The drivers for ext2 and ext3 refuse a filesystem with features of their successors.
    busybox mount -t $type $device /m || echo "MOUNT FAILED"
    busybox find /m/tree -exec /say {} \\;
    echo "COUNT $(busybox ls /m/many | busybox wc -l) $(busybox cat /m/many/file-19999)"
    busybox cp -r /m/tree/sticky /m/many/copy
    echo more > /m/many/one-more
    busybox sync
    busybox umount /m || echo "UMOUNT FAILED"
    busybox mount -t $type $device /m
    echo "ADDED $(busybox cat /m/many/copy/deep/er/still /m/many/one-more | busybox xargs)"
    busybox umount /m
done <<END
whole ext4
second ext2
third ext3
swap swap
fourth ext4
END
busybox dmesg | busybox grep -E 'EXT.-fs.*(error|warning|corrupt)|JBD2.*rror'
echo LISTED
exec busybox poweroff -f
"""

MANY = [Entry(f"many/file-{number:05}", stat.S_IFREG | 0o644, b"%d" % number) for number in range(20_000)]


@pytest.fixture(scope="module")
def base(harness_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A kernel, and an initramfs with what the guest needs to list a disk."""
    root = tmp_path_factory.mktemp("lister")
    for name, text in {
        "recipes/disk.toml": RECIPE.replace("MODULES", MODULES),
        "plans/disk.toml": PLAN,
        "disk/init": INIT,
        "disk/say": SAY.replace('printf %s "$1"', 'printf %s "${1#/m}"'),
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    recipe = load_recipe(str(root / "recipes/disk.toml"))
    return build_recipe(recipe, BuildOptions(cache=harness_cache), Quiet())


PARTS = (
    Partition(filesystem="ext2", size="150M", label="second"),
    Partition(filesystem="ext3", size="150M", label="third", bootable=True),
    Partition(filesystem="swap", size="16M", label="swap"),
    Partition(label="fourth"),
)


@pytest.mark.parametrize("table", [by_night("none"), by_night("mbr"), "gpt"])
def test_kernel_mounts_all_that_went_in(base: Build, harness_cache: Path, tmp_path: Path, table: Any) -> None:
    entries = tree("tree")
    everything = [*entries, *MANY]
    work, image = tmp_path / "work", tmp_path / "disk.img"
    work.mkdir()
    if table == "none":
        wanted = Disk(name="whole", size="160M")
        disk.write(wanted, [everything], image, work=work)
        places = [("whole", "ext4", "/dev/sda")]
    else:
        wanted = Disk(name="parted", size="512M", table=table, partition=PARTS)
        disk.write(wanted, [everything, everything, [], everything], image, work=work)
        places = [
            (part.label, part.filesystem, f"/dev/sda{number}") for number, part in enumerate(PARTS, start=1)
        ]
    built = guests.with_image(base, "disk", image)
    run = run_built(built, cache=harness_cache, runs=tmp_path / "runs")
    assert run.result.verdict.outcome == Outcome.PASS, run.result.verdict
    console = (run.directory / "console.raw").read_bytes()
    sections = console.split(b"FILESYSTEM ")[1:]
    parents = [Entry("tree/sticky/deep", stat.S_IFDIR | 0o755)]
    found = []
    for section in sections:
        label, kind, device = section.partition(b"\r")[0].decode().split()
        found.append((label, kind, device))
        if kind == "swap":
            assert re.search(rb"SWAP /dev/sda3\s+partition\s+16380\s", section)  # KiB, less the header's page
            continue
        assert heard(section) == expected([*entries, *parents])
        assert b"COUNT 20000 19999\r" in section
        assert b"ADDED down here more\r" in section
    assert found == places
    assert b"FAILED" not in console
    assert not re.findall(rb"EXT.-fs.*|JBD2.*", console)
