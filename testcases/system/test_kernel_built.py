"""Kernels built from source: once, whole or not at all. The source is small, make is real."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.core.errors import ConfigError, InfraError
from harness.core.progress import Quiet
from harness.kernel import built, catalogue, toolchain
from harness.kernel.modules import closure
from testcases.support import kernel_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testcases.conftest import Larder

pytestmark = pytest.mark.skipif(
    shutil.which("make", path=toolchain.PATH) is None, reason="make is not installed"
)

LINE = """\
summary = "Mine"
version = "6.1"
bits = 32

[build]
suite = "bookworm"
package = "linux-source-6.1"
fragments = ["my.config"]
"""
TOOLS = toolchain.Toolchain("gcc 12", "ld 2", ccache=False)


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small source needs no compiler, so the host needs none."""
    monkeypatch.setattr(toolchain, "look", lambda: TOOLS)


@pytest.fixture
def line(tmp_path: Path) -> str:
    (tmp_path / "my.config").write_text("CONFIG_EXPERT=y\nCONFIG_PCI=y\n")
    path = tmp_path / "tiny-6.1-mine.toml"
    path.write_text(LINE)
    return str(path)


def build(larder: Larder, line: str) -> built.BuiltKernel:
    debian = larder.debian()
    return built.obtain(catalogue.order(line, debian), debian)


def left_over(larder: Larder) -> list[Path]:
    """What lies in the store that is no finished entry."""
    return [
        path
        for path in (larder.store.entries / "kernel-built").rglob("*")
        if ".unfinished" in path.name or path.name.startswith("objects-")
    ]


def test_a_built_kernel_is_usable_by_its_name(larder: Larder, line: str) -> None:
    kernel_source.add_to(larder)
    kernel = catalogue.obtain(line, larder.debian())
    assert (kernel.name, kernel.image.bits, kernel.series) == ("tiny-6.1-mine", 32, "6.1")
    assert str(kernel.package) == "linux-source-6.1 6.1.176-1"
    # A recipe's modules are built in, or the kernel does not do.
    assert kernel.modules
    assert closure(kernel.modules, ["ext4"]) == []
    with pytest.raises(ConfigError, match=r"has no modules, and 'ahci' is not built in$"):
        closure(kernel.modules, ["ext4", "ahci"])


def test_the_entry_has_kernel_configuration_and_facts(larder: Larder, line: str) -> None:
    kernel_source.add_to(larder)
    kernel = build(larder, line)
    assert {path.name for path in kernel.entry.iterdir()} >= {"vmlinuz", "config", "modules", "build.json"}
    assert 'CONFIG_LOCALVERSION="-tiny-mine"\n' in kernel.config.read_text()
    assert (kernel.facts.objects, kernel.facts.release) == (2, "6.1.176-tiny-mine")
    assert left_over(larder) == []


def test_one_asks_and_all_have_it(larder: Larder, line: str, tmp_path: Path) -> None:
    kernel_source.add_to(larder, recipe=f"@echo built >>{tmp_path}/count; sleep 0.3")
    threads = [threading.Thread(target=build, args=(larder, line)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "count").read_text() == "built\n"
    assert catalogue.order(line, larder.debian()).inputs(TOOLS) == catalogue.order(
        line, larder.debian()
    ).inputs(TOOLS)


def test_every_input_counts(larder: Larder, line: str, tmp_path: Path) -> None:
    kernel_source.add_to(larder)
    debian = larder.debian()
    before = catalogue.order(line, debian)
    assert not larder.store.has(built.KIND, before.inputs(TOOLS))
    built.obtain(before, debian)
    assert larder.store.has(built.KIND, before.inputs(TOOLS))
    other = toolchain.Toolchain("gcc 13", "ld 2", ccache=False)
    assert before.inputs(other) != before.inputs(TOOLS)
    # ccache gives the same bits; so do comments and the order of lines.
    assert before.inputs(toolchain.Toolchain("gcc 12", "ld 2", ccache=True)) == before.inputs(TOOLS)
    (tmp_path / "my.config").write_text("# Why.\nCONFIG_PCI=y\nCONFIG_EXPERT=y\n")
    assert catalogue.order(line, debian).inputs(TOOLS) == before.inputs(TOOLS)
    (tmp_path / "my.config").write_text("CONFIG_PCI=y\n")
    assert catalogue.order(line, debian).inputs(TOOLS) != before.inputs(TOOLS)


def test_a_second_build_elsewhere_gives_the_same(larder: Larder, line: str) -> None:
    kernel_source.add_to(larder)
    debian = larder.debian()
    order = catalogue.order(line, debian)
    assert not built.check(order, built.obtain(order, debian), debian).differing
    assert not list(larder.store.cache.glob("kernel-check-*"))


def test_a_kernel_that_knows_where_it_was_built_is_found_out(larder: Larder, line: str) -> None:
    kernel_source.add_to(larder, stain="$(srctree)")
    debian = larder.debian()
    order = catalogue.order(line, debian)
    compared = built.check(order, built.obtain(order, debian), debian)
    assert compared.differing == ("vmlinuz",)
    assert compared.kept
    assert b"/another/source" in (compared.kept / "vmlinuz").read_bytes()


def test_a_build_that_fails_can_be_pasted_and_leaves_nothing(larder: Larder, line: str) -> None:
    broken = "@printf '%s\\n' 'init/main.c:7:1: error: no' one two three; false"
    kernel_source.add_to(larder, recipe=broken)
    with pytest.raises(InfraError) as caught:
        build(larder, line)
    message, said = caught.value.message.split(":\n", 1)
    assert "init/main.c:7:1: error: no" in said
    assert left_over(larder) == []
    command = message.partition("`")[2].rpartition("`")[0]
    again = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "init/main.c:7:1: error: no" in again.stdout
    assert str(larder.store.cache / "logs/kernel-tiny-6.1-mine.log") in caught.value.hint


def test_a_configuration_that_loses_a_symbol_is_refused(larder: Larder, line: str, tmp_path: Path) -> None:
    kernel_source.add_to(larder)
    (tmp_path / "my.config").write_text("CONFIG_NETDEVICES=y\n")
    with pytest.raises(ConfigError, match=r"NETDEVICES \(my.config:1\) was not switched on: it needs NET$"):
        build(larder, line)
    assert left_over(larder) == []


@contextmanager
def stopped_by(number: signal.Signals, ready: Path) -> Iterator[None]:
    """Have this process interrupted as soon as a file appears."""

    class StoppedError(Exception):
        pass

    def stop(*_: object) -> None:
        raise StoppedError

    def wait() -> None:
        for _ in range(200):
            if ready.exists():
                break
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.signal(number, stop)
    thread = threading.Thread(target=wait)
    thread.start()
    try:
        with pytest.raises(StoppedError):
            yield
    finally:
        thread.join()
        signal.signal(number, before)


def test_a_build_that_is_interrupted_leaves_no_process_and_no_file(
    larder: Larder, line: str, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    kernel_source.add_to(larder, recipe=f"@(sleep 600 & echo $$! >{pids}.new; mv {pids}.new {pids}; wait)")
    with stopped_by(signal.SIGTERM, pids):
        build(larder, line)
    assert left_over(larder) == []
    child = Path("/proc", pids.read_text().strip(), "stat")
    deadline = time.monotonic() + 60
    while goes_on(child):  # a busy host takes a moment to end what was killed
        assert time.monotonic() < deadline
        time.sleep(0.05)


def goes_on(stat: Path) -> bool:
    try:
        return stat.read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Shown(Quiet):
    """Remembers how far tasks were."""

    def __init__(self) -> None:
        self.fractions: list[float] = []

    def update(self, fraction: float, _detail: str = "") -> None:
        self.fractions.append(fraction)


def test_progress_is_what_an_earlier_build_counted(larder: Larder, line: str, tmp_path: Path) -> None:
    kernel_source.add_to(larder)
    for wishes, fractions in (("CONFIG_PCI=y\n", []), ("CONFIG_NET=y\n", [0.5, 0.98])):
        (tmp_path / "my.config").write_text(wishes)
        shown = Shown()
        debian = larder.debian()
        debian.progress = shown
        built.obtain(catalogue.order(line, debian), debian)
        assert [fraction for fraction in shown.fractions if fraction < 1] == fractions


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("[build]", "[debian]"), "is missing|not known"),
        (('"my.config"', '"mine"'), "there is no fragment 'mine'"),
        (
            ('version = "6.1"', 'version = "6.12"'),
            "promises Linux 6.12, and bookworm has linux-source-6.1 6.1.176-1",
        ),
        (('package = "linux-source-6.1"', ""), "key build.package is missing"),
        (("fragments =", "fragment ="), "key build.fragment"),
    ],
)
def test_a_file_that_is_wrong_is_named(
    larder: Larder, line: str, change: tuple[str, str], problem: str
) -> None:
    kernel_source.add_to(larder)
    Path(line).write_text(LINE.replace(*change))
    with pytest.raises(ConfigError, match=problem):
        catalogue.order(line, larder.debian())


def test_a_kernel_comes_from_one_place(larder: Larder, line: str, tmp_path: Path) -> None:
    Path(line).write_text(LINE.partition("[build]")[0])
    with pytest.raises(ConfigError, match="exactly one of the tables debian, file, build, and has none"):
        catalogue.order(line, larder.debian())
    Path(line).write_text(LINE + '[debian]\nsuite = "x"\narchitecture = "x"\npackage = "x"\n')
    with pytest.raises(ConfigError, match="and has debian, build"):
        catalogue.order(line, larder.debian())


def test_what_is_not_built_says_what_is(larder: Larder) -> None:
    with pytest.raises(
        ConfigError, match=r"debian-6\.1-i686 is not built but comes from a package"
    ) as caught:
        catalogue.order("debian-6.1-i686", larder.debian())
    assert "tiny-6.1-i686-disk" in caught.value.hint


def test_a_name_becomes_part_of_the_release(larder: Larder, line: str) -> None:
    path = Path(line).rename(Path(line).with_name("my kernel.toml"))
    with pytest.raises(ConfigError, match=r"my kernel\.toml is no name for a kernel"):
        catalogue.order(str(path), larder.debian())


def test_a_package_without_source_is_refused(larder: Larder, line: str) -> None:
    package = {"linux-source-6.1": {"usr/share/doc/readme": b"moved"}}
    larder.add("linux-source-6.1", package, closure=False, architecture="amd64", version="6.1.176-1")
    with pytest.raises(ConfigError, match=r"linux-source-6\.1 6\.1\.176-1 has no kernel's source in usr/src"):
        build(larder, line)


def test_the_kernel_that_came_out_can_be_of_another_width_than_promised(larder: Larder, line: str) -> None:
    kernel_source.add_to(larder, bits=64)
    with pytest.raises(ConfigError, match=r"promises a 32-bit Linux 6\.1, and .* a 64-bit Linux 6\.1"):
        catalogue.obtain(line, larder.debian())


def test_the_command_line_says_what_is_wrong_with_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "kernel", "build", "tiny-9", "--cache", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("harness: there is no kernel 'tiny-9'\n")


def test_what_the_host_lacks_is_named_with_the_packages_that_have_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(toolchain, "PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="needs what is not installed: bc, bison, flex") as caught:
        toolchain.look()
    assert caught.value.hint.startswith("apt-get install --no-install-recommends bc binutils bison flex gcc")


def test_the_list_of_packages_for_the_set_up_has_all_that_is_asked_for() -> None:
    text = (Path(__file__).parents[2] / "ci/debian-packages-kernel.txt").read_text("utf-8")
    listed = set(re.findall(r"^([a-z0-9-]+)", text, re.MULTILINE))
    assert listed == {*toolchain.PROGRAMS.values(), *toolchain.HEADERS.values(), "ccache"}
