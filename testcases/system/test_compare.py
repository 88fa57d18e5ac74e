"""Manifests that sha256sum itself has written."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from harness.stages import products

if TYPE_CHECKING:
    from pathlib import Path


def test_sha256sum_itself_is_understood(tmp_path: Path) -> None:
    names = ["plain", "with space", "back\\slash", "new\nline", "ümlaut"]
    for name in names:
        (tmp_path / name).write_text(name)
    done = subprocess.run(["sha256sum", *names], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "manifest.sha256").write_bytes(done.stdout)
    made = products.read(tmp_path)
    assert made is not None
    assert list(made) == names
    assert len(set(made.values())) == len(names)
