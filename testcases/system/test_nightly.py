"""`ci/nightly` with the real program, and stand-ins for runs and for what carries messages."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Night:
    """A place where nights go by."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.file = place / "trial.toml"
        self.programs = place / "bin"
        self.programs.mkdir()
        self._program(
            "harness",
            f'export PYTHONPATH="{ROOT}"\nexec "{sys.executable}" -m testcases.support.stub_matrix "$@"',
        )
        for name in ("mail", "curl"):
            self._program(name, f'{{ echo "$@"; cat; }} >>"{place}/{name}"')

    def _program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def go_by(self, *kernels: str, **variables: str) -> subprocess.CompletedProcess[str]:
        if kernels:
            self.file.write_text(
                'summary = "a trial"\n[axes]\nrecipes = ["relay"]\naccelerators = ["tcg"]\n'
                f'memory = ["64M"]\nkernels = {json.dumps(kernels)}\n'
            )
        given = {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "HARNESS": str(self.programs / "harness"),
            "HARNESS_CACHE": str(self.place / "cache"),
            "NIGHTLY_RUNS": str(self.place / "runs"),
            "NIGHTLY_MAIL": "somebody",
            "NIGHTLY_WEBHOOK": "http://127.0.0.1/hook",
        }
        return subprocess.run(
            [ROOT / "ci/nightly", self.file],
            env=os.environ | given | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def messages(self, name: str) -> str:
        path = self.place / name
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path)


def test_somebody_is_told_when_something_changed(night: Night) -> None:
    assert night.go_by("0-p", "0-f").returncode == 1
    said = night.messages("mail")
    assert "somebody" in said
    assert "relay/0-f/qemu-tcg/64M: new → FAIL: as the test has it" in said
    assert "0-p" not in said
    hook = night.messages("curl")
    assert hook.startswith("--fail")
    assert "0-f/qemu-tcg/64M: new → FAIL" in json.loads(hook.splitlines()[-1])["text"]

    assert night.go_by("0-p", "0-f").returncode == 1
    assert (night.messages("mail"), night.messages("curl")) == ("", "")


def test_records_make_room(night: Night) -> None:
    for _ in range(3):
        assert night.go_by("0-p", NIGHTLY_QUOTA="1K").returncode == 0
    assert len(list(night.place.glob("runs/*/run.json"))) == 1


def test_a_night_that_was_cut_off_is_gone_on_with(night: Night) -> None:
    assert night.go_by("0-p").returncode == 0
    (night.place / "runs/.nightly.unfinished").write_text(str(night.file))
    assert "PASS" in night.go_by().stdout
    log = (night.place / "log").read_text()
    assert log.count("began") == 1  # all was done already
    assert not (night.place / "runs/.nightly.unfinished").exists()


def test_nights_do_not_overlap(night: Night) -> None:
    (night.place / "runs").mkdir()
    with (night.place / "runs/.nightly.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = night.go_by("0-p")
    assert (done.returncode, "another nightly run goes on" in done.stderr) == (0, True)
    assert not (night.place / "log").exists()


def test_the_units_are_understood() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    units = [ROOT / "ci/bootstrap-nightly.timer"]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert "bootstrap-nightly.timer:" not in done.stderr
