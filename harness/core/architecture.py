"""What differs by the architecture of kernels: `kernels/architectures/*.toml`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Literal

from harness.core import paths, toml
from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = "x86"


class Qemu(toml.Table, frozen=True):
    """QEMU's machine for an architecture."""

    program: str
    package: str  # of Debian, or several
    machine: tuple[str, ...]  # words on its command line
    disk: Literal["ide", "virtio"]  # what the machine's own disk hangs on
    cpu: str = ""  # its processor model; "" for QEMU's default
    exits: bool = False  # whether QEMU ends without an event when the guest powers off


class Architecture(toml.Table, frozen=True):
    """An architecture."""

    summary: str
    elf: tuple[int, ...]  # machine numbers of ELF programs that its kernels run
    triplets: tuple[str, ...]  # names of Debian's directories of libraries, below lib and usr/lib
    target: str  # what GCC calls the processor, the first part of `gcc -dumpmachine`
    qemu: Qemu
    given: Mapping[str, str]  # what recipes for several architectures have in braces


def architecture_files() -> dict[str, Path]:
    """The architectures that there are, by name; the default one first."""
    files = sorted((paths.data_root() / "kernels/architectures").glob("*.toml"))
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem != DEFAULT)}


@cache
def load_architecture(name: str) -> Architecture:
    """Read what is known of an architecture."""
    known = architecture_files()
    if name not in known:
        message = f"there is no architecture {name!r}"
        raise ConfigError(message, hint=f"known are: {', '.join(known)}")
    return toml.load(known[name], Architecture)


def of_debian(name: str) -> str:
    """The architecture of kernels in Debian packages for an architecture of Debian; x86 has two."""
    return name if name in architecture_files() else DEFAULT
