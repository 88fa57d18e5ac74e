"""The wheel in an environment of its own, where there is no checkout: commands that boot nothing."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

import harness
from testcases.support import installed

if TYPE_CHECKING:
    from pathlib import Path

LOGS = installed.REPOSITORY / "testcases/logs"
WORDS = {
    "doctor --json": (0, 2),
    "kernel list": (0,),
    "store ls": (0,),
    "checkpoint ls": (0,),
    "runs": (0,),
    "history": (0,),
    "board list": (0,),
    "flash --list": (0,),
    f"matrix plan {installed.REPOSITORY}/ci/nightly.toml": (0, 2),
    f"verdict {LOGS}/good.raw --plan relay": (0, 4),
    f"verdict {LOGS}/init-exits-3.raw --plan relay": (3,),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return installed.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def program(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> installed.Installed:
    home = tmp_path_factory.mktemp("installed")
    return installed.install(built[0], home, home / "cache")


def test_version(built: tuple[Path, Path], program: installed.Installed) -> None:
    assert program.types("--version").stdout == f"harness {harness.__version__}\n"
    assert built[0].name == f"bootstrap_harness-{harness.__version__}-py3-none-any.whl"
    changelog = (installed.REPOSITORY / "CHANGELOG.md").read_text()
    assert f"## [{harness.__version__}] - 20" in changelog


def test_sdist_has_what_the_wheel_is_built_from(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "harness/__init__.py"} <= names
    assert {"images/recipes/relay.toml", "kernels/debian-6.1-i686.toml", "Makefile"} <= names


def test_list_goes_on_behind_a_recipe_that_needs_the_checkout(program: installed.Installed) -> None:
    listed = program.types("list", "--json")
    found = json.loads(listed.stdout)
    assert listed.returncode == 0
    assert {"relay", "stage0-posix", "bench"} <= set(found["recipes"])
    assert set(found["problems"]) == {"bench"}
    assert "debian-6.1-i686" in found["kernels"]


@pytest.mark.parametrize("words", WORDS)
def test_commands_that_need_no_checkout(words: str, program: installed.Installed) -> None:
    done = program.types(*words.split())
    assert done.returncode in WORDS[words], done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout
