"""Places of labgrid: acquired, asked for their serial port, released.

labgrid's own client does the work, as a program in a separate environment: labgrid needs a fork of pyserial
that installs the same module. The client's words are those of labgrid 26.
"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.core.errors import ConfigError, HarnessError, InfraError
from harness.machine.board.power import run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.machine.board.document import Labgrid

_HINT = "try it by hand: `{client} --place {place} show`; the board's table [labgrid] says whom we ask"
_HOLDER = Path(__file__).with_name("place_holder.py")
_ACQUIRED = re.compile(r"^ *acquired: (?P<holder>\S+/\S+)$", re.MULTILINE)  # HOST/USER, or None


@contextmanager
def acquired(place: Labgrid) -> Iterator[None]:
    """Hold a place; a separate process releases it, also when this one is killed.

    A place that this user has acquired on this host before, by hand, is used and stays acquired.

    Raises:
        ConfigError: There is no such place, or labgrid's client is not there.
        InfraError: Another user has it, the coordinator cannot be reached, or it cannot be released.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-IS", str(_HOLDER), str(place.limit), *place.command()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is not for it
    )
    assert keeper.stdout is not None  # noqa: S101 - it is a pipe
    try:
        given = bool(keeper.stdout.readline())
        if not given:
            _use_all_the_same(place, keeper.communicate()[1])
        yield
    except BaseException:
        keeper.communicate()  # the end of its input is what it waits for
        raise
    problem = keeper.communicate()[1]
    if given and keeper.returncode:
        hint = _hint(place)
        raise InfraError(f"labgrid's place {place.place} was not released: {_said(problem)}", hint=hint)


def address(place: Labgrid, speed: int) -> str:
    """Where an acquired place shares its serial port, for pyserial, if that has the board's speed in baud."""
    import yaml

    said = run(place.command("env"), place.limit, "client of labgrid", _hint(place))
    [target] = yaml.safe_load(said)["targets"].values()
    found: dict[str, dict[str, Any]] = {
        values.get("name", kind): values
        for resource in target["resources"]
        for kind, values in resource.items()
        if kind == "NetworkSerialPort"
    }
    wanted = [name for name in found if name == (place.port or name)]
    if len(wanted) != 1:
        names = ", ".join(found) or "none"
        what = f"{place.port or 'one serial port'}, but these: {names}"
        hint = "the key labgrid.port chooses one by its name"
        raise ConfigError(f"labgrid's place {place.place} has not {what}", hint=hint)
    port = found[wanted[0]]
    if not port.get("port"):
        message = f"labgrid's exporter does not share the serial port of place {place.place} at the moment"
        raise InfraError(message, hint="is the adapter plugged in there?")
    host = f"[{port['host']}]" if ":" in port["host"] else port["host"]
    if port.get("protocol", "rfc2217") == "rfc2217":
        # Servers do not acknowledge lines that a port does not have.
        return f"rfc2217://{host}:{port['port']}?ign_set_control"
    if port.get("speed", speed) != speed:  # only the exporter can change it
        raise ConfigError(
            f"labgrid's place {place.place} has its serial port at {port['speed']} baud, "
            f"and the board's file says {speed}",
            hint="make the key serial.speed and labgrid's exporter say the same",
        )
    return f"socket://{host}:{port['port']}"


def holder(place: Labgrid) -> str:
    """The holder of a place, as HOST/USER; "" if it is free."""
    said = run(place.command("show"), place.limit, "client of labgrid", _hint(place))
    found = _ACQUIRED.search(said)
    return found["holder"] if found else ""


def _use_all_the_same(place: Labgrid, refused: str) -> None:
    """Say why a place was not given to us, unless this user has it already."""
    try:
        run(place.command("env"), place.limit, "client of labgrid")
    except HarnessError:
        raise _refusal(place, refused) from None


def _refusal(place: Labgrid, said: str) -> HarnessError:
    what = _said(said)
    if "cannot run" in what:
        return ConfigError(
            f"labgrid's client {what}",
            hint="install it in an environment of its own, and give its path in the key labgrid.client "
            "(docs/boards.md)",
        )
    kind = ConfigError if re.search("matches (nothing|multiple)", what) else InfraError
    return kind(f"labgrid does not give us the place {place.place}: {what}", hint=_hint(place))


def _said(text: str) -> str:
    """What labgrid's client said last, without its own name."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no word about it"]
    return re.sub(r"^(?:\S*labgrid-client: |Server error: )?(?:Error: )?", "", lines[-1]).rstrip(".")


def _hint(place: Labgrid) -> str:
    return _HINT.format(client=place.client[0], place=place.place)
