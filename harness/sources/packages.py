"""Debian packages as values, and the lock file that names exact ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


SOURCE = "source"  # in place of an architecture, as in the archive's own indexes


class SourceFile(msgspec.Struct, frozen=True):
    """One file of a source package."""

    name: str  # its name in the archive
    sha256: str  # from the signed index
    size: int  # in bytes


class Package(msgspec.Struct, frozen=True, omit_defaults=True):
    """One package of the archive, binary or source."""

    name: str  # its name
    version: str  # full Debian version, epoch included
    architecture: str  # its own architecture, "all" included; "source" for a source package
    sha256: str  # of the .deb file, or of a source package's .dsc file, from the signed index
    size: int  # of the same file, in bytes
    depends: str = ""  # the `Depends` field, as it stands
    files: tuple[SourceFile, ...] = ()  # the original tarballs of a source package

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def file_name(self) -> str:
        """What apt calls the downloaded file: the epoch's colon is escaped."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class Resolution(msgspec.Struct, frozen=True):
    """What a request for packages was resolved to."""

    suite: str  # suite of the archive
    architecture: str  # architecture that the request was resolved for
    request: tuple[str, ...]  # the names asked for
    closure: bool  # whether all that they depend on was asked for too
    packages: tuple[Package, ...]  # the answer, sorted by name

    def answers(self, other: Resolution) -> bool:
        """Whether this answers the same request as the other one."""
        return msgspec.structs.replace(self, packages=other.packages) == other


class Lock(msgspec.Struct, frozen=True):
    """A lock file: the resolutions of a build, to be repeated exactly."""

    resolutions: tuple[Resolution, ...]
    version: int = 1

    def to_json(self) -> str:
        """The file's text: stable order, one key a line, made to be committed and compared."""
        ordered = sorted(self.resolutions, key=lambda r: (r.suite, r.architecture, r.request))
        encoded = msgspec.json.encode(Lock(resolutions=tuple(ordered)))
        return msgspec.json.format(encoded, indent=1).decode() + "\n"


def read_lock(path: Path) -> Lock:
    """Read a lock file."""
    hint = "make one with `harness lock RECIPE -o FILE`"
    try:
        lock = msgspec.json.decode(path.read_bytes(), type=Lock)
    except OSError as error:
        raise ConfigError(f"cannot read the lock file {path}: {error.strerror}", hint=hint) from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path} is no lock file: {error}", hint=hint) from error
    if lock.version != 1:
        raise ConfigError(f"{path} is a lock file of version {lock.version}, not 1", hint=hint)
    return lock
