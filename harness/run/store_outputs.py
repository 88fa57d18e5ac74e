"""Judges the outputs of derivations by the hashes of their NARs."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from harness.core.outcome import Outcome
from harness.formats import nar
from harness.formats.diff import differences
from harness.formats.extract import extract
from harness.formats.opened import open_image
from harness.run.amendments import failed
from harness.stages import products
from harness.stages.products import Produced
from harness.stages.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from harness.derivation.payload import Prepared
    from harness.formats.tree import Member
    from harness.stages.verdict import RunResult

_PATIENCE = 600  # seconds that diffoscope may take
ARCHIVE = "files/harness/outputs.cpio"


class Made(msgspec.Struct, frozen=True):
    """An output that was built."""

    path: str  # in the store
    sha256: str  # of its NAR, in hexadecimal
    expected: str = ""  # what that should be; "" where it is not known
    differs: str = ""  # the first file that is another one in the user's store; "" where that is not known


def of_root(prepared: Prepared, root: Path, directory: Path) -> list[Produced]:
    """Look at the outputs in a root directory of this host, and write down what they are; their files."""
    paths = prepared.replay.outputs
    found = {path: nar.of_path(place) for path in paths if os.path.lexists(place := root / path[1:])}
    return _write(prepared, found, directory)


def _write(prepared: Prepared, found: Mapping[str, Sequence[Member]], directory: Path) -> list[Produced]:
    graph, made, files = prepared.replay.graph, list[Made](), list[Produced]()
    for path, members in found.items():
        _, output = graph.outputs[path]
        try:
            digest = nar.hashed(members)
            expected = digest if output.hash else prepared.expected.get(path, "")
            if output.hash and nar.hashed(members, output.algorithm) != output.hash:
                expected = f"the {output.algorithm} {output.hash}"
        except ValueError as error:  # a builder made a FIFO or a socket
            digest, expected = f"none ({error})", "one"
        differs = ""
        if expected and digest != expected:
            extract(nar.below(path[1:], members), directory / "files", note=lambda _: None)
            others = differences(graph.members(path), members) if graph.has(path) else ()
            differs = next((each.path for each in others if each.what != "owner" and each.path != "."), "")
        made.append(Made(path, digest, expected, differs))
        files += [
            Produced(os.fsencode(each.path), each.mode & 0o7777, each.size, nar.hashed([each], "sha256"))
            for each in nar.below(path, members)
            if each.is_file
        ]
    (directory / "outputs.json").write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    lines = (f"{each.path} sha256:{each.sha256}\n" for each in made)
    (directory / "manifest.nar").write_text("".join(lines), "utf-8")
    products.write(files, directory)
    return files


def judged(result: RunResult, prepared: Prepared, directory: Path) -> RunResult:
    """The result of a run that built a derivation: it passes only with the outputs that are expected."""
    if (directory / ARCHIVE).is_file():
        members: dict[str, list[Member]] = {}
        with open_image(directory / ARCHIVE) as image:
            for member in image.members():
                words = member.path.split("/")
                inner = msgspec.structs.replace(member, path="/".join(words[3:]), link="")
                members.setdefault("/".join(["", *words[:3]]), []).append(inner)
            outputs = {path: members[path] for path in prepared.replay.outputs if path in members}
            _write(prepared, outputs, directory)
    found = directory / "outputs.json"
    if result.verdict.outcome != Outcome.PASS or not found.is_file():
        return result  # a run that stops at a stage has no outputs
    made = msgspec.json.decode(found.read_bytes(), type=list[Made])
    different = [each for each in made if each.expected not in {"", each.sha256}]
    missing = [path for path in prepared.replay.outputs if path not in {each.path for each in made}]
    verdict = result.verdict
    if missing:
        reason, hint = f"{missing[0]} was built and did not come out", "see the stage outputs in console.log"
        return failed(result, Verdict(Outcome.FAIL, verdict.stage, reason, hint))
    if different:
        return failed(result, _wrong(verdict.stage, different, prepared, directory))
    same = sum(bool(each.expected) for each in made)
    text = f"{same} of {len(made)} outputs have the hashes that are expected"
    if same < len(made):
        text += f", and for {len(made) - same} there is nothing to compare with"
    verdict = msgspec.structs.replace(verdict, reason=f"{text}: {verdict.reason}")
    return msgspec.structs.replace(result, verdict=verdict)


def _wrong(stage: str, different: Sequence[Made], prepared: Prepared, directory: Path) -> Verdict:
    first = different[0]
    place = prepared.replay.graph.on_host(first.path)
    also = f" (and {len(different) - 1} more outputs differ)" if different[1:] else ""
    where = f"; the first file that differs is {first.differs}" if first.differs else ""
    mine = directory / "files" / first.path[1:]
    reason = f"{first.path} has the NAR hash {first.sha256} and should have {first.expected}{where}{also}"
    hint = f"both are there: {mine} and {place}" if place.exists() else f"what was built is {mine}"
    if place.exists() and (program := shutil.which("diffoscope")):
        report = directory / "outputs.diffoscope"
        command = [program, "--exclude-directory-metadata=yes", "--text", str(report), str(mine), str(place)]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, check=False, capture_output=True, timeout=_PATIENCE)
        hint += f"; diffoscope's report is {report}"
    return Verdict(Outcome.FAIL, stage, reason, hint)
