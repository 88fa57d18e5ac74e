"""Roots of diskimage-builder: programs, namespaces and logs of a build."""

from __future__ import annotations

import os
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.image import dib
from harness.image.dib import elements as dib_elements
from harness.image.dib import host as dib_host
from testcases.unit.test_dib import ELEMENTS, Item, kept, project_in


def test_gnu_tar_and_bsdtar_read_the_archive(tmp_path: Path) -> None:
    items = [Item("own"), Item("own/b", b"12"), Item("own/a", to="own/b", hard=True), Item("own/l", to="b")]
    kept(tmp_path, [*items, Item("own/x" * 70, b"long"), Item("own/\udcff", b"odd")])
    for program in ("tar", "bsdtar"):
        place = tmp_path / program
        place.mkdir()
        command = [program, "-C", place, "-xf", tmp_path / "root.tar", "--exclude=dev/*"]
        subprocess.run(command, check=True, capture_output=True)
        assert (place / "own/a").samefile(place / "own/b")
        assert (place / "own/l").readlink() == Path("b")
        assert (place / ("own/x" * 70)).read_bytes() == b"long"
        assert (place / "own/\udcff").read_bytes() == b"odd"
        assert (place / "own/b").stat().st_mtime == 0


def stand_in(place: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place.mkdir(exist_ok=True)
    (place / name).write_text(f"#!/bin/sh\n{script}\n")
    (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("unshare", "this host does not let root mount filesystems: not allowed$"),
        ("losetup", "this host has no free loop device: not allowed$"),
    ],
)
def test_a_host_that_is_too_narrow_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, message: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in tomllib.loads((ELEMENTS / "programs.toml").read_text()):
        refuses = "echo not allowed >&2; exit 1" if name == program else "exit 0"
        stand_in(tmp_path / "programs", name, refuses, monkeypatch)
    project = project_in(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        dib.require_host(project.given.recipe, project.image, tmp_path)
    assert "container" in caught.value.hint


def narrow() -> str:
    """Why namespaces cannot be made here; "" if they can."""
    if os.geteuid() != 0:
        return "needs root"
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"needs namespaces: {tried.stderr.strip()}"


needs_namespaces = pytest.mark.skipif(bool(narrow()), reason=narrow())


class Impatient(Quiet):
    """Stops when some of the work is done, as a signal would."""

    def update(self, fraction: float, _detail: str = "") -> None:
        if fraction:
            raise KeyboardInterrupt


def run(place: Path, script: str, *, task: Any = None) -> None:
    dib_host.run(
        ["sh", "-c", script],
        environment={"OWN": "1"},
        work=place,
        log=place / "log",
        where="own.toml: image[0]",
        task=task or Quiet(),
    )


def alive(marker: str) -> bool:
    """Whether a process with this word on its command line lives."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if marker.encode() in words.split(b"\0"):
            return True
    return False


@needs_namespaces
def test_the_log_is_kept_to_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIB_FOREIGN", "1")
    # What talks last is a background process, as diskimage-builder's filter of its output is.
    monkeypatch.setenv("USER", "somebody")
    run(tmp_path, 'echo "$OWN ${DIB_FOREIGN-none} $LC_ALL $USER"; umask; (sleep 0.3; echo last) &')
    assert (tmp_path / "log").read_text() == "1 none C.UTF-8 root\n0022\nlast\n"


@needs_namespaces
def test_a_failure_shows_its_end_and_where_all_of_it_is(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=r"(?s)ended with status 3:.*the last words") as caught:
        run(tmp_path, "seq 100; echo the last words; exit 3")
    assert str(tmp_path / "log") in caught.value.hint


@needs_namespaces
@pytest.mark.parametrize(
    ("said", "what", "key"),
    [
        ("E: Unable to locate package nonesuch", "nonesuch", "packages"),
        ("E: Couldn't find these debs: a b", "a b", "packages"),
        ("E: No such script: /usr/share/debootstrap/scripts/wookworm", "wookworm", "debian.suite"),
    ],
)
def test_what_the_archive_does_not_have_is_the_users_affair(
    tmp_path: Path, said: str, what: str, key: str
) -> None:
    with pytest.raises(ConfigError, match=f"the archive has no {what}$") as caught:
        run(tmp_path, f'echo "{said}"; exit 100')
    assert f"key {key}" in caught.value.hint


@needs_namespaces
def test_an_interruption_leaves_no_process_and_no_mount(tmp_path: Path) -> None:
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    script = f"""
mkdir mounted && mount -t tmpfs tmpfs mounted && touch mounted/inside
setsid sh -c 'touch up; sleep 300; :' {marker} >/dev/null 2>&1 &
while [ ! -e up ]; do :; done
echo 'I: Extracting things'
sleep 300
"""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, script, task=Impatient())
    assert (tmp_path / "up").exists()
    assert not alive(marker)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert list((tmp_path / "mounted").iterdir()) == [], "nobody else ever saw the mount"


@pytest.mark.parametrize("element", [path.name for path in ELEMENTS.iterdir() if path.is_dir()])
def test_our_elements_follow_the_conventions(element: str) -> None:
    place = ELEMENTS / element
    readme = (place / "README.rst").read_text()
    assert readme.splitlines()[:2] == [element, "=" * len(element)]
    dib_elements.closure([element], [ELEMENTS, dib_elements.upstream()], "x")
    for script in [*place.glob("*.d/*"), *place.glob("bin/*")]:
        if script.parent.name == "environment.d":
            continue
        assert script.stat().st_mode & 0o111, f"{script} would be ignored"
        assert "." not in script.name, f"{script} would be ignored"
        subprocess.run(["bash", "-n", script], check=True)
    assert "http" not in "".join(p.read_text() for p in place.rglob("*") if p.is_file()), "no addresses"
