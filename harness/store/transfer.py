"""Copies entries of a store to another one, checked on arrival.

A parcel is a tar archive of the entry, compressed with zstd. Its pieces may arrive in any order,
and more than once; `incoming/` of the cache holds them. The seal of the entry, made when it was built, proves
the content.
"""

from __future__ import annotations

import subprocess
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import zstandard

from harness.core.digest import sha256_of
from harness.core.errors import InfraError, command_failed
from harness.store import seal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.store import Store

PIECE = 4 << 20  # bytes: small for a network's buffers, large for its delays
_LEVEL = 1  # most of it does not get smaller, and zeros do at any level
_FILE = "parcel"


class Label(msgspec.Struct, frozen=True):
    """What a parcel has to be when all of it is there."""

    size: int
    sha256: str


def pack(store: Store, name: str) -> tuple[Path, Label]:
    """The parcel of an entry, which lies in the store, too: there may be many that it is sent to."""
    entry = store.entries / name
    sealed = seal.read(entry)
    if sealed is None or not store.holds(name):
        raise InfraError(f"{entry} vanished from the store while it was used", hint="run again")

    def build(directory: Path) -> None:
        names = sorted(path.name for path in entry.iterdir())
        # Unlike Python's tarfile, it leaves out holes, of which a disk of many GiB mostly consists.
        command = ["tar", "--create", "--sparse", "--format=pax", f"--directory={entry}", "--", *names]
        packer = zstandard.ZstdCompressor(level=_LEVEL)
        with (
            (directory / _FILE).open("wb") as file,
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process,
        ):
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            packer.copy_stream(process.stdout, file)
        if process.returncode != 0:
            raise command_failed(command, process.returncode, "")

    parcel = store.get("parcel", {"of": name, "built": sealed.built}, build)
    file = store.file(parcel, _FILE)
    return parcel / _FILE, Label(file.size, sha256_of(parcel / _FILE))


def pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """A parcel's pieces, each with its place in bytes."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield file.tell() - len(piece), piece


def put(store: Store, name: str, place: int, piece: bytes) -> None:
    """Keep a piece that arrived.

    Raises:
        OSError: It cannot be written.
    """
    path = _waiting(store, name)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(piece)


def put_label(store: Store, name: str, label: Label) -> None:
    """Keep what says that all pieces are there."""
    _waiting(store, name).with_suffix(".label").write_bytes(msgspec.json.encode(label))


def accept(store: Store, name: str) -> bool:
    """Whether the store has an entry, if need be out of a parcel that has arrived.

    Raises:
        InfraError: The parcel, or what is in it, is not what was sent; it was thrown away.
    """
    path = _waiting(store, name)
    label = path.with_suffix(".label")
    with store.lock(f"parcel-{path.stem}"):
        there = store.holds(name)
        try:
            if not there and label.exists():
                _check(path, msgspec.json.decode(label.read_bytes(), type=Label))
                store.adopt(name, lambda directory: _unpack(path, directory))
                there = True
        finally:
            if there or label.exists():
                with suppress(OSError):
                    label.unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
    return there


def _waiting(store: Store, name: str) -> Path:
    return store.cache / "incoming" / f"{name.replace('/', '-')}.parcel"


def _check(path: Path, label: Label) -> None:
    found = Label(0, "")
    with suppress(FileNotFoundError):
        found = Label(path.stat().st_size, sha256_of(path))
    if found != label:
        raise InfraError(
            f"{path.name} arrived with {found.size} bytes and the sha256 {found.sha256}, "
            f"not {label.size} bytes and {label.sha256}",
            hint="it was thrown away, and is sent again when it is needed",
        )


def _unpack(path: Path, directory: Path) -> None:
    def ours(member: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
        # Modes, times and links have to be those that were sealed, and the owner is who runs us.
        return member.replace(uid=None, gid=None, uname=None, gname=None, deep=False)  # type: ignore[arg-type]

    packed = zstandard.ZstdDecompressor()
    with (
        path.open("rb") as file,
        packed.stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as archive,
    ):
        archive.extractall(directory, filter=ours)  # noqa: S202 - who sends it gives us orders, too
