"""Initramfs images that cannot be written to their end."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.formats.tree import Entry
from harness.image import initramfs
from testcases.unit.test_initramfs import FILE, KINDS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_of_what_failed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    bad = [Entry("a", FILE, bytes(3 << 20)), Entry("b", FILE, tmp_path / "missing")]
    with pytest.raises(ConfigError, match="missing"):
        initramfs.write(bad, path, compression=kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_full_disk(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    replaced = tmp_path / f".image.{os.getpid()}-{threading.get_native_id()}"  # what is written first
    replaced.symlink_to("/dev/full")
    with pytest.raises(InfraError, match=r"cannot write .*image: No space left on device"):
        initramfs.write([Entry("a", FILE, bytes(3 << 20))], path, compression=kind)
    assert list(tmp_path.iterdir()) == []
