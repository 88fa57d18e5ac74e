"""Fixtures for guests that are booted one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.core.errors import HarnessError
from harness.core.progress import Quiet
from harness.kernel import built, catalogue, toolchain
from harness.sources.debian import DebianSource
from harness.store import Store
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.image.factory import Build
    from harness.stages.events import Listener
    from harness.stages.verdict import Verdict


# The recipe's own kernel, and the newest; the boards of hardware/ boot one more of 64 bits.
_SOME_KERNELS = {"debian-6.1-i686", "debian-sid-x86_64"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the relay under the other kernels to the night, unless runs are asked for by name."""
    if config.getoption("--kernel") or config.getoption("--matrix"):
        return
    for item in items:
        kernel = getattr(item, "callspec", None) and item.callspec.params.get("bootstrap_run")  # type: ignore[attr-defined]
        if kernel and item.path.name == "test_relay.py" and kernel not in _SOME_KERNELS:
            item.add_marker(pytest.mark.thorough)


@pytest.fixture(scope="session")
def relay(build_images: Callable[[str | None], Build]) -> Build:
    """The relay's images for its default seed kernel."""
    return build_images(None)


@pytest.fixture
def verdict_of(harness_cache: Path, tmp_path: Path) -> Callable[..., Verdict]:
    """Boots what was built, with budgets that a healthy relay keeps, and returns the verdict."""

    def boot(
        images: Build, *, listeners: Sequence[Listener] = (), patience: float = 0.5, **options: Any
    ) -> Verdict:
        run = run_built(
            images,
            cache=harness_cache,
            runs=tmp_path / "runs",
            patience=patience,
            **options,
            listeners=list(listeners),
        )
        verdict = run.result.verdict
        assert verdict.hint, "every verdict but PASS says what to do next"
        assert verdict.evidence, "every verdict but PASS rests on something"
        raw = (run.directory / "console.raw").read_bytes()
        for item in verdict.evidence:
            assert item.offset is None or 0 <= item.offset < len(raw)
        return verdict

    return boot


@pytest.fixture
def require(harness_cache: Path) -> Callable[[str], str]:
    """Skips unless the store has a kernel that is built here; returns its name."""

    def look(name: str) -> str:
        store = Store(harness_cache)
        try:
            order = catalogue.order(name, DebianSource(store, Quiet()))
            there = store.has(built.KIND, order.inputs(toolchain.look()))
        except HarnessError as error:
            pytest.skip(f"cannot say whether {name} is built: {error.message}")
        if not there:
            pytest.skip(f"{name} is not built: `harness kernel build {name}`")
        return name

    return look
