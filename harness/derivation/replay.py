"""Decides what of a derivation is built, and what is taken."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.formats import nar, store_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.derivation.graph import Graph
    from harness.formats.aterm import Derivation
    from harness.formats.tree import Member

# What a processor of x86 executes, by the systems that a derivation may be for.
SYSTEMS = {"x86_64-linux": "amd64", "i686-linux": "i386"}
_HASH = re.compile(rb"(?=([0-9a-df-np-sv-z]{32}))")  # at every place, as the daemons look for it
_OVERLAP = store_path.HASH - 1


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What is done with a derivation and all that it is built from."""

    graph: Graph  # all of it
    build: tuple[str, ...]  # the derivations that are built, in order
    taken: Mapping[str, str]  # outputs that are taken as the store has them, and the derivation of each
    sources: tuple[str, ...]  # paths that no derivation makes, as far as they are needed
    problems: tuple[str, ...]  # why it cannot be built, in sentences; empty where it can

    @property
    def outputs(self) -> tuple[str, ...]:
        """The paths of all that is built."""
        made = (self.graph.derivations[path].outputs for path in self.build)
        return tuple(output.path for outputs in made for output in outputs.values())

    @property
    def inputs(self) -> tuple[str, ...]:
        """The paths that have to be there before anything is built."""
        return (*sorted(self.sources), *sorted(self.taken))

    def check(self) -> None:
        """Raise a ConfigError for the first problem."""
        if self.problems:
            first, *others = self.problems
            also = f" (and {len(others)} more: `harness derivation show` lists them)" if others else ""
            raise ConfigError(first + also, hint="docs/derivations.md says what can be built")


def choose(graph: Graph, take: Sequence[str] = ()) -> Replay:
    """Decide what is built: all but downloads and what the user wants to take.

    Args:
        graph: The derivation and all that it is built from.
        take: Outputs or derivations that are taken, as paths or file names.

    Raises:
        ConfigError: The user wants to take what is not there.
    """
    forced, referred = _named(graph, take), dict[str, str]()
    while True:
        build, taken, sources = _divided(graph, forced)
        taken |= referred
        problems = [*_unfit(graph, build), *_absent(graph, taken, sources)]
        if problems:
            break
        # What a taken output refers to has to be there too, and cannot be built afterwards.
        more, found, problems = _references(graph, taken, sources)
        if not more:
            sources |= found
            break
        referred |= more
        forced |= set(more.values())
    return Replay(
        graph=graph, build=tuple(build), taken=taken, sources=tuple(sources), problems=tuple(problems)
    )


def _named(graph: Graph, take: Sequence[str]) -> set[str]:
    """The derivations that a user names by themselves or by an output."""
    makers = graph.makers()
    by_name = {path.rpartition("/")[2]: path for path in graph.derivations}
    by_name |= {path.rpartition("/")[2]: maker for path, maker in makers.items()}
    found = set()
    for name in take:
        maker = by_name.get(name.rstrip("/").rpartition("/")[2])
        if maker is None or maker == graph.root:
            raise ConfigError(
                f"--take {name}: {graph.root} is not built from it",
                hint="`harness derivation show` lists the outputs that can be taken",
            )
        found.add(maker)
    return found


def _divided(graph: Graph, forced: set[str]) -> tuple[list[str], dict[str, str], set[str]]:
    """What is built, which outputs are taken, and the sources."""
    wanted: dict[str, set[str]] = {graph.root: set(graph.derivations[graph.root].outputs)}
    build: list[str] = []
    taken: dict[str, str] = {}
    sources: set[str] = set()
    for path in reversed(list(graph.derivations)):
        if path not in wanted:
            continue
        derivation = graph.derivations[path]
        if path in forced or downloads(derivation):
            taken |= {derivation.outputs[name].path: path for name in wanted[path]}
            continue
        build.append(path)
        sources.update(derivation.sources)
        for needed, names in derivation.inputs.items():
            wanted.setdefault(needed, set()).update(names)
    return build[::-1], taken, sources


def downloads(derivation: Derivation) -> bool:
    """Whether a derivation gets its output from a network, or is done by the daemon itself."""
    fixed = any(output.hash for output in derivation.outputs.values())
    return derivation.builder.startswith("builtin:") or (
        fixed and not {"url", "urls"}.isdisjoint(derivation.environment)
    )


def _unfit(graph: Graph, build: Iterable[str]) -> Iterator[str]:
    for path in build:
        derivation = graph.derivations[path]
        if derivation.system not in SYSTEMS:
            yield f"{path} is for {derivation.system}, which no machine of the harness can run"
        if derivation.environment.get("exportReferencesGraph"):
            yield f"{path} wants the database of the store (exportReferencesGraph), which only its daemon has"


def _absent(graph: Graph, taken: Mapping[str, str], sources: Iterable[str]) -> Iterator[str]:
    outputs = graph.outputs()
    for path, maker in taken.items():
        if graph.has(path):
            continue
        derivation, output = graph.derivations[maker], outputs[path]
        words = [f"{path} is missing, which {maker} makes"]
        if address := derivation.environment.get("url") or derivation.environment.get("urls"):
            words.append(f"from {address}")
        if output.hash:
            words.append(f"with the {output.algorithm} {output.hash}")
        if derivation.builder.startswith("builtin:"):
            words.append(f"in its daemon ({derivation.builder})")
        yield " ".join(words)
    for path in sorted(sources):
        if not graph.has(path):
            yield f"the source {path} is missing in {graph.place}"


def _references(
    graph: Graph, taken: Mapping[str, str], sources: set[str]
) -> tuple[dict[str, str], set[str], list[str]]:
    """What taken outputs refer to: outputs with their derivations, sources, and what is missing."""
    makers, names = graph.makers(), graph.by_hash()
    more, referred, problems = dict[str, str](), set[str](), list[str]()
    waiting, seen = list(taken), set(taken)
    while waiting:
        path = waiting.pop()
        for found in sorted(names[each] for each in _hashes_in(graph, path) if each in names):
            if found in seen or found in sources:
                continue
            seen.add(found)
            if not graph.has(found):
                problems.append(f"{path} refers to {found}, which is missing in {graph.place}")
            elif found in makers:
                more[found] = makers[found]
            else:
                referred.add(found)
            waiting += [found] if graph.has(found) else []
    return more, referred, problems


def _hashes_in(graph: Graph, path: str) -> set[str]:
    """All that can be the hash of a store path in a path's files."""
    found: set[str] = set()
    for member in nar.of_path(graph.on_host(path)):
        found.update(each.decode() for each in _HASH.findall(os.fsencode(member.target)))
        rest = b""
        for block in member.blocks():
            data = rest + block
            found.update(each.decode() for each in _HASH.findall(data))
            rest = data[-_OVERLAP:]
    return found


def wrong_inputs(replay: Replay) -> Iterator[str]:
    """What is wrong with the content of sources and fixed outputs, in sentences.

    An output that is not fixed cannot be judged by its path: only a hash that the user gives can do that.
    """
    graph = replay.graph
    known, outputs = graph.by_hash(), graph.outputs()
    for path in sorted(replay.sources):
        members = nar.of_path(graph.on_host(path))
        if path not in _source_paths(graph, path, members, known):
            yield f"the source {path} is not what its path stands for: it was changed or damaged"
    for path, maker in sorted(replay.taken.items()):
        output = outputs[path]
        found = fixed_hash(output.algorithm, nar.of_path(graph.on_host(path))) if output.hash else ""
        if found != output.hash:
            yield f"{path} has the {output.algorithm} {found}, and {maker} says {output.hash}"


def _source_paths(graph: Graph, path: str, members: list[Member], known: Mapping[str, str]) -> Iterator[str]:
    """The paths that a content could have: as a file or directory, as a text, by its own hash."""
    store, name = graph.store, store_path.split(path)[2]
    digest = nar.hashed(members)
    yield store_path.of_source(digest, store, name)
    references = {known[each] for each in _hashes_in(graph, path) if each in known} - {path}
    yield store_path.of_source(digest, store, name, references)
    if members[0].is_file:
        content = b"".join(members[0].blocks())
        yield store_path.of_text(content, store, name, references)
        yield store_path.of_fixed("sha256", hashlib.sha256(content).hexdigest(), store, name)


def fixed_hash(algorithm: str, members: list[Member]) -> str:
    """The hash of an output as a derivation gives it: of its NAR ("r:" in front), or of a file's content."""
    digest = hashlib.new(algorithm.removeprefix("r:"), usedforsecurity=False)
    if algorithm.startswith("r:"):
        nar.write(members, digest.update)
    elif members[0].is_file:
        for block in members[0].blocks():
            digest.update(block)
    return digest.hexdigest()
