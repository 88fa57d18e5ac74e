"""Shell scripts that make the same images without the harness.

A script is written from images that were built: each is taken apart into the files that went in, and the
bytes around them. So no format is described twice. The script checks the hash of every file before it begins,
and that of every image before it gives it its name.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.core import paths
from harness.core.errors import ConfigError, InfraError
from harness.core.sizes import format_size
from harness.image import build, delivery, manifest
from harness.image.factory import Factory, Made
from harness.image.script.commands import commands
from harness.image.script.inputs import Input, Inputs, release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.core.progress import Progress
    from harness.image.build import BuildOptions
    from harness.recipe import Image, Recipe

INPUTS = "inputs"  # the directory beside the script
_PROGRAMS = ("cat", "dd", "grep", "mkdir", "mv", "rm", "sed", "sfdisk", "sha256sum", "tr", "xxd")
# Commands of a script for which alone it needs a program.
_USERS = {
    "dd": "^(size|zeros|put|put_text|again|ones) ",
    "sed": "^hex0 ",
    "sfdisk": "^sfdisk ",
    "tr": "^ones ",
    "xxd": "^(hex|hex0|numbers) ",
}


class Script(msgspec.Struct, frozen=True):
    """A script and what has to lie beside it."""

    text: str  # the script; names that are no UTF-8 are carried as surrogate escapes
    inputs: Sequence[Input]  # the files below inputs/
    images: Mapping[str, str]  # the names of the images that it makes, and their sha256


def write(
    recipe: Recipe,
    options: BuildOptions,
    path: Path,
    progress: Progress,
    *,
    roots: Mapping[str, Path],
    with_inputs: bool = True,
) -> Script:
    """Build a recipe's images, and write the script that makes them again, with its inputs beside it.

    `roots` are the user's directories, by the names that they have in inputs/.
    """
    place, hint = path.absolute().parent, "choose another file with -o FILE"
    if path.is_dir():
        raise ConfigError(f"{path} is a directory", hint=f"name the script: -o {path / 'build.sh'}")
    paths.check_writable(place, "output", hint)
    for image in recipe.images:
        if options.only in {None, image.__struct_config__.tag}:
            _check(image, recipe)
    factory = Factory(recipe, build.build_context(options, progress), options.kernel, options.second)
    factory.build(options.only, options.names, wants_kernels=False)
    with progress.task("writing the script"):
        found = script_of(factory.made, roots)
    paths.writable_directory(place, "output", hint)
    if with_inputs:
        needed = sum(each.size for each in found.inputs)
        free = shutil.disk_usage(place).free
        if needed > free and not (place / INPUTS).exists():
            raise InfraError(
                f"{place} has {format_size(free)} left, and the inputs take {format_size(needed)}",
                hint="free some space there, or lay the inputs out yourself: --no-inputs",
            )
        with progress.task("laying out its inputs"):
            for each in found.inputs:
                delivery.put(each.content, place / INPUTS / each.name, each.sha256)
    text = found.text.encode("utf-8", "surrogateescape")
    delivery.put(text, path.absolute(), hashlib.sha256(text).hexdigest())
    path.chmod(0o755)
    return found


def script_of(made: Sequence[Made], roots: Mapping[str, Path]) -> Script:
    """The script that makes images again, each behind those that it is made from."""
    for each in made:
        _check(each.image, each.factory.recipe)
    inputs = Inputs(roots)
    body: list[str] = []
    images: dict[str, str] = {}
    for each in made:
        name = _file_name(each, made[-1], images)
        inputs.learn(r.contents_of(each.image), each.factory)
        artifact = each.artifact.with_sha256()
        body += ["", f"# --- {name}: {artifact.kind}, {artifact.size} bytes ---", "", f"begin {name}"]
        body += commands(each, inputs)
        body += [f"finish {name} {artifact.sha256}"]
        images[name] = artifact.sha256
        inputs.made(each, name)
    lines = "\n".join(body) + "\n"
    programs = [
        name for name in _PROGRAMS if name not in _USERS or re.search(_USERS[name], lines, re.MULTILINE)
    ]
    words = {
        "recipe": made[-1].factory.recipe.name,
        "origins": _origins(made, inputs),
        "programs": " ".join(programs),
        "count": str(len(inputs.files)),
        "sums": "\n".join(f"{each.sha256}  {each.name}" for each in inputs.files),
        "find_xxd": "find_xxd\n" if "xxd" in programs else "",
    }
    parts = ("head.sh", "functions.sh", "check.sh")
    text = "".join(Path(__file__).with_name(part).read_text("ascii") for part in parts)
    text = re.sub("@([a-z_]+)@", lambda found: words[found[1]], text)
    return Script(text + lines, inputs.files, images)


def _check(image: Image, recipe: Recipe) -> None:
    what = f"{recipe.path}: the image {image.name}"
    match image:
        case r.Dib():
            raise ConfigError(
                f"{what} is a root that diskimage-builder installs, and its bits differ each time",
                hint="choose a recipe whose images are made of packages and files: `harness list`",
            )
        case r.Disk(format="qcow2"):
            message = f"{what} has the format qcow2, which no tool of a plain system writes"
            raise ConfigError(message, hint='set format = "raw": QEMU boots it just the same')
        case r.Initramfs() if image.compression != "none":
            raise ConfigError(
                f"{what} is compressed ({image.compression}), and which bits come of that depends on the "
                "version of the program that does it",
                hint='set compression = "none": the kernel unpacks it just the same',
            )


def _file_name(made: Made, last: Made, taken: Mapping[str, str]) -> str:
    """The image's file; that of another recipe has its recipe's name in front."""
    name = made.artifact.path.name
    other = made.factory.recipe.path != last.factory.recipe.path or name in taken
    return f"{made.factory.recipe.name}.{name}" if other else name


def _origins(made: Sequence[Made], inputs: Inputs) -> str:
    """Where the inputs come from, as comments."""
    origins = {
        _origin(origin, inputs.place_of(each.factory.recipe.base / origin.name))
        for each in made
        for origin in manifest.read_origins(each.artifact.manifest).inputs
    }
    return (
        "\n".join(["# Where the files come from:", *(f"#   {origin}" for origin in sorted(origins))]) + "\n"
    )


def _origin(origin: manifest.Input, place: str) -> str:
    match origin.kind:
        case "package":
            package = f"{origin.name}_{origin.version.replace(':', '%3a')}_{origin.architecture}"
            text = f"packages/{package}: unpacked by `dpkg-deb -x` from {origin.name} {origin.version}"
            text += f" ({origin.architecture}, Debian {origin.origin}), the .deb with"
        case "kernel":
            text = f"kernels/{release(origin.version)}: {origin.origin}, its vmlinuz with"
        case "checkout":
            at = f" at {origin.version}" if origin.version else ""
            return f"{place}: a checkout{at}" + (", with changes" if origin.modified else "")
        case "image":
            text = f"the image {origin.name} of {origin.origin}, made here, with"
        case "download":
            text = f"downloads/{origin.name}: {origin.origin}"
        case _:
            text = place
    return f"{text} {'digest' if ':' in origin.sha256 else 'sha256'} {origin.sha256}"
