"""Copies for the user: whole or not at all, with holes, and to be changed at will."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, InfraError
from harness.formats.tree import Written
from harness.image import delivery, ingredients, manifest, sbom
from harness.image.delivery import copy, deliver
from harness.image.ingredients import Artifact

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    entry = tmp_path / "entry"
    entry.mkdir()
    path = entry / "root.cpio"
    path.write_bytes(b"an archive")
    path.chmod(0o444)
    manifest.write(manifest.Manifest("root", "initramfs", "root.cpio", 10, "ab" * 32, ()), entry / "m.json")
    return Artifact("root", "initramfs", path, 10, "ab" * 32, entry / "m.json")


def test_artifact_manifest_and_bill_are_there_and_can_be_changed(artifact: Artifact, tmp_path: Path) -> None:
    delivered = deliver(artifact, tmp_path / "new/out")
    names = sorted(path.name for path in (tmp_path / "new/out").iterdir())
    assert names == ["root.cdx.json", "root.cpio", "root.manifest.json"]
    assert delivered.manifest.read_bytes() == artifact.manifest.read_bytes()
    assert delivered.sbom.read_text() == sbom.document(manifest.read(artifact.manifest))
    with delivered.path.open("ab") as file:
        file.write(b" of the user's own")
    assert artifact.path.read_bytes() == b"an archive"
    assert delivered.path.stat().st_mode & 0o200
    deliver(artifact, tmp_path / "new/out")
    assert delivered.path.read_bytes() == b"an archive", "the next build takes its place"


def test_a_directory_that_cannot_be_is_the_users_affair(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"cannot create the output directory {tmp_path}/file/out"):
        deliver(artifact, tmp_path / "file/out")


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, InfraError), (errno.EFBIG, ConfigError)])
def test_a_full_disk_leaves_nothing_and_what_was_there_stays(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    (tmp_path / "root.cpio").write_bytes(b"the last one")

    def fail(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(delivery, "copy", fail)
    with pytest.raises(kind, match=f"cannot write {tmp_path}/root.cpio: "):
        deliver(artifact, tmp_path)
    assert (tmp_path / "root.cpio").read_bytes() == b"the last one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["entry", "root.cpio"]


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"in the middle")
    copy(source, target)
    assert target.stat().st_size == 64 << 20
    assert target.stat().st_blocks * 512 < 1 << 20
    with target.open("rb") as file:
        file.seek(32 << 20)
        assert file.read(13) == b"in the middle"


@given(st.lists(st.one_of(st.binary(max_size=9000), st.integers(1, 9000)), max_size=6))
def test_every_copy_is_equal(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes | int]) -> None:
    place = tmp_path_factory.mktemp("copies")
    with (place / "source").open("wb") as file:
        for piece in pieces:
            if isinstance(piece, bytes):
                file.write(piece)
            else:
                file.seek(piece, os.SEEK_CUR)
        file.truncate()
    copy(place / "source", place / "target")
    assert (place / "target").read_bytes() == (place / "source").read_bytes()


def test_the_sha256_of_a_large_image_is_computed_on_request(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a\\b", "\udcff")  # names that manifests escape
    files = tuple(Written(name, 0o100644, 0, 0, 0, "") for name in names)
    document = manifest.Manifest("root", "disk", "root.cpio", 10, "", files, digest="extents:ab")
    manifest.write(document, artifact.manifest)
    large = msgspec.structs.replace(artifact, sha256="", digest="extents:ab")
    assert deliver(large, tmp_path / "out").manifest.read_bytes() == artifact.manifest.read_bytes()
    whole = large.with_sha256()
    assert whole.sha256 == hashlib.sha256(b"an archive").hexdigest()
    said = manifest.read(deliver(whole, tmp_path / "out").manifest)
    assert said == msgspec.structs.replace(manifest.read(artifact.manifest), sha256=whole.sha256)
    monkeypatch.setattr(ingredients, "sha256_of", pytest.fail)
    assert whole.with_sha256() == whole
