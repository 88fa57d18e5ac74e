"""A run is prepared once, whoever asks: options fit the machine, the plan is read and the host asked once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import ConfigError
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.machine import accelerator
from harness.machine.accelerator import Probe
from harness.machine.kinds import find_kind
from harness.machine.kinds.options import TAKES
from harness.machine.kinds.qemu import Qemu
from harness.machine.protocol import Accelerator, Firmware, MachineKind, Medium, Network
from harness.run import prepare
from harness.run.request import RunRequest, StageRange
from harness.stages import plan_file

if TYPE_CHECKING:
    from pathlib import Path

GIVEN: dict[str, dict[str, Any]] = {
    "--accelerator": {"accelerator": "tcg"},
    "--memory": {"memory": 1 << 30},
    "--cpu": {"cpu": "max"},
    "--append": {"append": "quiet"},
    "--medium": {"medium": Medium.CD},
    "--firmware": {"firmware": Firmware.UEFI},
    "--unpacked": {"unpacked": False},
    "--network": {"network": Network.OPEN},
    "--network none": {"network": Network.NONE},
    "--checkpoint, --from and --until": {"part": StageRange(until="sysb")},
}


def request(place: Path, *, kernel: str | None = None, second: str | None = None, **said: Any) -> RunRequest:
    return RunRequest(build=BuildOptions(cache=place, kernel=kernel, second=second), runs=place, **said)


def test_every_option_of_the_table_is_looked_for_and_every_kind_has_a_row() -> None:
    assert set(TAKES) == set(MachineKind)
    assert TAKES[MachineKind.QEMU] == {*GIVEN, "--kernel", "--second"}


@pytest.mark.parametrize("machine", ["qemu", "chroot", "bwrap", "board:shelf"])
@pytest.mark.parametrize("option", [*GIVEN, "--kernel", "--second"])
def test_options_are_refused_where_the_table_does_not_have_them(
    tmp_path: Path, machine: str, option: str
) -> None:
    said = GIVEN.get(option) or {option.removeprefix("--"): "debian-6.1-i686"}
    asked, kind = request(tmp_path, machine=machine, **said), find_kind(machine)
    if option in TAKES[kind.kind]:
        asked.check(kind)
    else:
        with pytest.raises(ConfigError, match=option) as caught:
            asked.check(kind)
        assert caught.value.hint.startswith("leave it out")


@pytest.mark.parametrize("machine", ["", "vmware", "board", "qemu:x"])
def test_a_machine_that_is_of_no_kind(machine: str) -> None:
    with pytest.raises(ValueError, match=machine or "''"):
        find_kind(machine)


def test_host_and_plan_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed, read = list[Accelerator](), list[str]()

    def load_plan(path: Path) -> object:
        read.append(path.stem)
        return plan_file.load_plan(path)

    def probe(kind: Accelerator) -> Probe:
        probed.append(kind)
        return Probe(kind, works=True)

    kernel = SimpleNamespace(bits=32, path=tmp_path / "vmlinuz", kind="bzImage", init_size=0)
    image = SimpleNamespace(path=tmp_path / "image", size=0)

    def build(recipe: Any, options: BuildOptions, _: object) -> object:
        assert options.names == Qemu(MachineKind.QEMU).images(recipe, request(tmp_path))
        images = dict.fromkeys(options.names, image)
        return SimpleNamespace(recipe=recipe, kernels={"seed": SimpleNamespace(image=kernel)}, images=images)

    monkeypatch.setattr(accelerator, "probe", probe)
    monkeypatch.setattr(accelerator, "qemu_program", lambda: "/bin/sh")
    monkeypatch.setattr(prepare, "load_plan", load_plan)
    monkeypatch.setattr(prepare, "build", build)
    monkeypatch.setattr(prepare, "check_images", lambda *_: ())
    asked = request(tmp_path, accelerator="tcg", memory=64 << 20)
    prepared = prepare.prepare(asked, Quiet())
    assert (probed, read) == ([Accelerator.TCG], ["relay"])
    assert prepared.spec.accelerator == Accelerator.TCG
    assert prepared.request is asked
