"""What the types of a recipe's contents cannot say: that what they refer to is there, and fits."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.recipe.contents import (
    Checkout,
    Content,
    Device,
    Download,
    File,
    Files,
    HardLink,
    Hex,
    ImageFile,
    KernelFile,
    Modules,
    Packages,
    SourcePackage,
    Symlink,
    Tarball,
    Text,
    Unpacked,
)
from harness.recipe.images import Dib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.recipe.document import Recipe
    from harness.recipe.images import Image

# A key and what is wrong with it.
Problem = tuple[str, str]

# What adds one file, at its path.
_ONE_FILE = (File, Hex, Text, Symlink, HardLink, Device, Download, KernelFile, ImageFile)
# What may add to the image's root itself.
_BELOW = (Checkout, Tarball, Unpacked)
_NOT_PLAIN = "{!r} is no plain path below the image's root"
# As the kernel (PATH_MAX, with the NUL at the end; NAME_MAX).
_PATH_MAX, _NAME_MAX = 4096, 255


def contents_problems(
    recipe: Recipe, key: str, contents: tuple[Content, ...], earlier: Mapping[str, Image]
) -> Iterator[Problem]:
    """All that is wrong with the contents of an image or partition.

    Args:
        recipe: Where they stand.
        key: The image or partition.
        contents: What it is to have.
        earlier: The images that stand before it, by name.
    """
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


def _path(key: str, content: Content) -> Iterator[Problem]:
    if isinstance(content, Packages) or (isinstance(content, _BELOW) and not content.path):
        return
    if not _is_plain(content.path):
        yield f"{key}.path", _NOT_PLAIN.format(content.path)


def _content(recipe: Recipe, key: str, content: Content, earlier: Mapping[str, Image]) -> Iterator[Problem]:
    match content:
        case Packages() | SourcePackage(suite="") if recipe.document.debian is None:
            yield "debian", f"the table is missing, and {key} asks for Debian packages"
        case Files() if not (recipe.base / content.source).is_dir():
            yield f"{key}.source", f"there is no directory {recipe.base / content.source}"
        case File() | Hex() if not (recipe.base / content.source).is_file():
            yield f"{key}.source", f"there is no file {recipe.base / content.source}"
        case Checkout() if not (recipe.lacks(content.source) or (recipe.base / content.source).is_dir()):
            yield f"{key}.source", f"there is no directory {recipe.base / content.source}"
        case Symlink():
            yield from _target(f"{key}.target", content.target)
        case HardLink() if not _is_plain(content.target):
            yield f"{key}.target", _NOT_PLAIN.format(content.target)
        case Download() | Tarball():
            yield from _url(recipe, f"{key}.url", content.url)
        case ImageFile() if not content.recipe and content.image not in earlier:
            yield f"{key}.image", f"no earlier image is named {content.image!r}"
        case Unpacked() if not isinstance(earlier.get(content.image), Dib):
            yield f"{key}.image", f"no earlier dib image is named {content.image!r}"
        case Modules() | KernelFile():
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
