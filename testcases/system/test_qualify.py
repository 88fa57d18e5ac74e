"""Qualification by running the relay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.qualify.qualification import relay_beside

if TYPE_CHECKING:
    from pathlib import Path


def test_a_relay_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    with relay_beside(["--kernel", "/no/vmlinuz"], tmp_path / "runs", tmp_path / "cache", Quiet()) as ended:
        relay = ended()
    assert relay.verdict.outcome == Outcome.CONFIG
    assert "/no/vmlinuz" in relay.verdict.reason
    assert (relay.to_init, relay.to_prompt, relay.record) == (None, None, "")
