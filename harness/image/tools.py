"""What makes an image, with versions, for its manifest."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import harness
from harness import recipe as r
from harness.core import programs
from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from harness.recipe import Image


def tools_of(image: Image) -> dict[str, str]:
    """The programs and libraries that an image of this kind is made with, and their versions."""
    tools = {"harness": harness.__version__, "python": platform.python_version()}
    if any(isinstance(content, r.Packages | r.Modules | r.KernelFile) for content in r.contents_of(image)):
        tools |= _programs("dpkg-deb")
    match image:
        case r.Initramfs():
            tools |= compressor(image.compression)
        case r.Disk():
            if image.table != "none":
                tools |= _programs("sfdisk")
            if image.format == "qcow2":
                tools |= _programs("qemu-img")
        case r.Iso():
            from importlib.metadata import version

            tools |= {"pycdlib": version("pycdlib"), **_programs("mformat")}
        case r.Dib():
            tools |= _programs("disk-image-create", "debootstrap")
    return tools


def compressor(compression: str) -> dict[str, str]:
    """The library that compresses so, and its version, on which the bits depend."""
    match compression:
        case "gzip":
            import zlib

            return {"zlib": zlib.ZLIB_RUNTIME_VERSION}
        case "zstd":
            import zstandard

            return {"zstd": ".".join(map(str, zstandard.ZSTD_VERSION))}
        case "lz4":
            import lz4

            return {"lz4": str(lz4.library_version_string())}
        case "lzo":
            from importlib.metadata import version

            return {"lzallright": version("lzallright")}
        case "xz" | "lzma" | "bzip2":
            return {compression: f"that of Python {platform.python_version()}"}
    return {}


def _programs(*names: str) -> dict[str, str]:
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        result = programs.call([name, "--version"])
    except ConfigError:
        return "not installed"
    first = (result.stdout or result.stderr).strip().partition("\n")[0]
    return first or "does not say"
