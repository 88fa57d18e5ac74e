"""Takes produced files and lists of them out of a guest."""

from __future__ import annotations

import re
import shlex
import tempfile
import time
from typing import TYPE_CHECKING

import msgspec

from harness.console.bulk import Fetched, fetch
from harness.core.errors import InfraError, explaining
from harness.core.outcome import Outcome
from harness.stages import events, products
from harness.stages.products import Produced
from harness.stages.verdict import Decided, Evidence, Verdict

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from harness.console.shell import Shell
    from harness.stages.events import Listener
    from harness.stages.plan import Stage

_SUM = re.compile(rb"\\?([0-9a-f]{64}) [ *]")

# Leaves modes and sizes, hashes, and names in one file, and prints how long each of these parts is. A program
# that the guest lacks may be one of busybox's. What the shell itself keeps there is not the payload's.
_LIST = r"""
for program in find xargs stat sha256sum; do
    if command -v $program >/dev/null; then eval $program=$program
    elif busybox $program --help >/dev/null 2>&1; then eval "$program='busybox $program'"
    else echo "the guest has no $program"; exit 3; fi
done
for directory in @DIRECTORIES@; do
    test -d "$directory" || { echo "the guest has no directory $directory"; exit 3; }
done
cd @OWN@ || exit
$find @DIRECTORIES@ -xdev -path @OWN@ -prune -o -type f -print0 >names &&
$xargs -0 -r $stat -c '%a %s' <names >stats &&
$xargs -0 -r $sha256sum <names >sums &&
cat stats sums names >list &&
$stat -c %s stats sums names && rm names stats sums
"""


class Outputs(msgspec.Struct, frozen=True):
    """Takes out what stages say."""

    shell: Shell  # the guest's, entered
    port: socket.socket | None  # our end of the virtio port, if the machine has one
    directory: Path  # the record
    listener: Listener  # told what was taken

    def take(self, stage: Stage, *, timeout: float) -> None:
        """Take out what a stage says, each step within so many seconds of the shell's clock.

        `Decided` is raised where the guest lacks it, besides what the shell raises.
        """
        if stage.produced:
            self._take_manifest(stage, timeout)
        for path in stage.fetches:
            self._take_file(stage, path, timeout)

    def _take_manifest(self, stage: Stage, timeout: float) -> None:
        began, own = time.monotonic(), self.shell.directory
        directories = " ".join(map(shlex.quote, stage.produced))
        reply = self.shell.run(
            _LIST.replace("@DIRECTORIES@", directories).replace("@OWN@", own), timeout=timeout
        )
        if reply.status != 0:
            lines = reply.text.strip().splitlines() or [f"exit status {reply.status}"]
            evidence = tuple(Evidence("console", line, reply.start) for line in lines[-20:])
            reason = f"the files in {directories} could not be listed: {lines[-1]}"
            raise _lacks(stage, reason, "produced", evidence)
        with self._storing():
            out = tempfile.TemporaryFile(dir=self.directory)  # noqa: SIM115 - so that only this is excused
        with out:
            fetched = fetch(self.shell, f"{own}/list", out, timeout=timeout, port=self.port)
            out.seek(0)
            files = listed(out.read(), [int(word) for word in reply.text.split()])
        with self._storing():
            products.write(files, self.directory)
        size, seconds = sum(file.size for file in files), round(time.monotonic() - began, 3)
        self.listener.event(events.Produced(stage.name, len(files), size, seconds, fast=fetched.fast))

    def _take_file(self, stage: Stage, path: str, timeout: float) -> None:
        began, file = time.monotonic(), self.directory / "files" / path.lstrip("/")
        try:
            fetched = self._store(path, file, timeout)
        except FileNotFoundError as error:
            file.unlink(missing_ok=True)
            evidence = (Evidence("machine", f"no readable file {path}"),)
            reason = f"the guest has no file {path}, which the plan takes out of it"
            raise _lacks(stage, reason, "fetches", evidence) from error
        name, seconds = str(file.relative_to(self.directory)), round(time.monotonic() - began, 3)
        self.listener.event(events.Fetched(stage.name, path, name, fetched.size, seconds, fast=fetched.fast))

    def _store(self, path: str, file: Path, timeout: float) -> Fetched:
        with self._storing():
            file.parent.mkdir(parents=True, exist_ok=True)
            out = file.open("wb")
        with out:
            return fetch(self.shell, path, out, timeout=timeout, port=self.port)

    def _storing(self) -> AbstractContextManager[None]:
        hint = "free some space, or choose another directory with --runs DIR"
        return explaining(InfraError, f"cannot write the run record {self.directory}", hint)


def listed(data: bytes, lengths: Sequence[int]) -> list[Produced]:
    """Read what the script left, in three parts: modes and sizes, hashes, names; sorted by name."""
    problem = InfraError(
        "the guest's list of its files contradicts itself",
        hint="its files change while they are listed: name other directories in the plan's key `produced`",
    )
    if len(lengths) != 3 or sum(lengths) != len(data):
        raise problem
    stats, sums = data[: lengths[0]], data[lengths[0] : lengths[0] + lengths[1]]
    paths = data[lengths[0] + lengths[1] :].split(b"\0")[:-1]
    known = [line.split() for line in stats.splitlines()]
    # Names with newlines are not always escaped: only what begins with a hash counts.
    hashes = [found[1].decode() for line in sums.splitlines() if (found := _SUM.match(line))]
    if not len(paths) == len(known) == len(hashes):
        raise problem
    files = {  # a directory of the plan may lie in another one
        Produced(path, int(mode, 8), int(size), sha256)
        for path, (mode, size), sha256 in zip(paths, known, hashes, strict=True)
    }
    return sorted(files, key=lambda file: file.path)


def _lacks(stage: Stage, reason: str, key: str, evidence: tuple[Evidence, ...]) -> Decided:
    hint = f"check the key `{key}` of the stage in the plan, and what the guest has by then"
    return Decided(Verdict(Outcome.FAIL, stage.name, reason, hint, evidence))
