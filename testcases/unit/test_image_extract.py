"""Nothing is written outside of the directory, whatever an image says, and nothing half-written stays."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError, HarnessError, InfraError, Interrupted
from harness.formats.extract import Skipped, extract
from harness.formats.tree import Member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

is_root = os.geteuid() == 0
UID, GID = os.getuid(), os.getgid()


def file(path: str, content: bytes = b"x", mode: int = 0o644, **more: object) -> Member:
    member = Member(path, stat.S_IFREG | mode, UID, GID, size=len(content), blocks=lambda: iter([content]))
    return _with(member, more)


def directory(path: str, mode: int = 0o755, **more: object) -> Member:
    return _with(Member(path, stat.S_IFDIR | mode, UID, GID), more)


def symlink(path: str, target: str) -> Member:
    return Member(path, stat.S_IFLNK | 0o777, UID, GID, target=target)


def device(path: str, numbers: tuple[int, int] = (1, 3)) -> Member:
    return Member(path, stat.S_IFCHR | 0o666, UID, GID, device=numbers)


def _with(member: Member, more: dict[str, object]) -> Member:
    import msgspec

    return msgspec.structs.replace(member, **more)


class Place:
    """A directory to extract to, with a neighbour that nothing may touch."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.into = base / "into"
        self.outside = base / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_bytes(b"secret")
        self.notes: list[Skipped] = []

    def extract(self, members: Iterable[Member], *, force: bool = False, devices: bool = False) -> int:
        return extract(members, self.into, note=self.notes.append, force=force, devices=devices)

    def assert_untouched(self) -> None:
        assert sorted(path.name for path in self.base.iterdir() if path != self.into) == ["outside"]
        assert [path.name for path in self.outside.iterdir()] == ["secret"]
        assert (self.outside / "secret").read_bytes() == b"secret"
        assert (self.outside / "secret").stat().st_nlink == 1


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_tree_is_written_as_it_is(place: Place) -> None:
    members = [
        directory("", 0o700),
        directory("bin", 0o555, mtime=1_000_000_000),
        file("bin/sh", b"#!", 0o751, mtime=1_234_567_890),
        file("bin/bash", b"#!", 0o751, link="bin/sh"),
        symlink("lib", "usr/lib"),
        file("dir/not/listed", b""),
        Member("pipe", stat.S_IFIFO | 0o620, UID, GID),
        file("a b\n\udcff", b"odd"),
    ]
    assert place.extract(members) == len(members)
    assert place.notes == []
    into = place.into
    assert (into / "bin/sh").read_bytes() == b"#!"
    assert stat.S_IMODE((into / "bin/sh").stat().st_mode) == 0o751
    assert (into / "bin/sh").stat().st_mtime == 1_234_567_890
    assert (into / "bin/sh").samefile(into / "bin/bash")
    assert stat.S_IMODE((into / "bin").stat().st_mode) == 0o555
    assert (into / "bin").stat().st_mtime == 1_000_000_000
    assert (into / "lib").readlink() == Path("usr/lib")
    assert (into / "dir/not/listed").read_bytes() == b""
    assert stat.S_ISFIFO((into / "pipe").stat().st_mode)
    assert stat.S_IMODE((into / "pipe").stat().st_mode) == 0o620
    assert (Path(os.fsdecode(os.fsencode(into) + b"/a b\n\xff"))).read_bytes() == b"odd"
    (into / "bin").chmod(0o755)


@pytest.mark.parametrize("name", ["../outside/secret", "a/../../outside/new", "..", "x\0y", "\ud800"])
def test_names_that_lead_out_are_left_out(place: Place, name: str) -> None:
    assert place.extract([file(name), file("good")]) == 1
    assert [note.path for note in place.notes] == [name]
    assert not place.notes[0].expected
    place.assert_untouched()
    assert [path.name for path in place.into.iterdir()] == ["good"]


def test_absolute_names_are_below_the_directory(place: Place) -> None:
    place.extract([file(f"{place.outside}/secret", b"mine"), file("//etc//./x")])
    place.assert_untouched()
    assert Path(f"{place.into}{place.outside}/secret").read_bytes() == b"mine"
    assert (place.into / "etc/x").is_file()


@pytest.mark.parametrize("target", ["../outside", "{outside}", "bridge/../../outside"])
def test_links_of_the_image_are_not_followed(place: Place, target: str) -> None:
    target = target.format(outside=place.outside)
    members = [
        symlink("bridge", target),
        file("bridge/new"),
        file("bridge/secret"),
        directory("bridge"),
        directory("bridge/deep", 0o700),
        file("bridge", b"a file now"),
    ]
    assert place.extract(members) == 3  # as in the kernel, the directory takes the link's place
    place.assert_untouched()
    assert [note.path for note in place.notes] == ["bridge/new", "bridge/secret", "bridge"]
    assert [path.name for path in (place.into / "bridge").iterdir()] == ["deep"]


def test_links_that_were_there_are_not_followed(place: Place) -> None:
    place.into.mkdir()
    (place.into / "etc").symlink_to(place.outside)
    (place.into / "secret").symlink_to(place.outside / "secret")
    members = [file("etc/secret", b"overwritten"), file("secret", b"overwritten")]
    assert place.extract(members) == 0
    assert place.extract(members, force=True) == 1
    place.assert_untouched()
    assert (place.into / "secret").read_bytes() == b"overwritten"


def test_hard_links_reach_only_what_was_written(place: Place) -> None:
    place.into.mkdir()
    (place.into / "mine").write_bytes(b"the user's")
    members = [
        file("a", b"content", link="../outside/secret"),
        file("b", b"content", link=f"{place.outside}/secret"),
        file("c", b"content", link="mine"),
        symlink("s", "../outside/secret"),
        file("d", b"content", link="s"),
    ]
    assert place.extract(members) == 5
    place.assert_untouched()
    assert {(place.into / name).read_bytes() for name in "abcd"} == {b"content"}
    assert (place.into / "mine").stat().st_nlink == 1


def test_a_hard_link_to_what_was_replaced_is_a_file_of_its_own(place: Place) -> None:
    members = [
        file("a", b"first"),
        symlink("a", "../outside/secret"),
        file("b", b"first", link="a"),
    ]
    place.extract(members)
    place.assert_untouched()
    assert (place.into / "b").read_bytes() == b"first"
    assert not (place.into / "b").is_symlink()


def test_a_directory_may_come_after_what_is_in_it(place: Place) -> None:
    assert place.extract([file("d/x"), directory("d", 0o711, mtime=5)]) == 2
    assert stat.S_IMODE((place.into / "d").stat().st_mode) == 0o711
    assert (place.into / "d").stat().st_mtime == 5


def test_of_equal_names_the_last_stays(place: Place) -> None:
    assert place.extract([file("x", b"1"), file("./x", b"2"), symlink("y", "z"), file("y", b"3")]) == 4
    assert (place.into / "x").read_bytes() == b"2"
    assert (place.into / "y").read_bytes() == b"3"
    assert not (place.into / "z").exists()


def test_the_users_files_stay_without_force(place: Place) -> None:
    place.into.mkdir()
    (place.into / "x").write_bytes(b"the user's")
    (place.into / "d").mkdir(mode=0o711)
    assert place.extract([file("x"), file("d"), directory("d", 0o777)]) == 1
    assert (place.into / "x").read_bytes() == b"the user's"
    assert stat.S_IMODE((place.into / "d").stat().st_mode) == 0o711
    assert ["exists already" in note.why or "directory" in note.why for note in place.notes] == [True, True]
    assert place.extract([file("x", b"new"), file("d")], force=True) == 1
    assert (place.into / "x").read_bytes() == b"new"
    assert (place.into / "d").is_dir()


def test_force_replaces_a_hard_link_and_not_what_it_shares(place: Place) -> None:
    place.into.mkdir()
    os.link(place.outside / "secret", place.into / "x")
    place.extract([file("x", b"new")], force=True)
    place.assert_untouched()


def test_device_nodes_are_left_out_unless_asked_for(place: Place) -> None:
    assert place.extract([device("null"), file("x")]) == 1
    assert [(note.path, note.expected) for note in place.notes] == [("null", True)]
    assert not (place.into / "null").exists()


@pytest.mark.skipif(not is_root, reason="only root makes device nodes")
def test_root_makes_devices_owners_and_setuid(place: Place) -> None:
    members = [
        device("null"),
        file("su", mode=0o4755, uid=1234, gid=99),
        device("absurd", (1 << 40, 1 << 40)),
        file("minus-one", mode=0o4755, uid=0xFFFFFFFF),
        file("beyond", mode=0o4755, gid=1 << 40),
    ]
    assert place.extract(members, devices=True) == 2
    null, su = (place.into / "null").stat(), (place.into / "su").stat()
    assert (os.major(null.st_rdev), os.minor(null.st_rdev)) == (1, 3)
    assert stat.S_IMODE(null.st_mode) == 0o666
    assert (su.st_uid, su.st_gid, stat.S_IMODE(su.st_mode)) == (1234, 99, 0o4755)
    assert sorted(path.name for path in place.into.iterdir()) == ["null", "su"]


@pytest.mark.parametrize("error", [Interrupted("stopped"), ConfigError("damaged"), KeyboardInterrupt()])
def test_what_was_half_written_is_removed(place: Place, error: BaseException) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"half"
        assert (place.into / "d/x").exists()
        raise error

    members = [directory("d", 0o750), file("d/whole"), file("d/x", blocks=blocks), file("d/never")]
    with pytest.raises(type(error)):
        place.extract(members)
    assert [path.name for path in (place.into / "d").iterdir()] == ["whole"]
    assert stat.S_IMODE((place.into / "d").stat().st_mode) == 0o750


def test_absurd_sizes_are_refused_before_anything_is_written(place: Place) -> None:
    with pytest.raises(InfraError, match=r"huge has 9\d\d\.\d GiB|huge has 931 GiB"):
        place.extract([file("huge", size=10**12, blocks=lambda: pytest.fail("nothing is read"))])
    assert list(place.into.iterdir()) == []


def test_a_name_that_no_disk_takes_is_left_out(place: Place) -> None:
    assert place.extract([file("n" * 300), file("x/" + "m" * 300 + "/y"), symlink("empty", "")]) == 0
    assert len(place.notes) == 3


def test_a_directory_that_cannot_be_made_is_one_sentence(place: Place) -> None:
    place.into.write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot extract into") as caught:
        place.extract([file("x")])
    assert "-C" in caught.value.hint


# Names that fight for the same few places.
_NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "c\n", "\udcfe", "outside", "secret"]), max_size=4
).map("/".join)
_TARGETS = st.sampled_from(["..", "../outside", "../outside/secret", "a", "b", ".", "/", "a/b", ""])
_MEMBERS = st.one_of(
    st.builds(file, _NAMES, st.binary(max_size=3), st.sampled_from([0o644, 0o000, 0o4777])),
    st.builds(lambda path, link: file(path, b"linked", link=link), _NAMES, _NAMES),
    st.builds(directory, _NAMES, st.sampled_from([0o755, 0o000, 0o7777])),
    st.builds(symlink, _NAMES, _TARGETS),
    st.builds(device, _NAMES),
    st.builds(
        lambda path, kind: Member(path, kind, UID, GID),
        _NAMES,
        st.sampled_from([stat.S_IFSOCK, 0, stat.S_IFIFO]),
    ),
)


@given(members=st.lists(_MEMBERS, max_size=12), force=st.booleans())
def test_hostile_images_stay_inside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Member], *, force: bool
) -> None:
    place = Place(tmp_path_factory.mktemp("hostile"))
    try:
        written = place.extract(members, force=force)
        assert written + len(place.notes) == len(members)
    except HarnessError:
        assert not is_root  # others cannot enter the directories without permissions that they made
    place.assert_untouched()
    shutil.rmtree(place.base, ignore_errors=True)
