"""Checks a recipe for what its types cannot say."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.core.sizes import parse_size
from harness.recipe import contents as c
from harness.recipe.images import BuilderHex0, Dib, Disk, Image, Initramfs, Iso, Partition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.recipe.document import Recipe

# A key and what is wrong with it.
Problem = tuple[str, str]

# Bytes of an ext2 superblock's volume name, and of a swap area's label.
_LABEL = 16


def problems(recipe: Recipe) -> Iterator[Problem]:
    """All that is wrong with a recipe, as keys and sentences, in the order of the file."""
    earlier: dict[str, Image] = {}
    for index, image in enumerate(recipe.images):
        key = f"image[{index}]"
        if image.name in earlier:
            yield f"{key}.name", f"{image.name!r} is the name of an earlier image"
        yield from _image(recipe, key, image, earlier)
        earlier[image.name] = image
    if recipe.boots:
        yield from _boot(recipe, earlier)
    native = recipe.document.native
    if native is not None and not isinstance(earlier.get(native.image), Initramfs | Disk):
        yield "native.image", f"no initramfs or disk image is named {native.image!r}"


def _boot(recipe: Recipe, images: Mapping[str, Image]) -> Iterator[Problem]:
    boot = recipe.boot
    if recipe.document.kernels is None and boot.initramfs is not None:
        yield "kernels", "the table is missing, and the recipe boots (table boot)"
    if recipe.document.plan is None:
        yield "plan", "the key is missing, and the recipe boots (table boot)"
    elif not recipe.plan.is_file():
        yield "plan", f"there is no plan {recipe.plan}"
    if boot.initramfs is not None and not isinstance(images.get(boot.initramfs), Initramfs):
        yield "boot.initramfs", f"no initramfs image is named {boot.initramfs!r}"
    if boot.initramfs is None and boot.disk is None:
        yield "boot.initramfs", "the key is missing, and there is no disk to boot from (boot.disk)"
    if recipe.document.kernels is None and not isinstance(images.get(boot.disk or ""), BuilderHex0):
        yield "boot.disk", "there are no kernels (table kernels), and it is no builder-hex0 image"
    if boot.disk is not None and not isinstance(images.get(boot.disk), Disk | BuilderHex0):
        yield "boot.disk", f"no disk image is named {boot.disk!r}"
    for number, drive in enumerate(boot.drive):
        if not isinstance(images.get(drive.image), Disk):
            yield f"boot.drive[{number}].image", f"no disk image is named {drive.image!r}"
    if boot.medium is not None and not isinstance(images.get(boot.medium), Iso):
        yield "boot.medium", f"no iso image is named {boot.medium!r}"
    yield from _size("boot.memory", boot.memory)
    if not boot.command_line.isprintable():
        yield "boot.command-line", f"{boot.command_line!r} has control characters"


def _image(recipe: Recipe, key: str, image: Image, earlier: Mapping[str, Image]) -> Iterator[Problem]:
    match image:
        case Initramfs():
            for number, name in enumerate(image.behind):
                if not isinstance(earlier.get(name), Initramfs):
                    yield f"{key}.behind[{number}]", f"no earlier initramfs image is named {name!r}"
            yield from contents_problems(recipe, key, image.contents, earlier)
        case Disk():
            yield from _disk(recipe, key, image, earlier)
        case Iso():
            yield from _iso(recipe, key, image, earlier)
            yield from contents_problems(recipe, key, image.contents, earlier)
        case BuilderHex0():
            yield from _size(f"{key}.size", image.size)
            yield from contents_problems(recipe, key, image.contents, earlier)
        case Dib() if recipe.document.debian is None:
            yield "debian", f"the table is missing, and {key} is made from Debian"


def _disk(recipe: Recipe, key: str, disk: Disk, earlier: Mapping[str, Image]) -> Iterator[Problem]:
    yield from _size(f"{key}.size", disk.size)
    if disk.table == "none" and disk.partition:
        yield f"{key}.table", "a disk with partitions needs a partition table: mbr or gpt"
    if disk.table != "none":
        if not disk.partition:
            yield f"{key}.partition", f"a disk with the table {disk.table!r} needs at least one partition"
        for name in ("contents", "label", "uuid"):
            if getattr(disk, name):
                yield f"{key}.{name}", "this belongs to a partition when the disk has a partition table"
        if disk.table == "mbr" and len(disk.partition) > 4:
            yield f"{key}.partition", "an MBR has room for four partitions; use gpt for more"
    yield from _filesystem(recipe, key, disk, earlier)
    for number, partition in enumerate(disk.partition):
        inner = f"{key}.partition[{number}]"
        if partition.offset:
            yield from _size(f"{inner}.offset", partition.offset)
        if partition.size:
            yield from _size(f"{inner}.size", partition.size)
        elif number != len(disk.partition) - 1:
            yield f"{inner}.size", "only the last partition can take all that is left"
        yield from _filesystem(recipe, inner, partition, earlier)


def _filesystem(
    recipe: Recipe, key: str, place: Disk | Partition, earlier: Mapping[str, Image]
) -> Iterator[Problem]:
    if place.filesystem in {"swap", "none"} and place.contents:
        yield f"{key}.contents", f"the filesystem {place.filesystem!r} holds no files"
    if place.filesystem == "none":
        for name in ("label", "uuid"):
            if getattr(place, name):
                yield f"{key}.{name}", "there is no filesystem that could bear it"
    if not place.label.isprintable() or len(place.label.encode()) > _LABEL:
        yield f"{key}.label", f"{place.label!r} has control characters, or more than {_LABEL} bytes in UTF-8"
    yield from contents_problems(recipe, key, place.contents, earlier)


def _iso(recipe: Recipe, key: str, iso: Iso, earlier: Mapping[str, Image]) -> Iterator[Problem]:
    for number, entry in enumerate(iso.menu):
        if not isinstance(earlier.get(entry.initramfs), Initramfs):
            yield (
                f"{key}.menu[{number}].initramfs",
                f"no earlier initramfs image is named {entry.initramfs!r}",
            )
        yield from kernel_problems(recipe, f"{key}.menu[{number}].kernel", entry.kernel)
        for name, text in (("title", entry.title), ("command-line", entry.command_line)):
            if not text.isprintable() or not text.isascii() or '"' in text or "'" in text:
                yield (
                    f"{key}.menu[{number}].{name}",
                    f"{text!r} has letters that boot menus cannot carry (quotes, control or non-ASCII ones)",
                )
    if iso.disk is not None and not isinstance(earlier.get(iso.disk), Disk):
        yield f"{key}.disk", f"no earlier disk image is named {iso.disk!r}"


def _size(key: str, text: str) -> Iterator[Problem]:
    try:
        parse_size(text)
    except ValueError as error:
        yield key, str(error)


# What adds one file, at its path.
_ONE_FILE = (c.File, c.Hex, c.Text, c.Symlink, c.HardLink, c.Device, c.Download, c.KernelFile, c.ImageFile)
# What may add to the image's root itself.
_BELOW = (c.Checkout, c.Files, c.Tarball, c.Unpacked)
_NOT_PLAIN = "{!r} is no plain path below the image's root"
# As the kernel (PATH_MAX, with the NUL at the end; NAME_MAX).
_PATH_MAX, _NAME_MAX = 4096, 255


def contents_problems(
    recipe: Recipe, key: str, contents: tuple[c.Content, ...], earlier: Mapping[str, Image]
) -> Iterator[Problem]:
    """All that is wrong with the contents of an image or partition."""
    paths: dict[str, str] = {}
    for number, content in enumerate(contents):
        inner = f"{key}.contents[{number}]"
        yield from _path(inner, content)
        yield from _content(recipe, inner, content, earlier)
        if isinstance(content, _ONE_FILE):
            first = paths.setdefault(content.path, inner)
            if first != inner:
                yield f"{inner}.path", f"{first} adds {content.path!r} already"


def kernel_problems(recipe: Recipe, key: str, name: str) -> Iterator[Problem]:
    """What is wrong with a kernel that a key names by its role."""
    kernels = recipe.document.kernels
    if name == "seed" and kernels is None:
        yield key, "the recipe has no seed kernel (key kernels.seed)"
    if name == "second" and (kernels is None or not kernels.second):
        yield key, "the recipe has no second kernel (key kernels.second)"


def _path(key: str, content: c.Content) -> Iterator[Problem]:
    if isinstance(content, c.Packages) or (isinstance(content, _BELOW) and not content.path):
        return
    if not _is_plain(content.path):
        yield f"{key}.path", _NOT_PLAIN.format(content.path)


def _content(recipe: Recipe, key: str, content: c.Content, earlier: Mapping[str, Image]) -> Iterator[Problem]:
    match content:
        case c.Packages() | c.SourcePackage(suite="") if recipe.document.debian is None:
            yield "debian", f"the table is missing, and {key} asks for Debian packages"
        case c.Files() if not (recipe.base / content.source).is_dir():
            yield f"{key}.source", f"there is no directory {recipe.base / content.source}"
        case c.File() | c.Hex() if not (recipe.base / content.source).is_file():
            yield f"{key}.source", f"there is no file {recipe.base / content.source}"
        case c.Checkout() if not (recipe.lacks(content.source) or (recipe.base / content.source).is_dir()):
            yield f"{key}.source", f"there is no directory {recipe.base / content.source}"
        case c.Symlink():
            yield from _target(f"{key}.target", content.target)
        case c.HardLink() if not _is_plain(content.target):
            yield f"{key}.target", _NOT_PLAIN.format(content.target)
        case c.Download() | c.Tarball():
            yield from _url(recipe, f"{key}.url", content.url)
        case c.ImageFile() if not content.recipe and content.image not in earlier:
            yield f"{key}.image", f"no earlier image is named {content.image!r}"
        case c.Unpacked() if not isinstance(earlier.get(content.image), Dib):
            yield f"{key}.image", f"no earlier dib image is named {content.image!r}"
        case c.Modules() | c.KernelFile():
            yield from kernel_problems(recipe, f"{key}.kernel", content.kernel)


def _target(key: str, target: str) -> Iterator[Problem]:
    if not 0 < len(target.encode()) < _PATH_MAX:
        yield key, f"a link's target has 1 to {_PATH_MAX - 1} bytes"
    if not target.isprintable():
        yield key, f"{target!r} has control characters"


def _url(recipe: Recipe, key: str, url: str) -> Iterator[Problem]:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        yield key, f"{url!r} is no address: {error}"
        return
    if parts.scheme in {"http", "https"}:
        if not parts.hostname:
            yield key, f"{url!r} names no server"
    elif parts.scheme == "file":
        if not parts.path.startswith("/") or parts.netloc:
            yield key, f"{url!r} is no address of a file on this host; it begins with file:///"
    elif parts.scheme:
        yield key, f"{url!r} is no address of http, https or file, and no path beside the recipe"
    elif "\0" in url or not (recipe.base / url).is_file():
        yield key, f"there is no file {str(recipe.base / url)!r}"


def _is_plain(text: str) -> bool:
    """Whether this is a relative path in its shortest form, of letters that every format can carry."""
    path = PurePosixPath(text)
    shortest = bool(path.parts) and str(path) == text
    carried = all(letter.isprintable() and letter != '"' for letter in text)
    fits = len(text.encode()) < _PATH_MAX and all(len(part.encode()) <= _NAME_MAX for part in path.parts)
    return shortest and carried and fits and not path.is_absolute() and ".." not in path.parts
