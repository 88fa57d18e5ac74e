"""The steps of genesis from the seed on: in each kind of root, and with a source changed."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from harness.stages.plan_file import find_plan, load_plan
from testcases.unit.genesis import chain

if TYPE_CHECKING:
    from pathlib import Path


# What the steps before the first part make
EARLY = ("seed", "asm", "mc", "c0-first", "c0")


@pytest.mark.parametrize("machine", chain.MACHINES)
def test_every_root(machine: str, made: Path, tmp_path: Path) -> None:
    program = (chain.MACHINES[machine].split() or ["true"])[0]
    if shutil.which(program, path=chain.PATH) is None:
        pytest.skip(f"needs {program}")
    if program != "true" and os.geteuid() != 0:
        pytest.skip("needs root")
    chain.lay_out(tmp_path)
    done = chain.start(tmp_path, machine)
    assert (done.returncode, done.stderr) == (0, b"")
    for name in EARLY:
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_markers(made: Path) -> None:
    script = (chain.GENESIS / "steps").read_text()
    markers = [line for line in script.splitlines() if line.startswith("=")]
    assert len(markers) >= 2
    assert all(marker.startswith("= genesis: ") for marker in markers)


def test_packages_are_those_of_the_plan_and_of_the_docs() -> None:
    listed = re.findall(r"(?m)^run (\S+)/steps$", (chain.GENESIS / "packages").read_text())
    built = ["11-busybox", *(name for name in listed if (chain.GENESIS / name / "build").exists())]
    steps = [(chain.GENESIS / name / "steps").read_text() for name in built]
    names = [name for text in steps for name in re.findall(r"(?m)^= genesis: package (\S+)$", text)]
    assert [*load_plan(find_plan("genesis")).packages] == names
    page = (chain.GENESIS.parents[1] / "docs/genesis.md").read_text()
    assert [name for name in built if f"| [{name}](" not in page] == []


@pytest.mark.parametrize(
    ("source", "old", "new", "message"),
    [
        ("run.hex", b"7F 45", b"7G 45", b"bad hex\n"),
        ("02-asm/asm.hex", b"7F 45", b"7F 4", b"bad hex\nsteps:4: init: exit status 1\n"),
        ("03-mc/mc.asm", b":next ", b":nex ", b": unknown name\nsteps:4: init: exit status 1\n"),
        ("04-c0/c0.c", b"int skip(", b"int sk(", b" is not declared\nsteps:7: mc: exit status 1\n"),
    ],
)
def test_changed_source(tmp_path: Path, source: str, old: bytes, new: bytes, message: bytes) -> None:
    chain.lay_out(tmp_path)
    text = (tmp_path / source).read_bytes()
    assert old in text
    (tmp_path / source).write_bytes(text.replace(old, new))
    done = chain.start(tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(message)


def test_missing_source(tmp_path: Path) -> None:
    chain.lay_out(tmp_path)
    (tmp_path / "04-c0/c0.c").unlink()
    done = chain.start(tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        b"04-c0/c0.c:0: missing or too large\nsteps:7: mc: exit status 1\n",
    )


def test_figures_of_the_documentation(made: Path) -> None:
    """Lines and bytes of the first stages are those that docs/genesis.md tells."""
    table = (chain.GENESIS.parents[1] / "docs/genesis.md").read_text()
    for folder in ("00-seed", "01-run", "02-asm", "03-mc", "04-c0"):
        program = made / folder.partition("-")[2]
        sources = [path for path in (made / folder).iterdir() if path.suffix in {".hex", ".asm", ".c"}]
        lines = sum(bool(line.strip()) for path in sources for line in path.read_text().splitlines())
        row = next(line for line in table.splitlines() if line.startswith(f"| [{folder}]"))
        assert row.split(" | ")[3:5] == [f"{lines:,}", f"{program.stat().st_size:,}"], row
