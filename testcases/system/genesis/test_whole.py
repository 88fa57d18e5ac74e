"""The chain from the seed to tcc on musl makes what its sums say, and tcc passes its own tests."""

from __future__ import annotations

import subprocess
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import HarnessError
from testcases.system.genesis import whole
from testcases.unit.genesis import chain

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("genesis-whole")

HEADERS = [f"-Imusl/{name}" for name in ("arch/i386", "arch/generic", "gen", "include")]
LIBRARIES = [f"musl/lib/{name}" for name in ("libc.a", "libtcc1.a", "libc.a", "crtn.o")]
# Tests of tcc that need more than one command, bound checks, or what the makefile leaves out for i386.
NOT_TRIED = {
    *("34_array_assignment", "46_grep", "60_errors_and_warnings", "95_bitfields", "95_bitfields_ms"),
    *("96_nodata_wanted", "104_inline", "112_backtrace", "113_btdll", "114_bound_signal"),
}


@pytest.fixture(scope="module")
def root(harness_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the chain, with all parts run."""
    path = tmp_path_factory.mktemp("whole")
    try:
        whole.lay_out(path, harness_cache)
    except HarnessError as error:
        pytest.skip(f"the source packages tcc and musl cannot be had: {error.message}")
    for part in whole.PARTS:
        done = whole.run(path, part)
        assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return path


def test_every_sum_is_checked(root: Path) -> None:
    for name, made in whole.SUMS.items():
        lines = (root / name).read_text().splitlines()
        assert [line.split()[1] for line in lines] == list(made)
        assert f"sha256 -c {name}\n" in (root / PurePath(name).parent / "steps").read_text()


def test_generations_are_the_same(root: Path, cc: Path) -> None:
    assert (root / "cc").read_bytes() == (root / "cc-1").read_bytes() == cc.read_bytes()
    assert (root / "tcc-1").read_bytes() == (root / "tcc-2").read_bytes()
    assert (root / "tcc-5").read_bytes() == (root / "tcc-6").read_bytes()


def test_musl_consists_of_what_its_makefile_says(root: Path) -> None:
    musl = root / "musl"
    base = [*musl.glob("src/*/*.c"), *musl.glob("src/malloc/mallocng/*.c"), *musl.glob("compat/time32/*.c")]
    own = [path for path in musl.glob("src/*/i386/*") if path.suffix in {".c", ".s", ".S"}]
    left_out = {musl / "src/fenv/i386/fenv.s", *musl.glob("src/math/i386/*.c")}  # tcc cannot assemble these
    own = [path for path in own if path not in left_out]
    replaced = {path.parents[1] / path.stem for path in own}
    wanted = {path for path in base if path.with_suffix("") not in replaced and path.parent.name != "complex"}
    wanted |= set(own)
    wanted.remove(musl / "src/math/sqrtl.c")  # sqrtl.s is ours
    steps = (root / "09-musl/steps").read_text()
    listed = {musl / name.removeprefix("../") for name in (root / "09-musl/files").read_text().split()}
    apart = {
        musl / line.split()[-1].removeprefix("../")
        for line in steps.splitlines()
        if " -o src_" in line or " -o compat_" in line
    }
    assert listed | apart == wanted
    assert not listed & apart
    objects = (root / "09-musl/objects").read_text().split()
    assert len(objects) == len(set(objects)) == len(wanted) + 1


def test_tcc_passes_its_own_tests(root: Path, tmp_path: Path) -> None:
    sources = sorted((root / "tcc/tests/tests2").glob("[0-9]*_*.c"))
    tried = [path for path in sources if path.stem not in NOT_TRIED and path.with_suffix(".expect").exists()]
    failed = []
    for source in tried:
        program = tmp_path / source.stem
        ends = ["musl/lib/crt1.o", "musl/lib/crti.o", str(source.relative_to(root)), *LIBRARIES]
        options = ["-nostdinc", *HEADERS, "-Itcc/include", "-nostdlib", "-static", "-o", str(program)]
        made = subprocess.run(
            ["./tcc-6", *options, *ends],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        arguments = [f"arg{number}" for number in range(1, 6)] if source.stem == "31_args" else []
        done = subprocess.run(
            [f"./{source.stem}", *arguments],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=60,
        )
        said = (made.stdout + done.stdout).replace(b"tcc/tests/tests2/", b"")
        if said.split() != source.with_suffix(".expect").read_bytes().split():
            failed.append(source.stem)
    assert failed == []
    assert len(tried) > 90


def test_figures_of_the_documentation(root: Path) -> None:
    table = (chain.GENESIS.parents[1] / "docs/genesis.md").read_text()
    made = {"05-cc": "cc", "06-libc": "", "07-tools": "", "08-tcc": "tcc-2", "09-musl": "musl/lib/libc.a"}
    for folder, product in made.items():
        sources = [path for path in (chain.GENESIS / folder).rglob("*") if path.suffix in {".c", ".h", ".s"}]
        lines = sum(bool(line.strip()) for path in sources for line in path.read_text().splitlines())
        figures = [f"{lines:,}", *([f"{(root / product).stat().st_size:,}"] if product else [])]
        row = next(line for line in table.splitlines() if line.startswith(f"| [{folder}]"))
        assert row.split(" | ")[3 : 3 + len(figures)] == figures, row
