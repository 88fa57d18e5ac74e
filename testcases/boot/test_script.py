"""The relay's images, made once more by a shell script: cpio archives, a disk of 512 MiB, a hybrid image."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.core.progress import Quiet
from harness.image import script
from harness.image.build import BuildOptions
from testcases.system.test_script import SBIN

if TYPE_CHECKING:
    from pathlib import Path

    from harness.image.factory import Build


@pytest.mark.skipif(
    not all(shutil.which(program, path=SBIN) for program in ("xxd", "sfdisk")),
    reason="xxd or fdisk is not installed",
)
def test_the_relay_is_made_by_a_shell_script(relay: Build, harness_cache: Path, tmp_path: Path) -> None:
    options = BuildOptions(cache=harness_cache)
    written = script.write(relay.recipe, options, tmp_path / "build.sh", Quiet(), roots={})
    assert len(written.inputs) > 2000
    command = ["dash", str(tmp_path / "build.sh"), str(tmp_path / "made")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for artifact in relay.images.values():
        made = (tmp_path / "made" / artifact.path.name).read_bytes()
        assert hashlib.sha256(made).hexdigest() == artifact.sha256, artifact.name
