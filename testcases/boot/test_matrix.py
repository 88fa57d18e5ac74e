"""A matrix of real guests, from the outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_kernels_and_the_hosts_own_run_as_a_matrix(tmp_path: Path, harness_cache: Path) -> None:
    (tmp_path / "hello").symlink_to(ROOT / "benchmarks/hello")
    file = tmp_path / "two.toml"
    file.write_text(
        'summary = "two kernels, and none"\n[axes]\nrecipes = ["hello/recipes/hello.toml"]\n'
        'kernels = ["debian-6.1-i686", "debian-5.10-i686"]\naccelerators = ["tcg"]\n'
        f'[[include]]\nrecipe = "relay"\nmachine = "{"chroot" if os.geteuid() == 0 else "bwrap"}"\n'
    )
    options = ["--runs", str(tmp_path / "runs"), "--cache", str(harness_cache), "--json"]
    command = [sys.executable, "-m", "harness", "matrix", "run", str(file), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    for cell in answer["cells"]:
        run = json.loads((tmp_path / "runs" / cell["run"] / "run.json").read_text())
        assert run["labels"] == {"matrix": answer["matrix"], "cell": cell["name"], "attempt": "1"}
        assert (run["verdict"]["outcome"], cell["outcome"]) == ("PASS", "PASS")
    history = [sys.executable, "-m", "harness", "history", "--runs", str(tmp_path / "runs"), "--json"]
    known = json.loads(subprocess.run(history, capture_output=True, check=True, cwd=ROOT).stdout)["cells"]
    assert sorted(cell["cell"] for cell in known) == sorted(cell["name"] for cell in answer["cells"])
