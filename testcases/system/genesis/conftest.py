"""The programs that the steps of genesis make, once for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testcases.unit.genesis import chain

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the chain after all steps."""
    root = tmp_path_factory.mktemp("genesis")
    chain.lay_out(root)
    done = chain.run(root)
    assert (done.returncode, done.stderr) == (0, b""), done
    return root
