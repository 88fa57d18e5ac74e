"""Reading ISO images: others' too, damaged ones as an error and no worse, and what keeps one from booting."""

from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.formats.iso import boot as iso_boot
from harness.formats.iso.boot import describe
from harness.formats.iso.reader import members
from harness.image.checks.iso import WAYS, check_iso
from harness.recipe import Iso, MenuEntry
from testcases.system.test_iso import Shelf, link, regular, shelf, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["shelf"]

SECTOR = 2048
NAME = "A Name of Some Length.text"
FILES = ("program", NAME)


def problems(path: Path) -> list[str]:
    """What keeps an image from booting in any way."""
    return [finding.what for finding in check_iso(path, WAYS) if not finding.good]


@pytest.fixture
def stick(shelf: Shelf, tmp_path: Path) -> Path:
    """A sound image."""
    return write(shelf, tmp_path / "stick.iso", [regular("a file", b"content" * 1000)])[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound image with a bit of everything."""
    place = tmp_path_factory.mktemp("small")
    (place / "shelf").mkdir()
    tree = [regular("a/b/a file with a long name", b"x" * 3000), link("a/link", "../" * 90), regular("z")]
    return write(Shelf(place / "shelf"), place / "small.iso", tree)[0].read_bytes()


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., Path]:
    """Has bsdtar make an image of a small tree, with these options."""
    tree = tmp_path / "tree"
    (tree / "a/b/c/d/e/f/g/h/i").mkdir(parents=True)
    (tree / "a/b/c/d/e/f/g/h/i/deep").write_bytes(b"deep")
    (tree / NAME).write_bytes(b"content" * 1000)
    (tree / "link").symlink_to("../elsewhere")
    (tree / "program").write_bytes(b"#!")
    (tree / "program").chmod(0o751)
    for path in (tree / name for name in FILES):
        os.utime(path, (1_500_000_001, 1_500_000_001))

    def make(*options: str, only: Sequence[str] = ("a", "link", "program", NAME)) -> Path:
        path = tmp_path / "foreign.iso"
        chosen = [f"--options={option}" for option in options]
        command = ["bsdtar", "-c", "--format=iso9660", *chosen, "-f", str(path), "-C", str(tree)]
        subprocess.run([*command, *only], check=True)
        return path

    return make


def test_rock_ridge_of_others(foreign: Callable[..., Path]) -> None:
    found = {each.path: each for each in members(foreign("rockridge=strict"))}
    assert b"".join(found[NAME].blocks()) == b"content" * 1000
    assert b"".join(found["a/b/c/d/e/f/g/h/i/deep"].blocks()) == b"deep"
    assert found["link"].target == "../elsewhere"
    assert found["program"].mode == stat.S_IFREG | 0o751
    assert found["program"].mtime == 1_500_000_001
    assert found["a"].is_directory


def test_joliet_without_rock_ridge(foreign: Callable[..., Path]) -> None:
    found = {each.path: each for each in members(foreign("!rockridge", only=FILES))}
    assert found[NAME].mode == stat.S_IFREG | 0o444
    assert b"".join(found[NAME].blocks()) == b"content" * 1000


def test_plain_names_as_linux_shows_them(foreign: Callable[..., Path]) -> None:
    found = {each.path: each for each in members(foreign("!rockridge,!joliet", only=FILES))}
    assert b"".join(found["program"].blocks()) == b"#!"
    assert any(path.startswith("a_name") for path in found)


def test_content_can_be_read_again_and_in_any_order(stick: Path) -> None:
    found = {each.path: each for each in members(stick)}
    for _ in range(2):
        assert b"".join(found["a file"].blocks()) == b"content" * 1000
        assert b"".join(found["boot/first.cpio"].blocks()) == b"070701 and so on"


def test_names_of_one_file_are_hard_links(shelf: Shelf, tmp_path: Path) -> None:
    tree = [regular("a"), regular("b", link="a"), regular("c", b""), regular("d", b"")]
    found = {each.path: each for each in members(write(shelf, tmp_path / "stick.iso", tree)[0])}
    assert [found[path].link for path in "abcd"] == ["", "a", "", ""]


def test_a_sound_image_has_no_problems(stick: Path) -> None:
    assert list(problems(stick)) == []


def _zero(start: int, length: int) -> Callable[[bytes], bytes]:
    return lambda image: image[:start] + bytes(length) + image[start + length :]


def _put(offset: int, data: bytes) -> Callable[[bytes], bytes]:
    return lambda image: image[:offset] + data + image[offset + len(data) :]


def _catalog(offset: int, data: bytes) -> Callable[[bytes], bytes]:
    """Change the boot catalog."""

    def change(image: bytes) -> bytes:
        (start,) = struct.unpack_from("<I", image, 17 * SECTOR + 71)
        return _put(start * SECTOR + offset, data)(image)

    return change


def _content(marker: bytes, data: bytes) -> Callable[[bytes], bytes]:
    """Change what follows a marker that the image has once."""
    return lambda image: _put(image.index(marker), data)(image)


PLACES = iso_boot.TABLE, iso_boot.TABLE + 16
HARM = {
    "it is cut off": lambda image: image[: len(image) // 2],
    "no El Torito boot catalog": _zero(17 * SECTOR, SECTOR - 1),
    "outside of the image": _put(17 * SECTOR + 71, b"\xff\xff\xff\x7f"),
    "boot catalog at byte .* is damaged": _catalog(4, b"anything"),
    "nothing for BIOS": _catalog(32, b"\x00"),
    "nothing for UEFI": _catalog(64, b"\x00"),
    "loader for BIOS at byte .* outside": _catalog(32 + 8, b"\xff\xff\xff\x7f"),
    "loader for UEFI at byte .* outside": _catalog(96 + 8, b"\xff\xff\xff\x7f"),
    "is no FAT filesystem": _catalog(96 + 8, b"\x10\x00\x00\x00"),
    "no boot record": _zero(510, 2),
    "boot record has no partition": _zero(PLACES[0], 64),
    "end at byte .*, before the volume's end": _put(PLACES[0] + 12, b"\x00\x01\x00\x00"),
    "goes on after the image's end": _put(PLACES[1] + 12, b"\xff\xff\xff\x00"),
    "no EFI system partition": _put(PLACES[1] + 4, b"\x83"),
    "looks for isolinux.bin at byte": _put(432, b"\x04\x00\x00\x00"),
    "starts /boot/wmlinuz-6.1.0-50-686, which is not": _content(b"vmlinuz-6.1.0-50-686\n  INITRD", b"w"),
    r"starts /boot/vmlinuz-6.1.0-50-\w+: .* is no x86 kernel": _content(b"HdrS", b"hdrs"),
}


@pytest.mark.parametrize("sentence", HARM)
def test_what_keeps_it_from_booting_is_a_sentence(stick: Path, sentence: str) -> None:
    damaged = stick.with_name("damaged.iso")
    damaged.write_bytes(HARM[sentence](stick.read_bytes()))
    found = list(problems(damaged))
    assert any(re.search(sentence, problem) for problem in found), found


def test_catalogs_of_several_sections(stick: Path) -> None:
    image = stick.read_bytes()
    (start,) = struct.unpack_from("<I", image, 17 * SECTOR + 71)

    def entry(place: int) -> bytes:
        return struct.pack("<BBHBBHI20x", 0x88, 0, 0, 0, 0, 4, place)

    sections = [
        *(struct.pack("<BBH28x", 0x90, 0xEF, 1), entry(1)),
        *(struct.pack("<BBH28x", 0x91, 0, 2), entry(2), b"\x44".ljust(32, b"\0"), entry(3), entry(4)),
    ]
    stick.chmod(0o644)
    stick.write_bytes(_put(start * SECTOR + 64, b"".join(sections))(image))
    found = [(each.platform, each.offset // SECTOR) for each in describe(stick).entries[1:]]
    assert found == [("UEFI", 1), ("BIOS", 2), ("BIOS", 3)]


def test_foreign_images_that_do_not_boot_are_told(foreign: Callable[..., Path]) -> None:
    found = " ".join(problems(foreign()))
    assert "does not boot from CD" in found
    assert "does not boot from USB" in found


def test_what_an_image_is_not_made_for_is_a_remark(foreign: Callable[..., Path]) -> None:
    found = list(check_iso(foreign()))
    assert [finding.good for finding in found] == [None] * 4
    assert [finding.good for finding in check_iso(foreign(), WAYS[:1])] == [False, None, None, None]


@pytest.mark.parametrize("read", [members, check_iso, lambda path: [describe(path)]])
def test_what_is_no_iso_image_is_said(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    for content in (b"", b"text", os.urandom(100_000), bytes(100_000)):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"no ISO 9660 image|or none"):
            list(read(path))  # type: ignore[call-overload]
    with pytest.raises(ConfigError, match="cannot read"):
        list(read(tmp_path / "missing"))  # type: ignore[call-overload]


def _complaints(path: Path) -> list[str]:
    """Read all that there is; damage may be an error for people, and nothing else."""
    began = time.process_time()
    found = []
    try:
        for each in members(path):
            assert sum(len(block) for block in each.blocks()) == each.size
    except ConfigError as error:
        found.append(error.message)
    try:
        found += problems(path)
    except ConfigError as error:
        found.append(error.message)
    assert time.process_time() - began < 20
    return found


def test_cut_off_anywhere(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.iso"
    path.write_bytes(small)
    volume = describe(path).volume
    for length in (*range(0, 40 * SECTOR, 501), *range(40 * SECTOR, volume, 100_003)):
        path.write_bytes(small[:length])
        assert any("cut off" in each or "no volume descriptor" in each for each in _complaints(path)), length


@given(
    st.lists(
        st.tuples(st.integers(16 * SECTOR, 32 * SECTOR - 1), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=6,
    )
)
def test_damage_anywhere_in_the_structures(
    small: bytes, tmp_path: Path, damage: list[tuple[int, bytes]]
) -> None:
    image = bytearray(small)
    for offset, data in damage:
        image[offset : offset + len(data)] = data
    path = tmp_path / "damaged.iso"
    path.write_bytes(image)
    assert all(str(complaint) for complaint in _complaints(path))


def test_menus_of_others_may_name_what_their_loader_finds(shelf: Shelf, tmp_path: Path) -> None:
    menu = b"set x=1\nlinux ($root)/vmlinuz a\ninitrd $prefix/initrd\n"
    stick = Iso(name="stick", menu=(MenuEntry(title="a", kernel="seed", initramfs="first", command_line=""),))
    path, _ = write(shelf, tmp_path / "stick.iso", [regular("other/grub.cfg", menu)], stick)
    assert not list(problems(path))
