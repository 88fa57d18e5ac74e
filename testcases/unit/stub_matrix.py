"""`harness` whose matrices run `stub_run` instead of `harness run`, and build nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from harness import cli, pipeline
from harness.errors import ConfigError, InfraError
from harness.matrix import local

BUILT: list[str | None] = []


def stub() -> None:
    real = local.command

    def command(*given: object) -> list[str]:
        words = real(*given)  # type: ignore[arg-type]
        return [sys.executable, "-m", "testcases.unit.stub_run", *words[4:]]

    def build(_recipe: object, options: pipeline.BuildOptions, _progress: object) -> None:
        with (Path(options.cache).parent / "built").open("a") as log:
            log.write(f"{options.kernel} {' '.join(options.names)}\n")
        match options.kernel:
            case "no-config":
                raise ConfigError("there is no such kernel")
            case "no-archive":
                raise InfraError("the archive does not answer")
            case "no-sense":
                raise ZeroDivisionError

    local.command = command  # type: ignore[assignment]
    pipeline.build = build  # type: ignore[assignment]


if __name__ == "__main__":
    stub()
    cli.main()
