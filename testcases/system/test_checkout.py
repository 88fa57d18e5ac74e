"""Checkouts, by a real git."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.sources.checkout import Snapshot, look

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's git: neither settings nor the repository of a hook that runs us."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    settings = '[user]\nname=n\nemail=e@example.org\n[protocol "file"]\nallow=always\n'
    (tmp_path / ".gitconfig").write_text(settings)


def git(place: Path, *arguments: str) -> str:
    command = ["git", "-C", str(place), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def repository(place: Path, **files: str) -> Path:
    place.mkdir(parents=True)
    git(place, "init", "-q")
    for name, data in files.items():
        (place / name).write_text(data)
    git(place, "add", "-A")
    git(place, "commit", "-q", "--allow-empty", "-m", "first")
    return place


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = repository(tmp_path / "it", readme="words\n")
    (place / "sub dir").mkdir()
    (place / "sub dir/run").write_text("#!/bin/sh\n")
    (place / "sub dir/run").chmod(0o755)
    (place / "link").symlink_to("sub dir/run")
    (place / os.fsdecode(b'\xff\n"')).write_text("odd")
    (place / ".gitignore").write_text("*.o\n")
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "second")
    (place / "stray").write_text("stray")
    (place / "a.o").write_text("object")
    return place


def names(snapshot: Snapshot) -> list[str]:
    return [file.path for file in snapshot.files]


def failure(place: Path, *, dirty: bool = False) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        look(place, dirty=dirty)
    return caught.value


def test_what_is_tracked_goes_in_and_nothing_else(checkout: Path) -> None:
    seen = look(checkout)
    assert names(seen) == [".gitignore", "link", "readme", "sub dir/run", os.fsdecode(b'\xff\n"')]
    assert (seen.commit, seen.differing) == (git(checkout, "rev-parse", "HEAD"), ())
    by_path = {file.path: file for file in seen.files}
    assert by_path["readme"].mode == stat.S_IFREG | 0o644
    assert by_path["sub dir/run"].mode == stat.S_IFREG | 0o755
    assert (by_path["link"].mode, by_path["link"].target) == (stat.S_IFLNK | 0o777, "sub dir/run")
    assert by_path["readme"].place.read_text() == "words\n"


def test_a_directory_of_a_checkout_stands_for_itself(checkout: Path) -> None:
    assert names(look(checkout / "sub dir")) == ["run"]
    (checkout / "sub dir/run").write_text("changed")
    seen = look(checkout / "sub dir")
    assert seen.differing == ("run",)
    (checkout / "sub dir/run").write_text("#!/bin/sh\n")
    (checkout / "readme").write_text("changed")
    assert look(checkout / "sub dir").differing == ()


def test_dirty_takes_what_is_not_ignored(checkout: Path) -> None:
    (checkout / "stray").chmod(0o700)
    seen = look(checkout, dirty=True)
    assert set(names(seen)) - set(names(look(checkout))) == {"stray"}
    assert seen.differing == ("stray",)
    assert next(file.mode for file in seen.files if file.path == "stray") == stat.S_IFREG | 0o755
    assert names(look(checkout / "sub dir", dirty=True)) == ["run"]


def test_modes_do_not_follow_the_umask(checkout: Path) -> None:
    before = look(checkout).sha256
    (checkout / "readme").chmod(0o600)
    (checkout / "sub dir/run").chmod(0o700)
    assert look(checkout).sha256 == before


@pytest.mark.parametrize("change", ["content", "mode", "staged mode", "same size", "link", "file to link"])
def test_a_change_goes_in_and_is_named(checkout: Path, change: str) -> None:
    before = look(checkout)
    readme = checkout / "readme"
    match change:
        case "content":
            readme.write_text("other words\n")
        case "same size":
            readme.write_text("WORDS\n")
        case "mode":
            readme.chmod(0o755)
        case "staged mode":
            git(checkout, "update-index", "--chmod=+x", "readme")
            readme.chmod(0o755)
        case "link":
            (checkout / "link").unlink()
            (checkout / "link").symlink_to("readme")
        case "file to link":
            readme.unlink()
            readme.symlink_to("link")
    after = look(checkout)
    assert after.differing == (("link",) if change == "link" else ("readme",))
    assert after.sha256 != before.sha256
    assert after.commit == before.commit
    if "mode" in change:
        assert next(f.mode for f in after.files if f.path == "readme") == stat.S_IFREG | 0o755


def test_a_staged_file_that_is_not_committed_is_a_difference(checkout: Path) -> None:
    git(checkout, "add", "stray")
    assert "stray" in names(look(checkout))
    assert look(checkout).differing == ("stray",)


def test_changes_that_git_was_told_not_to_see_are_seen(checkout: Path) -> None:
    before = look(checkout).sha256
    git(checkout, "update-index", "--assume-unchanged", "readme")
    (checkout / "readme").write_text("WORDS\n")
    assert look(checkout).sha256 != before
    assert look(checkout).differing == ("readme",)


def content(snapshot: Snapshot, path: str) -> bytes:
    """What goes into an image."""
    file = next(file for file in snapshot.files if file.path == path)
    found = file.place.read_bytes() if file.content is None else file.content
    assert len(found) == file.size
    return found


def cloned(source: Path, place: Path, *options: str) -> Path:
    git(place.parent, "clone", "-q", *options, str(source), str(place))
    assert not git(place, "status", "--porcelain")
    return place


def committed(source: Path, attributes: str, **files: str) -> None:
    """Commit files with attributes."""
    for name, text in {".gitattributes": attributes, **files}.items():
        (source / name).write_text(text)
        git(source, "add", name)
    git(source, "commit", "-qm", "with attributes")


def test_line_endings_that_git_makes_do_not_go_in(checkout: Path, tmp_path: Path) -> None:
    clone = cloned(checkout, tmp_path / "crlf", "-c", "core.autocrlf=true")
    assert (clone / "readme").read_bytes() == b"words\r\n"
    seen = look(clone)
    assert content(seen, "readme") == b"words\n"
    assert (seen.differing, seen.sha256) == ((), look(checkout).sha256)
    (clone / "readme").write_bytes(b"other\r\n")
    assert look(clone).differing == ("readme",)
    assert content(look(clone), "readme") == b"other\r\n"


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ("f ident", "$Id$ words\n"),
        ("f text eol=crlf", "one\ntwo\n"),
        ("f working-tree-encoding=UTF-16", "words\n"),
        ("f working-tree-encoding=IBM037", "words\n"),  # as long, and of other bytes
    ],
)
def test_what_attributes_make_of_a_file_does_not_go_in(
    checkout: Path, tmp_path: Path, attributes: str, text: str
) -> None:
    (checkout / "f").write_text(text)
    git(checkout, "add", "f")
    git(checkout, "commit", "-qm", "as it is")
    committed(checkout, f"{attributes}\n")
    clone = cloned(checkout, tmp_path / "clone")
    assert (clone / "f").read_bytes() != text.encode()
    seen = look(clone)
    assert (content(seen, "f"), seen.differing) == (text.encode(), ())


def test_a_filter_that_is_not_known_is_named(checkout: Path) -> None:
    committed(checkout, "f filter=rot\n", f="words\n")
    git(checkout, "config", "filter.rot.smudge", "tr a-z b-za")
    git(checkout, "config", "filter.rot.clean", "tr b-za a-z")
    (checkout / "f").unlink()
    git(checkout, "checkout", "-q", "--", "f")
    clone = checkout
    seen = look(clone)
    assert (content(seen, "f"), seen.differing) == (b"xpset\n", ("f",))


def test_contents_of_git_lfs_go_in_and_pointers_are_known(checkout: Path, tmp_path: Path) -> None:
    big = b"a large file\n" * 9
    oid = hashlib.sha256(big).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(big)}\n"
    committed(checkout, "f filter=lfs\n", f=pointer)
    seen = look(checkout)
    assert [file.path for file in seen.files if file.is_pointer] == ["f"]
    (tmp_path / "big").write_bytes(big)
    (tmp_path / "pointer").write_text(pointer)
    words = {"smudge": f"cat {tmp_path}/big", "clean": f"cat {tmp_path}/pointer"}
    given = [word for name, command in words.items() for word in ("-c", f"filter.lfs.{name}={command}")]
    seen = look(cloned(checkout, tmp_path / "clone", *given))
    assert (content(seen, "f"), seen.differing) == (big, ())
    assert not any(file.is_pointer for file in seen.files)


def test_links_of_a_checkout_without_links_are_links(checkout: Path, tmp_path: Path) -> None:
    clone = cloned(checkout, tmp_path / "clone", "-c", "core.symlinks=false")
    assert not (clone / "link").is_symlink()
    assert look(clone).sha256 == look(checkout).sha256


def test_a_sparse_checkout_is_named(checkout: Path) -> None:
    git(checkout, "sparse-checkout", "set", "--no-cone", "/readme")
    assert "sparse checkout" in failure(checkout).message
    assert "git sparse-checkout disable" in failure(checkout).hint


def test_a_copy_and_a_clone_are_the_same(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(checkout), "clone")
    shutil.copytree(checkout, tmp_path / "copy", symlinks=True)
    assert look(checkout).sha256 == look(tmp_path / "clone").sha256 == look(tmp_path / "copy").sha256


def test_a_missing_file_is_named(checkout: Path) -> None:
    (checkout / "readme").unlink()
    error = failure(checkout)
    assert error.message == f"{checkout}/readme is tracked by git and missing from the work tree"
    assert "git restore" in error.hint
    git(checkout, "rm", "-q", "--cached", "readme")
    assert "readme" not in names(look(checkout))


def test_a_directory_that_became_a_link_is_a_missing_file(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.move(checkout / "sub dir/run", tmp_path / "elsewhere/run")
    (checkout / "sub dir").rmdir()
    (checkout / "sub dir").symlink_to(tmp_path / "elsewhere")
    assert "sub dir/run is tracked by git and missing" in failure(checkout).message


def test_a_file_that_became_something_else_is_named(checkout: Path) -> None:
    (checkout / "readme").unlink()
    os.mkfifo(checkout / "readme")
    assert "readme is" in failure(checkout).message


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    inner = repository(tmp_path / "inner", deep="deep\n")
    middle = repository(tmp_path / "middle", mid="mid\n")
    git(middle, "submodule", "-q", "add", str(inner), "in")
    git(middle, "commit", "-q", "-m", "with inner")
    outer = repository(tmp_path / "outer", top="top\n")
    git(outer, "submodule", "-q", "add", str(middle), "mod")
    git(outer, "submodule", "-q", "update", "--init", "--recursive")
    git(outer, "commit", "-q", "-m", "with middle")
    return outer


def test_submodules_come_along_at_every_depth(outer: Path) -> None:
    seen = look(outer)
    assert names(seen) == [".gitmodules", "mod/.gitmodules", "mod/in/deep", "mod/mid", "top"]
    assert seen.differing == ()
    assert names(look(outer / "mod")) == [".gitmodules", "in/deep", "mid"]


def test_what_differs_in_a_submodule_is_named(outer: Path) -> None:
    (outer / "mod/in/deep").write_text("other\n")
    (outer / "mod/stray").write_text("stray\n")
    assert look(outer).differing == ("mod/in/deep",)
    assert look(outer, dirty=True).differing == ("mod/in/deep", "mod/stray")
    git(outer / "mod/in", "commit", "-qam", "other")
    assert look(outer).differing == ("mod/in",)


def test_a_submodule_that_is_not_checked_out_is_named(outer: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(outer), "shallow")
    error = failure(tmp_path / "shallow")
    assert error.message == f"the submodule {tmp_path}/shallow/mod is not checked out"
    assert error.hint == f"git -C {tmp_path}/shallow submodule update --init --recursive"


def test_a_plain_directory_needs_dirty(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (plain / "b").mkdir(parents=True)
    (plain / "b/x").write_text("x")
    (plain / "b/x").chmod(0o711)
    (plain / "a").symlink_to("b")
    (plain / "b").chmod(0o700)
    error = failure(plain)
    assert error.message == f"{plain} is no git checkout"
    assert "dirty = true" in error.hint
    seen = look(plain, dirty=True)
    assert [(file.path, file.mode) for file in seen.files] == [
        ("a", stat.S_IFLNK | 0o777),
        ("b", stat.S_IFDIR | 0o755),
        ("b/x", stat.S_IFREG | 0o755),
    ]
    assert (seen.commit, seen.differing) == ("", ())
    before = seen.sha256
    (plain / "b/x").write_text("y")
    assert look(plain, dirty=True).sha256 != before


def test_a_checkout_in_which_nothing_is_tracked_is_named(tmp_path: Path) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    git(place, "init", "-q")
    assert failure(place).message == f"git tracks no file in {place}"
    (place / "new").write_text("new")
    git(place, "add", "new")
    assert (look(place).commit, look(place).differing) == ("", ("new",))


def test_a_repository_within_is_taken_by_dirty_as_what_it_tracks(checkout: Path) -> None:
    repository(checkout / "nested", own="own\n")
    assert "nested/own" not in names(look(checkout))
    assert "nested/own" in names(look(checkout, dirty=True))


def test_the_environment_of_a_hook_leads_nowhere_else(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = repository(tmp_path / "other", other="other\n")
    before = look(checkout)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert look(checkout) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_user_is_explained(checkout: Path) -> None:
    for path in (checkout, checkout / ".git"):
        os.chown(path, 12345, 12345)
    error = failure(checkout)
    assert "belongs to another user" in error.message
    assert error.hint == f"if you do: git config --global --add safe.directory {checkout}"
    git(checkout.parent, "config", "--global", "--add", "safe.directory", str(checkout))
    assert "readme" in names(look(checkout))


def test_without_git_there_is_a_sentence(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "git is not installed" in failure(checkout).message


def test_a_conflict_goes_in_as_it_lies(checkout: Path) -> None:
    git(checkout, "checkout", "-qb", "theirs")
    (checkout / "readme").write_text("theirs\n")
    git(checkout, "commit", "-qam", "theirs")
    git(checkout, "checkout", "-q", "-")
    (checkout / "readme").write_text("ours\n")
    git(checkout, "commit", "-qam", "ours")
    subprocess.run(["git", "-C", str(checkout), "merge", "-q", "theirs"], check=False, capture_output=True)
    seen = look(checkout)
    assert names(seen).count("readme") == 1
    assert seen.differing == ("readme",)
    assert next(f.mode for f in seen.files if f.path == "readme") == stat.S_IFREG | 0o644
