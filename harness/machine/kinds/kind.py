"""The interface of a kind of machine, with what most kinds share."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import msgspec

from harness.core.architecture import DEFAULT
from harness.core.errors import ConfigError
from harness.machine.admission import check_holds, places_for
from harness.machine.kinds.options import TAKES
from harness.machine.protocol import Firmware, Machine, MachineKind, Medium, Network
from harness.machine.spec import DirectBoot, DiskBoot, MediumBoot, Spec
from harness.recipe import Iso, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.image.factory import Build
    from harness.recipe import Recipe
    from harness.store import Store

# For a payload without a kernel, where neither recipe nor user says how much a process may take.
DEFAULT_MEMORY = "2G"

S = TypeVar("S", bound=Spec)


class MachineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the user said about the machine."""

    machine: str = "qemu"  # its kind; a board with its name, as "board:NAME"
    accelerator: str = "auto"  # "auto", "kvm" or "tcg"
    memory: int | None = None  # bytes of guest memory, instead of the recipe's
    cpu: str | None = None  # QEMU's processor model, instead of the recipe's
    append: str = ""  # added to the seed kernel's command line; a medium has its own
    medium: Medium = Medium.DIRECT  # whether and how the recipe's medium is attached, and booted
    firmware: Firmware = Firmware.BIOS  # what runs before it
    unpacked: bool | None = None  # whether the seed kernel is started unpacked, instead of as the recipe says
    # What the guest reaches; None: nothing, or the harness where the recipe wants a network.
    network: Network | None = None
    disk: bool = True  # whether the recipe's disks are attached
    architecture: str = DEFAULT  # of the recipe's kernels and programs


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run gives to its machine."""

    directory: Path  # the run's record
    cache: Path  # the cache directory
    saved: Path | None  # the directory of the checkpoint that it goes on from
    offered: Mapping[str, Path]  # files that a guest on the restricted network can fetch, by name or address
    quiet: float  # seconds after power-on in which nothing comes over serial by design
    note: Callable[[str], None]  # shows what was left out or cleaned up
    # Told of each gap in what is heard: seconds, and raw offset of the console.
    gap: Callable[[float, int], None]
    # Open while a payload changes a root directory of this host.
    watched: Callable[[Path], AbstractContextManager[None]]


class Kind(msgspec.Struct, Generic[S], frozen=True):
    """A kind of machine, whose machines are made of S; each board is one by itself."""

    kind: MachineKind  # its word
    # Whether it boots kernels of its own; elsewhere the host's is there from the start.
    kernels: ClassVar[bool] = True

    @property
    def alone(self) -> str:
        """The name of the device that one run at a time can have; "" for none."""
        return ""

    @property
    def budgets(self) -> float:
        """All time budgets are multiplied with it."""
        return 1.0

    @property
    def resources(self) -> dict[str, float]:
        """What a worker of a cluster has to announce besides memory and KVM."""
        return {}

    def takes(self, option: str) -> bool:
        """Whether an option of `harness run` goes with it."""
        return option in TAKES[self.kind]

    def refusal(self, option: str) -> ConfigError:
        """Why an option does not go with it."""
        return ConfigError(f"{option} does not go with the machine {self.kind}", hint="leave it out")

    def check_exists(self) -> None:
        """Raise a ConfigError if there is no machine of this name."""

    def leased(self, _purpose: str, /) -> AbstractContextManager[None]:
        """Have it for as long as a run takes."""
        return nullcontext()

    def places(self, memory: int, /) -> int:
        """How many of the host's places for guests it takes."""
        return places_for(memory)

    @abstractmethod
    def settled(
        self, request: MachineRequest, store: Store, note: Callable[[str], None], /
    ) -> MachineRequest:
        """The request with what host and machine decide filled in; before anything is downloaded."""

    @abstractmethod
    def images(self, recipe: Recipe, request: MachineRequest, /) -> tuple[str, ...]:
        """The images that it boots, attaches, or takes its root from, by name."""

    @abstractmethod
    def spec(self, built: Build, request: MachineRequest, store: Store, bulk: bool, /) -> S:
        """What the machine is made of; `bulk`: whether a port, if it has one, takes files out."""

    def equip(self, built: Build, spec: S, progress: Progress, /) -> None:
        """Bring what was built to where the machine finds it; most find it on this host."""

    @abstractmethod
    def machine(self, spec: S, around: Surroundings) -> AbstractContextManager[Machine]:
        """The machine; raises ConfigError if it cannot be made, InfraError if it does not start."""


def refuse_foreign(request: MachineRequest, machine: str) -> None:
    """Refuse a payload for another architecture than x86."""
    if request.architecture != DEFAULT:
        raise ConfigError(
            f"the machine {machine} runs programs for x86, and {request.architecture} was asked for",
            hint="leave out --machine: QEMU has a machine of this architecture",
        )


def boot_images(recipe: Recipe, request: MachineRequest) -> tuple[str, ...]:
    """The images that are booted or attached, by name."""
    boot = recipe.boot
    names = (boot.initramfs, boot.disk, boot.medium if request.medium != Medium.DIRECT else None)
    drives = (drive.image for drive in boot.drive) if request.disk else ()
    return (*filter(None, names), *drives)


def memory_of(built: Build, request: MachineRequest) -> int:
    """Bytes of memory, enough for the initramfs."""
    boot = built.recipe.boot
    memory = request.memory or boot.memory_bytes
    if boot.initramfs is not None:
        kernel, initramfs = built.kernels["seed"].image.init_size, built.images[boot.initramfs].size
        check_holds(memory, kernel, initramfs, boot.work)
    return memory


def start_of(built: Build, request: MachineRequest) -> DirectBoot | MediumBoot | DiskBoot:
    """What the machine boots."""
    recipe, boot = built.recipe, built.recipe.boot
    if request.medium != Medium.DIRECT:
        medium = recipe.image(boot.medium) if boot.medium else None
        if not isinstance(medium, Iso):
            hint = "name an iso image in its key boot.medium, or boot without --medium"
            raise ConfigError(f"the recipe {recipe.name} has no medium to boot from", hint=hint)
        return MediumBoot(built.images[medium.name].path, request.medium, medium.menu[0].command_line)
    if "seed" not in built.kernels:
        return DiskBoot()
    kernel = built.kernels["seed"].image
    if request.firmware == Firmware.UEFI and kernel.bits == 32:
        hint = "boot from a medium (--medium cd), or take another kernel with --kernel"
        raise ConfigError("QEMU's UEFI starts 64-bit kernels only, unless a boot loader does", hint=hint)
    unpacked = boot.unpacked if request.unpacked is None else request.unpacked
    unpacked = unpacked or kernel.kind == "vmlinux"
    if unpacked and request.firmware == Firmware.UEFI:
        message = "a kernel that is started unpacked meets no firmware, and UEFI was asked for"
        raise ConfigError(message, hint="leave out one of --unpacked and --firmware uefi")
    initramfs = built.images[boot.initramfs].path if boot.initramfs is not None else None
    return DirectBoot(kernel.path, initramfs, f"{boot.command_line} {request.append}".strip(), unpacked)
