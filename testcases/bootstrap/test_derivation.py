"""A derivation of yours: HARNESS_DERIVATION names its file, and HARNESS_DERIVATION_STORE its store or export.

With HARNESS_DERIVATION_BARE=1 its builders get neither shell nor environment, as those of stage0 need none.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.core.outcome import Outcome
from testcases.boot.test_derivation import replayed

DRV, STORE = os.environ.get("HARNESS_DERIVATION", ""), os.environ.get("HARNESS_DERIVATION_STORE", "")


@pytest.mark.skipif(not DRV, reason="HARNESS_DERIVATION names no derivation")
@pytest.mark.parametrize("machine", ["bwrap", "qemu"])
def test_its_outputs_have_the_hashes_of_its_store(machine: str, tmp_path: Path, harness_cache: Path) -> None:
    store, bare = Path(STORE) if STORE else None, bool(os.environ.get("HARNESS_DERIVATION_BARE"))
    done = replayed(Path(DRV), tmp_path, harness_cache, machine, store=store, bare=bare)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    assert "nothing to compare with" not in done.result.verdict.reason
