"""Guests that are broken on purpose: the real relay with one thing changed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from harness.formats.cpio import reader as cpio_reader
from harness.formats.tree import Entry
from harness.image import initramfs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.image.factory import Build
    from harness.image.ingredients import Artifact


def with_files(
    built: Build, directory: Path, changes: Mapping[str, Callable[[bytes], bytes]], *, image: str = "sysa"
) -> Build:
    """The same build with files of an initramfs changed."""
    path = directory / f"{image}.cpio"
    initramfs.write(files_of(built, image, changes), path)
    return with_image(built, image, path)


def files_of(
    built: Build, image: str, changes: Mapping[str, Callable[[bytes], bytes]] | None = None
) -> list[Entry]:
    """What is in an initramfs, with files changed."""
    entries = []
    with built.images[image].path.open("rb") as file:
        for member in cpio_reader.members(file):
            data = (changes or {}).get(member.path, _same)(b"".join(member.blocks()))
            entries.append(
                Entry(
                    member.path,
                    member.mode,
                    content=data,
                    target=member.target,
                    device=member.device,
                    link=member.link,
                    source="the test",
                )
            )
    return entries


def with_bytes(
    built: Build, directory: Path, change: Callable[[bytes], bytes], *, image: str = "sysa"
) -> Build:
    """The same build with the bytes of an image changed."""
    path = directory / f"{image}.damaged"
    path.write_bytes(change(built.images[image].path.read_bytes()))
    return with_image(built, image, path)


def with_image(built: Build, image: str, path: Path) -> Build:
    """The same build with an image replaced."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    artifact: Artifact = msgspec.structs.replace(
        built.images[image], path=path, size=path.stat().st_size, sha256=sha256
    )
    return msgspec.structs.replace(built, images={**built.images, image: artifact})


def script(text: str) -> Callable[[bytes], bytes]:
    """Replace a file by a shell script."""
    return lambda _: f"#!/bin/sh\n{text}\n".encode()


def _same(data: bytes) -> bytes:
    return data
