"""What we find out about modules against what depmod, which made it for every Linux system, finds out."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.kernel.modules import closure
from testcases.support.profiles import fewer
from testcases.unit.test_modules import Kernel, module

if TYPE_CHECKING:
    from pathlib import Path

DEPMOD = shutil.which("depmod", path="/usr/sbin:/sbin:/usr/bin:/bin")
pytestmark = pytest.mark.skipif(DEPMOD is None, reason="depmod (package kmod) is not installed")


def answers(base: Path, release: str) -> dict[str, list[str]]:
    """What depmod says that each module needs, by name, in the order in which it loads."""
    assert DEPMOD
    subprocess.run([DEPMOD, "-b", str(base), release], check=True, capture_output=True)
    answer = {}
    for line in (base / "lib/modules" / release / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        answer[name_of(path)] = [name_of(each) for each in reversed(needed.split())]
    return answer


def name_of(path: str) -> str:
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """For each module, the ones before it that it needs."""
    size = draw(st.integers(1, 12))
    return [draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True)) if n else [] for n in range(size)]


@given(graph=graphs())
@fewer(5)
def test_the_closure_of_made_up_modules(
    graph: list[list[int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.mktemp("base")
    kernel = Kernel(base / "lib/modules")
    # depmod goes by symbols, and we by depends=, which modpost derives from the same symbols: here by name.
    for number, needed in enumerate(graph):
        kernel.add(f"m-{number}", "depends=" + ",".join(f"m-{each}" for each in needed))
    for number in range(len(graph)):
        found = kernel.order(f"m_{number}")
        below: set[int] = set()
        queue = [number]
        while queue:
            below |= {*graph[queue[0]]}
            queue = [*queue[1:], *graph[queue[0]]]
        assert set(found) == {f"m_{each}" for each in below | {number}}


def test_aliases_and_soft_dependencies_are_read_as_depmod_reads_them(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "lib/modules")
    kernel.add("kernel/crypto/crc32c_generic", "alias=crypto-crc32c", "alias=crc32c", "depends=")
    kernel.add("fs/ext4", "softdep=pre: crc32c post: after-all", "depends=")
    kernel.add("fs/after-all", "depends=")
    answers(tmp_path, kernel.root.name)
    aliases = (kernel.root / "modules.alias").read_text()
    softdeps = (kernel.root / "modules.softdep").read_text()
    assert "alias crc32c crc32c_generic" in aliases
    assert "softdep ext4 pre: crc32c post: after-all" in softdeps
    assert kernel.order("ext4") == ["ext4", "after_all"]
    kernel.add("crypto/crc32c_generic", "alias=crypto-crc32c", "alias=crc32c", "depends=")
    assert kernel.order("ext4") == ["crc32c_generic", "ext4", "after_all"]


def test_modules_without_symbols_need_nothing(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path / "lib/modules")
    kernel.add_file("a.ko", module("depends="))
    assert answers(tmp_path, kernel.root.name) == {"a": []}
    assert [each.name for each in closure(kernel.root, ["a"])] == ["a"]
