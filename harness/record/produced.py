"""Compares the files that runs produced, by hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class Difference(msgspec.Struct, frozen=True):
    """Two sets of produced files, side by side."""

    same: int  # how many files are identical
    differing: tuple[str, ...]  # names of files that both have, with different hashes
    only_first: tuple[str, ...]  # names that only the first has
    only_second: tuple[str, ...]  # names that only the second has


def difference(first: Mapping[str, str], second: Mapping[str, str]) -> Difference:
    """Compare what two runs made, file by file, in the first one's order."""
    both = [name for name in first if name in second]
    return Difference(
        same=sum(first[name] == second[name] for name in both),
        differing=tuple(name for name in both if first[name] != second[name]),
        only_first=tuple(name for name in first if name not in second),
        only_second=tuple(name for name in second if name not in first),
    )


def disproved(expected: Mapping[str, str], sums: Mapping[str, str], approved: Collection[str]) -> str:
    """What is wrong with the files of a run, in a sentence; "" where each has the sha256 that it should have.

    Args:
        expected: The sha256 that files should have, by path.
        sums: Those that files have, as far as the harness knows them.
        approved: Files that the payload itself found to be right; they count where the harness knows nothing.
    """
    for path, wanted in expected.items():
        if path in sums and sums[path] != wanted:
            return f"{path} has the sha256 {sums[path]} and should have {wanted}"
        if path not in sums and (sums or path not in approved):
            return f"{path}, which should have the sha256 {wanted}, was not made or not checked"
    return ""
