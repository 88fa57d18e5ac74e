"""Decides what of a derivation is built, and what is taken."""

from __future__ import annotations

import os
import re
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats import nar, store_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.derivation.graph import Graph
    from harness.formats.aterm import Derivation

# The systems that a derivation may be for, and what a kernel needs to execute their programs.
SYSTEMS = {"x86_64-linux": "x86_64-programs", "i686-linux": "i386-programs"}
_HASH = re.compile(rb"(?=([0-9a-df-np-sv-z]{32}))")  # at every place, as the daemons look for it


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with a derivation and all that it is built from."""

    graph: Graph  # all of it
    build: tuple[str, ...]  # the derivations that are built, in order
    taken: tuple[str, ...]  # outputs that are taken as the store has them
    sources: tuple[str, ...]  # paths that no derivation makes, as far as they are needed
    unproved: tuple[str, ...]  # those of them whose path does not follow from their content
    problems: tuple[str, ...]  # why it cannot be built, in sentences; empty where it can

    @property
    def outputs(self) -> tuple[str, ...]:
        """The paths of all that is built."""
        made = (self.graph.derivations[path].outputs for path in self.build)
        return tuple(output.path for outputs in made for output in outputs.values())

    @property
    def inputs(self) -> tuple[str, ...]:
        """The paths that have to be there before anything is built."""
        return (*self.sources, *self.taken)

    def check(self) -> None:
        """Raise a ConfigError for the first problem."""
        if self.problems:
            first, *others = self.problems
            also = f" (and {len(others)} more: `harness derivation show` lists them)" if others else ""
            raise ConfigError(first + also, hint="docs/derivations.md says what can be built")


def choose(graph: Graph, take: Sequence[str] = ()) -> Replay:
    """Decide what is built: all but downloads and what the user wants to take, outputs or derivations.

    Raises:
        ConfigError: The user wants to take what is not there.
    """
    forced = _named(graph, take)
    while True:
        build, taken, sources = _divided(graph, forced)
        # What a taken output refers to has to be there too, and cannot be built afterwards.
        referred = _referred(graph, taken)
        makers = {graph.outputs[path][0] for path in referred if path in graph.outputs}
        if makers <= forced:
            break
        forced |= makers
    taken |= referred.keys() & graph.outputs.keys()
    sources |= referred.keys() - graph.outputs.keys()
    unproved = _completed(graph, sources)
    return Replay(
        graph=graph,
        build=tuple(build),
        taken=tuple(sorted(taken)),
        sources=tuple(sorted(sources)),
        unproved=tuple(sorted(unproved)),
        problems=(*_unfit(graph, build), *_absent(graph, taken, sources, referred)),
    )


def _named(graph: Graph, take: Sequence[str]) -> set[str]:
    """The derivations that a user names by themselves or by an output."""
    by_name = {store_path.base(path): path for path in graph.derivations}
    by_name |= {store_path.base(path): maker for path, (maker, _) in graph.outputs.items()}
    found = set()
    for name in take:
        maker = by_name.get(store_path.base(name.rstrip("/")))
        if maker is None or maker == graph.root:
            raise ConfigError(
                f"--take {name}: {graph.root} is not built from it",
                hint="`harness derivation show` lists the outputs that can be taken",
            )
        found.add(maker)
    return found


def _divided(graph: Graph, forced: set[str]) -> tuple[list[str], set[str], set[str]]:
    """What is built, which outputs are taken, and the sources."""
    wanted: dict[str, set[str]] = {graph.root: set(graph.derivations[graph.root].outputs)}
    build: list[str] = []
    taken: set[str] = set()
    sources: set[str] = set()
    for path, derivation in reversed([*graph.derivations.items()]):
        if path not in wanted:
            continue
        if path in forced or downloads(derivation):
            taken |= {derivation.outputs[name].path for name in wanted[path]}
            continue
        build.append(path)
        sources.update(derivation.sources)
        for needed, names in derivation.inputs.items():
            wanted.setdefault(needed, set()).update(names)
    return build[::-1], taken, sources


def downloads(derivation: Derivation) -> bool:
    """Whether a derivation gets its output from a network, or is done by the daemon itself."""
    fixed = any(output.hash for output in derivation.outputs.values())
    has_address = "url" in derivation.environment or "urls" in derivation.environment
    return derivation.builder.startswith("builtin:") or (fixed and has_address)


def _unfit(graph: Graph, build: Iterable[str]) -> Iterator[str]:
    for path in build:
        derivation = graph.derivations[path]
        if derivation.system not in SYSTEMS:
            yield f"{path} is for {derivation.system}, which no machine of the harness can run"
        if derivation.environment.get("exportReferencesGraph"):
            yield f"{path} wants the database of the store (exportReferencesGraph), which only its daemon has"


def _absent(graph: Graph, taken: set[str], sources: set[str], referred: Mapping[str, str]) -> Iterator[str]:
    for path in sorted(path for path in taken | sources if not graph.has(path)):
        if path in referred:
            yield f"{referred[path]} refers to {path}, which is missing in {graph.place}"
            continue
        if path in sources:
            yield f"the source {path} is missing in {graph.place}"
            continue
        maker, output = graph.outputs[path]
        derivation = graph.derivations[maker]
        words = [f"{path} is missing, which {maker} makes"]
        if address := derivation.environment.get("url") or derivation.environment.get("urls"):
            words.append(f"from {address}")
        if output.hash:
            words.append(f"with the {output.algorithm} {output.hash}")
        if derivation.builder.startswith("builtin:"):
            words.append(f"in its daemon ({derivation.builder})")
        yield " ".join(words)


def _referred(graph: Graph, taken: set[str]) -> dict[str, str]:
    """The outputs and sources that taken outputs refer to, and what refers to each."""
    names = graph.by_hash()
    found: dict[str, str] = {}
    waiting = sorted(path for path in taken if graph.has(path))
    while waiting:
        path = waiting.pop()
        for other in sorted(_mentioned(graph, path, names)):
            if other not in taken and other not in found:
                found[other] = path
                waiting += [other] if graph.has(other) else []
    return found


def _mentioned(graph: Graph, path: str, names: Mapping[str, str]) -> set[str]:
    """The paths of `names`, by hash, whose hashes are in a path's files or links."""
    found: set[str] = set()
    for member in graph.members(path):
        rest = b""
        for block in chain([os.fsencode(member.target)], member.blocks()):
            data = rest + block
            found.update(map(bytes.decode, _HASH.findall(data)))
            rest = data[1 - store_path.HASH :]
    return {names[each] for each in found & names.keys()} - {path}


def wrong_inputs(replay: Replay, listed: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the content of what is taken, in sentences.

    The path of an output that is not fixed proves nothing, nor does that of a source that was added with
    references which it does not contain: for these, the user can list the hashes of their NARs.
    """
    graph = replay.graph
    for path in replay.inputs:
        if path in listed:
            if (found := nar.hashed(graph.members(path))) != listed[path]:
                yield f"{path} has the NAR hash {found}, and --expect says {listed[path]}"
        elif path in replay.unproved:
            yield (
                f"the source {path} is not proved by its path: it was changed or damaged, or built, or "
                "refers to paths that it does not contain (if it is right, list its NAR hash in --expect)"
            )
    for path in replay.taken:
        maker, output = graph.outputs[path]
        found = nar.hashed(graph.members(path), output.algorithm) if output.hash else ""
        if found != output.hash:
            yield f"{path} has the {output.algorithm} {found}, and {maker} says {output.hash}"


def _completed(graph: Graph, sources: set[str]) -> set[str]:
    """Add to sources what they refer to; those of which that is not known, as their path proves nothing."""
    names, unproved = graph.by_hash(), set[str]()
    waiting = list(sources)
    while waiting:
        path = waiting.pop()
        references = _proved(graph, path, names) if graph.has(path) else set[str]()
        if references is None:
            unproved.add(path)
        fresh = (references or set()) - sources - graph.outputs.keys()
        sources |= fresh
        waiting += fresh
    return unproved


def _proved(graph: Graph, path: str, names: Mapping[str, str]) -> set[str] | None:
    """What a source refers to, if its path is that of a file, a directory or a text with its content."""
    store, name, members = graph.store, store_path.name_of(path), graph.members(path)
    digest, content = nar.hashed(members), b"".join(members[0].blocks())
    flat = nar.hashed(members, "sha256")
    for find in (False, True):  # few sources refer to any path, and to look for them takes long
        references = _mentioned(graph, path, names) if find else set()
        paths = {store_path.of_source(digest, store, name, references)}
        if members[0].is_file:
            paths.add(store_path.of_text(content, store, name, references))
            paths.add(store_path.of_fixed("sha256", flat, store, name))
        if path in paths:
            return references
    return None
