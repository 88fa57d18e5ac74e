"""What is wrong with a source or a tarball is said in one line, with the file or the step."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from testcases.system.genesis import whole
from testcases.unit.genesis import chain

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = ("sha256", "gunzip", "bunzip2", "untar", "edit", "cp", "mkdir")
pytestmark = pytest.mark.xdist_group("genesis-cc")


@pytest.fixture(scope="module")
def tools(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the chain up to the tools."""
    root = tmp_path_factory.mktemp("bad") / "root"
    shutil.copytree(made, root)
    for part in ("05-cc", "07-tools"):
        done = whole.run(root, part)
        assert done.returncode == 0, done
    return root


@pytest.mark.parametrize(
    ("source", "change", "differs"),
    [
        ("05-cc/06-code.c", ("0x0f90c0", "0x0f90c8"), ("cc-1", "cc", *TOOLS)),
        ("06-libc/string.c", ("*(int *)t = word", "*(int *)t = ~word"), TOOLS),
        ("07-tools/cp.c", ("give a file", "Give a file"), ("cp",)),
    ],
)
def test_a_changed_source_is_found_by_the_sums_of_what_it_makes(
    source: str, change: tuple[str, str], differs: tuple[str, ...], tools: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(tools, root)
    text = (root / source).read_text()
    assert change[0] in text
    (root / source).write_text(text.replace(*change))
    assert whole.run(root, "05-cc").returncode == 0
    done = whole.run(root, "07-tools")
    assert done.returncode == 1
    named = [line.split(":")[0] for line in done.stdout.splitlines() if ": has the sha256 " in line]
    assert named == list(differs)
    assert done.stderr == "07-tools/steps:13: sha256: exit status 1\n"


def test_a_listing_that_is_cut_off_stops_the_chain_at_its_program(tmp_path: Path) -> None:
    chain.lay_out(tmp_path)
    listing = tmp_path / "02-asm/asm.hex"
    listing.write_bytes(listing.read_bytes()[:7000])
    done = chain.start(tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(b"steps:4: init: ")


def test_a_tarball_that_is_missing_is_named(tools: Path) -> None:
    done = whole.run(tools, "08-tcc")
    assert (done.returncode, done.stderr) == (
        1,
        "sha256: tcc.tar.bz2: cannot be opened\n08-tcc/steps:4: sha256: exit status 1\n",
    )


def test_a_tarball_with_another_hash_is_named(tools: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(tools, root)
    (root / "tcc.tar.bz2").write_bytes(b"another one")
    done = whole.run(root, "08-tcc")
    assert done.returncode == 1
    wanted = (root / "08-tcc/source").read_text().split()[0]
    assert done.stdout.splitlines()[-1].startswith("tcc.tar.bz2: has the sha256 ")
    assert done.stdout.splitlines()[-1].endswith(f", not {wanted}")
