"""Reads a derivation with all that it is built from."""

from __future__ import annotations

import graphlib
import hashlib
import os
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, explaining
from harness.formats import aterm, nar, store_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness.formats.aterm import Derivation, Output
    from harness.formats.tree import Member

STORES = ("/nix/store", "/gnu/store")


class Graph(msgspec.Struct, frozen=True):
    """A derivation and all that it is built from."""

    root: str  # its path in the store
    store: str  # the store that all paths are in
    derivations: Mapping[str, Derivation]  # all of them by path, each behind those that it needs
    outputs: Mapping[str, tuple[str, Output]]  # what they make, by path, each with its derivation's path
    place: Path  # the directory of this host that has the store's paths

    def on_host(self, path: str) -> Path:
        """Where a path of the store lies on this host, if it does."""
        return self.place / store_path.base(path)

    def has(self, path: str) -> bool:
        """Whether the store on this host has a path."""
        return os.path.lexists(self.on_host(path))

    def members(self, path: str) -> list[Member]:
        """What a path has on this host."""
        return nar.of_path(self.on_host(path))

    def by_hash(self) -> dict[str, str]:
        """Every output and source, and what else the store on this host has, by the hash in its path."""
        sources = {path for derivation in self.derivations.values() for path in derivation.sources}
        there = {f"{self.store}/{each.name}" for each in self.place.glob("*-*") if each.suffix != ".drv"}
        # Backwards, so that a path counts before its lock, whose name is longer.
        known = sorted(sources | there | self.outputs.keys(), reverse=True)
        return {store_path.base(path)[: store_path.HASH]: path for path in known}


def read(path: Path, place: Path | None = None) -> Graph:
    """Read a derivation's file, and those of all that it is built from in `place`, or beside it.

    Raises:
        ConfigError: A file is missing, cut off or foreign, or they need each other in a circle.
    """
    place = path.absolute().parent if place is None else place
    first = _load(path)
    store = next((output.path.rpartition("/")[0] for output in first.outputs.values()), "")
    if store not in STORES:
        where = f"is of the store {store}" if store else "has no outputs"
        raise ConfigError(f"{path.name} {where}, and only the stores {' and '.join(STORES)} are known")
    root = f"{store}/{path.name}"
    found = {root: first}
    todo = [root]
    while todo:
        above = todo.pop()
        for needed in found[above].inputs:
            if needed in found:
                continue
            directory, _, name = needed.rpartition("/")
            if directory != store:
                raise ConfigError(f"{above} needs {needed}, which is of another store than {store}")
            if not (place / name).is_file():
                raise ConfigError(
                    f"{above} needs {name}, which is not in {place}",
                    hint="name with --store the store, or an export of the derivation with all that it needs",
                )
            found[needed] = _load(place / name)
            todo.append(needed)
    inputs = {path: derivation.inputs for path, derivation in found.items()}
    try:
        derivations = {path: found[path] for path in graphlib.TopologicalSorter(inputs).static_order()}
    except graphlib.CycleError as error:
        raise ConfigError(f"these need each other, in a circle: {' '.join(error.args[1])}") from error
    outputs = {
        output.path: (path, output)
        for path, derivation in derivations.items()
        for output in derivation.outputs.values()
    }
    return Graph(root, store, derivations, outputs, place)


def _load(file: Path) -> Derivation:
    with explaining(ConfigError, f"cannot read {file}", "give a file HASH-NAME.drv"):
        data = file.read_bytes()
    try:
        derivation = aterm.parse(data)
        for path in (f"//{file.name}", *derivation.inputs, *derivation.sources):
            store_path.name_of(path)
    except ValueError as error:
        raise ConfigError(f"{file}: {error}") from error
    for output in derivation.outputs.values():
        if not output.path:
            raise ConfigError(
                f"{file} has outputs whose paths depend on their content",
                hint="evaluate it without content-addressed derivations",
            )
        if output.hash and output.algorithm.removeprefix("r:") not in store_path.ALGORITHMS:
            raise ConfigError(f"{file} has an output with a hash of an unknown kind: {output.algorithm!r}")
    if derivation.environment.get("__impure") == "1":
        raise ConfigError(f"{file} is an impure derivation: it is built with the network, and anew each time")
    return derivation


def wrong_paths(graph: Graph) -> Iterator[str]:
    """What is wrong with paths of derivations and of their outputs, in sentences.

    A derivation's path follows from its text, and the path of an output from the derivation that makes it.
    """
    known: dict[str, str] = {}
    for path, derivation in graph.derivations.items():
        file = store_path.name_of(path)
        text = aterm.serialise(derivation)
        if store_path.of_text(text, graph.store, file, {*derivation.inputs, *derivation.sources}) != path:
            yield f"{path} is not what its path stands for: it was changed or damaged"
        known[path], wanted = _hashes(derivation, known, graph.store, file.removesuffix(".drv"))
        for output, found in derivation.outputs.items():
            if found.path != wanted[output]:
                yield f"{path} makes {found.path}, and by its content it should be {wanted[output]}"


def _hashes(
    derivation: Derivation, known: Mapping[str, str], store: str, name: str
) -> tuple[str, dict[str, str]]:
    """The hash by which others name a derivation, and the paths that its outputs should have."""
    outputs = derivation.outputs
    fixed = outputs.get("out")
    if len(outputs) == 1 and fixed is not None and fixed.hash:
        text = f"fixed:out:{fixed.algorithm}:{fixed.hash}:{fixed.path}"
        path = store_path.of_fixed(fixed.algorithm, fixed.hash, store, name)
        return hashlib.sha256(text.encode()).hexdigest(), {"out": path}
    inputs: dict[str, tuple[str, ...]] = {}
    for needed, names in derivation.inputs.items():
        inputs[known[needed]] = tuple({*inputs.get(known[needed], ()), *names})
    full = msgspec.structs.replace(derivation, inputs=inputs)
    blank = msgspec.structs.replace(
        full,
        outputs=dict.fromkeys(outputs, aterm.Output("")),
        environment={key: "" if key in outputs else value for key, value in derivation.environment.items()},
    )
    digest = hashlib.sha256(aterm.serialise(blank)).hexdigest()
    paths = {output: store_path.of_output(digest, store, name, output) for output in outputs}
    return hashlib.sha256(aterm.serialise(full)).hexdigest(), paths
