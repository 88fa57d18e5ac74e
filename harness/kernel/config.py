"""A kernel's configuration: embedded in it, or in a file beside it."""

from __future__ import annotations

import io
import mmap
import re
import tempfile
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.core.errors import ConfigError, explaining

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.kernel.bzimage import KernelImage

# A setting; other lines are comments.
_SET = re.compile(r"^CONFIG_([^=\n]+)=[ \t]*(.*?)[ \t\r]*$", re.MULTILINE)
# kernel/configs.c: CONFIG_IKCONFIG puts a gzip stream between these words.
_START = b"IKCFG_ST"
_CONFIG_MAX = 16 << 20  # bytes; Debian's have 0.3 MB


class Config(msgspec.Struct, frozen=True):
    """What a kernel is built with."""

    # symbols without CONFIG_, with their values: "y", "m", numbers, quoted texts. What is switched off is
    # not there
    symbols: Mapping[str, str]
    origin: str  # where this is known from, in words

    def get(self, symbol: str) -> str:
        """The value of a symbol, "n" for one that is switched off or unknown."""
        return self.symbols.get(symbol, "n")


def parse(text: str) -> dict[str, str]:
    """Symbols and values of a `.config`; other lines are comments."""
    return dict(_SET.findall(text))


def beside(image: KernelImage) -> Config | None:
    """The configuration that lies where distributions and build trees put it, if it does."""
    path = path_beside(image)
    return read(path) if path else None


def path_beside(image: KernelImage) -> Path | None:
    """Where that lies."""
    place = image.path
    names = [f"config-{image.version}", "config", f"{place.name}.config"]
    tree = [top / ".config" for top in place.resolve().parents[3:4]]  # of arch/x86/boot/bzImage
    own = [place.resolve().parent / ".config"] if image.kind == "vmlinux" else []
    paths = [*(place.with_name(name) for name in names), *tree, *own]
    return next((path for path in paths if path.is_file()), None)


def read(path: Path) -> Config:
    """Read a configuration file."""
    with explaining(ConfigError, f"cannot read {path}"):
        return Config(parse(path.read_text("utf-8", "replace")), str(path))


def embedded(image: KernelImage) -> Config | None:
    """The configuration that the kernel itself holds (CONFIG_IKCONFIG), if it does.

    Unpacks the whole kernel, into a temporary file: half a second.

    Raises:
        ConfigError: The payload or what is embedded is damaged.
    """
    if image.kind == "vmlinux":
        with image.path.open("rb") as file:
            return search(file, image.path)
    from harness.kernel import payload

    with tempfile.TemporaryFile() as file:
        payload.unpack(image, file)
        return search(file, image.path)


def of(image: KernelImage) -> Config | None:
    """The configuration beside a kernel, or else the embedded one; None where neither can be had."""
    if found := beside(image):
        return found
    try:
        return embedded(image)
    except ConfigError:  # that it cannot be unpacked here says nothing against the kernel
        return None


def search(file: BinaryIO, path: Path) -> Config | None:
    """The configuration in a kernel that is unpacked."""
    from harness.formats import compression

    file.flush()
    if file.seek(0, io.SEEK_END) == 0:
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_START + b"\x1f\x8b")
    if at < 0:
        return None
    text = io.BytesIO()
    try:
        compression.unpack(file, at + len(_START), text, limit=_CONFIG_MAX)
    except compression.StreamError as error:
        raise ConfigError(
            f"the configuration in kernel {path} is damaged: {error}", hint="fetch or build it again"
        ) from None
    return Config(parse(text.getvalue().decode("utf-8", "replace")), f"embedded in {path.name}")
