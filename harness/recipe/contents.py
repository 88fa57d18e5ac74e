"""The tables of a recipe's `contents`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from harness.core import toml

Name = Annotated[str, msgspec.Meta(pattern=r"^([a-z0-9][a-z0-9._+-]*|\{[a-z-]+\})$")]  # {…}: given later
Mode = Annotated[int, msgspec.Meta(ge=0, le=0o7777)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Version = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.+~:-]*$")]  # Debian policy 5.6.12
# "seed" or "second", the recipe's two kernels, or any kernel of the catalogue.
KernelName = Name


class File(toml.Table, frozen=True, tag_field="add", tag="file"):
    """A file from beside the recipe; `source` is relative to the directory that holds `recipes/`."""

    path: str
    source: str
    mode: Mode = 0o644


class Files(toml.Table, frozen=True, tag_field="add", tag="files"):
    """All files below a directory beside the recipe, below `path`, less what `drop` names."""

    source: str
    path: str = ""
    mode: Mode = 0o644
    drop: tuple[str, ...] = ()


class Hex(toml.Table, frozen=True, tag_field="add", tag="hex"):
    """A binary file that a hexadecimal listing from beside the recipe spells out; `#` begins a comment."""

    path: str
    source: str
    mode: Mode = 0o644


class Text(toml.Table, frozen=True, tag_field="add", tag="text"):
    """A file whose content stands in the recipe, such as a script with mode 0755."""

    path: str
    text: str
    mode: Mode = 0o644


class Directory(toml.Table, frozen=True, tag_field="add", tag="directory"):
    """An empty directory."""

    path: str
    mode: Mode = 0o755


class Symlink(toml.Table, frozen=True, tag_field="add", tag="symlink"):
    """A symbolic link."""

    path: str
    target: str


class HardLink(toml.Table, frozen=True, tag_field="add", tag="hardlink"):
    """Another name of a file that the image has; `target` is that file's path in the image."""

    path: str
    target: str


class Device(toml.Table, frozen=True, tag_field="add", tag="device"):
    """A device node."""

    path: str
    type: Literal["char", "block"]
    major: Annotated[int, msgspec.Meta(ge=0, le=4095)]
    minor: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFF)]
    mode: Mode = 0o600


class Checkout(toml.Table, frozen=True, tag_field="add", tag="checkout"):
    """A directory of a git checkout, below `path`: what git tracks, submodules included.

    With `dirty`, also what git neither tracks nor ignores. With `keep`, only these files and directories;
    `drop` leaves out files and directories. With `partial`, submodules may be missing;
    with `follow`, symbolic links become copies of what they lead to.
    """

    source: str
    path: str = ""
    dirty: bool = False
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    partial: bool = False
    follow: bool = False


class Download(toml.Table, frozen=True, tag_field="add", tag="download"):
    """A file by its address (http, https, file, or a path beside the recipe) and its hash."""

    path: str
    url: str
    sha256: Sha256
    mode: Mode = 0o644


class Tarball(toml.Table, frozen=True, tag_field="add", tag="tarball"):
    """What is in a tarball, below `path`; `strip` leading directories are taken off each name."""

    url: str
    sha256: Sha256
    path: str = ""
    strip: Annotated[int, msgspec.Meta(ge=0)] = 0
    drop: tuple[str, ...] = ()


class StorePath(toml.Table, frozen=True, tag_field="add", tag="store-path"):
    """A file, directory or link as a store of Nix or Guix has it, by the hash of its NAR."""

    path: str
    source: str
    sha256: Sha256


class Packages(toml.Table, frozen=True, tag_field="add", tag="packages"):
    """Debian packages with all that they depend on.

    With `keep`, only these programs and what they need to run (libraries, interpreters, links).
    `drop` leaves out whole directories.
    """

    names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SourcePackage(toml.Table, frozen=True, tag_field="add", tag="source-package"):
    """The original tarballs of a Debian source package, as files in the directory `path`.

    Without `version` it is the newest of the suite; `suite` is that of the recipe unless it is given.
    """

    name: Name
    path: str
    version: Version = ""
    suite: Annotated[str, msgspec.Meta(pattern=r"^[a-z]*$")] = ""


class Modules(toml.Table, frozen=True, tag_field="add", tag="modules"):
    """Modules of a kernel with all that they depend on, below `path`; the load order is in `path`/order."""

    path: str
    kernel: KernelName
    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


class KernelFile(toml.Table, frozen=True, tag_field="add", tag="kernel"):
    """The bootable file of a kernel."""

    path: str
    kernel: KernelName


class ImageFile(toml.Table, frozen=True, tag_field="add", tag="image"):
    """Another image as a file: one that stands before this one, or one of another recipe."""

    path: str
    image: Name
    recipe: str = ""


class Unpacked(toml.Table, frozen=True, tag_field="add", tag="unpacked"):
    """The files of a root that diskimage-builder made: an earlier image of kind `dib`."""

    image: Name
    path: str = ""
    drop: tuple[str, ...] = ()


Content = (
    File
    | Files
    | Hex
    | Text
    | Directory
    | Symlink
    | HardLink
    | Device
    | Checkout
    | Download
    | Tarball
    | StorePath
    | Packages
    | SourcePackage
    | Modules
    | KernelFile
    | ImageFile
    | Unpacked
)
