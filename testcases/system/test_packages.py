"""Debian packages, unpacked by dpkg-deb."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import InfraError
from harness.sources.debian import _extract
from harness.sources.untar import Unpacked, content, members

if TYPE_CHECKING:
    from pathlib import Path


def deb(place: Path, *members: tarfile.TarInfo, padding: int = 0) -> Path:
    """A binary package (deb(5)) whose data.tar has these members; files have their name as content."""

    def packed(*infos: tarfile.TarInfo) -> bytes:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            for info in infos:
                content = info.name.encode() if info.isreg() else b""
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return lzma.compress(data.getvalue() + bytes(padding))

    control = b"Package: p\nVersion: 1\nArchitecture: all\nMaintainer: n\nDescription: d\n"
    info = tarfile.TarInfo("./control")
    info.size = len(control)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as archive:
        archive.addfile(info, io.BytesIO(control))
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": inner.getvalue(), "data.tar.xz": packed(*members)}
    data = b"!<arch>\n"
    for name, part in parts.items():
        data += f"{name:16}{0:<12}{0:<6}{0:<6}{0o100644:<8o}{len(part):<10}`\n".encode() + part
        data += b"\n" * (len(part) % 2)
    path = place / "p_1_all.deb"
    path.write_bytes(data)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
def test_a_package_keeps_owners_modes_and_links_whoever_unpacks_it(tmp_path: Path) -> None:
    package = deb(
        tmp_path,
        member("./", tarfile.DIRTYPE, mode=0o755),
        member("./usr/bin/", tarfile.DIRTYPE, mode=0o755),
        member("./usr/bin/chage", mode=0o2755, gid=42),
        member("./usr/bin/expiry", tarfile.LNKTYPE, linkname="./usr/bin/chage"),
        member("./usr/bin/secret", mode=0o000, uid=5),
        member("./dev/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3),
        member("./sh", tarfile.SYMTYPE, mode=0o777, linkname="/bin/dash"),
    )
    _extract(package, tmp_path)
    found = {each.name.decode(): each for each in members(tmp_path)}
    assert list(found.values()) == [
        Unpacked(b"usr/bin", stat.S_IFDIR | 0o755),
        Unpacked(b"usr/bin/chage", stat.S_IFREG | 0o2755, gid=42),
        Unpacked(b"usr/bin/expiry", stat.S_IFREG | 0o2755, gid=42, link=b"usr/bin/chage"),
        Unpacked(b"usr/bin/secret", stat.S_IFREG, uid=5),
        Unpacked(b"dev/null", stat.S_IFCHR | 0o666, device=(1, 3)),
        Unpacked(b"sh", stat.S_IFLNK | 0o777, target=b"/bin/dash"),
    ]
    for name in ("chage", "secret"):
        place = content(tmp_path, found[f"usr/bin/{name}"])
        assert place.read_bytes() == f"./usr/bin/{name}".encode()
        status = place.stat()
        assert (status.st_uid, status.st_mode & 0o7000) == (os.getuid(), 0)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
def test_a_package_is_read_to_its_end_however_much_follows_the_files(tmp_path: Path) -> None:
    _extract(deb(tmp_path, member("./a"), padding=4 << 20), tmp_path)
    assert [each.name for each in members(tmp_path)] == [b"a"]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
@pytest.mark.parametrize("size", [0, 100, 300])
def test_a_damaged_package_is_shown_in_dpkgs_words(tmp_path: Path, size: int) -> None:
    package = deb(tmp_path, member("./a"))
    package.write_bytes(package.read_bytes()[:size])
    with pytest.raises(
        InfraError, match=r"`dpkg-deb --fsys-tarfile .*` ended with status 2:\n.*dpkg-deb: error"
    ):
        _extract(package, tmp_path)
