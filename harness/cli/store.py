"""`harness store` and `harness checkpoint`: list, tidy and verify the cache."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import err, print_json, print_wide, remark, say
from harness.core.outcome import Outcome

app = typer.Typer(help="Look after the cache: list it, tidy it up, check it.", no_args_is_help=True)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DEFAULT_AGE = "30d"


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no age; write it like 30d, 12h or 2w")
    return float(match[1]) * _SECONDS[match[2]]


OlderOption = Annotated[
    float | None,
    typer.Option(
        parser=_age,
        metavar="AGE",
        help="Remove what was not used for so long: a number with s, m, h, d or w.  "
        f"[default: {_DEFAULT_AGE}, unless --keep or --all says what goes]",
    ),
]
KeepOption = Annotated[
    int | None,
    typer.Option(
        parser=opts.size,
        metavar="SIZE",
        help="Remove the least recently used until so much is left, such as 10G.",
    ),
]


@app.command("ls")
def list_entries(cache: opts.Cache = None, as_json: opts.Json = False) -> None:
    """List what is in the cache, the least recently used first."""
    from rich.text import Text

    from harness.core.sizes import format_size
    from harness.report.text import table
    from harness.store import Store
    from harness.store.upkeep import contents

    entries = contents(Store(opts.cache_directory(cache)))
    if as_json:
        print_json({"entries": entries, "size": sum(entry.size for entry in entries)})
        return
    listed = table("kind", "name", ">size", ">age", ">last used")
    for entry in entries:
        used = "in use" if entry.in_use else _ago(entry.used)
        listed.add_row(entry.kind, Text(entry.name), format_size(entry.size), _ago(entry.built), used)
    print_wide(listed)
    say(f"{len(entries)} entries, {format_size(sum(entry.size for entry in entries))}")


@app.command("gc")
def collect(
    older_than: OlderOption = None,
    keep: KeepOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove everything that is not in use, apt's indexes too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    cache: opts.Cache = None,
    as_json: opts.Json = False,
) -> None:
    """Remove what was not used for long, and what crashes left; never what a running process uses."""
    from harness.core.sizes import format_size
    from harness.store import Store
    from harness.store.upkeep import tidy

    if older_than is None and keep is None and not everything:
        older_than = _age(_DEFAULT_AGE)
    gone = tidy(
        Store(opts.cache_directory(cache)),
        older_than=older_than,
        keep=keep,
        everything=everything,
        dry_run=dry_run,
    )
    total = sum(entry.size for entry in gone.entries)
    if as_json:
        print_json({"removed": gone.entries, "leftovers": gone.leftovers, "size": total, "dry_run": dry_run})
        return
    for entry in gone.entries:
        say(f"{entry.kind:<12} {entry.name}  {format_size(entry.size)}, used {_ago(entry.used)}")
    for path in gone.leftovers:
        say(f"{'left over':<12} {path}")
    verb = "would be removed" if dry_run else "removed"
    many = len(gone.entries)
    say(f"{many} {'entry' if many == 1 else 'entries'}, {format_size(total)} {verb}")


@app.command("verify")
def verify_entries(cache: opts.Cache = None, as_json: opts.Json = False) -> None:
    """Read everything and compare it with the hashes from when it was built; remove what is damaged."""
    from harness.report.progress import TerminalProgress
    from harness.store import Store
    from harness.store.upkeep import verify

    with TerminalProgress(err()) as progress:
        damaged = verify(Store(opts.cache_directory(cache)), progress)
    if as_json:
        print_json({"damaged": damaged})
    else:
        for found in damaged:
            say(f"{found.entry.kind} {found.entry.name} was damaged and is removed: {found.entry.path}")
            for problem in found.problems[:10]:
                say(f"  {problem}")
        say("they are built anew when they are next used" if damaged else "everything is as it was built")
    if damaged:
        raise typer.Exit(Outcome.FAIL.exit_code)


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    unit = next((unit for unit in ("w", "d", "h", "m") if seconds >= 2 * _SECONDS[unit]), "s")
    return f"{seconds / _SECONDS[unit]:.0f} {unit} ago"


checkpoint_app = typer.Typer(
    help="Look after checkpoints: machines saved where a stage begins, for `run --from`.",
    no_args_is_help=True,
)

NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Checkpoints, as `ls` names them; the first letters will do.")
]


@checkpoint_app.command("ls")
def list_checkpoints(cache: opts.Cache = None, as_json: opts.Json = False) -> None:
    """List the checkpoints, the oldest first."""
    from harness.core.sizes import format_size
    from harness.report.text import table
    from harness.run import checkpoints
    from harness.store import Store

    there = checkpoints.saved(Store(opts.cache_directory(cache)))
    if as_json:
        print_json({"checkpoints": there, "size": sum(one.size for one in there)})
        return
    listed = table("checkpoint", "recipe", "stage", ">after s", ">size", ">memory", "saved", "by run", "QEMU")
    for one in there:
        known, state = one.identity, one.state
        listed.add_row(
            one.id,
            str(known["recipe"]),
            state.boundary.stage,
            f"{state.seconds:.1f}",
            format_size(one.size),
            format_size(int(known["memory"])),
            state.saved,
            state.run,
            str(known["qemu"]),
        )
    print_wide(listed)


@checkpoint_app.command("rm")
def remove_checkpoints(
    names: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all that are not in use.")] = False,
    cache: opts.Cache = None,
) -> None:
    """Remove checkpoints; never those that a running process uses."""
    from harness.core.errors import ConfigError
    from harness.run import checkpoints
    from harness.store import Store
    from harness.store.upkeep import remove_entries

    if bool(names) == everything:
        hint = "name them as `harness checkpoint ls` does, or say --all"
        raise ConfigError("say which checkpoints are to go", hint=hint)
    store = Store(opts.cache_directory(cache))
    places = checkpoints.places(store)
    chosen = list(places) if everything else [checkpoints.named(store, name) for name in names or ()]
    gone = remove_entries(store, [places[name] for name in chosen])
    for name in chosen:
        say(f"{name} is removed" if places[name] in gone else f"{name} is in use, and stays")
    if len(gone) < len(chosen) and not everything:
        raise typer.Exit(Outcome.FAIL.exit_code)


@checkpoint_app.command("verify")
def verify_checkpoints(
    names: NamesArgument = None, cache: opts.Cache = None, as_json: opts.Json = False
) -> None:
    """Read checkpoints, all if none are named, and compare them with the hashes from when they were saved."""
    from harness.run import checkpoints
    from harness.store import Store, seal

    store = Store(opts.cache_directory(cache))
    places = checkpoints.places(store)
    chosen = [checkpoints.named(store, name) for name in names] if names else list(places)
    damage = {name: seal.damage(places[name]) for name in chosen}
    if as_json:
        print_json({"checkpoints": damage})
    for name, problems in () if as_json else damage.items():
        say(f"{name} {'is damaged: ' + '; '.join(problems) if problems else 'is as it was saved'}")
    if any(damage.values()):
        remark("  `harness checkpoint rm` removes what is damaged")
        raise typer.Exit(Outcome.FAIL.exit_code)
