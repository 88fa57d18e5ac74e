"""What a guest reaches: the harness alone, or all that the host does where somebody asks for that."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.image.build import BuildOptions
from harness.image.build import build as build_recipe
from harness.machine.network.http import Mirror
from harness.machine.protocol import Network
from harness.recipe import load_recipe
from testcases.support.runs import run_built

RECIPE = Path(__file__).with_name("network") / "recipes/asks.toml"
HELLO = b"hello from the harness\n"
LARGE = hashlib.shake_256(b"large").digest(2 << 20)


def asked(harness_cache: Path, tmp_path: Path, network: Network | None) -> tuple[str, dict[str, str], Path]:
    """The lease that a guest got, what it was told, and the run's record."""
    (tmp_path / "hello").write_bytes(HELLO)
    (tmp_path / "large").write_bytes(LARGE)
    offered = {"hello-1.0.txt": tmp_path / "hello", "large": tmp_path / "large"}
    built = build_recipe(load_recipe(str(RECIPE)), BuildOptions(cache=harness_cache), Quiet())
    with Mirror(offered) as mirror:
        done = run_built(
            built,
            cache=harness_cache,
            runs=tmp_path / "runs",
            append=f"host={mirror.port}",
            network=network,
            offered=offered,
            patience=3,
        )
    assert done.result.verdict.outcome == Outcome.PASS, done.result.verdict
    console = (done.directory / "console.log").read_text("utf-8")
    lease = re.search(r" LEASE (.*)", console)
    assert lease is not None
    return lease[1], dict(re.findall(r" ASKS (\w+): ?(.*)", console)), done.directory


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_on_the_restricted_network_the_harness_answers_and_nobody_else(
    harness_cache: Path, tmp_path: Path
) -> None:
    lease, said, record = asked(harness_cache, tmp_path, None)
    assert lease == "1.1.1.15 255.255.255.0 router=none dns=none"
    assert said["page"].startswith("HTTP/1.1 200 OK")
    assert said["file"] == said["again"] == f"HTTP/1.1 200 OK {sha256(HELLO)}"
    assert said["nothing"].startswith("HTTP/1.1 404 ")
    assert said["large"] == f"HTTP/1.1 200 OK {sha256(LARGE)}"
    for name in ("https", "outside", "host"):
        assert re.search("refused|unreachable", said[name]), said[name]
    assert '"network": "restricted"' in (record / "run.json").read_text("utf-8").replace('":"', '": "')
    log = (record / "network.log").read_text("utf-8")
    assert "name example.com A: 1.1.1.80\n" in log
    assert "GET http://ftp.example.org/pub/gnu/nothing-1.0.txt: 404\n" in log
    assert "port 443 (example.com): refused, as there is no HTTPS\n" in log


def test_on_the_open_network_the_host_is_reached(harness_cache: Path, tmp_path: Path) -> None:
    lease, said, record = asked(harness_cache, tmp_path, Network.OPEN)
    assert lease.startswith("10.0.2.15 255.255.255.0 router=10.0.2.2 dns=10.0.2.3")
    assert said["host"] == "distfiles"
    assert not (record / "network.log").exists()
