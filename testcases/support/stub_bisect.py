"""`harness` whose bisections run `stub_run` instead of `harness run`, among kernels that no archive has.

`ends.json` beside the records says how the runs of each kernel end, in the letters of `stub_run`; a commit
says it in its file `ends`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness import cli
from harness.matrix import local
from harness.sources.debian import DebianSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def stub() -> None:
    def run_words(
        what: Sequence[str], options: Sequence[str], place: local.Place, labels: Mapping[str, str]
    ) -> list[str]:
        given = dict(zip(options[::2], options[1::2], strict=True))
        if "--tree" in given:
            behaves = (Path(given["--tree"]) / "ends").read_text().strip()
        else:
            known = json.loads((place.runs.parent / "ends.json").read_text())
            behaves = known[Path(given["--kernel"]).stem]
        words = ["--kernel", behaves, "--runs", str(place.runs), "--cache", str(place.cache)]
        words += [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        return [sys.executable, "-m", "testcases.support.stub_run", *what, *words, "--json"]

    def kernels(self: DebianSource, suite: str, architecture: str) -> tuple[str, ...]:
        flavours = ("686", "686-pae", "rt-686-pae")
        numbers = {"bullseye": ["5.10.0-9", "5.10.0-30"], "bookworm": [f"6.1.0-{n}" for n in range(5, 21)]}
        return tuple(f"{number}-{flavour}" for number in numbers.get(suite, []) for flavour in flavours)

    local.run_words = run_words
    DebianSource.kernels = kernels  # type: ignore[method-assign]


if __name__ == "__main__":
    stub()
    cli.main()
