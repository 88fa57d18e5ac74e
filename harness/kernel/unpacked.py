"""The kernel out of a bzImage, unpacked once and kept: for boots that skip firmware and decompressor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.kernel import bzimage, payload

if TYPE_CHECKING:
    from pathlib import Path

    from harness.kernel.image import KernelImage
    from harness.store import Store

_FORMAT = 1
_NAME = "vmlinux"


def vmlinux(image: KernelImage, store: Store) -> Path:
    """The ELF file in a kernel, from the store; unpacked if it is not there yet.

    Raises:
        ConfigError: The kernel cannot be unpacked, or cannot be entered by PVH (CONFIG_PVH).
    """
    if image.kind == _NAME:
        return _enterable(image, image)

    def build(directory: Path) -> None:
        path = directory / _NAME
        with path.open("wb") as file:
            payload.unpack(image, file)
        path.chmod(0o444)

    entry = store.get(_NAME, {"format": _FORMAT, "kernel": image.sha256}, build)
    return _enterable(image, bzimage.inspect(entry / _NAME))


def _enterable(image: KernelImage, unpacked: KernelImage) -> Path:
    if not unpacked.pvh:
        raise ConfigError(
            f"kernel {image.path.name} cannot be started unpacked: it has no entry point for PVH",
            hint="build it with CONFIG_PVH=y (Debian's 64-bit ones have it), or boot it without --unpacked",
        )
    return unpacked.path
