"""Matrix files and selections: what they mean, and what is said about mistakes."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.machine.protocol import MachineKind
from harness.matrix.cells import Cell, load_matrix
from harness.matrix.selection import select
from harness.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 6, 1)
AXES = 'summary = "s"\n[axes]\nrecipes = ["relay"]\n'


def names(tmp_path: Path, text: str) -> list[str]:
    return [cell.name for cell in load(tmp_path, text)]


def load(tmp_path: Path, text: str) -> tuple[Cell, ...]:
    (tmp_path / "m.toml").write_text(text)
    return load_matrix(tmp_path / "m.toml", TODAY).cells


def test_each_is_combined_with_each(tmp_path: Path) -> None:
    text = AXES + 'kernels = ["a", "b"]\nmemory = ["512M", "1G"]\naccelerators = ["tcg"]\n'
    assert names(tmp_path, text) == [
        "relay/a/qemu-tcg/512M",
        "relay/a/qemu-tcg/1024M",
        "relay/b/qemu-tcg/512M",
        "relay/b/qemu-tcg/1024M",
    ]


def test_without_kernels_and_memory_it_is_the_recipes_own(tmp_path: Path) -> None:
    own = load_recipe("relay").kernels
    assert own is not None
    assert names(tmp_path, AXES) == [f"relay/{kernel}/qemu-auto/1024M" for kernel in own.qualified]


def test_cells_are_left_out_and_added(tmp_path: Path) -> None:
    text = AXES + (
        'kernels = ["a-1", "a-2", "b"]\nmemory = ["1G", "2G"]\n'
        '[[exclude]]\nkernel = "a-*"\nmemory = "2048M"\n'
        '[[include]]\nrecipe = "relay"\nkernel = "c"\nmedium = "cd"\nfirmware = "uefi"\n'
        '[[include]]\nrecipe = "relay"\nkernel = "b"\n'  # there already: not twice
    )
    assert names(tmp_path, text) == [
        "relay/a-1/qemu-auto/1024M",
        "relay/a-2/qemu-auto/1024M",
        "relay/b/qemu-auto/1024M",
        "relay/b/qemu-auto/2048M",
        "relay/c/qemu-auto/1024M/cd/uefi",
    ]


def test_machines_have_what_they_have_and_no_more(tmp_path: Path) -> None:
    text = AXES + (
        'kernels = ["a", "b"]\naccelerators = ["kvm", "tcg"]\nfirmware = ["bios", "uefi"]\n'
        'machines = ["qemu", "chroot", "bwrap", "board:shelf"]\nmemory = ["512M"]\n'
        '[[exclude]]\nmachine = "qemu"\n'
    )
    assert names(tmp_path, text) == [
        "relay/chroot/512M",
        "relay/bwrap/512M",
        "relay/a/board:shelf",
        "relay/b/board:shelf",
    ]
    chroot, _, board, _ = load(tmp_path, text)
    assert (chroot.kernel, chroot.accelerator, chroot.kind.alone) == ("", "", "")
    assert (board.kind.kind, board.kind.alone, board.memory) == (MachineKind.BOARD, "shelf", 0)
    assert select((chroot, board), "machine=board:*") == (board,)


@pytest.mark.parametrize(
    ("machine", "more"),
    [
        ("chroot", 'kernel = "a"'),
        ("bwrap", 'accelerator = "tcg"'),
        ("board:shelf", 'memory = "1G"'),
        ("board:shelf", 'medium = "cd"'),
        ("chroot", 'firmware = "uefi"'),
    ],
)
def test_a_cell_cannot_choose_what_its_machine_has_not(tmp_path: Path, machine: str, more: str) -> None:
    key = more.partition(" ")[0]
    text = f'{AXES}[[include]]\nrecipe = "relay"\nmachine = "{machine}"\n{more}\n'
    with pytest.raises(ConfigError, match=rf"key include\[0\]\.{key} is not for the machine {machine}"):
        load(tmp_path, text)


def test_a_recipe_that_needs_a_kernel_is_refused_without_one(tmp_path: Path) -> None:
    text = 'summary = "s"\n[axes]\nrecipes = ["qualify"]\nmachines = ["chroot"]\n'
    with pytest.raises(ConfigError, match=r"m\.toml: on chroot: .*qualify\.toml"):
        load(tmp_path, text)


@pytest.mark.parametrize("machine", ["bochs", "board", "board:", "board:../x", "chroot:x"])
def test_machines_that_do_not_exist_are_refused(tmp_path: Path, machine: str) -> None:
    with pytest.raises(ConfigError, match=r"key axes\.machines\[0\]"):
        load(tmp_path, AXES + f'machines = ["{machine}"]\n')


@pytest.mark.parametrize(("expires", "allowed", "notes"), [("2026-06-01", "known", 0), ("2026-05-31", "", 1)])
def test_a_known_failure_is_allowed_up_to_its_last_day(
    tmp_path: Path, expires: str, allowed: str, notes: int
) -> None:
    rule = (
        f'[[rule]]\nkernel = "*-6.1*"\nallow = "fail"\nreason = "known"\nexpires = {expires}\npatience = 2\n'
    )
    kernels = 'kernels = ["debian-6.1-i686", "debian-5.10-i686"]\n'
    (tmp_path / "m.toml").write_text(AXES + kernels + rule)
    matrix = load_matrix(tmp_path / "m.toml", TODAY)
    assert [(cell.allowed, cell.patience) for cell in matrix.cells] == [(allowed, 2), ("", 1)]
    assert len(matrix.notes) == notes


def test_a_kernel_that_is_not_there_is_pointed_out_before_anything_runs(tmp_path: Path) -> None:
    kernels = (
        'kernels = ["debian-6.1-i686", "debian-6.1-i868", "builder-hex0", "own/vmlinuz", "own/k.toml"]\n'
    )
    include = '[[include]]\nrecipe = "relay"\nkernel = "nope"\n'
    (tmp_path / "m.toml").write_text(AXES + kernels + include)
    misspelt, included = load_matrix(tmp_path / "m.toml", TODAY).notes
    assert (
        "m.toml: key axes.kernels[1]: there is no kernel 'debian-6.1-i868'; there are debian-5.10" in misspelt
    )
    assert "m.toml: key include[0].kernel: there is no kernel 'nope'" in included


def test_recipes_and_kernels_by_path_are_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "hello").symlink_to(ROOT / "benchmarks/hello")
    text = 'summary = "s"\n[axes]\nrecipes = ["hello/recipes/hello.toml"]\nkernels = ["my/vmlinuz"]\n'
    [cell] = load(tmp_path, text)
    assert cell.recipe == str(tmp_path / "hello/recipes/hello.toml")
    assert cell.kernel == str(tmp_path / "my/vmlinuz")
    assert cell.name == "hello/vmlinuz/qemu-auto/256M"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('summary = "s"\n', "key axes is missing"),
        ('summary = "s"\n[axes]\nrecipes = []\n', "key axes.recipes"),
        ('summary = "s"\n[axes]\nrecipes = ["nope"]\n', r"key axes\.recipes\[0\]: there is no recipe 'nope'"),
        (AXES + 'colours = ["red"]\n', "key axes.colours is not known"),
        (
            AXES + 'accelerators = ["xen"]\n',
            r"key axes\.accelerators\[0\].*'xen' is none of (?:auto|kvm|tcg), ",
        ),
        (AXES + 'memory = ["much"]\n', r"key axes\.memory\[0\]"),
        (AXES + 'memory = ["1G", "0M"]\n', r"key axes\.memory\[1\]"),
        (AXES + 'machines = ["abacus"]\n', r"key axes\.machines\[0\]"),
        (AXES + '[[exclude]]\nkernel = "nope"\n', r"key exclude\[0\] fits no cell"),
        (AXES + "[[exclude]]\n", "has no cells"),
        (AXES + '[[rule]]\nkernel = "nope"\n', r"key rule\[0\] fits no cell"),
        (AXES + '[[rule]]\nallow = "fail"\nexpires = 2026-12-31\n', r"rule\[0\]\.reason is missing"),
        (AXES + '[[rule]]\nallow = "fail"\nreason = "r"\n', r"rule\[0\]\.expires is missing"),
        (AXES + '[[rule]]\nallow = "pass"\n', r"key rule\[0\]\.allow"),
        (AXES + '[[rule]]\nallow = "fail"\nreason = "r"\nexpires = "soon"\n', r"key rule\[0\]\.expires"),
        (AXES + "[[rule]]\npatience = 0\n", r"rule\[0\]\.patience"),
        (
            AXES + '[checkout.lb]\nrecipe = "live-bootstrap"\ntree = "."\n',
            r"key checkout\.lb is the recipe of no cell",
        ),
        ("summary = ", "not valid TOML"),
    ],
)
def test_mistakes_name_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load(tmp_path, text)
    assert "m.toml" in caught.value.message


def test_who_misspells_a_checkout_is_told_those_that_there_are(tmp_path: Path) -> None:
    checkout = '[checkout.lb]\nrecipe = "live-bootstrap"\ntree = "."\n'
    with pytest.raises(ConfigError, match=r"axes\.recipes\[0\]: there is no recipe 'bl'") as caught:
        load(tmp_path, AXES.replace("relay", "bl") + checkout)
    assert caught.value.hint.startswith("checkouts of this file: lb; known recipes: ")


def test_the_hint_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, AXES + 'kernels = ["a", "b"]\n[[exclude]]\nkernel = "nope"\n')
    assert "kernel: a, b" in caught.value.hint


@pytest.mark.parametrize("name", ["nightly", "genesis"])
def test_the_matrix_that_comes_along_is_one(name: str) -> None:
    assert len(load_matrix(ROOT / f"ci/{name}.toml", TODAY).cells) >= 3


CELLS = tuple(
    Cell(
        recipe=recipe,
        kernel=kernel,
        machine="qemu",
        accelerator="tcg",
        memory=memory << 20,
        medium="direct",
        firmware="bios",
    )
    for recipe in ("relay", "bench")
    for kernel in ("a-1", "a-2", "b")
    for memory in (512, 1024)
)
TESTS: dict[str, Callable[[Cell], bool]] = {
    "recipe=relay": lambda cell: cell.recipe == "relay",
    "kernel=a-*": lambda cell: cell.kernel.startswith("a-"),
    "kernel!=b": lambda cell: cell.kernel != "b",
    "memory=512M": lambda cell: cell.memory == 512 << 20,
    "bench": lambda cell: "bench" in cell.name,
    "a-?/qemu": lambda cell: "/a-" in cell.name,
}


def expressions() -> st.SearchStrategy[tuple[str, str]]:
    """Expressions, and the same in Python with `t[…]` for tests."""
    tests = st.sampled_from(sorted(TESTS)).map(lambda test: (test, f"t[{test!r}]"))

    def combine(inner: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
        pairs = st.tuples(inner, st.sampled_from(["and", "or"]), inner)
        return st.one_of(
            pairs.map(lambda p: (f"{p[0][0]} {p[1]} {p[2][0]}", f"{p[0][1]} {p[1]} {p[2][1]}")),
            inner.map(lambda one: (f"not {one[0]}", f"not {one[1]}")),
            inner.map(lambda one: (f"({one[0]})", f"({one[1]})")),
        )

    return st.recursive(tests, combine, max_leaves=8)


@given(expressions())
def test_a_selection_means_what_the_same_means_in_python(pair: tuple[str, str]) -> None:
    text, python = pair
    wanted = tuple(
        cell
        for cell in CELLS
        if eval(python, {"t": {name: test(cell) for name, test in TESTS.items()}})  # noqa: S307
    )
    if wanted:
        assert select(CELLS, text) == wanted
    else:
        with pytest.raises(ConfigError, match="fits no cell"):
            select(CELLS, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a test is missing"),
        ("kernel=", "a pattern is missing"),
        ("kernel=a and", "a test is missing"),
        ("(kernel=a", "a '\\)' is missing"),
        ("kernel=a)", "'\\)' is too much"),
        ("kernel=a memory=512M", "'memory' is too much"),
        ("colour=red", "'colour' is no key; there are recipe, kernel"),
        ("and", "a test is missing"),
        ("zzz", "fits no cell"),
    ],
)
def test_a_wrong_selection_is_explained(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        select(CELLS, text)


@given(st.text())
def test_any_text_is_a_selection_or_a_mistake(text: str) -> None:
    with suppress(ConfigError):
        assert select(CELLS, text)
