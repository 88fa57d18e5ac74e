"""Debian's tcc, compiled by cc unpatched, is as good as compiled by gcc, and reaches its fixed point."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import HarnessError
from harness.core.progress import Quiet
from harness.sources.debian import DebianSource
from harness.store import Store
from testcases.system.genesis import toolchain

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("genesis-cc")

VERSION = "0.9.27+git20200814.62c30a4a-1"
HEADERS = [f"-I{toolchain.GENESIS}/08-tcc", f"-I{toolchain.LIBC}/include"]


@pytest.fixture(scope="session")
def source(harness_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's original source of tcc, in a directory "tcc"."""
    debian = DebianSource(Store(harness_cache), Quiet())
    try:
        (tarball,) = debian.tarballs("bookworm", debian.source("bookworm", "tcc", VERSION))
    except HarnessError as error:
        pytest.skip(f"the source package tcc {VERSION} cannot be had: {error.message}")
    directory = tmp_path_factory.mktemp("source")
    with tarfile.open(tarball) as archive:
        archive.extractall(directory / "tcc", filter="data")
    return directory


@pytest.fixture(scope="session")
def tcc(cc: Path, source: Path) -> Path:
    """tcc, compiled by cc."""
    toolchain.cc(cc, source / "tcc-0", [source / "tcc/tcc.c"], HEADERS[0])
    return source / "tcc-0"


def compiled(tcc: Path, source: Path, output: Path, name: str = "tcc/tcc.c") -> bytes:
    """The object file that a tcc makes, of its own source by default."""
    options = ["-nostdinc", *HEADERS, "-c", "-o", str(output), name]
    subprocess.run([tcc, *options], cwd=source, check=True, timeout=60)
    return output.read_bytes()


def next_generation(tcc: Path, source: Path, output: Path) -> Path:
    """tcc made by tcc, with our library made by it too."""
    parts = [*sorted(toolchain.LIBC.glob("*.c")), source / "tcc/lib/libtcc1.c", source / "tcc/tcc.c"]
    objects = [output.with_name(f"{output.name}-{part.stem}.o") for part in parts]
    for part, made in zip(parts, objects, strict=True):
        compiled(tcc, source, made, str(part))
    subprocess.run([tcc, "-nostdlib", "-static", "-o", output, *objects], check=True, timeout=60)
    return output


def test_it_emits_what_a_tcc_from_gcc_emits(tcc: Path, source: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    other = tmp_path / "tcc-by-gcc"  # for the host itself, with the host's library
    subprocess.run(["gcc", "-w", HEADERS[0], "-o", other, source / "tcc/tcc.c"], check=True)
    expected = compiled(other, source, tmp_path / "theirs.o")
    assert len(expected) > 300_000
    assert compiled(tcc, source, tmp_path / "ours.o") == expected


def test_it_compiles_itself_to_a_fixed_point(tcc: Path, source: Path, tmp_path: Path) -> None:
    first = next_generation(tcc, source, tmp_path / "tcc-1")
    second = next_generation(first, source, tmp_path / "tcc-2")
    assert first.read_bytes() == second.read_bytes()
    assert tcc.read_bytes() != first.read_bytes()
