"""The programs that the steps of genesis make, once for all tests."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from testcases.system.genesis import toolchain
from testcases.unit.genesis import chain
from testcases.unit.genesis.c0 import compile_sources

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the chain after all steps."""
    root = tmp_path_factory.mktemp("genesis")
    chain.lay_out(root)
    done = chain.start(root)
    assert (done.returncode, done.stderr) == (0, b""), done
    return root


@pytest.fixture(scope="session")
def first_cc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generation of cc that the C0 compiler of the tests makes."""
    path = tmp_path_factory.mktemp("cc") / "cc-by-c0"
    path.write_bytes(compile_sources([(part.name, part.read_bytes()) for part in toolchain.PARTS]))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def cc(first_cc: Path) -> Path:
    """The generation that cc makes of itself."""
    path = first_cc.with_name("cc")
    subprocess.run([first_cc, "-o", path, toolchain.CC / "whole.c"], check=True)
    return path


@pytest.fixture(scope="session")
def libc_by_gcc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our library as one object file of the host's gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    path = tmp_path_factory.mktemp("libc") / "libc.o"
    sources = sorted(toolchain.LIBC.glob("*.c"))
    toolchain.gcc(path, sources, "-r", "-DLIBC", "-D__CC__", *toolchain.HEADERS)
    return path
