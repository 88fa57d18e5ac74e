"""A bisection over real kernels, from the outside: one that does not get on with an /init panics."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.thorough
def test_the_first_kernel_that_panics_is_found(tmp_path: Path, harness_cache: Path) -> None:
    hello = ROOT / "benchmarks/hello"
    (tmp_path / "plans").symlink_to(hello / "plans")
    says = r"case $(busybox uname -r) in 5.10.*) ;; *) exit 1 ;; esac\necho HELLO"
    text = (hello / "recipes/hello.toml").read_text("utf-8")
    assert "echo HELLO" in text
    recipe = tmp_path / "recipes/choosy.toml"
    recipe.parent.mkdir()
    recipe.write_text(text.replace("echo HELLO", says), "utf-8")
    words = ["bisect", str(recipe), "--kernel-line", "debian-*-i686", "--good", "debian-5.10-i686"]
    words += ["--bad", "debian-6.1-i686", "--outcome", "PANIC", "--repeat", "1", "--json"]
    words += ["--runs", str(tmp_path / "runs"), "--cache", str(harness_cache), "--", "--accelerator", "tcg"]
    command = [sys.executable, "-m", "harness", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    [culprit] = found["culprits"]
    # The archive has one or more of each series, and the oldest of the newer series is the first bad one.
    assert culprit["name"].startswith("6.1.")
    assert found["good"]["name"].startswith("5.10.")
    assert (found["bad"]["name"], found["bad"]["outcome"]) == (culprit["name"], "PANIC")
    for end in ("good", "bad"):
        record = json.loads((tmp_path / "runs" / found[end]["run"] / "run.json").read_text())
        assert record["kernels"][0]["version"] == found[end]["name"]
