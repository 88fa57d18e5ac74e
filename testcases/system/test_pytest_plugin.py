"""The plugin's promises, seen from outside: pytest runs in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

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
    assert "harness/run/prepare.py" not in result.stdout


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


MATRIX = """
summary = "two that pass, one that the host fails at first, one that may fail"
[axes]
recipes = ["relay"]
kernels = ["good", "infra-once", "panics", "known"]
accelerators = ["tcg"]
[[include]]
recipe = "hello/recipes/hello.toml"
kernel = "other-plan"
accelerator = "tcg"
[[include]]
recipe = "relay"
machine = "bwrap"
[[rule]]
kernel = "known"
allow = "fail"
reason = "everybody knows"
expires = 2999-01-01
"""

# Nothing is built, and runs end as the name of the kernel says, at once; all between is real.
CONFTEST = """
from pathlib import Path
from types import SimpleNamespace
from harness.core.errors import ConfigError, InfraError
from harness.core.outcome import Outcome
from harness.machine.kinds.native import Native
from harness.machine.kinds.qemu import Qemu
from harness.payload.chosen import Payload
from harness.recipe import load_recipe
from harness.run import execute as executing, prepare
from harness.stages.runner import all_stages
from harness.stages.verdict import CheckResult, RunResult, StageResult, StageStatus, Verdict

pytest_plugins = ["harness.pytest_plugin"]
BOOTED = Path(__file__).with_name("booted")
DISTFILES = {"tcc.tar": Path("/distfiles/tcc.tar")}

def chosen(name, asked, cache, progress):
    return Payload(recipe=load_recipe(name), offered=DISTFILES)

def build(recipe, options, progress):
    assert options.names
    assert options.kernels == (options.kernel is not None)
    return SimpleNamespace(recipe=recipe, kernel=options.kernel or "none")

def check_images(built, plan, spec, store):
    if built.kernel == "unfit":
        raise ConfigError("the seed kernel unfit has no initramfs", hint="--force boots it all the same")
    return ()

def execute(prepared):
    kernel, plan = prepared.built.kernel, prepared.followed
    before = BOOTED.read_text().split() if BOOTED.exists() else []
    BOOTED.write_text(" ".join([*before, kernel]))
    assert prepared.payload.offered == DISTFILES
    if kernel == "infra-once" and "infra-once" not in before:
        raise InfraError("QEMU is gone")
    bad = kernel in {"panics", "known"}
    ways = [StageStatus.FAILED, *[StageStatus.NOT_REACHED] * 20] if bad else [StageStatus.PASSED] * 20
    stages = tuple(StageResult(stage.name, way) for stage, way in zip(plan.stages, ways))
    checks = () if bad else tuple(
        CheckResult(stage.name, check.name, True, "", 1.0, 0)
        for stage in plan.stages
        for check in stage.checks
    )
    verdict = Verdict(Outcome.PANIC if bad else Outcome.PASS, plan.stages[0].name, "it panicked", "look")
    directory = prepared.request.runs / f"run-{kernel}-{len(before)}"
    directory.mkdir(parents=True)
    (directory / "console.raw").write_bytes(b"")
    result = RunResult(verdict, all_stages(plan, stages), checks, not_applicable=plan.not_applicable)
    return executing.Run(result, directory)

prepare.chosen, prepare.build, prepare.check_images, executing.execute = chosen, build, check_images, execute
for kind in (Qemu, Native):
    kind.settled = lambda self, request, store, note: request
    kind.spec = lambda self, built, request, store, bulk: None
"""

TESTS = """
def test_stage(stage, require_stage):
    require_stage(stage)

def test_check(check, require_check):
    require_check(check)
"""


def run_matrix(
    place: Path, *options: str, matrix: str = MATRIX
) -> tuple[str, dict[str, ElementTree.Element]]:
    """What pytest says about the matrix, and its test cases in JUnit's XML by name."""
    (place / "hello").symlink_to(ROOT / "benchmarks/hello")
    (place / "m.toml").write_text(matrix)
    (place / "conftest.py").write_text(CONFTEST)
    (place / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--matrix", "m.toml", "-rA"]
    command += ["--junitxml", "junit.xml", "--rootdir", str(place), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    cases = ElementTree.parse(place / "junit.xml").iter("testcase")  # noqa: S314 - our own
    return done.stdout, {case.attrib["name"]: case for case in cases}


def properties(case: ElementTree.Element) -> dict[str, str]:
    return {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}


def test_a_matrix_is_a_test_for_each_stage_and_check_of_each_cell(tmp_path: Path) -> None:
    said, cases = run_matrix(tmp_path)
    assert (tmp_path / "booted").read_text().split() == [
        "good",
        "infra-once",
        "infra-once",
        "panics",
        "known",
        "other-plan",
        "none",
    ]
    good = cases["test_stage[relay/good/qemu-tcg/1024M-sysb]"]
    assert properties(good) == {
        "cell": "relay/good/qemu-tcg/1024M",
        "recipe": "relay",
        "kernel": "good",
        "machine": "qemu",
        "accelerator": "tcg",
        "memory": "1024M",
        "medium": "direct",
        "firmware": "bios",
        "record": "run-good-0",
        "outcome": "PASS",
    }
    flaky = cases["test_check[relay/infra-once/qemu-tcg/1024M-gcc-exit-status]"]
    assert properties(flaky)["status"] == "flaky"
    panics = [case for name, case in cases.items() if "/panics/" in name]
    assert sum(case.find("failure") is not None for case in panics) == 1
    reached = [properties(case).get("status") for case in panics]
    assert reached.count("not reached") == len(panics) - 1
    known = cases["test_stage[relay/known/qemu-tcg/1024M-sysa]"].find("skipped")
    assert known is not None
    assert known.attrib["type"] == "pytest.xfail"
    other = [name for name in cases if "other-plan" in name]
    assert other == [f"test_stage[hello/other-plan/qemu-tcg/256M-{stage}]" for stage in ("boot", "hello")]
    native = {name: properties(case) for name, case in cases.items() if "[relay/bwrap/1024M-" in name}
    assert native["test_stage[relay/bwrap/1024M-gcc]"].get("status") is None
    for name in ("test_stage[relay/bwrap/1024M-kexec]", "test_check[relay/bwrap/1024M-shell-second-kernel]"):
        assert native[name]["status"] == "not applicable"
    [summary] = re.findall(r"^=+ (1 failed.*) in .*=$", said, re.MULTILINE)
    assert "15 flaky" in summary
    assert "28 not reached" in summary


def test_a_cell_whose_kernel_does_not_fit_is_refused_before_it_boots(tmp_path: Path) -> None:
    said, cases = run_matrix(tmp_path, "--select", "kernel=unfit", matrix=MATRIX.replace('"good"', '"unfit"'))
    assert cases
    assert "the seed kernel unfit has no initramfs" in said
    assert not (tmp_path / "booted").exists()


def test_cells_of_a_matrix_are_selected(tmp_path: Path) -> None:
    _, cases = run_matrix(tmp_path, "--select", "kernel=good", "-n", "2", "--dist=loadgroup")
    assert cases
    assert all("/good/" in name for name in cases)
    assert (tmp_path / "booted").read_text() == "good"
