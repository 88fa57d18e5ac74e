"""The process of the second build of `harness build --check`.

`python -m harness.image.reproducibility.worker` reads a `Request` from standard input and answers with an
`Answer`, both in JSON.
What only the process itself can change is changed here, before anything else of the harness is imported.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

_UMASK = 0o077


class Request(msgspec.Struct, frozen=True):
    """What is to be built again."""

    recipe: str  # the recipe's file
    kernel: str | None  # the seed kernel, by name or path; None for the recipe's
    only: str | None  # kind of image to build, instead of all
    dirty: bool  # whether files that git does not track get into images made from checkouts
    cache: str  # a cache directory of its own
    lock: str  # lock file with the packages of the first build


class Answer(msgspec.Struct, frozen=True):
    """What came of a second build."""

    images: dict[str, tuple[str, str]] = {}  # by name: the file, and its digest (`core.digest.digest_of`)
    surroundings: dict[str, str] = {}  # what `surroundings` says about the process that built it
    error: str = ""  # why nothing was built, in a sentence


def surroundings(cache: Path) -> dict[str, str]:
    """What a build must not depend on, as this process finds it, in words."""
    umask = os.umask(0)
    os.umask(umask)
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    listed = os.listdir(Path(__file__).parent)  # noqa: PTH208 - as this process sees it
    return {
        "umask": f"{umask:04o}",
        "time zone": f"UTC{time.strftime('%z')}",
        "locale": next((name for name in names if name), "C"),
        "clock": time.strftime("%Y-%m-%d", time.gmtime()),
        "user": f"{os.geteuid()}:{os.getegid()}",
        "home": os.environ.get("HOME", ""),
        "working directory": str(Path.cwd()),
        "store": str(cache),
        "file order": f"{listed[0]} before {listed[-1]}",
        "processors": str(len(os.sched_getaffinity(0))),
        "hash seed": os.environ.get("PYTHONHASHSEED", "random"),
    }


def main() -> None:
    """Answer the request on standard input."""
    os.umask(_UMASK)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    _list_backwards()
    answer = _rebuilt(msgspec.json.decode(sys.stdin.buffer.read(), type=Request))
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _rebuilt(request: Request) -> Answer:
    from harness.core.errors import HarnessError
    from harness.core.progress import Quiet
    from harness.image.build import BuildOptions, build
    from harness.recipe import load_recipe

    options = BuildOptions(
        cache=Path(request.cache),
        kernel=request.kernel,
        lock=Path(request.lock),
        only=request.only,
        dirty=request.dirty,
    )
    try:
        built = build(load_recipe(request.recipe), options, Quiet())
    except HarnessError as error:
        return Answer(error=error.message)
    images = {name: (str(image.path), image.digest) for name, image in built.images.items()}
    return Answer(images, surroundings(options.cache))


def _list_backwards() -> None:
    """Have this process see the files of every directory in another order: the reverse one."""
    scandir, listdir = os.scandir, os.listdir

    def listed(*arguments: Any) -> list[Any]:
        return listdir(*arguments)[::-1]

    def scanned(*arguments: Any) -> _Backwards:
        with scandir(*arguments) as entries:
            return _Backwards(list(entries)[::-1])

    vars(os).update(listdir=listed, scandir=scanned)


class _Backwards(Iterator[os.DirEntry[str]], AbstractContextManager["_Backwards"]):
    """What `os.scandir` gives, with the entries that it is given."""

    def __init__(self, entries: list[os.DirEntry[str]]) -> None:
        self._entries = iter(entries)

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        """Do nothing: the directory is closed already."""


if __name__ == "__main__":
    main()
