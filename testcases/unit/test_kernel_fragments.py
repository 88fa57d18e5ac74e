"""Fragments of kernel configurations: read, put together, compared; and the project's own ones."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.kernel import catalogue, config, fragments
from harness.kernel.fragments import Lost, Setting, compose, fragment_files, lost, parse, text_of

if TYPE_CHECKING:
    from pathlib import Path

SYMBOLS = st.text(string.ascii_uppercase + string.digits + "_", min_size=1, max_size=12)
VALUES = st.one_of(
    st.sampled_from(["y", "n"]),
    st.integers(-(2**31), 2**31).map(str),
    st.integers(0, 2**64).map(hex),
    st.text(string.ascii_letters + "-. /", max_size=9).map(lambda text: f'"{text}"'),
)


@given(st.dictionaries(SYMBOLS, VALUES))
def test_what_is_written_is_read_back(values: dict[str, str]) -> None:
    settings = [Setting(symbol, value, "") for symbol, value in values.items()]
    found = parse(text_of(settings), "a.config")
    assert {setting.symbol: setting.value for setting in found.values()} == values
    # A configuration that has exactly this grants it all.
    assert lost(settings, config.parse(text_of(settings))) == []


@given(st.dictionaries(SYMBOLS, VALUES, min_size=1), st.data())
def test_whatever_differs_is_lost(values: dict[str, str], data: st.DataObject) -> None:
    symbol = data.draw(st.sampled_from(sorted(values)))
    other = data.draw(VALUES.filter(lambda value: value != values[symbol]))
    settings = [Setting(name, value, "") for name, value in values.items()]
    text = text_of(Setting(name, value, "") for name, value in {**values, symbol: other}.items())
    assert lost(settings, config.parse(text)) == [Lost(Setting(symbol, values[symbol], ""), other)]


def test_a_symbol_that_is_not_there_at_all_is_off() -> None:
    on, off = Setting("A", "y", "a:1"), Setting("B", "n", "a:2")
    assert lost([on, off], config.parse("# nothing\n")) == [Lost(on, "n")]


def test_comments_are_for_people() -> None:
    text = "# Why.\n#\n\n  CONFIG_A=y  \n# CONFIG_B is not set\n#CONFIG_C=y\n# CONFIG_D=y\n"
    assert parse(text, "a.config") == {
        "A": Setting("A", "y", "a.config:4"),
        "B": Setting("B", "n", "a.config:5"),
    }


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("CONFIG_A=m", "a.config:2: CONFIG_A=m asks for a module"),
        ("CONFIG_A", "'CONFIG_A' is no line of a kernel configuration"),
        ("CONFIG_A=", "is no line of"),
        ("CONFIG_A=yes", "is no line of"),
        ("CONFIG_A=y # why", "is no line of"),
        ("CONFIG_A = y", "is no line of"),
        ("A=y", "is no line of"),
        ('CONFIG_A="', "is no line of"),
        ('CONFIG_A="a"b"', "is no line of"),
        ("# CONFIG_FIRST is not set", "# CONFIG_FIRST is not set contradicts CONFIG_FIRST=y of a.config:1"),
        ("CONFIG_FIRST=2", "CONFIG_FIRST=2 contradicts"),
    ],
)
def test_a_line_that_is_none_is_named(line: str, problem: str) -> None:
    with pytest.raises(
        ConfigError, match=f"^a.config:2: .*{re.escape(problem.removeprefix('a.config:2: '))}"
    ):
        parse(f"CONFIG_FIRST=y\n{line}\n", "a.config")


def test_saying_it_twice_is_no_contradiction() -> None:
    assert parse("CONFIG_A=y\nCONFIG_A=y\n", "a")["A"].origin == "a:2"


def test_the_later_fragment_has_the_last_word(tmp_path: Path) -> None:
    (tmp_path / "mine.config").write_text("# CONFIG_KEXEC is not set\nCONFIG_A=1\n")
    settings = {setting.symbol: setting for setting in compose(["base", "mine.config"], tmp_path)}
    assert settings["KEXEC"] == Setting("KEXEC", "n", "mine.config:1")
    assert settings["A"].value == "1"
    assert settings["BINFMT_ELF"].value == "y"
    assert list(settings) == sorted(settings)


def test_a_fragment_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no fragment 'bass'") as caught:
        compose(["bass"], tmp_path)
    assert all(name in caught.value.hint for name in fragment_files())
    with pytest.raises(ConfigError, match=f"cannot read the fragment {tmp_path}/no.config: No such file"):
        compose(["no.config"], tmp_path)
    (tmp_path / "junk.config").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"junk\.config is no text"):
        compose(["junk.config"], tmp_path)


@pytest.mark.parametrize("name", fragment_files())
def test_every_wish_of_ours_has_a_reason(name: str) -> None:
    """A comment stands above each block of symbols."""
    for block in re.split(r"\n\s*\n", fragment_files()[name].read_text("utf-8")):
        assert block.lstrip().startswith("#"), block
        assert not re.match(r"# CONFIG_\w+ is not set", block.lstrip())


BUILT = [name for name in catalogue.kernel_files() if catalogue.load_line(name).build]


@pytest.mark.parametrize("name", BUILT)
def test_tiny_kernels_trust_little(name: str) -> None:
    """No modules anywhere; network and disks only where the name says so."""
    line = catalogue.load_line(name)
    assert line.build
    settings = {
        setting.symbol: setting.value
        for setting in compose(line.build.fragments, catalogue.kernel_files()[name])
    }
    assert settings["MODULES"] == "n"
    assert settings["64BIT"] == ("y" if line.bits == 64 else "n")
    assert ("NET" in settings) == name.endswith("-boot-anything")
    assert ("BLOCK" in settings) == (not name.endswith("-initramfs-only"))
    # What the facts of earlier runs say a bootstrap ends without.
    assert {settings[symbol] for symbol in ("COMPAT_32BIT_TIME", "BINFMT_SCRIPT", "KEXEC", "TMPFS")} == {"y"}


def test_there_are_three_tiny_kernels_of_each_width() -> None:
    variants = {(catalogue.load_line(name).bits, name.split("-", 3)[3]) for name in BUILT if "6.1" in name}
    wanted = ("initramfs-only", "disk", "boot-anything")
    assert variants == {(bits, variant) for bits in (32, 64) for variant in wanted}


def test_fragments_lie_where_the_catalogue_does_not_look() -> None:
    assert not set(fragments.fragment_files()) & set(catalogue.kernel_files())
