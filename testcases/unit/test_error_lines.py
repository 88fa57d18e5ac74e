"""Lines of programs that look like errors, and those that do not."""

from __future__ import annotations

import pytest

from harness.stages.error_lines import looks_like_error

ERRORS = """\
error[E0432]: unresolved import `foo`
ld: cannot find -lz
ld.lld: error: undefined symbol: foo
make: *** No rule to make target 'foo.c', needed by 'foo.o'.  Stop.
CMake Error at CMakeLists.txt:1 (project):
Can't locate Foo.pm in @INC (you may need to install the Foo module) at x line 1.
ImportError: No module named zlib: not found
no code for module (foo)
1 out of 3 hunks FAILED -- saving rejects to file Makefile.rej
xz: (stdin): File format not recognized
gzip: stdin: unexpected end of file
m4: cannot open `foo.m4': No such file or directory
Segmentation fault (core dumped)
"""
OTHERS = """\
checking for strerror in -lcposix... not found
  CC      lib/error.o
a.c:1:2: warning: 'fatal' defined but not used
make[1]: [all] Error 1 (ignored)
0 errors, 3 warnings
gcc -c -o error-handling.o error-handling.c
"""


@pytest.mark.parametrize("line", ERRORS.splitlines())
def test_an_error(line: str) -> None:
    assert looks_like_error(line)


@pytest.mark.parametrize("line", OTHERS.splitlines())
def test_no_error(line: str) -> None:
    assert not looks_like_error(line)
