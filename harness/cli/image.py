"""`harness image`: look into images without mounting them, and without root."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import print_json
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from harness.formats.extract import Skipped
    from harness.formats.opened import OpenedImage
    from harness.formats.tree import Member
    from harness.image.checks.kernel_checks import Finding, Seed

app = typer.Typer(
    help="Look into images: cpio archives, disks, ISO images. Nothing is mounted, and root is not needed.",
    no_args_is_help=True,
)

ImageArgument = Annotated[Path, typer.Argument(help="Image: cpio, ext2/3/4, disk, qcow2, ISO or tar.")]
PatternArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Only what matches, or lies in a directory that matches; * matches slashes too."),
]


@app.command("ls")
def ls(
    image: ImageArgument,
    pattern: PatternArgument = None,
    long: Annotated[
        bool, typer.Option("-l", "--long", help="Mode, owner, size, time and links too.")
    ] = False,
    as_json: opts.Json = False,
) -> None:
    """List what is in an image, in the order of the image."""
    from harness.formats.tree import described, ls_line

    with _opened(image) as opened:
        found = _selected(opened, pattern or [])
        if as_json:
            members = [described(member) for member in found]  # an image that is damaged has no list
            print_json({"image": image, "format": opened.format, "members": members})
            return
        if long:
            _show(f"{image}: {opened.format}")
        for member in found:
            _show(ls_line(member) if long else member.path or ".")


@app.command("cat")
def cat(image: ImageArgument, path: Annotated[str, typer.Argument(help="Path of a file in it.")]) -> None:
    """Write a file of an image to the standard output; symbolic links are followed inside the image."""
    from harness.formats.tree import MemberTree

    with _opened(image) as opened:
        tree = MemberTree(opened.members(), opened.roots)
        member = tree.find(path)
        if member is None:
            raise ConfigError(f"{image} has no {path}", hint=_similar(path, tree.members))
        if not member.is_file:
            raise ConfigError(f"{path} in {image} is no file", hint="`harness image ls -l` says what it is")
        for block in member.blocks():
            sys.stdout.buffer.write(block)


@app.command("extract")
def extract(
    image: ImageArgument,
    pattern: PatternArgument = None,
    into: Annotated[Path, typer.Option("-C", "--directory", help="Where to; made if missing.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    devices: Annotated[bool, typer.Option("--devices", help="Make device nodes; only root can.")] = False,
) -> None:
    """Write the files of an image into a directory, and nothing outside of it."""
    from harness.formats.extract import extract as write

    skipped: list[Skipped] = []

    def note(member: Skipped) -> None:
        skipped.append(member)
        if not member.expected:
            _remark(f"left out {member.path}: {member.why}")

    with _opened(image) as opened:
        found = _selected(opened, pattern or [])
        written = write(found, into, note=note, force=force, devices=devices)
    if expected := sum(member.expected for member in skipped):
        nodes = "a device node" if expected == 1 else f"{expected} device nodes"
        _remark(f"left out {nodes}; root makes them with --devices")
    if bad := len(skipped) - expected:
        left_out = "an entry was" if bad == 1 else f"{bad} entries were"
        raise ConfigError(f"{left_out} left out of what {image} has; {written} are in {into}")


@app.command("diff")
def diff(
    a: ImageArgument,
    b: ImageArgument,
    times: Annotated[bool, typer.Option("--times", help="Compare modification times too.")] = False,
    raw: Annotated[
        bool, typer.Option("--bytes", help="Compare the bytes of the images themselves too.")
    ] = False,
    as_json: opts.Json = False,
) -> None:
    """Say what differs between two images, of any formats; ends with 0 for nothing, 1 for something."""
    from itertools import chain

    from harness.formats.diff import differences, file_difference

    different = False
    with _opened(a) as first, _opened(b) as second:
        found = differences(first.members(), second.members(), times=times)
        of_files = file_difference(a, b, list(first.parts()) if first.raw == a else ()) if raw else None
        if as_json:
            document = {"differences": list(found), "bytes": of_files}
            different = any(document.values())
            print_json(document)
        else:
            for line in chain(map(str, found), of_files.lines() if of_files else ()):
                different = True
                _show(line)
    if different:
        raise typer.Exit(1)


@app.command("verify")
def verify(
    images: Annotated[list[Path], typer.Argument(help="Images.", metavar="IMAGE...")],
    kernel: Annotated[
        str | None, typer.Option(help="Kernel that is to boot it: a name of the catalogue, or a vmlinuz.")
    ] = None,
    cpu: Annotated[str, typer.Option(help="QEMU's processor model that is to run the kernel.")] = "",
    init: Annotated[str, typer.Option(help="Path of the init, instead of /init or /sbin/init.")] = "",
    cache: opts.Cache = None,
    as_json: opts.Json = False,
) -> None:
    """Check images for what would only show as silence at boot; ends with 0 if all is well, else with 2."""
    from harness.formats.opened import open_image
    from harness.image.checks.kernel_checks import Finding
    from harness.image.checks.verify import verify as check

    seed = _seed(kernel, cache) if kernel else None
    document = []
    bad = False
    for path in images:
        format_ = "no image that can be opened"
        try:
            with open_image(path) as opened:
                format_ = opened.format
                findings = list(check(opened, kernel=seed, cpu=cpu, init=init))
        except ConfigError as error:
            findings = [Finding(False, error.message, error.hint)]
        bad = bad or any(finding.good is False for finding in findings)
        document.append({"image": str(path), "format": format_, "findings": _values(findings)})
        if not as_json:
            _show(f"{path}: {format_}")
            _show_findings(findings)
    if as_json:
        print_json({"images": document})
    if bad:
        raise typer.Exit(Outcome.CONFIG.exit_code)


@contextmanager
def _opened(image: Path) -> Iterator[OpenedImage]:
    """An image, and afterwards the remarks about what was read of it."""
    from harness.formats.opened import open_image

    with open_image(image) as opened:
        try:
            yield opened
        finally:
            for remark in dict.fromkeys(opened.remarks):
                _remark(f"{image}: {remark}")


def _show(text: str) -> None:
    """Print a line: on a terminal nothing that controls it, elsewhere the bytes of names as they are."""
    from harness.formats.names import printable

    shown = printable(text) if sys.stdout.isatty() else text
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(shown) + b"\n")


def _remark(text: str) -> None:
    from harness.formats.names import printable

    sys.stderr.write(printable(text) + "\n")


def _selected(opened: OpenedImage, patterns: Sequence[str]) -> Iterator[Member]:
    """The members that match; a pattern that nothing matches is the user's mistake."""
    from harness.formats.names import matches

    unused = set(patterns)
    for member in opened.members():
        matching = {pattern for pattern in patterns if matches(member.path, [pattern])}
        unused -= matching
        if matching or not patterns:
            yield member
    if unused:
        names = ", ".join(sorted(unused))
        hint = "`harness image ls` lists all names"
        raise ConfigError(f"nothing in {opened.path} matches {names}", hint=hint)


def _similar(path: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(path.lstrip("/"), known, n=3)
    return f"there is {', '.join(close)}" if close else "`harness image ls` lists all names"


def _seed(name: str, cache: Path | None) -> Seed:
    from harness.core.progress import Quiet
    from harness.image.checks.kernel_checks import seed
    from harness.kernel import catalogue
    from harness.sources.debian import DebianSource
    from harness.store import Store

    return seed(catalogue.obtain(name, DebianSource(Store(opts.cache_directory(cache)), Quiet())).image)


def _values(findings: Sequence[Finding]) -> list[dict[str, object]]:
    return [{"good": each.good, "what": each.what, "hint": each.hint} for each in findings]


def _show_findings(findings: Sequence[Finding]) -> None:
    for finding in findings:
        mark = {True: "✓", None: "·", False: "✗"}[finding.good]
        _show(f"  {mark} {finding.what}")
        if finding.good is False and finding.hint:
            _show(f"    → {finding.hint}")
