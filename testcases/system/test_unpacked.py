"""Archives of GNU tar, unpacked."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from harness.sources.untar import content
from testcases.unit.test_unpacked import unpacked

if TYPE_CHECKING:
    from pathlib import Path


def test_what_gnu_tar_packs_comes_out_the_same(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d" / ("n" * 150)).mkdir(parents=True)
    files = {"d/plain": b"1", f"d/{'n' * 150}/long": b"2", "sp ace\n": b"3", os.fsdecode(b"\xff"): b"4"}
    for name, data in files.items():
        (tree / name).write_bytes(data)
    (tree / "link").symlink_to("d/plain")
    os.link(tree / "d/plain", tree / "z")
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(500_000)
        file.write(b"island")
    for form in ("gnu", "pax", "ustar"):
        names = [*files, "sparse", "link", "z"] if form != "ustar" else ["d/plain", "link", "z"]
        packed = subprocess.run(
            ["tar", "-c", "-C", tree, f"--format={form}", *(["--sparse"] if form != "ustar" else []), *names],
            capture_output=True,
            check=True,
        ).stdout
        there = tmp_path / form
        found = unpacked(packed, there)
        assert set(found) == set(names), form
        assert found["z"].link == b"d/plain"
        for name in names:
            if not (tree / name).is_symlink():
                assert content(there, found[name]).read_bytes() == (tree / name).read_bytes(), name
