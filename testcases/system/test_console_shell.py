from __future__ import annotations

import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.recorder import Recorder
from harness.console.shell import Shell, ShellGone, ShellTimeout
from harness.console.window import Window
from harness.core.errors import InfraError
from testcases.support.consoles import NoisyTransport, PtyTransport
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from collections.abc import Iterator

BASH = ("bash", "--norc", "--noprofile", "-i")
DASH = ("dash", "-i")


@contextmanager
def entered(tmp_path: Path, transport: PtyTransport | NoisyTransport) -> Iterator[Shell]:
    with Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder:
        shell = Shell(recorder, 0)
        shell.enter(timeout=60)
        yield shell


@pytest.fixture(params=[BASH, DASH], ids=["bash", "dash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    with entered(tmp_path, PtyTransport(request.param, cwd=str(tmp_path))) as shell:
        yield shell


@pytest.mark.parametrize("status", [0, 3, 127, 255])
def test_status(shell: Shell, status: int) -> None:
    assert shell.run(f"exit {status}", timeout=200).status == status


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"no newline at the end",
        b"bash-5.2# $ > \n[    1.234567] fake: message\n@0:E:1-2\n",
        bytes(range(256)) * 3,
        b"\xff\n" * 3072,
        b"x" * 1536,
        b"y" * 1537,
    ],
    ids=["empty", "unterminated", "prompts", "binary", "latin", "one block", "two blocks"],
)
def test_output_is_exact(shell: Shell, tmp_path: Path, output: bytes) -> None:
    (tmp_path / "output").write_bytes(output)
    assert shell.run("cat output", timeout=200).output == output


def test_long_output(shell: Shell) -> None:
    reply = shell.run("i=0; while [ $i -lt 200 ]; do printf '%01000d\\n' $i; i=$((i+1)); done", timeout=60)
    assert reply.text.split() == [f"{i:01000d}" for i in range(200)]


def test_script_may_be_anything(shell: Shell) -> None:
    script = "# " + "'\"\\`$!%\t\n#ö" * 300 + "\necho \"it's $((6 * 7))\" 'a  b' \\\\ %s >&2\nexit 5\n"
    reply = shell.run(script, timeout=60)
    assert (reply.status, reply.text) == (5, "it's 42 a  b \\ %s\n")


def test_script_has_no_input_and_the_working_directory_of_the_shell(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("cat; pwd; cd /", timeout=200).text == f"{tmp_path}\n"
    assert shell.run("pwd", timeout=200).text == f"{tmp_path}\n"


def test_bash_runs_scripts_itself(tmp_path: Path) -> None:
    with entered(tmp_path, PtyTransport(BASH)) as shell:
        assert shell.run('echo "${BASH_VERSION%%.*}"; [[ a == a ]]', timeout=200).text.strip().isdigit()


def test_settings_are_taken(shell: Shell) -> None:
    assert {text for text in shell.warnings if "kernel" not in text} == set()


def test_offsets_hold_the_frames(shell: Shell, tmp_path: Path) -> None:
    first = shell.run("echo one", timeout=200)
    second = shell.run("echo two", timeout=200)
    raw = (tmp_path / "raw").read_bytes()
    assert first.start < first.end <= second.start < second.end
    assert raw[first.start : first.end].count(b":B\r\n") == 1


def test_slow_command_runs_once_however_often_it_is_asked_for(shell: Shell, tmp_path: Path) -> None:
    reply = shell.run("echo x >>count; sleep 3; echo done", timeout=200)
    assert reply.text == "done\n"
    assert (tmp_path / "count").read_text() == "x\n"
    assert shell.run("cat count", timeout=200).text == "x\n"


def encoder_that_dies(condition: str = "true") -> str:
    """A `base64` that prints only some of its lines on a condition, as if memory had run out then."""
    whole = 'command base64 "$@"'
    return f"base64() {{ if test $# = 0 && {{ {condition}; }}; then {whole} | head -n 3; else {whole}; fi; }}"


def test_an_encoder_that_dies_once_is_asked_again(shell: Shell, tmp_path: Path) -> None:
    shell.send_line(encoder_that_dies(f"mkdir {tmp_path}/died 2>/dev/null"))
    assert shell.run("printf '%02000d' 7", timeout=60).text == f"{7:02000d}"
    assert (tmp_path / "died").exists()


def test_an_encoder_that_always_dies_is_said(shell: Shell) -> None:
    shell.send_line(encoder_that_dies())
    with pytest.raises(InfraError, match="arrived damaged"):
        shell.run("printf '%02000d' 7", timeout=60)


def test_file_with_a_damaged_name_is_no_piece_of_a_script(shell: Shell) -> None:
    shell.run(f"echo ZWNobyBibGVzcw== >{shell.directory}/2.c000", timeout=200)
    assert shell.run("echo fine", timeout=200).text == "fine\n"


def test_restore_leaves_a_usable_shell_and_no_files(shell: Shell, tmp_path: Path) -> None:
    directory = shell.directory
    assert shell.run(f"test -d {directory}", timeout=200).status == 0
    shell.restore(window=Window(33, 111))
    size = (tmp_path / "raw").stat().st_size
    shell.send_line(f"test -d {directory} || echo gone; stty -a; echo TERM=$TERM\\;; echo end")
    wait_for(lambda: re.search(rb"\nend\r*\n.*[#$] $", (tmp_path / "raw").read_bytes()[size:]))
    after = (tmp_path / "raw").read_bytes()[size:].replace(b"\r", b"")
    assert b"gone\n" in after
    assert b" echo " in after
    assert b"rows 33; columns 111;" in after
    assert b"TERM=xterm-256color;" in after
    assert after.endswith((b"$ ", b"# "))


def wait_for(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("command", [BASH, DASH], ids=["bash", "dash"])
def test_kernel_messages_anywhere(tmp_path: Path, command: tuple[str, ...], seed: int) -> None:
    noisy = NoisyTransport(PtyTransport(command, cwd=str(tmp_path)), seed, kernel=1 / 200)
    check_under_noise(tmp_path, noisy)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("command", [BASH, DASH], ids=["bash", "dash"])
def test_all_kinds_of_noise(tmp_path: Path, command: tuple[str, ...], seed: int) -> None:
    inner = PtyTransport(command, cwd=str(tmp_path))
    noisy = NoisyTransport(inner, seed, kernel=1 / 2000, output=1 / 4000, typed=1 / 1000)
    check_under_noise(tmp_path, noisy)


def check_under_noise(tmp_path: Path, noisy: NoisyTransport) -> None:
    content = bytes(range(256)) * 120
    (tmp_path / "content").write_bytes(content)
    with entered(tmp_path, noisy) as shell:
        for number, status in enumerate((0, 3, 127), 1):
            reply = shell.run(f"echo x >>count; cat content; exit {status}", timeout=120)
            assert (reply.status, reply.output) == (status, content)
            assert (tmp_path / "count").read_text() == "x\n" * number
    assert noisy.damages > 10


@fewer(5)
@given(
    seed=st.integers(0, 2**32),
    noise=st.fixed_dictionaries(
        {
            "kernel": st.sampled_from([0, 1 / 3000, 1 / 300]),
            "output": st.sampled_from([0, 1 / 5000, 1 / 500]),
            "typed": st.sampled_from([0, 1 / 2000, 1 / 300]),
        }
    ),
    content=st.binary(max_size=3000),
    status=st.integers(0, 255),
)
def test_whatever_the_line_does_commands_run_once_and_answers_are_exact(
    seed: int, noise: dict[str, float], content: bytes, status: int
) -> None:
    """Or there is a clear word that it did not work."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "content").write_bytes(content)
        inner = PtyTransport(BASH, cwd=name)
        noisy = NoisyTransport(inner, seed, **noise, cuts=True)
        with Recorder(noisy, directory / "raw", directory / "index") as recorder:
            shell = Shell(recorder, 0)
            try:
                shell.enter(timeout=30)
                reply = shell.run(f"echo x >>count; cat content; exit {status}", timeout=30)
            except (ShellTimeout, InfraError):
                pass
            else:
                assert (reply.status, reply.output) == (status, content)
                assert (directory / "count").read_text() == "x\n"
        if (directory / "count").exists():  # also after a failure
            assert (directory / "count").read_text() == "x\n"


def test_damage_is_mended_without_running_the_command_again(tmp_path: Path) -> None:
    noisy = NoisyTransport(PtyTransport(BASH, cwd=str(tmp_path)), 3, output=1 / 3000)
    with entered(tmp_path, noisy) as shell:
        reply = shell.run("echo x >>count; head -c 100000 /dev/zero", timeout=120)
    assert reply.output == bytes(100_000)
    assert (tmp_path / "count").read_text() == "x\n"
    raw = (tmp_path / "raw").read_bytes()
    assert b" 24576 0 100000" in raw, "first in large blocks"
    assert b" 1536 0 100000" in raw, "then in small ones"


def test_hopeless_line_is_the_hosts_failure(tmp_path: Path) -> None:
    with entered(tmp_path, noisy := NoisyTransport(PtyTransport(BASH), 1)) as shell:
        noisy._output = 1 / 100
        with pytest.raises(InfraError, match="damaged"):
            shell.run("head -c 20000 /dev/zero", timeout=100)


def test_without_base64_and_cksum(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "od", "cat", "wc", "rm", "mkdir", "stty"):
        (programs / name).symlink_to(str(shutil.which(name)))
    command = ("/usr/bin/env", f"PATH={programs}", "/bin/dash", "-i")
    with entered(tmp_path, PtyTransport(command, cwd=str(tmp_path))) as shell:
        (tmp_path / "content").write_bytes(bytes(range(256)) * 30)
        reply = shell.run("cat content; printf '%s' '%s\\101'; exit 9", timeout=30)
    assert (reply.status, reply.output) == (9, bytes(range(256)) * 30 + b"%s\\101")


def test_nobody_answers(tmp_path: Path) -> None:
    transport = PtyTransport(("sh", "-c", "stty -echo; exec sleep 10000"))
    with (
        Recorder(transport, tmp_path / "raw", tmp_path / "index") as recorder,
        pytest.raises(ShellTimeout) as caught,
    ):
        Shell(recorder, 0).enter(timeout=1)
    assert caught.value.phase == "handshake"


def test_echo_alone_is_no_answer(tmp_path: Path) -> None:
    with (
        Recorder(PtyTransport(("cat",)), tmp_path / "raw", tmp_path / "index") as recorder,
        pytest.raises(ShellTimeout),
    ):
        Shell(recorder, 0).enter(timeout=2)


def test_command_that_hangs(shell: Shell) -> None:
    with pytest.raises(ShellTimeout) as caught:
        shell.run("sleep 100", timeout=2)
    assert caught.value.phase == "run"
    assert caught.value.offset > 0


def test_deadline_is_counted_on_the_given_clock(tmp_path: Path) -> None:
    """A guest that the host starves is given its time."""
    with Recorder(PtyTransport(BASH), tmp_path / "raw", tmp_path / "index") as recorder:
        now = 0.0
        shell = Shell(recorder, 0, clock=lambda: now)
        shell.enter(timeout=1)
        assert shell.run("sleep 2; echo done", timeout=1).text == "done\n"


def test_shell_that_dies(shell: Shell) -> None:
    with pytest.raises(ShellGone) as caught:
        shell.run("kill -9 $(cut -d ' ' -f 4 /proc/$PPID/stat)", timeout=200)
    assert caught.value.phase == "run"
