"""Which disks are refused, and why: on made-up machines."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, InfraError
from harness.flash import discovery, guard, session, uses
from harness.flash.device import Content
from testcases.support.disks import GIB, ROOT, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A machine with a system disk and a stick."""
    world = World(tmp_path, mounts=[ROOT])
    disk = world.internal(device__serial="S4EV")
    world.partition(disk, "sda1", "8:1")
    stick = world.stick()
    world.partition(stick, "sdb1", "8:17")
    return world


def reasons(world: World, path: str = "/dev/sdb", needed: int = 0, *, force: bool = False) -> list[str]:
    device = discovery.find(path, world.sources)
    found = list(guard.refusals(device, needed))
    assert all(refusal.hint for refusal in found)
    return [each.reason for each in found if not (force and each.forceable)]


def failure(call: Callable[[], object], kind: type[ConfigError | InfraError] = ConfigError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.hint
    return caught.value.message


def test_a_stick_is_a_candidate_and_is_described(world: World) -> None:
    assert reasons(world) == []
    device = discovery.find("/dev/sdb", world.sources)
    assert (device.name, device.bus, device.usb, device.removable) == (
        "Kingston DataTraveler 3.0",
        "usb 2-1",
        True,
        True,
    )
    assert (device.identity.serial, device.identity.size, device.identity.sequence) == (
        "001A92053B6A",
        8 * GIB,
        9,
    )
    assert not device.by_udev


def test_the_list_has_all_disks_and_no_partitions(world: World) -> None:
    world.block("loop0", "virtual/block", "7:0", 0)
    assert [device.path for device in discovery.disks(world.sources)] == ["/dev/sda", "/dev/sdb"]


def test_the_system_disk_is_refused_whatever_is_forced(world: World) -> None:
    assert reasons(world, "/dev/sda") == [
        "is part of the running system: /dev/sda1 is mounted at /",
        "is neither removable nor on USB but on pci 0000:00:1f.2",
    ]
    assert reasons(world, "/dev/sda", force=True) == [
        "is part of the running system: /dev/sda1 is mounted at /"
    ]


def test_a_usb_disk_need_not_say_that_it_is_removable(world: World) -> None:
    (world.root / "sys/class/block/sdb/removable").write_text("0\n")
    assert reasons(world) == []


def test_a_partition_is_refused(world: World) -> None:
    assert "is a partition of /dev/sdb" in reasons(world, "/dev/sdb1", force=True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("30 1 8:17 / /mnt rw - vfat /dev/sdb1 rw", "is in use: /dev/sdb1 is mounted at /mnt"),
        ("30 1 8:16 / /mnt rw - iso9660 /dev/sdb ro", "is in use: /dev/sdb is mounted at /mnt"),
        (
            r"30 1 8:17 / /media/my\040stick rw a:1 b:2 - vfat x rw",
            "is in use: /dev/sdb1 is mounted at /media/my stick",
        ),
        ("30 1 0:45 / /mnt rw - btrfs /dev/sdb1 rw", "is in use: /dev/sdb1 is mounted at /mnt"),
        (
            "30 1 0:45 /sub /mnt rw - bcachefs /dev/sdx:/dev/sdb1 rw",
            "is in use: /dev/sdb1 is mounted at /mnt",
        ),
        (
            "30 1 8:17 /efi /boot/efi rw - vfat /dev/sdb1 rw",
            "is part of the running system: /dev/sdb1 is mounted at /boot/efi",
        ),
        (
            "30 1 8:17 / /usr rw - ext4 /dev/sdb1 rw",
            "is part of the running system: /dev/sdb1 is mounted at /usr",
        ),
    ],
)
def test_what_is_mounted_is_refused(world: World, line: str, reason: str) -> None:
    world.mounts.append(line)
    assert reasons(world, force=True) == [reason]


def test_a_disk_whose_name_begins_alike_is_not_taken_for_the_mounted_one(world: World) -> None:
    """bmap-writer's pull request 28: /dev/sdb is not /dev/sdb2x."""
    world.block("sdbc", "virtual/block", "8:160", removable="1", device__serial="1234")
    world.mounts.append("30 1 8:160 / /mnt rw - ext4 /dev/sdbc rw")
    assert reasons(world) == []


def test_swap_is_refused(world: World) -> None:
    world.swaps.append("/dev/sdb1")
    assert reasons(world, force=True) == ["is in use: /dev/sdb1 is used as swap"]


@pytest.mark.parametrize(
    ("name", "slave", "files", "reason"),
    [
        (
            "dm-0",
            "sdb1",
            {"dm__uuid": "LVM-x", "dm__name": "vg-lv"},
            "/dev/sdb1 belongs to the LVM volume vg-lv",
        ),
        (
            "dm-0",
            "sdb",
            {"dm__uuid": "CRYPT-LUKS2-x", "dm__name": "secret"},
            "/dev/sdb belongs to the encrypted volume secret",
        ),
        ("dm-0", "sdb", {"dm__uuid": "", "dm__name": "map"}, "/dev/sdb belongs to the volume map"),
        ("md0", "sdb1", {}, "/dev/sdb1 belongs to the RAID /dev/md0"),
        ("bcache0", "sdb", {}, "/dev/sdb belongs to the cached disk /dev/bcache0"),
        ("strange0", "sdb", {}, "/dev/sdb belongs to /dev/strange0"),
    ],
)
def test_what_something_is_made_of_is_refused(
    world: World, name: str, slave: str, files: dict[str, str], reason: str
) -> None:
    world.stack(name, "253:0", [slave], **files)
    assert reasons(world, force=True) == [f"is in use: {reason}"]


def test_a_loop_device_over_a_stick_is_seen(world: World) -> None:
    world.block("loop0", "virtual/block", "7:0", loop__backing_file="/dev/sdb1")
    assert reasons(world, force=True) == ["is in use: /dev/sdb1 belongs to the loop device /dev/loop0"]


def test_the_running_system_is_found_through_all_that_it_lies_on(world: World) -> None:
    """A root in LVM in dm-crypt in RAID, of which the stick is a part."""
    world.stack("md0", "9:0", ["sdb1"])
    world.stack("dm-0", "253:0", ["md0"], dm__uuid="CRYPT-x", dm__name="crypt")
    world.stack("dm-1", "253:1", ["dm-0"], dm__uuid="LVM-x", dm__name="vg-root")
    world.mounts[:] = ["21 1 253:1 / / rw - ext4 /dev/mapper/vg-root rw"]
    assert reasons(world, force=True)[0] == (
        "is part of the running system: /dev/dm-1, which lies on /dev/sdb1, is mounted at /"
    )


def test_the_running_system_is_found_through_a_loop_device(world: World) -> None:
    """A live system: its root is a file on the stick."""
    world.block("loop0", "virtual/block", "7:0", loop__backing_file="/run/live/root.squashfs")
    world.mounts[:] = [
        "20 1 8:17 / /run/live ro - vfat /dev/sdb1 ro",
        "21 1 7:0 / / ro - squashfs /dev/loop0 ro",
    ]
    assert reasons(world, force=True) == [
        "is part of the running system: /dev/loop0, which lies on /dev/sdb1, is mounted at /",
        "is in use: /dev/sdb1 is mounted at /run/live",
    ]


def test_every_disk_of_a_mounted_btrfs_is_refused(world: World) -> None:
    for name in ("sda1", "sdb1"):
        (world.root / "sys/fs/btrfs/1234-5678/devices" / name).mkdir(parents=True)
    world.mounts[:] = ["21 1 0:30 /@ / rw - btrfs /dev/sda1 rw"]
    assert reasons(world, force=True) == [
        "is part of the running system: /dev/sdb1 is mounted at /",
        "is in use: /dev/sdb1 belongs to the mounted btrfs 1234-5678",
    ]


@pytest.mark.parametrize("kind", ["LVM", "RAID", "ZFS", "LUKS"])
def test_members_of_something_bigger_are_refused_by_their_bytes(world: World, kind: str) -> None:
    world.contents.append(Content("sdb1", kind, member=True))
    assert reasons(world, force=True) == [f"holds {kind} (on sdb1)"]


@pytest.mark.parametrize(
    ("udev", "kind"),
    [("zfs_member", "ZFS"), ("LVM2_member", "LVM"), ("isw_raid_member", "RAID"), ("crypto_LUKS", "LUKS")],
)
def test_members_of_something_bigger_are_refused_by_udevs_word(world: World, udev: str, kind: str) -> None:
    world.known()
    world.known("sdb1", ID_FS_TYPE=udev)
    assert reasons(world, force=True) == [f"holds {kind} (on sdb1)"]


def test_plain_filesystems_are_no_obstacle(world: World) -> None:
    world.known(ID_PART_TABLE_TYPE="dos")
    world.known("sdb1", ID_FS_TYPE="vfat", ID_FS_LABEL="HOLIDAY")
    assert reasons(world) == []
    device = discovery.find("/dev/sdb", world.sources)
    assert list(map(str, device.contents)) == ["sdb: MBR", "sdb1: vfat “HOLIDAY”"]


def test_what_cannot_be_written_to_is_refused(world: World) -> None:
    (world.root / "sys/class/block/sdb/ro").write_text("1\n")
    assert reasons(world, force=True) == ["is write-protected"]


def test_a_reader_without_a_card_is_refused(world: World) -> None:
    (world.root / "sys/class/block/sdb/size").write_text("0\n")
    assert "has no medium in it" in reasons(world, force=True)


def test_too_small_and_too_large(world: World) -> None:
    assert reasons(world, needed=8 * GIB) == []
    [reason] = reasons(world, needed=8 * GIB + 1, force=True)
    assert reason.startswith("is too small")
    (world.root / "sys/class/block/sdb/size").write_text(f"{(guard.LARGEST + 512) // 512}\n")
    assert reasons(world) == ["is implausibly large for a boot medium: 512 GiB"]
    assert reasons(world, force=True) == []


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (
            {"ID_BUS": "usb", "ID_SERIAL_SHORT": "OTHER"},
            "the serial number is OTHER for udev and 001A92053B6A for sysfs",
        ),
        ({"ID_USB_SERIAL_SHORT": "OTHER"}, "the serial number is OTHER for udev and 001A92053B6A for sysfs"),
        ({"DISKSEQ": "8"}, "its sequence number is 8 for udev and 9 for sysfs"),
        ({"MINOR": "32"}, "its number is 8:32 for udev and 8:16 for sysfs"),
        ({"ID_PATH": "pci-0000:00:1f.2-ata-1"}, "sysfs has it on USB, and udev has not"),
        ({"ID_USB_MODEL": "Cruzer"}, "the model is Cruzer for udev and DataTraveler_3.0 for sysfs"),
    ],
)
def test_a_contradiction_between_udev_and_sysfs_is_refused(
    world: World, properties: dict[str, str], reason: str
) -> None:
    world.known(**properties)
    assert reasons(world, force=True) == [f"is not surely the one that it seems: {reason}"]


def test_udev_and_sysfs_agree_on_an_ordinary_stick(world: World) -> None:
    world.known(
        ID_BUS="usb",
        ID_SERIAL_SHORT="001A92053B6A",
        ID_USB_SERIAL_SHORT="001A92053B6A",
        ID_USB_MODEL="DataTraveler_3.0",
        ID_PATH="pci-0000:00:04.0-usb-0:1:1.0-scsi-0:0:0:0",
    )
    assert reasons(world) == []
    assert discovery.find("/dev/sdb", world.sources).by_udev


def test_the_disk_inside_a_usb_case_may_have_a_serial_number_of_its_own(world: World) -> None:
    world.known(ID_BUS="ata", ID_SERIAL_SHORT="WD-123", ID_PATH="pci-0000:00:04.0-usb-0:1:1.0-scsi-0:0:0:0")
    assert reasons(world) == []


def test_udev_has_a_serial_number_and_sysfs_none(world: World) -> None:
    (world.root / "sys/devices/pci0000:00/0000:00:04.0/usb2/2-1/serial").unlink()
    world.known(ID_BUS="usb", ID_SERIAL_SHORT="X")
    assert reasons(world) == [
        "is not surely the one that it seems: udev has the serial number X, and sysfs none"
    ]


def test_a_disk_that_udev_has_not_come_to_is_refused(world: World) -> None:
    world.udev = {}
    assert reasons(world, force=True) == ["is not known to udev, which is running"]


def test_without_udev_a_disk_needs_a_serial_number(world: World) -> None:
    (world.root / "sys/devices/pci0000:00/0000:00:04.0/usb2/2-1/serial").unlink()
    assert reasons(world, force=True) == ["has no serial number in sysfs, and udev does not know it"]


def test_a_disk_without_a_serial_number_is_known_by_its_place(world: World) -> None:
    (world.root / "sys/devices/pci0000:00/0000:00:04.0/usb2/2-1/serial").unlink()
    world.known()
    device = discovery.find("/dev/sdb", world.sources)
    assert reasons(world) == []
    assert device.token == "usb 2-1"  # noqa: S105 - no secret
    guard.check_serial(device, "usb 2-1")
    assert "no serial number" in failure(lambda: guard.check_serial(device, "2-1"))


@pytest.mark.parametrize("name", ["sr0", "zram0", "nbd3", "fd0", "ram1", "zd16"])
def test_what_is_no_disk_is_refused(world: World, name: str) -> None:
    world.block(name, "virtual/block", "200:0", device__serial="1234")
    assert any(reason.endswith("and no disk") for reason in reasons(world, f"/dev/{name}", force=True))


def test_paths_that_are_no_disks(world: World, tmp_path: Path) -> None:
    sources = world.sources
    assert "there is no device /dev/sdq" in failure(lambda: discovery.find("/dev/sdq", sources))
    assert "is a file" in failure(lambda: discovery.find(str(tmp_path / "proc/swaps"), sources))
    assert "is a directory" in failure(lambda: discovery.find(str(tmp_path), sources))
    assert "is a character device and no block device" in failure(
        lambda: discovery.find("/dev/null", sources)
    )
    world.numbers["/dev/sdz"] = (65, 144)
    assert "65:144" in failure(lambda: discovery.find("/dev/sdz", world.sources))
    assert not (tmp_path / "sdq").exists()


def test_without_the_kernels_tables_nothing_is_safe(world: World) -> None:
    sources = world.sources
    (world.root / "proc/self/mountinfo").unlink()
    assert "who uses which disk" in failure(lambda: discovery.find("/dev/sdb", sources), InfraError)


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({"serial": "OTHER"}, "its serial was 001A92053B6A and is OTHER"),
        ({"diskseq": "10"}, "its sequence number was 9 and is 10"),
        ({"size": GIB}, f"its size was {8 * GIB} and is {GIB}"),
    ],
)
def test_another_disk_under_the_same_name_is_seen(
    world: World, tmp_path: Path, changes: dict[str, str | int], how: str
) -> None:
    before = discovery.find("/dev/sdb", world.sources)
    later = World(tmp_path / "later", mounts=[ROOT])
    later.stick(**changes)  # type: ignore[arg-type]
    now = discovery.find("/dev/sdb", later.sources)
    now = msgspec.structs.replace(
        now, identity=msgspec.structs.replace(now.identity, sys_path=before.identity.sys_path)
    )
    message = failure(lambda: guard.check_same(before, now))
    assert how in message
    assert "nothing was written" in message
    guard.check_same(before, before)


def test_an_exchanged_disk_is_not_present(world: World) -> None:
    device = discovery.find("/dev/sdb", world.sources)
    assert session._present(device, world.sources)
    (world.root / "sys/class/block/sdb/diskseq").write_text("12\n")
    assert not session._present(device, world.sources)
    (world.root / "sys/class/block/sdb").unlink()
    assert not session._present(device, world.sources)


@pytest.mark.parametrize("typed", ["3B6A", "3b6a", " 053B6A\n", "001A92053B6A"])
def test_the_tail_of_the_serial_number_confirms(world: World, typed: str) -> None:
    session.confirm(discovery.find("/dev/sdb", world.sources), None, lambda: typed)


@pytest.mark.parametrize("typed", ["", "y", "yes", "B6A", "001A", "/dev/sdb", "001A92053B6AX"])
def test_nothing_else_does(world: World, typed: str) -> None:
    device = discovery.find("/dev/sdb", world.sources)
    assert "nothing was written" in failure(lambda: session.confirm(device, None, lambda: typed))


@pytest.mark.parametrize("expected", ["", "3B6A", "001a92053b6a", "OTHER"])
def test_scripts_give_all_of_it(world: World, expected: str) -> None:
    device = discovery.find("/dev/sdb", world.sources)
    assert "001A92053B6A" in failure(lambda: session.confirm(device, expected, lambda: "3B6A"))


def test_discarding_needs_a_disk_that_can(world: World) -> None:
    sources = world.sources
    assert "discard" in failure(lambda: session.look("/dev/sdb", elsewhere="discard", sources=sources))
    (world.root / "sys/class/block/sdb/queue").mkdir()
    (world.root / "sys/class/block/sdb/queue/discard_max_bytes").write_text("4096\n")
    assert session.look("/dev/sdb", elsewhere="discard", sources=sources).discards


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_names_are_read_as_the_kernel_escapes_them(name: str) -> None:
    escaped = b"".join(b"\\%03o" % byte if byte in b" \t\n\\#" else bytes([byte]) for byte in name.encode())
    assert uses.unescape(os.fsdecode(escaped)) == name
