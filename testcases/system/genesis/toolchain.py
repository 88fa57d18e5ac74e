"""Builds and calls cc, the C compiler of images/genesis."""

from __future__ import annotations

import subprocess
from pathlib import Path

GENESIS = Path(__file__).parents[3] / "images/genesis"
CC = GENESIS / "05-cc"
LIBC = GENESIS / "06-libc"
# Files of cc in the order in which the first compiler reads them.
PARTS = sorted(CC.glob("[0-9]*.c"))

# What gcc needs beside a program of ours: the entry and the one function that cc and c0 have built in.
SHIM = """
int main(int, char **, char **);
void __start(int, char **, char **);
int syscall(int number, int a, int b, int c)
{
    int result;
    __asm__ volatile ("int $0x80" : "=a" (result) : "a" (number), "b" (a), "c" (b), "d" (c) : "memory");
    return result;
}
__asm__(".globl _start\\n"
        "_start: mov (%esp), %eax\\n lea 4(%esp), %ecx\\n lea 8(%esp,%eax,4), %edx\\n"
        "and $-16, %esp\\n sub $4, %esp\\n push %edx\\n push %ecx\\n push %eax\\n call entered\\n");
void entered(int argc, char **argv, char **environment)
{
#ifdef LIBC
    __start(argc, argv, environment);
#else
    syscall(1, main(argc, argv, environment), 0, 0);
#endif
}
#ifdef LIBC
__asm__(".globl setjmp\\n"
        "setjmp: mov 4(%esp), %ecx\\n mov (%esp), %edx\\n mov %ebp, (%ecx)\\n lea 4(%esp), %eax\\n"
        "mov %eax, 4(%ecx)\\n mov %edx, 8(%ecx)\\n mov %ebx, 12(%ecx)\\n mov %esi, 16(%ecx)\\n"
        "mov %edi, 20(%ecx)\\n xor %eax, %eax\\n ret\\n"
        ".globl longjmp\\n"
        "longjmp: mov 4(%esp), %ecx\\n mov 8(%esp), %eax\\n mov (%ecx), %ebp\\n mov 4(%ecx), %esp\\n"
        "mov 12(%ecx), %ebx\\n mov 16(%ecx), %esi\\n mov 20(%ecx), %edi\\n jmp *8(%ecx)\\n");
#endif
"""

# A host's compiler as one for i386 without any library.
GCC = (
    *("gcc", "-m32", "-O0", "-w", "-std=gnu99", "-static", "-nostdlib", "-ffreestanding"),
    *("-fno-pie", "-no-pie", "-fno-stack-protector", "-fno-strict-aliasing", "-fwrapv"),
)

# Options for our library's headers instead of the host's.
HEADERS = ("-nostdinc", f"-I{LIBC}/include")


def gcc(output: Path, sources: list[Path], *options: str) -> None:
    """Build i386 programs of ours with the host's gcc; `-DLIBC` adds what our library needs."""
    shim = output.with_suffix(".shim.c")
    shim.write_text(SHIM)
    subprocess.run([*GCC, *options, "-o", output, *sources, shim], check=True)


def cc(compiler: Path, output: Path, sources: list[Path], *options: str) -> None:
    """Build a program with cc and our library."""
    files = [*sources, *sorted(LIBC.glob("*.c"))]
    subprocess.run([compiler, *options, f"-I{LIBC}/include", "-o", output, *files], check=True, timeout=60)


def ran(program: Path, *arguments: str) -> tuple[int, bytes]:
    """Exit status and output of a program."""
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, timeout=60, check=False)
    return done.returncode, done.stdout
