"""The table `native` of a plan: what holds without a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core import toml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Native(toml.Table, frozen=True):
    """What of a plan holds on a machine without a kernel of its own; what is named here does not.

    There the run ends when the first process does, with status 0; with `end_line`, when that line comes.
    """

    # stages, checks as "stage.check", and "stage.produced" where the root shows more than its shell would
    # list
    not_applicable: tuple[str, ...] = ()
    last_words: str = ""  # typed to the shell when all is done
    end_line: str = ""  # pattern of the line that is the right end, where the first process stays


def native_problems(native: Native | None, stages: Sequence[str], checks: Sequence[str]) -> Iterator[str]:
    """What is wrong with such a part, in sentences, given the names of all stages and checks."""
    left_out = native.not_applicable if native else ()
    known = {*stages, *checks}
    yield from (f"there is no stage or check {name!r}" for name in left_out if name not in known)
    if set(stages) <= set(left_out):
        yield "no stage is left"
