from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.console.cksum import posix_cksum


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=600), st.integers(0, 70000).map(bytes)))
def test_same_as_the_program(data: bytes) -> None:
    run = subprocess.run(["cksum"], input=data, capture_output=True, check=True)
    assert f"{posix_cksum(data)} {len(data)}" == run.stdout.decode().strip()
