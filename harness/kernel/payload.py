"""Unpacks the kernel that is packed in a bzImage.

The payload is one compressed stream; behind every format but gzip, which has it itself, the build appends the
size of what is packed in 4 bytes, little-endian (scripts/Makefile.lib, `size_append`). What comes out is an
ELF file; behind it, addresses to relocate may follow (arch/x86/boot/compressed/misc.c).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError
from harness.formats import compression
from harness.kernel import bzimage

if TYPE_CHECKING:
    from pathlib import Path

    from harness.formats.compression import Sink
    from harness.kernel.bzimage import KernelImage
    from harness.store import Store

LIMIT = 512 << 20  # bytes of an unpacked kernel; Debian's have 30 to 70 MB
_PACKED_MAX = 256 << 20
_APPENDED = 4
# Part of the key: raise it when the same kernel is unpacked in another way.
_FORMAT = 1
_NAME = "vmlinux"


def unpack(image: KernelImage, out: Sink, *, limit: int = LIMIT) -> None:
    """Write the kernel that is packed in a bzImage."""
    name = f"kernel {image.path}"
    if not image.payload_size:
        message = f"{name} does not say where its payload is (boot protocol 2.{image.protocol[1]})"
        raise ConfigError(message, hint="only kernels since Linux 2.6.26 do; boot it as it is")
    if image.payload not in compression.MAGICS.values():
        raise ConfigError(
            f"the payload of {name} is packed in a way that cannot be read here ({image.payload})",
            hint="boot it as it is; for the features that it has, put its configuration beside it as "
            f"config-{image.version}",
        )
    if image.payload_size > _PACKED_MAX:
        raise ConfigError(f"{name} claims a payload of {image.payload_size} bytes", hint="no kernel has that")
    with image.path.open("rb") as file:
        file.seek(image.payload_at)
        appended = 0 if image.payload == "gzip" else _APPENDED
        packed = io.BytesIO(file.read(max(0, image.payload_size - appended)))
    if compression.detect(packed.getvalue()[:2]) == "none":  # the size that is appended is all there is
        raise ConfigError(f"the payload of {name} is cut off", hint="fetch or build it again")
    try:
        compression.unpack(packed, 0, out, limit=limit)
    except compression.StreamError as error:
        raise ConfigError(
            f"the payload of {name} is damaged: {error}", hint="fetch or build it again"
        ) from None


def vmlinux(image: KernelImage, store: Store) -> Path:
    """The ELF file in a kernel, from the store; unpacked if it is not there yet."""
    if image.kind == _NAME:
        return _enterable(image, image)

    def build(directory: Path) -> None:
        path = directory / _NAME
        with path.open("wb") as file:
            unpack(image, file)
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
