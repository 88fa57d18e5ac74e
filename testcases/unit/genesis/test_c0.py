"""What the C0 compiler in Python refuses, and the shape of what it makes."""

from __future__ import annotations

from io import BytesIO

import pytest
from elftools.elf.elffile import ELFFile

from testcases.unit.genesis import c0

MAIN = "int main(int argc, char **argv) { return 0; }"


def test_executable() -> None:
    elf = ELFFile(BytesIO(c0.compile_sources([("a.c", b"char room[5000];"), ("b.c", MAIN.encode())])))
    (segment,) = elf.iter_segments()
    assert elf.header.e_machine == "EM_386"
    assert segment.header.p_vaddr == c0.BASE
    assert segment.header.p_memsz == c0.BSS - c0.BASE + 5000


REFUSED = [
    ("", "a.c:1: no function main"),
    ("int main(int a) { return 0; }", "no function main"),
    ("int x;\nint x;", "a.c:2: x is defined twice"),
    ("int f() { return 0; }\nint f() { return 0; }", "a.c:2: f is defined twice"),
    ("int f(int a);\nint f() { return 0; }", "a.c:2: f is declared differently"),
    ("int f(int a);\nint g() { return f(1); }" + MAIN, "f is not defined"),
    ("int f(int a);\nint g() { return f(); }", "a.c:2: expected 1 arguments"),
    ("int f(int a);\nint g() { return f(1, 2); }", "a.c:2: expected 1 arguments"),
    ("int f() { return y; }", "y is not declared"),
    ("int f() { int x; { int y; } return y; }", "y is not declared"),
    ("int f(int a) { int a; }", "a is defined twice"),
    ("int x = 1 / 0;", "bad division"),
    ("int x = y;", "y is not declared"),
    ("int x[];", "bad array size"),
    ("int x[-1];", "bad array size"),
    ("int x[2] = { 1, 2, 3 };", "too many values"),
    ("int x[2] = { 1, 2", "expected }"),
    ("int f() { 1 = 2; }", "expected a variable"),
    ("int f() { f() ++; }", "expected a variable"),
    ("int f() { return &1; }", "expected a variable"),
    ("int x[2]; int f() { x = 0; }", "expected a variable"),
    ("int f(int x) { return *x; }", "expected a pointer"),
    ("int f(void *x) { return *x; }", "void pointer"),
    ("int f(void *x) { return x[1]; }", "void pointer"),
    ("int f(int *x) { return x * 2; }", "does not take pointers"),
    ("int f(int *x) { return -x; }", "does not take pointers"),
    ("int f(int *x, char *y) { return x - y; }", "pointers of different types"),
    ("struct s { int a; }; int f(int *x) { return x->a; }", "no such member"),
    ("struct s { int a; }; int f(struct s *x) { return x->b; }", "no such member"),
    ("struct s { int a; }; int f(struct s *x) { return *x; }", "a struct is used as a value"),
    ("struct s { int a; }; struct t { int a; };", "a is defined twice"),
    ("struct s { int a; }; struct s { int b; };", "s is defined twice"),
    ("struct s; int x = sizeof(struct s);", "size is not known"),
    ("struct s { int a; } x;", "expected ;"),
    ("struct s; struct s x;", "cannot have this type"),
    ("void f() { } int g() { return f(); }", "a void is used as a value"),
    ("void f() { return 1; }", "returns no value"),
    ("int f() { return; }", "expected an expression"),
    ("int f() { break; }", "not in a loop"),
    ("int f() { switch (1) { case 1: continue; } }", "not in a loop"),
    ("int f() { switch (1) { case 1: case 1: ; } }", "occurs twice"),
    ("int f() { switch (1) { default: default: ; } }", "occurs twice"),
    ("int f() { switch (1) { { case 1: ; } } }", "expected an expression"),
    ("int f() { case 1: ; }", "expected an expression"),
    ("int f(int x) { switch (1) { case x: ; } }", "expected a constant"),
    ("int f() { goto a; }", "expected an expression"),
    ("int f() { int goto; }", "expected a name"),
    ("int f() { int x[3]; }", "expected ;"),
    ("int f() { for (int i = 0; i < 2; i++) ; }", "expected an expression"),
    ("unsigned x;", "expected a type"),
    ("static int x;", "expected a type"),
    ("int f(int a, ...);", "unexpected byte 46"),
    ("int f(int, int);\nint f(int a, int) { }", "a.c:2: a parameter has no name"),
    ("int f(int a,int b,int c,int d,int e,int f,int g,int h,int i);", "too many parameters"),
    ("#define X", "unexpected byte 35"),
    ("int x = 08;", "bad number"),
    ("int x = 1u;", "bad number"),
    ("int x = 2147483648;", "number too large"),
    ("int x = 0x100000000;", "number too large"),
    ("int x = 'ab';", "bad character constant"),
    ("int x = '';", "bad character constant"),
    ("int x = 'a", "bad character constant"),
    ('char x[] = "a\n";', "a.c:1: unterminated string"),
    (r'char x[] = "\q";', "bad escape"),
    (r'char x[] = "\x123";', "bad escape"),
    (r'char x[] = "\400";', "bad escape"),
    ("int x;\n/* never closed", "a.c:2: unterminated comment"),
    ("int f() {", "a.c:1: expected an expression"),
    ("int f() { if (1", "expected )"),
    ("int f() { return " + "(" * 10000, "nested too deeply"),
    ("int f() { return " + "-" * 10000, "nested too deeply"),
    ("int f() { " + "{" * 10000, "nested too deeply"),
    ("int x = " + "(" * 10000, "nested too deeply"),
    ("int f(int x) { x = " + "x = " * 10000, "nested too deeply"),
    ("int f(int x) { x = " + "x ? x : " * 10000, "nested too deeply"),
    ("int " + "*" * 10000 + "x;", "too many levels of pointers"),
    ("int x;\0", "unexpected byte 0"),
]


@pytest.mark.parametrize(("source", "message"), REFUSED)
def test_refused(source: str, message: str) -> None:
    with pytest.raises(c0.C0Error, match=r"^a\.c:[0-9]+: ") as caught:
        c0.compile_sources([("a.c", source.encode("latin-1"))])
    assert message in str(caught.value)
