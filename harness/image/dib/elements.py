"""Elements of diskimage-builder: places, dependencies and hashes.

An element is a directory; its file `element-deps` names the elements that it needs, one to a line
(https://docs.openstack.org/diskimage-builder/latest/developer/developing_elements.html).
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NOT_INSTALLED = "diskimage-builder is not installed, and images of kind dib are made by it"
_INSTALL = "install it into the environment of the harness: pip install diskimage-builder"


def upstream() -> Path:
    """Directory of the elements that come with diskimage-builder."""
    spec = find_spec("diskimage_builder")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(_NOT_INSTALLED, hint=_INSTALL)
    return Path(spec.submodule_search_locations[0]) / "elements"


def version() -> str:
    """Release of diskimage-builder."""
    import importlib.metadata

    try:
        return importlib.metadata.version("diskimage-builder")
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(_NOT_INSTALLED, hint=_INSTALL) from None


def closure(names: Iterable[str], places: Sequence[Path], where: str) -> dict[str, Path]:
    """These elements and all that they need: directories by name; the first place that has one gives it."""
    found: dict[str, Path] = {}
    wanted = [(name, "") for name in names]
    while wanted:
        name, needed_by = wanted.pop()
        if name in found:
            continue
        place = next((place / name for place in places if (place / name).is_dir()), None)
        if place is None:
            known = sorted(path.name for path in places[0].glob("*/") if path.is_dir()) if places else []
            by = f", which {needed_by} needs" if needed_by else ""
            raise ConfigError(
                f"{where}: key elements: there is no element {name!r}{by}",
                hint=f"elements beside the recipe: {', '.join(known) or 'none'}; diskimage-builder has more",
            )
        found[name] = place
        needs = place / "element-deps"
        if needs.is_file():
            lines = (line.partition("#")[0].strip() for line in needs.read_text("utf-8").splitlines())
            wanted += [(line, name) for line in lines if line]
    return found


def digest(element: Path) -> str:
    """SHA-256 over names, contents and executable bits of an element's files."""
    total = hashlib.sha256()
    for path in sorted(element.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = os.fsencode(path.relative_to(element))
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            runs = "x" if os.access(path, os.X_OK) else "-"
            total.update(b"%s\0%s %s\n" % (name, content.encode(), runs.encode()))
    return total.hexdigest()
