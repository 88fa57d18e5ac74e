"""QEMU as a kind of machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from harness.core.architecture import DEFAULT, load_architecture
from harness.core.errors import ConfigError
from harness.machine import accelerator
from harness.machine.admission import check_fits
from harness.machine.command import find_ovmf, qemu_program
from harness.machine.kinds.kind import Kind, MachineRequest, Surroundings, boot_images, memory_of, start_of
from harness.machine.protocol import Accelerator, Firmware, Medium, Network
from harness.machine.qemu import QemuMachine
from harness.machine.spec import Bus, DirectBoot, Drive, MachineSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.image.factory import Build
    from harness.recipe import Recipe
    from harness.store import Store


class Qemu(Kind[MachineSpec], frozen=True):
    """Guests of QEMU."""

    def settled(self, request: MachineRequest, store: Store, note: Callable[[str], None]) -> MachineRequest:
        """Choose the accelerator, once; say it where that is the slow one."""
        if request.architecture != DEFAULT:
            return _foreign(request)
        if request.firmware == Firmware.UEFI:
            find_ovmf()
        chosen = accelerator.choose(request.accelerator, store)
        if request.accelerator == "auto" and chosen == Accelerator.TCG:
            note("KVM does not work here (`harness doctor` says why); using TCG, which is slower")
        return msgspec.structs.replace(request, accelerator=str(chosen))

    def images(self, recipe: Recipe, request: MachineRequest) -> tuple[str, ...]:
        """What it boots and attaches."""
        return boot_images(recipe, request)

    def spec(self, built: Build, request: MachineRequest, store: Store, bulk: bool) -> MachineSpec:
        """The guest."""
        boot, memory, start = built.recipe.boot, memory_of(built, request), start_of(built, request)
        check_fits(memory)
        qemu = load_architecture(request.architecture).qemu
        if isinstance(start, DirectBoot) and start.unpacked:
            from harness.kernel.payload import vmlinux

            start = msgspec.structs.replace(start, kernel=vmlinux(built.kernels["seed"].image, store))
        return MachineSpec(
            boot=start,
            firmware=request.firmware,
            disk=built.images[boot.disk].path if boot.disk and request.disk else None,
            memory=memory,
            cpu=(boot.cpu or qemu.cpu) if request.cpu is None else request.cpu,
            accelerator=Accelerator(request.accelerator),
            bus=Bus.of_disk(request.firmware, request.architecture),
            architecture=request.architecture,
            bulk=bulk,
            network=_network(built.recipe, request),
            drives=tuple(
                Drive(built.images[drive.image].path, Bus(drive.bus)) for drive in boot.drive if request.disk
            ),
        )

    @contextmanager
    def machine(self, spec: MachineSpec, around: Surroundings) -> Iterator[QemuMachine]:
        """The guest, with the harness as its network where that is restricted."""
        directory, saved = around.directory, around.saved
        if spec.network != Network.RESTRICTED:
            with QemuMachine(spec, directory, saved=saved) as machine:
                yield machine
            return
        from harness.machine.network.services import answering

        with (
            answering(around.offered, directory) as (port, log),
            QemuMachine(spec, directory, saved=saved, http=port, asked=log.asked) as machine,
        ):
            yield machine


def _foreign(request: MachineRequest) -> MachineRequest:
    """A machine of another architecture than the PC: QEMU loads its kernel, and executes it in software."""
    qemu_program(request.architecture)
    wishes = {
        "--medium": request.medium != Medium.DIRECT,
        "--firmware": request.firmware != Firmware.BIOS,
        "--unpacked": bool(request.unpacked),
        "--accelerator kvm": request.accelerator == Accelerator.KVM,
    }
    for option in (option for option, was_given in wishes.items() if was_given):
        message = f"{option} is for machines of x86, and this one is of {request.architecture}"
        raise ConfigError(message, hint=f"leave it out: {option}")
    return msgspec.structs.replace(request, accelerator=str(Accelerator.TCG))


def _network(recipe: Recipe, request: MachineRequest) -> Network:
    """What the guest reaches: no more than it needs, unless the user asks for that."""
    if request.network is not None:
        return request.network
    return Network.NONE if recipe.boot.network == "none" else Network.RESTRICTED
