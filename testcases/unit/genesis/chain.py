"""The first steps of genesis on this host: a root with all sources, the seed as `init`, and a run of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from testcases.unit.genesis import listing

GENESIS = Path(__file__).resolve().parents[3] / "images/genesis"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# How the seed becomes the first program in a root: the root's path stands for {}.
MACHINES = {
    "directory": "",
    "chroot": "chroot {} /init",
    "first process": "unshare --mount --pid --fork chroot {} /init",
    "bwrap": "bwrap --unshare-all --as-pid-1 --cap-add ALL --bind {} / --dev /dev --chdir / /init",
}


def lay_out(root: Path) -> None:
    """Put sources and seed where the initramfs has them, for the steps before the first part."""
    shutil.copytree(GENESIS, root, dirs_exist_ok=True)
    first, parts, _ = (root / "steps").read_text().partition("\nrun ")
    assert parts
    (root / "steps").write_text(f"{first}\n")
    shutil.copy(root / "01-run/run.hex", root / "run.hex")
    (root / "dev").mkdir(exist_ok=True)
    seed = root / "init"
    seed.write_bytes(listing.binary((root / "00-seed/seed.hex").read_bytes()))
    seed.chmod(0o755)


def start(root: Path, machine: str = "directory") -> subprocess.CompletedProcess[bytes]:
    """Run the chain from the seed on."""
    command = MACHINES[machine].format(root).split() or ["./init"]
    program = shutil.which(command[0], path=PATH) if machine != "directory" else command[0]
    assert program is not None
    return subprocess.run(
        [program, *command[1:]], cwd=root, env={"PATH": PATH}, capture_output=True, check=False, timeout=60
    )


def run(root: Path, *command: str) -> subprocess.CompletedProcess[bytes]:
    """Run one of the programs in the root."""
    return subprocess.run(
        [f"./{command[0]}", *command[1:]], cwd=root, env={}, capture_output=True, check=False, timeout=60
    )
