"""Checkouts are run as users run them: miniature ones always, real ones where HARNESS_TREES names them.

HARNESS_TREES has directories with ":" between them. With HARNESS_TREES_BOOT=1 each is booted as well, with
the distfiles that are at hand, and must end with PASS, or at the first distfile that is not there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.payload import distfiles
from harness.payload.assembly import assemble
from harness.payload.tree import recognise
from harness.stages import products
from testcases.bootstrap import miniature
from testcases.support.profiles import by_night
from testcases.system.test_native import unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

REAL = [path for path in os.environ.get("HARNESS_TREES", "").split(":") if path]
ROOT = Path(__file__).resolve().parents[2]
ERAS: dict[str, Callable[..., miniature.Miniature]] = {
    "live-bootstrap-2021-initramfs": miniature.initramfs_era,
    "live-bootstrap-2021-after": miniature.sysc_era,
    "live-bootstrap-2022-kexec": miniature.kexec_era,
    "live-bootstrap-2023-sysa-alone": miniature.two_calls_era,
    "live-bootstrap-2024-steps": miniature.steps_era,
}
ASKED = ("nonce", "programs", "version", "target", "exit-status", "static")
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="session")
def built_parts(harness_cache: Path) -> dict[str, bytes]:
    return miniature.parts(harness_cache)


def harness(*words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "harness", *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + ("" if "--json" in words else result.stderr)


def run(tree: Path, cache: Path, runs: Path, *more: str) -> tuple[int, dict[str, Any]]:
    words = (
        "run",
        "live-bootstrap",
        "--tree",
        str(tree),
        "--cache",
        str(cache),
        "--runs",
        str(runs),
        "--json",
    )
    status, said = harness(*words, *more)
    document: dict[str, Any] = json.loads(said)
    return status, document


@pytest.mark.parametrize(
    ("era", "more"),
    [
        pytest.param("live-bootstrap-2021-initramfs", (), marks=pytest.mark.thorough),
        ("live-bootstrap-2022-kexec", ()),
        ("live-bootstrap-2024-steps", ("--kernel", "builder-hex0")),
    ],
    ids=["initramfs", "kexec", "builder-hex0"],
)
def test_a_miniature_tree_boots_to_its_end(
    era: str, more: tuple[str, ...], built_parts: dict[str, bytes], harness_cache: Path, tmp_path: Path
) -> None:
    tree = ERAS[era](tmp_path, built_parts)
    cache = str(harness_cache)
    fetched, _ = harness(
        "distfiles", "--tree", str(tree.path), "fetch", "--mirror", str(tree.mirror), "--cache", cache
    )
    assert fetched == 0
    before = miniature.git(tree.path, "status", "--porcelain", "--ignored")
    # Less memory than the plans need, and enough for what stands for their packages.
    small = ("--memory", "512M", "--disk-size", "2G", "--patience", "3", "--force")
    status, document = run(tree.path, harness_cache, tmp_path / "runs", *small, *more)
    assert (status, document["verdict"]["outcome"]) == (0, "PASS"), document["verdict"]
    assert {stage["status"] for stage in document["stages"]} == {"passed"}
    assert bool(document["kernels"]) == (not more)
    asked = {check["name"]: check["passed"] for check in document["checks"]}
    assert asked == (dict.fromkeys(ASKED, True) if "steps" not in era else {})
    built = [(package["name"], package["occurrence"]) for package in document["packages"] if package["done"]]
    assert ("hello-1.0", 1) in built
    assert ("hello-1.0", 2) in built
    assert document["checksums"] >= 5
    assert document["notes"] == [f"tree {era}"]
    made = products.read(next((tmp_path / "runs").glob("*/run.json")).parent) or {}
    assert any(path.endswith("/bin/gcc") for path in made) == bool(asked)
    assert miniature.git(tree.path, "status", "--porcelain", "--ignored") == before, (
        "the checkout is as it was"
    )


def check_that_it_downloaded(record: Path) -> None:
    """The guest's curl got from the harness what the disk did not have, and no HTTPS."""
    assert json.loads((record / "run.json").read_text("utf-8"))["machine"]["network"] == "restricted"
    log = [line.split(maxsplit=1)[1] for line in (record / "network.log").read_text("utf-8").splitlines()]
    wanted = [
        "name example.com A: 1.1.1.80",
        "GET http://example.com/: 200",
        "connection to 1.1.1.80 port 443 (mirror.invalid): refused, as there is no HTTPS",
        "GET http://distfiles.invalid/bash-5.2.tar.gz: 200",
    ]
    assert [line for line in log if line in wanted] == wanted


@pytest.mark.parametrize("machine", [by_night("qemu"), "chroot", "bwrap"])
def test_an_instrumented_tree_has_its_bash_and_gcc_checked(
    machine: str, built_parts: dict[str, bytes], harness_cache: Path, tmp_path: Path
) -> None:
    if machine != "qemu" and (reason := unavailable(machine)):
        pytest.skip(reason)
    # In QEMU also one whose guest downloads, which saves a boot.
    era = miniature.network_era if machine == "qemu" else miniature.steps_era
    tree = era(tmp_path, built_parts)
    words = ("--mirror", str(tree.mirror), "--cache", str(harness_cache))
    assert harness("distfiles", "--tree", str(tree.path), "fetch", *words)[0] == 0
    small = ("--memory", "512M", "--disk-size", "2G", "--patience", "3", "--force")
    options = (*(small if machine == "qemu" else ()), "--machine", machine, "--instrument")
    status, document = run(tree.path, harness_cache, tmp_path / "runs", *options)
    assert (status, document["verdict"]["outcome"]) == (0, "PASS"), document["verdict"]
    assert document["instrumented"]
    assert "instrumented: steps/after/1-harness.sh is added" in document["notes"]
    stages = {stage["name"]: stage["status"] for stage in document["stages"]}
    assert [*stages][-3:] == ["shell", "gcc", "power-off"]
    assert stages["gcc"] == "passed"
    assert stages["power-off"] == ("passed" if machine == "qemu" else "not applicable")
    assert [check["name"] for check in document["checks"]] == [*ASKED]
    assert {check["passed"] for check in document["checks"]} == {True}
    assert document["facts"]["bash"].startswith("5.")
    assert document["facts"]["gcc_target"] == "i386-unknown-linux-musl"
    record = next((tmp_path / "runs").glob("*/run.json")).parent
    if machine == "qemu":
        check_that_it_downloaded(record)
    made = products.read(record)
    assert made is not None
    assert made["/usr/bin/gcc"] == hashlib.sha256(built_parts["gcc-15.2.0.sh"]).hexdigest()


@pytest.mark.parametrize(
    ("era", "machine", "left_out"),
    [
        ("live-bootstrap-2021-initramfs", "chroot", ["kernel", "shell.produced"]),
        ("live-bootstrap-2021-after", "chroot", ["kernel", "kexec", "sysb", "shell.produced"]),
        ("live-bootstrap-2022-kexec", "chroot", ["kernel", "kexec", "sysb", "shell.produced"]),
        ("live-bootstrap-2022-kexec", "bwrap", ["kernel", "kexec", "sysb", "shell.produced"]),
        ("live-bootstrap-2023-sysa-alone", "bwrap", ["kernel", "kexec", "sysb", "shell.produced"]),
        ("live-bootstrap-2024-steps", "chroot", ["kernel", "linux"]),
        ("live-bootstrap-2024-steps", "bwrap", ["kernel", "linux"]),
    ],
)
def test_a_miniature_tree_runs_without_a_kernel_of_its_own(
    era: str,
    machine: str,
    left_out: list[str],
    *,
    built_parts: dict[str, bytes],
    harness_cache: Path,
    tmp_path: Path,
) -> None:
    if reason := unavailable(machine):
        pytest.skip(reason)
    tree = ERAS[era](tmp_path, built_parts)
    words = ("--mirror", str(tree.mirror), "--cache", str(harness_cache))
    assert harness("distfiles", "--tree", str(tree.path), "fetch", *words)[0] == 0
    status, document = run(tree.path, harness_cache, tmp_path / "runs", "--machine", machine)
    assert (status, document["verdict"]["outcome"]) == (0, "PASS"), document["verdict"]
    assert document["not_applicable"] == left_out
    asked = {check["name"]: check["passed"] for check in document["checks"]}
    assert asked == (dict.fromkeys(ASKED, True) if "shell.produced" in left_out else {})
    assert {stage["status"] for stage in document["stages"]} == {"passed", "not applicable"}
    built = [package["name"] for package in document["packages"] if package["done"]]
    assert built.count("hello-1.0") >= 2  # sysc installs it once more in one of them
    assert any(name.startswith("bash-") for name in built)
    assert not {"kexec-tools-2.0.22", "linux-4.14.341", "linux-4.9.10"} & {*built}
    made = products.read(next((tmp_path / "runs").glob("*/run.json")).parent)
    assert made is not None
    installed = {
        "live-bootstrap-2021-initramfs": "/image/hello",
        "live-bootstrap-2021-after": "/sysc/usr/hello",
    }
    package = installed.get(era, "/usr/src/repo/hello-1.0_1.tar.bz2")
    assert any(path.endswith(package) for path in made)


def test_the_commit_that_broke_a_package_is_found(
    built_parts: dict[str, bytes], harness_cache: Path, tmp_path: Path
) -> None:
    machine = "chroot" if os.geteuid() == 0 else "bwrap"
    if reason := unavailable(machine):
        pytest.skip(reason)
    tree = miniature.steps_era(tmp_path, built_parts)
    words = ("--mirror", str(tree.mirror), "--cache", str(harness_cache))
    assert harness("distfiles", "--tree", str(tree.path), "fetch", *words)[0] == 0
    script = tree.path / "steps/hello-1.0/pass1.sh"
    whole = script.read_text("utf-8")
    commits = [miniature.git(tree.path, "rev-parse", "HEAD").strip()]
    for text in (f"{whole}# a remark\n", f"{whole}exit 1\n", f"{whole}# a remark\nexit 1\n"):
        script.write_text(text, "utf-8")
        miniature.git(tree.path, "commit", "-qam", "a change")
        commits.append(miniature.git(tree.path, "rev-parse", "HEAD").strip())
    status, said = harness(
        *("bisect", "live-bootstrap", "--tree", str(tree.path), "--good", commits[0], "--bad", "HEAD"),
        *("--runs", str(tmp_path / "runs"), "--cache", str(harness_cache), "--json"),
        *("--", "--machine", machine),
    )
    found = json.loads(said)
    assert status == 0, found
    assert [one["name"] for one in found["culprits"]] == [commits[2]]
    assert (found["good"]["name"], found["good"]["outcome"]) == (commits[1], "PASS")
    assert (found["bad"]["name"], found["bad"]["outcome"]) == (commits[2], "FAIL")
    assert "exit status 1" in found["bad"]["reason"]
    assert miniature.git(tree.path, "status", "--porcelain", "--ignored") == ""


def test_a_missing_distfile_is_named_by_the_verdict(
    built_parts: dict[str, bytes], harness_cache: Path, tmp_path: Path
) -> None:
    # Another text, so that no cache has it.
    changed = {**built_parts, "hello-1.0.txt": os.urandom(16)}
    machine = "chroot" if os.geteuid() == 0 else "bwrap"
    if reason := unavailable(machine):
        pytest.skip(reason)
    tree = miniature.kexec_era(tmp_path, changed)
    (tree.mirror / "hello-1.0.txt").unlink()
    words = ("--mirror", str(tree.mirror), "--cache", str(harness_cache))
    assert harness("distfiles", "--tree", str(tree.path), "fetch", *words)[0] == 6
    status, refused = run(tree.path, harness_cache, tmp_path / "runs", "--machine", machine)
    assert status == 2
    assert "1 distfile is missing" in refused["error"]
    assert "hello-1.0.txt" in refused["error"]
    status, document = run(tree.path, harness_cache, tmp_path / "runs", "--machine", machine, "--incomplete")
    assert status == 1
    assert document["verdict"]["stage"] == "sysa"
    assert document["verdict"]["reason"] == "the distfile /sysa/distfiles/hello-1.0.txt is missing"
    assert document["notes"][-1] == "incomplete: 1 of 6 distfiles are left out"


@pytest.fixture(params=REAL or [""], ids=[Path(path).name for path in REAL] or ["none"])
def real(request: pytest.FixtureRequest) -> Path:
    if not request.param:
        pytest.skip("the environment variable HARNESS_TREES names no checkouts")
    return Path(request.param)


def test_a_real_tree_is_known_and_becomes_recipes(real: Path) -> None:
    tree = recognise(real)
    needed = distfiles.needed(tree)
    assert len({distfile.sha256 for distfile in needed}) > 80
    assert "qemu" in tree.modes
    for mode in tree.modes:
        assert assemble(tree, mode).images


def test_a_real_tree_runs_until_a_distfile_is_missing(
    real: Path, harness_cache: Path, tmp_path: Path
) -> None:
    if os.environ.get("HARNESS_TREES_BOOT") != "1":
        pytest.skip("HARNESS_TREES_BOOT=1 boots real checkouts, for an hour each")
    status, document = run(real, harness_cache, tmp_path / "runs", "--incomplete", "--memory", "1G")
    if status != 0:
        assert re.fullmatch(r"the distfile \S+ is missing", document["verdict"]["reason"]), document[
            "verdict"
        ]
