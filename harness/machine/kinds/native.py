"""Payloads on the host's kernel as kinds of machines: chroot, bwrap."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from harness.core.errors import ConfigError
from harness.core.sizes import parse_size
from harness.machine import native, rootfs
from harness.machine.admission import check_fits
from harness.machine.kinds.kind import DEFAULT_MEMORY, Kind, MachineRequest, Surroundings, refuse_foreign
from harness.machine.protocol import MachineKind
from harness.machine.spec import NativeCall, NativeSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.image.factory import Build
    from harness.recipe import Recipe
    from harness.store import Store


class Native(Kind[NativeSpec], frozen=True):
    """Payloads in namespaces of this host."""

    kernels: ClassVar[bool] = False

    @property
    def resources(self) -> dict[str, float]:
        """Root, for chroot."""
        return {"root": 1.0} if self.kind == MachineKind.CHROOT else {}

    def refusal(self, option: str) -> ConfigError:
        """It has nothing that the option could be about."""
        return ConfigError(
            f"the machine {self.kind} has no kernel, firmware or saved states: it has no use for {option}",
            hint="leave it out, or take --machine qemu",
        )

    def settled(
        self, request: MachineRequest, _store: Store, _note: Callable[[str], None], /
    ) -> MachineRequest:
        """Find out whether namespaces can be made."""
        refuse_foreign(request, self.kind)
        native.check_host(self.kind)
        return request

    def images(self, recipe: Recipe, _request: MachineRequest, /) -> tuple[str, ...]:
        """The image whose files become the root."""
        return (recipe.native.image,)

    def spec(self, built: Build, request: MachineRequest, _store: Store, _bulk: bool, /) -> NativeSpec:
        """What runs."""
        recipe = built.recipe
        boots, wanted = recipe.document.boot, recipe.native
        limit = request.memory or (boots.memory_bytes if boots else parse_size(DEFAULT_MEMORY))
        check_fits(limit)
        if wanted.then and self.kind != MachineKind.BWRAP:
            raise recipe.wrong("native.then", "only bwrap starts one program after the other")
        calls = (
            NativeCall(wanted.program, wanted.environment),
            *(NativeCall(call.program, call.environment, call.root) for call in wanted.then),
        )
        return NativeSpec(self.kind, built.images[wanted.image].path, calls, limit, wanted.inner)

    @contextmanager
    def machine(self, spec: NativeSpec, around: Surroundings) -> Iterator[native.NativeMachine]:
        """The payload in a fresh root, which is gone afterwards."""
        with (
            rootfs.prepared(spec.image, around.cache / "roots", around.note) as root,
            around.watched(root.path),
            native.NativeMachine(spec, root.path, root.lock, around.directory) as machine,
        ):
            yield machine
