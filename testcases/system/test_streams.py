"""Every command with a standard output that fails, or without a working directory.

One sentence and exit code 6. The commands are those that the program has: a new one is tried, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from testcases.support.commands import Case, Ended, all_commands

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

COMMANDS = all_commands()
WRONG = ("full", "closed", "pipe", "gone")
WRONG_WITH_JSON = ("", "full")
JSON = {name for name, command in COMMANDS.items() for one in command.params if "--json" in one.opts}
MISSING = "no-such-\xff"  # a name that is no UTF-8
# Where what is not there says less than what is.
HELP = (("--help",), ("--version",), ("run", "--help"))
WORDS = {"flash": ("--list",), "report": ("--html", "report"), "prune": ("1G",)}
BEFORE = {"distfiles": ("--tree", "no-such")}  # options of a group

pytestmark = [
    pytest.mark.xdist_group("streams"),
    pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux"),
]


def words_for(name: str, *, as_json: bool) -> tuple[str, ...]:
    """A command line that ends soon: what its arguments name is not there."""
    group, *rest = name.split()
    command = (group, *BEFORE.get(group, ()), *rest)
    arguments = [one for one in COMMANDS[name].params if one.param_type_name == "argument"]
    given = WORDS.get(name, tuple(MISSING for _ in arguments))
    return (*command, *given, *(("--json",) if as_json else ()))


def cases() -> Iterator[Case]:
    yield from (Case(words, "full") for words in HELP)
    for name in COMMANDS:
        for wrong in ("", *WRONG):
            yield Case(words_for(name, as_json=False), wrong)
            if name in JSON and wrong in WRONG_WITH_JSON:
                yield Case(words_for(name, as_json=True), wrong)


def run_all(given: Sequence[Case], home: Path, wrapped: Sequence[str] = ()) -> dict[Case, Ended]:
    (home / "cases.json").write_bytes(msgspec.json.encode(given))
    (home / "work").mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "HARNESS_CACHE": str(home / "work/cache"),
        "HARNESS_DEBIAN_MIRROR": "file:/nonexistent",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    words = [
        sys.executable,
        "-m",
        "testcases.support.commands",
        str(home / "cases.json"),
        str(home / "ended.json"),
    ]
    subprocess.run(
        [*wrapped, *words], cwd=home / "work", env=environment, stdin=subprocess.DEVNULL, check=True
    )
    ended = msgspec.json.decode((home / "ended.json").read_bytes(), type=list[Ended])
    return dict(zip(given, ended, strict=True))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Case, Ended]:
    return run_all(list(cases()), tmp_path_factory.mktemp("streams"))


def assert_one_sentence(one: Ended) -> None:
    assert one.status not in {70, 120}
    assert "Traceback" not in one.stderr
    assert "Exception ignored" not in one.stderr
    sentences = [line for line in one.stderr.splitlines() if line.startswith("harness: ")]
    assert len(sentences) == 1


TRIED = [(name, wrong, False) for name in COMMANDS for wrong in WRONG]
TRIED += [(name, wrong, True) for name in JSON for wrong in WRONG_WITH_JSON if wrong]


@pytest.mark.parametrize(("name", "wrong", "as_json"), sorted(TRIED))
def test_one_sentence_and_the_exit_code(
    name: str, wrong: str, as_json: bool, ended: Mapping[Case, Ended]
) -> None:
    words = words_for(name, as_json=as_json)
    usual, one = ended[Case(words)], ended[Case(words, wrong)]
    if wrong == "gone":
        assert_one_sentence(one)
        assert (one.status, "the working directory is gone" in one.stderr) == (6, True)
    elif not usual.stdout:
        assert one.status == usual.status
    elif wrong == "pipe":
        assert one.status == 141
        assert "standard output" not in one.stderr
        assert "Traceback" not in one.stderr
    else:
        assert_one_sentence(one)
        assert (one.status, "the standard output" in one.stderr) == (6, True)


@pytest.mark.parametrize("words", HELP)
def test_help_on_a_full_standard_output(words: tuple[str, ...], ended: Mapping[Case, Ended]) -> None:
    one = ended[Case(words, "full")]
    assert_one_sentence(one)
    assert one.status == 6


@pytest.mark.parametrize("name", sorted(JSON))
def test_one_document_of_json(name: str, ended: Mapping[Case, Ended]) -> None:
    assert json.loads(ended[Case(words_for(name, as_json=True))].stdout)


FULL_DISK = """
mount -t tmpfs -o size=4M tmpfs "$PWD" && cd "$PWD" || exit 99
dd if=/dev/zero of=all bs=4k 2>/dev/null
exec "$@"
"""
WRITING = ("build relay", "lock relay", "script relay", "run relay --force", "kernel fetch debian-6.1-i686")


def test_full_disk(tmp_path: Path) -> None:
    given = [Case(tuple(words.split())) for words in WRITING]
    given += [Case(words_for(name, as_json=False)) for name in COMMANDS]
    wrapped = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK, "sh"]
    if subprocess.run([*wrapped, "true"], cwd=tmp_path, check=False).returncode:
        pytest.skip("this host gives no mount of our own")
    ended = run_all(given, tmp_path, wrapped)
    for case, one in ended.items():
        assert one.status in {0, 2, 6}, (case, one)
        assert "Traceback" not in one.stderr, case
    for case in given[: len(WRITING)]:
        assert_one_sentence(ended[case])
        assert (ended[case].status, f"{tmp_path}/work" in ended[case].stderr) == (6, True), ended[case]
