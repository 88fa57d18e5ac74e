"""pytest plugin: one run per kernel, a test for each of its stages and checks.

A test that asks for `bootstrap_run` is repeated for every kernel; one that also asks for `stage` or `check`,
for every stage or check of the plan. All tests of one run go to one worker, which boots it once; images are
built once for all workers, and no more guests run at a time than the host carries.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import pipeline, places
from harness.errors import HarnessError
from harness.progress import Quiet
from harness.recipe import Recipe, load_recipe
from harness.report.excerpt import explain_check, explain_stage
from harness.slices import Slice
from harness.stages.plan import Plan, load_plan
from harness.stages.verdict import StageStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.image.factory import Build
    from harness.pipeline import Run


_RECIPE = pytest.StashKey[Recipe]()
_PLAN = pytest.StashKey[Plan]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose what is booted and where its traces go."""
    group = parser.getgroup("bootstrap-harness")
    group.addoption("--recipe", default="relay", help="recipe that is booted (name or .toml file)")
    group.addoption(
        "--kernel",
        action="append",
        help="seed kernel that boots it (name or path; repeatable; default: the recipe's kernels.qualified)",
    )
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
    except HarnessError as error:
        raise pytest.UsageError(f"{error.message} ({error.hint})") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat tests of a run for every kernel, stage and check."""
    if "bootstrap_run" not in metafunc.fixturenames:
        return
    recipe, plan = metafunc.config.stash[_RECIPE], metafunc.config.stash[_PLAN]
    kernels = metafunc.config.getoption("--kernel") or recipe.kernels.qualified or [recipe.kernels.seed]
    runs = [
        pytest.param(kernel, id=Path(kernel).name, marks=pytest.mark.xdist_group(f"{recipe.name}-{kernel}"))
        for kernel in kernels
    ]
    metafunc.parametrize("bootstrap_run", runs, indirect=True, scope="session")
    if "stage" in metafunc.fixturenames:
        metafunc.parametrize("stage", [stage.name for stage in plan.stages])
    if "check" in metafunc.fixturenames:
        checks = [(stage.name, check.name) for stage in plan.stages for check in stage.checks]
        metafunc.parametrize("check", checks, ids=["-".join(check) for check in checks])


@pytest.fixture(scope="session")
def harness_cache(pytestconfig: pytest.Config) -> Path:
    """The cache directory that all workers share."""
    chosen: Path | None = pytestconfig.getoption("--cache")
    return chosen.absolute() if chosen else places.cache_root()


@pytest.fixture(scope="session")
def build_images(pytestconfig: pytest.Config, harness_cache: Path) -> Callable[[str | None], Build]:
    """Builds the recipe's images for a seed kernel, or finds them in the store."""
    recipe = pytestconfig.stash[_RECIPE]

    def build(kernel: str | None = None) -> Build:
        return pipeline.build(recipe, pipeline.BuildOptions(cache=harness_cache, kernel=kernel), Quiet())

    return build


@pytest.fixture(scope="session")
def bootstrap_run(
    request: pytest.FixtureRequest, harness_cache: Path, build_images: Callable[[str | None], Build]
) -> Run:
    """A run of the recipe under one kernel, followed to its end."""
    options = pipeline.RunOptions(
        runs=request.config.getoption("--runs").absolute(),
        accelerator=request.config.getoption("--accelerator"),
        patience=request.config.getoption("--patience"),
        part=Slice(start=request.config.getoption("start")),
    )
    try:
        built = build_images(request.param)
        return pipeline.boot(built, options, cache=harness_cache, listeners=[], progress=Quiet())
    except HarnessError as error:
        pytest.fail(f"{error.message}\n{error.hint}", pytrace=False)


@pytest.fixture
def require_stage(bootstrap_run: Run) -> Callable[[str], None]:
    """Fails, with the console's words, for a stage that failed; skips for one that was not reached."""

    def require(name: str) -> None:
        stage = next(stage for stage in bootstrap_run.result.stages if stage.name == name)
        if stage.status == StageStatus.RESUMED:
            pytest.skip(f"not in this run: {bootstrap_run.result.verdict.reason}")
        if stage.status == StageStatus.NOT_REACHED:
            pytest.skip(f"not reached: {bootstrap_run.result.verdict.reason}")
        if stage.status == StageStatus.FAILED:
            pytest.fail(explain_stage(bootstrap_run.result, stage, bootstrap_run.directory), pytrace=False)

    return require


@pytest.fixture
def require_check(bootstrap_run: Run) -> Callable[[tuple[str, str]], None]:
    """Fails, with the guest's answer, for a check that failed; skips for one that was not reached."""

    def require(wanted: tuple[str, str]) -> None:
        for check in bootstrap_run.result.checks:
            if (check.stage, check.name) == wanted:
                if not check.passed:
                    message = explain_check(bootstrap_run.result, check, bootstrap_run.directory)
                    pytest.fail(message, pytrace=False)
                return
        pytest.skip(f"not reached: {bootstrap_run.result.verdict.reason}")

    return require
