"""That kernels, images and plan fit is found out once, and again whenever anything of it changes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from harness.core.errors import ConfigError
from harness.core.paths import data_root
from harness.machine.protocol import Accelerator, Firmware
from harness.machine.spec import Bus, DirectBoot, MachineSpec
from harness.run import preflight
from harness.stages.plan_file import find_plan, load_plan
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

    def ask(self, *, bus: Bus | None = Bus.IDE) -> tuple[str, ...]:
        initramfs = self.place / "initramfs.cpio"
        path = self.place / "vmlinuz"
        image = SimpleNamespace(path=path, sha256=self.kernel, version="6.1", kind="bzImage")
        built: Any = SimpleNamespace(
            images={"initramfs": SimpleNamespace(path=initramfs, digest=self.image)},
            kernels={"seed": SimpleNamespace(name="mine", image=image)},
            recipe=SimpleNamespace(boot=SimpleNamespace(initramfs="initramfs")),
        )
        boot = DirectBoot(path, initramfs, self.command_line)
        spec = MachineSpec(boot, Firmware.BIOS, None, self.memory, self.cpu, Accelerator.TCG, bus=bus)
        plan = load_plan(find_plan(self.plan))
        return preflight.check_images(built, plan, spec, Store(self.place / "cache"))


def test_a_plan_that_needs_more_memory_is_refused_before_the_boot(tmp_path: Path, checks: Checks) -> None:
    assert Case(tmp_path, plan="genesis-tcc", memory=1 << 28).ask()
    message = "the plan genesis-tcc needs 256M of memory, and the machine has 128 MiB"
    with pytest.raises(ConfigError, match=message) as caught:
        Case(tmp_path, plan="genesis-tcc", memory=1 << 27).ask()
    assert "--memory 256M" in caught.value.hint
    assert checks.done == 1


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


def test_the_controller_of_the_disk_counts_as_well(tmp_path: Path, checks: Checks) -> None:
    for bus in (Bus.IDE, Bus.AHCI, None):
        Case(tmp_path).ask(bus=bus)
    assert checks.done == 3


@pytest.mark.parametrize(
    ("bus", "asked"), [(Bus.IDE, ("ide", "ext4")), (Bus.AHCI, ("ahci", "ext4")), (None, ("ext4",))]
)
def test_a_disk_needs_the_driver_of_what_it_hangs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bus: Bus | None, asked: tuple[str, ...]
) -> None:
    found = []
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
    Case(tmp_path, plan=str(plan)).ask(bus=bus)
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


@pytest.mark.parametrize("source", ["image/checks/verify.py", "formats/ext/reader.py", "new/deep/check.py"])
def test_another_source_anywhere_in_the_program_gives_another_answer(
    tmp_path: Path, checks: Checks, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    program = tmp_path / "program"
    check = program / source
    check.parent.mkdir(parents=True)
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


def test_the_facts_of_the_checks_are_where_they_are_looked_for() -> None:
    assert list((data_root() / preflight._FACTS).glob("*.toml"))
