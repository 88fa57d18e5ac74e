"""pytest plugin: runs per kernel or cell, tests per stage and check.

A test that asks for `bootstrap_run` is repeated for every kernel, with `--matrix` for every cell; one that
also asks for `stage` or `check`, for every stage or check of the plan. All tests of one run go to one worker,
which boots it once; images are built once for all workers, and no more guests run at a time than the host
carries.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec
import pytest

from harness.core import paths
from harness.core.errors import HarnessError, InfraError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine.kinds import find_kind
from harness.matrix.cells import Cell, asked, load_matrix, outline
from harness.matrix.selection import KEYS, select
from harness.recipe import Recipe, load_recipe
from harness.report.log import explain_check, explain_stage
from harness.run import execute, prepare
from harness.run.execute import Run
from harness.run.request import RunRequest, StageRange
from harness.stages.plan import Plan
from harness.stages.plan_file import find_plan, load_plan
from harness.stages.verdict import StageStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest.mark import ParameterSet

    from harness.image.factory import Build


_RECIPE = pytest.StashKey[Recipe]()
_PLAN = pytest.StashKey[Plan]()
_CELLS = pytest.StashKey[tuple[Cell, ...]]()
_RETRIED = pytest.StashKey[set[Path]]()  # records of runs that came after one that the host had failed

# Sections of the summary, letters and words for reports that have these properties.
_STATUS = {
    "flaky": ("flaky", "~", "FLAKY"),
    "not reached": ("not reached", "n", "NOT REACHED"),
    "not applicable": ("not applicable", "-", "NOT APPLICABLE"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose what is booted and where its traces go."""
    group = parser.getgroup("bootstrap-harness")
    group.addoption("--recipe", default="relay", help="recipe that is booted (name or .toml file)")
    group.addoption(
        "--kernel",
        action="append",
        help="seed kernel that boots it (name or path; repeatable; default: the recipe's kernels.qualified)",
    )
    group.addoption("--matrix", type=Path, help="boot the cells of this matrix file instead")
    group.addoption("--select", default="", help="only these cells of the matrix")
    group.addoption("--cache", type=Path, help="cache directory (default: that of the harness)")
    group.addoption("--runs", type=Path, default=Path("runs"), help="directory for run records")
    group.addoption("--accelerator", default="auto", choices=["auto", "kvm", "tcg"], help="how guests run")
    group.addoption("--from", default="", dest="start", help="stage at which runs go on from a checkpoint")
    group.addoption("--patience", type=float, default=1.0, help="multiplies all time budgets")


def pytest_configure(config: pytest.Config) -> None:
    """Read the recipe and its plan: they say which tests there are."""
    try:
        recipe = load_recipe(config.getoption("--recipe"))
        config.stash[_RECIPE] = recipe
        config.stash[_PLAN] = load_plan(recipe.plan)
        config.stash[_CELLS] = _cells(config)
        config.stash[_RETRIED] = set()
    except HarnessError as error:
        raise pytest.UsageError(f"{error.message} ({error.hint})") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat tests of a run for every kernel, stage and check."""
    if "bootstrap_run" not in metafunc.fixturenames:
        return
    recipe, plans = metafunc.config.stash[_RECIPE], [metafunc.config.stash[_PLAN]]
    if cells := metafunc.config.stash[_CELLS]:
        runs, plans = list(map(_cell_parameter, cells)), [_plan_of(cell) for cell in cells]
    else:
        kernels = metafunc.config.getoption("--kernel") or recipe.kernels.qualified or [recipe.kernels.seed]
        runs = [
            pytest.param(each, id=Path(each).name, marks=pytest.mark.xdist_group(f"{recipe.name}-{each}"))
            for each in kernels
        ]
    metafunc.parametrize("bootstrap_run", runs, indirect=True, scope="session")
    if "stage" in metafunc.fixturenames:
        metafunc.parametrize("stage", list(dict.fromkeys(s.name for plan in plans for s in plan.stages)))
    if "check" in metafunc.fixturenames:
        checks = dict.fromkeys((s.name, c.name) for plan in plans for s in plan.stages for c in s.checks)
        metafunc.parametrize("check", list(checks), ids=["-".join(check) for check in checks])


def _cells(config: pytest.Config) -> tuple[Cell, ...]:
    file, expression = config.getoption("--matrix"), config.getoption("--select")
    if file is None:
        return ()
    cells = load_matrix(file, datetime.now(UTC).date()).cells
    return select(cells, expression) if expression else cells


def _cell_parameter(cell: Cell) -> ParameterSet:
    marks = [pytest.mark.xdist_group(cell.kind.alone or cell.name)]  # a board has one run at a time
    if cell.allowed:
        marks.append(pytest.mark.xfail(reason=cell.allowed, strict=False))
    return pytest.param(cell, id=cell.name, marks=marks)


@cache
def _plan_of(cell: Cell) -> Plan:
    if cell.checkout:
        return load_plan(find_plan(outline(cell.checkout, cell.kind, cell.kernel).plan))
    return load_plan(load_recipe(cell.recipe).plan)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what a cell's own plan does not have, and note in reports what each test is about."""
    kept, gone = [], []
    for item in items:
        parameters = (
            item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        )
        cell = parameters.get("bootstrap_run")
        if isinstance(cell, Cell):
            plan = _plan_of(cell)
            stages = {stage.name for stage in plan.stages}
            checks = {(stage.name, check.name) for stage in plan.stages for check in stage.checks}
            has_stage = parameters.get("stage") in {None, *stages}
            if not has_stage or parameters.get("check") not in {None, *checks}:
                gone.append(item)
                continue
            item.user_properties.append(("cell", cell.name))
            item.user_properties += [(key, cell.value(key)) for key in KEYS]
        elif cell is not None:
            item.user_properties += [("recipe", config.stash[_RECIPE].name), ("kernel", str(cell))]
        kept.append(item)
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Note in the report what became of the run."""
    run = getattr(item, "funcargs", {}).get("bootstrap_run")
    if isinstance(run, Run):
        item.user_properties.append(("record", run.directory.name))
        item.user_properties.append(("outcome", str(run.result.verdict.outcome)))
        if run.directory in item.config.stash[_RETRIED]:
            item.user_properties.append(("status", "flaky"))


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """Show what passed at the second attempt only, and what a run did not reach, as what they are."""
    if not isinstance(report, pytest.TestReport):
        return None
    status = dict(report.user_properties).get("status")
    if report.when != "call" or not isinstance(status, str):
        return None
    return _STATUS[status] if report.outcome == ("passed" if status == "flaky" else "skipped") else None


@pytest.fixture(scope="session")
def harness_cache(pytestconfig: pytest.Config) -> Path:
    """The cache directory that all workers share."""
    chosen: Path | None = pytestconfig.getoption("--cache")
    return chosen.absolute() if chosen else paths.cache_root()


@pytest.fixture(scope="session")
def build_images(pytestconfig: pytest.Config, harness_cache: Path) -> Callable[[str | None], Build]:
    """Builds the recipe's images for a seed kernel, or finds them in the store."""
    recipe = pytestconfig.stash[_RECIPE]

    def build(kernel: str | None = None) -> Build:
        return build_recipe(recipe, BuildOptions(cache=harness_cache, kernel=kernel), Quiet())

    return build


@pytest.fixture(scope="session")
def bootstrap_run(request: pytest.FixtureRequest, harness_cache: Path) -> Run:
    """A run of the recipe under one kernel, or of a cell, followed to its end."""
    given = request.config.getoption
    wanted = RunRequest(
        recipe=given("--recipe"),
        build=BuildOptions(cache=harness_cache),
        runs=given("--runs").absolute(),
        accelerator=given("--accelerator"),
        patience=given("--patience"),
        part=StageRange(start=given("start")),
    )
    try:
        if isinstance(request.param, Cell):
            return _cell_run(request.param, wanted, request.config.stash[_RETRIED])
        build = msgspec.structs.replace(wanted.build, kernel=request.param)
        return _run(msgspec.structs.replace(wanted, build=build))
    except HarnessError as error:
        pytest.fail(f"{error.message}\n{error.hint}", pytrace=False)


def _cell_run(cell: Cell, request: RunRequest, retried: set[Path]) -> Run:
    """A run of a cell; once more if the host failed."""
    labels = {"cell": cell.name} if cell.accelerator != "auto" else {}
    wanted = msgspec.structs.replace(asked(cell, request), labels=labels)
    if request.accelerator != "auto" and cell.kind.takes("--accelerator"):
        wanted = msgspec.structs.replace(wanted, accelerator=request.accelerator)
    run = None
    with suppress(InfraError):
        run = _run(wanted)
    if run is None or run.result.verdict.outcome == Outcome.INFRA:
        run = _run(wanted)
        retried.add(run.directory)
    return run


def _run(request: RunRequest) -> Run:
    with find_kind(request.machine).leased(f"pytest, {request.labels.get('cell', request.recipe)}"):
        return execute.execute(prepare.prepare(request, Quiet()))


def _skip(request: pytest.FixtureRequest, status: str, why: str) -> NoReturn:
    request.node.user_properties.append(("status", status))
    pytest.skip(f"{status}: {why}")


_NO_KERNEL = "the machine has no kernel of its own"


@pytest.fixture
def require_stage(request: pytest.FixtureRequest, bootstrap_run: Run) -> Callable[[str], None]:
    """Fails, with the console's words, for a stage that failed; skips for one that was not reached."""

    def require(name: str) -> None:
        stage = next(stage for stage in bootstrap_run.result.stages if stage.name == name)
        if stage.status == StageStatus.RESUMED:
            pytest.skip(f"not in this run: {bootstrap_run.result.verdict.reason}")
        if stage.status == StageStatus.NOT_APPLICABLE:
            _skip(request, "not applicable", _NO_KERNEL)
        if stage.status == StageStatus.NOT_REACHED:
            _skip(request, "not reached", bootstrap_run.result.verdict.reason)
        if stage.status == StageStatus.FAILED:
            pytest.fail(explain_stage(bootstrap_run.result, stage, bootstrap_run.directory), pytrace=False)

    return require


@pytest.fixture
def require_check(request: pytest.FixtureRequest, bootstrap_run: Run) -> Callable[[tuple[str, str]], None]:
    """Fails, with the guest's answer, for a check that failed; skips for one that was not reached."""

    def require(wanted: tuple[str, str]) -> None:
        for check in bootstrap_run.result.checks:
            if (check.stage, check.name) == wanted:
                if not check.passed:
                    message = explain_check(bootstrap_run.result, check, bootstrap_run.directory)
                    pytest.fail(message, pytrace=False)
                return
        if {wanted[0], ".".join(wanted)} & set(bootstrap_run.result.not_applicable):
            _skip(request, "not applicable", _NO_KERNEL)
        _skip(request, "not reached", bootstrap_run.result.verdict.reason)

    return require
