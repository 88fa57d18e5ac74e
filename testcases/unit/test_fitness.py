"""That kernels, images and plan fit is found out once, and again whenever anything of it changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.core.errors import ConfigError
from harness.core.paths import data_root
from harness.machine.protocol import DirectBoot, Firmware, MachineKind
from harness.run import preflight
from harness.stages.plan_file import find_plan
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Checks(msgspec.Struct):
    """Counts how often the checks are done; `bad` makes them fail."""

    done: int = 0
    bad: bool = False

    def check(self, *_: object) -> tuple[str, ...]:
        self.done += 1
        if self.bad:
            raise ConfigError("initramfs.cpio: it has no init")
        return ("a remark", "another one")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Checks:
    counted = Checks()
    monkeypatch.setattr(preflight, "_check", counted.check)
    monkeypatch.setattr(preflight, "start_of", lambda built, _: built.start)
    return counted


class Case(msgspec.Struct, frozen=True):
    """What a run boots, as far as the checks look at it."""

    place: Path
    image: str = "aa"
    kernel: str = "bb"
    plan: str = "relay"
    command_line: str = "console=ttyS0"
    cpu: str = "pentium3"
    memory: int = 1 << 28

    def ask(self, **options: Any) -> tuple[str, ...]:
        initramfs = self.place / "initramfs.cpio"
        path = self.place / "vmlinuz"
        image = SimpleNamespace(path=path, sha256=self.kernel, version="6.1", kind="bzImage")
        built: Any = SimpleNamespace(
            start=DirectBoot(path, initramfs, self.command_line),
            images={"initramfs": SimpleNamespace(path=initramfs, sha256=self.image)},
            kernels={"seed": SimpleNamespace(name="mine", image=image)},
            recipe=SimpleNamespace(
                plan=find_plan(self.plan),
                boot=SimpleNamespace(cpu=self.cpu, memory_bytes=self.memory, initramfs="initramfs"),
            ),
        )
        given = {"machine": MachineKind.QEMU, "board": None, "firmware": Firmware.BIOS, **options}
        asked: Any = SimpleNamespace(**{"cpu": None, "memory": None, **given})
        return preflight.check_images(built, asked, Store(self.place / "cache"))


def test_answer_is_kept(tmp_path: Path, checks: Checks) -> None:
    case = Case(tmp_path)
    assert [case.ask() for _ in range(3)] == [("a remark", "another one")] * 3
    assert checks.done == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda case: msgspec.structs.replace(case, image="cc"),
        lambda case: msgspec.structs.replace(case, kernel="cc"),
        lambda case: msgspec.structs.replace(case, plan="qualify"),
        lambda case: msgspec.structs.replace(case, command_line="console=ttyS0 rdinit=/bin/sh"),
        lambda case: msgspec.structs.replace(case, cpu="486"),
        lambda case: msgspec.structs.replace(case, memory=1 << 33),
    ],
)
def test_what_it_depends_on_is_asked_about_anew(
    tmp_path: Path, checks: Checks, change: Callable[[Case], Case]
) -> None:
    case = Case(tmp_path)
    case.ask()
    change(case).ask()
    assert checks.done == 2


@pytest.mark.parametrize("option", [{"cpu": "486"}, {"memory": 1 << 33}, {"firmware": Firmware.UEFI}])
def test_options_count_as_well(tmp_path: Path, checks: Checks, option: dict[str, Any]) -> None:
    Case(tmp_path).ask()
    Case(tmp_path).ask(**option)
    assert checks.done == 2


@pytest.mark.parametrize(
    ("option", "asked"),
    [
        ({}, ("ide", "ext4")),
        ({"firmware": Firmware.UEFI}, ("ahci", "ext4")),
        ({"board": "shelf"}, ("ext4",)),
    ],
)
def test_a_disk_needs_the_driver_of_what_it_hangs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: dict[str, Any], asked: tuple[str, ...]
) -> None:
    found = []
    monkeypatch.setattr(preflight, "start_of", lambda built, _: built.start)
    monkeypatch.setattr("harness.image.checks.verify.problems_for_boot", lambda *_, **__: [])
    monkeypatch.setattr("harness.image.checks.kernel_checks.check_kernel", lambda *_, **__: [])
    monkeypatch.setattr("harness.image.checks.kernel_checks.seed", lambda image: image)

    def check_needs(_: object, *, modular: tuple[str, ...], **__: object) -> list[object]:
        found.append(modular)
        return []

    monkeypatch.setattr("harness.image.checks.kernel_checks.check_needs", check_needs)
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'summary = "s"\nend = "guest-shutdown"\n[needs.seed]\nmodular = ["ide", "ext4"]\n'
        '[[stage]]\nname = "only"\ntitle = "t"\nbegins = "^x"\nbudget = 1\nsilence = 1\n',
        "utf-8",
    )
    Case(tmp_path, plan=str(plan)).ask(**option)
    assert found == [asked]


def test_configuration_beside_the_kernel_counts(tmp_path: Path, checks: Checks) -> None:
    case = Case(tmp_path)
    case.ask()
    (tmp_path / "config-6.1").write_text("CONFIG_BLK_DEV_INITRD=y\n", "utf-8")
    case.ask()
    (tmp_path / "config-6.1").write_text("# CONFIG_BLK_DEV_INITRD is not set\n", "utf-8")
    case.ask()
    case.ask()
    assert checks.done == 3


def test_other_checks_give_another_answer(
    tmp_path: Path, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    (program / "kernel").mkdir(parents=True)
    check = program / "kernel/features.py"
    check.write_text("old", "utf-8")
    monkeypatch.setattr(preflight, "_PROGRAM", program)
    case = Case(tmp_path)
    case.ask()
    check.write_text("newer", "utf-8")
    case.ask()
    case.ask()
    assert checks.done == 2


def test_what_does_not_fit_is_said_every_time(tmp_path: Path, checks: Checks) -> None:
    checks.bad = True
    for _ in range(2):
        with pytest.raises(ConfigError, match="it has no init"):
            Case(tmp_path).ask()
    checks.bad = False
    assert Case(tmp_path).ask()
    assert checks.done == 3


def test_files_with_checks_are_there() -> None:
    for pattern in preflight._CHECKS:
        assert list(preflight._PROGRAM.glob(pattern)), pattern
    assert list(data_root().glob(preflight._FACTS))
