"""cc refuses what it does not implement and what is wrong, with file and line, and survives hostile input."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("genesis-cc")


def message_of(cc: Path, directory: Path, source: bytes) -> str:
    """What cc says about a source that it must refuse, without the path of the directory."""
    path = directory / "a.c"
    path.write_bytes(source)
    done = subprocess.run([cc, "-o", directory / "out", path], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1, done
    assert not (directory / "out").exists()
    message = done.stderr.decode("ascii", "backslashreplace")
    assert message.count("\n") == 1
    return message.replace(f"{directory}/", "").rstrip("\n")


BODY = "int f(void) {{ {} }}"
REFUSED = {
    # not implemented
    "int f(int n) {\nint a[n]; return 0; }": "a.c:2: an integer constant expected",
    "struct s { int a; } s = { .a = 1 };": "a.c:1: designated initialisers are not implemented",
    "int a[2] = { [1] = 1 };": "a.c:1: designated initialisers are not implemented",
    "int *p = (int[]){ 1 };": "a.c:1: compound literals are not implemented",
    BODY.format("return ({ 1; });"): "a.c:1: statements in expressions are not implemented",
    BODY.format("void *p = &&l; l: return 0;"): "a.c:1: addresses of labels are not implemented",
    BODY.format("goto *0;"): "a.c:1: computed goto is not implemented",
    BODY.format('asm("nop");'): "a.c:1: asm is not implemented",
    BODY.format("switch (1LL) { case 1: ; }"): "a.c:1: switch over a 64-bit integer is not implemented",
    BODY.format("switch (1) { case 1 ... 2: ; }"): "a.c:1: ranges of cases are not implemented",
    BODY.format("return 1 ?: 2;"): "a.c:1: '?:' without a value is not implemented",
    "struct s { long long x : 3; };": "a.c:1: bit-fields of 64-bit types are not implemented",
    "int a = 'ab';": "a.c:1: a character constant of more than one character is not implemented",
    'int *p = L"x";': "a.c:1: wide characters are not implemented",
    "int a __attribute__((aligned(8)));": "a.c:1: attribute not implemented: aligned",
    "#pragma pack(1)\n": "a.c:1: directive not implemented: #pragma",
    "#line 5\n": "a.c:1: directive not implemented: #line",
    "double d = 0.1;": "a.c:1: a floating constant that is not exact in 64 bits is not implemented: 0.1",
    "double d = 0x1.8;": "a.c:1: floating constant not understood: 1.8",
    "double d = 0x1p-1080;": "a.c:1: floating constant out of range",
    "double d = 1.0 / 3;": "a.c:1: initialiser not constant",
    "int f(a) int a; { return a; }": "a.c:1: a parameter's type expected before 'a'",
    # wrong declarations
    "int a\nint b;": "a.c:2: ';' or ',' expected before 'int'",
    "int a; char *a;": "a.c:1: declared differently before: a",
    "int a = 1;\nint a = 2;": "a.c:2: defined twice: a",
    "int f(void) { return 0; }\n\nint f(void) { return 0; }": "a.c:3: defined twice: f",
    "int f(int); int f(char *);": "a.c:1: declared differently before: f",
    "static int f; int f;": "a.c:1: not static, and was so before: f",
    "int f; static int f;": "a.c:1: static, and was not so before: f",
    "struct s { int a; }; struct s { int b; };": "a.c:1: struct or union defined twice: s",
    "struct s { int a; }; union s u;": "a.c:1: tag of another kind: s",
    "struct s { int a; char a; };": "a.c:1: member declared twice: a",
    "struct s { int a : 33; };": "a.c:1: the width of this bit-field does not fit its type",
    "struct s { float a : 3; };": "a.c:1: a bit-field must be an integer",
    "struct s t;": "a.c: type not complete: t",
    "struct s { struct s inner; };": "a.c:1: the type of this member is not complete",
    "enum { A = 0x80000000 };": "a.c:1: value too large for an int: A",
    "enum e f;": "a.c:1: enum not defined: e",
    "enum { A, A };": "a.c:1: declared twice in one scope: A",
    "void v;": "a.c:1: an object cannot be void: v",
    "int f()[3];": "a.c:1: ';' or ',' expected before '['",
    "int (f())();": "a.c:1: a function cannot return this type",
    "int a[-1];": "a.c:1: an array cannot have a negative size",
    "int a[2][];": "a.c:1: the type of an array's elements is not complete",
    "int a[0x7fffffff];": "a.c: array too large",
    "unsigned float a;": "a.c:1: these type specifiers do not go together",
    "static extern int a;": "a.c:1: two storage classes in one declaration",
    "unknown a;": "a.c:1: a type expected before 'unknown'",
    'char a[2] = "abc";': "a.c:1: string longer than the array",
    "int a[2] = { 1, 2, 3 };": "a.c:1: '}' expected before '3'",
    "int a[2] = 1;": "a.c:1: '{' expected before '1'",
    "int x; int y = x;": "a.c:1: initialiser not constant",
    # wrong expressions and statements
    BODY.format("return b;"): "a.c:1: not declared: b",
    BODY.format("g();"): "a.c:1: not declared: g",
    BODY.format("return 1 + ;"): "a.c:1: an expression expected before ';'",
    BODY.format("return (1;"): "a.c:1: ')' expected before ';'",
    BODY.format("1 = 2;"): "a.c:1: an object that can be assigned to expected",
    BODY.format("f = 0;"): "a.c:1: an object that can be assigned to expected",
    BODY.format("int *p = 1;"): "a.c:1: a pointer expected",
    BODY.format("int *p; char **q = &p;"): "a.c:1: a pointer to another type expected",
    BODY.format("int *p; p * 2;"): "a.c:1: operation not defined for pointers",
    BODY.format("double d = 1; d % 2;"): "a.c:1: integers expected as operands",
    BODY.format("struct s { int a; } x; return x.b;"): "a.c:1: no such member: b",
    BODY.format("struct s { int a; } x; return x + 1;"): "a.c:1: numbers expected as operands",
    BODY.format("int a; return a->b;"): "a.c:1: a pointer expected before '->'",
    BODY.format("return f(1);").replace("void", "int a, int b"): "a.c:1: too few arguments",
    BODY.format("return f(1);"): "a.c:1: too many arguments",
    BODY.format("return 1(2);"): "a.c:1: a function expected before '('",
    BODY.format("struct s { int a : 2; } x; &x.a;"): "a.c:1: a bit-field has no address",
    BODY.format("return sizeof(void);"): "a.c:1: void has no size",
    BODY.format("break;"): "a.c:1: not in a loop or switch: break",
    BODY.format("case 1: ;"): "a.c:1: not in a switch",
    BODY.format("switch (1) { case 1: case 1: ; }"): "a.c:1: this case was before",
    BODY.format("goto nowhere;"): "a.c:1: label not given: nowhere",
    BODY.format("l: ; l: ;"): "a.c:1: label given twice: l",
    BODY.format("return;"): "a.c:1: a value expected behind 'return'",
    "void f(void) { return 1; }": "a.c:1: a function of type void cannot return a value",
    BODY.format("int a; int a;"): "a.c:1: declared twice in one scope: a",
    BODY.format("if 1) ;"): "a.c:1: '(' expected before '1'",
    BODY.format("do ; until (1);"): "a.c:1: 'while' expected before 'until'",
    BODY.format("a: }"): "a.c:1: an expression expected before '}'",
    "int a = 1 / 0;": "a.c:1: initialiser not constant",
    "int a = 09;": "a.c:1: digit not octal in 09",
    "int a = 12ab;": "a.c:1: number not understood: 12ab",
    "int a = 18446744073709551616;": "a.c:1: number too large",
    "double a = 1e;": "a.c:1: digits of an exponent expected",
    "int a = '\\q';": "a.c:1: escape sequence not known",
    "int a = '';": "a.c:1: empty character constant",
    "int a = @;": "a.c:1: an expression expected before '@'",
    # the preprocessor
    "\n#if 1\nint a;": "a.c:3: #endif expected before the end of the file",
    "#if 0\nint a;": "a.c:2: #endif expected before the end of the file",
    "#endif": "a.c:1: no #if belongs to this directive",
    "#if 1\n#else\n#else\n#endif": "a.c:3: #else was before",
    "#if (1\n#endif": "a.c:1: ')' expected before the end of the line",
    "#if 1.0\n#endif": "a.c:1: an integer expected in a condition",
    "#define f(a) a\nint b = f(1": "a.c:2: ')' expected behind the arguments of macro f",
    "#define f(a) a\nint b = f(1, 2);": "a.c:2: too many arguments for macro f",
    "#define f(a, b) a\nint b = f(1);": "a.c:2: too few arguments for macro f",
    "#define f(a, a) a": "a.c:1: parameter given twice: a",
    "#define f(a #a": "a.c:1: ',' or ')' expected behind a parameter",
    "#define a 1\n#define a 2": "a.c:2: macro defined differently before: a",
    "#define f(a) #b": "a.c:1: a parameter expected behind '#'",
    "#define f ## a": "a.c:1: '##' at the begin of a macro",
    "#define p(a, b) a ## b\nint x = p(+, 1);": "a.c:2: '##' does not give one token: +1",
    "#include <none.h>": "a.c:1: header not found: none.h",
    '#include "a.c"': "a.c:1: files included too deeply",
    "#include none": '"file" or <file> expected behind #include',
    "#error stop here": "a.c:1: #error stop here",
    "#frobnicate": "a.c:1: directive not implemented: #frobnicate",
    # the whole program
    "int a;": "cc: no function main",
    "int g(void); int main(void) { return g(); }": "cc: used and not defined: g",
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_is_wrong_is_said_with_file_and_line(source: str, cc: Path, tmp_path: Path) -> None:
    expected = REFUSED[source]
    message = message_of(cc, tmp_path, source.encode())
    assert expected.removeprefix("a.c: ") in message


DEEP = 100_000
HOSTILE = {
    "a string without end": (b'char *a = "' + b"x" * 1_000_000, "string not ended on its line"),
    "a comment without end": (b"int a; /*" + b"*" * 1_000_000, "comment not ended"),
    "a character without end": (b"int a = 'x", "character constant not ended on its line"),
    "parentheses": (b"int a = " + b"(" * DEEP, "nested too deeply"),
    "blocks": (b"int f(void) " + b"{" * DEEP, "nested too deeply"),
    "braces": (
        b"struct s { struct { struct { int a; } b; } c; } s = " + b"{" * DEEP,
        "an expression expected before '{'",
    ),
    "signs": (b"int a = " + b"- " * DEEP, "nested too deeply"),
    "casts": (b"int a = " + b"(int)" * DEEP, "nested too deeply"),
    "declarators": (b"int " + b"(" * DEEP, "nested too deeply"),
    "arrays": (b"int a" + b"[1]" * DEEP, "nested too deeply"),
    "structs": (b"struct {" * DEEP, "nested too deeply"),
    "questions": (b"int x; int a = " + b"x ? " * DEEP, "nested too deeply"),
    "assignments": (b"int f(int a) { " + b"a = " * DEEP, "nested too deeply"),
    "branches": (b"int f(int a) { " + b"if (a) " * DEEP, "nested too deeply"),
    "a long sum": (b"int f(int a) { return " + b"a + " * DEEP + b"a; }", "expression too complex"),
    "many arguments": (b"int f(); int g(void) { f(" + b"1, " * DEEP, "too many arguments"),
    "many parameters": (b"#define f(" + b",".join(b"a%d" % n for n in range(DEEP)), "too many parameters"),
    "many members": (b"struct s {" + b"".join(b"int a%d;" % n for n in range(DEEP)), "too many members"),
    "macro calls": (b"#define f(a) a\nint a = " + b"f(" * 2000 + b")" * 2000, "macros nested too deeply"),
    "conditions": (b"#if 1\n" * DEEP, "#endif expected before the end of the file"),
    "a condition": (b"#if " + b"(" * DEEP, "nested too deeply"),
    "a macro that doubles": (
        b"#define a0 1 + 1\n"
        + b"".join(b"#define a%d a%d + a%d\n" % (n, n - 1, n - 1) for n in range(1, 60))
        + b"int b = a59;",
        "",
    ),
    "a macro that grows": (b"#define f(a) a, a\nint b[] = { " + b"f(" * 60 + b"1" + b")" * 60 + b" };", ""),
    "many digits": (b"double a = 1." + b"1" * 100_000 + b";", "number too large"),
    "a large exponent": (b"double a = 1e99999999999;", "number too large"),
    "many labels": (b"int f(void) { " + b"if (f()) ; " * DEEP, "function too large"),
    "zeros": (b"int a;" + bytes(10), "a byte of zero in the source"),
    "noise": (bytes(range(128, 256)) * 100, "expected before '\\x80'"),
    "the end after a backslash": (b"int a \\", "expected before '\\'"),
    "the end in a directive": (b"#define", "a name expected behind #define"),
    "large arrays": (b"char a[900000000]; char b[900000000];", "too many static objects"),
    "large structs": (b"struct s { char a[100000000], b[100000000], c[100000000]; } s;", "struct too large"),
    "large frames": (b"int f(void) { char a[900000000]; char b[900000000]; }", "too many local variables"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_input_ends_in_an_error(case: str, cc: Path, tmp_path: Path) -> None:
    source, expected = HOSTILE[case]
    assert expected in message_of(cc, tmp_path, source)


def test_a_line_of_a_megabyte_is_compiled(cc: Path, tmp_path: Path) -> None:
    numbers = ", ".join(str(n % 100) for n in range(300_000))
    (tmp_path / "a.c").write_text(f"int a[] = {{ {numbers} }}; int main(void) {{ return a[299999]; }}")
    subprocess.run([cc, "-o", tmp_path / "out", tmp_path / "a.c"], check=True, timeout=60)
    assert subprocess.run([tmp_path / "out"], check=False).returncode == 99


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "cc: usage: cc [-I directory] [-D name[=value]] -o output file.c ..."),
        (["-o"], "cc: an argument expected behind -o"),
        (["-x"], "cc: option not known: -x"),
        (["-o", "out", "none.c"], "cc: cannot read none.c"),
    ],
)
def test_wrong_arguments(arguments: list[str], expected: str, cc: Path, tmp_path: Path) -> None:
    done = subprocess.run([cc, *arguments], capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.decode()) == (1, expected + "\n")


def test_an_output_that_cannot_be_written(cc: Path, tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int main(void) { return 0; }")
    (tmp_path / "out").mkdir()
    done = subprocess.run([cc, "-o", "out", "a.c"], capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.decode()) == (1, "cc: cannot write out\n")


def test_an_output_that_is_full_is_not_replaced(cc: Path, tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int main(void) { return 0; }")
    done = subprocess.run([cc, "-o", "/dev/full", "a.c"], capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.decode()) == (1, "cc: cannot write all of /dev/full\n")
    assert Path("/dev/full").is_char_device()
