"""Writes a recipe's shell script, with its inputs beside it."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from harness.core import paths
from harness.core.errors import ConfigError, InfraError
from harness.core.sizes import format_size
from harness.image import build, delivery, script
from harness.image.factory import Factory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.image.build import BuildOptions
    from harness.image.script import Script
    from harness.recipe import Recipe

INPUTS = "inputs"  # the directory beside the script


def write(
    recipe: Recipe,
    options: BuildOptions,
    path: Path,
    progress: Progress,
    *,
    roots: Mapping[str, Path],
    with_inputs: bool = True,
) -> Script:
    """Build a recipe's images, and write the script that makes them again."""
    hint = "choose another file with -o FILE"
    if path.is_dir():
        raise ConfigError(f"{path} is a directory", hint=f"name the script: -o {path / 'build.sh'}")
    paths.check_writable(path.absolute().parent, "output", hint)
    script.check(recipe, options.only)
    factory = Factory(recipe, build.workshop(options, progress), options.kernel, options.second)
    factory.build(options.only, options.names, wants_kernels=False)
    with progress.task("writing the script"):
        found = script.script_of(factory.made, roots)
    paths.writable_directory(path.absolute().parent, "output", hint)
    if with_inputs:
        directory = path.absolute().with_name(INPUTS)
        needed = sum(each.size for each in found.inputs)
        free = shutil.disk_usage(path.absolute().parent).free
        if needed > free and not directory.exists():
            raise InfraError(
                f"{path.absolute().parent} has {format_size(free)} left, "
                f"and the inputs take {format_size(needed)}",
                hint="free some space there, or lay the inputs out yourself: --no-inputs",
            )
        with progress.task("laying out its inputs"):
            script.lay_out(found.inputs, directory)
    text = found.text.encode("utf-8", "surrogateescape")
    delivery.put(text, path.absolute(), hashlib.sha256(text).hexdigest())
    path.chmod(0o755)
    return found
