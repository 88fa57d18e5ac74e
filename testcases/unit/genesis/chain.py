"""The chain of genesis on this host: a directory with all sources and the seed as `init`, and its run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testcases.unit.genesis import listing

GENESIS = Path(__file__).resolve().parents[3] / "images/genesis"


def lay_out(root: Path) -> None:
    """Put the sources and the seed where the initramfs has them."""
    shutil.copytree(GENESIS, root, dirs_exist_ok=True)
    shutil.copy(root / "01-run/run.hex", root / "run.hex")
    seed = root / "init"
    seed.write_bytes(listing.binary((root / "00-seed/seed.hex").read_bytes()))
    seed.chmod(0o755)


def run(root: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    """Run one of the programs in the root; the seed by default."""
    words = command or ("init",)
    return subprocess.run(
        [f"./{words[0]}", *words[1:]], cwd=root, env={}, capture_output=True, check=False, timeout=60
    )
