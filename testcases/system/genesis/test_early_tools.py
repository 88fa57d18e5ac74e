"""The programs before the C compiler of genesis: the same bits as others make, and what they refuse."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcases.system.genesis.mutants import mutants
from testcases.unit.genesis import assembler, c0, chain, listing

if TYPE_CHECKING:
    from pathlib import Path

MAIN = b"int main(int a, int b) { return 0; }"


def attempt(root: Path, tool: str, source: bytes, where: Path) -> tuple[int, str, bytes | None]:
    """Exit status, message and output of `asm` or `mc` for a source."""
    (where / "source").write_bytes(source)
    output = where / "output"
    output.unlink(missing_ok=True)
    done = chain.run(root, tool, str(where / "source"), str(output))
    message = done.stderr.decode("latin-1").removeprefix(f"{where}/source:")
    return done.returncode, message, output.read_bytes() if output.exists() else None


def test_same_bits(made: Path) -> None:
    for name, source in {
        "seed": "00-seed/seed.hex",
        "run": "01-run/run.hex",
        "asm": "02-asm/asm.hex",
    }.items():
        assert (made / name).read_bytes() == listing.binary((made / source).read_bytes())
    assert (made / "mc").read_bytes() == assembler.binary((made / "03-mc/mc.asm").read_bytes())
    assert (made / "init").read_bytes() == (made / "seed").read_bytes()


STRINGS = re.compile(r"\b(lods|stos|movs|cmps|scas)\b.*?(byte|dword|word) .*")
REGISTERS = frozenset(
    [size + name for name in ("ax", "cx", "dx", "bx", "si", "di", "sp", "bp") for size in ("", "e")]
    + ["al", "cl", "dl", "bl", "ah", "ch", "dh", "bh", "byte", "ptr"]
)


def disassemble(code: bytes, where: Path) -> list[str]:
    """Instructions as objdump names them, in our listings' spelling."""
    (where / "code").write_bytes(code)
    options = ["-D", "-bbinary", "-mi386", "-Mintel", "--insn-width=16"]
    done = subprocess.run(["objdump", *options, where / "code"], capture_output=True, text=True, check=True)
    found = []
    for line in done.stdout.splitlines():
        if line.count("\t") >= 2:
            text = line.split("\t")[2].lower().strip()
            text = STRINGS.sub(lambda match: match[1] + match[2][0], text)
            text = re.sub(r"dword ptr |(?<=byte ptr )ds:|\*1(?=\])", "", text)
            text = text.replace("repz", "repe").replace("repnz", "repne")
            found.append(re.sub(r"ds:(0x[0-9a-f]+)", r"[\1]", text))
    return found


def same(said: str, found: str) -> bool:
    """Whether our comment and objdump name one instruction; a name of ours may stand for any number."""
    if "byte ptr" not in said:
        found = found.replace("byte ptr ", "")
    ours, theirs = (re.findall(r"[a-z_0-9]+|[^ ]", text) for text in (said.replace("dword ptr ", ""), found))
    for a, b in zip(ours[1:], theirs[1:], strict=False):
        if re.fullmatch("[a-z_]+[a-z_0-9]*", a) and a not in REGISTERS and a != b:
            if not b.startswith("0x"):
                return False
        elif a[0].isdigit():
            base = 8 if re.fullmatch("0[0-7]+", a) else 0
            if not b[0].isdigit() or int(a, base) & 0xFFFFFFFF != int(b, 0) & 0xFFFFFFFF:
                return False
        elif a != b:
            return False
    return ours[0] == theirs[0] and len(ours) == len(theirs)


@pytest.mark.parametrize("name", ["00-seed/seed.hex", "01-run/run.hex", "02-asm/asm.hex"])
def test_comments_tell_the_instructions(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    code = b""
    for line in (chain.GENESIS / name).read_text().partition("start:\n")[2].splitlines():
        digits, _, comment = line.partition("#")
        if digits.strip() and not comment.startswith((' "', " the end")):
            said += [part.strip() for part in comment.partition("#")[0].split(";") if part.strip()]
            code += bytes.fromhex(digits)
    found = disassemble(code, tmp_path)
    assert len(said) > 70
    for ours, theirs in zip(said, found, strict=True):
        assert same(ours, theirs) or "- out" in ours, f"{ours}: {theirs}"


def test_words_are_the_instructions_they_name(tmp_path: Path) -> None:
    """GNU as makes of each word's name, with numbers put in, the word's bytes and these numbers."""
    source = (chain.GENESIS / "03-mc/mc.asm").read_text().partition("# Words: signs")[0]
    words = dict(re.findall(r"=([^ ]+) ([0-9A-F]+)", source))
    lines = [".intel_syntax noprefix", ".text"]
    for word in words:
        lines += [".balign 32, 0xCC", instruction(word)]
    (tmp_path / "words.s").write_text("\n".join([*lines, ".balign 32, 0xCC", ""]))
    subprocess.run(["as", "--32", "-mnaked-reg", "-o", "words.o", "words.s"], cwd=tmp_path, check=True)
    command = ["objcopy", "-O", "binary", "-j", ".text", "words.o", "words"]
    subprocess.run(command, cwd=tmp_path, check=True)
    code = (tmp_path / "words").read_bytes()
    for number, (word, digits) in enumerate(words.items()):
        made = code[32 * number : 32 * number + 32].rstrip(b"\xcc")
        assert re.fullmatch(f"{digits}(|11|55|55667788|FCFFFFFF)(|22|44332211)", made.hex().upper()), word
    assert len(words) > 100


def instruction(word: str) -> str:
    """A word of mc.asm as an instruction for GNU as."""
    mnemonic, _, operands = word.partition("_")
    if mnemonic in {"rep", "repe", "repne"}:
        return word.replace("_", " ")
    if (mnemonic[0] == "j" and not operands) or mnemonic == "call":
        return f"{mnemonic} elsewhere"
    of_byte = mnemonic in {"cmpb", "movb", "orb"}
    small = of_byte or mnemonic == "shl" or operands.rstrip(",") in {"al", "ah", "cl", "dl"}
    if operands.endswith(","):
        operands += "0x22" if small else "0x11223344"
    operands = operands.replace("[]", "[0x88776655]").replace("+]", "+0x55]")
    size = "byte ptr " if of_byte else "dword ptr "
    beside = re.sub(r"\[.*\]", "", operands)
    if "[" in operands and not re.search(r"[a-d][lhx]|[sd]i|[sb]p", beside):
        operands = operands.replace("[", size + "[")
    return f"{mnemonic.removesuffix('b') if of_byte else mnemonic} {operands}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", ""),
        (b"00 :x @x >x", ""),
        (b"\n4G", "2: bad item"),
        (b"4", "1: bad item"),
        (b"x", "1: unknown name"),
        (b":x x", "1: unknown name"),
        (b"=x 00 @x", "1: unknown name"),
        (b"@x", "1: unknown name"),
        (b">", "1: unknown name"),
        (b":", "1: bad item"),
        (b":x\n:x", "2: name defined twice"),
        (b":x =x 00", "1: name defined twice"),
        (b"=x", "1: bad item"),
        (b"=x\n00", "1: bad item"),
        (b"=x y", "1: bad item"),
        (b"=x 0", "1: bad item"),
        (b'"abc', "1: bad item"),
        (b'"abc\n"', "1: bad item"),
        (b"%", "1: bad item"),
        (b"%-", "1: bad item"),
        (b"%1a", "1: bad item"),
        (b"%2147483648", "1: bad item"),
        (b"%99999999999999999999", "1: bad item"),
        (b"".join(b":%d " % number for number in range(4097)), "1: too large"),
        (b"=x " + b"00" * 50000 + b"\n" + b"x " * 50, "2: too large"),
        (b"x" * 100000, "1: unknown name"),
        (b"0" * 100000, ""),
        (b"#" * 1100000, "0: missing or too large"),
        (b"\xff", "1: unknown name"),
    ],
)
def test_assembler_refuses(made: Path, tmp_path: Path, source: bytes, message: str) -> None:
    status, said, output = attempt(made, "asm", source, tmp_path)
    if message:
        assert (status, said, output) == (1, f"{message}\n", None)
        with pytest.raises(assembler.AssemblerError, match=f"^{message}$"):
            assembler.binary(source)
    else:
        assert (status, output) == (0, assembler.binary(source))


ITEMS = st.sampled_from(
    ["00", "7F45", "w", "v", "@a", ">b", "@b", ">a", "%12", "%-3", '"a b#"', "# c", "\n", "@c", "x", "5", ":"]
)


@given(st.lists(ITEMS, max_size=15), st.sampled_from(["", ":a", "=q 00", "=w 00"]))
def test_assembler_agrees(
    made: Path, tmp_path_factory: pytest.TempPathFactory, items: list[str], more: str
) -> None:
    source = "\n".join(["=w C3 =v 0102", ":a", *items, ":b", more]).encode()
    status, said, output = attempt(made, "asm", source, tmp_path_factory.getbasetemp())
    try:
        expected = assembler.binary(source)
    except assembler.AssemblerError as error:
        wanted: tuple[int, str, bytes | None] = (1, f"{error}\n", None)
    else:
        wanted = (0, "", expected)
    assert (status, said, output) == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "1: no function main"),
        (b"int x; int x;", "1: the name is declared twice"),
        (b"int f() { int x; int x; }", "1: the name is declared twice"),
        (b"int f(int a) { int a; }", "1: the name is declared twice"),
        (b"int f() { } int f() { }", "1: the name is declared twice"),
        (b"int f(int a); int f() { }", "1: the name is declared twice"),
        (b"int f();\nint g() { return f(); }" + MAIN, "2: a function is not defined"),
        (b"int f() { return x; }", "1: the name is not declared"),
        (b"int f() { { int x; } return x; }", "1: the name is not declared"),
        (b"int f() { return f(1); }", "1: wrong number of arguments"),
        (b"int f(int a) { return f(); }", "1: wrong number of arguments"),
        (b"int f(int a,int b,int c,int d,int e,int f,int g,int h,int i);", "1: too many parameters"),
        (b"int f() { 1 = 2; }", "1: expected a variable"),
        (b"int x[3]; int f() { x = 2; }", "1: expected a variable"),
        (b"int x; int f() { x[1] = 2; }", "1: expected an array or pointer"),
        (b"int f(char *p) { return p + 1; }", "1: expected an integer"),
        (b"int f(char *p) { return -p; }", "1: expected an integer"),
        (b"int f(char p) { }", "1: unexpected item"),
        (b"char x;", "1: unexpected item"),
        (b"void f() { }", "1: unexpected item"),
        (b"int for;", "1: unexpected item"),
        (b"int f() { for (;;) ; }", "1: unexpected item"),
        (b"int f(int a) { a(1)++; }", "1: unexpected item"),
        (b"int f(int a) { ++a; }", "1: unexpected item"),
        (b"int f(int *a) { a++; }", "1: expected a variable"),
        (b"int f(int *a) { a[1]++; }", "1: unexpected item"),
        (b"int f(int a) { for (a = 1; a < 2;) ; }", "1: unexpected item"),
        (b"int f(int a) { for (; a < 2, a; a++) ; }", "1: unexpected item"),
        (b"int f(int a) { return a--a; }", "1: unexpected item"),
        (b"int f(int a) { a += 1; }", "1: unexpected item"),
        (b"int f(int a) { return a ? 1 : 2; }", "1: unexpected item"),
        (b"int f(int *a) { return *a; }", "1: unexpected item"),
        (b"int f() { return 1 }", "1: unexpected item"),
        (b"int f() { return (1; }", "1: unexpected item"),
        (b"int f() {", "1: unexpected item"),
        (b"int f() { if", "1: unexpected item"),
        (b"int x[0];", "1: bad array size"),
        (b"int x[99999999];", "1: bad array size"),
        (b"int x[16777216]; " * 0 + b"".join(b"int x%d[16777216];" % n for n in range(20)), "1: too large"),
        (b"int f() { return 010; }", "1: bad number"),
        (b"int f() { return 0x1; }", "1: bad number"),
        (b"int f() { return 1a; }", "1: bad number"),
        (b"int f() { return 2147483648; }", "1: bad number"),
        (b"int f() { return 'ab'; }", "1: bad character or text"),
        (b"int f() { return ''; }", "1: bad character or text"),
        (b"int f() { return '\n'; }", "1: bad character or text"),
        (b"int f() { return '\\0'; }", "1: bad character or text"),
        (b'int f() { return "ab', "1: bad character or text"),
        (b'int f() { return "ab\n"; }', "1: bad character or text"),
        (b"int f() { return " + b"(" * 100000, "1: nested too deeply"),
        (b"int f() { return " + b"!" * 100000, "1: nested too deeply"),
        (b"int f() { " + b"{" * 100000, "1: nested too deeply"),
        (b"int x; int f() { x" + b"=x" * 100000, "1: nested too deeply"),
        (b"".join(b"int x%d;\n" % number for number in range(5000)), "4064: too large"),
        (b"int f() { " + (b"!" * 400 + b"1;") * 2000, "1: too large"),
        (b"int f(int a) { return a @ 1; }", "1: unexpected item"),
        (b"int\0x;", "1: unexpected item"),
        (b"int x; \2", "1: unexpected item"),
        (b"int x; \x1f", "1: unexpected item"),
        (b"int " + b"x" * 100000 + b";", "1: no function main"),
        (b"/" * 1100000, "0: missing or too large"),
    ],
)
def test_small_compiler_refuses(made: Path, tmp_path: Path, source: bytes, message: str) -> None:
    status, said, output = attempt(made, "mc", source, tmp_path)
    assert (status, output) == (1, None)
    assert said.startswith(message)
    assert said.endswith("\n")


SMALL = b"""// All that mc knows
enum { A, B = 7, C };
int x;
int words[B];
char bytes[100];
int even(int n);
int odd(int n) { if (n == 0) return 0; else return even(n - 1); }
int even(int n) { if (n == 0) { return 1; } return odd(n - 1); }
int sum(int *p, char *q, int n) { int t = 0; while (n > 0) { n = n - 1; t = t + p[n] * q[n]; } return t; }
int put(char *s) { int n = 0; while (s[n]) n++; return syscall(4, 1, (int)s, n); }
int main(int argc, int *argv) {
    char *p = "a\\tb\\n\\\\\\"'";
    int *q;
    int i;
    { int i; i = 0; for (x = 0; x < 6; x++) i = i + x++; for (; i > 3; i = i - 1) ; x = i; }
    q = words; words[3] = q[1] = 5; bytes[3] = 200; bytes[1] = 'c';
    i = (1 + 2 * 3 - 4 / 2 % 3 << 2 >> 1 | 8 & 12 ^ 3) == 15 && -x < 0 || !x >= ~x;
    put(p); put(argv[0]);
    if (sum(words, bytes, 4) != 5 * 'c' - 280) return 1;
    return i + C + odd(7) * 16 + even(6) * 32 + (x <= 3) * 64 + (x > 3) * 128;
}
"""


def test_small_compiler(made: Path, tmp_path: Path) -> None:
    status, said, output = attempt(made, "mc", SMALL, tmp_path)
    assert (status, said) == (0, "")
    assert output == c0.compile_sources([("small.c", SMALL)])
    (made / "small").write_bytes(output)
    (made / "small").chmod(0o755)
    done = chain.run(made, "small")
    assert (done.returncode, done.stdout) == (1 + 8 + 16 + 32 + 64, b"a\tb\n\\\"'./small")


@pytest.mark.parametrize("seed", range(3))
def test_changed_programs(made: Path, tmp_path: Path, seed: int) -> None:
    """What mc takes is C0, and gives the bits that it gives as C0."""
    taken = 0
    for program in mutants(SMALL.decode(), 150, seed):
        status, said, output = attempt(made, "mc", program, tmp_path)
        assert said.count("\n") == status
        if status == 0:
            taken += 1
            assert output == c0.compile_sources([("a.c", program)]), program.decode("latin-1")
        else:
            assert (status, output) == (1, None)
    assert taken > 5


@pytest.mark.parametrize(
    ("script", "status", "stdout", "stderr"),
    [
        (b"", 0, b"", b""),
        (b"= a\n# b\n\n  \n= c", 0, b"= a\n  \n= c\n", b""),
        (b"asm  a\t b c", 1, b"asm  a\t b c\n", b"asm:0: usage: asm SOURCE OUTPUT\nscript:1: asm: exit status 1\n"),  # noqa: E501
        (b"\n./none x", 1, b"./none x\n", None),
        (b"crash", 1, b"crash\n", b"script:1: crash: ended by signal 11\n"),
        (b"a " * 256, 1, b"a " * 256 + b"\n", b"script:1: too many words\n"),
        (b"a" * 100000, 1, b"a" * 100000 + b"\n", None),
        (b"\n" * 1100000, 1, b"", b"script:0: the script is missing or too large\n"),
        (b"seven\n= not reached", 1, b"seven\n", b"script:1: seven: exit status 7\n"),
    ],
)  # fmt: skip
def test_runner(made: Path, script: bytes, status: int, stdout: bytes, stderr: bytes | None) -> None:
    for name, body in {"seven": "return 7;", "crash": "int *p; p = 0; return p[0];"}.items():
        image = c0.compile_sources([(name, f"int main(int a, int b) {{ {body} }}".encode())])
        (made / name).write_bytes(image)
        (made / name).chmod(0o755)
    (made / "script").write_bytes(script)
    done = chain.run(made, "run", "script")
    assert (done.returncode, done.stdout) == (status, stdout)
    if stderr is None:
        assert done.stderr.startswith(b"script:")
        assert b": the command cannot be executed\n" in done.stderr
        assert done.stderr.endswith(b": exit status 1\n")
    else:
        assert done.stderr == stderr


def test_runner_without_its_script(made: Path) -> None:
    done = chain.run(made, "run", "none")
    assert (done.returncode, done.stderr) == (1, b"none:0: the script is missing or too large\n")
