"""Makes a recipe that boots a derivation and builds it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.core.sizes import format_size
from harness.derivation import expected, graph, replay, script
from harness.formats import nar
from harness.recipe import Directory, File, Initramfs, Recipe, StorePath, Symlink, Text, load_recipe
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.core.progress import Progress
    from harness.derivation.replay import Replay
    from harness.derivation.script import Daemon
    from harness.recipe import Content

RECIPE = "derivation"
_KERNELS = {"amd64": "debian-6.1-x86_64", "i386": "debian-6.1-i686"}
_LEAST = 1 << 30  # bytes of memory
_BESIDE = 256 << 20  # of it, for the kernel and the builders


class DerivationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a derivation.

    Attributes:
        path: Its file.
        store: A directory with the store's paths, or an export; None: where the file lies.
        take: Outputs or derivations that are not built.
        expect: A file with the hashes that outputs should have.
        daemon: What builders are given, where that is not the daemon's own.
    """

    path: Path
    store: Path | None = None
    take: tuple[str, ...] = ()
    expect: Path | None = None
    daemon: Mapping[str, str] = msgspec.field(default_factory=dict)


class Prepared(msgspec.Struct, frozen=True):
    """A derivation that can be built.

    Attributes:
        recipe: Its images.
        replay: What is built.
        expected: The NAR hashes that outputs should have, by path, as far as they are known.
        phases: The stages of the run, and the pattern with which each begins.
    """

    recipe: Recipe
    replay: Replay
    expected: Mapping[str, str]
    phases: Mapping[str, str]


def opened(wanted: DerivationRequest, cache: Path, progress: Progress) -> Replay:
    """Read a derivation, and decide what of it is built."""
    place = wanted.store
    if place is not None and place.is_file():
        place = expected.unpacked_export(place, Store(cache), progress)
    elif place is not None:
        # A root that has the store at its usual place is as good as the store itself.
        place = next((each for store in graph.STORES if (each := place / store[1:]).is_dir()), place)
    return replay.choose(graph.read(wanted.path, place), wanted.take)


def prepare(wanted: DerivationRequest, cache: Path, progress: Progress) -> Prepared:
    """Check a derivation and all that it is built from, and make a recipe of it.

    Raises:
        ConfigError: Something is missing, changed, damaged or cannot be built here.
    """
    found = opened(wanted, cache, progress)
    found.check()
    daemon = script.daemon_of(found.graph.store, wanted.daemon)
    for problem in (*graph.wrong_paths(found.graph), *replay.wrong_inputs(found)):
        raise ConfigError(problem, hint="copy it anew from where it comes from")
    hashes = expected.hashes(found, wanted.expect)
    for path in found.taken:
        progress.note(f"{path} is taken as it is")
    text = script.script(found, daemon)
    sums = {path: nar.hashed(nar.of_path(found.graph.on_host(path))) for path in found.inputs}
    key = {"format": 1, "script": text}

    def write(directory: Path) -> None:
        (directory / "build.sh").write_text(text, "utf-8", "surrogateescape")

    file = Store(cache).get("derivation", key, write) / "build.sh"
    return Prepared(_recipe(found, daemon, file, sums), found, hashes, phases(found))


def phases(found: Replay) -> dict[str, str]:
    """A stage for each derivation, by its name, or its file's where two have the same."""
    labels = [script.label(path) for path in found.build]
    short = [label.partition("-")[2].removesuffix(".drv") for label in labels]
    often = Counter([*short, "kernel", "outputs"])
    return {
        label if often[name] > 1 else name: rf"^derivation: {number}/{len(labels)} {re.escape(label)}$"
        for number, (label, name) in enumerate(zip(labels, short, strict=True), start=1)
    }


def _recipe(found: Replay, daemon: Daemon, file: Path, sums: Mapping[str, str]) -> Recipe:
    recipe = load_recipe(RECIPE)
    document, architecture = recipe.document, _architecture(found)
    if document.debian is None or document.kernels is None or document.boot is None:
        raise recipe.wrong("boot", "it is missing, and derivations are booted")
    added = (File(path="harness/build.sh", source=str(file)), *_contents(found, daemon, sums))
    images = tuple(
        msgspec.structs.replace(image, contents=(*image.contents, *added))
        if isinstance(image, Initramfs) and not image.behind
        else image
        for image in document.image
    )
    document = msgspec.structs.replace(
        document,
        image=images,
        debian=msgspec.structs.replace(document.debian, architecture=architecture),
        kernels=msgspec.structs.replace(document.kernels, seed=_KERNELS[architecture]),
        boot=msgspec.structs.replace(document.boot, memory=f"{_memory(found) >> 20}M"),
    )
    return msgspec.structs.replace(recipe, document=document)


def _architecture(found: Replay) -> str:
    systems = {replay.SYSTEMS[found.graph.derivations[path].system] for path in found.build}
    return "amd64" if "amd64" in systems else "i386"


def _contents(found: Replay, daemon: Daemon, sums: Mapping[str, str]) -> Iterator[Content]:
    store = found.graph.store
    yield Directory(path=store[1:], mode=0o1777)
    for path, digest in sums.items():
        yield StorePath(path=path[1:], source=str(found.graph.on_host(path)), sha256=digest)
    yield Text(path="harness/outputs", text="".join(f"{path[1:]}\n" for path in found.outputs))
    home = "/build" if store.startswith("/nix") else "/"
    users = [f"nixbld:x:{daemon.uid}:{daemon.gid}:Nix build user:{home}:/noshell"] if daemon.uid else []
    users = [f"root:x:0:0:Nix build user:{home}:/noshell", *users, "nobody:x:65534:65534:Nobody:/:/noshell"]
    yield Text(path="etc/passwd", text="".join(f"{user}\n" for user in users))
    yield Text(path="etc/group", text=f"root:x:0:\nnixbld:!:{daemon.gid}:\nnogroup:x:65534:\n")
    if daemon.shell:
        yield Symlink(path="bin/sh", target="busybox")


def _memory(found: Replay) -> int:
    """Memory for what lies in it: inputs, outputs as far as the store has them, and their archive."""
    inputs, outputs = _size(found, found.inputs), _size(found, found.outputs)
    return max(_LEAST, _BESIDE + 2 * inputs + 3 * outputs)


def _size(found: Replay, paths: Sequence[str]) -> int:
    there = (path for path in paths if found.graph.has(path))
    return sum(member.size for path in there for member in nar.of_path(found.graph.on_host(path)))


def described(found: Replay) -> str:
    """What a replay does, in a few words."""
    inputs = format_size(_size(found, [path for path in found.inputs if found.graph.has(path)]))
    return f"{len(found.build)} derivations to build, {len(found.inputs)} paths ({inputs}) to take"
