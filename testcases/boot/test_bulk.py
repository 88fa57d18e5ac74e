"""Big files leave a real guest: through a virtio port, and over its console."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from harness.console.bulk import fetch
from testcases.boot.bulk_guest import guest_with_port

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from harness.console.shell import Shell

SIZE = 64 << 20
_LIMIT = 600.0


@pytest.fixture(scope="module")
def guest(
    harness_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shell, socket.socket]]:
    with guest_with_port(harness_cache, tmp_path_factory.mktemp("bulk")) as guest:
        yield guest


@pytest.fixture(scope="module")
def guests_hash(guest: tuple[Shell, socket.socket]) -> str:
    """Has the guest make a big file, and say what it is."""
    script = f"head -c {SIZE} /dev/urandom >/root/big && sha256sum /root/big"
    return guest[0].run(script, timeout=_LIMIT).text.split()[0]


def test_big_file_through_the_port(
    guest: tuple[Shell, socket.socket], guests_hash: str, tmp_path: Path
) -> None:
    shell, port = guest
    for _ in range(2):
        with (tmp_path / "big").open("wb") as out:
            fetched = fetch(shell, "/root/big", out, port=port, timeout=_LIMIT)
        assert (fetched.size, fetched.fast) == (SIZE, True)
        with (tmp_path / "big").open("rb") as arrived:
            assert hashlib.file_digest(arrived, "sha256").hexdigest() == guests_hash
    assert shell.run("echo still there", timeout=60).text == "still there\n"


def test_file_over_the_console(guest: tuple[Shell, socket.socket], tmp_path: Path) -> None:
    shell, _ = guest
    digest = shell.run("head -c 300000 /dev/urandom >/root/small && sha256sum /root/small", timeout=_LIMIT)
    with (tmp_path / "small").open("wb") as out:
        fetched = fetch(shell, "/root/small", out, timeout=_LIMIT)
    assert (fetched.size, fetched.fast) == (300000, False)
    assert hashlib.sha256((tmp_path / "small").read_bytes()).hexdigest() == digest.text.split()[0]
