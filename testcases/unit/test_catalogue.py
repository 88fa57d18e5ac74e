from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.kernel.bzimage import inspect
from harness.kernel.catalogue import Kernel, choose_second, kernel_files, load_line, obtain
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    from pathlib import Path

    from testcases.conftest import Larder

RELEASE = "6.1.0-50-686"


def stock(larder: Larder, data: bytes, request: str = "linux-image-686") -> None:
    files = {f"boot/vmlinuz-{RELEASE}": data, f"lib/modules/{RELEASE}/kernel/a.ko": b""}
    larder.add(request, {f"linux-image-{RELEASE}": files}, closure=False)


def test_a_kernel_of_the_catalogue_comes_with_its_modules_and_package(larder: Larder) -> None:
    stock(larder, kernel())
    found = obtain("debian-6.1-i686", larder.debian())
    assert (found.name, found.image.version, found.series) == ("debian-6.1-i686", RELEASE, "6.1")
    assert found.modules is not None
    assert (found.modules / "kernel/a.ko").is_file()
    assert str(found.package) == f"linux-image-{RELEASE} 1"


@pytest.mark.parametrize(
    ("data", "is_a"),
    [
        (kernel(banner=b"6.2.0-1-686 (someone)"), "32-bit Linux 6.2"),
        (kernel(xloadflags=1), "64-bit Linux 6.1"),
    ],
)
def test_a_package_that_breaks_the_catalogues_promise_is_refused(
    larder: Larder, data: bytes, is_a: str
) -> None:
    stock(larder, data)
    message = rf"debian-6\.1-i686\.toml promises a 32-bit Linux 6\.1, and linux-image-\S+ 1 is a {is_a}"
    with pytest.raises(ConfigError, match=message):
        obtain("debian-6.1-i686", larder.debian())


def test_a_users_own_kernel_is_found_by_its_path(
    larder: Larder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vmlinuz-mine").write_bytes(kernel())
    monkeypatch.chdir(tmp_path)
    for name in ("vmlinuz-mine", "./vmlinuz-mine", str(tmp_path / "vmlinuz-mine")):
        found = obtain(name, larder.debian())
        assert (found.name, found.modules, found.package) == (str(tmp_path / "vmlinuz-mine"), None, None)
        assert found.image.path.is_absolute()


def test_an_unknown_kernel_is_told_the_known_ones(larder: Larder) -> None:
    with pytest.raises(ConfigError, match="there is no kernel 'debian-7'") as caught:
        obtain("debian-7", larder.debian())
    assert all(name in caught.value.hint for name in kernel_files())


def test_a_path_that_leads_nowhere_is_named(larder: Larder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"kernel {tmp_path}/vmlinuz does not exist"):
        obtain(f"{tmp_path}/vmlinuz", larder.debian())


def test_a_file_that_is_no_kernel_is_named(larder: Larder, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a kernel\n" * 1000)
    with pytest.raises(ConfigError, match=f"{tmp_path}/notes.txt is no x86 kernel image"):
        obtain(f"{tmp_path}/notes.txt", larder.debian())


def seed(tmp_path: Path, banner: bytes) -> Kernel:
    (tmp_path / "vmlinuz").write_bytes(kernel(banner=banner))
    return Kernel(name="seed", image=inspect(tmp_path / "vmlinuz"))


@pytest.mark.parametrize(
    ("banner", "second"),
    [
        (b"6.1.0-50-686 x", "debian-5.10-i686"),
        (b"5.10.0-33-686 x", "debian-6.1-i686"),
        (b"6.12 x", "debian-6.1-i686"),
        (b"4.9.10-my.own x", "debian-6.1-i686"),
    ],
)
def test_the_second_kernel_is_the_first_of_another_series(tmp_path: Path, banner: bytes, second: str) -> None:
    assert choose_second(("debian-6.1-i686", "debian-5.10-i686"), seed(tmp_path, banner)) == second


def test_no_kernel_of_another_series_is_the_users_affair(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("differs from the seed kernel seed (6.1.0-1)")) as caught:
        choose_second(("debian-6.1-i686", "debian-6.1-x86_64"), seed(tmp_path, b"6.1.0-1 x"))
    assert "kernels.second" in caught.value.hint


def test_a_line_says_what_it_is_and_where_it_comes_from() -> None:
    line = load_line("debian-6.1-x86_64")
    assert line.debian
    assert (line.version, line.bits, line.debian.architecture) == ("6.1", 64, "amd64")
    assert line.summary
