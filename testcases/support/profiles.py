"""Profiles of hypothesis: fixed and few examples by default, many random ones in `make test-thorough`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

FAST, THOROUGH = "fast", "thorough"

# How long an example takes says something about the host, which may be busy, and nothing about the code.
_ANY = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def register() -> None:
    """Make the profiles known, and `fast` the one that counts unless --hypothesis-profile says otherwise."""
    settings.register_profile(FAST, _ANY, max_examples=50, derandomize=True)
    settings.register_profile(
        THOROUGH,
        _ANY,
        max_examples=1000,
        derandomize=False,
        print_blob=True,
        database=DirectoryBasedExampleDatabase(".hypothesis/examples"),
    )
    settings.load_profile(FAST)


def thorough() -> bool:
    """Whether this is the search of the night, for sizes that a test cannot have twice."""
    return settings.get_current_profile_name() == THOROUGH


def by_night(*values: object) -> ParameterSet:
    """A parameter of a test that is for `make test-thorough` only."""
    return pytest.param(*values, marks=pytest.mark.thorough)


def fewer(times: int) -> settings:
    """So many times fewer examples than others get, for a test whose examples are costly."""
    return settings(max_examples=max(1, settings().max_examples // times))
