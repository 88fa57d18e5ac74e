"""The kernels of a bisection, by version."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.kernel.bzimage import inspect
from harness.kernel.catalogue import KernelLine, kernel_files, load_line, order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from harness.sources.debian import DebianSource


class Release(msgspec.Struct, frozen=True):
    """A kernel that can be tried."""

    name: str  # its release, such as "6.1.0-50-686"; that of its line where it does not come as a package
    version: str  # what it is sorted by
    line: str  # the kernel line that it is of


def releases(patterns: Sequence[str], debian: DebianSource) -> tuple[Release, ...]:
    """All kernels of these lines, the oldest first: of a line from Debian, all that its suite has."""
    from debian.debian_support import Version

    known = kernel_files()
    chosen: dict[str, None] = {}
    for pattern in patterns:
        fitting = [name for name in known if fnmatchcase(name, pattern)]
        if not fitting:
            raise ConfigError(f"there is no kernel line {pattern!r}", hint=f"known: {', '.join(known)}")
        chosen.update(dict.fromkeys(fitting))
    found: dict[str, Release] = {}
    for line in chosen:
        for release in _of_line(line, known[line], debian):
            found.setdefault(release.name, release)
    return tuple(sorted(found.values(), key=lambda release: (Version(release.version), release.name)))


def meant(text: str, among: Sequence[Release], option: str) -> Release:
    """The kernel that a person means: a release, the beginning of one, or the newest of a line."""
    exact = [release for release in among if release.name == text]
    begun = [release for release in among if re.match(rf"{re.escape(text)}(?![0-9])", release.name)]
    of_line = [release for release in among if release.line == text][-1:]
    fitting = exact or of_line or begun
    if len(fitting) != 1:
        problem = "several kernels are" if fitting else "no kernel is"
        listed = ", ".join(release.name for release in fitting or among)
        hint = f"{'take one of' if fitting else 'there are'}: {listed or 'none'}"
        raise ConfigError(f"{option} {text}: {problem} called so", hint=hint)
    return fitting[0]


def options_for(release: Release, role: str, directory: Path) -> tuple[str, ...]:
    """The options of `harness run` that take this kernel; what they name is written into `directory`."""
    option = "--second" if role == "second" else "--kernel"
    line = load_line(release.line)
    if line.debian is None:
        return option, release.line
    series = ".".join(release.name.split(".")[:2])
    path = directory / f"{release.name}.toml"
    rows = {
        "suite": line.debian.suite,
        "architecture": line.debian.architecture,
        "package": f"linux-image-{release.name}",
    }
    text = (
        f'summary = "Linux {release.name} of {line.debian.suite}"\nversion = "{series}"\nbits = {line.bits}\n'
    )
    text += "\n[debian]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows.items())
    path.write_text(text, encoding="utf-8")
    return option, str(path)


def _of_line(name: str, path: Path, debian: DebianSource) -> Iterable[Release]:
    line = load_line(name)
    if line.debian is not None:
        flavour = _flavour(line)
        for release in debian.kernels(line.debian.suite, line.debian.architecture):
            # "6.1.0-50-cloud-amd64" is not of the flavour "amd64".
            before = release.removesuffix(f"-{flavour}")
            if before != release and not re.search(r"-[a-z]", before):
                yield Release(release, release, name)
    elif line.file is not None:
        yield Release(name, inspect(path.parent / line.file.path).version, name)
    else:
        yield Release(name, order(name, debian).package.version, name)


def _flavour(line: KernelLine) -> str:
    """What stands behind the version in the names of a line's packages: "686" of "linux-image-686"."""
    package = line.debian.package if line.debian else ""
    return re.sub(r"^linux-image-(\d[^-]*-(\d+-)?)?", "", package)
