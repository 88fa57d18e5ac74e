"""Disk images: an ext4 filesystem made without root and with the same bits every time.

`mke2fs -d` fills the filesystem from a directory, with the owners and times of the files there, which are
those of whoever unpacked them. `debugfs` then sets owners, modes and times inode by inode and makes the
device nodes, so that the image does not tell who built it, when, or where.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ConfigError, command_failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.image.tree import Entry

# Not the host's defaults, which change from release to release: the same bits everywhere, and nothing that
# Linux 4.9 cannot mount.
_FEATURES = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,"
    "huge_file,dir_nlink,extra_isize,metadata_csum"
)
_FILESYSTEM_ITSELF = 4 << 20  # bytes that even an empty filesystem takes, with its journal
_NAMESPACE = uuid.UUID("6f1d6b0e-5a0c-5a3e-9d2f-0d7b6c1e4a55")  # of the UUIDs that we derive from names


def write_ext4(
    entries: Sequence[Entry], image: Path, *, size: int, label: str, work: Path, mtime: int = 0
) -> None:
    """Write a whole-disk ext4 image that holds these entries.

    Args:
        entries: The tree, sorted by path.
        image: The file to write; sparse.
        size: Size of the image in bytes.
        label: Label of the filesystem; UUID and hash seed are derived from it.
        work: An empty directory for the tree on its way into the image.
        mtime: Time of all files and of the filesystem, in seconds since 1970.

    Raises:
        ConfigError: The content does not fit, or mke2fs or debugfs is not installed.
        InfraError: mke2fs or debugfs failed.
    """
    tree = work / "tree"
    _stage(entries, tree)
    with image.open("wb") as file:
        file.truncate(size)
    identity = str(uuid.uuid5(_NAMESPACE, label))
    now = str(max(mtime, 1))
    # e2fsprogs 1.47.1 and newer prefers the second clock; the host's mke2fs.conf has no say.
    environment = {"E2FSPROGS_FAKE_TIME": now, "SOURCE_DATE_EPOCH": now, "MKE2FS_DETERMINISTIC": "1"}
    environment |= {"MKE2FS_CONFIG": os.devnull}
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", _FEATURES, "-b", "4096", "-I", "256", "-i", "16384"]
    make += ["-L", label, "-U", identity, "-m", "0"]
    make += ["-E", f"root_owner=0:0,hash_seed={identity},lazy_itable_init=0,lazy_journal_init=0"]
    make += ["-d", str(tree), str(image)]
    result = _run(make, environment)
    if result.returncode != 0:
        needed = sum(path.lstat().st_size for path in tree.rglob("*"))
        # mke2fs has many words for it; whatever it said, this cannot have fitted.
        if size < needed * 1.1 + _FILESYSTEM_ITSELF:
            raise ConfigError(
                f"the disk image {label} of {size >> 20} MiB is too small for {needed >> 20} MiB of files",
                hint="raise the image's size in the recipe; ext4 needs about a tenth for itself",
            )
        raise command_failed(make, result.returncode, result.stderr)
    shutil.rmtree(tree)
    script = work / "debugfs.commands"
    script.write_bytes(b"".join(os.fsencode(f"{line}\n") for line in _inode_commands(entries, mtime)))
    edit = ["debugfs", "-w", "-f", str(script), str(image)]
    result = _run(edit, environment)
    # debugfs ends with 0 whatever happens; on stderr it says its version and then what went wrong.
    problems = "\n".join(result.stderr.splitlines()[1:])
    if result.returncode != 0 or problems:
        raise command_failed(edit, result.returncode, problems)


def _stage(entries: Sequence[Entry], tree: Path) -> None:
    tree.mkdir()
    for entry in entries:
        path = tree / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.is_directory:
            path.mkdir(exist_ok=True)
        elif entry.is_symlink:
            path.symlink_to(entry.target)
        elif entry.is_file:
            if isinstance(entry.content, Path):
                shutil.copyfile(entry.content, path)
            else:
                path.write_bytes(entry.content)


def _inode_commands(entries: Sequence[Entry], mtime: int) -> Iterator[str]:
    """Commands for debugfs: device nodes, and what `mke2fs -d` took from the staging tree."""
    when = f"@{mtime}"
    paths = {parent for entry in entries for parent in _parents(entry.path)}
    modes = dict.fromkeys(paths, stat.S_IFDIR | 493)
    modes |= {entry.path: entry.mode for entry in entries}
    owners = {entry.path: (entry.uid, entry.gid) for entry in entries}
    for entry in entries:
        if entry.is_device:
            parent, _, name = entry.path.rpartition("/")
            kind = "c" if stat.S_ISCHR(entry.mode) else "b"
            yield f'cd "/{parent}"'
            yield f'mknod "{name}" {kind} {entry.device[0]} {entry.device[1]}'
    modes |= {"": stat.S_IFDIR | 0o755, "lost+found": stat.S_IFDIR | 0o700}
    for path, mode in sorted(modes.items()):
        uid, gid = owners.get(path, (0, 0))
        fields: Mapping[str, str] = {
            "mode": f"0{mode:o}",
            "uid": str(uid),
            "gid": str(gid),
            "atime": when,
            "ctime": when,
            "mtime": when,
            "crtime": when,
        }
        for field, value in fields.items():
            yield f'set_inode_field "/{path}" {field} {value}'


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    # Administrators' programs are not on every user's PATH.
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    program = shutil.which(command[0], path=path)
    if program is None:
        raise ConfigError(f"{command[0]} is not installed", hint="install e2fsprogs")
    return subprocess.run(
        [program, *command[1:]],
        env={**os.environ, **environment, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
