"""cc compiles C as gcc does, and itself to a fixed point."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from testcases.system.genesis import toolchain

PROGRAMS = sorted(Path(__file__).with_name("programs").glob("*.c"))

pytestmark = [
    pytest.mark.xdist_group("genesis-cc"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_program_does_what_it_does_when_gcc_compiles_it(
    program: Path, cc: Path, libc_by_gcc: Path, tmp_path: Path
) -> None:
    toolchain.cc(cc, tmp_path / "ours", [program])
    theirs = ["-o", str(tmp_path / "theirs"), str(program), str(libc_by_gcc)]
    subprocess.run([*toolchain.GCC, *toolchain.HEADERS, *theirs], check=True)
    expected = toolchain.ran(tmp_path / "theirs")
    assert expected[0] >= 0, "gcc's program was killed"
    assert expected[1], "a program that prints nothing proves nothing"
    assert toolchain.ran(tmp_path / "ours") == expected


def test_cc_made_by_cc_is_the_same_whatever_made_it_first(first_cc: Path, cc: Path, tmp_path: Path) -> None:
    by_gcc = tmp_path / "cc-by-gcc"
    toolchain.gcc(by_gcc, [toolchain.CC / "whole.c"])
    for number, compiler in enumerate((cc, by_gcc)):
        output = tmp_path / f"cc-{number}"
        subprocess.run([compiler, "-o", output, toolchain.CC / "whole.c"], check=True)
        assert output.read_bytes() == cc.read_bytes()
    assert first_cc.read_bytes() != cc.read_bytes()


def test_files_are_one_program_with_private_names_and_macros(cc: Path, tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(
        "#define VALUE 1\nstruct s { int x; };\nstatic int hidden = 1;\nint shared[3];\nint get(void);\n"
        "struct s s = { VALUE };\nextern int late;\n"
        "int main(void) { int got = get(); return hidden * 100 + got + late + (shared[2] == 5) + s.x; }\n"
    )
    (tmp_path / "b.c").write_text(
        "#ifdef VALUE\n#error a macro of another file\n#endif\nstruct s { char *y; };\n"
        "static int hidden = 2;\nextern int shared[];\nint late = 40;\n"
        "int get(void) { shared[2] = 5; return hidden; }\n"
    )
    subprocess.run([cc, "-o", tmp_path / "out", tmp_path / "a.c", tmp_path / "b.c"], check=True)
    assert toolchain.ran(tmp_path / "out")[0] == 100 + 2 + 40 + 1 + 1


def test_options_define_macros_and_find_headers(cc: Path, tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include/found.h").write_text("int main(void) { return NUMBER + FLAG; }\n")
    (tmp_path / "a.c").write_text("#include <found.h>\n")
    options = ["-I", str(tmp_path / "include"), "-DNUMBER=41", "-D", "FLAG"]
    subprocess.run([cc, *options, "-o", tmp_path / "out", tmp_path / "a.c"], check=True)
    assert toolchain.ran(tmp_path / "out")[0] == 42


def test_a_header_is_read_again_behind_its_guard(cc: Path, tmp_path: Path) -> None:
    (tmp_path / "twice.h").write_text(
        "#ifndef TWICE_H\n#define TWICE_H\nint count;\n#endif\n#undef ADD\n#define ADD(name) name += STEP;\n"
    )
    (tmp_path / "a.c").write_text(
        '#define STEP 1\n#include "twice.h"\nint main(void) { ADD(count)\n#undef STEP\n#define STEP 10\n'
        '#include "twice.h"\nADD(count) return count; }\n'
    )
    subprocess.run([cc, "-o", tmp_path / "out", tmp_path / "a.c"], check=True)
    assert toolchain.ran(tmp_path / "out")[0] == 11
