"""A stage0-posix in miniature: the layout of the real one, with programs of a few system calls, written here.

Its seed is an i386 program that says what kaem would say, makes its one product, and ends. It runs under
chroot, under bwrap, and as PID 1 of a guest. What boots without Linux is a boot sector of ours, which says
the same through the BIOS.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.progress import Quiet
from harness.payload import chosen as payload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.recipe import Recipe

BASE = 0x08048000
HEADERS = 52 + 32  # of the file, and of its one segment (System V ABI)
EXIT, READ, WRITE, OPEN, CHDIR, PAUSE = 1, 3, 4, 5, 12, 29  # numbers of system calls (Linux, i386)
CREATE = 0o1101  # O_WRONLY, O_CREAT, O_TRUNC
Call = tuple[int, "bytes | int | None", "bytes | int", int]  # number and three arguments
BLOCK = 22  # bytes of one call below
PRODUCT = b"a program that stage0 has made\n"
SAYS = (
    " +> ./bootstrap-seeds/POSIX/x86/kaem-optional-seed ./x86/mescc-tools-seed-kaem.kaem \n"
    " +> ./x86/artifact/kaem-0 ./x86/mescc-tools-mini-kaem.kaem \n"
    " +> ./x86/bin/kaem --verbose --strict --file ./x86/kaem.run \n"
    "x86/bin/mini: OK\n"
    " +> exec ./x86/bin/kaem --verbose --strict --file ./after.kaem \n"
)
SUBMODULES = (
    "bootstrap-seeds",
    "M2libc",
    "M2-Planet",
    "M2-Mesoplanet",
    "mescc-tools",
    "mescc-tools-extra",
    "x86",
)


def chosen(
    name: str, tree: Path | None, arch: str, builder: Path | None, *, instrument: bool
) -> tuple[Recipe, Mapping[str, str]]:
    """What the command line means by these options: recipe, and the products' hashes."""
    wanted = payload.PayloadRequest(tree=tree, mode="qemu", arch=arch, builder=builder, instrument=instrument)
    made = payload.chosen(name, wanted, Path("cache"), Quiet())
    return made.recipe, made.expected


def elf(calls: list[Call]) -> bytes:
    """An i386 program of system calls: number and three arguments.

    Bytes are put behind the code and stand for their address; None for what the last call gave.
    """
    code, data = b"", b""
    behind = BASE + HEADERS + BLOCK * len(calls)

    def value(argument: bytes | int) -> bytes:
        nonlocal data
        if isinstance(argument, int):
            return struct.pack("<I", argument)
        address = behind + len(data)
        data += argument
        return struct.pack("<I", address)

    for number, first, second, third in calls:
        # mov %eax,%ebx and nops, or mov $first,%ebx; then %ecx, %edx, %eax; int $0x80
        code += b"\x89\xc3\x90\x90\x90" if first is None else b"\xbb" + value(first)
        code += b"\xb9" + value(second) + b"\xba" + value(third)
        code += b"\xb8" + value(number) + b"\xcd\x80"
    size = HEADERS + len(code) + len(data)
    ident = b"\x7fELF\1\1\1" + bytes(9)
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, BASE + HEADERS, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, BASE, BASE, size, size, 7, 4096)
    return ident + header + segment + code + data


def seed(*, says: str = SAYS, product: bytes = PRODUCT, status: int = 0, hangs: bool = False) -> bytes:
    """The seed: speaks, makes x86/bin/mini, and ends with a status, or never."""
    text = says.encode()
    calls: list[Call] = [
        (WRITE, 1, text, len(text)),
        (OPEN, b"/x86/bin/mini\0", CREATE, 0o755),
        (WRITE, None, product, len(product)),
    ]
    calls += [(PAUSE, 0, 0, 0)] if hangs else []
    return elf([*calls, (EXIT, status, 0, 0)])


def tree(directory: Path, program: bytes) -> Path:
    """A checkout of it, with git."""
    files = {
        "kaem.x86": b"./bootstrap-seeds/POSIX/x86/kaem-optional-seed ./x86/mescc-tools-seed-kaem.kaem\n",
        "after.kaem": b'echo "Replace me if you wish to do more"\n',
        "x86.answers": f"{hashlib.sha256(PRODUCT).hexdigest()}  x86/bin/mini\n".encode(),
        "x86/mescc-tools-full-kaem.kaem": b"# ./bin/not-this\n./artifact/M2 -o ./bin/mini\n",
        "x86/hex0_x86.hex0": b"# nothing\n",
        "x86/kaem-minimal.hex0": b"; the seed\n" + program.hex(" ").encode() + b"\n",
        "x86/bin/placeholder": b"",
        "bootstrap-seeds/POSIX/x86/kaem-optional-seed": program,
        "Legacy_pieces/old thing": b"has a blank in its name\n",
        **{f"{name}/README": b"here\n" for name in SUBMODULES},
    }
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (directory / "bootstrap-seeds/POSIX/x86/kaem-optional-seed").chmod(0o755)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "mini"]):
        identity = ["-c", "user.name=mini", "-c", "user.email=mini@example.org"]
        subprocess.run(["git", "-C", str(directory), *identity, *words], check=True, capture_output=True)
    return directory


def loader() -> bytes:
    """Hex0 of a boot sector of ours: it prints what lies between the bytes 1 and 2 of the next 16 sectors."""
    code = bytes.fromhex(
        "fa 31c0 8ed8 8ec0 8ed0 bc007c fb"  # cli; segments 0; stack below; sti
        "b81002 b90200 30f6 bb007e cd13"  # ax=0210: read 16 sectors; cx=0002; dh=0; bx=7e00; int 13h
        "be007e"  # mov si,7e00
        "ac 3c01 75fb"  # lodsb until it is 1
        "ac 3c02 7408"  # lodsb; 2 is the end
        "b40e 31db cd10 ebf3"  # print it: int 10h, ah=0e
        "f4 ebfd"  # wait for ever; with interrupts, for SeaBIOS sends the last letters at the next tick
    )
    sector = code.ljust(510, b"\0") + b"\x55\xaa"
    return b"# prints a text\n" + sector.hex(" ", 16).encode() + b" ; 55 aa\n"


def builder(directory: Path, says: str) -> Path:
    """What stands in the place of a checkout of builder-hex0."""
    directory.mkdir()
    (directory / "builder-hex0-x86-stage1.hex0").write_bytes(loader())
    text = says.replace("\n", "\r\n").encode()
    (directory / "builder-hex0-x86-stage2.hex0").write_bytes(b"\1" + text + b"\2")
    return directory
