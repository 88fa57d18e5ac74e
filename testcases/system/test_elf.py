"""ELF programs of this host, compared with ldd."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.formats.elf import elf_class, needed_files
from harness.formats.tree import Entry
from testcases.unit.test_elf import LINK, PROGRAM


def host_tree(*paths: str) -> dict[str, Entry]:
    """Return host files with all links on the way; links are found one component at a time."""
    tree: dict[str, Entry] = {}
    queue = list(paths)
    while queue:
        at = Path("/")
        parts = Path(queue.pop()).parts[1:]
        for i, part in enumerate(parts):
            at /= part
            name = str(at.relative_to("/"))
            if at.is_symlink():
                tree[name] = Entry(name, LINK, target=str(at.readlink()))
                queue.append(os.path.normpath(Path(at.parent, at.readlink(), *parts[i + 1 :])))
                break
            if at.is_file():
                tree[name] = Entry(name, at.stat().st_mode, at)
    return tree


def ldd(program: str) -> list[str]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


@pytest.mark.skipif(shutil.which("ldd") is None, reason="there is no ldd")
@pytest.mark.parametrize("name", ["bash", "cpio", "cat", "git", "python3"])
def test_host_program_needs_what_ldd_says(name: str) -> None:
    program = shutil.which(name, path="/bin:/usr/bin")
    if not program or not elf_class(Path(program).read_bytes()):
        pytest.skip(f"no {name}")
    libraries = ldd(program)
    assert libraries
    tree = host_tree(program, *libraries)
    extra = host_tree("/bin/true") | {"usr/lib/libunneeded.so": Entry("usr/lib/libunneeded.so", PROGRAM, b"")}

    found = needed_files(extra | tree, [program])
    # Names that differ in a merged /usr (/lib/x, /usr/lib/x) are one file.
    files = {tree[path].content for path in found if tree[path].is_file}
    assert files == {Path(path).resolve() for path in [program, *libraries]}


@pytest.mark.skipif(shutil.which("chroot") is None or os.geteuid() != 0, reason="chroot is root's")
def test_what_is_found_runs(tmp_path: Path) -> None:
    tree = host_tree("/bin/bash", *ldd("/bin/bash"))
    for path in needed_files(tree, ["bin/bash"]):
        there = tmp_path / path
        there.parent.mkdir(parents=True, exist_ok=True)
        if tree[path].is_symlink:
            there.symlink_to(tree[path].target)
        else:
            assert isinstance(tree[path].content, Path)
            shutil.copy(str(tree[path].content), there)
    said = subprocess.run(
        ["chroot", tmp_path, "/bin/bash", "-c", "echo alive"], capture_output=True, check=True
    )
    assert said.stdout == b"alive\n"
