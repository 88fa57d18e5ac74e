"""What makes an image, with versions, for its manifest."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from typing import TYPE_CHECKING

import harness
from harness import recipe as r

if TYPE_CHECKING:
    from harness.recipe import Image

# Programs, and how each is asked for its version.
_ASK = {
    "sfdisk": "--version",
    "qemu-img": "--version",
    "mformat": "--version",
    "disk-image-create": "--version",
    "debootstrap": "--version",
    "dpkg-deb": "--version",
}


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
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    program = shutil.which(name, path=path)
    if program is None:
        return "not installed"
    result = subprocess.run(
        [program, _ASK[name]],
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    first = (result.stdout or result.stderr).strip().partition("\n")[0]
    return first or "does not say"
