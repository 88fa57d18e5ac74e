"""`harness flash` and boards on real udev and USB: sticks refused, exchanged, pulled out; serial adapters."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine.command import qemu_program
from harness.machine.protocol import Firmware, Medium
from harness.recipe import load_recipe
from testcases.boot.guests import with_image
from testcases.boot.test_iso import RECIPE as HELLO
from testcases.hardware import bench_guest
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.image.factory import Build
    from testcases.hardware.bench_guest import Bench

MIB = 1 << 20
HEAD = bytes(MIB)
_LIMIT = 400.0  # seconds that anything may take on a loaded host


def obstacle() -> str:
    """Why the guest cannot be had; "" if it can."""
    try:
        qemu_program()
    except ConfigError as error:
        return error.message
    return ""


pytestmark = [
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
    pytest.mark.xdist_group("bench"),  # one guest for all
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def hello(harness_cache: Path) -> Build:
    """A hybrid medium that says hello."""
    return build_recipe(load_recipe(str(HELLO)), BuildOptions(cache=harness_cache), Quiet())


@pytest.fixture(scope="module")
def guest(harness_cache: Path, hello: Build, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The bench guest, at its prompt."""
    place = tmp_path_factory.mktemp("bench")
    small = place / "small.img"
    small.write_bytes(b"\xfa" * 510 + b"\x55\xaa" + b"hex0" * (1 << 20))
    files = {
        "medium.iso": hello.images["stick"].path,
        "small.img": small,
        "vmlinuz": hello.kernels["seed"].image.path,
    }
    with bench_guest.bench(harness_cache, place, files) as bench:
        yield bench


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def listed(guest: Bench) -> dict[str, dict[str, Any]]:
    """What `harness flash --list` says, by serial number."""
    reply = guest.flash("--list --json")
    assert reply.status == 0, reply.text
    return {disk["identity"]["serial"]: disk for disk in json.loads(reply.text)["disks"]}


def refused(guest: Bench, node: str, serial: str, image: str = "small.img", *, force: bool = True) -> str:
    """What `harness flash` says when it refuses a disk."""
    forced = "--force" if force else ""
    reply = guest.flash(f"{node} --image /opt/{image} --expect-serial {serial} {forced}")
    assert reply.status == Outcome.CONFIG.exit_code, reply.text
    return reply.text


def test_the_list_has_the_candidates_and_says_why_others_are_none(guest: Bench) -> None:
    with (
        guest.stick("STICK-ONE") as one,
        guest.stick("STICK-TWO") as two,
        guest.stick("DISK-USB", removable=False) as disk,
    ):
        found = listed(guest)
        candidates = {serial for serial, each in found.items() if each["candidate"]}
        assert candidates == {"STICK-ONE", "STICK-TWO", "DISK-USB"}
        stick = found["STICK-ONE"]
        assert stick["path"] == one.node
        assert (stick["identity"]["vendor"], stick["identity"]["model"]) == ("QEMU", "QEMU HARDDISK")
        assert (stick["identity"]["size"], stick["removable"], stick["usb"]) == (64 * MIB, True, True)
        assert stick["bus"].startswith("usb ")
        assert (found["DISK-USB"]["path"], found["DISK-USB"]["removable"]) == (disk.node, False)
        assert all(each["by_udev"] and not each["disagreements"] for each in found.values())
        reasons = {serial: [why["reason"] for why in each["refusals"]] for serial, each in found.items()}
        assert reasons["IDE-root"][0].endswith("is mounted at /")
        assert reasons["IDE-tools"][0].endswith("is mounted at /opt")
        assert [why.partition(" but ")[0] for why in reasons["IDE-internal"]] == [
            "is neither removable nor on USB"
        ]
        table = guest.run("harness flash --list").text  # the program itself, as a person starts it
        for word in ("STICK-ONE", "STICK-TWO", "DISK-USB", one.node, two.node, "not these:"):
            assert word in table


def test_a_stick_is_flashed_and_no_other_disk_is_opened_for_writing(
    guest: Bench, hello: Build, harness_cache: Path, tmp_path: Path
) -> None:
    """What is on it then is the image, to the host too, and a machine boots from it."""
    image = hello.images["stick"].path.read_bytes()
    with guest.stick("STICK-GOOD") as stick, guest.stick("STICK-OTHER") as other:
        reply = guest.run(
            "strace -f -y -o /tmp/trace -e trace=open,openat,openat2,creat harness flash "
            f"{stick.node} --image /opt/medium.iso --expect-serial STICK-GOOD --json"
        )
        assert reply.status == 0, reply.text
        report = json.loads(reply.text[reply.text.index("\n{") :])
        assert report["flashed"]["size"] == len(image)
        # What was opened, whatever it was called, stands behind the descriptor.
        writing = guest.ok("grep -E 'O_RDWR|O_WRONLY' /tmp/trace | grep '= [0-9]*</dev/'").splitlines()
        disks = [line for line in writing if "</dev/null>" not in line and "</dev/tty>" not in line]
        assert len(disks) == 1, disks
        assert disks[0].endswith(f"<{stick.node}>")
        assert f'"{stick.node}", O_RDWR|O_EXCL' in disks[0].replace("O_NOFOLLOW|", "").replace(
            "O_DIRECT|", ""
        )
        assert stick.backing.read_bytes()[: len(image)] == image
        assert not other.backing.read_bytes().strip(b"\0")
        contents = [each["kind"] for each in listed(guest)["STICK-GOOD"]["contents"]]
        assert "iso9660" in contents
        guest.ok(f"udevadm wait --timeout=300 --settle {stick.node}1")  # it reads the table anew
        assert "is a partition of" in refused(guest, f"{stick.node}1", "STICK-GOOD")
        built = with_image(hello, "stick", stick.backing)
        run = run_built(
            built, cache=harness_cache, runs=tmp_path, medium=Medium.USB_XHCI, firmware=Firmware.BIOS
        )
        assert run.result.verdict.outcome == Outcome.PASS, run.result.verdict


USES = {
    "mounted": ("mke2fs -q {0}; mount {0} /mnt", "umount /mnt", "is mounted at /mnt"),
    "swap": ("mkswap -q {0}; swapon {0}", "swapoff {0}", "is used as swap"),
    "lvm": (
        "pvcreate -qqy {0}; vgcreate -qqy vg {0}; lvcreate -qqy -Zn -l 4 -n lv vg",
        "vgchange -qq -an vg",
        "belongs to the LVM volume vg-lv",
    ),
    "raid": (
        "mdadm --create /dev/md7 --run --quiet --metadata=1.2 --level=1 --raid-devices=2 {0} missing",
        "mdadm --stop --quiet /dev/md7",
        "belongs to the RAID /dev/md7",
    ),
    "dm-crypt": (
        "echo 0 64 crypt cipher_null-ecb - 0 {0} 0 | dmsetup create --uuid CRYPT-test secret",
        "dmsetup remove secret",
        "belongs to the encrypted volume secret",
    ),
    "loop": ("losetup /dev/loop5 {0}", "losetup -d /dev/loop5", "belongs to the loop device /dev/loop5"),
    "elsewhere": (
        # A mount that only another mount namespace sees.
        """\
mke2fs -q {0}
unshare -m sh -c 'mount {0} /mnt; touch /run/there; exec sleep 1000' </dev/null >/dev/null 2>&1 &
echo $! >/run/holder
until [ -e /run/there ]; do sleep 0.2; done""",
        "kill $(cat /run/holder); rm /run/there; while [ -d /proc/$(cat /run/holder) ]; do sleep 0.2; done",
        "is in use by another program or another mount namespace",
    ),
}
LEFT = {"lvm": "holds LVM", "raid": "holds RAID"}  # even when nobody uses it any more


# By night all; each is known by a part of sysfs or /proc of its own, which test_flash_guard.py has all of.
@pytest.mark.parametrize(
    "use",
    [use if use in {"lvm", "elsewhere"} else pytest.param(use, marks=pytest.mark.thorough) for use in USES],
)
def test_a_stick_in_use_is_refused_whatever_is_forced(guest: Bench, use: str) -> None:
    begin, end, reason = USES[use]
    with guest.stick(f"STICK-{use}") as stick:
        guest.ok(begin.format(stick.node))
        guest.settle()
        before = stick.backing.read_bytes()
        assert reason in refused(guest, stick.node, f"STICK-{use}")
        guest.ok(end.format(stick.node))
        guest.settle()
        if use in LEFT:
            assert LEFT[use] in refused(guest, stick.node, f"STICK-{use}")
        assert stick.backing.read_bytes()[4 * MIB :] == before[4 * MIB :]


@pytest.mark.thorough
def test_disks_that_are_refused_as_they_are(guest: Bench) -> None:
    found = listed(guest)
    for serial, reason in {
        "IDE-root": "is part of the running system",
        "IDE-tools": "is mounted at /opt",
    }.items():
        assert reason in refused(guest, found[serial]["path"], serial)
    internal = found["IDE-internal"]["path"]
    assert "neither removable nor on USB" in refused(guest, internal, "IDE-internal", force=False)
    assert "there is no device" in refused(guest, "/dev/sdz", "X")
    assert "is a file and no block device" in refused(guest, "/opt/small.img", "X")
    with guest.stick("STICK-SMALL", 2 * MIB) as small, guest.stick("STICK-LOCKED", read_only=True) as locked:
        assert "is too small" in refused(guest, small.node, "STICK-SMALL")
        assert "is write-protected" in refused(guest, locked.node, "STICK-LOCKED")
        assert "has the serial number STICK-SMALL, and not STICK-LOCKED" in refused(
            guest, small.node, "STICK-LOCKED"
        )
        assert not small.backing.read_bytes().strip(b"\0")
    with guest.stick("STICK-KIND") as stick:
        assert "a Linux kernel" in refused(guest, stick.node, "STICK-KIND", "vmlinuz")
        assert "the disk cannot be confirmed" in guest.flash(f"{stick.node} --image /opt/small.img").text


@pytest.mark.thorough
def test_udevs_word_is_compared_with_sysfs(guest: Bench) -> None:
    with guest.stick("STICK-TRUE") as stick:
        number = guest.ok(f"stat -c %Hr:%Lr {stick.node} || stat -c %t:%T {stick.node}").strip()
        data = f"/run/udev/data/b{number}"
        guest.ok(f"cp {data} /tmp/known; sed -i s/STICK-TRUE/STICK-FALSE/ {data}")
        assert "is STICK-FALSE for udev and STICK-TRUE for sysfs" in refused(guest, stick.node, "STICK-TRUE")
        guest.ok(f"rm {data}")
        assert "is not known to udev, which is running" in refused(guest, stick.node, "STICK-TRUE")
        guest.ok(f"cp /tmp/known {data}; mkdir /run/away; mv /run/udev/control /run/udev/data /run/away")
        try:
            table = guest.flash("--list").text
            assert f"udev does not know {stick.node}: what is said of it is from sysfs alone" in table
            assert "STICK-TRUE" in table
        finally:
            guest.ok("mv /run/away/* /run/udev")


def start(guest: Bench, name: str, node: str, image: str, answer: str) -> None:
    """Start a flash at a terminal, and wait until it asks for the serial number."""
    guest.ok(
        f"(python3 /opt/answer.py /tmp/{name} {answer} harness flash {node} --image /opt/{image}; "
        f"test -e /tmp/{name}.status || touch /tmp/{name}.status) </dev/null >/tmp/{name}.log 2>&1 &"
    )
    wait_for(lambda: guest.run(f"test -e /tmp/{name}.asked -o -e /tmp/{name}.status").status == 0)
    guest.ok(f"test -e /tmp/{name}.asked || {{ cat /tmp/{name}.out /tmp/{name}.log; exit 1; }}")


def finish(guest: Bench, name: str) -> tuple[int, str]:
    """Wait for its end; exit status and what it said."""
    wait_for(lambda: guest.run(f"test -e /tmp/{name}.status").status == 0)
    return int(guest.ok(f"cat /tmp/{name}.status")), " ".join(guest.ok(f"cat /tmp/{name}.out").split())


def test_a_stick_that_is_exchanged_before_it_is_confirmed(guest: Bench) -> None:
    with guest.stick("STICK-FIRST") as first:
        start(guest, "exchanged", first.node, "small.img", "FIRST")
        guest.unplug("STICK-FIRST")
        guest.ok(f"while [ -e {first.node} ]; do sleep 0.1; done")
        with guest.stick("STICK-SECOND") as second:
            assert second.node == first.node, "the kernel gives its name away again"
            guest.ok("touch /tmp/exchanged.go")
            status, said = finish(guest, "exchanged")
            assert status == Outcome.CONFIG.exit_code, said
            assert "is no longer the disk that was confirmed" in said
            assert not second.backing.read_bytes().strip(b"\0")


@pytest.mark.thorough
def test_a_stick_that_is_pulled_out_half_way(guest: Bench) -> None:
    with guest.stick("STICK-PULLED", bytes_per_second=MIB) as stick:
        stick.backing.write_bytes(b"old!" * (16 * MIB))
        start(guest, "pulled", stick.node, "medium.iso", "PULLED")
        guest.ok("touch /tmp/pulled.go")
        wait_for(lambda: stick.backing.read_bytes()[4 * MIB : 4 * MIB + 4] != b"old!")
        guest.unplug("STICK-PULLED")
        status, said = finish(guest, "pulled")
        assert status == Outcome.INFRA.exit_code, said
        assert f"{stick.node} was unplugged, or fell off the bus, while it was written" in said
        assert "nothing boots from it" in said
        assert stick.backing.read_bytes()[:MIB] == HEAD


@pytest.mark.thorough  # test_flash_writer.py interrupts a flash of a loop device
def test_a_flash_that_is_interrupted(guest: Bench) -> None:
    with guest.stick("STICK-STOPPED", bytes_per_second=MIB) as stick:
        stick.backing.write_bytes(b"old!" * (16 * MIB))
        start(guest, "stopped", stick.node, "medium.iso", "STOPPED")
        guest.ok("touch /tmp/stopped.go")
        wait_for(lambda: stick.backing.read_bytes()[4 * MIB : 4 * MIB + 4] != b"old!")
        guest.ok("kill -INT $(cat /tmp/stopped.pid)")
        status, said = finish(guest, "stopped")
        assert status == Outcome.INTERRUPTED.exit_code, said
        assert "stopped by SIGINT" in said
        assert "nothing boots from it" in said
        assert stick.backing.read_bytes()[:MIB] == HEAD


BOARD = """
summary = "what is behind a USB adapter"
[serial]
port = "{port}"
first-byte = 600
reattach = 400
[power]
cycle = ["true"]
"""


@pytest.mark.thorough
def test_a_usb_serial_adapter_is_followed_when_it_comes_back(guest: Bench) -> None:
    with guest.adapter("ADAPTER") as adapter:
        adapter.far.settimeout(_LIMIT)
        guest.ok(f"mkdir -p /run/lab; echo '{BOARD.format(port=adapter.node)}' >/run/lab/usb.toml")
        assert "opens at 115200 baud" in guest.ok("cd /run; harness board check usb")
        follow = "PYTHONPATH=/opt/python exec python3 /opt/follow.py /run/lab/usb.toml"
        guest.ok(f"({follow}) </dev/null >/run/follow.log 2>&1 & echo $! >/run/follow.pid")
        wait_for(lambda: guest.run("test -e /run/following || { cat /run/follow.log; false; }").status == 0)
        busy = guest.run("cd /run; harness board check usb")
        assert busy.status == Outcome.INFRA.exit_code
        pid = guest.ok("cat /run/follow.pid").strip()
        assert f"is in use by python3 (process {pid})" in " ".join(busy.text.split())
        adapter.far.sendall(b"before\n")
        assert adapter.far.recv(16) == b"7\n"
        guest.unplug_adapter(adapter)
        guest.plug_adapter(adapter)
        # What is said before the port is open again is lost: say it until it is answered.
        adapter.far.settimeout(2)
        answer = b""
        for _ in range(25):
            with suppress(TimeoutError):
                adapter.far.sendall(b"after\n")
                answer = adapter.far.recv(16)
                break
        assert answer, guest.run("cat /run/follow.log; dmesg | tail -n 20").text
        assert int(answer.split()[0]) >= len("before\nafter\n")
        adapter.far.sendall(b"over\n")
        wait_for(lambda: guest.run("test -e /run/gaps").status == 0)
        assert re.fullmatch("before\n(after\n)+over\n", guest.ok("cat /run/heard"))
        offset, _, seconds = guest.ok("cat /run/gaps").strip().partition(":")
        assert int(offset) == len("before\n")
        assert float(seconds) > 0


def test_the_shipped_rule_gives_access_without_root(guest: Bench) -> None:
    as_guest = "setpriv --reuid=1000 --regid=1000 --groups=46 harness flash"
    with guest.stick("STICK-DENIED") as stick:
        reply = guest.run(f"{as_guest} {stick.node} --image /opt/small.img --expect-serial STICK-DENIED")
        assert reply.status == Outcome.CONFIG.exit_code
        assert f"you may not write to {stick.node}" in reply.text
        assert "join the group disk" in reply.text
        assert "60-harness-flash.rules" in reply.text
    guest.ok("mkdir -p /etc/udev/rules.d; cp /opt/*.rules /etc/udev/rules.d; udevadm control --reload")
    with guest.stick("STICK-GIVEN") as stick:
        reply = guest.run(f"{as_guest} {stick.node} --image /opt/small.img --expect-serial STICK-GIVEN")
        assert reply.status == 0, reply.text
        small = guest.ok("cksum </opt/small.img").split()
        assert guest.ok(f"head -c {small[1]} {stick.node} | cksum").split() == small
        assert guest.ok(f"stat -c %G {guest_root(guest)}").strip() == "disk"


def guest_root(guest: Bench) -> str:
    """The node of the guest's own root disk."""
    return guest.ok("findmnt -no SOURCE /").strip()
