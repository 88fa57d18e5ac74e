"""Manifests: written and read, with any names, and as docs/builds.md describes them."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import InfraError
from harness.formats.tree import Written
from harness.image.manifest import Input, Manifest, read, read_origins, without_twins, write
from testcases.unit.test_docs import page, rows, words

if TYPE_CHECKING:
    from pathlib import Path

    import msgspec

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name).map(os.fsdecode)


def manifest(*files: Written) -> Manifest:
    return Manifest(
        "root",
        "initramfs",
        "root.cpio",
        5,
        "ab" * 32,
        files,
        (Input("file", "x"),),
        {"harness": "1"},
        ("it",),
    )


@given(st.lists(NAMES, max_size=4))
def test_any_names_are_text_and_stay_different(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.json"
    files = [Written(name, stat.S_IFLNK | 0o777, 0, 0, 1, "", target=name) for name in names]
    write(manifest(*files), path)
    json.loads(path.read_text("utf-8"))
    found = read(path).files
    assert len({file.path for file in found}) == len(set(names))
    assert all(file.path.isprintable() and file.path == file.target for file in found)


def test_a_usual_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = manifest(Written("a b/ü", stat.S_IFREG | 0o644, 1, 2, 3, "cd" * 32, source="bash 5.2"))
    write(made, tmp_path / "manifest.json")
    assert read(tmp_path / "manifest.json") == made
    origins = read_origins(tmp_path / "manifest.json")
    assert (origins.inputs, origins.tools, origins.varies) == (made.inputs, made.tools, made.varies)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"image": 1}'])
def test_what_is_no_manifest_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "manifest.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InfraError, match=re.escape(f"cannot read the manifest {path}: ")) as caught:
        read(path)
    assert "store verify" in caught.value.hint


def test_inputs_are_there_once_and_in_order() -> None:
    first, second = Input("package", "a", "1"), Input("package", "b", "1")
    assert without_twins([second, first, second, Input("file", "z")]) == (Input("file", "z"), first, second)


@pytest.mark.parametrize(
    ("start", "struct"),
    [("## The manifest", Manifest), ("Each of `files`", Written), ("Each of `inputs`", Input)],
)
def test_every_field_is_described(start: str, struct: type[msgspec.Struct]) -> None:
    described = [word for row in rows(page("builds"), start) for word in words(row[0])]
    assert sorted(described) == sorted(struct.__struct_encode_fields__)
