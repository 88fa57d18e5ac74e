"""Contents of images that come from a git checkout."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness import recipe as r
from harness.image.origins import describe
from testcases.unit.test_contents import Given, Notes, failure, given_in, tree_of

if TYPE_CHECKING:
    from pathlib import Path

    from testcases.conftest import Larder


@pytest.mark.parametrize(
    "content",
    [
        r.Text(path="a", text="b"),
        r.File(path="init", source="files/init"),
        r.Packages(names=("busybox", "scripts")),
        r.KernelFile(path="kernel", kernel="seed"),
        r.ImageFile(path="first", image="first"),
        r.Checkout(source="files", dirty=True),
        r.Download(path="d", url="files/init", sha256="0" * 64),
        r.Tarball(url="files/init", sha256="0" * 64),
    ],
)
def test_a_description_is_the_same_twice_and_fit_for_json(given: Given, content: r.Content) -> None:
    described = describe(content, given)
    assert described == describe(content, given)
    assert msgspec.json.encode(described)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def given(tmp_path: Path, larder: Larder, notes: Notes) -> Given:
    return given_in(tmp_path, larder, notes)


def git(place: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "-C", str(place), *settings, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(given: Given) -> Path:
    place = given.file("tree/run", b"#!/bin/sh\n").parent
    (place / "run").chmod(0o700)
    given.file("tree/doc/words", b"words")
    git(place, "init", "-q")
    git(place, "add", ".")
    git(place, "commit", "-qm", "first")
    given.file("tree/stray")
    return place


def test_a_checkout_goes_where_the_recipe_says(given: Given, checkout: Path) -> None:
    found = tree_of(r.Checkout(source="tree", path="usr/src"), given)
    assert {path: entry.mode for path, entry in found.items()} == {
        "usr/src/run": stat.S_IFREG | 0o755,
        "usr/src/doc/words": stat.S_IFREG | 0o644,
    }
    assert found["usr/src/run"].content == checkout / "run"
    assert found["usr/src/run"].source.startswith("tree/run at ")
    assert set(tree_of(r.Checkout(source="tree"), given)) == {"run", "doc/words"}
    assert set(tree_of(r.Checkout(source="tree", drop=("doc",)), given)) == {"run"}
    assert set(tree_of(r.Checkout(source="tree", drop=("*/wor*",)), given)) == {"run"}


def test_stray_files_need_the_key_or_the_option(given: Given, checkout: Path) -> None:
    content = r.Checkout(source="tree")
    clean = describe(content, given)
    assert set(tree_of(r.Checkout(source="tree", dirty=True), given)) == {"run", "doc/words", "stray"}
    given.context = msgspec.structs.replace(given.context, dirty=True)
    assert set(tree_of(content, given)) == {"run", "doc/words", "stray"}
    assert describe(content, given) != clean


def test_files_go_in_as_they_were_committed(given: Given, checkout: Path) -> None:
    clone = given.recipe.base / "crlf"
    git(checkout, "clone", "-q", "-c", "core.autocrlf=true", str(checkout), str(clone))
    assert (clone / "run").read_bytes() == b"#!/bin/sh\r\n"
    assert tree_of(r.Checkout(source="crlf"), given)["run"].content == b"#!/bin/sh\n"
    described = [describe(r.Checkout(source=source), given)["sha256"] for source in ("crlf", "tree")]
    assert described[0] == described[1]


def test_a_pointer_of_git_lfs_is_refused(given: Given, checkout: Path) -> None:
    given.file("tree/.gitattributes", b"big filter=lfs\n")
    oid = "0" * 64
    given.file("tree/big", f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 9\n".encode())
    git(checkout, "add", "big", ".gitattributes")
    git(checkout, "commit", "-qm", "big")
    assert "big only names a content that Git LFS keeps" in failure(given, r.Checkout(source="tree"))
    assert set(tree_of(r.Checkout(source="tree", drop=("big", ".gitattributes")), given)) == {
        "run",
        "doc/words",
    }


def test_what_differs_from_the_commit_is_said(given: Given, checkout: Path, notes: Notes) -> None:
    content = r.Checkout(source="tree")
    clean = describe(content, given)
    tree_of(content, given)
    assert (notes.notes, clean["modified"]) == ([], False)
    (checkout / "run").write_bytes(b"other")
    changed = describe(content, given)
    assert (changed["modified"], changed["commit"]) == (True, clean["commit"])
    assert changed["sha256"] != clean["sha256"]
    assert tree_of(content, given)["run"].source == "tree/run, modified"
    [note] = notes.notes
    assert note.startswith("tree differs from its commit ")
    assert note.endswith(": run")


def test_a_plain_directory_is_named_with_recipe_and_key(given: Given) -> None:
    message = failure(given, r.Checkout(source="files"))
    assert message == f"key image[0].contents[0].source: {given.recipe.base}/files is no git checkout"
    assert set(tree_of(r.Checkout(source="files", dirty=True), given)) == {"init"}
