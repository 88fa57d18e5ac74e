"""Random programs by csmith do the same compiled by cc and by gcc."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from testcases.system.genesis import toolchain

RUNTIME = Path("/usr/include/csmith")
# Before our library's headers: those that only these programs ask for.
INCLUDE = Path(__file__).with_name("include")

pytestmark = pytest.mark.skipif(
    not (shutil.which("gcc") and shutil.which("csmith") and (RUNTIME / "csmith.h").exists()),
    reason="gcc, csmith or its headers are not installed (Debian packages gcc, csmith, libcsmith-dev)",
)

# Structs that are packed and built-in functions are GNU C.
OPTIONS = ["--no-packed-struct", "--no-builtins"]
PATIENCE = 5.0  # seconds for a program; csmith does not know whether one ends


def compare(seed: int, cc: Path, libc_by_gcc: Path, directory: Path) -> bool:
    """Whether the program of that seed ended; asserts that it then did the same for both compilers."""
    program = directory / f"{seed}.c"
    with program.open("wb") as file:
        subprocess.run(
            ["csmith", "--seed", str(seed), *OPTIONS],
            cwd=directory,  # it leaves a file there
            stdout=file,
            check=True,
        )
    theirs, ours = directory / f"{seed}-gcc", directory / f"{seed}-cc"
    headers = [f"-I{INCLUDE}", *toolchain.HEADERS, f"-I{RUNTIME}"]
    subprocess.run([*toolchain.GCC, *headers, "-o", theirs, program, libc_by_gcc], check=True)
    try:
        expected = subprocess.run([theirs], capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return False
    toolchain.cc(cc, ours, [program], f"-I{RUNTIME}", f"-I{INCLUDE}")
    found = subprocess.run([ours], capture_output=True, timeout=PATIENCE * 20, check=False)
    assert (found.returncode, found.stdout) == (expected.returncode, expected.stdout), f"csmith --seed {seed}"
    return True


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_random_program(seed: int, cc: Path, libc_by_gcc: Path, tmp_path: Path) -> None:
    if not compare(seed, cc, libc_by_gcc, tmp_path):
        pytest.skip("this program does not end")


@pytest.mark.thorough
@pytest.mark.parametrize("first", range(21, 621, 20))
def test_many_random_programs(first: int, cc: Path, libc_by_gcc: Path, tmp_path: Path) -> None:
    ended = [compare(seed, cc, libc_by_gcc, tmp_path) for seed in range(first, first + 20)]
    assert sum(ended) >= 10
