"""What kernels lack for plans, in words that say what to switch on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.kernel import config
from harness.kernel.bzimage import KernelImage
from harness.kernel.features import Lack, lacking, load_features
from harness.stages.plan_file import load_plan, needs_files

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERYTHING = {
    symbol: "y"
    for feature in load_features().values()
    for group in feature.symbols
    for symbol in group.split("|")
}


def image(*, bits: int = 64, version: str = "6.1.0-50-own") -> KernelImage:
    return KernelImage(Path("/k"), version, version, (2, 15), bits, True, "xz", 1, 1, 1, "0" * 64)


def judged(name: str, symbols: Mapping[str, str] | None, **options: object) -> list[Lack]:
    kernel = options.pop("kernel", image())
    return lacking(kernel, symbols, built_in=(name,), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", load_features())
def test_a_kernel_with_everything_lacks_nothing(name: str) -> None:
    for bits in (32, 64):
        kernel = image(bits=bits)
        assert lacking(kernel, EVERYTHING, built_in=(name,), modular=(name,), memory=8 << 30) == []


@pytest.mark.parametrize(
    "name", [n for n, f in load_features().items() if f.bits != 32 and n != "x86_64-programs"]
)
def test_a_kernel_with_nothing_lacks_everything(name: str) -> None:
    (lack,) = judged(name, {})
    assert lack.feature == name
    assert lack.what.startswith("it lacks ")
    assert re.fullmatch(r"build it with (CONFIG_\w+=y( or |, )?)+", lack.hint)


def test_the_words() -> None:
    assert judged("kexec", {}) == [
        Lack(
            "kexec",
            "it lacks kexec (kexec_load, which is all that a 32-bit process has): "
            "the next kernel cannot be started",
            "build it with CONFIG_KEXEC=y",
            strict=True,
        )
    ]


def test_only_64_bit_kernels_need_emulation_for_i386_programs() -> None:
    assert judged("i386-programs", {}, kernel=image(bits=32)) == []
    (lack,) = judged("i386-programs", {})
    assert lack.hint == "build it with CONFIG_IA32_EMULATION=y"
    (lack,) = judged("i386-programs", {"IA32_EMULATION": "y", "IA32_EMULATION_DEFAULT_DISABLED": "y"})
    assert lack.hint == "build it with CONFIG_IA32_EMULATION_DEFAULT_DISABLED=n"


@pytest.mark.parametrize(
    ("name", "word"), [("i386-programs", "ia32_emulation=0"), ("kexec", "lockdown=integrity")]
)
def test_the_command_line_can_switch_a_feature_off(name: str, word: str) -> None:
    for symbols in (EVERYTHING, None):
        (lack,) = judged(name, symbols, command_line=f"console=ttyS0 {word}")
        assert lack.hint == f"take {word} off the kernel's command line"
    assert judged(name, EVERYTHING, command_line="console=ttyS0") == []


def test_a_module_is_enough_where_something_loads_it() -> None:
    symbols = {**EVERYTHING, "ATA_PIIX": "m"}
    assert lacking(image(), symbols, modular=("ide",)) == []
    (lack,) = judged("ide", symbols)
    assert "as a module only" in lack.what
    assert lack.hint == "build it with CONFIG_ATA_PIIX=y"


def test_one_of_several_symbols_is_enough() -> None:
    assert judged("ext3", {"EXT4_FS": "y"}) == judged("ext3", {"EXT3_FS": "y"}) == []


def test_kernels_from_before_a_symbol_have_the_feature() -> None:
    assert judged("32bit-time", {}, kernel=image(version="4.9.10")) == []
    assert len(judged("32bit-time", {}, kernel=image(version="5.1.0"))) == 1


def test_an_unknown_configuration_is_no_reproach() -> None:
    assert judged("kexec", None) == []


@pytest.mark.parametrize(
    ("memory", "bits", "found"),
    [(896 << 20, 32, []), (1 << 30, 32, ["highmem"]), (4 << 30, 32, ["highmem", "pae"]), (4 << 30, 64, [])],
)
def test_memory_that_a_kernel_cannot_use_is_a_remark(memory: int, bits: int, found: list[str]) -> None:
    lacks = lacking(image(bits=bits), {}, memory=memory)
    assert [lack.feature for lack in lacks] == found
    assert not any(lack.strict for lack in lacks)


def test_an_unknown_feature_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no kernel feature 'kexek'") as caught:
        judged("kexek", {})
    assert "kexec-file" in caught.value.hint


@pytest.mark.parametrize("name", needs_files())
def test_what_the_shipped_plans_need_is_known(name: str) -> None:
    summary, needs = needs_files()[name]
    assert summary
    for role in ("seed", "second"):
        part = needs.of(role)
        assert set(part.built_in) | set(part.modular) <= set(load_features())


def test_needs_come_with_what_a_plan_includes(tmp_path: Path) -> None:
    (tmp_path / "needs-a.toml").write_text(
        '[needs]\nmemory = "4G"\n[needs.seed]\nbuilt-in = ["kexec", "elf"]\n'
    )
    (tmp_path / "own.toml").write_text(
        'summary = "own"\nend = "guest-shutdown"\ninclude = ["needs-a"]\n'
        '[needs.seed]\nbuilt-in = ["elf", "ide"]\nmodular = ["kexec"]\n'
        '[[stage]]\nname = "a"\ntitle = "a"\nbudget = 1\nsilence = 1\n'
    )
    needs = load_plan(tmp_path / "own.toml").needs
    assert (needs.memory, needs.seed.built_in, needs.seed.modular) == ("4G", ("elf", "ide", "kexec"), ())


def test_a_configuration_is_read() -> None:
    text = '# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D="="\n\nCONFIG_E\n'
    assert config.parse(text) == {"B": "y", "C": "m", "D": '"="'}
