"""Gives files of a checkout the content that was committed.

A file that git calls unchanged can have other content than its commit: line ends, encodings and filters make
it. Where its length or an attribute says so, the file is compared, and its content taken from git's objects.
The commands are those of git-check-attr(1) and git-cat-file(1).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, HarnessError, command_failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path


def git(directory: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git says, when it is given something to read."""
    result = ask(directory, *arguments, given=given)
    if result.returncode != 0:
        raise refusal(directory, result)
    return result.stdout


def ask(directory: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What git says, whether or not it ended with an error."""
    if shutil.which("git") is None:
        raise ConfigError("git is not installed, and it knows what belongs to a checkout", hint="install git")
    # The caller may be git itself: in a hook, it points to a repository of its own.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(directory), *arguments]
    return subprocess.run(
        command, env={**clean, "LC_ALL": "C"}, input=given, capture_output=True, check=False
    )


def submodules_hint(tree: Path, *paths: str) -> str:
    """How the submodules of a tree are had; where git knows nothing about the tree, without git."""
    if (tree / ".git").exists():
        return f"git -C {tree} submodule update --init {' '.join(paths) or '--recursive'}"
    return f"{tree} has no .git, as archives of sources have none: unpack there what the submodules contain"


def refusal(directory: Path, result: subprocess.CompletedProcess[bytes]) -> HarnessError:
    """The error for people when git ended with one."""
    stderr = os.fsdecode(result.stderr)
    if "dubious ownership" in stderr:
        message = f"git does not trust the checkout {directory}, because it belongs to another user"
        return ConfigError(message, hint=f"if you do: git config --global --add safe.directory {directory}")
    return command_failed(result.args, result.returncode, stderr)


_ENCODING = "working-tree-encoding"
_SHA256_DIGITS = 64
_LFS_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:.*\n)*?oid sha256:([0-9a-f]{64})\n"
)


class CheckedOut(msgspec.Struct, frozen=True):
    """A file, link or directory of a checkout."""

    path: str  # relative to the directory that was looked at; surrogate escapes for what is no UTF-8
    place: Path  # where it lies
    mode: int  # full `st_mode`: 0644 or 0755 for files, as git has it, not as the work tree says
    size: int = 0  # bytes of a file's content
    target: str = ""  # a symbolic link's target
    identity: str = ""  # hash of a file's content: git's blob id, or its SHA-256 where git knows none
    # the content as it was committed, where the one in the work tree has another form
    content: bytes | None = None
    is_pointer: bool = False  # whether it only names a content that Git LFS did not fetch


def as_committed(
    directory: Path, files: Iterable[CheckedOut], blobs: Mapping[str, str], differing: list[str]
) -> Iterator[CheckedOut]:
    """Give files whose form in the work tree is another one the content that was committed.

    A file of a filter other than Git LFS's goes in as it lies, and is named as differing: what the filter is
    for, such as decrypting, is not known here.
    """
    filters = _filters(directory, blobs)
    sizes = _sizes(directory, blobs.values())
    for file in files:
        blob = blobs.get(file.path)
        if blob is None or not stat.S_ISREG(file.mode):
            yield file
            continue
        if file.size == sizes[blob] and file.path not in filters and file.identity == blob:
            yield file
            continue
        content = file.place.read_bytes()
        committed = content if _blob_id(content, blob) == blob else git(directory, "cat-file", "blob", blob)
        of_lfs = _LFS_POINTER.match(committed) if filters.get(file.path) == "lfs" else None
        if committed == content:
            yield msgspec.structs.replace(file, identity=blob, is_pointer=of_lfs is not None)
        elif of_lfs and of_lfs[1].decode() == hashlib.sha256(content).hexdigest():
            yield msgspec.structs.replace(file, identity=of_lfs[1].decode())
        elif filters.get(file.path) or file.identity != blob:
            differing.append(file.path)
            yield msgspec.structs.replace(file, identity=hashlib.sha256(content).hexdigest())
        else:
            yield msgspec.structs.replace(file, size=len(committed), content=committed)


def _filters(directory: Path, paths: Iterable[str]) -> dict[str, str]:
    """The filters of files that have one, and "" for files with another encoding in the work tree."""
    given = b"".join(os.fsencode(path) + b"\0" for path in paths)
    output = git(directory, "check-attr", "-z", "--stdin", "filter", _ENCODING, given=given)
    said = (os.fsdecode(word) for word in output.split(b"\0") if word)
    found: dict[str, str] = {}
    for path, attribute, value in zip(said, said, said, strict=True):
        if value not in {"unspecified", "unset", ""}:
            found[path] = "" if attribute == _ENCODING else value
    return found


def _sizes(directory: Path, blobs: Iterable[str]) -> dict[str, int]:
    """The bytes of blobs."""
    given = "".join(f"{blob}\n" for blob in blobs).encode()
    lines = git(directory, "cat-file", "--batch-check=%(objectname) %(objectsize)", given=given).split()
    return {name.decode(): int(size) for name, size in zip(lines[::2], lines[1::2], strict=True)}


def _blob_id(content: bytes, like: str) -> str:
    """The id of a content as a blob, by the hash that made another id."""
    digest = hashlib.sha256() if len(like) == _SHA256_DIGITS else hashlib.sha1(usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content))
    digest.update(content)
    return digest.hexdigest()


def followed(files: Sequence[CheckedOut]) -> tuple[CheckedOut, ...]:
    """The same files with copies in place of symbolic links, as cp -L and Python's copytree make them."""
    known = {file.path: file for file in files}
    found: dict[str, CheckedOut] = {}
    for file in files:
        if not stat.S_ISLNK(file.mode):
            found[file.path] = file
            continue
        path = _goal(file, known)
        if path in known:
            found[file.path] = msgspec.structs.replace(known[path], path=file.path)
            continue
        below = [other for other in files if other.path.startswith(f"{path}/")]
        if not below or f"{file.path}/".startswith(f"{path}/"):
            raise ConfigError(f"the link {file.place} leads to {file.target}, which is not in the checkout")
        for other in followed(below):
            inner = f"{file.path}{other.path.removeprefix(path)}"
            found[inner] = msgspec.structs.replace(other, path=inner)
    return tuple(found[path] for path in sorted(found, key=os.fsencode))


def _goal(link: CheckedOut, known: Mapping[str, CheckedOut]) -> str:
    """Where a link of a snapshot leads, over further links: a path that need not be there."""
    file, seen = link, set[str]()
    while stat.S_ISLNK(file.mode) and file.path not in seen:
        seen.add(file.path)
        path = os.path.normpath(os.path.join(os.path.dirname(file.path), file.target))  # noqa: PTH118, PTH120
        if path not in known:
            return path
        file = known[path]
    return file.path if file.path not in seen else ""
