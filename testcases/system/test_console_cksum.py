from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from harness.console.cksum import posix_cksum
from testcases.support.profiles import fewer


@fewer(2)
@given(st.one_of(st.binary(max_size=600), st.integers(0, 70000).map(bytes)))
def test_same_as_the_program(data: bytes) -> None:
    run = subprocess.run(["cksum"], input=data, capture_output=True, check=True)
    assert f"{posix_cksum(data)} {len(data)}" == run.stdout.decode().strip()
