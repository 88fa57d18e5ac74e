"""Writes the shell script that builds derivations, one after the other.

What a daemon gives to a builder is written out in it. The manual of Nix describes that under "Derivations",
Guix' under "Build Environment Setup".
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from harness.core.errors import ConfigError
from harness.core.paths import data_root
from harness.formats import store_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.derivation.replay import Replay
    from harness.formats.aterm import Derivation

_ODD = re.compile(r"[ \t\n\udc80-\udcff]")  # blanks, and bytes that are no text
_WORDS = 255  # of a line that the runner takes
_PLACEHOLDER = re.compile(r"/[0-9a-df-np-sv-z]{52}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class Daemon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a daemon would give to builders; `--daemon KEY=VALUE` changes it."""

    # where they build; `{name}` is that of the derivation's file
    directory: Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9{][A-Za-z0-9._/{}+-]*$")] = "/build"
    cores: _Number = 1  # NIX_BUILD_CORES
    uid: _Number = 1000  # their user, where the machine has others than root
    gid: _Number = 100  # their group
    hostname: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")] = "localhost"
    umask: Annotated[str, msgspec.Meta(pattern=r"^0[0-7]{3}$")] = "0022"  # in octal
    shell: bool = False  # whether there is a /bin/sh


_GUIX = Daemon("/tmp/guix-build-{name}-0", cores=0, uid=30001, gid=30000)  # noqa: S108 - the guest's


def daemon_of(store: str, given: Mapping[str, str]) -> Daemon:
    """The daemon of a store, with what the user says about it.

    Raises:
        ConfigError: There is no such key, or it has no such value.
    """
    usual = _GUIX if store.startswith("/gnu") else Daemon()
    try:
        return msgspec.convert(msgspec.to_builtins(usual) | dict(given), Daemon, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"--daemon: {error}",
            hint=f"the keys are {', '.join(Daemon.__struct_fields__)}; docs/derivations.md",
        ) from error


class Call(msgspec.Struct, frozen=True):
    """How a builder is called."""

    directory: str  # where it begins
    environment: Mapping[str, str]  # all of its environment
    program: str  # what is executed
    arguments: tuple[str, ...]  # its arguments, behind its name
    files: Mapping[str, str]  # texts that lie in the directory, by name


def call(path: str, derivation: Derivation, daemon: Daemon) -> Call:
    """What a daemon would execute for a derivation."""
    store, _, name = path.rpartition("/")
    top = daemon.directory.replace("{name}", name.partition("-")[2])
    places = {store_path.placeholder(output): each.path for output, each in derivation.outputs.items()}

    def filled(text: str) -> str:
        return _PLACEHOLDER.sub(lambda match: places.get(match[0], match[0]), text)

    environment = {
        "PATH": "/path-not-set",
        "HOME": "/homeless-shelter",
        "NIX_STORE": store,
        "NIX_BUILD_CORES": str(daemon.cores),
    }
    files: dict[str, str] = {}
    nix = store.startswith("/nix")
    given = derivation.environment
    if nix and "__json" in given:
        files = {name: filled(text) for name, text in _structured(path, derivation).items()}
        environment["NIX_ATTRS_JSON_FILE"] = f"{top}/.attrs.json"
        environment["NIX_ATTRS_SH_FILE"] = f"{top}/.attrs.sh"
    else:
        as_files = given.get("passAsFile", "").split() if nix else []
        for variable, value in given.items():
            if variable in as_files:
                file = f".attr-{store_path.base32(hashlib.sha256(variable.encode()).digest())}"
                files[file] = filled(value)
                environment[f"{variable}Path"] = f"{top}/{file}"
            else:
                environment[variable] = filled(value)
    environment |= dict.fromkeys(("NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"), top)
    if any(output.hash for output in derivation.outputs.values()):
        environment["NIX_OUTPUT_CHECKED"] = "1"
    if nix:
        environment |= {"NIX_LOG_FD": "2", "TERM": "xterm-256color"}
    arguments = tuple(map(filled, derivation.arguments))
    return Call(top, environment, filled(derivation.builder), arguments, files)


def _structured(path: str, derivation: Derivation) -> dict[str, str]:
    """The files that hold structured attributes: as JSON, and as bash can read them."""
    try:
        known = json.loads(derivation.environment["__json"])
    except ValueError as error:
        raise ConfigError(f"{path} has structured attributes that are no JSON: {error}") from error
    if not isinstance(known, dict):
        raise ConfigError(f"{path} has structured attributes that are no table")
    known["outputs"] = {name: output.path for name, output in derivation.outputs.items()}
    text = json.dumps(known, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    lines = (_declared(name, value) for name, value in sorted(known.items()) if _VARIABLE.fullmatch(name))
    return {".attrs.json": text, ".attrs.sh": "".join(lines)}


def _declared(name: str, value: Any) -> str:
    """A variable of bash; "" for what bash cannot hold."""
    if isinstance(value, list):
        words = [_word(each) for each in value]
        text = f"-a {name}=({''.join(f'{word} ' for word in words)})"
    elif isinstance(value, dict):
        words = [_word(value[key]) for key in sorted(value)]
        pairs = zip(map(_quoted, sorted(value)), words, strict=True)
        text = f"-A {name}=({''.join(f'[{key}]={word} ' for key, word in pairs)})"
    else:
        words = [_word(value)]
        text = f"{name}={words[0]}"
    return "" if None in words else f"declare {text}\n"


def _word(value: Any) -> str | None:
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int | float) and value == int(value):
        return str(int(value))
    return "''" if value is None else None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", r"'\''") + "'"


def script(replay: Replay, daemon: Daemon) -> str:
    """The script that builds all that is to be built."""
    words: dict[str, object] = {
        **msgspec.to_builtins(daemon),
        "root": replay.graph.root,
        "store": replay.graph.store,
        "count": len(replay.build),
        "inputs": "\n".join(f"#   {path}" for path in replay.inputs) or "#   (nothing)",
    }
    lines = [(data_root() / "images/derivations/head.sh").read_text("utf-8").rstrip()]
    for name, value in words.items():
        lines[0] = lines[0].replace(f"@{name.upper()}@", str(value))
    for number, path in enumerate(replay.build, start=1):
        derivation = replay.graph.derivations[path]
        wanted = call(path, derivation, daemon)
        lines.append(f"\nbegin {number} {shlex.quote(store_path.base(path))} {shlex.quote(wanted.directory)}")
        lines += [f"file {shlex.quote(name)} {_quoted(text)}" for name, text in wanted.files.items()]
        lines += ["ours", "busybox env -i \\"]
        given = sorted(wanted.environment.items())
        lines += [f"    {shlex.quote(name)}={_quoted(value)} \\" for name, value in given]
        program, name = shlex.quote(wanted.program), shlex.quote(store_path.base(wanted.program))
        lines.append(f"    $builder $as -x {program} -a {name} -- \\")
        lines += [f"    {_quoted(argument)} \\" for argument in wanted.arguments]
        lines.append('    </dev/null || fail "exit status $?"')
        lines.append(f"made {' '.join(shlex.quote(output.path) for output in derivation.outputs.values())}")
    return "\n".join([*lines, ""])


def steps(replay: Replay, daemon: Daemon) -> str:
    """The same for the runner of images/genesis, which knows neither shell nor environment.

    Raises:
        ConfigError: A builder is called with what the runner cannot give.
    """
    lines = []
    for number, path in enumerate(replay.build, start=1):
        wanted = call(path, replay.graph.derivations[path], daemon)
        words = (wanted.program, *wanted.arguments)
        odd = next((word for word in words if not word or _ODD.search(word)), None)
        if odd is not None or wanted.files or len(words) > _WORDS:
            what = f"the argument {odd!r}" if odd is not None else "files, or too many arguments"
            raise ConfigError(f"{path} has {what}, which the runner cannot give", hint="leave out --bare")
        lines += [f"= derivation: {number}/{len(replay.build)} {store_path.base(path)}", " ".join(words)]
    return "\n".join([*lines, ""])


def written(replay: Replay, daemon: Daemon, *, bare: bool) -> bytes:
    """What a run executes: the script, or with `bare` the steps."""
    text = steps(replay, daemon) if bare else script(replay, daemon)
    return text.encode("utf-8", "surrogateescape")
