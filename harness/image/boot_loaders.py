"""Boot loaders of a hybrid image: ISOLINUX and GRUB, one menu.

ISOLINUX is for BIOS, GRUB for UEFI. They come from Debian packages as they are there. Debian's GRUB for media
(`gcdx64.efi`) takes the volume that has `/.disk/info` as its root and reads `/boot/grub/grub.cfg` there. The
firmware finds it on a FAT filesystem that the image holds as a file, as `/EFI/BOOT/BOOTX64.EFI` (UEFI
specification, section 3.5.1.1).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

from harness.core import programs
from harness.core.errors import ConfigError
from harness.formats.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.image.ingredients import Ingredients
    from harness.recipe import Iso, MenuEntry
    from harness.sources.packages import Package

ISOLINUX = "isolinux/isolinux.bin"
EFI_SYSTEM = "boot/grub/efi.img"

# They are tools and no part of the payload, so they stay the same when its suite or architecture changes.
SUITE = "bookworm"
_ARCHITECTURE = "amd64"
_PACKAGES = ("isolinux", "syslinux-common", "grub-efi-amd64-bin", "grub-efi-ia32-bin")
_MBR_CODE = ("isolinux", "usr/lib/ISOLINUX/isohdpfx.bin")
_BIOS_FILES = {
    ISOLINUX: ("isolinux", "usr/lib/ISOLINUX/isolinux.bin"),
    "isolinux/ldlinux.c32": ("syslinux-common", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
    "isolinux/libutil.c32": ("syslinux-common", "usr/lib/syslinux/modules/bios/libutil.c32"),
    "isolinux/menu.c32": ("syslinux-common", "usr/lib/syslinux/modules/bios/menu.c32"),
}
_EFI_FILES = {
    "BOOTX64.EFI": ("grub-efi-amd64-bin", "usr/lib/grub/x86_64-efi/monolithic/gcdx64.efi"),
    "BOOTIA32.EFI": ("grub-efi-ia32-bin", "usr/lib/grub/i386-efi/monolithic/gcdia32.efi"),
}

_FAT_START = "315532800"  # 1980-01-01 in seconds since 1970: the first moment that FAT knows
_MIB = 1 << 20
_FAT_ITSELF = 1 << 19  # bytes that two FATs and the directories take at most, for a few files of some MiB


class Loaders(msgspec.Struct, frozen=True):
    """Boot loaders that have been unpacked."""

    roots: dict[str, Path]  # directories with the packages' files, by package name
    packages: dict[str, Package]  # the packages, by name

    def bios(self) -> list[Entry]:
        """The files of ISOLINUX, without its menu."""
        return [self._entry(place, *origin) for place, origin in _BIOS_FILES.items()]

    def sources(self) -> dict[Path, str]:
        """Every file that is taken from the packages, with the package and the path in it."""
        return {
            self._file(package, path): f"{self.packages[package].file_name.removesuffix('.deb')}/{path}"
            for package, path in (_MBR_CODE, *_BIOS_FILES.values(), *_EFI_FILES.values())
        }

    def parts_of_efi_system(self) -> list[Path]:
        """The files that lie in the filesystem of UEFI."""
        return [self._file(*origin) for origin in _EFI_FILES.values()]

    @property
    def mbr_code_file(self) -> Path:
        """The file that is nothing but the 432 bytes that a BIOS runs when the image is a disk."""
        return self._file(*_MBR_CODE)

    def efi_system(self, work: Path, *, serial: int) -> Entry:
        """A FAT filesystem with GRUB where UEFI looks for it; `serial` is its number."""
        files = dict(zip(_EFI_FILES, self.parts_of_efi_system(), strict=True))
        path = work / "efi.img"
        _write_fat(path, files, serial)
        source = ", ".join(str(self.packages[package]) for package, _ in _EFI_FILES.values())
        return Entry(EFI_SYSTEM, stat.S_IFREG | 0o644, content=path, source=source)

    def _entry(self, place: str, package: str, path: str) -> Entry:
        source = str(self.packages[package])
        return Entry(place, stat.S_IFREG | 0o644, content=self._file(package, path), source=source)

    def _file(self, package: str, path: str) -> Path:
        file = self.roots[package] / path
        if not file.is_file():
            raise ConfigError(
                f"the package {self.packages[package]} has no {path}, which boots the image",
                hint="the archive has another version than this was made for; please report it",
            )
        return file


def packages(given: Ingredients) -> dict[str, Package]:
    """The packages that hold the boot loaders, by name."""
    return {name: given.context.debian.newest(SUITE, _ARCHITECTURE, name) for name in _PACKAGES}


def unpack(given: Ingredients) -> Loaders:
    """Get the boot loaders."""
    found = packages(given)
    roots = given.context.debian.unpack(SUITE, _ARCHITECTURE, list(found.values()))
    return Loaders(roots, found)


def menu(iso: Iso, given: Ingredients) -> list[Entry]:
    """What the menu starts, each file once, and the menu itself for both loaders."""
    files: dict[str, Entry] = {}
    starts = [_start(entry, given, files) for entry in iso.menu]
    texts = {
        "isolinux/isolinux.cfg": _isolinux_menu(iso, starts),
        "boot/grub/grub.cfg": _grub_menu(iso, starts),
        ".disk/info": f"{iso.name}\n",
    }
    return [
        *files.values(),
        *(
            Entry(path, stat.S_IFREG | 0o644, content=text.encode(), source="the recipe")
            for path, text in texts.items()
        ),
    ]


class _Start(msgspec.Struct, frozen=True):
    """A menu entry with the places of its files in the image."""

    title: str
    kernel: str
    initramfs: str
    command_line: str


def _start(entry: MenuEntry, given: Ingredients, files: dict[str, Entry]) -> _Start:
    image = given.kernel(entry.kernel).image
    release = "".join(letter if letter.isalnum() or letter in "._+-" else "_" for letter in image.version)
    name = f"boot/vmlinuz-{release or image.sha256[:8]}"
    if name in files and files[name].content != image.path:  # another build of the same release
        name += f"-{image.sha256[:8]}"
    files[name] = Entry(name, stat.S_IFREG | 0o644, content=image.path, source=f"Linux {image.version}")
    artifact = given.image(entry.initramfs)
    archive = f"boot/{artifact.path.name}"
    source = f"image {artifact.name}"
    files[archive] = Entry(archive, stat.S_IFREG | 0o644, content=artifact.path, source=source)
    return _Start(entry.title, name, archive, entry.command_line)


def _isolinux_menu(iso: Iso, starts: Sequence[_Start]) -> str:
    """The menu for BIOS: https://wiki.syslinux.org/wiki/index.php?title=Config, …?title=Menu."""
    lines = ["SERIAL 0 115200", "UI menu.c32", "PROMPT 0", f"TIMEOUT {iso.timeout * 10}"]
    lines += [f"MENU TITLE {iso.name}", "DEFAULT entry1"]
    for number, start in enumerate(starts, start=1):
        # A caret marks the key that chooses an entry; two are one that is shown.
        title = start.title.replace("^", "^^")
        key = f"^{number} " if number < 10 else ""
        lines += ["", f"LABEL entry{number}", f"  MENU LABEL {key}{title}", f"  LINUX /{start.kernel}"]
        lines += [f"  INITRD /{start.initramfs}", f"  APPEND {start.command_line}".rstrip()]
    return "\n".join(lines) + "\n"


def _grub_menu(iso: Iso, starts: Sequence[_Start]) -> str:
    """The menu for UEFI: https://www.gnu.org/software/grub/manual/grub/grub.html."""
    lines = ["serial --unit=0 --speed=115200", "terminal_input console serial"]
    lines += ["terminal_output console serial", "set default=0", f"set timeout={iso.timeout}"]
    for number, start in enumerate(starts, start=1):
        key = f"--hotkey={number} " if number < 10 else ""
        label = f"{number} {start.title}" if key else start.title
        words = " ".join(f"'{word}'" for word in start.command_line.split())
        lines += ["", f"menuentry '{label}' {key}{{", f"    linux /{start.kernel} {words}".rstrip()]
        lines += [f"    initrd /{start.initramfs}", "}"]
    return "\n".join(lines) + "\n"


def _write_fat(path: Path, files: dict[str, Path], serial: int) -> None:
    """A FAT filesystem with these files below EFI/BOOT, whose bits do not depend on the version of mtools."""
    content = sum(file.stat().st_size for file in files.values())
    tracks = -(-(content + _FAT_ITSELF) // _MIB)  # of 64 heads with 32 sectors each: 1 MiB
    with path.open("wb") as out:
        out.truncate(tracks * _MIB)
    # One sector a cluster makes enough clusters for FAT16; a sector of FAT has room for 256 of them.
    shape = f"-h 64 -s 32 -t {tracks} -c 1 -L {tracks * 8} -d 2 -r 16 -m 248".split()
    _mtools("mformat", "-i", str(path), *shape, "-N", f"{serial:08x}", "-v", "EFI", "::")
    _mtools("mmd", "-i", str(path), "::EFI", "::EFI/BOOT")
    for name, file in files.items():
        _mtools("mcopy", "-i", str(path), str(file), f"::EFI/BOOT/{name}")
    with path.open("r+b") as out:
        # All that depends on mformat's version: its name, the drive's number, and code for who boots this.
        for place, data in ((3, b"HARNESS "), (36, b"\x80"), (62, bytes(448) + b"\x55\xaa")):
            out.seek(place)
            out.write(data)


def _mtools(*command: str) -> None:
    environment = {
        **os.environ,
        "PATH": programs.search_path(),
        "MTOOLSRC": os.devnull,
        "SOURCE_DATE_EPOCH": _FAT_START,
        "TZ": "UTC",
        "LC_ALL": "C",
    }
    programs.output(command, package="mtools", environment=environment)
