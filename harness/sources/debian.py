"""Packages of the Debian archive: resolved, downloaded once, unpacked once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from harness.core.digest import sha256_of
from harness.core.errors import ConfigError, command_failed
from harness.sources.apt import AptRoot, GoneError, machine_mirror
from harness.sources.packages import SOURCE, Lock, Package, Resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.store import Store

# Part of the key of unpacked packages: raise it when they are unpacked in another way.
_FORMAT = 2
# Part of the key of answers: raise it when the same request is answered in another way.
_ANSWER_FORMAT = 2

# A kernel's package as opposed to one that names the current kernel, and the parts that it may consist of.
_RELEASED = re.compile(r"linux-image-\d[^_]*(?<!-unsigned)$")
_PART = re.compile(r"linux-(?:base|binary|modules)-\d")


class DebianSource:
    """Gives packages by suite and architecture, and remembers what it gave.

    Indexes, answers and unpacked packages are kept in the store. The archive is the machine's own, unless a
    mirror is given, or named by the environment variable HARNESS_DEBIAN_MIRROR.
    """

    def __init__(
        self,
        store: Store,
        progress: Progress,
        *,
        mirror: str | None = None,
        lock: Lock | None = None,
        refresh: bool = False,
    ) -> None:
        self.store = store
        self.progress = progress
        self._mirror = mirror or os.environ.get("HARNESS_DEBIAN_MIRROR")
        self._lock = lock  # resolutions to repeat; nothing is resolved anew
        self._stale = refresh  # whether the newest index is fetched first
        self._refreshed: set[tuple[str, str]] = set()
        self._given: list[Resolution] = []

    @property
    def mirror(self) -> str:
        """Base address of the archive that packages come from."""
        return self._mirror or machine_mirror()

    @property
    def given(self) -> Lock:
        """All that was resolved so far, as a lock file."""
        return Lock(resolutions=tuple(self._given))

    def closure(self, suite: str, architecture: str, names: Sequence[str]) -> tuple[Package, ...]:
        """These packages and all that they need, sorted by name."""
        request = Resolution(suite, architecture, tuple(names), closure=True, packages=())
        return self._answer(request, lambda apt: apt.resolve(names))

    def newest(self, suite: str, architecture: str, name: str) -> Package:
        """One package alone; a package that only names the current version leads to what it names.

        `linux-image-686` depends on exactly one `linux-image-6.1.0-50-686`: that is what is wanted.
        """
        request = Resolution(suite, architecture, (name,), closure=False, packages=())

        def follow(apt: AptRoot) -> tuple[Package, ...]:
            package = apt.find(name)
            stem = name.rpartition("-")[0]
            named = re.match(rf"({re.escape(stem)}-\d\S*) \(= [^)]+\)$", package.depends)
            return (apt.find(named[1]) if named else package,)

        return self._answer(request, follow)[0]

    def kernel(self, suite: str, architecture: str, name: str, *, anew: bool = False) -> tuple[Package, ...]:
        """The packages that a kernel consists of, the one that is named `linux-image-<release>` first.

        Up to Linux 6.12 that one holds everything. Since 7.0 it only names, with its own exact version,
        what holds the bootable file (linux-binary), the modules and the configuration.

        Args:
            suite: Suite of the archive.
            architecture: Debian's name of the kernel's architecture.
            name: A package `linux-image-<release>`, or one that depends on the current one.
            anew: Ask the archive again, because what an earlier answer named is gone.
        """
        request = Resolution(suite, architecture, (name,), closure=False, packages=())
        if anew:
            self._refreshed.discard((suite, architecture))
            self._given = [given for given in self._given if not given.answers(request)]

        def follow(apt: AptRoot) -> tuple[Package, ...]:
            try:
                package = apt.find(name)
            except ConfigError as error:
                unfit = ("-unsigned", "-template", "-dbg")
                others = [name for name in apt.names("linux-image-") if not name.endswith(unfit)]
                hint = f"the suite has: {', '.join(others) or 'no kernels'}"
                raise ConfigError(error.message, hint=hint) from error
            image = next((part for part in _exact(package) if _RELEASED.match(part)), None)
            image_package = apt.find(image) if image else package
            parts = [part for part in _exact(image_package) if _PART.match(part)]
            return (image_package, *map(apt.find, sorted(parts)))

        return self._answer(request, follow, force=anew)

    def kernels(self, suite: str, architecture: str) -> tuple[str, ...]:
        """The releases of Linux that a suite has, sorted, such as "6.1.0-50-686"."""
        with self._apt(suite, architecture) as apt:
            names = apt.names("linux-image-")
        return tuple(name.removeprefix("linux-image-") for name in names if _RELEASED.match(name))

    def source(self, suite: str, name: str, version: str = "") -> Package:
        """A source package: the newest of a suite, or exactly this version of it."""
        exact = f"{name}={version}" if version else name
        request = Resolution(suite, SOURCE, (exact,), closure=False, packages=())
        return self._answer(request, lambda apt: (apt.source(name, version),))[0]

    def tarballs(self, suite: str, package: Package) -> tuple[Path, ...]:
        """The original tarballs of a source package, with the names that they have in the archive."""

        def build(directory: Path) -> None:
            with self._apt(suite, SOURCE) as apt:
                self._fetched(apt, lambda: apt.fetch_source(package, self.progress))
                for file in package.files:
                    place = apt.root / "archives" / file.name
                    _check(place, file.sha256)
                    shutil.move(place, directory / file.name)

        inputs = {"files": [msgspec.to_builtins(file) for file in package.files]}
        entry = self.store.get("source-package", inputs, build)
        return tuple(entry / file.name for file in package.files)

    @property
    def locked(self) -> bool:
        """Whether a lock file says what is given."""
        return self._lock is not None

    def unpack(self, suite: str, architecture: str, packages: Sequence[Package]) -> dict[str, Path]:
        """Directories with the packages' files, by package name; downloads what is not there yet.

        Only contents are there; kinds, owners, modes and links are with `untar.members`, which takes the
        directory above.
        """
        missing = [package for package in packages if not self.store.has("deb", _inputs(package))]
        if missing:
            with self._apt(suite, architecture) as apt:
                self._fetched(apt, lambda: apt.fetch(missing, self.progress))
                from concurrent.futures import ThreadPoolExecutor

                with self.progress.task("unpacking packages") as task, ThreadPoolExecutor() as pool:
                    for count, _ in enumerate(pool.map(lambda p: self._unpack(apt, p), missing), start=1):
                        task.update(count / len(missing))
        return {package.name: self.store.place("deb", _inputs(package)) / "files" for package in packages}

    def _fetched(self, apt: AptRoot, fetch: Callable[[], None]) -> None:
        apt.refresh(self.progress)  # with a lock file, nothing else asked for the index
        try:
            fetch()
        except GoneError:  # a lock file may be newer than our index
            apt.refresh(self.progress, force=True)
            fetch()

    def _answer(
        self,
        request: Resolution,
        resolve: Callable[[AptRoot], tuple[Package, ...]],
        *,
        force: bool = False,
    ) -> tuple[Package, ...]:
        if self._lock is not None:
            answer = next((r for r in self._lock.resolutions if r.answers(request)), None)
            if answer is None:
                raise ConfigError(
                    f"the lock file does not say what {' '.join(request.request)} of {request.suite}/"
                    f"{request.architecture} is",
                    hint="it belongs to another recipe or kernel; make a new one with `harness lock`",
                )
        else:
            answer = self._resolve(request, resolve, force=force)
        if not any(given.answers(request) for given in self._given):
            self._given.append(answer)
        return answer.packages

    def _resolve(
        self, request: Resolution, resolve: Callable[[AptRoot], tuple[Package, ...]], *, force: bool
    ) -> Resolution:
        with self._apt(request.suite, request.architecture) as apt:
            key = (request.suite, request.architecture)
            apt.refresh(self.progress, force=force or (self._stale and key not in self._refreshed))
            self._refreshed.add(key)
            inputs = {**msgspec.to_builtins(request), "index": apt.index_age, "format": _ANSWER_FORMAT}

            def build(directory: Path) -> None:
                answer = msgspec.structs.replace(request, packages=resolve(apt))
                (directory / "resolution.json").write_bytes(msgspec.json.encode(answer))

            entry = self.store.get("resolution", inputs, build)
        return msgspec.json.decode((entry / "resolution.json").read_bytes(), type=Resolution)

    @contextmanager
    def _apt(self, suite: str, architecture: str) -> Iterator[AptRoot]:
        with self.store.lock(f"apt-{suite}-{architecture}"):
            name = f"{suite}-{architecture}"
            if self._mirror:  # what one archive has says nothing about another
                name += f"-{hashlib.sha256(self._mirror.encode()).hexdigest()[:8]}"
            root = self.store.cache / "apt" / name
            yield AptRoot(root, suite, architecture, mirror=self._mirror)

    def _unpack(self, apt: AptRoot, package: Package) -> None:
        archive = apt.root / "archives" / package.file_name

        def build(directory: Path) -> None:
            _check(archive, package.sha256)
            _extract(archive, directory)

        self.store.get("deb", _inputs(package), build)
        archive.unlink(missing_ok=True)


def _check(archive: Path, sha256: str) -> None:
    """Compare a file with its lock file: apt has only checked it against the index."""
    found = sha256_of(archive)
    if found != sha256:
        archive.unlink()
        raise ConfigError(
            f"{archive.name} has the sha256 {found}, not {sha256}",
            hint="the lock file or the archive changed; make a new lock file with `harness lock`",
        )


def _exact(package: Package) -> list[str]:
    """Names of what a package depends on in exactly its own version."""
    return re.findall(rf"(\S+) \(= {re.escape(package.version)}\)", package.depends)


def _extract(archive: Path, directory: Path) -> None:
    from harness.sources.untar import unpack

    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        damage = None
        try:
            unpack(process.stdout, directory, archive.name)
        except ConfigError as error:
            damage = error
        while process.stdout.read(1 << 20):  # what fills the archive's last block, or dpkg-deb complains
            pass
        if process.wait() != 0:
            stderr.seek(0)
            raise command_failed(command, process.returncode, stderr.read()) from damage
        if damage is not None:
            raise damage


def _inputs(package: Package) -> dict[str, object]:
    return {"package": package.file_name, "sha256": package.sha256, "format": _FORMAT}
