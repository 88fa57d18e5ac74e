"""Makes a recipe that boots a derivation and builds it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import partial
from pathlib import Path  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError
from harness.core.sizes import format_size
from harness.derivation import RECIPE, expected, graph, replay, script
from harness.formats import nar, store_path
from harness.recipe import (
    Directory,
    Disk,
    File,
    Hex,
    Initramfs,
    Modules,
    Recipe,
    StorePath,
    Symlink,
    Text,
    contents_of,
    load_recipe,
)
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.core.progress import Progress
    from harness.derivation.replay import Replay
    from harness.derivation.script import Daemon
    from harness.recipe import Content, Image

_KERNELS = {"amd64": "debian-6.1-x86_64", "i386": "debian-6.1-i686"}
_RUNNER = partial(Hex, source="genesis/01-run/run.hex", mode=0o755)
_DISK_MODULES = Modules(
    path="harness/disk-modules",
    kernel="seed",
    names=("ata_piix?", "ahci?", "sd_mod?", "virtio_blk?", "ext4?", "crc32c_generic?"),
)
_LEAST = 1 << 30  # bytes of memory
_ARCHIVE = 4 << 20  # of it, for what the initramfs has beside inputs
_BESIDE = 256 << 20  # of it, for the kernel and the builders


class DerivationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a user says about a derivation."""

    path: Path  # its file
    store: Path | None = None  # A directory with the store's paths, or an export; None: where the file lies
    take: tuple[str, ...] = ()  # outputs or derivations that are not built
    expect: Path | None = None  # A file with the hashes that outputs should have
    # what builders are given, where that is not the daemon's own
    daemon: Mapping[str, str] = msgspec.field(default_factory=dict)
    bare: bool = False  # whether the runner of images/genesis starts the builders, and no shell
    disk: str = ""  # size of a disk that outputs lie on; "" for memory


class Prepared(msgspec.Struct, frozen=True):
    """A derivation that can be built."""

    recipe: Recipe  # its images
    replay: Replay  # what is built
    expected: Mapping[str, str]  # the NAR hashes that outputs should have, by path, as far as they are known
    phases: Mapping[str, str]  # the stages of the run, and the pattern with which each begins
    programs: tuple[str, ...]  # what the kernel has to execute, as kernel features

    def check_kernel(self, name: str, bits: int) -> None:
        """Raise a ConfigError if a kernel of so many bits cannot execute the builders."""
        if bits == 32 and "x86_64-programs" in self.programs:
            raise ConfigError(
                f"{self.replay.graph.root} has builders for x86_64-linux, and the kernel {name} is of 32 bit",
                hint="take a kernel of 64 bit with --kernel",
            )


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
    listed = expected.read(wanted.expect) if wanted.expect is not None else {}
    for problem in (*graph.wrong_paths(found.graph), *replay.wrong_inputs(found, listed)):
        raise ConfigError(problem, hint="copy it anew from where it comes from")
    hashes = expected.hashes(found, listed)
    for path in found.taken:
        progress.note(f"{path} is taken as it is")
    text = script.written(found, daemon, bare=wanted.bare)

    def write(directory: Path) -> None:
        (directory / "build").write_bytes(text)

    file = Store(cache).get("derivation", {"sha256": hashlib.sha256(text).hexdigest()}, write) / "build"
    built = File(path="harness/build.sh", source=str(file))
    recipe = _recipe(found, (built, *_contents(found, daemon)), wanted.disk)
    programs = {replay.SYSTEMS[system] for system in found.systems}
    if wanted.bare:
        recipe = _bare(recipe, script.steps(found, daemon))
        programs.add(replay.SYSTEMS["i686-linux"])  # the runner
    return Prepared(recipe, found, hashes, phases(found), tuple(sorted(programs)))


def _bare(recipe: Recipe, steps: str) -> Recipe:
    """The recipe with the runner in the place of the shell, which packs outputs when all is built."""
    root, boot, *others = recipe.images
    last = "/bin/busybox sh /harness/init\n"
    init = File(path="harness/init", source="derivations/init")
    kept = [content for content in contents_of(boot) if not isinstance(content, File)]
    contents = (*kept, init, _RUNNER(path="init"), Text(path="steps", text=steps + last))
    boot = msgspec.structs.replace(boot, contents=contents)
    root = msgspec.structs.replace(root, contents=(*contents_of(root), _RUNNER(path="harness/run")))
    native = msgspec.structs.replace(recipe.native, program=("/harness/run", "/harness/build.sh"))
    document = msgspec.structs.replace(recipe.document, image=(root, boot, *others), native=native)
    return msgspec.structs.replace(recipe, document=document)


def phases(found: Replay) -> dict[str, str]:
    """A stage for each derivation, by its name, or its file's where two have the same."""
    labels = [store_path.base(path) for path in found.build]
    short = [label.partition("-")[2].removesuffix(".drv") for label in labels]
    often = Counter([*short, "kernel", "outputs"])
    return {
        label if often[name] > 1 else name: rf"^(?:= )?derivation: {number}/{len(labels)} {re.escape(label)}$"
        for number, (label, name) in enumerate(zip(labels, short, strict=True), start=1)
    }


def _recipe(found: Replay, added: Sequence[Content], disk: str) -> Recipe:
    recipe = load_recipe(RECIPE)
    document, architecture = recipe.document, "amd64" if "x86_64-linux" in found.systems else "i386"
    if document.debian is None or document.kernels is None or document.boot is None:
        raise recipe.wrong("boot", "it is missing, and derivations are booted")
    root, boot = (image for image in document.image if isinstance(image, Initramfs))
    root = msgspec.structs.replace(root, contents=(*root.contents, *added))
    inputs, outputs = _ARCHIVE + _size(found, found.inputs), _size(found, found.outputs)
    # Outputs and their archive lie in the first root, which takes half of the memory at most.
    work, memory = 2 * outputs / inputs, max(_LEAST, _BESIDE + 2 * inputs + 4 * outputs)
    machine = msgspec.structs.replace(document.boot, work=round(work, 3), memory=f"{memory >> 20}M")
    images: list[Image] = [root, boot]
    if disk:
        contents = (*boot.contents, _DISK_MODULES, Directory(path="harness/disk"))
        images = [root, msgspec.structs.replace(boot, contents=contents), Disk(name="work", size=disk)]
        memory = max(_LEAST, _BESIDE + 2 * inputs)
        machine = msgspec.structs.replace(machine, disk="work", work=0, memory=f"{memory >> 20}M")
    document = msgspec.structs.replace(
        document,
        image=tuple(images),
        debian=msgspec.structs.replace(document.debian, architecture=architecture),
        kernels=msgspec.structs.replace(document.kernels, seed=_KERNELS[architecture]),
        boot=machine,
    )
    return msgspec.structs.replace(recipe, document=document)


def _contents(found: Replay, daemon: Daemon) -> Iterator[Content]:
    store = found.graph.store
    yield Directory(path=store[1:], mode=0o1777)
    for path in found.inputs:
        digest = nar.hashed(found.graph.members(path))
        yield StorePath(path=path[1:], source=str(found.graph.on_host(path)), sha256=digest)
    yield Text(path="harness/outputs", text="".join(f"{path[1:]}\n" for path in found.outputs))
    home = "/build" if store.startswith("/nix") else "/"
    users = [f"nixbld:x:{daemon.uid}:{daemon.gid}:Nix build user:{home}:/noshell"] if daemon.uid else []
    users = [f"root:x:0:0:Nix build user:{home}:/noshell", *users, "nobody:x:65534:65534:Nobody:/:/noshell"]
    yield Text(path="etc/passwd", text="".join(f"{user}\n" for user in users))
    yield Text(path="etc/group", text=f"root:x:0:\nnixbld:!:{daemon.gid}:\nnogroup:x:65534:\n")
    if daemon.shell:
        yield Symlink(path="bin/sh", target="busybox")


def _size(found: Replay, paths: Sequence[str]) -> int:
    there = (path for path in paths if found.graph.has(path))
    return sum(member.size for path in there for member in found.graph.members(path))


def described(found: Replay) -> str:
    """What a replay does, in a few words."""
    inputs = format_size(_size(found, found.inputs))
    return f"{len(found.build)} derivations to build, {len(found.inputs)} paths ({inputs}) to take"
