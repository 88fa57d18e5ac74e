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
        archive.extractall(directory / "tcc")  # noqa: S202 - signed by Debian
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


def next_generation(tcc: Path, source: Path, directory: Path) -> dict[str, bytes]:
    """tcc made by tcc, with our library made by it too: object files by name, and "tcc" that they make."""
    directory.mkdir()
    parts = [*sorted(toolchain.LIBC.glob("*.c")), source / "tcc/lib/libtcc1.c", source / "tcc/tcc.c"]
    objects = [directory / f"{part.stem}.o" for part in parts]
    made = {
        output.name: compiled(tcc, source, output, str(part))
        for part, output in zip(parts, objects, strict=True)
    }
    output = directory / "tcc"
    subprocess.run([tcc, "-nostdlib", "-static", "-o", output, *objects], check=True, timeout=60)
    return {**made, "tcc": output.read_bytes()}


def tcc_by(compiler: str, source: Path, output: Path) -> Path:
    """tcc for the host itself, made by another compiler with the host's library."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    subprocess.run([compiler, "-w", HEADERS[0], "-o", output, source / "tcc/tcc.c"], check=True)
    return output


def test_it_compiles_itself_to_a_fixed_point(tcc: Path, source: Path, tmp_path: Path) -> None:
    first = next_generation(tcc, source, tmp_path / "1")
    assert next_generation(tmp_path / "1/tcc", source, tmp_path / "2") == first
    assert tcc.read_bytes() != first["tcc"]
    assert len(first["tcc.o"]) > 300_000


@pytest.mark.parametrize("compiler", ["gcc", "clang", "tcc"])
def test_compilers_that_cc_has_nothing_to_do_with_end_in_the_same_bits(
    compiler: str, tcc: Path, source: Path, tmp_path: Path
) -> None:
    other = tcc_by(compiler, source, tmp_path / "other")
    assert next_generation(other, source, tmp_path / "1") == next_generation(tcc, source, tmp_path / "2")


def test_a_compiler_that_adds_a_byte_is_found(tcc: Path, source: Path, tmp_path: Path) -> None:
    trojan = tmp_path / "trojan"
    shutil.copytree(source / "tcc", trojan / "tcc")
    place = "    gfunc_prolog(sym);\n"
    text = (trojan / "tcc/tccgen.c").read_text()
    assert text.count(place) == 1
    extra = f'{place}    if (!strcmp(funcname, "default_outputfile")) g(0x90);\n'
    (trojan / "tcc/tccgen.c").write_text(text.replace(place, extra))
    other = tcc_by("gcc", trojan, tmp_path / "other")
    honest = next_generation(tcc, source, tmp_path / "1")
    found = next_generation(other, source, tmp_path / "2")
    assert [name for name, content in honest.items() if found[name] != content] == ["tcc.o", "tcc"]


# They need arguments, print floating numbers, or use macros that only tcc and glibc's headers have.
OTHER_RESULT = {
    "23_type_coercion",
    "46_grep",
    "70_floating_point_literals",
    "86_memory-model",
    "109_float_struct_calling",
    "110_average",
    "112_backtrace",
}


def test_tests_of_tcc_pass_compiled_by_cc(cc: Path, source: Path, tmp_path: Path) -> None:
    passed: list[str] = []
    failed: list[str] = []
    for path in sorted((source / "tcc/tests/tests2").glob("[0-9]*_*.c")):
        program = tmp_path / path.stem
        files = [path, *sorted(toolchain.LIBC.glob("*.c"))]
        made = subprocess.run(
            [cc, HEADERS[1], "-o", program, *files], stderr=subprocess.PIPE, check=False, timeout=60
        )
        if made.returncode == 1:
            assert made.stderr.count(b"\n") == 1
            continue  # much of it is GNU C, which cc refuses
        arguments = [f"arg{number}" for number in range(1, 6)] if path.stem == "31_args" else []
        done = subprocess.run(
            [f"./{path.stem}", *arguments],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60,
        )
        same = done.stdout.split() == path.with_suffix(".expect").read_bytes().split()
        (passed if same else failed).append(path.stem)
    assert set(failed) <= OTHER_RESULT
    assert len(passed) >= 54
