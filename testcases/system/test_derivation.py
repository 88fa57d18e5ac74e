"""Archives, hashes and paths beside the real nix-store; replays on this host's kernel, and how they fail."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.derivation import graph, payload, replay
from harness.derivation.payload import DerivationRequest
from harness.formats import nar, store_path
from harness.formats.extract import extract
from testcases.boot.test_derivation import replayed
from testcases.support import stores
from testcases.support.derivations import FakeStore, closure
from testcases.support.stores import Tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def harness(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


pytestmark = pytest.mark.xdist_group("derivation")


@pytest.fixture(scope="module")
def nix(tmp_path_factory: pytest.TempPathFactory, harness_cache: Path) -> Iterator[Tools]:
    tools = Tools("nix-bin", "/nix/store", tmp_path_factory.mktemp("nix"), harness_cache)
    yield tools
    tools.clean()


@pytest.fixture(scope="module")
def drv(nix: Tools) -> Path:
    return stores.nix_closure(nix)


def test_nix_writes_and_reads_the_same_archives(nix: Tools, tmp_path: Path) -> None:
    tree = nix.work / "tree"
    (tree / "empty").mkdir(parents=True)
    (tree / "program").write_text("#!/bin/sh\n")
    (tree / "program").chmod(0o755)
    (tree / "a.b").write_bytes(bytes(range(256)) * 4001)
    (tree / "a").symlink_to("../é\n")
    ours = io.BytesIO()
    nar.write(nar.of_path(tree), ours.write)
    assert nix.raw("nix-store", "--dump", "tree") == ours.getvalue()
    ours.seek(0)
    extract(nar.read(ours), tmp_path / "tree", note=lambda skipped: pytest.fail(str(skipped)))
    assert nar.hashed(nar.of_path(tmp_path / "tree")) == nar.hashed(nar.of_path(tree))
    digest = nar.hashed(nar.of_path(tree))
    assert nix.run("nix-hash", "--type", "sha256", "--base32", "tree").strip() == store_path.base32(
        bytes.fromhex(digest)
    )
    assert nix.run("nix-store", "--add", "tree").strip() == store_path.of_source(digest, "/nix/store", "tree")
    flat = nix.run("nix-store", "--add-fixed", "sha256", "tree/a.b").strip()
    content = nix.run("nix-hash", "--flat", "--type", "sha256", "tree/a.b").strip()
    assert flat == store_path.of_fixed("sha256", content, "/nix/store", "a.b")


def test_an_export_of_nix_is_a_store(nix: Tools, drv: Path, tmp_path: Path) -> None:
    name = f"/nix/store/{drv.name}"
    paths = nix.run("nix-store", "-qR", "--include-outputs", name).split()
    (tmp_path / "export").write_bytes(nix.raw("nix-store", "--export", *paths))
    wanted = DerivationRequest(path=drv, store=tmp_path / "export")
    found = payload.opened(wanted, tmp_path / "cache", Quiet())
    assert not [*graph.wrong_paths(found.graph), *replay.wrong_inputs(found, {})]
    assert {path: nar.hashed(found.graph.members(path)) for path in found.outputs} == {
        path: store_path.any_hash(nix.run("nix-store", "-q", "--hash", path).strip())
        for path in found.outputs
    }


def test_what_a_run_prints_is_what_the_next_expects(drv: Path, tmp_path: Path, harness_cache: Path) -> None:
    done = replayed(drv, tmp_path, harness_cache)
    printed = harness("derivation", "manifest", done.directory.name, "--runs", str(tmp_path / "runs")).stdout
    assert printed.count("\n") == 6
    (tmp_path / "list").write_text(printed)
    again = replayed(drv, tmp_path, harness_cache, expect=tmp_path / "list")
    assert again.result.verdict.reason.startswith("6 of 6")
    (tmp_path / "list").write_text(printed.replace("sha256:", f"sha256:{'0' * 64} #", 1).split(" #")[0])
    wrong = replayed(drv, tmp_path, harness_cache, expect=tmp_path / "list")
    assert wrong.result.verdict.outcome == Outcome.FAIL
    assert "and should have 0000" in wrong.result.verdict.reason


def test_another_store_is_different_and_the_file_is_named(tmp_path: Path, harness_cache: Path) -> None:
    fake, second = closure(tmp_path / "store")
    first = next(iter(fake.load(second).inputs))
    lib = fake.on_host(fake.output(first, "lib"))
    lib.mkdir()
    (lib / "words").write_text("other words\n")
    done = replayed(fake.on_host(second), tmp_path, harness_cache)
    assert done.result.verdict.outcome == Outcome.FAIL
    assert "; the first file that differs is words" in done.result.verdict.reason
    kept = done.directory / "files" / fake.output(first, "lib")[1:] / "words"
    assert kept.read_text() == "some words\n"
    made = json.loads((done.directory / "outputs.json").read_bytes())
    assert [each["differs"] for each in made] == ["words", "", ""]


def test_a_taken_output_is_not_built(drv: Path, tmp_path: Path, harness_cache: Path) -> None:
    two = next(path for path in graph.read(drv).outputs if path.endswith("-two-1.0+x"))
    done = replayed(drv, tmp_path, harness_cache, take=(two,))
    assert done.result.verdict.reason.startswith("3 of 3 outputs")
    names = [stage.name for stage in done.result.stages]
    assert names == ["kernel", "environment", "structured", "all", "outputs"]


FAILING = {
    "status": ("echo lasts; exit 7", "-bad.drv failed: exit status 7", "lasts"),
    "signal": ("kill -9 $$", "-bad.drv failed: exit status 137", ""),
    "fifo": ("/bin/busybox mkfifo $out", "has the NAR hash none (", ""),
    "no output": ("true", "-bad.drv failed: it made no /nix/store/", ""),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_builder_that_fails_is_named(name: str, tmp_path: Path, harness_cache: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    said, reason, last = FAILING[name]
    bad = fake.derive("bad", said)
    done = replayed(
        fake.on_host(fake.derive("last", "echo > $out", inputs={bad: ["out"]})), tmp_path, harness_cache
    )
    verdict = done.result.verdict
    assert (verdict.outcome, verdict.stage) == (Outcome.FAIL, "last" if name == "fifo" else "bad")
    assert reason in verdict.reason
    assert last in (done.directory / "console.log").read_text()


def test_a_fixed_output_with_another_hash_fails(tmp_path: Path, harness_cache: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    fixed = fake.derive("fixed", "echo x > $out", fixed=("r:sha256", "0" * 64))
    flat = fake.derive("flat", "echo x > $out", fixed=("sha256", "0" * 64))
    for path in (fixed, flat):
        verdict = replayed(fake.on_host(path), tmp_path, harness_cache).result.verdict
        assert verdict.outcome == Outcome.FAIL
        assert re.search("and should have the (r:)?sha256 0000", verdict.reason)


def test_the_daemon_can_be_another_one(tmp_path: Path, harness_cache: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    script = "{ pwd; umask; echo $NIX_BUILD_CORES; echo x | /bin/sh -c 'read a; echo $a'; } > $out"
    path = fake.derive("odd", script)
    daemon = {"directory": "/tmp/there", "umask": "0027", "cores": "9", "shell": "true"}
    fake.on_host(fake.output(path)).write_text("/tmp/there\n0027\n9\nx\n")
    done = replayed(fake.on_host(path), tmp_path, harness_cache, daemon=daemon)
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict


def test_the_commands_say_what_is_missing_and_write_the_script(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    drv, cache = str(fake.on_host(second)), f"--cache={tmp_path / 'cache'}"
    shown = harness("derivation", "show", drv, cache)
    assert shown.returncode == 0, shown.stderr
    assert "2 derivations to build, 1 paths (11 B) to take" in shown.stdout
    written = harness("script", "derivation", drv, "-o", str(tmp_path / "build.sh"), cache)
    assert written.returncode == 0, written.stderr
    assert (tmp_path / "build.sh").read_text().count("\nbegin ") == 2
    next(fake.place.glob("*-words")).unlink()
    shown = harness("derivation", "show", drv, cache, "--json")
    assert shown.returncode == Outcome.CONFIG.exit_code
    assert "-words is missing" in json.loads(shown.stdout)["problems"][0]
    done = harness("run", "derivation", drv, "--machine", "bwrap", "--runs", str(tmp_path / "runs"), cache)
    assert (done.returncode, done.stdout) == (Outcome.CONFIG.exit_code, "")
    assert "-words is missing" in done.stderr
    assert "the recipe relay has no use for" in harness("run", "relay", drv).stderr
