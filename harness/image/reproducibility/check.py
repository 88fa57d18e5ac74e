"""Builds again in other surroundings, and compares: `harness build --check`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.core import programs
from harness.core.errors import ConfigError, HarnessError, InfraError, command_failed
from harness.image.reproducibility.worker import Answer, Request, surroundings
from harness.sources.debian import DebianSource
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.core.progress import Progress
    from harness.image.build import BuildOptions
    from harness.image.factory import Build
    from harness.image.ingredients import Artifact

_MADE_HERE = {"initramfs", "disk", "iso", "dib"}  # kinds of the store that are built again
_LATER = "+400d"  # another year, month, day and hour
_ZONE = "<+1245>-12:45"  # POSIX: a quarter of an hour, and no file that a host may lack
_USER = 54321
_MEMORY = Path("/dev/shm")  # noqa: S108 - a filesystem of another kind, not a place for secrets
_ROOM = 4  # so many times the artifacts must fit there


class Comparison(msgspec.Struct, frozen=True):
    """One image, built twice."""

    image: str  # its name
    first: str  # digest of the first build (`core.digest.digest_of`)
    second: str  # digest of the second build
    # file by file and byte range by byte range, in words; empty when both are equal
    differences: tuple[str, ...] = ()


class Recheck(msgspec.Struct, frozen=True):
    """What came of building twice."""

    comparisons: tuple[Comparison, ...]  # image by image
    varied: dict[str, tuple[str, str]]  # what was different in the second build, with both values
    same: dict[str, str]  # what should have been different and was not, with the reason

    @property
    def reproducible(self) -> bool:
        """Whether all images are equal to the bit."""
        return all(compared.first == compared.second for compared in self.comparisons)


def recheck(built: Build, options: BuildOptions, progress: Progress) -> Recheck:
    """Build again what was built, in a process of its own with other surroundings, and compare.

    Packages, kernels and downloads are those of the first build; nothing is downloaded twice.
    """
    kept_from = {} if _MEMORY.is_dir() else {"file system": f"there is no {_MEMORY}"}
    wrapper, environment = _other_surroundings(built, options, progress, kept_from)
    with _place(built, options.cache) as place:
        if not place.is_relative_to(_MEMORY):
            kept_from.setdefault("file system", "the images do not fit into memory")
        with progress.task("building again in other surroundings"):
            answer = _build_again(built, options, place, wrapper, environment)
        first = surroundings(options.cache) | {"file system": _filesystem(options.cache)}
        second = answer.surroundings | {"file system": _filesystem(place)}
        with progress.task("comparing"):
            comparisons = tuple(
                _compared(image, *answer.images[name]) for name, image in built.images.items()
            )
    varied = {what: (first[what], second[what]) for what in first if first[what] != second[what]}
    same = {what: kept_from.get(what, "it is the same already") for what in first if what not in varied}
    return Recheck(comparisons, varied, same)


def _other_surroundings(
    built: Build, options: BuildOptions, progress: Progress, kept_from: dict[str, str]
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The command that the second process is started through, and its environment.

    `kept_from` is told what cannot be varied on this host, and why.
    """
    environment = {
        **os.environ,
        "TZ": _ZONE,
        "LC_ALL": _locale(),
        "LANG": "",
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": os.pathsep.join(str(Path(place).absolute()) for place in sys.path if place),
        "USER": "another",
        "LOGNAME": "another",
    }
    wrapper: tuple[str, ...] = ()
    if any(isinstance(image, r.Dib) for image in built.recipe.images):
        kept_from["user"] = "diskimage-builder needs root"
    else:
        wrapper, problem = _as_another_user()
        kept_from |= {"user": problem} if problem else {}
    try:
        clock = _faketime(options, progress)
        # File times stay true, and waiting takes as long as it does.
        environment |= {"FAKETIME": _LATER, "NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        # The first program that loads it cleans up behind it, which a wrapper would not do.
        wrapper += ("env", f"LD_PRELOAD={clock}")
    except HarnessError as error:
        kept_from["clock"] = f"libfaketime cannot be had: {error.message.splitlines()[0]}"
    return wrapper, environment


def _build_again(
    built: Build, options: BuildOptions, place: Path, wrapper: Sequence[str], environment: Mapping[str, str]
) -> Answer:
    cache = place / "another-cache"  # without a space: diskimage-builder cannot work below one
    cache.joinpath("store").mkdir(parents=True)
    for kind in (options.cache / "store").iterdir():
        if kind.name not in _MADE_HERE:
            (cache / "store" / kind.name).symlink_to(kind.absolute())
    lock = place / "inputs.lock.json"
    lock.write_text(built.lock.to_json(), encoding="utf-8")
    kernel = options.kernel
    if kernel and ("/" in kernel or Path(kernel).is_file()):  # it is found from another directory too
        kernel = str(Path(kernel).absolute())
    request = Request(
        recipe=str(built.recipe.path),
        kernel=kernel,
        only=options.only,
        dirty=options.dirty,
        cache=str(cache),
        lock=str(lock),
    )
    command = [*wrapper, sys.executable, "-m", "harness.image.reproducibility.worker"]
    result = subprocess.run(
        command,
        input=msgspec.json.encode(request),
        env={**environment, "HOME": str(place)},
        cwd=place,
        capture_output=True,
        check=False,
    )
    if result.returncode != 0:
        raise command_failed(command, result.returncode, result.stderr.decode(errors="replace"))
    answer = msgspec.json.decode(result.stdout, type=Answer)
    if answer.error:
        raise InfraError(
            f"the second build failed: {answer.error}",
            hint="the first one did not: look at what differs between their surroundings (docs/builds.md)",
        )
    return answer


def _compared(first: Artifact, path: str, digest: str) -> Comparison:
    if first.digest == digest:
        return Comparison(first.name, digest, digest)
    from harness.formats.diff import differences, file_difference
    from harness.formats.opened import open_image

    with open_image(first.path) as mine, open_image(Path(path)) as other:
        found = [str(difference) for difference in differences(mine.members(), other.members(), times=True)]
        parts = list(mine.parts()) if mine.raw == first.path else []
    of_bytes = file_difference(first.path, Path(path), parts)
    if of_bytes is not None:
        found += of_bytes.lines()
    return Comparison(first.name, first.digest, digest, tuple(found))


@contextmanager
def _place(built: Build, cache: Path) -> Iterator[Path]:
    """A directory for the second build: in memory if there is room, where files are in another order."""
    needed = sum(image.path.stat().st_blocks * 512 for image in built.images.values()) * _ROOM
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > needed
    with tempfile.TemporaryDirectory(
        prefix="harness-check-", dir=_MEMORY if roomy else cache, ignore_cleanup_errors=True
    ) as place:
        yield Path(place)


def _as_another_user() -> tuple[tuple[str, ...], str]:
    """A command that runs others under another user's number, or why there is none."""
    wrapper = ("unshare", "--user", f"--map-user={_USER}", f"--map-group={_USER}", "--")
    try:
        result = programs.call([*wrapper, "true"])
    except ConfigError as error:
        return (), error.message
    if result.returncode != 0:
        return (), f"this host allows no user namespace ({result.stderr.strip()})"
    return wrapper, ""


def _locale() -> str:
    """A locale that is not UTF-8, if the host has one besides C."""
    result = programs.call(["locale", "-a"])
    others = [name for name in result.stdout.split() if "." in name and "utf" not in name.lower()]
    return others[0] if others else "C"


def _faketime(options: BuildOptions, progress: Progress) -> Path:
    """The library that shows programs another time, from the host or from its release's archive."""
    for found in Path("/usr/lib").glob("*/faketime/libfaketime.so.1"):
        return found
    import platform

    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not suite:
        raise InfraError("this host is no Debian; install libfaketime")
    architecture = programs.output(["dpkg", "--print-architecture"]).strip()
    debian = DebianSource(Store(options.cache), progress, mirror=options.mirror)
    package = debian.newest(suite, architecture, "libfaketime")
    root = debian.unpack(suite, architecture, [package])[package.name]
    return next(root.glob("usr/lib/*/faketime/libfaketime.so.1"))


def _filesystem(place: Path) -> str:
    """The kind of filesystem that a directory is on."""
    result = programs.call(["stat", "--file-system", "--format=%T", str(place)])
    return result.stdout.strip() or "unknown"
