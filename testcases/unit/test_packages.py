from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.sources.packages import Lock, Package, Resolution, read_lock

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
