"""A kernel's source from its Debian package, unpacked once into the store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.core import programs
from harness.core.errors import ConfigError
from harness.kernel.toolchain import PLAIN

if TYPE_CHECKING:
    from pathlib import Path

    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package

# Part of the key: raise it when the same package is unpacked in another way.
_FORMAT = 1
# linux-source packages are for all architectures; this one's index is where they are looked up.
_INDEX = "amd64"
# 400 MB that no kernel for x86 needs: device trees, and register names of graphics cards. The rest of other
# architectures stays, because Kconfig reads files of theirs.
_LEFT_OUT = ["arch/*/boot/dts", "drivers/gpu/drm/amd/include"]


def resolve(suite: str, package: str, debian: DebianSource) -> Package:
    """The source package that a suite has by now, such as "linux-source-6.1"."""
    return debian.newest(suite, _INDEX, package)


def obtain(suite: str, package: Package, debian: DebianSource) -> Path:
    """Download and unpack a source package, or find it in the store; the directory is only read."""

    def build(directory: Path) -> None:
        root = debian.unpack(suite, _INDEX, [package])[package.name]
        archives = sorted((root / "usr/src").glob("linux-source-*.tar.*"))
        if not archives:
            hint = "the key build.package names a package such as linux-source-6.1"
            raise ConfigError(f"{package} has no kernel's source in usr/src", hint=hint)
        with debian.progress.task(f"unpacking {archives[0].name}"):
            unpack(archives[0], directory / "linux")

    entry = debian.store.get("kernel-source", {"format": _FORMAT, "package": package.sha256}, build)
    version_of(entry / "linux")  # that it is one
    return entry / "linux"


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a kernel's source archive, less what kernels for x86 do not need."""
    directory.mkdir()
    options = ["--extract", "--no-same-owner", "--strip-components=1", "--anchored", "--wildcards"]
    left_out = [f"--exclude=*/{pattern}" for pattern in _LEFT_OUT]
    command = ["tar", f"--file={archive}", *options, "--no-wildcards-match-slash", *left_out]
    programs.output(command, package="tar", environment=PLAIN, cwd=directory)


def version_of(source: Path) -> str:
    """The upstream version that a kernel's Makefile says."""
    try:
        head = (source / "Makefile").read_text("utf-8")[:2000]
        found = dict(re.findall(r"^([A-Z]+) =[ \t]*(.*)$", head, re.MULTILINE))
        return f"{found['VERSION']}.{found['PATCHLEVEL']}.{found['SUBLEVEL']}{found['EXTRAVERSION']}"
    except (OSError, KeyError) as error:
        raise ConfigError(f"there is no kernel's source in {source}: no Makefile says a version") from error
