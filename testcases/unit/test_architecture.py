"""What is known of architectures, and recipes that are for several."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from harness.core.architecture import architecture_files, load_architecture, of_debian
from harness.core.errors import ConfigError
from harness.kernel import catalogue
from harness.kernel.catalogue import load_line
from harness.machine.command import Ends, command_words
from harness.machine.protocol import Accelerator, Firmware
from harness.machine.spec import Bus, DirectBoot, MachineSpec
from harness.payload.chosen import recipe_for
from harness.recipe import load_recipe
from testcases.support.typed import typed
from testcases.unit.test_foreign_kernels import arm64, riscv64

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = [name for name in architecture_files() if name != "x86"]


@pytest.mark.parametrize("name", architecture_files())
def test_relay_is_for_each(name: str) -> None:
    known = load_architecture(name)
    recipe = load_recipe("relay", architecture=name)
    assert recipe.architecture == name
    assert recipe.debian.architecture == known.given["debian"]
    assert recipe.boot.command_line == known.given["command-line"]
    for kernel in (recipe.kernels.seed, *recipe.kernels.second):
        line = load_line(kernel)
        assert line.debian
        assert of_debian(line.debian.architecture) == name
    assert re.search(r"\{[a-z-]+\}", str(recipe.document)) is None


def test_the_kernel_chooses_the_architecture(tmp_path: Path) -> None:
    assert recipe_for("relay", None).architecture == "x86"
    assert recipe_for("relay", "debian-6.12-x86_64").debian.architecture == "i386"
    assert recipe_for("relay", "debian-6.12-arm64").debian.architecture == "arm64"
    assert recipe_for("relay", None, "arm64").kernels.seed == "debian-6.1-arm64"
    (tmp_path / "vmlinuz").write_bytes(arm64())
    assert recipe_for("relay", str(tmp_path / "vmlinuz")).architecture == "arm64"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("relay", "--arch", "arm64", "--kernel", "debian-6.1-i686"),
            "debian-6.1-i686 is for x86",
        ),
        (("relay", "--arch", "vax"), "the recipe relay is not for kernels of vax"),
        (
            ("relay", "--arch", "arm64", "--machine", "bwrap"),
            "for x86, and arm64 was asked for",
        ),
        (("bench", "--kernel", "./foreign"), "the recipe bench is not for kernels of riscv64"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "foreign").write_bytes(riscv64())
    done = typed("run", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recipe_for_x86_alone() -> None:
    with pytest.raises(ConfigError, match="the recipe bench is not for kernels of arm64"):
        recipe_for("bench", "debian-6.1-arm64")


def test_a_line_that_names_another_architecture_than_its_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels.d").mkdir()
    (tmp_path / "foreign").write_bytes(riscv64())
    (tmp_path / "kernels.d/mine.toml").write_text(
        'summary = "mine"\nversion = "6.1"\nbits = 64\n[file]\npath = "../foreign"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert catalogue.architecture_of("mine") == "riscv64"


@pytest.mark.parametrize("name", OTHERS)
def test_the_machine(tmp_path: Path, name: str) -> None:
    spec = MachineSpec(
        boot=DirectBoot(tmp_path / "vmlinuz", None, "panic=-1"),
        firmware=Firmware.BIOS,
        disk=tmp_path / "disk",
        memory=1 << 30,
        cpu=load_architecture(name).qemu.cpu,
        accelerator=Accelerator.TCG,
        bus=Bus.of_disk(Firmware.BIOS, name),
        architecture=name,
    )
    words = command_words("qemu", spec, Ends(3, 4, 5), tmp_path, tmp_path / "overlay")
    assert words[words.index("-machine") + 1].startswith("virt")
    assert "virtio-blk-pci,drive=disk" in words
    assert "-vga" not in words
