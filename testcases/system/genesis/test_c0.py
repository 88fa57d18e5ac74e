"""The compiler of C0 of genesis: the same bits as the one in Python, and the meaning that gcc sees."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcases.system.genesis.mutants import mutants
from testcases.unit.genesis import c0, chain
from testcases.unit.genesis.test_c0 import MAIN, REFUSED

# A program that tries every part of C0
TEST = Path(__file__).with_name("c0-test.c")
SYSCALL = """
int syscall(int n, int a, int b, int c) {
    __asm__ volatile ("int $0x80" : "+a" (n) : "b" (a), "c" (b), "d" (c) : "memory");
    return n;
}
"""
SIGNS = ["+", "-", "*", "&", "|", "^", "==", "!=", "<", ">", "<=", ">=", "&&", "||"]
PRINT = """
int print(int n) {
    int i;
    char c;
    for (i = 28; i >= 0; i -= 4) { c = "0123456789abcdef"[n >> i & 15]; syscall(4, 1, (int)&c, 1); }
    return syscall(4, 1, (int)"\\n", 1);
}
"""


def compiled(root: Path, where: Path, *sources: bytes) -> tuple[int, str, bytes | None]:
    """Exit status, messages and output of `c0`."""
    names = [str(where / f"{number}.c") for number in range(len(sources))]
    for name, source in zip(names, sources, strict=True):
        (where / name).write_bytes(source)
    output = where / "output"
    output.unlink(missing_ok=True)
    done = chain.run(root, "c0", str(output), *names)
    message = done.stderr.decode("latin-1").removeprefix(f"{where}/")
    return done.returncode, message, output.read_bytes() if output.exists() else None


def by_gcc(where: Path, source: str) -> bytes:
    """What a program prints that gcc compiled."""
    (where / "gcc.c").write_text(SYSCALL + source)
    options = ["-m32", "-w", "-std=gnu89", "-fno-strict-aliasing", "-fwrapv", "-fno-builtin", "-O1"]
    subprocess.run(["gcc", *options, "-o", where / "by-gcc", where / "gcc.c"], check=True, timeout=60)
    return subprocess.run([where / "by-gcc"], check=True, capture_output=True, timeout=60).stdout


def test_compilers_agree_on_the_compiler(made: Path) -> None:
    source = (made / "04-c0/c0.c").read_bytes()
    image = (made / "c0").read_bytes()
    assert image == (made / "c0-first").read_bytes()
    assert image == c0.compile_sources([("c0.c", source)])


def test_own_test(made: Path, tmp_path: Path) -> None:
    source = TEST.read_text()
    status, said, output = compiled(made, tmp_path, source.encode())
    assert (status, said, output) == (0, "", c0.compile_sources([("test.c", source.encode())]))
    assert subprocess.run([tmp_path / "output"], check=True, capture_output=True).stdout == b"c0 works\n"
    assert by_gcc(tmp_path, source) == b"c0 works\n"


def test_several_files(made: Path, tmp_path: Path) -> None:
    sources = [b"int f(int a);  // no end of line", b"int f(int a) { return a; }", MAIN.encode()]
    status, _, output = compiled(made, tmp_path, *sources)
    assert (status, output) == (0, c0.compile_sources([("", source) for source in sources]))
    assert compiled(made, tmp_path, *sources, b"\n\nint f;")[:2] == (1, "3.c:3: f is defined twice\n")


@pytest.mark.parametrize(("source", "message"), REFUSED)
def test_refused(made: Path, tmp_path: Path, source: str, message: str) -> None:
    status, said, output = compiled(made, tmp_path, source.encode("latin-1"))
    assert (status, output) == (1, None)
    assert said.startswith("0.c:")
    assert message.removeprefix("a.c:") in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"int f() { return " + b"1?" * 100000, "nested too deeply"),
        (b"int x = " + b"1?1:" * 100000, "nested too deeply"),
        (b"int f() { " + b"if (1) " * 100000, "nested too deeply"),
        (b"int f() { " + b"if (1) ; else " * 100000, "nested too deeply"),
        (b"int f(int x) { switch (x) {" + b"".join(b"case %d:" % n for n in range(5000)), "too many cases"),
        (b"".join(b"int x%d;\n" % n for n in range(20000)), "too many names"),
        (b"int f() { int a; " + b"{ int a; " * 100000, "nested too deeply"),
        (b"char x[] = \"" + b"a" * 100000, "string too long"),
        (b"/" * 5000000, "the source is too large"),
        (b"char x[] = {" + b"1," * 700000, "the program is too large"),
        (b"int f() { " + b"f();" * 1000000, "the program is too large"),
        (b"".join(b"int y%d[134217728];" % n for n in range(20)), "too much memory"),
        (b"int " + b"x" * 100000, "expected ;"),
        (b"0" * 100000, "expected a type"),
    ],
)  # fmt: skip
def test_hostile(made: Path, tmp_path: Path, source: bytes, message: str) -> None:
    status, said, output = compiled(made, tmp_path, source)
    assert (status, output) == (1, None)
    assert message in said


def test_files_that_fail(made: Path, tmp_path: Path) -> None:
    assert compiled(made, tmp_path)[:2] == (1, "c0:0: usage: c0 OUTPUT SOURCE ...\n")
    done = chain.run(made, "c0", "out", "none.c")
    assert (done.returncode, done.stderr) == (1, b"none.c:0: cannot read the file\n")
    (tmp_path / "a.c").write_text(MAIN)
    done = chain.run(made, "c0", "none/out", str(tmp_path / "a.c"))
    assert done.returncode == 1
    assert done.stderr.endswith(b"cannot write the file\n")


class Generator:
    """Random C0 programs without undefined behaviour."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311

    def expression(self, depth: int) -> str:  # noqa: PLR0911 -- one for each form
        pick = self.random.randrange(14 if depth else 4)
        if pick < 2:
            return str(
                self.random.choice([0, 1, 2, 7, 255, 4096, 65535, 2147483647, self.random.randrange(9999)])
            )
        if pick < 4:
            return self.random.choice(
                ["a", "b", "c", "g", "p[1]", "(*q)", "s->m", "s->n", "v[2]", "v[a & 3]"]
            )
        deeper = [self.expression(depth - 1) for _ in range(3)]
        if pick < 8:
            sign = self.random.choice(
                ["+", "-", "*", "&", "|", "^", "==", "!=", "<", ">", "<=", ">=", "&&", "||"]
            )
            return f"({deeper[0]} {sign} {deeper[1]})" if pick < 7 else f"{deeper[0]} {sign} ({deeper[1]})"
        if pick == 8:
            return f"({deeper[0]} {self.random.choice(['/', '%'])} ((({deeper[1]}) & 1023) + 1))"
        if pick == 9:
            return f"({deeper[0]} {self.random.choice(['<<', '>>'])} (({deeper[1]}) & 31))"
        if pick == 10:
            return f"({deeper[0]} ? {deeper[1]} : {deeper[2]})"
        if pick == 11:
            return f"{self.random.choice('-~!')}({deeper[0]})"
        if pick == 12:
            return f"f({deeper[0]}, {deeper[1]})"
        return f"(char)({deeper[0]})"

    def statement(self, depth: int) -> str:  # noqa: PLR0911 -- one for each form
        target = self.random.choice(["a", "b", "c", "g", "p[1]", "(*q)", "s->m", "s->n", "v[2]", "v[b & 3]"])
        value = self.expression(3)
        pick = self.random.randrange(9 if depth else 4)
        if pick == 0:
            return f"{target} {self.random.choice(['+', '-', '*', '&', '|', '^'])}= {value};"
        if pick == 1:
            return self.random.choice(
                [f"{target}++;", f"--{target};", f"a = {target}--;", f"b = ++{target};"]
            )
        if pick < 4:
            return f"{target} = {value};"
        inner = "".join(self.statement(depth - 1) for _ in range(self.random.randrange(1, 4)))
        if pick == 4:
            return f"if ({value}) {{ {inner} }} else {{ {self.statement(depth - 1)} }}"
        if pick == 5:
            return f"for (i{depth} = 0; i{depth} < 4; i{depth}++) {{ {inner} if ({value}) continue; c++; }}"
        if pick == 6:
            return f"i{depth} = 3; while (i{depth}--) {{ {inner} if ({value}) break; }}"
        if pick == 7:
            return f"i{depth} = 3; do {{ {inner} }} while (--i{depth});"
        return f"switch ({value} & 3) {{ case 0: {inner} case 1: a += 3; break; default: b ^= 5; }}"

    def function(self, number: int) -> str:
        body = "".join(self.statement(2) for _ in range(4))
        return (
            f"int t{number}(int a, int b, char c) {{ int i1, i2; int *p = v, *q = &g; struct s *s = &box[0];"
            f"{body} print(a); print(b); print(c); print(g); print(v[2]); return print(s->m + s->n); }}\n"
        )

    def program(self, functions: int) -> str:
        calls = "".join(f"t{number}({number}, -{number * 7}, {number});" for number in range(functions))
        return (
            PRINT + "struct s { int m; char n; }; int g = 9; int v[4] = { 1, 2, 3 };"
            "int f(int a, int b) { return a * 3 - b; } struct s *box;\n"
            + "".join(self.function(number) for number in range(functions))
            + f"int main(int a, char **b) {{ box = (struct s *)(v + 1); {calls} return 0; }}"
        )


@pytest.mark.parametrize("seed", range(5))
def test_random_programs(made: Path, tmp_path: Path, seed: int) -> None:
    program = Generator(seed).program(12)
    status, said, output = compiled(made, tmp_path, program.encode())
    assert (status, said) == (0, "")
    assert output == c0.compile_sources([("a.c", program.encode())])
    (made / "random").write_bytes(output)
    (made / "random").chmod(0o755)
    assert chain.run(made, "random").stdout == by_gcc(tmp_path, program)


@given(st.integers(0, 2**32))
def test_same_bits(made: Path, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    program = Generator(seed).program(2).encode()
    status, _, output = compiled(made, tmp_path_factory.getbasetemp(), program)
    assert (status, output) == (0, c0.compile_sources([("a.c", program)]))


@pytest.mark.parametrize("seed", range(3))
def test_changed_programs(made: Path, tmp_path: Path, seed: int) -> None:
    """Both compilers refuse the same programs, and make the same of the others."""
    for program in mutants(TEST.read_text(), 40, seed):
        status, said, output = compiled(made, tmp_path, program)
        try:
            expected: bytes | None = c0.compile_sources([("a.c", program)])
        except c0.C0Error:
            expected = None
        assert (status, output) == (0 if expected else 1, expected), program.decode("latin-1")
        assert said.count("\n") == status
