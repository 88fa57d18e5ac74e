"""The command line as people meet it: real processes, real exit codes, and no archive within reach."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from typer.core import TyperGroup
from typer.main import get_command

import harness
from harness.cli import program
from harness.kernel.catalogue import kernel_files
from harness.machine.command import PROGRAM
from harness.payload.era import era_files
from harness.recipe import recipe_files
from harness.sources.packages import Lock
from testcases.support.typed import typed
from testcases.unit.test_bzimage import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROGRAM_ITSELF = get_command(program())
assert isinstance(PROGRAM_ITSELF, TyperGroup)
COMMANDS = list(PROGRAM_ITSELF.commands)
MODULE = [sys.executable, "-m", "harness"]
INSTALLED = shutil.which("harness", path=os.path.dirname(sys.executable))  # noqa: PTH120 - links stay
needs_qemu = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"{PROGRAM} is not installed")

# An image that nothing has to be downloaded for.
RECIPE = """
summary = "an archive with a text"
plan = "own"
[debian]
suite = "bookworm"
architecture = "i386"
[kernels]
seed = "debian-6.1-i686"
[boot]
initramfs = "root"
command-line = ""
[[image]]
name = "root"
kind = "initramfs"
contents = [{ add = "text", path = "init", text = "hello", mode = 0o755 }]
"""
PLAN = """
summary = "nothing happens"
end = "guest-shutdown"
[[stage]]
name = "only"
title = "the only one"
budget = 1
silence = 1
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for all: accelerators are probed once."""
    return tmp_path_factory.mktemp("cache")


class User:
    """Somebody in a directory of their own, who types commands."""

    def __init__(self, home: Path, cache: Path) -> None:
        self.home = home
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "HARNESS_CACHE": str(cache),
            "HARNESS_DEBIAN_MIRROR": "file:/nonexistent",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        for name in ("recipes", "plans"):
            (home / "images" / name).mkdir(parents=True)
        (home / "images/recipes/own.toml").write_text(RECIPE)
        (home / "images/plans/own.toml").write_text(PLAN)
        (home / "vmlinuz").write_bytes(kernel())
        (home / "notes.txt").write_text("not a kernel\n" * 1000)
        (home / "garbage.json").write_text("garbage")
        (home / "other.json").write_text(Lock(()).to_json())

    def types(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What comes of a command, which is called in this process: a new one costs a quarter of a second."""
        return typed(*words, cwd=self.home, environment={**self.environment, **environment})

    def starts(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The same in a process of its own, where that is what counts."""
        return subprocess.run(
            [*MODULE, *words],
            cwd=self.home,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    def files(self) -> set[str]:
        return {path.name for path in self.home.iterdir()}

    def is_refused(self, *words: str, **environment: str) -> str:
        """What the user is told about a mistake; nothing else may come of it."""
        before = self.files()
        result = self.types(*words, **environment)
        assert result.returncode == 2, result
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert self.files() == before
        notes, found, told = result.stderr.rpartition("harness: ")
        assert found, result.stderr
        assert "harness: " not in notes
        assert len(told.splitlines()) <= 2, "a sentence and a hint"
        return told


@pytest.fixture
def user(tmp_path: Path, cache: Path) -> User:
    return User(tmp_path, cache)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("build relai", r"there is no recipe 'relai'\n  known recipes: .*\brelay\b"),
        ("build ./none.toml", r"cannot read \S+/none.toml: No such file"),
        ("build notes.txt", "there is no recipe 'notes.txt'"),
        ("lock relai", "there is no recipe 'relai'"),
        ("build --kernel debian-7", "there is no kernel 'debian-7'\n  known kernels: debian-"),
        ("build --kernel ./none", r"kernel \S+/none does not exist\n  give a bzImage"),
        ("build --kernel notes.txt", r"\S+/notes.txt is no x86 kernel image but a text\n"),
        ("build --kernel /dev/null", "kernel /dev/null is no regular file"),
        ("build --kernel .", r"there is no kernel '\.'"),
        ("build --kernel ./", r"kernel \S+ is no regular file"),
        (
            "build --cache /dev/null/cache",
            "cannot create the cache directory /dev/null/cache: Not a directory\n",
        ),
        (
            "build --lock none.json",
            r"cannot read the lock file none.json: No such file or directory\n  make one",
        ),
        ("build --lock garbage.json", "garbage.json is no lock file: .*\n  make one"),
        ("build --lock other.json", "the lock file does not say what .* is\n"),
        (
            "build images/recipes/own.toml --kernel vmlinuz --lock .",
            r"cannot read the lock file \.: Is a dir",
        ),
    ],
)
def test_what_a_user_gets_wrong_is_said_in_a_sentence(user: User, words: str, told: str) -> None:
    assert re.match(told, user.is_refused(*words.split()))


@needs_qemu
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", r"root\.cpio: /init is neither a program nor a script\n  .*; --force boots it all the same"),
        (
            "--force --memory 8M",
            r"8\.0 MiB of memory is too little: .* need 16\.\d MiB\n  give the guest more with --memory",
        ),
        (
            "--runs /dev/null/runs",
            "cannot create the run record directory /dev/null/runs: Not a dir.*\n  .*--runs",
        ),
        ("--kernel notes.txt", r"\S+/notes.txt is no x86 kernel image but a text\n"),
        ("--medium cd --append x", "a medium has its own command line, and --append cannot change it\n"),
    ],
)
def test_what_a_user_gets_wrong_about_a_run_leaves_no_record(user: User, words: str, told: str) -> None:
    run = ["run", "images/recipes/own.toml", "--kernel", "vmlinuz"]
    assert re.match(told, user.is_refused(*run, *words.split()))


@needs_qemu
def test_more_memory_than_the_host_has_leaves_no_record(user: User) -> None:
    run = ["run", "images/recipes/own.toml", "--kernel", "vmlinuz", "--force", "--memory", "900T"]
    assert re.match("a guest with 900.* does not fit this host", user.is_refused(*run))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[boot]", "[boot]\nspeed = 1", "key boot.speed is not known"),
        (
            'initramfs = "root"',
            "",
            "key boot.initramfs: the key is missing, and there is no disk",
        ),
        ('kind = "initramfs"', 'kind = "initramfs"\nsize = 1', r"key image\[0\].size is not known"),
        ('path = "init"', 'path = "/init"', r"key image\[0\].contents\[0\].path: '/init' is no plain path"),
        ("summary =", "summary", "images/recipes/own.toml is not valid TOML: .*line 2"),
    ],
)
def test_a_mistake_in_a_recipe_is_named_with_file_and_key(user: User, old: str, new: str, told: str) -> None:
    (user.home / "images/recipes/own.toml").write_text(RECIPE.replace(old, new))
    message = user.is_refused("build", "images/recipes/own.toml", "--kernel", "vmlinuz")
    assert message.startswith(f"{user.home}/images/recipes/own.toml")
    assert re.search(told, message)


def test_without_qemu_a_run_says_what_to_install(user: User) -> None:
    told = user.is_refused("run", PATH="/nonexistent")
    assert told.startswith(f"{PROGRAM} is not installed\n  install it (Debian: apt-get install ")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written_to_is_named(user: User) -> None:
    (user.home / "locked").mkdir(mode=0o555)
    told = user.is_refused("build", HARNESS_CACHE=str(user.home / "locked"))
    assert told.startswith(f"the cache directory {user.home}/locked is not writable")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("run --colour", "--colour"),
        ("run one two", "two"),
        ("rum", "rum"),
        ("run --memory banana", "--memory"),
        ("run --memory 0", "--memory"),
        ("run --patience never", "--patience"),
        ("run --patience 0", "--patience"),
        ("run --accelerator xen", "--accelerator"),
        ("build --cache", "--cache"),
    ],
)
def test_wrong_usage_names_the_word(user: User, words: str, named: str) -> None:
    before = user.files()
    result = user.types(*words.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert user.files() == before


@needs_qemu
def test_an_archive_that_is_away_is_the_hosts_fault(user: User) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not installed")
    result = user.types("build", "relay")
    assert result.returncode == 6
    assert "harness: `apt-get " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_build_says_what_was_built_and_where(user: User) -> None:
    build = ["build", "images/recipes/own.toml", "--kernel", "vmlinuz", "--cache", "own-cache"]
    result = user.types(*build)
    assert result.returncode == 0, result
    assert "building root" in result.stderr
    [path] = re.findall(r"^  path    (.*)$", result.stdout, re.MULTILINE)
    assert os.path.getsize(path) > 0  # noqa: PTH202 - a path as a user would paste it
    [image] = json.loads(user.types(*build, "--json").stdout)["images"]
    assert (image["name"], image["kind"], image["path"]) == ("root", "initramfs", path)


def test_a_lock_file_is_written_where_it_was_asked_for(user: User) -> None:
    lock = ["lock", "images/recipes/own.toml", "--kernel", "vmlinuz"]
    assert user.types(*lock).stdout == "own.lock.json: 0 packages\n"
    assert msgspec.json.decode((user.home / "own.lock.json").read_bytes(), type=Lock) == Lock(())
    assert user.types(*lock, "-o", "mine.json").returncode == 0
    assert (user.home / "mine.json").is_file()
    told = user.is_refused(*lock, "-o", "none/mine.json")
    assert told == "cannot write none/mine.json: No such file or directory\n  choose another with -o\n"


def test_an_error_is_json_too_for_those_who_asked_for_json(user: User) -> None:
    result = user.types("build", "relai", "--json")
    assert result.returncode == 2
    answer = json.loads(result.stdout)
    assert (answer["outcome"], answer["error"]) == ("CONFIG", "there is no recipe 'relai'")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(user: User, command: str) -> None:
    result = user.types(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert f"harness {command} [OPTIONS]" in result.stdout


def test_the_help_names_every_command(user: User) -> None:
    result = user.types("-h")
    assert result.returncode == 0
    assert set(COMMANDS) <= set(result.stdout.split())


def test_what_is_no_log_and_no_run_is_told_so(user: User) -> None:
    told = user.is_refused("verdict", "nothing.log", "--plan", "relay")
    assert told.startswith("nothing.log is no console log, and no run either: there are no run records")


def test_a_checkout_that_is_not_named_is_asked_for(user: User) -> None:
    told = user.is_refused("run", "live-bootstrap")
    assert told.startswith("live-bootstrap is a checkout of yours, and none is named\n  harness run")


@pytest.mark.parametrize("option", ["--kernel", "--second"])
def test_machines_without_kernels_are_given_none(user: User, option: str) -> None:
    told = user.is_refused("run", "--machine", "bwrap", option, "debian-6.1-i686")
    assert told.startswith(
        f"the machine bwrap has no kernel, firmware or saved states: it has no use for {option}"
    )


def test_the_version_is_the_packages(user: User) -> None:
    assert user.starts("--version").stdout == f"harness {harness.__version__}\n"


def test_the_installed_program_is_the_module() -> None:
    if INSTALLED is None:
        pytest.skip("the package is not installed")
    version = subprocess.run([INSTALLED, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"harness {harness.__version__}\n"


def test_list_names_everything_in_words_and_in_json(user: User) -> None:
    listed = json.loads(user.types("list", "--json").stdout)
    assert (set(listed["recipes"]), set(listed["kernels"])) == (set(recipe_files()), set(kernel_files()))
    assert set(listed["eras"]) == set(era_files())
    assert "qemu" in listed["machines"]
    words = user.types("list").stdout
    for kind in ("recipes", "kernels", "machines"):
        assert all(name in words and summary in words for name, summary in listed[kind].items())
    assert f"{len(listed['eras'])} eras" in words
    assert len(words.splitlines()) < 45
    eras = user.types("list", "--eras").stdout
    assert all(name in eras and summary in eras for name, summary in listed["eras"].items())


def test_list_shows_what_cannot_be_read_with_its_problem_and_goes_on(user: User) -> None:
    own = user.home / "kernels.d"
    own.mkdir()
    (own / "mine.toml").write_text('summary = "Mine"\n')
    listed = user.types("list")
    assert listed.returncode == 0
    (row,) = (line for line in listed.stdout.splitlines() if line.split()[0] == "mine")
    assert "✗" in row
    assert "mine.toml" in row
    assert "debian-6.1-i686" in listed.stdout
    problems = json.loads(user.types("list", "--json").stdout)["problems"]
    assert set(problems) == {"mine"}


def test_list_compares_a_checkout_with_each_era(user: User, tmp_path: Path) -> None:
    (tmp_path / "rootfs.py").touch()
    lacks = json.loads(user.types("list", "--tree", str(tmp_path), "--json").stdout)["lacks"]
    assert set(lacks) == set(era_files())
    assert "no steps/manifest" in lacks["live-bootstrap-2024-steps"]
    refused = user.types("run", "live-bootstrap", "--tree", str(tmp_path))
    assert (refused.returncode, len(refused.stderr) < 700) == (2, True)
    assert f"harness list --tree {tmp_path}" in refused.stderr


def test_doctor_speaks_json_and_its_exit_code_says_whether_all_is_well(user: User) -> None:
    result = user.types("doctor", "--json")
    findings = json.loads(result.stdout)["findings"]
    bad = [finding for finding in findings if finding["good"] is False]
    assert result.returncode == (2 if bad else 0)
    assert {"name", "good", "found", "remedy"} == set(findings[0])


def test_doctor_says_how_to_get_what_is_missing(user: User) -> None:
    result = user.types("doctor", PATH="/nonexistent")
    assert result.returncode == 2
    assert re.search(rf"✗ {PROGRAM} +missing .*\n +→ apt-get install .*qemu-system-x86", result.stdout)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["run", "--kernel", ""], set(kernel_files())),
        (["build", "re"], {name for name in recipe_files() if name.startswith("re")}),
        ([""], set(COMMANDS)),
    ],
)
def test_bash_completes_commands_recipes_and_kernels(user: User, typed: list[str], offered: set[str]) -> None:
    if INSTALLED is None:
        pytest.skip("the package is not installed")
    script = """
    source <(harness --show-completion; true)
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _harness_completion harness
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    result = subprocess.run(
        ["bash", "-c", script, "bash", "harness", *typed],
        env={**user.environment, "PATH": f"{os.path.dirname(INSTALLED)}:/usr/bin:/bin"},  # noqa: PTH120
        capture_output=True,
        text=True,
        check=False,
    )
    assert (set(result.stdout.split()), result.stderr) == (offered, "")


def on_a_terminal(user: User, words: list[str], environment: Mapping[str, str]) -> str:
    main, terminal = os.openpty()
    with subprocess.Popen(
        [*MODULE, *words],
        env={**user.environment, **environment},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    ) as process:
        os.close(terminal)
        said = b""
        try:
            while data := os.read(main, 4096):
                said += data
        except OSError:  # Linux reports the end of a terminal so
            pass
        os.close(main)
    assert process.returncode == 0
    return said.decode()


def test_colours_are_on_a_terminal_only(user: User) -> None:
    assert "\x1b[" in on_a_terminal(user, ["list"], {"TERM": "xterm-256color"})
    assert "\x1b[" not in on_a_terminal(user, ["list"], {"TERM": "dumb"})
    for command in (["list"], ["--help"], ["run", "--help"]):
        assert "\x1b[" not in user.starts(*command, TERM="xterm-256color").stdout
    refused = user.starts("build", "relai", TERM="xterm-256color")
    assert "\x1b[" not in refused.stdout + refused.stderr


def test_a_terminal_without_unicode_is_served_too(user: User) -> None:
    result = user.starts("doctor", PYTHONIOENCODING="ascii", PATH="/nonexistent")
    assert result.returncode == 2, result
    assert PROGRAM in result.stdout


def is_read(pipe: Path, process: subprocess.Popen[str]) -> int:
    """The writing end of a pipe that a process has begun to read from."""
    while process.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            time.sleep(0.01)
    pytest.fail(f"it ended with status {process.returncode}")


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """What a process says that is sent a signal until it ends.

    Python may miss the moment: a signal that comes just before a blocking read is seen when that returns.
    """
    for _ in range(20):
        process.send_signal(number)
        try:
            return process.communicate(timeout=1)[1]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    pytest.fail(f"it did not end on {number.name}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_stopped_says_so(user: User, number: signal.Signals) -> None:
    pipe = user.home / "pipe"
    os.mkfifo(pipe)
    command = [*MODULE, "build", "--lock", str(pipe)]
    with subprocess.Popen(
        command, cwd=user.home, env=user.environment, stderr=subprocess.PIPE, text=True
    ) as process:
        end = is_read(pipe, process)
        stderr = stopped(process, number)
        os.close(end)
    assert process.returncode == 130
    assert stderr.endswith(f"harness: stopped by {number.name}\n")
    assert "Traceback" not in stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_that_were_ignored_before_stop_nobody(user: User, number: signal.Signals) -> None:
    """As under nohup, and in the background of a script."""
    pipe = user.home / "pipe"
    os.mkfifo(pipe)
    ignoring = ["env", f"--ignore-signal={number.name.removeprefix('SIG')}", *MODULE]
    with subprocess.Popen(
        [*ignoring, "build", "--lock", str(pipe)],
        cwd=user.home,
        env=user.environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        end = is_read(pipe, process)
        for _ in range(3):
            process.send_signal(number)
            time.sleep(0.1)
        os.close(end)
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert "stopped" not in stderr


@pytest.mark.parametrize("debug", [False, True])
def test_a_mistake_of_ours_says_so_and_shows_its_traceback_on_request(user: User, debug: bool) -> None:
    script = """
import sys
from harness import cli, recipe
recipe.recipe_files = lambda: 1 / 0
cli.main(sys.argv[1:])
"""
    words = ["--debug", "list"] if debug else ["list"]
    result = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=user.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("Traceback" in result.stderr) == debug
    if not debug:
        assert result.returncode == 70
        first, hint = result.stderr.splitlines()
        assert first.startswith("harness: a mistake of ours: ZeroDivisionError: division by zero (")
        assert "report" in hint
