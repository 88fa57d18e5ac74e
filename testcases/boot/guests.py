"""Guests that are broken on purpose: the real relay with one thing changed."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from harness.image import cpio, cpio_reader
from harness.image.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.image.artifact import Artifact
    from harness.image.factory import Build


def with_files(
    built: Build, directory: Path, changes: Mapping[str, Callable[[bytes], bytes]], *, image: str = "sysa"
) -> Build:
    """The same build with files of an initramfs changed."""
    entries = []
    with built.images[image].path.open("rb") as file:
        for member in cpio_reader.read(file):
            data = changes.get(member.path, _same)(member.data)
            target = data.decode() if stat.S_ISLNK(member.mode) else ""
            entries.append(Entry(member.path, member.mode, data, target, member.device, source="the test"))
    path = directory / f"{image}.cpio"
    with path.open("wb") as out:
        cpio.write(entries, out)
    return with_image(built, image, path)


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
    return replace(built, images={**built.images, image: artifact})


def script(text: str) -> Callable[[bytes], bytes]:
    """Replace a file by a shell script."""
    return lambda _: f"#!/bin/sh\n{text}\n".encode()


def _same(data: bytes) -> bytes:
    return data
