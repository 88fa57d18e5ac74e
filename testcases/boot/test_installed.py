"""The wheel in an environment of its own: a run of the packaged recipe, and what is made of its record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from testcases.support import installed

if TYPE_CHECKING:
    from pathlib import Path

# After a run, each has its record or images to work on.
AFTERWARDS = (
    "runs",
    "log last --tail 5",
    "replay last --cast film.cast",
    "watch last",
    "verdict last",
    "history",
    "compare last last",
    "report --html pages",
    "report last --bare-metal",
    "prune 10G",
    "lock relay -o relay.lock.json",
    "script relay -o build.sh",
    "image ls {image}",
    "image verify {image}",
    "kernel fetch debian-6.1-i686",
    "kernel inspect debian-6.1-i686",
    "store verify",
)


def test_run_and_what_comes_after_it(tmp_path: Path, harness_cache: Path) -> None:
    wheel, _ = installed.build(tmp_path / "dist")
    program = installed.install(wheel, tmp_path, harness_cache)
    run = program.types("run", "relay", "--json")
    document = json.loads(run.stdout)
    assert (run.returncode, document["verdict"]["outcome"]) == (0, "PASS"), run.stderr
    built = json.loads(program.types("build", "relay", "-o", "images", "--json").stdout)
    image = built["output"]["sysa"]["path"]
    assert (program.home / "work" / image).is_file()
    for words in AFTERWARDS:
        done = program.types(*words.format(image=image).split())
        assert done.returncode == 0, (words, done.stderr)
    assert (program.home / "work/pages/index.html").is_file()
    assert (program.home / "work/build.sh").is_file()
