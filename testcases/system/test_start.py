"""A run starts its machine soon: imports are most of a start, and what is needed later comes later."""

from __future__ import annotations

import subprocess
import sys

import pytest

import harness

# What a run of a recipe needs later, or never.
LATER = (
    "asyncio",  # the monitor, while QEMU starts
    "re2",  # the console
    "logging",
    "sqlite3",  # estimates and the index
    "harness.machine.board.machine",
    "harness.console.cast",
    "harness.console.shell",
    "harness.console.terminal",
    "harness.image.contents",
    "elftools",
    "harness.kernel.fragments",
    "harness.kernel.modules",
    "harness.kernel.make",
    "harness.machine.native",
    "harness.payload.assembly",
    "harness.payload.era",
    "harness.record.gathering",
    "harness.record.history",
    "harness.record.index",
    "harness.sources.checkout",
    "harness.stages.runner",
)

# Imports all that a run does, and ends where it looks for the recipe.
START = """
import sys
from harness.cli import main
try:
    main(["run", "no-recipe.toml"])
except SystemExit as end:
    print(end.code, *sys.modules)
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    command = [sys.executable, "-c", START]
    status, *modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert status == "2"  # CONFIG
    return set(modules)


@pytest.mark.parametrize("module", LATER)
def test_a_run_does_not_import_early_what_it_needs_later(imported: set[str], module: str) -> None:
    assert module not in imported


def test_the_version_is_said_without_what_commands_import() -> None:
    command = [sys.executable, "-c", START.replace('"run", "no-recipe.toml"', '"--version"')]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    version, last = said.splitlines()
    status, *modules = last.split()
    assert (version, status) == (f"harness {harness.__version__}", "0")
    assert "harness.cli.bisect" in modules
    assert not {"msgspec", "rich.console", "harness.recipe"} & set(modules)


def test_the_start_is_what_it_is_taken_for(imported: set[str]) -> None:
    assert {"harness.run.execute", "harness.run.prepare", "harness.machine.kinds.kind"} <= imported


def test_a_console_is_watched_and_recorded_without_openssl() -> None:
    watching = (
        "harness.console.recorder, harness.record.record, harness.stages.plan_file, harness.stages.runner"
    )
    command = [sys.executable, "-c", f"import sys, {watching}\nprint(*sys.modules)"]
    modules = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert {"harness.stages.runner", "harness.console.prefilter"} <= modules
    assert not {"_hashlib", "_ssl", "asyncio", "sqlite3"} & modules  # 4 MB, and more
