"""Arguments and options that several commands share."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.derivation.payload import DerivationRequest
    from harness.image.build import BuildOptions
    from harness.sources.debian import DebianSource


def size(text: str) -> int:
    """A size that is given with an option, such as 512M, in bytes."""
    from harness.core.sizes import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _recipe_names(incomplete: str) -> list[str]:
    from harness.recipe import recipe_files

    return [name for name in recipe_files() if name.startswith(incomplete)]


def kernel_names(incomplete: str) -> list[str]:
    """Names of the catalogue that begin so."""
    from harness.kernel import catalogue

    return [name for name in catalogue.kernel_files() if name.startswith(incomplete)]


Recipe = Annotated[
    str,
    typer.Argument(help="Recipe by name, or the path of a .toml file.", autocompletion=_recipe_names),
]
Kernel = Annotated[
    str | None,
    typer.Option(
        help="Seed kernel: a name of the catalogue, your own vmlinuz as PATH or PATH,modules=DIR, or the "
        ".toml file of one; with --tree also builder-hex0, which starts live-bootstrap without Linux.",
        autocompletion=kernel_names,
    ),
]
Second = Annotated[
    str | None,
    typer.Option(help="Kernel behind kexec, named like --kernel.", autocompletion=kernel_names),
]
Accelerator = Annotated[
    Literal["auto", "kvm", "tcg"], typer.Option(help="How the guest is executed; auto takes KVM if it works.")
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        "--store",
        help="Cache directory.  [default: $HARNESS_CACHE, or the user's cache directory]",
    ),
]
DrvFile = Annotated[
    Path | None,
    typer.Argument(metavar="[X.drv]", help="With the recipe derivation: the file HASH-NAME.drv."),
]
Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="The derivation's store: a directory, or what --export wrote.  [default: where the file lies]  "
        "With other recipes the same as --cache.",
        show_default=False,
    ),
]
Take = Annotated[
    list[str] | None,
    typer.Option(
        "--take",
        help="Take this output, or the outputs of this derivation, instead of building it; repeatable.",
    ),
]
Expect = Annotated[
    Path | None, typer.Option(help="File with the hashes that a derivation's outputs should have: PATH HASH.")
]
Daemon = Annotated[
    list[str] | None,
    typer.Option("--daemon", metavar="KEY=VALUE", help="What a derivation's builders are given; repeatable."),
]
Bare = Annotated[
    bool,
    typer.Option(
        "--bare", help="Start a derivation's builders without shell and environment: they need none."
    ),
]
OnlyCache = Annotated[
    Path | None,
    typer.Option(
        "--cache", help="Cache directory.  [default: $HARNESS_CACHE, or the user's cache directory]"
    ),
]
Lock = Annotated[Path | None, typer.Option(help="Repeat exactly the packages of this lock file.")]
Mirror = Annotated[
    str | None, typer.Option(help="Base address of a Debian archive to use instead of the machine's own.")
]
Refresh = Annotated[bool, typer.Option("--refresh", help="Fetch the newest package indexes first.")]
Dirty = Annotated[
    bool, typer.Option("--dirty", help="Put files that git does not track into images made from checkouts.")
]
Only = Annotated[
    Literal["initramfs", "disk", "iso", "usb", "dib"] | None,
    typer.Option(help="Images of this kind only, and what they need; usb is the hybrid image iso."),
]
Runs = Annotated[Path, typer.Option(help="Directory for run records.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def build_options(
    kernel: str | None,
    cache: Path | None,
    lock_file: Path | None,
    mirror: str | None,
    *,
    refresh: bool,
    second: str | None = None,
    only: str | None = None,
    dirty: bool = False,
) -> BuildOptions:
    """What the options of a command mean for a build."""
    from harness.image.build import BuildOptions

    return BuildOptions(
        cache=cache_directory(cache),
        kernel=kernel,
        second=second,
        lock=lock_file,
        mirror=mirror,
        refresh=refresh,
        only="iso" if only == "usb" else only,
        dirty=dirty,
    )


def derivation_request(
    path: Path | None,
    store: Path | None,
    take: list[str] | None = None,
    expect: Path | None = None,
    daemon: list[str] | None = None,
    *,
    bare: bool = False,
) -> DerivationRequest | None:
    """What the options say about a derivation; None where they name none."""
    from harness.derivation.payload import DerivationRequest

    if path is None:
        if take or expect or daemon or bare:
            raise typer.BadParameter(
                "they go with a derivation: harness run derivation X.drv",
                param_hint="'--take', '--expect', '--daemon', '--bare'",
            )
        return None
    pairs = [each.partition("=") for each in daemon or ()]
    return DerivationRequest(
        path=path,
        store=store,
        take=tuple(take or ()),
        expect=expect,
        daemon={key: value for key, _, value in pairs},
        bare=bare,
    )


def cache_directory(chosen: Path | None) -> Path:
    """The cache directory, absolute."""
    from harness.core import paths

    return chosen.absolute() if chosen else paths.cache_root()


@contextmanager
def debian(
    cache: Path | None, mirror: str | None, *, refresh: bool, lock_file: Path | None = None
) -> Iterator[DebianSource]:
    """Debian's archive as the options of a command name it, with its progress in the terminal."""
    from harness.cli.printing import err
    from harness.report.progress import TerminalProgress
    from harness.sources.debian import DebianSource
    from harness.sources.packages import read_lock
    from harness.store import Store

    lock = read_lock(lock_file) if lock_file else None
    with TerminalProgress(err()) as progress:
        store = Store(cache_directory(cache))
        yield DebianSource(store, progress, mirror=mirror, lock=lock, refresh=refresh)
