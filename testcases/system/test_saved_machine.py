"""A saved machine and its parts: the memory's way into a file and back, the disk's overlay, QEMU's part."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.recorder import Recorder
from harness.core.errors import InfraError, Interrupted
from harness.machine import snapshot
from harness.machine.protocol import Accelerator, Firmware, Medium
from harness.machine.qemu import QemuMachine
from harness.machine.spec import MachineSpec, MediumBoot
from testcases.support.profiles import fewer


def save(path: Path, *pieces: bytes) -> None:
    with snapshot.saving(path) as pipe:
        for piece in pieces:
            assert os.write(pipe, piece) == len(piece)


def load(path: Path) -> tuple[bytes, str]:
    loading = snapshot.Loading(path)
    pieces = []
    while piece := os.read(loading.pipe, 1 << 16):
        pieces.append(piece)
    loading.close()
    return b"".join(pieces), loading.failure


@given(pieces=st.lists(st.binary(min_size=1, max_size=5000), max_size=20))
@fewer(5)
def test_memory_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("memory") / "memory.zst"
    save(path, *pieces)
    assert load(path) == (b"".join(pieces), "")


def test_memory_larger_than_the_pipe_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "memory.zst"
    save(path, *[bytes(1 << 20)] * 8)
    assert path.stat().st_size < 10_000
    assert load(path) == (bytes(8 << 20), "")


def test_damaged_memory_says_so(tmp_path: Path) -> None:
    path = tmp_path / "memory.zst"
    save(path, os.urandom(100_000))
    data = bytearray(path.read_bytes())
    data[50_000] ^= 1
    path.write_bytes(data)
    _, failure = load(path)
    assert "checksum" in failure.lower()


def test_a_reader_that_goes_away_is_no_failure_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.zst"
    save(path, *[os.urandom(1 << 20)] * 4)
    loading = snapshot.Loading(path)
    loading.close()
    assert loading.failure == ""


def test_no_space_for_the_memory() -> None:
    def write(pipe: int) -> None:
        for _ in range(200):
            os.write(pipe, os.urandom(1 << 20))

    def saved() -> None:
        # The writer is not left waiting.
        with snapshot.saving(Path("/dev/full")) as pipe, pytest.raises(BrokenPipeError):
            write(pipe)

    with pytest.raises(InfraError, match=r"/dev/full: No space left") as caught:
        saved()
    assert "--cache" in caught.value.hint


def written(path: Path, offset: int, text: str) -> None:
    command = ["qemu-io", "-f", "qcow2", "-c", f"write -P {ord(text)} {offset} 512", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def content(path: Path) -> bytes:
    raw = path.with_suffix(".out")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, raw], check=True)
    return raw.read_bytes()


def test_overlay_is_written_and_the_disk_is_not(tmp_path: Path) -> None:
    disk, first, saved = tmp_path / "a disk:,", tmp_path / "first", tmp_path / "saved"
    disk.write_bytes(b"d" * 65536)
    snapshot.create_overlay(first, disk)
    written(first, 512, "x")
    snapshot.copy_overlay(first, saved)
    written(first, 1024, "y")  # what comes after is not in what was saved
    saved.chmod(0o444)
    moved = disk.rename(tmp_path / "elsewhere")
    resumed = [tmp_path / "second", tmp_path / "third"]
    for path in resumed:
        snapshot.adopt_overlay(saved, path, moved)
    written(resumed[0], 2048, "z")
    expected = b"d" * 512 + b"x" * 512 + b"d" * (65536 - 1024)
    assert content(resumed[1]) == expected
    assert content(resumed[0]) == expected[:2048] + b"z" * 512 + expected[2560:]
    assert moved.read_bytes() == b"d" * 65536


def test_overlay_without_a_place(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(512))
    with pytest.raises(InfraError, match="missing/overlay cannot be made"):
        snapshot.create_overlay(tmp_path / "missing/overlay", tmp_path / "disk")


# A guest in 21 bytes of a boot sector: says "a", waits for a byte on the serial port, says it, and so on.
SAYS = bytes.fromhex(
    "ba f8 03 b0 61 ee"  # mov dx, 0x3f8; mov al, 'a'; out dx, al
    "ba fd 03 ec a8 01 74 f8"  # wait: mov dx, 0x3fd; in al, dx; test al, 1; jz wait
    "ba f8 03 ec ee eb f1"  # mov dx, 0x3f8; in al, dx; out dx, al; jmp wait
)


@pytest.fixture
def spec(tmp_path: Path) -> MachineSpec:
    """A machine that boots a stick with the guest above; its disk is blank."""
    (tmp_path / "stick").write_bytes(SAYS.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    boot = MediumBoot(tmp_path / "stick", Medium.USB_EHCI, "")
    return MachineSpec(boot, Firmware.BIOS, tmp_path / "disk", 16 << 20, "", Accelerator.TCG)


def talk(machine: QemuMachine, directory: Path, expected: bytes, *words: bytes) -> None:
    with Recorder(machine.transport, directory / "raw", directory / "idx") as recorder:
        machine.start()
        for word in words:
            recorder.write(word)
        while recorder.size < len(expected):
            assert recorder.read(recorder.size, timeout=30), "the guest says no more"
        assert recorder.read(0) == expected


def places(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


def test_machine_goes_on_where_it_was_saved(spec: MachineSpec, tmp_path: Path) -> None:
    run, saved, second, third = places(tmp_path, "run", "saved", "second", "third")
    with (
        QemuMachine(spec, run) as machine,
        Recorder(machine.transport, run / "raw", run / "idx") as recorder,
    ):
        machine.start()
        assert recorder.read(0, timeout=60) == b"a"
        machine.pause()
        machine.save(saved)
        machine.start()
        recorder.write(b"x")
        assert recorder.read(1, timeout=30) == b"x", "and goes on itself"
    assert {path.name for path in saved.iterdir()} == {"memory.zst", "disk.qcow2"}
    assert (saved / "memory.zst").stat().st_size < 1 << 20
    pasted = (run / "qemu.cmd").read_text().splitlines()[-1]
    assert f"file={spec.disk},format=raw,if=ide,snapshot=on" in pasted
    with QemuMachine(spec, second, saved=saved) as one, QemuMachine(spec, third, saved=saved) as other:
        talk(one, second, b"yz", b"y", b"z")
        talk(other, third, b"w", b"w")
    left = list(tmp_path.glob("*/disk.qcow2"))
    assert left == [saved / "disk.qcow2"], "the overlays of the runs are gone"
    assert "-incoming" not in (second / "qemu.cmd").read_text().splitlines()[-1]


def test_machine_with_a_port_goes_on_too(spec: MachineSpec, tmp_path: Path) -> None:
    run, saved, second = places(tmp_path, "run", "saved", "second")
    spec = msgspec.structs.replace(spec, bulk=True)
    with QemuMachine(spec, run) as machine:
        assert machine.bulk is not None
        machine.start()
        machine.pause()
        machine.save(saved)
    assert machine.bulk.fileno() == -1, "our end is closed"
    with QemuMachine(spec, second, saved=saved) as machine:
        machine.start()
        machine.pause()
    with (
        pytest.raises(InfraError),
        QemuMachine(msgspec.structs.replace(spec, bulk=False), second, saved=saved) as machine,
    ):
        machine.start()


@pytest.mark.parametrize("bulk", [False, True])
def test_pasted_command_makes_the_same_machine(spec: MachineSpec, tmp_path: Path, bulk: bool) -> None:
    directory, run = places(tmp_path, "a,comma", "run")
    disk = directory / "disk"
    disk.write_bytes(bytes(1 << 20))
    with QemuMachine(msgspec.structs.replace(spec, disk=disk, bulk=bulk), run):
        pass
    ran, pasted = (shlex.split(line) for line in (run / "qemu.cmd").read_text().splitlines()[1::3])
    assert not any("fd=" in word or "chardev" in word for word in pasted)
    assert any("fd=" in word for word in ran)
    assert ("virtio-serial-pci" in pasted) == ("virtio-serial-pci" in ran) == bulk
    # QEMU itself: paused, it is asked to quit by its monitor on standard input.
    words = [word for word in pasted if word not in {"-serial", "stdio"}]
    done = subprocess.run(
        [*words, "-S", "-monitor", "stdio"],
        input=b"info block\nquit\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert str(disk).encode() in done.stdout


@pytest.mark.parametrize("memory_size", [16, 32], ids=["no stream", "another machine"])
def test_qemu_says_why_it_does_not_go_on(spec: MachineSpec, tmp_path: Path, memory_size: int) -> None:
    run, saved, second = places(tmp_path, "run", "saved", "second")
    with QemuMachine(spec, run) as machine:
        machine.save(saved)
    if memory_size == 16:
        save(saved / "memory.zst", b"no stream of QEMU" * 1000)
    other = msgspec.structs.replace(spec, memory=memory_size << 20)
    with (
        pytest.raises(
            InfraError, match=r"cannot go on from what was saved: .*(migration|load|stream)"
        ) as caught,
        QemuMachine(other, second, saved=saved) as machine,
    ):
        machine.start()
    assert "checkpoint rm" in caught.value.hint
    assert not (second / "disk.qcow2").exists()


def test_an_interrupted_save_does_not_hang(spec: MachineSpec, tmp_path: Path) -> None:
    run, saved = places(tmp_path, "run", "saved")
    with QemuMachine(spec, run) as machine:
        execute = machine._monitor.execute

        def stop_at_migrate(command: str, **arguments: object) -> object:
            if command == "migrate":
                raise Interrupted("stopped by SIGINT")
            return execute(command, **arguments)

        with patch.object(machine._monitor, "execute", stop_at_migrate), pytest.raises(Interrupted):
            machine.save(saved)
        machine.save(saved)  # and QEMU is as good as before
    assert load(saved / "memory.zst")[1] == ""


def test_qemu_that_dies_while_it_saves(spec: MachineSpec, tmp_path: Path) -> None:
    run, saved = places(tmp_path, "run", "saved")
    with QemuMachine(spec, run) as machine:
        os.kill(machine.pid, signal.SIGKILL)
        with pytest.raises(InfraError):
            machine.save(saved)
