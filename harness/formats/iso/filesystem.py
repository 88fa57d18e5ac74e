"""Writes ISO 9660 filesystems with Rock Ridge, by pycdlib.

pycdlib writes it. While entries are added it asks for time and time zone; `still_clock` answers, so that the
bits depend on the content alone.
"""

from __future__ import annotations

import gc
import os
import re
import stat
import time
from collections import Counter
from contextlib import contextmanager
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from pycdlib import PyCdlib, dates, headervd, pycdlib, utils
from pycdlib.pycdlibexception import PyCdlibException

from harness.core.errors import ConfigError
from harness.formats.iso.output import Content, Output
from harness.formats.tree import Entry, Written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SECTOR = 2048

_BLOCK = 1 << 20  # bytes that are copied at a time
# ISO 9660:1999, in which directories may be nested to any depth and files may be of 4 GiB and more. Its names
# do not matter: Linux and the boot loaders read Rock Ridge.
_INTERCHANGE_LEVEL = 4
_NAME_MAX = 255  # bytes of a name, as in the kernel
_clock = Lock()  # pycdlib's clock is one for the whole process


class Filesystem:
    """A filesystem that is put together and then written once, below `still_clock`, which gives it its time.

    Its label has at most 32 of A-Z, 0-9 and _.
    """

    def __init__(self, label: str) -> None:
        self._iso = PyCdlib()
        self._iso.new(
            interchange_level=_INTERCHANGE_LEVEL,
            rock_ridge="1.09",
            sys_ident="LINUX",
            vol_ident=label,
            app_ident_str="BOOTSTRAP HARNESS",
        )
        self._names = IsoNames()
        self._entries: list[Entry] = []
        self._contents: dict[str, Content] = {}

    def add(self, entries: Sequence[Entry]) -> None:
        """Add a tree that `merge` has checked, once; missing directories are root's, mode 0755."""
        self._entries = _with_parents(entries)
        with _uncollected():
            # A link needs its file, which may come later.
            for entry in sorted(self._entries, key=lambda entry: bool(entry.link)):
                self._add(entry)

    def boot_from(self, bios: str, efi: str, *, catalog: str) -> None:
        """Add the El Torito boot catalog.

        Args:
            bios: Path of the loader for BIOS. It asks for its first four sectors, and for a table that tells
                where it is, as ISOLINUX does.
            efi: Path of the EFI system partition.
            catalog: Path that the catalog gets.
        """
        place = self._names.add(catalog, directory=False)
        name = catalog.rpartition("/")[2]
        self._iso.add_eltorito(self._names.of(bios), place, name, boot_load_size=4, boot_info_table=True)
        self._iso.add_eltorito(self._names.of(efi), efi=True, platform_id=0xEF)

    def write(self, path: Path) -> None:
        """Write the image."""
        with _uncollected(), Output(path) as out:
            self._iso.write_fp(cast("BinaryIO", out), blocksize=_BLOCK)
        for content in self._contents.values():
            content.check()

    def extent(self, path: str) -> tuple[int, int]:
        """Where a file begins in the image and how long it is, in bytes; known once it is written."""
        record = self._iso.get_record(iso_path=self._names.of(path))
        return record.extent_location() * SECTOR, record.get_data_length()

    def written(self) -> list[Written]:
        """What was written, in order, with the hashes of what was read."""
        tree = {entry.path: entry for entry in self._entries}
        with _uncollected():
            return [self._written(entry, tree[entry.link or entry.path]) for entry in self._entries]

    def _add(self, entry: Entry) -> None:
        place = self._names.add(entry.path, directory=entry.is_directory)
        try:
            self._add_at(place, entry)
        except PyCdlibException as error:
            message = f"{entry.path!r} (from {entry.source}) cannot be in an ISO image: {error}"
            raise ConfigError(message) from error
        if entry.uid or entry.gid:
            self._set_owner(place, entry)

    def _add_at(self, place: str, entry: Entry) -> None:
        name = _Name(entry.path.rpartition("/")[2])
        if len(name.encode()) > _NAME_MAX:
            raise ConfigError(
                f"{entry.path!r} (from {entry.source}) has a name of more than {_NAME_MAX} bytes"
            )
        if entry.link:
            target = self._names.of(entry.link)
            self._iso.add_hard_link(iso_old_path=target, iso_new_path=place, rr_name=name)
        elif entry.is_directory:
            self._iso.add_directory(place, rr_name=name, file_mode=entry.mode)
        elif entry.is_symlink:
            self._iso.add_symlink(place, rr_symlink_name=name, rr_path=_Name(entry.target))
        elif entry.is_file:
            content = self._contents[entry.path] = Content(entry)
            file = cast("BinaryIO", content)
            self._iso.add_fp(file, content.size, place, rr_name=name, file_mode=entry.mode)
        else:
            raise ConfigError(
                f"{entry.path} (from {entry.source}) is a device node, which an ISO image has no room for",
                hint="put it into an initramfs or a disk image, and that one onto the ISO image",
            )

    def _set_owner(self, place: str, entry: Entry) -> None:
        record: Any = self._iso.get_record(iso_path=place)
        for records in (record.rock_ridge.dr_entries, record.rock_ridge.ce_entries):
            if records is not None and records.px_record is not None:
                records.px_record.posix_user_id = entry.uid
                records.px_record.posix_group_id = entry.gid

    def _written(self, entry: Entry, main: Entry) -> Written:
        content = self._contents.get(main.path)
        size = content.size if content else len(os.fsencode(entry.target))
        return Written.of(entry, main, size, content.sha256 if content else "")


@contextmanager
def still_clock(now: int) -> Iterator[None]:
    """Let pycdlib take a moment, in seconds since 1970, for the present, and UTC for the local time zone."""
    moment = time.gmtime(now)
    still = SimpleNamespace(
        time=lambda: float(now),
        localtime=lambda _: moment,
        gmtime=lambda _: moment,
        strftime=time.strftime,
        strptime=time.strptime,
        struct_time=time.struct_time,
    )
    modules = [vars(module) for module in (dates, headervd, pycdlib, utils)]
    with _clock:
        for module in modules:
            module["time"] = still
        try:
            yield
        finally:
            for module in modules:
                module["time"] = time


@contextmanager
def _uncollected() -> Iterator[None]:
    """Do without the garbage collector, for a moment in which there is no garbage.

    It would look through all records again and again while they grow: a quarter of the time for 20,000 files.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


class _Name(str):
    """A name that pycdlib may encode: bytes that are no UTF-8 come through."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, errors)


def _with_parents(entries: Sequence[Entry]) -> list[Entry]:
    """The entries and the directories that lead to them, sorted by the bytes of their paths."""
    tree = {entry.path: entry for entry in entries}
    for path in list(tree):
        parent = path
        while parent := parent.rpartition("/")[0]:
            tree.setdefault(parent, Entry(parent, stat.S_IFDIR | 0o755))
    return [tree[path] for path in sorted(tree, key=os.fsencode)]


_NAME, _EXTENSION = 8, 3


class IsoNames:
    """The ISO 9660 paths of a tree (8.3, unique), whose real names are in the Rock Ridge extensions."""

    def __init__(self) -> None:
        self._paths = {"": ""}
        self._taken: set[str] = set()
        self._numbers: Counter[str] = Counter()

    def add(self, path: str, *, directory: bool) -> str:
        """Give a path its place, such as "/BOOT/VMLINUZ.0;1" for "boot/vmlinuz-6.1.0".

        Parents come first, and the same order gives the same names. Directories have no extension.
        """
        parent, _, name = path.rpartition("/")
        above = self._paths[parent]
        stem, dot, extension = _letters(name).rpartition(".")
        if not dot or directory:
            stem, extension = _letters(name), ""
        stem, extension = stem.replace(".", "_") or "_", extension[:_EXTENSION]
        candidate = self._join(above, stem[:_NAME], extension, directory=directory)
        while candidate in self._taken:
            self._numbers[candidate_key := f"{above}/{stem[:2]}.{extension}"] += 1
            number = str(self._numbers[candidate_key])
            if len(number) > _NAME - 2:
                raise ConfigError(f"the directory {parent} has more files than an ISO image can name")
            candidate = self._join(
                above, stem[: _NAME - len(number)] + number, extension, directory=directory
            )
        self._taken.add(candidate)
        self._paths[path] = candidate
        return candidate

    def of(self, path: str) -> str:
        """The place of a path that was added."""
        return self._paths[path]

    def _join(self, above: str, stem: str, extension: str, *, directory: bool) -> str:
        return f"{above}/{stem}" if directory else f"{above}/{stem}.{extension};1"


def _letters(name: str) -> str:
    """The name in the letters that ISO 9660 allows, and dots."""
    return re.sub(r"[^A-Z0-9_.]", "_", os.fsencode(name).decode("latin-1").upper())
