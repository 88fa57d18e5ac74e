"""The closure of kernel modules, on module trees that are built here, ELF by ELF."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import random
import struct
from typing import TYPE_CHECKING

import pytest
import zstandard

from harness.core.errors import ConfigError
from harness.kernel import modules
from harness.kernel.modules import closure, release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def module(*facts: str, bits: int = 32, section: bytes = b".modinfo") -> bytes:
    """Return the smallest relocatable ELF file with a .modinfo section.

    ELF header, section contents, then three section headers: null, .modinfo, .shstrtab.
    """
    info = b"".join(fact.encode() + b"\0" for fact in facts)
    names = b"\0" + section + b"\0.shstrtab\0"
    wide = bits == 64
    start = 64 if wide else 52
    table = start + len(info) + len(names)
    header = struct.pack(
        "<4sBBB9xHHI" + ("QQQ" if wide else "III") + "IHHHHHH",
        *(b"\x7fELF", 2 if wide else 1, 1, 1),
        *(1, 62 if wide else 3, 1),  # ET_REL, machine, version
        *(0, 0, table, 0),
        *(start, 0, 0, 64 if wide else 40, 3, 2),
    )

    def section_header(name: int, kind: int, offset: int, size: int) -> bytes:
        layout = "<IIQQQQIIQQ" if wide else "<10I"
        return struct.pack(layout, name, kind, 0, 0, offset, size, 0, 0, 1, 0)

    sections = (
        section_header(0, 0, 0, 0)
        + section_header(1, 1, start, len(info))
        + section_header(2 + len(section), 3, start + len(info), len(names))
    )
    return header + info + names + sections


class Kernel:
    """A lib/modules/<release> directory under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root / "6.1.0-50-686"
        (self.root / "kernel").mkdir(parents=True)

    def add(self, path: str, *facts: str) -> None:
        self.add_file(path + ".ko", module(*facts))

    def add_file(self, path: str, data: bytes) -> None:
        file = self.root / "kernel" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def order(self, *wanted: str) -> list[str]:
        return [module.name for module in closure(self.root, wanted)]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def add_ext4(kernel: Kernel) -> None:
    kernel.add(
        "fs/ext4/ext4", "license=GPL", "softdep=pre: crc32c", "depends=jbd2,mbcache,crc16", "name=ext4"
    )
    kernel.add("fs/jbd2/jbd2", "depends=")
    kernel.add("fs/mbcache", "depends=")
    kernel.add("lib/crc16", "depends=")


# --- hard dependencies ---


@pytest.mark.parametrize("bits", [32, 64])
def test_module_as_it_is_on_disk(kernel: Kernel, bits: int) -> None:
    data = module("depends=", bits=bits)
    kernel.add_file("lib/crc-16.ko", data)
    (found,) = closure(kernel.root, ["crc_16"])
    assert (found.name, found.path, found.data) == ("crc_16", kernel.root / "kernel/lib/crc-16.ko", data)


def test_dependencies_come_first_and_once(kernel: Kernel) -> None:
    kernel.add("a", "depends=b,c")
    kernel.add("b", "depends=d")
    kernel.add("c", "depends=d")
    kernel.add("d")
    kernel.add("unneeded")
    assert kernel.order("a", "c", "a") == ["d", "b", "c", "a"]


def test_the_same_order_every_time(kernel: Kernel, tmp_path: Path) -> None:
    names = [f"m{i}" for i in range(30)]
    dependencies = {name: random.Random(i).sample(names[:i], min(i, 4)) for i, name in enumerate(names)}  # noqa: S311
    other = Kernel(tmp_path / "other")
    for name in names:
        kernel.add(name, "depends=" + ",".join(dependencies[name]))
    for name in reversed(names):
        other.add(name, "depends=" + ",".join(dependencies[name]))
    order = kernel.order(*names[20:])
    assert other.order(*names[20:]) == order
    for name in order:
        assert all(order.index(each) < order.index(name) for each in dependencies[name])


def test_dash_and_underscore_are_equal(kernel: Kernel) -> None:
    kernel.add("drivers/t10-pi", "depends=crc-t10dif")
    kernel.add("lib/crc_t10dif")
    assert kernel.order("t10_pi") == kernel.order("t10-pi") == ["crc_t10dif", "t10_pi"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".ko", bytes), (".ko.xz", lzma.compress), (".ko.gz", gzip.compress), (".ko.zst", zstandard.compress)],
)
def test_compressed(kernel: Kernel, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    kernel.add_file("a" + suffix, pack(module("depends=b")))
    kernel.add_file("b" + suffix, pack(module()))
    assert [(m.name, m.data) for m in closure(kernel.root, ["a"])] == [
        ("b", module()),
        ("a", module("depends=b")),
    ]


def test_a_suffix_that_lies(kernel: Kernel) -> None:
    kernel.add_file("a.ko.zst", gzip.compress(module()))
    with pytest.raises(ConfigError, match=r"a\.ko\.zst: it is no zstd file"):
        kernel.order("a")


@pytest.mark.parametrize("limit", [32 << 20, pytest.param(modules._MODULE_MAX, marks=pytest.mark.thorough)])
def test_a_bomb_is_no_module(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(modules, "_MODULE_MAX", limit)
    kernel.add_file("a.ko.zst", zstandard.compress(bytes(limit * 5 // 4), 1))
    with pytest.raises(ConfigError, match=r"a\.ko\.zst: the stream unpacks to more than"):
        kernel.order("a")


def test_the_release_that_modules_are_for(kernel: Kernel) -> None:
    kernel.add("b")
    kernel.add("a", "vermagic=6.1.0-50-686 SMP preempt mod_unload modversions ")
    assert release(kernel.root) == "6.1.0-50-686"


def test_modules_that_do_not_say_what_they_are_for(kernel: Kernel) -> None:
    kernel.add("a")
    with pytest.raises(ConfigError, match="does not say which kernel it is for"):
        release(kernel.root)


def test_missing_dependency(kernel: Kernel) -> None:
    kernel.add("a", "depends=gone")
    with pytest.raises(ConfigError, match=f"module a needs gone, which {kernel.root} lacks"):
        kernel.order("a")


def test_circle(kernel: Kernel) -> None:
    kernel.add("top", "depends=a")
    kernel.add("a", "depends=b")
    kernel.add("b", "depends=a")
    with pytest.raises(ConfigError, match="in a circle: a -> b -> a"):
        kernel.order("top")


def test_of_two_files_with_one_name_the_same_one_is_taken(kernel: Kernel) -> None:
    kernel.add("z/a", "depends=")
    kernel.add("b/a", "depends=")
    assert closure(kernel.root, ["a"])[0].path == kernel.root / "kernel/b/a.ko"


# --- what is wanted ---


def test_builtin_is_left_out(kernel: Kernel) -> None:
    kernel.add("a", "depends=libata")
    (kernel.root / "modules.builtin").write_text(
        "kernel/drivers/ata/libata.ko\nkernel/drivers/scsi/sd-mod.ko\n"
    )
    assert kernel.order("sd_mod", "a", "libata") == ["a"]


def test_optional(kernel: Kernel) -> None:
    kernel.add("a")
    assert kernel.order("scsi_common?", "a?") == ["a"]


def test_unknown_module(kernel: Kernel) -> None:
    kernel.add("drivers/virtio_blk")
    (kernel.root / "modules.builtin").write_text("kernel/drivers/virtio_pci.ko\n")
    with pytest.raises(ConfigError, match="no kernel module 'virtio_blkk' in ") as caught:
        kernel.order("virtio_blkk")
    assert str(kernel.root) in caught.value.message
    assert "did you mean virtio_blk" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        kernel.order("entirely-else")
    assert "did you mean" not in caught.value.hint
    assert "'entirely-else?'" in caught.value.hint


def test_no_modules_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no kernel modules below {tmp_path / 'none'}"):
        closure(tmp_path / "none", ["a"])


# --- soft dependencies ---


def test_soft_dependency_by_alias(kernel: Kernel) -> None:
    add_ext4(kernel)
    kernel.add("arch/x86/crypto/crc32c-avx", "alias=crypto-crc32c", "alias=crc32c")
    kernel.add("crypto/crc32c_generic", "alias=crypto-crc32c", "alias=crc32c-generic")
    assert kernel.order("ext4") == ["crc32c_generic", "jbd2", "mbcache", "crc16", "ext4"]


def test_soft_dependency_that_only_one_cpu_provides(kernel: Kernel) -> None:
    add_ext4(kernel)
    kernel.add("arch/x86/crypto/crc32c-intel", "alias=crypto-crc32c")
    assert kernel.order("ext4")[0] == "crc32c_intel"


def test_soft_dependency_by_name(kernel: Kernel) -> None:
    add_ext4(kernel)
    kernel.add("somewhere/crc32c")
    kernel.add("crypto/crc32c_generic", "alias=crc32c")
    assert kernel.order("ext4")[0] == "crc32c"


def test_soft_dependency_on_nothing(kernel: Kernel) -> None:
    add_ext4(kernel)
    kernel.add("crypto/other", "alias=crypto-other")
    assert kernel.order("ext4") == ["jbd2", "mbcache", "crc16", "ext4"]


def test_soft_dependency_that_is_built_in(kernel: Kernel) -> None:
    add_ext4(kernel)
    kernel.add("crypto/crc32c_slow", "alias=crypto-crc32c")
    (kernel.root / "modules.builtin.modinfo").write_bytes(
        b"crc32c_generic.alias=crypto-crc32c\0x.license=GPL\0"
    )
    assert "crc32c_slow" not in kernel.order("ext4")


def test_only_likely_places_are_searched_for_an_alias(kernel: Kernel) -> None:
    add_ext4(kernel)
    kernel.add_file("drivers/not-elf.ko", b"never read")
    kernel.add("drivers/elsewhere", "alias=crypto-crc32c")
    assert "elsewhere" not in kernel.order("ext4")


def test_before_and_after(kernel: Kernel) -> None:
    kernel.add("a", "softdep=stray pre: b c post: d", "softdep=post: e", "depends=f")
    for name in "bcdef":
        kernel.add(name, "depends=g" if name == "d" else "depends=")
    kernel.add("g")
    kernel.add("stray")
    assert kernel.order("a") == ["b", "c", "f", "a", "g", "d", "e"]


def test_soft_dependency_that_needs_us_comes_after(kernel: Kernel) -> None:
    kernel.add("a", "softdep=pre: b")
    kernel.add("b", "depends=a")
    assert kernel.order("a") == ["a", "b"]


def test_soft_circle(kernel: Kernel) -> None:
    kernel.add("a", "softdep=pre: b")
    kernel.add("b", "softdep=pre: a")
    assert kernel.order("a") == ["b", "a"]


def test_late_soft_dependency_that_needs_what_is_not_loaded_yet(kernel: Kernel) -> None:
    kernel.add("top", "depends=a")
    kernel.add("a", "softdep=post: plugin")
    kernel.add("plugin", "depends=top")
    assert kernel.order("top") == ["a", "top", "plugin"]


# --- files that are no modules ---


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.ko", b""),
        ("a.ko", b"#!/bin/sh"),
        ("a.ko", module("depends=")[:60]),
        ("a.ko", module("depends=", section=b".notinfo")),
        ("a.ko.xz", b"no xz"),
        ("a.ko.xz", lzma.compress(module())[:-5]),
        ("a.ko.gz", b"no gzip"),
        ("a.ko.gz", gzip.compress(module())[:20]),
        ("a.ko.gz", gzip.compress(module())[:15] + b"damage" + gzip.compress(module())[21:]),
    ],
)
def test_damaged_file(kernel: Kernel, name: str, data: bytes) -> None:
    kernel.add_file(name, data)
    with pytest.raises(ConfigError, match=str(kernel.root / "kernel" / name)):
        kernel.order("a")


def test_fuzzed_module_raises_nothing_else(kernel: Kernel) -> None:
    source = random.Random(1)  # noqa: S311
    good = module("depends=b", "alias=x")
    kernel.add("b")
    for _ in range(500):
        data = bytearray(good)
        for _ in range(3):
            data[source.randrange(len(data))] = source.randrange(256)
        kernel.add_file("a.ko", bytes(data))
        with contextlib.suppress(ConfigError):
            assert kernel.order("a")[-1] == "a"
