"""Kernels put together from packages, the user's own kernels, and what is said when one cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.kernel.catalogue import kernel_files, load_line, obtain
from testcases.unit.test_bzimage import kernel
from testcases.unit.test_modules import module

if TYPE_CHECKING:
    from pathlib import Path

    from testcases.conftest import Larder

NEW = "7.2.13+deb14-686"
RELEASE = "6.1.0-50-686"


def test_a_kernel_in_several_packages_becomes_one(larder: Larder, own: Path) -> None:
    place = f"usr/lib/modules/{NEW}"
    banner = f"{NEW} (somebody)".encode()
    larder.add(
        "linux-image-686",
        {
            f"linux-image-{NEW}": {"usr/share/doc/x": b""},
            f"linux-image-{NEW}-binary": {f"{place}/vmlinuz": kernel(banner=banner)},
            f"linux-image-{NEW}-modules": {f"{place}/kernel/a.ko": module()},
            f"linux-image-{NEW}-base": {f"{place}/config": b"CONFIG_A=y\n", f"{place}/modules.builtin": b""},
        },
        closure=False,
    )
    (own / "new.toml").write_text(
        'summary = "s"\nversion = "[7-9].*"\nbits = 32\n'
        '[debian]\nsuite = "bookworm"\narchitecture = "i386"\npackage = "linux-image-686"\n'
    )
    found = obtain("new", larder.debian())
    assert found.modules is not None
    assert (found.series, found.image.path.name) == ("7.2", f"vmlinuz-{NEW}")
    assert found.image.path.with_name(f"config-{NEW}").read_bytes() == b"CONFIG_A=y\n"
    names = sorted(path.relative_to(found.modules).as_posix() for path in found.modules.rglob("*"))
    assert names == ["kernel", "kernel/a.ko", "modules.builtin"]
    assert obtain("new", larder.debian()).image.path == found.image.path


def test_a_package_without_a_kernel(larder: Larder) -> None:
    larder.add("linux-image-686", {f"linux-image-{RELEASE}": {"usr/share/doc/x": b""}}, closure=False)
    with pytest.raises(ConfigError, match=f"linux-image-{RELEASE} 1 holds no kernel"):
        obtain("debian-6.1-i686", larder.debian())


# --- the user's own ---


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "kernels.d"
    directory.mkdir()
    monkeypatch.chdir(tmp_path)
    return directory


def add_modules(top: Path, release: str = RELEASE) -> Path:
    directory = top / "lib/modules" / release
    (directory / "kernel").mkdir(parents=True)
    (directory / "kernel/a.ko").write_bytes(module(f"vermagic={release} SMP"))
    return directory


def test_a_line_of_the_users_own(larder: Larder, own: Path) -> None:
    (own / "vmlinuz").write_bytes(kernel())
    add_modules(own)
    (own / "mine.toml").write_text(
        'summary = "mine"\nversion = "6.*"\nbits = 32\n[file]\npath = "vmlinuz"\nmodules = "."\n'
    )
    assert kernel_files()["mine"] == own / "mine.toml"
    found = obtain("mine", larder.debian())
    assert (found.name, found.image.path, found.package) == ("mine", own / "vmlinuz", None)
    assert found.modules == own / "lib/modules" / RELEASE


@pytest.mark.parametrize("inner", ["", f"lib/modules/{RELEASE}"])
def test_a_path_with_modules(larder: Larder, own: Path, inner: str) -> None:
    (own / "k").write_bytes(kernel())
    directory = add_modules(own)
    found = obtain(f"kernels.d/k,modules={own / inner}", larder.debian())
    assert (found.name, found.modules) == (str(own / "k"), directory)


def test_modules_of_another_kernel(larder: Larder, own: Path) -> None:
    (own / "k").write_bytes(kernel())
    directory = add_modules(own, "5.10.0-32-686")
    with pytest.raises(
        ConfigError, match=rf"are of Linux 5\.10\.0-32-686, and \S+k is Linux {RELEASE}"
    ) as caught:
        obtain(f"{own}/k,modules={directory}", larder.debian())
    assert "lib/modules/<release>" in caught.value.hint


def test_a_directory_without_modules(larder: Larder, own: Path) -> None:
    (own / "k").write_bytes(kernel())
    with pytest.raises(ConfigError, match="there are no kernel modules below"):
        obtain(f"{own}/k,modules={own}", larder.debian())


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[file]\npath = "k"\n[debian]\nsuite = "bookworm"\narchitecture = "i386"\npackage = "p"\n',
    ],
)
def test_a_line_comes_from_one_place(own: Path, text: str) -> None:
    (own / "bad.toml").write_text('summary = "s"\nversion = "6.1"\nbits = 32\n' + text)
    with pytest.raises(ConfigError, match=r"bad\.toml needs exactly one of the tables"):
        load_line("bad")
