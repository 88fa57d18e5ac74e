"""Makes a recipe that boots a derivation and builds it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import partial
from pathlib import Path  # noqa: TC003 - msgspec reads annotations at run time
from typing import TYPE_CHECKING

import msgspec

from harness import recipe as r
from harness.core.digest import sha256_of_input
from harness.core.errors import ConfigError, explaining
from harness.core.sizes import format_size
from harness.derivation import RECIPE, graph, replay, script
from harness.formats import nar, store_path
from harness.formats.extract import extract
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.core.progress import Progress
    from harness.derivation.replay import Replay
    from harness.derivation.script import Daemon
    from harness.formats.extract import Skipped

_KERNELS = {"amd64": "debian-6.1-x86_64", "i386": "debian-6.1-i686"}
_RUNNER = partial(r.Hex, source="genesis/01-run/run.hex", mode=0o755)
_DISK_MODULES = r.Modules(
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
    daemon: Mapping[str, str] = {}  # what builders are given, where that is not the daemon's own
    bare: bool = False  # whether the runner of images/genesis starts the builders, and no shell
    disk: str = ""  # size of a disk that outputs lie on; "" for memory


class Prepared(msgspec.Struct, frozen=True):
    """A derivation that can be built."""

    recipe: r.Recipe  # its images
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
        place = _unpacked(place, Store(cache), progress)
    elif place is not None:
        # A root that has the store at its usual place is as good as the store itself.
        place = next((each for store in graph.STORES if (each := place / store[1:]).is_dir()), place)
    return replay.choose(graph.read(wanted.path, place), wanted.take)


def _unpacked(file: Path, store: Store, progress: Progress) -> Path:
    """The directory with the paths of an export, unpacked once."""

    def build(directory: Path) -> None:
        skipped: list[Skipped] = []
        with progress.task(f"unpacking {file.name}"), file.open("rb") as source:
            exported = nar.read_export(source)
            parts = (nar.below(store_path.base(path), content) for path, content in exported)
            extract([member for part in parts for member in part], directory, note=skipped.append)
        if skipped:
            raise ValueError(f"{skipped[0].path} cannot be unpacked: {skipped[0].why}")

    try:
        return store.get("export", {"format": 1, "sha256": sha256_of_input(file)}, build)
    except ValueError as error:
        hint = "give the directory of a store, or what `nix-store --export` or `guix archive --export` wrote"
        raise ConfigError(f"{file}: {error}", hint=hint) from error


def listed(file: Path) -> dict[str, str]:
    """Paths and hashes of a file, a line each; empty lines and those with `#` in front do not count.

    Raises:
        ConfigError: It cannot be read, or a line of it is no path with a hash.
    """
    with explaining(ConfigError, f"cannot read {file}"):
        lines = file.read_text("utf-8", "surrogateescape").splitlines()
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


def prepare(wanted: DerivationRequest, cache: Path, progress: Progress) -> Prepared:
    """Check a derivation and all that it is built from, and make a recipe of it.

    Raises:
        ConfigError: Something is missing, changed, damaged or cannot be built here.
    """
    found = opened(wanted, cache, progress)
    found.check()
    daemon = script.daemon_of(found.graph.store, wanted.daemon)
    proved = listed(wanted.expect) if wanted.expect is not None else {}
    for problem in (*graph.wrong_paths(found.graph), *replay.wrong_inputs(found, proved)):
        raise ConfigError(problem, hint="copy it anew from where it comes from")
    known = [path for path in found.outputs if path in proved or found.graph.has(path)]
    hashes = {path: proved.get(path) or nar.hashed(found.graph.members(path)) for path in known}
    for path in found.taken:
        progress.note(f"{path} is taken as it is")
    text = script.written(found, daemon, bare=wanted.bare)

    def write(directory: Path) -> None:
        (directory / "build").write_bytes(text)

    file = Store(cache).get("derivation", {"sha256": hashlib.sha256(text).hexdigest()}, write) / "build"
    built = r.File(path="harness/build.sh", source=str(file))
    steps = script.steps(found, daemon) if wanted.bare else ""
    programs = {replay.SYSTEMS[found.graph.derivations[path].system] for path in found.build}
    architecture = "amd64" if "x86_64-programs" in programs else "i386"
    recipe = _recipe(found, (built, *_contents(found, daemon)), architecture, wanted.disk, steps)
    if wanted.bare:
        programs.add("i386-programs")  # the runner
    return Prepared(recipe, found, hashes, phases(found), tuple(sorted(programs)))


def phases(found: Replay) -> dict[str, str]:
    """A stage for each derivation, by its name, or its file's where two have the same."""
    labels = [store_path.base(path) for path in found.build]
    short = [label.partition("-")[2].removesuffix(".drv") for label in labels]
    often = Counter([*short, "kernel", "outputs"])
    return {
        label if often[name] > 1 else name: rf"^(?:= )?derivation: {number}/{len(labels)} {re.escape(label)}$"
        for number, (label, name) in enumerate(zip(labels, short, strict=True), start=1)
    }


def _recipe(found: Replay, added: Sequence[r.Content], architecture: str, disk: str, steps: str) -> r.Recipe:
    recipe = r.load_recipe(RECIPE)
    root, boot = (image for image in recipe.images if isinstance(image, r.Initramfs))
    inner, outer, native = [*root.contents, *added], list(boot.contents), recipe.native
    if disk:
        outer += _DISK_MODULES, r.Directory(path="harness/disk")
    if steps:  # the runner in the place of the shell, which packs outputs when all is built
        inner.append(_RUNNER(path="harness/run"))
        native = msgspec.structs.replace(native, program=("/harness/run", "/harness/build.sh"))
        outer = [content for content in outer if not isinstance(content, r.File)]
        outer += _RUNNER(path="init"), r.File(path="harness/init", source="derivations/init")
        outer.append(r.Text(path="steps", text=f"{steps}/bin/busybox sh /harness/init\n"))
    # Without a disk, outputs and their archive lie in the first root, which takes half of the memory at most.
    inputs, outputs = _ARCHIVE + _size(found, found.inputs), 0 if disk else _size(found, found.outputs)
    memory = max(_LEAST, _BESIDE + 2 * inputs + 4 * outputs)
    document = msgspec.structs.replace(
        recipe.document,
        image=(
            msgspec.structs.replace(root, contents=tuple(inner)),
            msgspec.structs.replace(boot, contents=tuple(outer)),
            *([r.Disk(name="work", size=disk)] if disk else []),
        ),
        native=native,
        debian=msgspec.structs.replace(recipe.debian, architecture=architecture),
        kernels=msgspec.structs.replace(recipe.kernels, seed=_KERNELS[architecture]),
        boot=msgspec.structs.replace(
            recipe.boot,
            work=round(2 * outputs / inputs, 3),
            memory=f"{memory >> 20}M",
            disk="work" if disk else recipe.boot.disk,
        ),
    )
    return msgspec.structs.replace(recipe, document=document)


def _contents(found: Replay, daemon: Daemon) -> Iterator[r.Content]:
    store = found.graph.store
    yield r.Directory(path=store[1:], mode=0o1777)
    for path in found.inputs:
        digest = nar.hashed(found.graph.members(path))
        yield r.StorePath(path=path[1:], source=str(found.graph.on_host(path)), sha256=digest)
    yield r.Text(path="harness/outputs", text="".join(f"{path[1:]}\n" for path in found.outputs))
    home = "/build" if store.startswith("/nix") else "/"
    users = [f"nixbld:x:{daemon.uid}:{daemon.gid}:Nix build user:{home}:/noshell"] if daemon.uid else []
    users = [f"root:x:0:0:Nix build user:{home}:/noshell", *users, "nobody:x:65534:65534:Nobody:/:/noshell"]
    yield r.Text(path="etc/passwd", text="".join(f"{user}\n" for user in users))
    yield r.Text(path="etc/group", text=f"root:x:0:\nnixbld:!:{daemon.gid}:\nnogroup:x:65534:\n")
    if daemon.shell:
        yield r.Symlink(path="bin/sh", target="busybox")


def _size(found: Replay, paths: Sequence[str]) -> int:
    there = (path for path in paths if found.graph.has(path))
    return sum(member.size for path in there for member in found.graph.members(path))


def described(found: Replay) -> str:
    """What a replay does, in a few words."""
    inputs = format_size(_size(found, found.inputs))
    return f"{len(found.build)} derivations to build, {len(found.inputs)} paths ({inputs}) to take"
