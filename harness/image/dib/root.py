"""Removes the traces of the build from diskimage-builder's archive.

Members of the archive are sorted, have the time 0 and numeric owners, and device nodes are the usual ones,
not those of the builder's host.
"""

from __future__ import annotations

import copy
import hashlib
import os
import re
import stat
import tarfile
from io import BytesIO
from typing import IO, TYPE_CHECKING, Final

import msgspec
from debian.deb822 import Deb822

from harness.core import paths, toml
from harness.core.errors import InfraError
from harness.formats.names import matches, plain
from harness.formats.tar_reader import KINDS, open_tar
from harness.formats.tree import Written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_KEPT = {stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK}  # beside files
MADE_HERE: Final = "scripts of packages and elements"
_XATTR = "SCHILY.xattr."  # what GNU tar puts before the names of extended attributes

# shadow(5): the third field is the day of the last change; empty means that passwords do not age.
_PASSWORD_DAY = re.compile(rb"^([^:\n]*:[^:\n]*:)\d+:", re.MULTILINE)
_MERGED = re.compile(r"^(bin|sbin|lib\w*)/")  # directories that are links into usr


class _Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a root: patterns that are left out, and directories and device nodes that it gets."""

    volatile: tuple[str, ...]
    directories: dict[str, int]
    nodes: dict[str, tuple[int, int, int]]


class Installed(msgspec.Struct, frozen=True):
    """A package that is installed in a root."""

    name: str
    version: str
    architecture: str


class Root(msgspec.Struct, frozen=True):
    """What was kept."""

    files: list[Written]  # every member of the archive
    installed: tuple[Installed, ...]  # packages that are installed, sorted by name


def normalise(raw: Path, path: Path, *, drop: Sequence[str] = ()) -> Root:
    """Write what is to be kept of an archive as a new one, which depends on the content alone."""
    rules = toml.load(paths.data_root() / "images/elements/root.toml", _Rules)
    try:
        with (
            open_tar(raw) as given,
            tarfile.open(path, "w:", format=tarfile.PAX_FORMAT, errors="surrogateescape") as made,
        ):
            owner = _owners(given)
            files = [
                _written(info, sha256, owner)
                for info, data in _members(given, rules, drop)
                for sha256 in [_add(made, info, data)]
            ]
            return Root(files, _installed(given))
    except tarfile.TarError as error:
        raise InfraError(f"diskimage-builder made an archive that cannot be read: {error}") from error


def owners_in(path: Path) -> dict[str, str]:
    """Package and version of each path in a root that was written here."""
    with open_tar(path) as tar:
        return _owners(tar)


def _owners(tar: tarfile.TarFile) -> dict[str, str]:
    """Package and version ("bash 5.2.15-2+b13") of each path that dpkg's lists in the archive name."""
    versions = {(p.name, p.architecture): p.version for p in _installed(tar)}
    names = {name: version for (name, _), version in versions.items()}
    found = {}
    for info in sorted(tar, key=lambda info: info.name):  # directories have many owners: the last one
        listed = re.fullmatch(r"(?:\./)?(var/lib/dpkg/info/([^:/]+)(?::(\w+))?\.(\w+))", info.name)
        if listed is None:
            continue
        path, name, architecture, kind = listed.groups()
        package = f"{name} {versions.get((name, architecture), names.get(name, ''))}"
        found[path] = package
        lines = (
            _content(tar, info).read().decode("utf-8", "surrogateescape").splitlines()
            if kind == "list"
            else []
        )
        for line in lines:
            place = line.strip("/")
            found[place] = found[_MERGED.sub(r"usr/\1/", place)] = package
    return found


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    """A regular file's content, or that of a hard link to one."""
    found = tar.extractfile(info)
    if found is None:
        raise InfraError(f"{info.name} is no file in {tar.name!r}")
    return found


def _members(
    tar: tarfile.TarFile, rules: _Rules, drop: Sequence[str]
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    """What is kept, sorted by the bytes of the paths; of several hard links the first carries the content."""
    left_out = [*rules.volatile, *drop]
    files: dict[str, tarfile.TarInfo] = {}
    kept: dict[str, tarfile.TarInfo] = {}
    for info in tar:
        name = plain(info.name)
        if name is None:
            raise InfraError(f"diskimage-builder made an archive with the odd name {info.name!r}")
        if info.isreg():
            files[name] = info
        elif info.islnk():
            files[name] = files[plain(info.linkname) or ""]
        if name and (KINDS.get(info.type) in _KEPT or name in files) and not matches(name, left_out):
            kept[name] = info
    missing = rules.directories.keys() - kept.keys()
    made = {name: _special(name, tarfile.DIRTYPE, rules.directories[name]) for name in missing}
    for name, (major, minor, mode) in rules.nodes.items():
        made[name] = _special(name, tarfile.CHRTYPE, mode, major, minor)
    first: dict[int, str] = {}  # where a file's content is in the given archive, and its first name here
    for name in sorted(kept | made, key=os.fsencode):
        if name in made:
            yield made[name], None
            continue
        original = files.get(name, kept[name])
        info = _normal(original, name)
        if original.isreg():
            info.linkname = first.setdefault(original.offset_data, name)
            if info.linkname != name:
                info.type, info.size = tarfile.LNKTYPE, 0
                yield info, None
                continue
            info.linkname = ""
            source = _content(tar, original)
            if name == "etc/shadow":
                source = BytesIO(_PASSWORD_DAY.sub(rb"\1:", source.read()))
                info.size = len(source.getbuffer())
            yield info, source
        else:
            yield info, None


def _normal(given: tarfile.TarInfo, name: str) -> tarfile.TarInfo:
    info = copy.copy(given)
    info.name, info.mtime, info.uname, info.gname = name, 0, "", ""
    info.mode = stat.S_IMODE(given.mode)
    if not given.isdev():
        info.devmajor = info.devminor = 0
    info.pax_headers = {
        key: value for key, value in sorted(given.pax_headers.items()) if key.startswith(_XATTR)
    }
    return info


def _special(name: str, kind: bytes, mode: int, major: int = 0, minor: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.devmajor, info.devminor = kind, mode, major, minor
    return info


class _Hashed:
    """Reads from a file, and hashes what it read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, data: IO[bytes] | None) -> str:
    """Write a member, and return the SHA-256 of its content, "" where it has none."""
    if data is None:
        tar.addfile(info)
        return ""
    hashed = _Hashed(data)
    tar.addfile(info, hashed)
    return hashed.digest.hexdigest()


def _written(info: tarfile.TarInfo, sha256: str, owner: Mapping[str, str]) -> Written:
    return Written(
        path=info.name,
        mode=KINDS.get(info.type, stat.S_IFREG) | info.mode,
        uid=info.uid,
        gid=info.gid,
        size=len(os.fsencode(info.linkname)) if info.issym() else info.size,
        sha256=sha256,
        target=info.linkname if info.issym() else "",
        link=info.linkname if info.islnk() else "",
        device=(info.devmajor, info.devminor) if info.isdev() else (0, 0),
        source=owner.get(info.name, MADE_HERE),
    )


def _installed(tar: tarfile.TarFile) -> tuple[Installed, ...]:
    status = next((info for info in tar if info.name.removeprefix("./") == "var/lib/dpkg/status"), None)
    if status is None:
        return ()
    stanzas = Deb822.iter_paragraphs(_content(tar, status).read().decode("utf-8"), use_apt_pkg=False)
    found = [
        Installed(stanza["Package"], stanza["Version"], stanza["Architecture"])
        for stanza in stanzas
        if stanza.get("Status", "").endswith(" installed")
    ]
    return tuple(sorted(found, key=lambda package: (package.name, package.architecture)))
