"""Roots that diskimage-builder makes from elements: for what unpacking packages cannot do.

Its output is made as reproducible as it can be: `root` says how, and `describe` what remains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from harness.core import paths
from harness.core.errors import ConfigError
from harness.image.dib import elements as dib_elements
from harness.image.dib import host as dib_host
from harness.image.dib import root as dib_root

if TYPE_CHECKING:
    from pathlib import Path

    from harness.formats.tree import Written
    from harness.image.ingredients import Ingredients
    from harness.recipe import Dib, Recipe

# Part of the key: raise it when the same output of diskimage-builder becomes another archive than before.
_FORMAT = 1
_INSTALLED = "installed.json"
# Its filesystem is sparse and only passed through; smaller ones are refused for want of room for a journal.
_FILESYSTEM_GIB = "8"

NOT_REPRODUCIBLE = (
    "packages are in the versions that the archive had on the day of the build; installed.json lists them",
    "what elements download otherwise, such as Python packages, is in the versions of that day, too",
    "scripts of packages and elements run on the builder's kernel and can leave what they find there",
    "extended attributes, such as file capabilities, are not carried into images that unpack this root",
)


def require_host(recipe: Recipe, image: Dib, store: Path) -> None:
    """Make sure that diskimage-builder can work here; worth asking before anything is downloaded."""
    where = _where(recipe, image)
    dib_host.require(where)
    hint = "diskimage-builder takes the parts of such a path for several"
    if len(str(store).split()) > 1:
        message = f"{where} cannot be built below {store}, which has a space in it"
        raise ConfigError(message, hint=f"{hint}; choose another cache with --cache DIR")
    for place in _element_places(recipe):
        if place.is_dir() and len(str(place).split()) > 1:
            raise ConfigError(
                f"{where} cannot take elements from {place}, which has a space in it", hint=f"{hint}; move it"
            )


def describe(image: Dib, given: Ingredients) -> dict[str, object]:
    """All that determines the image beside its own keys, as JSON values.

    The mirror is none of it: archives that carry a suite carry the same packages.
    """
    debian = given.recipe.debian
    found = dib_elements.closure(image.elements, _element_places(given.recipe), _where(given.recipe, image))
    return {
        "dib format": _FORMAT,
        "diskimage-builder": dib_elements.version(),
        "suite": debian.suite,
        "architecture": debian.architecture,
        "elements": {name: dib_elements.digest(place) for name, place in sorted(found.items())},
        "not_reproducible": list(NOT_REPRODUCIBLE),
    }


def write(image: Dib, given: Ingredients, path: Path, *, work: Path) -> list[Written]:
    """Have diskimage-builder make the root, and write what is to be kept of it as a tar archive.

    `installed.json` beside it lists the installed packages. What diskimage-builder said is kept
    in the cache, below `logs`.
    """
    recipe, context = given.recipe, given.context
    require_host(recipe, image, context.store.entries)
    log = context.store.cache / "logs" / f"{recipe.name}-{image.name}.log"
    log.parent.mkdir(exist_ok=True)
    raw = work / "root.tar"
    command = ["disk-image-create", "-a", recipe.debian.architecture, "-t", "tar", "-n", "-o", str(raw)]
    if image.packages:
        command += ["-p", ",".join(image.packages)]
    # The loop devices of builders that were killed are recognised by their place below this directory.
    with context.store.lock("dib"), context.progress.task(f"{image.name} by diskimage-builder") as task:
        dib_host.detach_loop_devices(context.store.entries / "dib")
        dib_host.run(
            [*command, *image.elements],
            environment=_environment(image, given, work),
            work=work,
            log=log,
            where=_where(recipe, image),
            task=task,
        )
    root = dib_root.normalise(raw, path, drop=image.drop)
    raw.unlink()
    path.with_name(_INSTALLED).write_bytes(msgspec.json.encode(root.installed))
    return root.files


def _where(recipe: Recipe, image: Dib) -> str:
    """The image as messages name it: by file and key."""
    return f"{recipe.path}: image[{recipe.images.index(image)}] ({image.name}, kind dib)"


def _element_places(recipe: Recipe) -> list[Path]:
    own, ours = recipe.base / "elements", paths.data_root() / "images/elements"
    return [own, ours, dib_elements.upstream()] if own != ours else [ours, dib_elements.upstream()]


def _environment(image: Dib, given: Ingredients, work: Path) -> dict[str, str]:
    mirror = given.context.debian.mirror
    return {
        "ELEMENTS_PATH": ":".join(str(place) for place in _element_places(given.recipe)[:-1]),
        "DIB_RELEASE": given.recipe.debian.suite,
        "DIB_DISTRIBUTION_MIRROR": mirror,
        "DIB_DEBIAN_SECURITY_MIRROR": f"{mirror.rstrip('/')}-security",  # as archives have them side by side
        "DIB_IMAGE_SIZE": _FILESYSTEM_GIB,
        "DIB_JOURNAL_SIZE": "4",  # MiB
        "DIB_APT_LOCAL_CACHE": "0",
        "DIB_NO_TIMESTAMP": "1",
        "DIB_NO_TMPFS": "1",
        "DIB_IMAGE_CACHE": str(work / "cache"),
        "DIB_LOCKFILES": str(work / "locks"),
        "XDG_CACHE_HOME": str(work / "cache"),
        "TMP_DIR": str(work),
        "TMPDIR": str(work),
        **image.environment,
    }
