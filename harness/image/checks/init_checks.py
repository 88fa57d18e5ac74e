"""Checks that the kernel can start an image's init.

The file, its interpreter, its libraries and their width are looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from harness.core.architecture import DEFAULT, load_architecture
from harness.core.errors import ConfigError
from harness.formats import elf
from harness.formats.tree import Entry, Member, MemberTree
from harness.image.checks.kernel_checks import Finding, Seed

# e_machine (elf.h).
_MACHINES = {
    3: "i386",
    62: "x86-64",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390",
    40: "arm",
    183: "aarch64",
    243: "riscv",
}
_PROGRAM_MAX = 256 << 20  # no program is larger, and it is read into memory
_HEAD = 4096
_CONSOLE = (5, 1)
_NESTED_MAX = 5  # scripts that run each other; the kernel gives up then (fs/exec.c)
_PROGRAM_TYPES = (b"\2\0", b"\3\0")  # ET_EXEC, ET_DYN


def check_init(
    tree: MemberTree, kernel: Seed | None, init: str, *, root: str = "", wanted: bool = True
) -> Iterator[Finding]:
    """Check that the kernel can start an init, with everything that it needs.

    `root` is the directory of the tree that is the root, and `init` a path below it. One that is not `wanted`
    may be missing: an image may be made for data only.
    """
    init = init.lstrip("/")
    shown = f"/{init} of {root}" if root else f"/{init}"
    entries = _Entries(tree, root)
    member = entries.find(init)
    if not wanted and (member.is_directory if member else init not in entries):
        yield Finding(None, f"there is no {shown}: a kernel starts nothing of it by itself")
        return
    if member is None:
        there = tree.members.get(f"{root}/{init}" if root else init)
        leads = f" (it is a link to {there.target}, which leads nowhere)" if there and there.target else ""
        yield Finding(False, f"there is no {shown}{leads}", "add it to the image, or name another one")
        return
    if not member.is_file:
        yield Finding(False, f"{shown} is no file", "it must be a program or a script")
        return
    bad = [*_check_file(shown, member, entries.head(init)), *_check_script(entries, shown, init, kernel)]
    if bad:
        yield from bad
        return
    try:
        needed = elf.needed_files(entries, [init])
    except ConfigError as error:
        yield Finding(False, f"{shown} cannot start: {error.message}", error.hint or "put a sound file in")
        return
    machines = {path: machine for path in needed if (machine := _machine(entries.head(path)))}
    bad = [*_check_machines(shown, machines, kernel), *_check_loader(entries, shown, init, needed)]
    yield from bad
    if not bad:
        others = len(needed) - 1
        also = f", with {others} more file{'s' * (others > 1)} that it needs" if others else ""
        yield Finding(True, f"{shown} is there{also}")


def _check_file(shown: str, member: Member, head: bytes) -> Iterator[Finding]:
    if not member.mode & 0o111:
        hint = "give it mode 0o755: the kernel only says `Failed to execute`, and starts the next shell"
        yield Finding(False, f"{shown} is not executable (mode {member.mode & 0o7777:04o})", hint)
    if head.startswith(elf.MAGIC) and head[16:18] not in _PROGRAM_TYPES:
        yield Finding(False, f"{shown} is an ELF file, but no program", "link it: it is an object or a core")
    if not head.startswith((b"#!", elf.MAGIC)):
        hint = "it must be an ELF program, or begin with #! and the path of its interpreter"
        yield Finding(False, f"{shown} is neither a program nor a script", hint)


def _check_script(entries: _Entries, shown: str, init: str, kernel: Seed | None) -> Iterator[Finding]:
    """Check the interpreters of a script, which may be scripts themselves."""
    if not entries.head(init).startswith(b"#!"):
        return
    if kernel and kernel.lacks("BINFMT_SCRIPT"):
        name = kernel.image.path.name
        message = f"{shown} is a script, and kernel {name} is built without BINFMT_SCRIPT"
        yield Finding(False, message, "use a program as init")
    at, name = init, shown
    for _ in range(_NESTED_MAX):
        path = elf.script_line(entries.head(at))[0]
        if path.endswith("\r"):
            what = f"{name} has the line ends of Windows: the kernel looks for {path!r}"
            yield Finding(False, what, f"convert it: sed -i 's/\\r$//' {at}")
            return
        if not path:
            yield Finding(
                False, f"{name} has a #! line without an interpreter", "name one, such as #!/bin/sh"
            )
            return
        interpreter = entries.find(path)
        if interpreter is None:
            return  # what is missing is said with all else that is
        head = entries.head(path)
        if not interpreter.mode & 0o111:
            yield Finding(False, f"{path}, which runs {name}, is not executable", "give it mode 0o755")
        if not head.startswith((b"#!", elf.MAGIC)):
            what = "neither a program nor a script" if head else "empty"
            hint = "put the real one in; the kernel only says `error -8`"
            yield Finding(False, f"{path}, which runs {name}, is {what}", hint)
        if not head.startswith(b"#!"):
            return
        at, name = path, path
    yield Finding(False, f"{shown} is run by more than {_NESTED_MAX} scripts", "use a program as interpreter")


def _check_loader(entries: _Entries, shown: str, init: str, needed: Sequence[str]) -> Iterator[Finding]:
    """Check that what loads and links programs is a program: the kernel starts it first."""
    for path in needed:
        loader = elf.loader(entries[path]) if entries.head(path).startswith(elf.MAGIC) else ""
        if loader and not entries.head(loader).startswith(elf.MAGIC):
            user = shown if path == init else f"/{path}"
            yield Finding(False, f"{loader}, which loads {user}, is no ELF program", "put the real one in")


def _check_machines(
    shown: str, machines: Mapping[str, tuple[int, int]], kernel: Seed | None
) -> Iterator[Finding]:
    """Check the width and architecture of all programs and libraries that init needs."""
    wanted = kernel.image.architecture if kernel else DEFAULT
    for path, (bits, machine) in machines.items():
        named = shown if shown == f"/{path}" else f"/{path}, which {shown} needs,"
        if machine not in load_architecture(wanted).elf:
            good = False if kernel else None
            yield Finding(good, f"{named} is for {_name(machine)}", f"build it for {wanted}")
        elif kernel and bits == 64 and kernel.image.bits == 32:
            yield Finding(
                False,
                f"{named} is 64-bit, and kernel {kernel.image.path.name} is 32-bit: it cannot execute it",
                "use a 64-bit kernel, or a 32-bit init",
            )
        elif kernel and bits == 32 and kernel.image.bits == 64 and _no_ia32(kernel):
            yield Finding(
                False,
                f"{named} is 32-bit, and kernel {kernel.image.path.name} is built without IA32_EMULATION",
                "use a 32-bit kernel, or one with IA32_EMULATION",
            )
        else:
            continue
        if kernel:
            return  # the others have the same fault
        break
    if len(set(machines.values())) > 1:
        words = ", ".join(f"/{path} ({_name(machine)})" for path, (_, machine) in machines.items())
        what = f"what {shown} needs is for different processors: {words}"
        yield Finding(False, what, "take all of it for one")


def _name(machine: int) -> str:
    return _MACHINES.get(machine, f"machine {machine}")


def _no_ia32(kernel: Seed) -> bool:
    return kernel.lacks("IA32_EMULATION") or (
        kernel.config is not None and "IA32_EMULATION_DEFAULT_DISABLED" in kernel.config
    )


def _machine(head: bytes) -> tuple[int, int] | None:
    """Width and e_machine of an ELF file."""
    bits = elf.elf_class(head)
    if bits is None or len(head) < 20:
        return None
    (machine,) = struct.unpack_from("<H", head, 18)
    return bits, machine


def check_console(tree: MemberTree) -> Finding:
    """Check the device that becomes init's standard input and output."""
    console = tree.members.get("dev/console")
    if console is None:
        # usr/default_cpio_list; a kernel that is built with an archive of its own may have none.
        return Finding(None, "there is no /dev/console: init is mute unless the kernel's own archive has one")
    if not console.is_device or console.device != _CONSOLE:
        return Finding(False, "/dev/console is not the character device 5, 1", "init would be mute")
    return Finding(True, "/dev/console is there")


class _Entries(Mapping[str, Entry]):
    """The files below a root as `elf` wants them; the content of those that are asked for is read."""

    def __init__(self, tree: MemberTree, root: str) -> None:
        self._tree = tree
        self._prefix = f"{root}/" if root else ""
        self._entries: dict[str, Entry] = {}

    def find(self, path: str) -> Member | None:
        """Return what a path leads to."""
        return self._tree.find(f"{self._prefix}{path}")

    def head(self, path: str) -> bytes:
        """The first bytes of the file that a path leads to."""
        member = self.find(path)
        return next(member.blocks(), b"")[:_HEAD] if member else b""

    def __getitem__(self, path: str) -> Entry:
        if path not in self._entries:
            member = self._tree.members[f"{self._prefix}{path}"]
            if member.size > _PROGRAM_MAX:
                raise ConfigError(f"{path} is too large for a program: {member.size} bytes")
            content = b"".join(member.blocks())
            self._entries[path] = Entry(path, member.mode, content, member.target, member.device)
        return self._entries[path]

    def __contains__(self, path: object) -> bool:
        return f"{self._prefix}{path}" in self._tree.members

    def __iter__(self) -> Iterator[str]:
        known = (path for path in self._tree.members if path.startswith(self._prefix))
        return (path.removeprefix(self._prefix) for path in known)

    def __len__(self) -> int:
        return sum(1 for _ in self)
