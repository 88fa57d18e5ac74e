"""Roots by diskimage-builder, really made: the relay boots from one, and two builds are the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image import dib
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.recipe import Dib, load_recipe
from testcases.support.profiles import by_night
from testcases.support.runs import run_built

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.image.factory import Build

RECIPE = load_recipe("relay-dib")


def obstacle() -> str:
    """Why roots cannot be made here, in the product's own words; "" if they can."""
    image = RECIPE.image("root")
    assert isinstance(image, Dib)
    try:
        dib.require_host(RECIPE, image, Path())
    except ConfigError as error:
        return f"{error.message} ({error.hint})"
    return ""


pytestmark = [
    pytest.mark.skipif(bool(obstacle()), reason=obstacle()),
    pytest.mark.xdist_group("dib"),  # one after the other: they share what was built, and take a core each
]


def loop_devices_below(place: Path) -> list[str]:
    """Files below a directory that loop devices are attached to."""
    backing = Path("/sys/block").glob("loop*/loop/backing_file")
    return [file for path in backing if (file := path.read_text()).startswith(str(place))]


@pytest.fixture(scope="module")
def built(harness_cache: Path) -> Build:
    """All images of the relay with a root of diskimage-builder."""
    return build_recipe(RECIPE, BuildOptions(cache=harness_cache), Quiet())


def test_the_relay_passes_with_an_installed_root(built: Build, harness_cache: Path, tmp_path: Path) -> None:
    run = run_built(built, cache=harness_cache, runs=tmp_path)
    verdict = run.result.verdict
    assert verdict.outcome == Outcome.PASS, f"{verdict.reason}: {verdict.evidence}"


def installed(archive: Path) -> list[dict[str, str]]:
    """The packages in a root."""
    found: list[dict[str, str]] = json.loads(archive.with_name("installed.json").read_bytes())
    return found


def test_the_root_has_what_maintainer_scripts_make(built: Build) -> None:
    archive = built.images["root"].path
    with tarfile.open(archive) as tar:
        members = {info.name: info for info in tar}
    assert {"etc/passwd", "etc/ld.so.cache", "var/lib/dpkg/status"} <= set(members)
    assert members["usr/bin/sh"].linkname == "dash"
    assert members["etc/alternatives/awk"].linkname == "/usr/bin/mawk"
    assert (members["etc/shadow"].gid, members["etc/shadow"].mode) == (42, 0o640)
    assert members["usr/bin/su"].mode == 0o4755
    versions = {package["name"]: package["version"] for package in installed(archive)}
    assert {"gcc", "bash", "libc6-dev", "dpkg"} <= set(versions)
    assert all(versions.values())


def test_nothing_of_the_builder_is_in_the_root_or_on_the_host(built: Build, harness_cache: Path) -> None:
    content = built.images["root"].path.read_bytes()
    for trace in (str(harness_cache), "dib_build.", "in_target.d"):
        assert trace.encode() not in content
    assert not loop_devices_below(harness_cache)
    assert str(harness_cache) not in Path("/proc/mounts").read_text()


@pytest.mark.thorough
def test_another_build_of_the_same_day_is_the_same(built: Build, tmp_path: Path) -> None:
    """Nothing differs today; when it does, it must be in what the manifest calls not reproducible."""
    build(tmp_path / "cache", ["--only", "dib"]).communicate()
    found = list((tmp_path / "cache/store/dib").glob("*/root.tar"))
    assert len(found) == 1
    if installed(found[0]) != installed(built.images["root"].path):
        pytest.skip("the archive has other versions than when the first root was made")
    assert found[0].read_bytes() == built.images["root"].path.read_bytes()


@pytest.mark.parametrize("number", [by_night(signal.SIGTERM), signal.SIGKILL])
def test_a_builder_that_is_stopped_leaves_nothing_that_stays(tmp_path: Path, number: signal.Signals) -> None:
    cache = tmp_path / "cache"
    builder = build(cache, ["--only", "dib"])
    log = cache / "logs/relay-dib-root.log"
    wait_until(lambda: log.is_file() and b"I: Extracting" in log.read_bytes(), 120)
    builder.send_signal(number)
    out, _ = builder.communicate(timeout=30)
    wait_until(lambda: not processes_in(cache), 10)
    assert str(cache) not in Path("/proc/mounts").read_text()
    assert not loop_devices_below(cache)
    if number == signal.SIGTERM:
        assert builder.returncode == Outcome.INTERRUPTED.exit_code, out
        assert not any((cache / "store/dib").iterdir())


def build(cache: Path, options: Sequence[str]) -> subprocess.Popen[str]:
    """Another process that builds, under other circumstances than this one's."""
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "build", "relay-dib", "--cache", cache, *options],
        env={**os.environ, "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "TMPDIR": str(cache.parent)},
        umask=0o077,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.1)


def processes_in(place: Path) -> list[str]:
    """Processes whose root or working directory is below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("root", "cwd"):
            try:
                where = str((process / name).readlink())
            except OSError:
                continue
            if where.startswith(str(place)):
                found.append(f"{process.name}: {where}")
    return found
