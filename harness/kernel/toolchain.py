"""The host's toolchain for kernels, and the environment of a build."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Final

import msgspec

from harness.core import programs
from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The host's own PATH may have other compilers first, and other hosts others.
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
PLAIN: Final = {"PATH": PATH, "LC_ALL": "C"}
# Programs, and the Debian packages that have them. Documentation/process/changes.rst of the kernel, less what
# these kernels do not use.
PROGRAMS = {
    "bc": "bc",
    "bison": "bison",
    "flex": "flex",
    "gcc": "gcc",
    "ld": "binutils",
    "make": "make",
    "perl": "perl",
    "tar": "tar",
    "xz": "xz-utils",
}
# Headers, as some file that includes them, for the programs that are built on the way.
HEADERS = {"stdio.h": "libc6-dev", "gelf.h": "libelf-dev"}


class Toolchain(msgspec.Struct, frozen=True):
    """The programs that determine a kernel's bits."""

    compiler: str  # first line of `gcc --version`
    linker: str  # first line of `ld --version`
    ccache: bool  # whether compilations are looked up in ccache's cache first

    @property
    def cc(self) -> str:
        """The compiler's command, for make."""
        return "ccache gcc" if self.ccache else "gcc"


def look() -> Toolchain:
    """Find the toolchain of this host."""
    missing = {program: package for program, package in PROGRAMS.items() if not _has(program)}
    if "gcc" not in missing:
        missing |= {header: package for header, package in HEADERS.items() if not _compiles(header)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise ConfigError(
            f"building a kernel needs what is not installed: {', '.join(missing)}",
            hint=f"apt-get install --no-install-recommends {packages}, or `make setup-kernel` in a checkout",
        )
    target = _first_line("gcc", "-dumpmachine")
    if not re.match(r"(x86_64|i[3-6]86)-", target):
        message = f"the compiler of this host compiles for {target}, and kernels here are for x86"
        raise ConfigError(message, hint="build it on an x86 host; the store's entry can be copied")
    return Toolchain(
        compiler=_first_line("gcc", "--version"),
        linker=_first_line("ld", "--version"),
        ccache=_has("ccache"),
    )


def environment(source: Path, objects: Path, home: Path) -> Mapping[str, str]:
    """All that programs of a build see of their surroundings: nothing of the user, the time or the place.

    See Documentation/kbuild/reproducible-builds.rst of the kernel.

    Args:
        source: The kernel's source.
        objects: Where it is built.
        home: Directory above both, for ccache: below it, another place is no other input.
    """
    # Paths get into the kernel through __FILE__ of what is generated, and into debug information.
    mapped = f"-ffile-prefix-map={objects}=/objects -ffile-prefix-map={source}=/source"
    return {
        **PLAIN,
        "TZ": "UTC",
        "HOME": "/nonexistent",
        "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
        "KBUILD_BUILD_USER": "bootstrap",
        "KBUILD_BUILD_HOST": "harness",
        "KBUILD_BUILD_VERSION": "1",
        "KCFLAGS": mapped,
        "KAFLAGS": mapped,
        "SOURCE_DATE_EPOCH": "0",
        "CCACHE_DIR": str(home / "ccache"),
        "CCACHE_BASEDIR": str(home),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_DEPEND": "1",  # what is not in the cache costs no run of the preprocessor
        "CCACHE_MAXSIZE": "1G",
    }


def _has(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None


def _compiles(header: str) -> bool:
    command = ["gcc", "-E", "-x", "c", "-", "-o", "/dev/null"]
    return programs.call(command, text=f"#include <{header}>\n", environment=PLAIN).returncode == 0


def _first_line(*command: str) -> str:
    """The first line that a program prints."""
    return programs.output(command, environment=PLAIN).partition("\n")[0].strip()
