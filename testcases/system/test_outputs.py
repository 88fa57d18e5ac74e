"""What is taken out of a guest: a real bash on a pty is the guest."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.recorder import Recorder
from harness.console.shell import Shell
from harness.core.errors import ConfigError, InfraError
from harness.core.outcome import Outcome
from harness.stages import outputs
from harness.stages.events import Fetched, Produced
from harness.stages.outputs import Outputs, listed
from harness.stages.plan_file import load_plan
from harness.stages.verdict import Decided
from testcases.support.consoles import PtyTransport
from testcases.support.machines import (
    POWERED_OFF,
    RELAY,
    Audience,
    FakeMachine,
    follow,
    host_facts,
    programs,
    recorded_until,
    relay_on_this_host,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness.machine.protocol import End
    from testcases.support.machines import Guest

BASH = ("bash", "--norc", "--noprofile", "-i")
STAGE = RELAY.stages[0]


@pytest.fixture
def taking(tmp_path: Path) -> Iterator[Outputs]:
    (tmp_path / "record").mkdir()
    transport = PtyTransport(BASH, cwd=str(tmp_path))
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        shell = Shell(recorder, 0)
        shell.enter(timeout=60)
        yield Outputs(shell, None, tmp_path / "record", Audience())


def events(taking: Outputs) -> list[object]:
    assert isinstance(taking.listener, Audience)
    return list(taking.listener.events)


NAMES = [
    "plain",
    "it's",
    "two  words",
    "back\\slash",
    "new\nline",
    "ümlaut",
    "-dash",
    "sub/.hidden",
    "#hash",
    "a=b",
]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    for number, name in enumerate(NAMES):
        file = made / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_bytes(os.urandom(100 * number))
        file.chmod(0o600 + number % 7)
    (made / "link").symlink_to("plain")
    os.mkfifo(made / "pipe")
    return made


def test_produced_files_are_listed_so_that_other_programs_can_check_them(
    taking: Outputs, made: Path, tmp_path: Path
) -> None:
    taking.take(msgspec.structs.replace(STAGE, produced=(str(made), f"{made}/sub")), timeout=60)
    manifest = taking.directory / "manifest.sha256"
    lines = manifest.read_bytes().splitlines()
    assert len(lines) == len(NAMES)
    checked = subprocess.run(["sha256sum", "--strict", "-c", manifest], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    tree = (taking.directory / "manifest.mtree").read_text("ascii").splitlines()
    assert tree[0] == "#mtree"
    assert len(tree) == len(NAMES) + 1
    entry = next(line for line in tree if line.startswith(f".{made}/plain "))
    assert f" type=file mode=0600 size=0 sha256digest={'e3b0c442'}" in entry
    listed_by_tar = subprocess.run(
        ["bsdtar", "-tf", taking.directory / "manifest.mtree"], capture_output=True, check=True
    )
    assert len(listed_by_tar.stdout.splitlines()) >= len(NAMES)
    [event] = events(taking)
    assert isinstance(event, Produced)
    size = sum((made / name).stat().st_size for name in NAMES)
    assert (event.files, event.size, event.fast) == (len(NAMES), size, False)


def test_what_the_shell_keeps_itself_is_not_listed(taking: Outputs) -> None:
    own = taking.shell.directory
    taking.take(msgspec.structs.replace(STAGE, produced=(own,)), timeout=60)
    assert (taking.directory / "manifest.sha256").read_bytes() == b""
    assert (taking.directory / "manifest.mtree").read_bytes() == b"#mtree\n"


@pytest.mark.parametrize("hidden", [("find", "stat"), ("xargs", "sha256sum")])
def test_busybox_stands_in_for_what_the_guest_lacks(
    taking: Outputs, made: Path, hidden: tuple[str, ...]
) -> None:
    """A guest may have busybox alone: here, as function, since this host has the programs too."""
    lacks = "".join(f'case "$*" in *" {name}") return 1; esac\n' for name in hidden)
    script = f'command() {{ {lacks} builtin command "$@"; }}\nbusybox() {{ "$@"; }}\n{outputs._LIST}'
    script = script.replace("='busybox $program'", "=$program")
    with patch.object(outputs, "_LIST", script):
        taking.take(msgspec.structs.replace(STAGE, produced=(str(made),)), timeout=60)
    assert len((taking.directory / "manifest.sha256").read_bytes().splitlines()) == len(NAMES)


def test_guest_without_the_programs_fails_with_their_name(taking: Outputs, made: Path) -> None:
    script = "command() { return 1; }\nbusybox() { return 1; }\n" + outputs._LIST
    with patch.object(outputs, "_LIST", script), pytest.raises(Decided) as caught:
        taking.take(msgspec.structs.replace(STAGE, produced=(str(made),)), timeout=60)
    verdict = caught.value.verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, STAGE.name)
    assert verdict.reason.endswith("could not be listed: the guest has no find")
    assert verdict.hint
    assert verdict.evidence


def test_directory_that_is_not_there(taking: Outputs) -> None:
    with pytest.raises(Decided, match="the guest has no directory /no/such"):
        taking.take(msgspec.structs.replace(STAGE, produced=("/no/such",)), timeout=60)
    assert not (taking.directory / "manifest.sha256").exists()


def test_files_are_fetched_to_where_they_were(taking: Outputs, tmp_path: Path) -> None:
    contents = {"small": b"1234", "large": os.urandom(100_000), "none": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    fetches = tuple(f"{tmp_path}/{name}" for name in contents)
    taking.take(msgspec.structs.replace(STAGE, fetches=fetches), timeout=60)
    for name, content in contents.items():
        assert (taking.directory / f"files{tmp_path}" / name).read_bytes() == content
    found = events(taking)
    assert [(event.path, event.size) for event in found if isinstance(event, Fetched)] == [
        (f"{tmp_path}/{name}", len(content)) for name, content in contents.items()
    ]


def test_file_that_the_guest_does_not_have(taking: Outputs) -> None:
    with pytest.raises(Decided, match="the guest has no file /no/such") as caught:
        taking.take(msgspec.structs.replace(STAGE, fetches=("/no/such",)), timeout=60)
    assert caught.value.verdict.outcome == Outcome.FAIL
    assert not list(taking.directory.rglob("such"))


def test_record_that_cannot_be_written(taking: Outputs, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    broken = msgspec.structs.replace(taking, directory=tmp_path / "file")
    for keys in ({"produced": (str(tmp_path),)}, {"fetches": (f"{tmp_path}/file",)}):
        with pytest.raises(InfraError, match="cannot write the run record"):
            broken.take(msgspec.structs.replace(STAGE, **keys), timeout=60)


@given(
    st.lists(
        st.tuples(st.binary(min_size=1).filter(lambda name: b"\0" not in name), st.integers(0, 0o7777)),
        unique_by=lambda file: file[0],
    )
)
def test_list_is_read_as_it_was_written(files: list[tuple[bytes, int]]) -> None:
    digest = "5" * 64
    names = b"".join(b"/" + name + b"\0" for name, _ in files)
    stats = b"".join(b"%o %d\n" % (mode, size) for size, (_, mode) in enumerate(files))
    sums = b"".join(b"\\%s  x\n" % digest.encode() for _ in files)
    found = listed(stats + sums + names, [len(stats), len(sums), len(names)])
    assert [(file.path[1:], file.mode) for file in found] == sorted(files)
    assert all(file.sha256 == digest for file in found)


@pytest.mark.parametrize(
    ("data", "lengths"),
    [
        (b"", []),
        (b"x", [0, 0, 0]),
        (b"644 1\n/a\0", [6, 0, 3]),
        (b"/a\0", [0, 0, 3]),
        (b"644 1\nshort  /a\n/a\0", [6, 10, 3]),
    ],
)
def test_list_that_contradicts_itself(data: bytes, lengths: list[int]) -> None:
    with pytest.raises(InfraError, match="contradicts itself") as caught:
        listed(data, lengths)
    assert caught.value.hint


def test_in_a_run(tmp_path: Path) -> None:
    """The relay's plan lists and fetches what GCC made."""
    wrappers = programs(tmp_path / "bin")

    def script(guest: Guest) -> End:
        guest.play(recorded_until("sysc"))  # the prompt is the bash's own
        guest.bash(wrappers)
        return POWERED_OFF

    audience = Audience()
    result = follow(
        relay_on_this_host(tmp_path),
        FakeMachine(script),
        tmp_path,
        facts=host_facts(),
        listener=audience,
    )
    assert result.verdict.outcome == Outcome.PASS, result.verdict
    kinds = [type(event) for event in audience.events]
    assert (kinds.count(Produced), kinds.count(Fetched)) == (1, 1)
    program = tmp_path / "produced/status"
    assert (tmp_path / "files" / str(program).lstrip("/")).read_bytes() == program.read_bytes()
    assert str(program) in (tmp_path / "manifest.sha256").read_text()


WRONG = {
    'fetches = ["tmp/x"]': r"stage\[0\].fetches\[0\]",
    'fetches = ["/tmp/../x"]': r"stage\[0\].fetches\[0\]",
    'fetches = ["/"]': r"stage\[0\].fetches\[0\]",
    'fetches = ["/tmp/"]': r"stage\[0\].fetches\[0\]",
    'produced = ["tmp"]': r"stage\[0\].produced\[0\]",
    'produced = ["/tmp/.."]': r"stage\[0\].produced\[0\]",
    'produced = ["/"]\n[[stage]]\nname = "b"\ntitle = ""\nbudget = 1\nsilence = 1\nproduced = ["/"]': (
        r"stage\[1\].produced: only one stage"
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_paths_in_a_plan(tmp_path: Path, text: str) -> None:
    plan = tmp_path / "plan.toml"
    head = (
        'summary = ""\nend = "guest-shutdown"\n[[stage]]\nname = "a"\ntitle = ""\nbudget = 1\nsilence = 1\n'
    )
    plan.write_text(head + text)
    with pytest.raises(ConfigError, match=WRONG[text]):
        load_plan(plan)
    plan.write_text(head + 'fetches = ["/etc/..hidden", "/a"]\nproduced = ["/"]')
    assert load_plan(plan).takes_out
