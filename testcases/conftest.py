"""Parts that several files of tests use."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from harness.core.progress import Quiet
from harness.sources.debian import DebianSource, _inputs
from harness.sources.packages import Lock, Package, Resolution
from harness.sources.untar import unpack
from harness.store import Store
from testcases.support import profiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    # Paths with the contents of files, or with where links lead.
    Files = Mapping[str, bytes | str]


_BYTES_IN_A_NAME = 16

profiles.register()


def pytest_xdist_auto_num_workers() -> int:
    """Two workers for each core: half of their time, tests wait for guests and programs."""
    return 2 * len(os.sched_getaffinity(0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Say what to do with an example that random search has found."""
    thorough = terminalreporter.config.getoption("--hypothesis-profile") == profiles.THOROUGH
    if thorough and exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.write_line(
            "Put a failing example of hypothesis into its test as an @example(...): `make test` keeps it."
        )


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Keep bytes out of the names of tests: compressed ones hold the time, and all workers must agree."""
    return argname if isinstance(val, bytes) and len(val) > _BYTES_IN_A_NAME else None


class Larder:
    """A store with packages of bookworm in it, so that nothing has to be downloaded."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._resolutions: list[Resolution] = []

    def add(
        self,
        request: str,
        packages: Mapping[str, Files],
        *,
        closure: bool = True,
        architecture: str = "i386",
        version: str = "1",
    ) -> None:
        """Answer a request (names with spaces between them) with packages of one version."""
        given = tuple(self._unpacked(name, version, files) for name, files in sorted(packages.items()))
        names = tuple(request.split())
        self._resolutions.append(Resolution("bookworm", architecture, names, closure, given))

    def debian(self) -> DebianSource:
        """The source that gives them."""
        return DebianSource(self.store, Quiet(), lock=Lock(tuple(self._resolutions)))

    def _unpacked(self, name: str, version: str, files: Files) -> Package:
        def build(directory: Path) -> None:
            unpack(io.BytesIO(_tar(files)), directory, name)

        sha256 = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        package = Package(name, version, "i386", sha256, 1)
        self.store.get("deb", _inputs(package), build)
        return package


def _tar(files: Files) -> bytes:
    """A tar archive as Debian packages have it: with directories, everything owned by root."""
    data = io.BytesIO()
    parents = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path in sorted(parents | set(files)):
            info = tarfile.TarInfo(f"./{path}")
            content = files.get(path)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size, info.mode = len(content), 0o755 if "bin" in path.split("/") else 0o644
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return data.getvalue()


@pytest.fixture
def larder(tmp_path: Path) -> Larder:
    return Larder(Store(tmp_path / "cache"))
