"""`harness checkpoint`: saved machines that runs can go on from."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli import options as opts
from harness.cli.printing import print_json, print_wide, remark, say
from harness.core.outcome import Outcome

app = typer.Typer(
    help="Look after checkpoints: machines saved where a stage begins, for `run --from`.",
    no_args_is_help=True,
)

NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Checkpoints, as `ls` names them; the first letters will do.")
]


@app.command("ls")
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


@app.command("rm")
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


@app.command("verify")
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
