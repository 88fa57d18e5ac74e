"""What is found out about kernel files: packed ones, unpacked ones, unified ones, and damaged ones."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.kernel import bzimage, payload
from harness.kernel.inspection import Inspection, examine
from testcases.support.kernels import CONFIG, PACKERS, elf, packed, unified
from testcases.support.profiles import fewer

SYMBOLS = {"BLK_DEV_INITRD": "y", "RD_GZIP": "y", "ATA": "m", "HZ": "250"}


def examined(directory: Path, data: bytes, name: str = "vmlinuz") -> Inspection:
    path = directory / name
    path.write_bytes(data)
    return examine(path)


# --- bzImage ---


@pytest.mark.parametrize("compression", PACKERS)
def test_a_packed_kernel_is_looked_into(tmp_path: Path, compression: str) -> None:
    found = examined(tmp_path, packed(elf(), compression))
    assert (found.kind, found.image.payload, found.problem) == ("bzImage", compression, "")
    assert found.image.pvh
    assert found.config is not None
    assert (found.config.symbols, found.config.origin) == (SYMBOLS, "embedded in vmlinuz")
    assert found.compressions == ("none", "gzip")
    out = io.BytesIO()
    payload.unpack(found.image, out)
    assert out.getvalue() == elf()


def test_a_kernel_without_pvh_and_without_configuration(tmp_path: Path) -> None:
    found = examined(tmp_path, packed(elf(bits=32, pvh=False, config="")))
    assert not found.image.pvh
    assert (found.config, found.compressions) == (None, ())


def test_the_configuration_beside_a_kernel_counts_first(tmp_path: Path) -> None:
    (tmp_path / "config-6.1.0-50-686").write_text("CONFIG_KEXEC=y\n")
    found = examined(tmp_path, packed(elf()))
    assert found.config is not None
    assert found.config.symbols == {"KEXEC": "y"}


def test_a_payload_that_cannot_be_read_here_is_said(tmp_path: Path) -> None:
    data = bytearray(packed(elf()))
    at = bzimage.inspect(_written(tmp_path, bytes(data))).payload_at
    data[at : at + 2] = b"??"
    found = examined(tmp_path, bytes(data))
    assert "packed in a way that cannot be read here (unknown)" in found.problem
    assert found.image.version == "6.1.0-50-686"


def test_a_damaged_payload_is_said(tmp_path: Path) -> None:
    data = bytearray(packed(elf(), "xz"))
    data[-40] ^= 0xFF
    assert "payload" in examined(tmp_path, bytes(data)).problem


def _written(directory: Path, data: bytes) -> Path:
    path = directory / "k"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "lz4", "bzip2"])
def test_a_bomb_takes_neither_memory_nor_disk(tmp_path: Path, compression: str) -> None:
    image = bzimage.inspect(_written(tmp_path, packed(bytes(48 << 20), compression)))

    class Counted:
        size = 0

        def write(self, data: bytes | memoryview, /) -> int:
            self.size += len(data)
            return len(data)

    out = Counted()
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match="unpacks to more than"):
        payload.unpack(image, out, limit=32 << 20)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert out.size <= 32 << 20
    assert peak < 40 << 20  # 512 bytes of zstd can hold 16 MiB
    assert grown < 64 << 10  # KiB


# --- vmlinux ---


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("pvh", [True, False])
def test_an_elf_kernel(tmp_path: Path, bits: int, pvh: bool) -> None:
    found = examined(tmp_path, elf(bits=bits, pvh=pvh))
    image = found.image
    assert (image.kind, image.bits, image.pvh, image.payload) == ("vmlinux", bits, pvh, "none")
    assert image.version == "6.1.0-50-own"
    assert found.config is not None
    assert found.config.symbols == SYMBOLS


@pytest.mark.parametrize(("machine", "name"), [(183, "aarch64"), (243, "riscv"), (40, "arm"), (999, "999")])
def test_an_elf_kernel_for_another_architecture(tmp_path: Path, machine: int, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"another architecture \({name}\)"):
        examined(tmp_path, elf(machine=machine))


def test_an_elf_file_of_big_endian_machines(tmp_path: Path) -> None:
    data = bytearray(elf())
    data[5] = 2
    struct.pack_into(">H", data, 18, 22)
    with pytest.raises(ConfigError, match=r"another architecture \(s390\)"):
        examined(tmp_path, bytes(data))


def test_an_elf_program_is_no_kernel() -> None:
    with pytest.raises(ConfigError, match="an ELF program or module"):
        examine(Path("/bin/true").resolve())


def test_a_bomb_as_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"configuration in kernel .* is damaged: .* more than"):
        examined(tmp_path, elf(config="#" * (17 << 20)))


# --- unified kernel images ---

UKI = {
    ".osrel": b"ID=own\n",
    ".cmdline": b"console=ttyS0\0",
    ".initrd": b"070701" * 100,
    ".linux": packed(elf()),
}


def test_a_unified_kernel_image(tmp_path: Path) -> None:
    found = examined(tmp_path, unified(UKI), "own.efi")
    assert (found.kind, found.image.kind, found.image.version) == (
        "unified kernel image",
        "bzImage",
        "6.1.0-50-686",
    )
    assert found.image.path == tmp_path / "own.efi"
    assert found.texts == {".cmdline": "console=ttyS0", ".osrel": "ID=own"}
    assert found.sections == {name: len(data) for name, data in UKI.items()}
    assert found.config is not None


def test_a_unified_kernel_image_is_refused_where_a_kernel_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "own.efi"
    path.write_bytes(unified(UKI))
    with pytest.raises(ConfigError, match="unified kernel image, which only UEFI starts") as caught:
        bzimage.inspect(path)
    assert "objcopy" in caught.value.hint


def test_a_unified_kernel_image_with_a_bad_kernel(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the section \.linux of .*own\.efi"):
        examined(tmp_path, unified({**UKI, ".linux": b"nothing" * 100}), "own.efi")


# --- damage ---

WHOLE = {
    "bzImage": packed(elf(config=""), "zstd"),
    "vmlinux": elf(config=""),
    "unified": unified({".cmdline": b"quiet", ".linux": packed(elf(config=""))}),
}


@pytest.mark.parametrize("kind", WHOLE)
@given(data=st.data())
@fewer(2)
def test_truncated_anywhere(kind: str, data: st.DataObject) -> None:
    whole = WHOLE[kind]
    end = len(whole.rstrip(b"\0")) - 1
    length = data.draw(st.integers(0, end - 1))
    with tempfile.TemporaryDirectory() as directory, pytest.raises(ConfigError) as caught:
        examined(Path(directory), whole[:length])
    assert caught.value.message


@pytest.mark.parametrize("kind", WHOLE)
@given(flips=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_raise_nothing_else(kind: str, flips: list[tuple[int, int]]) -> None:
    image = bytearray(WHOLE[kind])
    for offset, value in flips:
        image[offset % len(image)] = value
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(ConfigError):
        assert examined(Path(directory), bytes(image)).image.size <= len(image)


@given(
    st.sampled_from([b"", b"\x7fELF\x02\x01\x01", b"\x7fELF\x01\x01", b"MZ", unified(UKI)[:0x200]]),
    st.binary(max_size=600),
)
def test_random_bytes(start: bytes, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.raises(ConfigError):
        examined(Path(directory), start + rest)


def test_the_configuration_that_was_put_in_is_the_one_that_comes_out(tmp_path: Path) -> None:
    assert "CONFIG_KEXEC" in CONFIG
    found = examined(tmp_path, elf())
    assert found.config is not None
    assert (found.config.get("KEXEC"), found.config.get("ATA"), found.config.get("HZ")) == ("n", "m", "250")
