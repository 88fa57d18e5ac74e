"""Parts that several files of tests use."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from harness.progress import Quiet
from harness.sources.debian import DebianSource, _inputs
from harness.sources.packages import Lock, Package, Resolution
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    # Paths with the contents of files, or with where links lead.
    Files = Mapping[str, bytes | str]


class Larder:
    """A store with packages of bookworm/i386 in it, so that nothing has to be downloaded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._resolutions: list[Resolution] = []

    def add(self, request: str, packages: Mapping[str, Files], *, closure: bool = True) -> None:
        """Answer a request (names with spaces between them) with packages of version 1."""
        given = tuple(self._unpacked(name, files) for name, files in sorted(packages.items()))
        names = tuple(request.split())
        self._resolutions.append(Resolution("bookworm", "i386", names, closure, given))

    def debian(self) -> DebianSource:
        """The source that gives them."""
        return DebianSource(self.store, Quiet(), lock=Lock(tuple(self._resolutions)))

    def _unpacked(self, name: str, files: Files) -> Package:
        def build(directory: Path) -> None:
            for path, content in files.items():
                place = directory / "files" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, str):
                    place.symlink_to(content)
                else:
                    place.write_bytes(content)
                    place.chmod(0o755 if "bin" in place.parts else 0o644)

        sha256 = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        package = Package(name, "1", "i386", sha256, 1)
        self.store.get("deb", _inputs(package), build)
        return package


@pytest.fixture
def larder(tmp_path: Path) -> Larder:
    return Larder(Store(tmp_path / "cache"))
