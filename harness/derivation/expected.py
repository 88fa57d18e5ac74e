"""The hashes that outputs should have: a store's, or a list's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.digest import sha256_of_input
from harness.core.errors import ConfigError
from harness.formats import nar, store_path
from harness.formats.extract import extract

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.core.progress import Progress
    from harness.derivation.replay import Replay
    from harness.formats.extract import Skipped
    from harness.store import Store


def hashes(found: Replay, listed: Mapping[str, str]) -> dict[str, str]:
    """The SHA-256 of the NARs of outputs, by path: what a list says, else what the store has.

    Raises:
        ConfigError: What is taken has another hash than the list says.
    """
    graph = found.graph
    for path in found.inputs:
        if (wanted := listed.get(path)) and wanted != (have := nar.hashed(graph.members(path))):
            raise ConfigError(f"{path} is taken with the NAR hash {have}, and --expect says {wanted}")
    known = {path: nar.hashed(graph.members(path)) for path in found.outputs if graph.has(path)}
    return known | {path: digest for path, digest in listed.items() if path in found.outputs}


def read(file: Path) -> dict[str, str]:
    """Paths and hashes of a file, a line each; empty lines and those with `#` in front do not count.

    Raises:
        ConfigError: It cannot be read, or a line of it is no path with a hash.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    known = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            path, digest = words
            store_path.name_of(path)
            known[path] = store_path.any_hash(digest)
        except ValueError as error:
            raise ConfigError(
                f"{file}:{number}: {line.strip()!r} is no store path with the sha256 of its NAR",
                hint="as `nix-store -q --hash` prints it, in hexadecimal, base32 or base64",
            ) from error
    return known


def unpacked_export(file: Path, store: Store, progress: Progress) -> Path:
    """The directory with the paths of an export, unpacked once.

    Raises:
        ConfigError: It is no export, or is damaged.
    """

    def refuse(skipped: Skipped) -> None:
        raise ValueError(f"{skipped.path} cannot be unpacked: {skipped.why}")

    def build(directory: Path) -> None:
        with progress.task(f"unpacking {file.name}"), file.open("rb") as source:
            members = [
                member
                for path, content in nar.read_export(source)
                for member in nar.below(store_path.base(path), content)
            ]
            extract(members, directory, note=refuse)

    try:
        return store.get("export", {"format": 1, "sha256": sha256_of_input(file)}, build)
    except ValueError as error:
        hint = "give the directory of a store, or what `nix-store --export` or `guix archive --export` wrote"
        raise ConfigError(f"{file}: {error}", hint=hint) from error
