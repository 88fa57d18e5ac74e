"""Debian packages as values, and the lock file that names exact ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


SOURCE = "source"  # in place of an architecture, as in the archive's own indexes


class SourceFile(msgspec.Struct, frozen=True):
    """One file of a source package.

    Attributes:
        name: Its name in the archive.
        sha256: From the signed index.
        size: In bytes.
    """

    name: str
    sha256: str
    size: int


class Package(msgspec.Struct, frozen=True, omit_defaults=True):
    """One package of the archive, binary or source.

    Attributes:
        name: Its name.
        version: Full Debian version, epoch included.
        architecture: Its own architecture, "all" included; "source" for a source package.
        sha256: Of the .deb file, or of a source package's .dsc file, from the signed index.
        size: Of the same file, in bytes.
        depends: The `Depends` field, as it stands.
        files: The original tarballs of a source package.
    """

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    depends: str = ""
    files: tuple[SourceFile, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def file_name(self) -> str:
        """What apt calls the downloaded file: the epoch's colon is escaped."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class Resolution(msgspec.Struct, frozen=True):
    """What a request for packages was resolved to.

    Attributes:
        suite: Suite of the archive.
        architecture: Architecture that the request was resolved for.
        request: The names asked for.
        closure: Whether all that they depend on was asked for too.
        packages: The answer, sorted by name.
    """

    suite: str
    architecture: str
    request: tuple[str, ...]
    closure: bool
    packages: tuple[Package, ...]

    def answers(self, other: Resolution) -> bool:
        """Whether this answers the same request as the other one."""
        return (self.suite, self.architecture, self.request, self.closure) == (
            other.suite,
            other.architecture,
            other.request,
            other.closure,
        )


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
