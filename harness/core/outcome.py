"""How a run can end, and the exit code that says so."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The end of a run; `docs/architecture.md` describes each."""

    PASS = "PASS"  # noqa: S105 - an outcome, not a password
    FAIL = "FAIL"
    CONFIG = "CONFIG"
    PANIC = "PANIC"
    HANG = "HANG"
    TIMEOUT = "TIMEOUT"
    INFRA = "INFRA"
    BUG = "BUG"
    INTERRUPTED = "INTERRUPTED"

    @property
    def exit_code(self) -> int:
        """Exit status of the process that ends with this outcome."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Outcome.PASS: 0,
    Outcome.FAIL: 1,
    Outcome.CONFIG: 2,
    Outcome.PANIC: 3,
    Outcome.HANG: 4,
    Outcome.TIMEOUT: 5,
    Outcome.INFRA: 6,
    Outcome.BUG: 70,
    Outcome.INTERRUPTED: 130,
}
