"""`harness` whose matrices run `stub_run` instead of `harness run`, and build nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from harness import cli
from harness.core.errors import ConfigError, InfraError
from harness.matrix import local, session
from harness.sources.packages import Lock
from harness.store import Store

if TYPE_CHECKING:
    from harness.image.build import BuildOptions

BUILT: list[str | None] = []


def stub() -> None:
    real = local.command

    def command(*given: object) -> list[str]:
        words = real(*given)  # type: ignore[arg-type]
        return [sys.executable, "-m", "testcases.support.stub_run", *words[4:]]

    def build(_recipe: object, options: BuildOptions, _progress: object) -> object:
        with (Path(options.cache).parent / "built").open("a") as log:
            log.write(f"{options.kernel} {' '.join(options.names)}\n")
        match options.kernel:
            case "no-config":
                raise ConfigError("there is no such kernel")
            case "no-archive":
                raise InfraError("the archive does not answer")
            case "no-sense":
                raise ZeroDivisionError
        # Something to boot, so that it can be sent.
        content = os.urandom(1 << 20)
        Store(options.cache).get(
            "initramfs", {"of": options.kernel}, lambda entry: _write(entry / "image", content)
        )
        return SimpleNamespace(lock=Lock(resolutions=()))

    local.command = command  # type: ignore[assignment]
    session.build = build  # type: ignore[assignment,attr-defined]


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    (path.parent / "below").mkdir()
    (path.parent / "below/link").symlink_to("../image")


if __name__ == "__main__":
    stub()
    cli.main()
