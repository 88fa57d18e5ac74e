"""Kernels of the Debian archive, put together from their packages."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import msgspec

from harness.core import toml
from harness.core.errors import ConfigError
from harness.sources.apt import GoneError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package
    from harness.store import Store

# Part of every key: raise it when kernels are put together in another way.
_FORMAT = 1


class DebianKernel(toml.Table, frozen=True):
    """Which package of the Debian archive carries a kernel."""

    suite: str
    architecture: str
    package: str


class StockKernel(msgspec.Struct, frozen=True):
    """A kernel as it lies in the store."""

    vmlinuz: Path  # the bootable file; `config-<release>` lies beside it
    modules: Path  # `lib/modules/<release>`
    package: Package  # the package `linux-image-<release>`


def fetch(place: DebianKernel, debian: DebianSource, store: Store) -> StockKernel:
    """Get a kernel's file, configuration and modules into the store.

    Downloads go on where they were interrupted, as apt does it.
    """
    packages = debian.kernel(place.suite, place.architecture, place.package)
    if not store.has("kernel", _inputs(packages)):  # or its packages are not needed any more
        packages = _assembled(place, packages, debian, store)
    image = packages[0]
    release = image.name.removeprefix("linux-image-")
    entry = store.place("kernel", _inputs(packages))
    return StockKernel(entry / f"vmlinuz-{release}", entry / "lib/modules" / release, image)


def _assembled(
    place: DebianKernel, packages: tuple[Package, ...], debian: DebianSource, store: Store
) -> tuple[Package, ...]:
    """Put a kernel together, and return what it consists of, which may be its successor's packages."""
    for last in (debian.locked, True):
        try:
            roots = debian.unpack(place.suite, place.architecture, packages)
            break
        except GoneError as error:
            if last:
                raise _gone(place, packages, debian) from error
            # What the index named has been replaced since: the fresh index names its successor.
            packages = debian.kernel(place.suite, place.architecture, place.package, anew=True)
    image = packages[0]
    release = image.name.removeprefix("linux-image-")

    def build(directory: Path) -> None:
        _assemble([roots[package.name] for package in packages], release, directory, image)

    store.get("kernel", _inputs(packages), build)
    return packages


def _inputs(packages: tuple[Package, ...]) -> dict[str, object]:
    return {"format": _FORMAT, "packages": [[package.name, package.sha256] for package in packages]}


def _gone(place: DebianKernel, packages: tuple[Package, ...], debian: DebianSource) -> ConfigError:
    has = ", ".join(debian.kernels(place.suite, place.architecture)) or "no kernel"
    return ConfigError(
        f"the archive no longer has {packages[0]}; {place.suite}/{place.architecture} has {has}",
        hint="resolve again with --refresh and without --lock, or take an archive that keeps old versions "
        "(--mirror)",
    )


def _assemble(roots: list[Path], release: str, directory: Path, image: Package) -> None:
    """Link a kernel's files into one place; their names differ between releases of Debian."""
    places = (root / top / "modules" / release for root in roots for top in ("lib", "usr/lib"))
    modules = [path for path in places if path.is_dir()]
    names = [root / f"boot/{name}-{release}" for root in roots for name in ("vmlinuz", "vmlinux")]
    vmlinuz = _first(names + [m / "vmlinuz" for m in modules])
    config = _first([root / f"boot/config-{release}" for root in roots] + [m / "config" for m in modules])
    if vmlinuz is None:
        message = f"{image} holds no kernel"
        raise ConfigError(message, hint="name a linux-image package in the kernel line's key debian.package")
    _link(str(vmlinuz), str(directory / f"vmlinuz-{release}"))
    if config is not None:
        _link(str(config), str(directory / f"config-{release}"))
    for path in modules:
        shutil.copytree(
            path,
            directory / "lib/modules" / release,
            symlinks=True,
            copy_function=_link,
            ignore=shutil.ignore_patterns("vmlinuz", "config", "build", "source"),
            dirs_exist_ok=True,
        )
    (directory / "lib/modules" / release).mkdir(parents=True, exist_ok=True)


def _first(candidates: list[Path]) -> Path | None:
    return next((path for path in candidates if path.is_file()), None)


def _link(source: str, target: str) -> None:
    """One more name for a file of the store; where a filesystem gives none, a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
