"""Extracting as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from testcases.unit.test_image_extract import Place, is_root


@pytest.mark.skipif(not is_root, reason="needs root to become somebody else")
def test_nobody_gets_no_setuid_bits_and_no_devices(tmp_path: Path) -> None:
    place = Place(tmp_path)
    program = """
import os, stat, sys
from pathlib import Path
from harness.formats.extract import extract
from testcases.unit.test_image_extract import device, directory, file
os.setgid(65534); os.setuid(65534)
members = [file("su", mode=0o6755, uid=0), device("null"), directory("d", 0o3775, uid=0)]
extract(members, Path(sys.argv[1]), note=lambda note: print(note.path), devices=True)
"""
    shutil.rmtree(place.into, ignore_errors=True)
    place.base.chmod(0o777)
    for above in place.base.parents[:3]:
        if above != Path("/tmp"):
            above.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", program, str(place.into)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["null"], done.stderr
    assert stat.S_IMODE((place.into / "su").stat().st_mode) == 0o755
    assert stat.S_IMODE((place.into / "d").stat().st_mode) == 0o1775
    assert (place.into / "su").stat().st_uid == 65534
