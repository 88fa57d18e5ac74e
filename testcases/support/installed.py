"""The project as users install it: a wheel in an environment of its own, outside of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import msgspec

REPOSITORY = Path(__file__).resolve().parents[2]


class Installed(msgspec.Struct, frozen=True):
    """An environment with the wheel in it; libraries are those of the environment that tests run in."""

    home: Path
    cache: Path

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the installed program in a directory without a checkout."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [self.home / "venv/bin/harness", *words],
            cwd=self.home / "work",
            env={**environment, "HARNESS_CACHE": str(self.cache), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )


def build(place: Path) -> tuple[Path, Path]:
    """Build wheel and sdist as `make dist` does; their paths."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(place)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,), (sdist,) = place.glob("*.whl"), place.glob("*.tar.gz")
    return wheel, sdist


def install(wheel: Path, home: Path, cache: Path) -> Installed:
    """Install a wheel without its libraries, which a path file adds: nothing is downloaded."""
    venv.create(home / "venv")
    python = home / "venv/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--quiet", str(wheel)], check=True, capture_output=True)
    (site,) = (home / "venv/lib").glob("python3.*/site-packages")
    # Path files of that directory are not read, so the checkout is not found by one.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (home / "work").mkdir()
    return Installed(home, cache)
