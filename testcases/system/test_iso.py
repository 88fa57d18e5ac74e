"""Hybrid images: what is in them as other programs read it, and the same bits everywhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import struct
import subprocess
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given as given_any
from hypothesis import strategies as st
from pycdlib import dates

from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.formats.iso.boot import describe
from harness.formats.iso.filesystem import Filesystem, IsoNames, still_clock
from harness.formats.iso.reader import members
from harness.formats.tree import Entry
from harness.image import boot_loaders, hybrid
from harness.image.checks.iso import WAYS, check_iso
from harness.image.ingredients import Artifact, BuildContext
from harness.kernel.bzimage import inspect
from harness.kernel.catalogue import Kernel
from harness.recipe import Iso, MenuEntry
from harness.sources.debian import DebianSource, _inputs
from harness.sources.downloads import Downloads
from harness.sources.packages import Lock, Package, Resolution
from harness.store import Store
from testcases.support.profiles import fewer
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.formats.tree import Written
    from harness.image.ingredients import Ingredients

ISOLINUX = b"\xfa" * 64 + b"\xfb\xc0\x78\x70" + bytes(range(256)) * 40
GRUB = {"x86_64": b"MZ 64" * 1000, "i386": b"MZ 32" * 1000}
MBR = b"\x33\xed".ljust(400, b"\x90") + b"isolinux.bin missing or corrupt\0"
LOADERS = {
    "isolinux": {"ISOLINUX/isolinux.bin": ISOLINUX, "ISOLINUX/isohdpfx.bin": MBR},
    "syslinux-common": {
        f"syslinux/modules/bios/{name}": name.encode() * 99
        for name in ("ldlinux.c32", "libutil.c32", "menu.c32")
    },
    "grub-efi-amd64-bin": {"grub/x86_64-efi/monolithic/gcdx64.efi": GRUB["x86_64"]},
    "grub-efi-ia32-bin": {"grub/i386-efi/monolithic/gcdia32.efi": GRUB["i386"]},
}
MENU = (
    MenuEntry(title="thirty-two bits", kernel="seed", initramfs="first", command_line="console=ttyS0 a=$b"),
    MenuEntry(title="sixty-four bits", kernel="wide", initramfs="first", command_line=""),
)
STICK = Iso(name="stick", menu=MENU)


class Shelf:
    """All that images are made from, without the network: loaders and kernels that only look like some."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.kernels: dict[str, Kernel] = {}
        self.images: dict[str, Artifact] = {}
        self.recipe = None  # nothing here depends on it
        store = Store(place / "cache")
        lock = Lock(tuple(self._resolution(store, name, files) for name, files in LOADERS.items()))
        debian = DebianSource(store, Quiet(), lock=lock)
        self.context = BuildContext(store, debian, Downloads(store, Quiet()), Quiet())
        self.add_kernel("seed", kernel(banner=b"6.1.0-50-686 (us) #1"))
        self.add_kernel("wide", kernel(banner=b"6.1.0-50-amd64 (us) #1", xloadflags=1))
        self.add_image("first", b"070701 and so on")

    def add_kernel(self, name: str, data: bytes) -> None:
        path = self.place / f"vmlinuz-{name}"
        path.write_bytes(data)
        self.kernels[name] = Kernel(name, inspect(path))

    def add_image(self, name: str, data: bytes, suffix: str = "cpio") -> None:
        path = self.place / f"{name}.{suffix}"
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        self.images[name] = Artifact(name, "initramfs", path, len(data), sha256, self.place, sha256)

    def kernel(self, name: str) -> Kernel:
        return self.kernels[name]

    def image(self, name: str, recipe: str = "") -> Artifact:  # noqa: ARG002
        return self.images[name]

    def _resolution(self, store: Store, name: str, files: Mapping[str, bytes]) -> Resolution:
        def build(directory: Path) -> None:
            for path, content in files.items():
                place = directory / "files/usr/lib" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)

        package = Package(name, "1", "amd64", hashlib.sha256(name.encode()).hexdigest(), 1)
        store.get("deb", _inputs(package), build)
        return Resolution(boot_loaders.SUITE, "amd64", (name,), closure=False, packages=(package,))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "shelf").mkdir()
    return Shelf(tmp_path / "shelf")


def write(
    shelf: Shelf, path: Path, tree: Sequence[Entry] = (), stick: Iso = STICK
) -> tuple[Path, list[Written]]:
    work = path.with_suffix(".work")
    work.mkdir(parents=True)
    written = hybrid.write(stick, cast("Ingredients", shelf), tree, path, work=work)
    shutil.rmtree(work)
    return path, written


def regular(path: str, content: bytes | Path = b"x", mode: int = 0o644, **more: Any) -> Entry:
    return Entry(path, stat.S_IFREG | mode, content=content, source="the test", **more)


def link(path: str, target: str) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, target=target, source="the test")


TREE = [
    regular("empty", b""),
    regular("usr/bin/program", os.urandom(5000), 0o4755),
    regular("usr/bin/other name", Path(__file__), 0o600, uid=1000, gid=100_000),
    Entry("tmp", stat.S_IFDIR | 0o1777),
    link("usr/sh", "bin/program"),
    link("usr/up", "../tmp"),
    link("away", "../../x/" + "long/" * 60 + "/end/"),
    regular("hard", link="usr/bin/program"),
    regular("caf\udce9 \udcff", b"no UTF-8"),
    regular("ünïcode", b"UTF-8"),
    regular("a/b/c/d/e/f/g/h/i/j/deep", b"deep"),
    regular("x" * 255, b"long"),
    *(regular(f"many/file-number-{number}.text", str(number).encode()) for number in range(300)),
]


def read(path: Path) -> dict[str, tuple[Any, ...]]:
    """What an image holds: mode, owner, target, hash of the content."""
    return {
        each.path: (
            each.mode,
            each.uid,
            each.gid,
            each.target,
            hashlib.sha256(b"".join(each.blocks())).hexdigest() if each.is_file else "",
        )
        for each in members(path)
    }


def as_read(written: Sequence[Written]) -> dict[str, tuple[Any, ...]]:
    return {each.path: (each.mode, each.uid, each.gid, each.target, each.sha256) for each in written}


def test_what_was_written_is_what_is_read(shelf: Shelf, tmp_path: Path) -> None:
    path, written = write(shelf, tmp_path / "stick.iso", TREE)
    found = read(path)
    catalog = found.pop("isolinux/boot.cat")
    assert stat.S_ISREG(catalog[0])
    assert found == as_read(written)
    assert {entry.path for entry in TREE} < set(found)
    assert all(each.mtime == 0 for each in members(path))


def test_bsdtar_reads_the_same(shelf: Shelf, tmp_path: Path) -> None:
    path, written = write(shelf, tmp_path / "stick.iso", TREE)
    out = tmp_path / "out"
    out.mkdir()
    # As root it would set owners, which not every place for tests allows.
    command = ["bsdtar", "-x", "-p", "--no-same-owner", "-f", str(path), "-C", str(out)]
    subprocess.run(command, check=True, env={**os.environ, "LC_ALL": "C"})
    for each in written:
        place = Path(os.fsdecode(os.fsencode(out) + b"/" + os.fsencode(each.path)))
        status = place.lstat()
        assert stat.S_IFMT(status.st_mode) == stat.S_IFMT(each.mode), each.path
        if stat.S_ISLNK(each.mode):
            # bsdtar 3.6 loses a slash where a long target goes on in another record; the kernel does not.
            assert len(each.target) > 200 or str(place.readlink()) == each.target
        else:
            assert stat.S_IMODE(status.st_mode) & 0o777 == each.mode & 0o777, each.path
        if each.sha256:
            assert hashlib.sha256(place.read_bytes()).hexdigest() == each.sha256, each.path


def test_the_same_content_gives_the_same_bits(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = write(shelf, tmp_path / "stick.iso", TREE)
    other = Shelf(_directory(tmp_path / "elsewhere"))
    shuffled = list(TREE)
    Random(4).shuffle(shuffled)  # noqa: S311
    (tmp_path / "mtools.conf").write_text("drive :: this is no configuration\n")
    monkeypatch.setenv("MTOOLSRC", str(tmp_path / "mtools.conf"))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    time.tzset()
    before = os.umask(0o077)
    try:
        again, _ = write(other, tmp_path / "elsewhere/stick.iso", shuffled)
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()
    assert again.read_bytes() == path.read_bytes()


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


def test_pycdlib_gets_its_clock_back() -> None:
    with still_clock(0):
        assert vars(dates)["time"] is not time
    with pytest.raises(RuntimeError), still_clock(0):
        raise RuntimeError
    assert vars(dates)["time"] is time


def test_firmware_finds_both_loaders(shelf: Shelf, tmp_path: Path) -> None:
    path, _ = write(shelf, tmp_path / "stick.iso")
    image = path.read_bytes()
    boot = describe(path)
    bios, uefi = boot.entries
    assert (bios.platform, bios.bootable, bios.size) == ("BIOS", True, 4 * 512)
    assert image[bios.offset : bios.offset + 8] == ISOLINUX[:8]
    assert struct.unpack_from("<II", image, bios.offset + 8) == (16, bios.offset // 2048), "boot info table"
    assert (uefi.platform, uefi.bootable) == ("UEFI", True)
    whole, system = boot.slices
    assert (whole.type, whole.offset, whole.size) == (0, 0, len(image))
    assert image[446] == 0x80, "a BIOS may start it"
    assert (system.type, system.offset, system.size) == (0xEF, uefi.offset, uefi.size)
    assert image[:432] == MBR
    assert struct.unpack_from("<I", image, 432) == (bios.offset // 512,)
    assert len(image) % (1 << 20) == 0


def test_uefi_finds_grub_on_the_system_partition(shelf: Shelf, tmp_path: Path) -> None:
    path, _ = write(shelf, tmp_path / "stick.iso")
    system = tmp_path / "efi.img"
    system.write_bytes(next(b"".join(m.blocks()) for m in members(path) if m.path == "boot/grub/efi.img"))
    for name, content in (("BOOTX64.EFI", GRUB["x86_64"]), ("BOOTIA32.EFI", GRUB["i386"])):
        typed = subprocess.run(
            ["mtype", "-i", str(system), f"::EFI/BOOT/{name}"], capture_output=True, check=True
        )
        assert typed.stdout == content
    assert b"FAT16" in system.read_bytes()[:512] or b"FAT12" in system.read_bytes()[:512]
    assert b"MTOO" not in system.read_bytes()[:512]


def test_both_menus_have_every_entry(shelf: Shelf, tmp_path: Path) -> None:
    path, _ = write(shelf, tmp_path / "stick.iso", stick=Iso(name="stick", menu=MENU, timeout=7))
    found = {
        each.path: b"".join(each.blocks()).decode() for each in members(path) if each.path.endswith("cfg")
    }
    bios, uefi = found["isolinux/isolinux.cfg"], found["boot/grub/grub.cfg"]
    assert "SERIAL 0 115200" in bios
    assert "TIMEOUT 70\n" in bios
    assert "LINUX /boot/vmlinuz-6.1.0-50-686\n  INITRD /boot/first.cpio\n  APPEND console=ttyS0 a=$b" in bios
    assert "MENU LABEL ^2 sixty-four bits\n  LINUX /boot/vmlinuz-6.1.0-50-amd64\n" in bios
    assert "serial --unit=0 --speed=115200" in uefi
    assert "set timeout=7\n" in uefi
    assert "linux /boot/vmlinuz-6.1.0-50-686 'console=ttyS0' 'a=$b'\n    initrd /boot/first.cpio" in uefi
    assert "menuentry '2 sixty-four bits' --hotkey=2 {\n    linux /boot/vmlinuz-6.1.0-50-amd64\n" in uefi


def test_what_two_entries_start_is_there_once(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add_image("first", os.urandom(3 << 20))
    path, written = write(shelf, tmp_path / "stick.iso", stick=Iso(name="stick", menu=MENU * 3))
    assert [each.path for each in written].count("boot/first.cpio") == 1
    assert path.stat().st_size < 2 * (3 << 20)


def test_two_builds_of_one_release_are_two_files(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add_kernel("wide", kernel(banner=b"6.1.0-50-686 (another builder) #1"))
    path, written = write(shelf, tmp_path / "stick.iso")
    kernels = [each for each in written if "vmlinuz" in each.path]
    assert len({each.sha256 for each in kernels}) == len(kernels) == 2
    assert all(finding.good for finding in check_iso(path, WAYS))


def test_the_disk_for_the_target_comes_along(shelf: Shelf, tmp_path: Path) -> None:
    shelf.add_image("root", b"a disk" * 1000, "img")
    _, written = write(shelf, tmp_path / "stick.iso", stick=Iso(name="stick", menu=MENU, disk="root"))
    [disk] = [each for each in written if each.path == "root.img"]
    assert disk.sha256 == shelf.images["root"].sha256


def test_the_label_is_the_recipes_or_the_name(shelf: Shelf, tmp_path: Path) -> None:
    for number, (label, expected) in enumerate([("", b"A_STICK_1 "), ("TOOLS", b"TOOLS ")]):
        stick = Iso(name="a-stick.1", label=label, menu=MENU)
        path, _ = write(shelf, tmp_path / f"{number}.iso", stick=stick)
        assert path.read_bytes()[16 * 2048 + 40 :].startswith(expected)


@pytest.mark.parametrize("what", ["kernel", "initramfs", "disk"])
def test_all_that_decides_about_the_bits_is_described(shelf: Shelf, what: str) -> None:
    shelf.add_image("root", b"a disk", "img")
    stick = Iso(name="stick", menu=MENU, disk="root")
    before = hybrid.describe(stick, cast("Ingredients", shelf))
    assert before == hybrid.describe(stick, cast("Ingredients", shelf))
    change: Callable[[], None] = {
        "kernel": lambda: shelf.add_kernel("wide", kernel(banner=b"6.1.0-51-amd64 (us) #1")),
        "initramfs": lambda: shelf.add_image("first", b"070701 and no more"),
        "disk": lambda: shelf.add_image("root", b"another", "img"),
    }[what]
    change()
    assert before != hybrid.describe(stick, cast("Ingredients", shelf))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)), "dev/console .* is a device node"),
        (regular("boot/grub/grub.cfg"), "two contents add boot/grub/grub.cfg"),
        (regular("boot/first.cpio/below"), "would be below boot/first.cpio"),
        (regular("gone", Path("/no/such/file")), "cannot read /no/such/file, which is gone in the image"),
        (regular("dir", Path("/")), "cannot read /, which is dir in the image"),
        (regular("hard", link="gone"), "leads to gone, which is no file"),
        (regular("x" * 256), "has a name of more than 255 bytes"),
    ],
)
def test_what_cannot_be_in_it_is_named(shelf: Shelf, tmp_path: Path, entry: Entry, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        write(shelf, tmp_path / "stick.iso", [entry])


def test_a_file_that_becomes_shorter_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"x" * 5000)
    with still_clock(0):
        filesystem = Filesystem("LABEL")
        filesystem.add([regular("file", source)])
        source.write_bytes(b"x" * 4000)
        with pytest.raises(InfraError, match="file became shorter"):
            filesystem.write(tmp_path / "out.iso")


def test_a_package_without_its_loader_is_named(shelf: Shelf, tmp_path: Path) -> None:
    next(shelf.place.rglob("isolinux.bin")).unlink()
    with pytest.raises(ConfigError, match=r"isolinux 1 has no usr/lib/ISOLINUX/isolinux\.bin"):
        write(shelf, tmp_path / "stick.iso")


def test_without_mtools_it_is_said_what_to_install(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="mformat is not installed") as caught:
        write(shelf, tmp_path / "stick.iso")
    assert "mtools" in caught.value.hint


def test_the_system_partition_grows_with_its_loaders(shelf: Shelf, tmp_path: Path) -> None:
    for loader in shelf.place.rglob("gcd*.efi"):
        loader.write_bytes(os.urandom(6 << 20))
    loaders = boot_loaders.unpack(cast("Ingredients", shelf))
    content = loaders.efi_system(tmp_path, serial=1).content
    assert isinstance(content, Path)
    assert content.stat().st_size == 13 << 20
    assert b"FAT16" in content.read_bytes()[:512]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."}
)


@given_any(st.lists(NAMES, unique=True, max_size=60), st.booleans())
def test_plain_names_are_short_and_unique(names: list[str], directory: bool) -> None:
    plain = IsoNames()
    found = [plain.add(name, directory=directory) for name in names]
    assert len(set(found)) == len(found)
    for name in found:
        stem, _, extension = name.removeprefix("/").removesuffix(";1").partition(".")
        assert 1 <= len(stem) <= 8
        assert len(extension) <= 3
        assert set(stem + extension) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def test_a_plain_name_that_was_made_up_may_be_somebodys_own() -> None:
    plain = IsoNames()
    found = [plain.add(name, directory=True) for name in ("aaaaaaaa", "aaaaaaa1", "aaaaaaaab")]
    assert found == ["/AAAAAAAA", "/AAAAAAA1", "/AAAAAAA2"]


CONTENTS = st.one_of(
    st.binary(max_size=5000).map(lambda data: ("file", data)),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=400).map(
        lambda target: ("link", target)
    ),
    st.just(("directory", b"")),
)


@fewer(2)
@given_any(
    st.dictionaries(
        st.lists(NAMES.filter(lambda n: len(n.encode()) < 200), min_size=1, max_size=4).map("/".join),
        st.tuples(CONTENTS, st.integers(0, 0o7777)),
        max_size=12,
    )
)
def test_any_tree_comes_back(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    entries = list(_consistent(tree))
    path = tmp_path_factory.mktemp("any") / "any.iso"
    with still_clock(0):
        filesystem = Filesystem("ANY")
        filesystem.add(entries)
        filesystem.write(path)
        assert read(path) == as_read(filesystem.written())


def _consistent(tree: dict[str, Any]) -> Iterator[Entry]:
    """Entries of which none lies below a file or link."""
    for path, ((kind, content), mode) in tree.items():
        above = path.split("/")
        parents = {"/".join(above[:end]) for end in range(1, len(above))}
        if any(other in tree and tree[other][0][0] != "directory" for other in parents):
            continue
        if kind == "file":
            yield regular(path, content, mode)
        elif kind == "link":
            yield link(path, content)
        else:
            yield Entry(path, stat.S_IFDIR | mode)
