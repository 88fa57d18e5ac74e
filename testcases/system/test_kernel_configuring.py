"""What Kconfig makes of wishes, and why it does not grant some: real Kconfig files, small."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.kernel import config, kconfig_why, toolchain
from harness.kernel.fragments import configure, parse
from harness.kernel.make import KernelMake
from testcases.support import kernel_source

pytestmark = pytest.mark.skipif(
    shutil.which("make", path=toolchain.PATH) is None, reason="make is not installed"
)


@pytest.fixture
def making(tmp_path: Path) -> KernelMake:
    source = kernel_source.write(tmp_path / "source")
    objects = tmp_path / "objects"
    objects.mkdir()
    environment = toolchain.environment(source, objects, tmp_path)
    log = tmp_path / "log"
    return KernelMake(source, objects, ["ARCH=i386"], environment, log, tmp_path / "failed")


def configured(making: KernelMake, text: str) -> dict[str, str]:
    wishes = tuple(parse(text, "my.config").values())
    return config.parse(configure(making, wishes, "tiny", 32).read_text())


def test_what_was_wished_for_is_on_and_nothing_else(making: KernelMake) -> None:
    found = configured(
        making, 'CONFIG_EXPERT=y\nCONFIG_JOBS=7\nCONFIG_LOCALVERSION="-x"\nCONFIG_KERNEL_XZ=y\n'
    )
    assert found == {
        "EXPERT": "y",
        "JOBS": "7",
        "LOCALVERSION": '"-x"',
        "KERNEL_XZ": "y",
        "ALWAYS": "y",
        "HIDDEN": "y",
    }


def test_what_becomes_visible_takes_no_default(making: KernelMake) -> None:
    """PROC_FS is on by default, and could be switched off as soon as EXPERT is on."""
    assert "PROC_FS" not in configured(making, "CONFIG_EXPERT=y\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("CONFIG_NETDEVICES=y", "NETDEVICES (my.config:1) was not switched on: it needs NET"),
        (
            "CONFIG_VIRTIO_NET=y",
            "it needs VIRTIO (which comes with VIRTIO_PCI) and NETDEVICES (which needs NET)",
        ),
        ("CONFIG_NET=y\nCONFIG_NETDEVICES=y\nCONFIG_VIRTIO_NET=y", "it needs VIRTIO"),
        ("CONFIG_NET=y\nCONFIG_NETDEVICES=y\nCONFIG_E1000=y", "it needs PCI or (NET and MODULES)"),
        ("CONFIG_VIRTIO=y", "it cannot be asked for: it comes with VIRTIO_PCI"),
        ("CONFIG_KERNEL_XY=y", "it is no symbol of this kernel (did you mean KERNEL_XZ"),
        ("# CONFIG_ALWAYS is not set", "ALWAYS (my.config:1) was not switched off"),
        (
            "# CONFIG_HIDDEN is not set",
            "HIDDEN (my.config:1) was not switched off: it is switched on by ALWAYS",
        ),
        ("CONFIG_KERNEL_XZ=y\nCONFIG_KERNEL_GZIP=y", "is one of a choice, of which KERNEL_"),
        ('CONFIG_JOBS="many"', 'JOBS (my.config:1) became 3, not "many"'),
        ("# CONFIG_PROC_FS is not set", "PROC_FS (my.config:1) was not switched off"),
    ],
)
def test_a_lost_symbol_is_named_with_what_it_needs(making: KernelMake, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configured(making, f"{text}\n")
    assert caught.value.message.startswith("the configuration of tiny lacks what its fragments ask for: ")
    assert sentence in caught.value.message


def test_all_lost_symbols_are_named(making: KernelMake) -> None:
    with pytest.raises(ConfigError, match=r"VIRTIO_NET \(my.config:1\).*; NETDEVICES \(my.config:2\)"):
        configured(making, "CONFIG_VIRTIO_NET=y\nCONFIG_NETDEVICES=y\n")


def test_kconfig_files_that_kconfiglib_does_not_know_cost_only_the_reason(
    making: KernelMake, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(kconfig_why.__file__)
    broken = making.source.parent / "harness" / program.name
    broken.parent.mkdir()
    broken.write_text("raise SystemExit(1)\n")
    monkeypatch.setattr("harness.kernel.fragments.__file__", str(broken.with_name("configuring.py")))
    with pytest.raises(ConfigError, match=r"NETDEVICES \(my.config:1\) was not switched on$"):
        configured(making, "CONFIG_NETDEVICES=y\n")


def test_kconfig_files_that_are_wrong_are_shown(making: KernelMake) -> None:
    (making.source / "net/Kconfig").unlink()
    with pytest.raises(InfraError, match="net/Kconfig"):
        configured(making, "CONFIG_NET=y\n")


def test_the_program_that_says_why_prints_json(making: KernelMake) -> None:
    configured(making, "CONFIG_NET=y\n")
    result = subprocess.run(
        [sys.executable, kconfig_why.__file__, making.source, making.objects / ".config", "E1000"],
        env={"PATH": toolchain.PATH, "ARCH": "i386", "KERNELVERSION": "6.1.176"},
        cwd=making.source,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == '{"E1000": "needs PCI or (NET and MODULES) and NETDEVICES"}\n'
