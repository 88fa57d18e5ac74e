"""Payloads under chroot and bwrap: what they get, how they end, and what is left of them: nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, TypeVar

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.image.factory import Build
from harness.image.ingredients import Artifact
from harness.machine import native, rootfs
from harness.machine.kinds.kind import MachineRequest
from harness.machine.kinds.native import Native
from harness.machine.protocol import EndCause, MachineKind
from harness.machine.spec import NativeCall, NativeSpec
from harness.recipe import load_recipe
from harness.sources.packages import Lock
from harness.store import Store
from testcases.support.mini_stage0 import PRODUCT, SAYS, seed, tree

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]


def unavailable(kind: str) -> str:
    """Why this host and user cannot have the machine."""
    try:
        native.check_host(MachineKind(kind))
    except ConfigError as error:
        return error.message
    return ""


KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(bool(why := unavailable(kind)), reason=why))
    for kind in ("chroot", "bwrap")
]
T = TypeVar("T")


@pytest.fixture
def harness(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line on a checkout, with a cache and records of its own."""

    def run(program: bytes, kind: str, *options: str) -> subprocess.CompletedProcess[str]:
        checkout = tmp_path / "tree"
        if not checkout.exists():
            tree(checkout, program)
        return subprocess.run(
            command(tmp_path, checkout, kind, *options), capture_output=True, text=True, check=False
        )

    return run


def command(place: Path, checkout: Path, kind: str, *options: str) -> list[str]:
    words = [
        sys.executable,
        "-m",
        "harness",
        "run",
        "stage0-posix",
        "--tree",
        str(checkout),
        "--machine",
        kind,
    ]
    return [*words, "--runs", str(place / "runs"), "--cache", str(place / "cache"), *options]


def record(place: Path) -> Path:
    [found] = [path.parent for path in (place / "runs").glob("*/run.json")]
    return found


def mounts() -> str:
    return Path("/proc/self/mountinfo").read_text("utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_runs_to_its_end_and_leaves_only_its_record(
    harness: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, kind: str
) -> None:
    before = mounts()
    done = harness(seed(), kind)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not applicable: kernel" in done.stdout
    run = record(tmp_path)
    assert SAYS.replace("\n", "\r\n") in (run / "console.raw").read_bytes().decode()
    sums = (
        subprocess.run(["sha256sum"], input=PRODUCT, capture_output=True, check=True)
        .stdout.decode()
        .split()[0]
    )
    assert (run / "manifest.sha256").read_text() == f"{sums}  /x86/bin/mini\n"
    assert mounts() == before
    assert [path.name for path in (tmp_path / "cache/roots").iterdir()] == ["gate"]
    status = subprocess.run(
        ["git", "-C", str(tmp_path / "tree"), "status", "-s"], capture_output=True, check=True
    )
    assert status.stdout == b""


@pytest.mark.parametrize("kind", KINDS)
def test_the_harness_compares_what_was_made_whatever_the_payload_says(
    harness: Callable[..., subprocess.CompletedProcess[str]], kind: str
) -> None:
    done = harness(seed(product=b"something else\n"), kind)
    assert done.returncode == 1
    assert "x86/bin/mini has the sha256" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_process_that_fails_is_a_failure(
    harness: Callable[..., subprocess.CompletedProcess[str]], kind: str
) -> None:
    done = harness(seed(status=3), kind)
    assert done.returncode == 1
    assert "exit status 3" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_that_no_kernel_starts_is_said(
    harness: Callable[..., subprocess.CompletedProcess[str]], kind: str
) -> None:
    done = harness(b"\x7fELF and no more", kind)
    assert done.returncode == 6
    assert "cannot start" in done.stdout
    assert "be for another processor" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_after_kill_9_the_payload_is_gone_and_the_next_run_cleans_up(
    harness: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, kind: str
) -> None:
    checkout = tree(tmp_path / "tree", seed(hangs=True))
    other = tmp_path / "cache/roots/somebody-elses"
    other.mkdir(parents=True)
    before = mounts()
    with subprocess.Popen(
        command(tmp_path, checkout, kind), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        [left] = wait_for(lambda: list((tmp_path / "cache/roots").glob("*/x86/bin/mini")))
        left = left.parents[2]
        payload = wait_for(lambda: processes_in(left))
        run.send_signal(signal.SIGKILL)
    wait_for(lambda: not processes_in(left) and not any(Path(f"/proc/{pid}").exists() for pid in payload))
    assert left.is_dir()
    assert mounts() == before
    shutil.rmtree(checkout)
    shutil.rmtree(tmp_path / "runs")
    done = harness(seed(), kind)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"removed the root {left.name}" in done.stderr
    assert sorted(path.name for path in (tmp_path / "cache/roots").iterdir()) == ["gate", "somebody-elses"]


def processes_in(root: Path) -> list[int]:
    """Processes whose root, as this namespace's kernel sees it, is a directory of ours."""
    inode = root.stat()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status = (place / "root").stat()
        except OSError:
            continue
        if (status.st_ino, status.st_dev) == (inode.st_ino, inode.st_dev):
            found.append(int(place.name))
    return found


def wait_for(look: Callable[[], T], seconds: float = 60.0) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)
    return found


def test_a_root_that_is_in_use_stays(tmp_path: Path) -> None:
    from harness.formats import cpio
    from harness.formats.tree import Entry

    archive = tmp_path / "a.cpio"
    with archive.open("wb") as file:
        cpio.write([Entry("bin/x", 0o100755, content=b"x"), Entry("locked", 0o040000)], file)
    notes: list[str] = []
    with rootfs.prepared(archive, tmp_path / "roots", notes.append) as first:
        with rootfs.prepared(archive, tmp_path / "roots", notes.append) as second:
            assert (first.path / "bin/x").read_bytes() == b"x"
            assert second.path != first.path
        assert first.path.is_dir()
        assert not second.path.exists()
    assert not first.path.exists()
    assert notes == []


def test_a_mount_below_a_root_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"
    (root / "mnt").mkdir(parents=True)
    monkeypatch.setattr(rootfs, "_mounts", lambda: [Path("/"), root / "mnt"])
    with pytest.raises(InfraError, match="something is mounted"):
        rootfs.remove(root)
    assert (root / "mnt").is_dir()


def test_chroot_without_root_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="needs root") as caught:
        native.check_host(MachineKind.CHROOT)
    assert "bwrap" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give rights up")
def test_a_root_that_may_not_make_namespaces_is_told_before_anything_runs() -> None:
    asks = "from harness.machine import native, protocol; native.check_host(protocol.MachineKind.CHROOT)"
    unprivileged = [
        "setpriv",
        "--bounding-set=-sys_admin",
        "--inh-caps=-sys_admin",
        sys.executable,
        "-c",
        asks,
    ]
    done = subprocess.run(unprivileged, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "ConfigError: the machine chroot cannot make namespaces here: unshare" in done.stderr


def test_a_missing_bwrap_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="bwrap is not installed"):
        native.check_host(MachineKind.BWRAP)


@pytest.mark.parametrize(
    ("name", "value", "on"),
    [
        ("kernel.unprivileged_userns_clone", "0", "=1"),
        ("user.max_user_namespaces", "0", "=15000"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "=0"),
    ],
)
def test_the_switch_that_forbids_user_namespaces_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, on: str
) -> None:
    stub = tmp_path / "bwrap"
    stub.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    stub.chmod(0o755)
    switch = tmp_path / "sys" / name.replace(".", "/")
    switch.parent.mkdir(parents=True)
    switch.write_text(f"{value}\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConfigError, match=rf"sysctl {name} = {value}") as caught:
        native.check_host(MachineKind.BWRAP, tmp_path / "sys")
    assert f"{name}{on}" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_an_option_about_a_kernel_is_refused(
    harness: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, kind: str
) -> None:
    for option in (["--append", "x"], ["--cpu", "max"], ["--until", "full"], ["--firmware", "uefi"]):
        done = harness(seed(), kind, *option)
        assert done.returncode == 2, option
        assert option[0] in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(bool(unavailable("chroot")), reason="needs root")
def test_a_machine_that_is_left_early_ends_its_payload(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "x86/bin").mkdir(parents=True)
    (root / "init").write_bytes(seed(hangs=True))
    (root / "init").chmod(0o755)
    spec = NativeSpec(MachineKind.CHROOT, root, (NativeCall(("/init",), {}),), 1 << 30)
    with native.NativeMachine(spec, root, os.open("/dev/null", os.O_RDONLY), tmp_path) as machine:
        machine.start()
        wait_for(lambda: (root / "x86/bin/mini").exists() and processes_in(root))
        assert machine.poll() is None
        assert machine.usage().cpu > 0
    wait_for(lambda: not processes_in(root))
    end = machine.poll()
    assert end is not None
    assert end.cause == EndCause.DIED


@pytest.mark.skipif(bool(why := unavailable("bwrap")), reason=why)
@pytest.mark.parametrize("status", [0, 3])
def test_a_call_follows_in_its_own_root_when_the_one_before_ended_well(tmp_path: Path, status: int) -> None:
    root = tmp_path / "root"
    for place, program in ((root, seed(status=status)), (root / "second", seed(says="the second one\n"))):
        (place / "x86/bin").mkdir(parents=True)
        (place / "init").write_bytes(program)
        (place / "init").chmod(0o755)
    calls = (NativeCall(("/init",), {}), NativeCall(("/init",), {}, "second"))
    spec = NativeSpec(MachineKind.BWRAP, root, calls, 1 << 30)
    said = b""
    with native.NativeMachine(spec, root, os.open("/dev/null", os.O_RDONLY), tmp_path) as machine:
        machine.start()
        while (piece := machine.transport.read(1 << 16)) != b"":
            said += piece or b""
            select([machine.transport], [], [])
        wait_for(lambda: machine.poll() is not None)
    end = machine.poll()
    assert end is not None
    assert (end.cause, end.detail) == (
        EndCause.GAVE_UP if status else EndCause.EXITED,
        f"exit status {status}",
    )
    assert (root / "x86/bin/mini").exists()
    assert (root / "second/x86/bin/mini").exists() == (status == 0)
    assert said.endswith(b"the second one\r\n") == (status == 0)


@pytest.mark.parametrize("kind", [MachineKind.CHROOT, MachineKind.BWRAP])
def test_one_call_after_the_other_is_for_bwrap(tmp_path: Path, kind: MachineKind) -> None:
    text = '[native]\nimage = "root"\nprogram = ["/init"]\nthen = [{ root = "inner", program = ["/init"] }]\n'
    image = '[[image]]\nname = "root"\nkind = "initramfs"\ncontents = []\n'
    (tmp_path / "own.toml").write_text(f'summary = "two calls"\nplan = "relay"\n{text}{image}')
    root = Artifact(
        name="root", kind="initramfs", path=tmp_path, size=0, digest="", manifest=tmp_path / "manifest"
    )
    built = Build(load_recipe(str(tmp_path / "own.toml")), {}, {"root": root}, Lock(()))

    def spec(kind: MachineKind) -> NativeSpec:
        return Native(kind).spec(built, MachineRequest(), Store(tmp_path), False)

    if kind == MachineKind.CHROOT:
        with pytest.raises(ConfigError, match=r"key native\.then: only bwrap"):
            spec(kind)
    else:
        assert [call.root for call in spec(kind).calls] == ["", "inner"]
