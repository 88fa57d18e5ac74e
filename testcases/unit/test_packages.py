from __future__ import annotations

import io
import lzma
import os
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, InfraError
from harness.sources.debian import _extract
from harness.sources.packages import Lock, Package, Resolution, read_lock
from harness.sources.unpacked import Unpacked, content, members

if TYPE_CHECKING:
    from pathlib import Path

BASH = Package("bash", "5.2.15-2+b13", "i386", "ab" * 32, 1400000, "libc6 (>= 2.36)")
BUSYBOX = Package("busybox-static", "1:1.35.0-4+b7", "i386", "cd" * 32, 900000)


def resolution(*packages: Package, suite: str = "bookworm", closure: bool = True) -> Resolution:
    return Resolution(suite, "i386", tuple(p.name for p in packages), closure, packages)


def test_a_package_is_called_by_name_and_version() -> None:
    assert str(BUSYBOX) == "busybox-static 1:1.35.0-4+b7"


def test_the_epoch_is_escaped_in_file_names_as_apt_does() -> None:
    assert BASH.file_name == "bash_5.2.15-2+b13_i386.deb"
    assert BUSYBOX.file_name == "busybox-static_1%3a1.35.0-4+b7_i386.deb"


def test_only_the_same_request_is_answered() -> None:
    asked = Resolution("bookworm", "i386", ("bash",), closure=True, packages=())
    assert resolution(BASH).answers(asked)
    assert not resolution(BUSYBOX).answers(asked)
    assert not resolution(BASH, suite="trixie").answers(asked)
    assert not resolution(BASH, closure=False).answers(asked)
    assert not resolution(BASH, BUSYBOX).answers(asked)


def test_a_lock_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    lock = Lock((resolution(BASH, BUSYBOX), resolution(BASH, suite="trixie", closure=False)))
    (tmp_path / "lock.json").write_text(lock.to_json())
    assert read_lock(tmp_path / "lock.json") == lock


def test_a_lock_file_is_the_same_in_whatever_order_it_came_about() -> None:
    one, other = resolution(BASH), resolution(BUSYBOX)
    assert Lock((one, other)).to_json() == Lock((other, one)).to_json()
    assert Lock((one, other)).to_json().count("\n") > 20, "differences between versions are to be seen"


def test_a_missing_lock_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the lock file .*lock\.json: No such file") as caught:
        read_lock(tmp_path / "lock.json")
    assert "harness lock" in caught.value.hint


@pytest.mark.parametrize("text", ["", "garbage", "[]", "{}", '{"resolutions": [{}]}', '{"resolutions": 1}'])
def test_what_is_no_lock_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock.json").write_text(text)
    with pytest.raises(ConfigError, match=r"lock\.json is no lock file: ."):
        read_lock(tmp_path / "lock.json")


def test_a_lock_file_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text('{"resolutions": [], "version": 2}')
    with pytest.raises(ConfigError, match=r"lock\.json is a lock file of version 2, not 1"):
        read_lock(tmp_path / "lock.json")


@given(data=st.binary())
def test_any_bytes_are_a_lock_file_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    try:
        read_lock(path)
    except ConfigError as error:
        assert str(path) in error.message  # noqa: PT017 - either is right


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
