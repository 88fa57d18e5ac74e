"""Finds the files of a tree that a program needs to run.

They are read from the files; nothing is executed. Follows what the kernel does (`#!` lines, PT_INTERP) and
what the dynamic loader does (DT_NEEDED, see ld.so(8)), except that a DT_RPATH counts only for the file that
has it. What a program opens by itself while it runs (dlopen, locales, NSS) is not seen: name it as one more
program.
"""

from __future__ import annotations

import io
import os
import posixpath
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.architecture import architecture_files, load_architecture
from harness.core.errors import ConfigError
from harness.formats.names import LINKS_MAX, followed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.formats.tree import Entry


@cache
def _library_directories() -> tuple[str, ...]:
    """The loader's default directories in Debian; a library of the wrong architecture is passed over."""
    triplets = [triplet for name in architecture_files() for triplet in load_architecture(name).triplets]
    own = (f"{top}/{triplet}" for triplet in triplets for top in ("lib", "usr/lib"))
    return (*own, "lib", "usr/lib", "lib64", "usr/lib64")


# Where `#!/usr/bin/env name` finds its program.
_PROGRAM_DIRECTORIES = ("usr/sbin", "usr/bin", "sbin", "bin")
MAGIC = b"\x7fELF"
# As the kernel (BINPRM_BUF_SIZE): a longer `#!` line is cut.
_SCRIPT_LINE = 256


def needed_files(tree: Mapping[str, Entry], programs: Sequence[str]) -> list[str]:
    """Find programs of a tree with everything in it that they need to run.

    Args:
        tree: Entries by path, such as unpacked Debian packages; directories may be missing.
        programs: Paths in the tree, with or without a leading slash; scripts and data files too.

    Returns:
        Sorted paths: the files, interpreters, libraries, and every symbolic link on the way to one of
        them, directory links as well. Directories themselves are not listed.

    Raises:
        ConfigError: A program, interpreter or library that the tree lacks (the message says who needs
            it), links in a circle, a damaged ELF file.
    """
    search = _Search(tree)
    for program in programs:
        search.add(program)
    return sorted(search.found)


def elf_class(head: bytes) -> int | None:
    """Return 32 or 64 for an ELF file, given by 5 or more first bytes; None for anything else."""
    return {b"\x7fELF\x01": 32, b"\x7fELF\x02": 64}.get(head[:5])


def loader(entry: Entry) -> str:
    """The program that loads an ELF program (PT_INTERP), "" for none; errors are those of `needed_files`."""
    needs = _Search({entry.path: entry}).needs(entry.path)
    return needs.programs[0] if needs.machine and needs.programs else ""


def damage() -> tuple[type[Exception], ...]:
    """What pyelftools raises for a damaged file."""
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError

    return ELFError, ConstructError, AssertionError, ValueError, OverflowError, LookupError


class _Needs(msgspec.Struct, frozen=True):
    """What a file says that it needs."""

    # architecture and width of an ELF file, which its libraries must share; None for others
    machine: tuple[str, int] | None = None
    # the interpreter of a script or the loader of a program: a path, or a name to search
    programs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()  # DT_NEEDED
    run_path: tuple[str, ...] = ()  # directories of DT_RUNPATH, or of DT_RPATH where there is none


class _Search:
    """Files found so far, and the links that lead to them."""

    def __init__(self, tree: Mapping[str, Entry]) -> None:
        self._tree = tree
        self._needs: dict[str, _Needs] = {}
        self.found: set[str] = set()

    def add(self, program: str) -> None:
        """Add a program and everything that it needs."""
        queue = [(program, "")]
        while queue:
            path, needed_by = queue.pop()
            file, links = self._resolve(path)
            if not self._is_file(file):
                raise _missing(path, needed_by, file)
            if file not in self.found:
                queue += [(each, file) for each in self._needed_paths(file)]
            self.found.update(links, [file])

    def _needed_paths(self, file: str) -> list[str]:
        """Return what the kernel and the loader look up for a file."""
        needs = self.needs(file)
        programs = [
            name if "/" in name else self._search(name, _PROGRAM_DIRECTORIES, file) for name in needs.programs
        ]
        origin = posixpath.dirname(file)
        run_path = [d.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", origin) for d in needs.run_path]
        directories = (*run_path, *_library_directories())
        libraries = [
            name if "/" in name else self._search(name, directories, file, machine=needs.machine)
            for name in needs.libraries
        ]
        return programs + libraries

    def _search(
        self, name: str, directories: Iterable[str], needed_by: str, *, machine: tuple[str, int] | None = None
    ) -> str:
        """Return the first path that leads to a file, for a library to one of this machine."""
        for directory in directories:
            path = posixpath.join(directory, name)
            file, _ = self._resolve(path)
            if self._is_file(file) and (machine is None or self.needs(file).machine == machine):
                return path
        raise _missing(f"{name} ({machine[1]}-bit)" if machine else name, needed_by)

    def _is_file(self, path: str) -> bool:
        return path in self._tree and self._tree[path].is_file

    def _resolve(self, path: str) -> tuple[str, list[str]]:
        """Where a path leads, and the links on the way."""
        at, links = followed(path, self._target)
        if len(links) > LINKS_MAX:
            raise ConfigError(f"{path} leads through more than {LINKS_MAX} links, such as {links[-1]}")
        return at, links

    def _target(self, path: str) -> str:
        entry = self._tree.get(path)
        return entry.target if entry and entry.is_symlink else ""

    def needs(self, file: str) -> _Needs:
        """Return what a file needs; each is read once."""
        if file not in self._needs:
            content = self._tree[file].content
            try:
                with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as stream:
                    self._needs[file] = _read_needs(stream)
            except OSError as error:
                raise ConfigError(f"cannot read {content!s}, content of {file}: {error.strerror}") from error
            except damage() as error:
                raise ConfigError(f"{file} is a damaged ELF file: {error}") from error
        return self._needs[file]


def _missing(path: str, needed_by: str, leads_to: str = "") -> ConfigError:
    message = f"{needed_by} needs {path}, which" if needed_by else path
    message += " is not in the tree"
    if leads_to and leads_to != path.lstrip("/"):
        message += f" (it leads to {leads_to})"
    return ConfigError(message, hint="add the package that ships it, and check the spelling")


def _read_needs(stream: BinaryIO) -> _Needs:
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    head = stream.read(_SCRIPT_LINE)
    if head.startswith(b"#!"):
        return _script_needs(head)
    if elf_class(head) is None:
        return _Needs()
    elf = ELFFile(stream)
    programs: list[str] = []
    found: dict[str, list[str]] = {"DT_NEEDED": [], "DT_RPATH": [], "DT_RUNPATH": []}
    size = stream.seek(0, os.SEEK_END)
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_LOAD" and segment["p_offset"] + segment["p_filesz"] > size:
            raise ValueError(f"it is cut off: a segment ends behind its {size} bytes")
        if isinstance(segment, InterpSegment):
            programs.append(segment.get_interp_name())
        elif isinstance(segment, DynamicSegment):
            for tag in segment.iter_tags():
                if tag.entry.d_tag in found:
                    # pyelftools calls the string after the tag: needed, rpath, runpath
                    found[tag.entry.d_tag].append(getattr(tag, tag.entry.d_tag[3:].lower()))
    run_path = ":".join(found["DT_RUNPATH"] or found["DT_RPATH"]).split(":")
    return _Needs(
        machine=(str(elf["e_machine"]), elf.elfclass),
        programs=tuple(programs),
        libraries=tuple(found["DT_NEEDED"]),
        run_path=tuple(filter(None, run_path)),
    )


def script_line(head: bytes) -> tuple[str, str, str]:
    """The interpreter in the `#!` line of a script as the kernel reads it, a separator, and its arguments.

    Only blanks and tabs separate words, and the interpreter must end within 256 bytes (fs/binfmt_script.c). A
    carriage return is a part of the name.
    """
    line, newline, _ = head[2:_SCRIPT_LINE].partition(b"\n")
    words = line.replace(b"\t", b" ").strip(b" ").partition(b" ")
    if not newline and not words[1] and len(head) >= _SCRIPT_LINE:
        return "", "", ""
    return os.fsdecode(words[0].partition(b"\0")[0]), " ", os.fsdecode(words[2])


def _script_needs(head: bytes) -> _Needs:
    """Take a `#!` line apart; `env` is followed to the program that it starts."""
    interpreter, _, rest = script_line(head)
    if not interpreter:
        return _Needs()
    words = [interpreter, *rest.split()]
    programs = words[:1]
    if posixpath.basename(words[0]) == "env":
        programs += [word for word in words[1:] if not word.startswith("-") and "=" not in word][:1]
    return _Needs(programs=tuple(programs))
