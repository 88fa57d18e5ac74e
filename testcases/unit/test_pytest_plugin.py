"""The plugin's promises, seen from outside: pytest runs in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "testcases/boot/test_relay.py",
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_tests_of_one_run_go_to_one_worker() -> None:
    # Kernels that are not there fail at once, and each test says on which worker.
    result = run_pytest("-n", "2", "-v", "--kernel", "/missing/one", "--kernel", "/missing/two")
    workers = defaultdict(set)
    for worker, kernel in re.findall(r"\[(gw\d)\] \[ *\d+%\] ERROR \S+\[(one|two)\b", result.stdout):
        workers[kernel].add(worker)
    assert {kernel: len(seen) for kernel, seen in workers.items()} == {"one": 1, "two": 1}, result.stdout


def test_a_run_that_cannot_be_had_fails_with_a_sentence_and_no_traceback() -> None:
    result = run_pytest("--kernel", "/missing/one", "-k", "test_verdict")
    assert "kernel /missing/one does not exist" in result.stdout
    assert "Traceback" not in result.stdout
    assert "harness/pipeline.py" not in result.stdout


def test_each_stage_and_check_of_the_plan_is_a_test_of_every_kernel() -> None:
    result = run_pytest("--collect-only", "-q", "--kernel", "debian-6.1-i686", "--kernel", "debian-5.10-i686")
    names = set(re.findall(r"::(\S+)$", result.stdout, re.MULTILINE))
    for kernel in ("debian-6.1-i686", "debian-5.10-i686"):
        assert f"test_stage[{kernel}-switch_root]" in names
        assert f"test_check[{kernel}-gcc-exit-status]" in names


def test_an_unknown_recipe_is_a_mistake_of_the_command_line() -> None:
    result = run_pytest("--recipe", "nope")
    assert result.returncode == 4  # pytest's usage error
    assert "there is no recipe 'nope'" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr + result.stdout
