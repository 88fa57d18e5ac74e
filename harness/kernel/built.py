"""Builds kernels from source, once, into the store."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.core.files import remove
from harness.kernel import fragments, source, toolchain
from harness.kernel.bzimage import inspect
from harness.kernel.make import KernelMake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.core.progress import Progress
    from harness.kernel.fragments import Setting
    from harness.kernel.toolchain import Toolchain
    from harness.sources.debian import DebianSource
    from harness.sources.packages import Package
    from harness.store import Store

# Part of every key: raise it when the same inputs give other bits than before.
_FORMAT = 1
KIND = "kernel-built"
_FACTS = "build.json"
VMLINUZ, CONFIG, MODULES = "vmlinuz", "config", "modules"
# What tells `lib/modules/<release>` of a kernel without modules: what is built in.
_BUILTIN = ("modules.builtin", "modules.builtin.modinfo")


class Facts(msgspec.Struct, frozen=True):
    """What a build took."""

    name: str  # the kernel's name
    release: str  # what `uname -r` says
    objects: int  # how many objects were compiled
    cpu: float  # CPU-seconds
    ccache: bool  # whether some of them may have come from ccache


class Order(msgspec.Struct, frozen=True):
    """A kernel that is to be built."""

    name: str  # its name, which becomes part of its release
    bits: int  # its width
    suite: str  # suite that the source package comes from
    package: Package  # the source package
    settings: tuple[Setting, ...]  # what its configuration must have

    @property
    def variables(self) -> list[str]:
        """The architecture, for make."""
        return ["ARCH=i386" if self.bits == 32 else "ARCH=x86_64"]

    def inputs(self, tools: Toolchain) -> dict[str, Any]:
        """All that determines the kernel's bits, as JSON values."""
        return {
            "format": _FORMAT,
            "source": self.package.sha256,
            "bits": self.bits,
            "configuration": fragments.text_of(self.settings).splitlines(),
            "compiler": tools.compiler,
            "linker": tools.linker,
        }


class BuiltKernel(msgspec.Struct, frozen=True):
    """A kernel that was built."""

    entry: Path  # its directory in the store, with `vmlinuz`, `config` and `modules`
    facts: Facts  # what its build took

    @property
    def vmlinuz(self) -> Path:
        """The bzImage."""
        return self.entry / VMLINUZ

    @property
    def config(self) -> Path:
        """The complete configuration."""
        return self.entry / CONFIG

    @property
    def modules(self) -> Path:
        """Its `lib/modules/<release>`, which says what is built in."""
        return self.entry / MODULES

    @property
    def described(self) -> dict[str, Any]:
        """Facts, size and hash, for people and programs."""
        image = inspect(self.vmlinuz)
        return {**msgspec.to_builtins(self.facts), "size": image.size, "sha256": image.sha256}

    def copy_to(self, directory: Path) -> Path:
        """Copy kernel and configuration into a directory, by the kernel's name, and return the former."""
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.config, directory / f"config-{self.facts.name}")
        return shutil.copyfile(self.vmlinuz, directory / f"vmlinuz-{self.facts.name}")


class Comparison(msgspec.Struct, frozen=True):
    """A kernel built twice."""

    differing: tuple[str, ...]  # files of the store's entry that came out otherwise
    kept: Path | None  # where the second build's files are, if there are any such


def obtain(order: Order, debian: DebianSource, *, jobs: int | None = None) -> BuiltKernel:
    """Build a kernel, or find it in the store. Several that ask at once wait for one of them.

    By default there are as many jobs as cores.
    """
    tools = toolchain.look()
    store, progress = debian.store, debian.progress
    inputs = order.inputs(tools)

    def build(directory: Path) -> None:
        given = source.obtain(order.suite, order.package, debian)
        with tempfile.TemporaryDirectory(dir=directory, prefix="objects-") as objects:
            work = _Work(order, given, Path(objects), tools, store, progress)
            facts = work.make(directory, jobs or len(os.sched_getaffinity(0)))
        (directory / _FACTS).write_bytes(msgspec.json.encode(facts))

    entry = store.get(KIND, inputs, build)
    return BuiltKernel(entry, msgspec.json.decode((entry / _FACTS).read_bytes(), type=Facts))


def check(order: Order, kernel: BuiltKernel, debian: DebianSource, *, jobs: int | None = None) -> Comparison:
    """Build a kernel once more, with source and objects in other places and without ccache, and compare.

    Raises:
        ConfigError, InfraError: As `obtain`.
    """
    tools = msgspec.structs.replace(toolchain.look(), ccache=False)
    given = source.obtain(order.suite, order.package, debian)
    work = Path(tempfile.mkdtemp(dir=debian.store.cache, prefix="kernel-check-"))
    try:
        copy, objects, result = work / "another" / "source", work / "o", work / "result"
        with debian.progress.task("copying the source"):
            shutil.copytree(given, copy, symlinks=True)
        objects.mkdir()
        result.mkdir()
        again = _Work(order, copy, objects, tools, debian.store, debian.progress)
        again.make(result, jobs or len(os.sched_getaffinity(0)))
        names = (VMLINUZ, CONFIG, *(f"{MODULES}/{name}" for name in _BUILTIN))
        differing = tuple(
            name for name in names if (result / name).read_bytes() != (kernel.entry / name).read_bytes()
        )
        kept = None
        if differing:
            kept = debian.store.cache / "logs" / f"kernel-{order.name}.differs"
            remove(kept)
            result.rename(kept)
        return Comparison(differing, kept)
    finally:
        remove(work)


class _Work(msgspec.Struct, frozen=True):
    """One build in its directory."""

    order: Order
    source: Path
    objects: Path
    tools: Toolchain
    store: Store
    progress: Progress

    def make(self, result: Path, jobs: int) -> Facts:
        order = self.order
        log = self.store.cache / "logs" / f"kernel-{order.name}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_bytes(b"")
        make = KernelMake(
            source=self.source,
            objects=self.objects,
            settings=[*order.variables, f"CC={self.tools.cc}"],
            environment=toolchain.environment(self.source, self.objects, self.store.cache),
            log=log,
            failed=log.with_suffix(".failed"),
        )
        with self.progress.task(f"configuring {order.name}"):
            fragments.configure(make, order.settings, order.name, order.bits)
        expected = _expected(self.store, order.name)
        first = "" if expected else " (the first time: no estimate)"
        with self.progress.task(f"compiling {order.name}{first}") as task:
            made = make.run("bzImage", jobs=jobs, task=task, expected=expected)
        return self._collect(result, made.objects, made.cpu)

    def _collect(self, result: Path, objects: int, cpu: float) -> Facts:
        release = (self.objects / "include/config/kernel.release").read_text("ascii").strip()
        shutil.copyfile(self.objects / "arch/x86/boot/bzImage", result / VMLINUZ)
        shutil.copyfile(self.objects / ".config", result / CONFIG)
        (result / MODULES).mkdir()
        for name in _BUILTIN:
            shutil.copyfile(self.objects / name, result / MODULES / name)
        return Facts(self.order.name, release, objects, round(cpu, 1), self.tools.ccache)


def _expected(store: Store, name: str) -> int:
    """How many objects the latest build of that name had, with any inputs; 0 if there was none."""
    counts = [(path.stat().st_mtime, facts.objects) for path, facts in _earlier(store) if facts.name == name]
    return max(counts)[1] if counts else 0


def _earlier(store: Store) -> Iterator[tuple[Path, Facts]]:
    for path in (store.entries / KIND).glob(f"*/{_FACTS}"):
        try:
            yield path, msgspec.json.decode(path.read_bytes(), type=Facts)
        except (OSError, msgspec.DecodeError):
            continue  # being removed, or damaged: it is only an estimate
