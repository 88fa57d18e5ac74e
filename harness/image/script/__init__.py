"""Shell scripts that make the same images without the harness.

A script is written from images that were built: each is taken apart into the files that went in, and the
bytes around them. So no format is described twice. The script checks the hash of every file before it begins,
and that of every image before it gives it its name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.core.errors import ConfigError
from harness.image import delivery, manifest
from harness.image.script import archive, disk, hybrid
from harness.image.script.inputs import Input, Inputs, release

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.image.factory import Made
    from harness.recipe import Image, Recipe

_FUNCTIONS = Path(__file__).with_name("functions.sh")
_PROGRAMS = ("cat", "dd", "grep", "mkdir", "mv", "rm", "sed", "sfdisk", "sha256sum", "tr", "xxd")
# Commands of a script for which alone it needs a program.
_USERS = {
    "dd": "^(size|zeros|put|put_text|again|ones) ",
    "sed": "^hex0 ",
    "sfdisk": "^sfdisk ",
    "tr": "^ones ",
    "xxd": "^(hex|hex0|numbers) ",
}

_HEAD = """\
#!/bin/sh
# Makes the images of {recipe}, without the harness, with nothing but a POSIX shell and plain tools.
#
#   sh build.sh [DIRECTORY]      writes them there; without a directory, to images/ beside this script
#
# What they are made from lies in inputs/ beside this script, or where the environment variable INPUTS
# says. Each file has its sha256 below, which is checked before anything is made, and each image has to come
# out with the sha256 that stands at its end. An image has its name only when that is so. Other programs can
# say what is in it: `cpio -tv`, `e2fsck -fn`, `debugfs`, `bsdtar -tv`.
#
{origins}
set -eu
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin
export LC_ALL PATH
umask 022
exec 3>&1
case $0 in
*/*) here=${{0%/*}} ;;
*) here=. ;;
esac
in=${{INPUTS:-$here/inputs}}
out=${{1:-$here/images}}
new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
trap 'exit 130' HUP INT TERM

"""

_CHECK = """\
# --- all that goes in: sha256 and name of each file in inputs/ ---

need {programs}
[ -d "$in" ] || die "there is no $in; nothing was made"
mkdir -p "$out" || die "cannot make the directory $out"
{find_xxd}say "checking {count} files in $in"
new=$out/.checked
wrong=0
(cd "$in" && exec sha256sum -c -) >"$new" 2>&1 <<'END' || wrong=$?
{sums}
END
if [ "$wrong" != 0 ]; then
    grep -v ': OK$' "$new" >&2 || :
    die "these files in $in are missing or are not what they have to be; nothing was made"
fi
rm -f "$new"
"""


class Script(msgspec.Struct, frozen=True):
    """A script and what has to lie beside it."""

    text: str  # the script; names that are no UTF-8 are carried as surrogate escapes
    inputs: Sequence[Input]  # the files below inputs/
    images: Mapping[str, str]  # the names of the images that it makes, and their sha256


def script_of(made: Sequence[Made], roots: Mapping[str, Path]) -> Script:
    """The script that makes images again, each behind those that it is made from.

    `roots` are the user's directories, by the names that they have in inputs/.
    """
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
        body += _commands(each, inputs)
        body += [f"finish {name} {artifact.sha256}"]
        images[name] = artifact.sha256
        inputs.made(each, name)
    lines = "\n".join(body) + "\n"
    programs = [
        name for name in _PROGRAMS if name not in _USERS or re.search(_USERS[name], lines, re.MULTILINE)
    ]
    sums = "\n".join(f"{each.sha256}  {each.name}" for each in inputs.files)
    text = _HEAD.format(recipe=made[-1].factory.recipe.name, origins=_origins(made, inputs))
    text += _FUNCTIONS.read_text("ascii")
    text += "\n" + _CHECK.format(
        programs=" ".join(programs),
        count=len(inputs.files),
        sums=sums,
        find_xxd="find_xxd\n" if "xxd" in programs else "",
    )
    return Script(text + lines, inputs.files, images)


def check(recipe: Recipe, only: str | None) -> None:
    """Make sure that a script can make the images of a recipe, before any is built."""
    for image in recipe.images:
        if only in {None, image.__struct_config__.tag}:
            _check(image, recipe)


def _check(image: Image, recipe: Recipe) -> None:
    what = f"{recipe.path}: the image {image.name}"
    match image:
        case r.Dib():
            raise ConfigError(
                f"{what} is a root that diskimage-builder installs, and its bits differ each time",
                hint="choose a recipe whose images are made of packages and files: `harness list`",
            )
        case r.Disk(format="qcow2"):
            raise ConfigError(
                f"{what} has the format qcow2, which no tool of a plain system writes",
                hint='set format = "raw": QEMU boots it just the same',
            )
        case r.Initramfs() if image.compression != "none":
            raise ConfigError(
                f"{what} is compressed ({image.compression}), and which bits come of that depends on the "
                "version of the program that does it",
                hint='set compression = "none": the kernel unpacks it just the same',
            )


def _commands(made: Made, inputs: Inputs) -> Iterator[str]:
    image = made.image
    match image:
        case r.Initramfs():
            yield from archive.commands(made, image, made.factory.tree(image.contents), inputs)
        case r.Disk():
            places = image.partition or (image,)
            trees = [made.factory.tree(place.contents) for place in places]
            yield from disk.commands(made, image, trees, inputs)
        case r.Iso():
            yield from hybrid.commands(made, image, made.factory.tree(image.contents), inputs)
        case r.BuilderHex0():
            yield from archive.boot_disk_commands(made, image, made.factory.tree(image.contents), inputs)


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


def lay_out(inputs: Iterable[Input], directory: Path) -> None:
    """Put files where a script expects them; what is there and right is left alone."""
    for each in inputs:
        delivery.put(each.content, directory / each.name, each.sha256)
