"""Inspects a kernel file without booting it."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.kernel import bzimage, config, payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.kernel.bzimage import KernelImage
    from harness.kernel.config import Config

_TEXT_MAX = 64 << 10  # bytes of a section with text
_TEXTS = (".cmdline", ".osrel", ".uname")
_COMPRESSIONS = ("gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd")


class Inspection(msgspec.Struct, frozen=True):
    """What a kernel file is."""

    image: KernelImage  # the kernel; of a unified kernel image, the one in it, under the path of the whole
    kind: str  # "bzImage", "vmlinux" or "unified kernel image"
    config: Config | None  # its configuration, if it can be had
    problem: str = ""  # why the kernel that is packed in it cannot be looked at, in words; "" if it can
    # of a unified kernel image: the size of each section
    sections: Mapping[str, int] = msgspec.field(default_factory=dict)
    # of a unified kernel image: the sections with text
    texts: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def compressions(self) -> tuple[str, ...]:
        """How an initramfs may be compressed for it; empty where the configuration is not known."""
        if self.config is None or self.config.get("BLK_DEV_INITRD") == "n":
            return ()
        return ("none", *(name for name in _COMPRESSIONS if self.config.get(f"RD_{name.upper()}") == "y"))


def examine(path: Path) -> Inspection:
    """Look at a kernel file, and at the kernel that is packed in it."""
    try:
        with _kernel(path) as (kernel, sections, texts):
            image = bzimage.inspect(kernel)
            found = config.beside(msgspec.structs.replace(image, path=path))
            image, embedded, problem = _look_inside(image)
    except OSError as error:
        raise ConfigError(f"cannot read kernel {path}: {error.strerror}") from error
    except ConfigError as error:
        if sections_of(path):  # its kernel was read from a temporary file
            raise ConfigError(f"the section .linux of {path}: {error.message}", hint=error.hint) from error
        raise
    kind = "unified kernel image" if sections else image.kind
    return Inspection(
        image=msgspec.structs.replace(image, path=path),
        kind=kind,
        config=found or embedded,
        problem=problem,
        sections=sections,
        texts=texts,
    )


def sections_of(path: Path) -> dict[str, tuple[int, int]]:
    """The sections of a unified kernel image; empty for everything else, and for what cannot be read."""
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            return bzimage.sections(file)
    except OSError:
        return {}


@contextmanager
def _kernel(path: Path) -> Iterator[tuple[Path, dict[str, int], dict[str, str]]]:
    """The file of a kernel that is in no container, with what else the container holds."""
    sections = sections_of(path)
    if not sections:
        yield path, {}, {}
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        signature = bzimage.signature_end(file.read(4096))
    for name, (offset, length) in [*sections.items(), ("its signature", (signature, 0))]:
        if offset + length > size:
            message = f"{name} ends at byte {offset + length} of {size}: the file is cut off"
            raise ConfigError(message, hint="fetch or build it again")
    with path.open("rb") as file, tempfile.TemporaryDirectory() as directory:
        texts = {}
        for name in _TEXTS:
            if name in sections:
                offset, length = sections[name]
                file.seek(offset)
                texts[name] = file.read(min(length, _TEXT_MAX)).decode("utf-8", "replace").strip("\0\n")
        offset, length = sections[".linux"]
        inner = Path(directory, "linux")
        file.seek(offset)
        with inner.open("wb") as copy:
            while length > 0 and (piece := file.read(min(length, 1 << 20))):
                length -= copy.write(piece)
        yield inner, {name: length for name, (_, length) in sections.items()}, texts


def _look_inside(image: KernelImage) -> tuple[KernelImage, Config | None, str]:
    """Return the image with what the packed kernel adds, its embedded configuration, and what went wrong."""
    if image.kind == "vmlinux":
        return image, config.embedded(image), ""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "vmlinux")
        try:
            with path.open("wb") as out:
                payload.unpack(image, out)
        except ConfigError as error:
            return image, None, error.message
        inner = bzimage.inspect(path)
        with path.open("rb") as file:
            return msgspec.structs.replace(image, pvh=inner.pvh), config.search(file, image.path), ""
