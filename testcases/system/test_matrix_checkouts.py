"""Checkouts of bootstraps as cells of a matrix: a stage0-posix in miniature, run for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.matrix.cells import load_matrix
from harness.matrix.document import Checkout
from testcases.support.mini_stage0 import seed, tree
from testcases.system.test_native import KINDS

if TYPE_CHECKING:
    from harness.matrix.cells import Cell

ROOT = Path(__file__).resolve().parents[2]


def load(place: Path, table: str, axes: str = 'recipes = ["mini"]') -> tuple[Cell, ...]:
    (place / "m.toml").write_text(f'summary = "s"\n[axes]\n{axes}\n[checkout.mini]\n{table}\n')
    return load_matrix(place / "m.toml", date(2026, 6, 1)).cells


def test_a_checkout_is_a_cell_with_what_its_recipe_asks_for(tmp_path: Path) -> None:
    tree(tmp_path / "tree", seed())
    table = 'recipe = "stage0-posix"\ntree = "tree"\ninstrument = true\n'
    axes = 'recipes = ["mini"]\nmachines = ["qemu", "bwrap"]\n'
    own, native = load(tmp_path, table, axes)
    assert (own.name, native.name) == ("mini/qemu-auto/512M", "mini/bwrap/512M")
    assert own.checkout is not None
    assert own.checkout.words == ["stage0-posix", "--tree", str(tmp_path / "tree"), "--instrument"]
    [other] = load(tmp_path, table, axes.replace(', "bwrap"', "") + 'kernels = ["a"]\nmemory = ["1G"]\n')
    assert other.name == "mini/a/qemu-auto/1024M"


def test_a_checkout_is_named_on_the_command_line_as_in_its_table() -> None:
    table = Checkout(recipe="r", tree="/t", arch="AMD64", builder="/b", incomplete=True, jobs=4)
    assert table.words == [
        *("r", "--tree", "/t", "--arch", "AMD64", "--builder", "/b", "--jobs", "4", "--incomplete")
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'recipe = "stage0-posix"\ntree = "none"',
            r"checkout\.mini: \S+/none is no checkout of stage0-posix",
        ),
        ('recipe = "live-bootstrap"\ntree = "none"', r"checkout\.mini: \S+/none is no directory"),
        ('recipe = "live-bootstrap"\ntree = "."', r"checkout\.mini: \S+ is of no era that is known"),
        ('recipe = "stage0-posix"\ntree = "."\narch = "arm"', r"checkout\.\.\.\.arch|checkout.*arch"),
        ('recipe = "stage0-posix"', r"checkout.*tree"),
    ],
)
def test_what_is_wrong_with_a_checkout_names_its_table(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load(tmp_path, table)
    assert "m.toml" in caught.value.message


@pytest.mark.parametrize("kind", KINDS)
def test_checkouts_run_as_a_matrix_and_as_tests(tmp_path: Path, kind: str) -> None:
    tree(tmp_path / "tree", seed())
    tree(tmp_path / "broken", seed(status=3))
    (tmp_path / "m.toml").write_text(
        f'summary = "s"\n[axes]\nrecipes = ["good", "bad"]\nmachines = ["{kind}"]\n'
        '[checkout.good]\nrecipe = "stage0-posix"\ntree = "tree"\n'
        '[checkout.bad]\nrecipe = "stage0-posix"\ntree = "broken"\n'
    )
    places = ["--runs", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "harness", "matrix", "run", "m.toml", "--json", *places]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    cells = {cell["recipe"]: cell for cell in json.loads(done.stdout)["cells"]}
    assert {name: cell["outcome"] for name, cell in cells.items()} == {"good": "PASS", "bad": "FAIL"}
    assert (
        (tmp_path / "runs" / cells["good"]["run"] / "manifest.sha256").read_text().endswith("x86/bin/mini\n")
    )

    (tmp_path / "conftest.py").write_text('pytest_plugins = ["harness.pytest_plugin"]\n')
    (tmp_path / "test_it.py").write_text("def test_stage(stage, require_stage):\n    require_stage(stage)\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--matrix", "m.toml", "-q", *places]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "1 failed" in done.stdout
    assert f"test_stage[bad/{kind}/512M-" in done.stdout
    assert "2 not applicable" in done.stdout
