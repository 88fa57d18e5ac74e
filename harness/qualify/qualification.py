"""Boots a kernel to find out what it can do."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.kernel import inspection
from harness.matrix import local
from harness.payload.chosen import Payload
from harness.qualify.advice import Advice, Known, advise
from harness.qualify.questions import Answer, Word, read_answers
from harness.recipe import Recipe, load_recipe
from harness.record.reading import read_run
from harness.run.execute import Run, execute
from harness.run.prepare import prepare
from harness.run.request import RunRequest  # noqa: TC001 - msgspec reads annotations at run time
from harness.stages.plan_file import needs_files
from harness.stages.verdict import StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.core.progress import Progress
    from harness.kernel.catalogue import Kernel
    from harness.matrix.queue import Result

_RECIPES = {32: "qualify", 64: "qualify-x86_64"}
# Compressions that are asked for again where one before them is not known.
_HIDDEN = ("xz", "lz4", "zstd", "bzip2", "lzma", "lzo")
# For how many times the first boot's whole way to its first process one with little memory may be silent. It
# has less to unpack and to look for, and says nothing until it is unpacked itself: a third of the way.
_PATIENCE = 1.25
_SILENCE = 60.0  # that the plan's first stage allows, in seconds
_LEAST_PATIENCE = 0.08
_WORKING = 12  # MiB that the smallest probe takes, packed, unpacked and at work
_MIB = 1 << 20


class Qualification(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a kernel."""

    kernel: str  # its name, or the path that was given
    version: str  # what its file says that it is
    bits: int  # its width
    sha256: str  # of its file
    verdict: Verdict  # what came of the boot with the questions
    serial: bool  # whether anything was heard on the serial port
    # By the name of the question; without `init`, it never came to its first process.
    answers: dict[str, Answer]
    to_init: float | None  # CPU seconds from power-on to the first process, with all disks attached
    memory: Bounds | None  # how much it needs to get there, with as little as possible
    relay: Relay | None  # the relay, if it was run
    advice: tuple[Advice, ...]  # for which plans it is good
    records: tuple[str, ...]  # the directories of all runs

    @property
    def boots(self) -> bool:
        """Whether it came to its first process."""
        return "init" in self.answers


class QualifyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be found out."""

    request: RunRequest  # how the guests run, and from where packages come
    relay: bool = True  # whether to run the relay
    memory: bool = True  # whether to find out how much memory is needed


def qualify(name: str, kernel: Kernel, wanted: QualifyRequest, progress: Progress) -> Qualification:
    """Find out what a kernel can do, which `catalogue.obtain` gave for this name."""
    return _Qualifier(name, kernel, wanted, progress).qualify()


class _Qualifier:
    def __init__(self, name: str, kernel: Kernel, wanted: QualifyRequest, progress: Progress) -> None:
        self._name = name
        self._kernel = kernel
        self._wanted = wanted
        self._progress = progress
        self._records: list[str] = []

    def qualify(self) -> Qualification:
        with self._relay() as relay:
            asked = self._ask()
            ran = relay()
        if ran and ran.record:
            self._records.append(ran.record)
        return msgspec.structs.replace(asked, relay=ran, records=tuple(self._records))

    def _ask(self) -> Qualification:
        """All but the relay, and the records."""
        kernel = self._kernel
        recipe = load_recipe(_RECIPES[kernel.image.bits])
        run = self._boot(_booting(recipe, "bare" if kernel.modules is None else "all"))
        console = (run.directory / "console.raw").read_bytes()
        answers = read_answers(console)
        stages = {stage.name: stage for stage in run.result.stages}
        memory = None
        if "init" in answers:
            answers |= self._hidden(recipe, answers)
            answers |= _jump(answers, run.result.verdict)
            if self._wanted.memory:
                memory = smallest(
                    lambda size: self._comes_up(recipe, size, stages["kernel"]),
                    guess=_enough(recipe, answers),
                )
        found = inspection.examine(kernel.image.path)
        symbols = found.config.symbols if found.config else None
        known = Known(kernel.image, symbols, answers, modules=kernel.modules is not None)
        plans = {name: plan for name, plan in needs_files().items() if name != recipe.plan.stem}
        return Qualification(
            kernel=kernel.name,
            version=kernel.image.version,
            bits=kernel.image.bits,
            sha256=kernel.image.sha256,
            verdict=run.result.verdict,
            serial=bool(console.strip()) and ("init" in answers or b"Linux version " in console),
            answers=answers,
            to_init=stages["kernel"].cpu if "init" in answers else None,
            memory=memory,
            relay=None,
            advice=tuple(advise(known, plans)),
            records=(),
        )

    def _hidden(self, recipe: Recipe, answers: Mapping[str, Answer]) -> dict[str, Answer]:
        """Compressions behind one that the kernel does not know, each in a boot of its own."""
        found = {}
        for name in _HIDDEN:
            if answers.get(name, Answer(Word.NO)).word == Word.UNTESTED:
                run = self._boot(_booting(recipe, f"small-{name}", drives=False))
                there = read_answers((run.directory / "console.raw").read_bytes())
                if "init" in there:
                    found[name] = there.get(name, Answer(Word.NO))
        return found

    def _comes_up(self, recipe: Recipe, size: int, first: StageResult) -> bool:
        """Whether the kernel comes to its first process with so many MiB."""
        patience = min(1.0, max(_PATIENCE * first.cpu / _SILENCE, _LEAST_PATIENCE))
        try:
            run = self._boot(_booting(recipe, "small", drives=False), memory=size * _MIB, patience=patience)
        except ConfigError:  # less than the kernel's own header asks for
            return False
        return "init" in read_answers((run.directory / "console.raw").read_bytes())

    def _relay(self) -> AbstractContextManager[Callable[[], Relay | None]]:
        """Begin the relay, if it is wanted."""
        if not self._wanted.relay:
            return nullcontext(lambda: None)
        request = self._wanted.request
        options = {
            "--kernel": self._name,
            "--accelerator": request.accelerator,
            "--append": request.append,
            "--mirror": request.build.mirror,
        }
        words = [word for option, value in options.items() if value for word in (option, value)]
        # What the kernel does is wanted, also where its configuration says that it cannot.
        words += ["--force", *(["--refresh"] if request.build.refresh else [])]
        return relay_beside(words, request.runs, request.build.cache, self._progress)

    def _boot(self, recipe: Recipe, **changes: Any) -> Run:
        """Boot a recipe without checks before: what the kernel does is wanted."""
        request = msgspec.structs.replace(self._wanted.request, force=True, **changes)
        build = msgspec.structs.replace(request.build, kernel=self._name)
        request = msgspec.structs.replace(request, build=build)
        run = execute(prepare(request, self._progress, Payload(recipe=recipe)), progress=self._progress)
        self._records.append(str(run.directory))
        return run


def _enough(recipe: Recipe, answers: Mapping[str, Answer]) -> float | None:
    """How many MiB are probably enough: what the kernel keeps for itself, and the probe's."""
    said = answers.get("memory", Answer(Word.NO)).detail.split()
    if not said or not said[0].isdecimal():
        return None
    left = int(said[0]) << 10
    return (recipe.boot.memory_bytes - left) / _MIB + _WORKING


def _booting(recipe: Recipe, initramfs: str, *, drives: bool = True) -> Recipe:
    """The recipe with another initramfs, and perhaps without its disks."""
    replaced = msgspec.structs.replace
    boot = replaced(recipe.boot, initramfs=initramfs, drive=recipe.boot.drive if drives else ())
    return replaced(recipe, document=replaced(recipe.document, boot=boot))


def _jump(answers: Mapping[str, Answer], verdict: Verdict) -> dict[str, Answer]:
    """What a jump came to that was begun, and of which nothing was heard."""
    if "jumping" not in answers or "kexec-jump" in answers or verdict.outcome == Outcome.PASS:
        return {}
    return {"kexec-jump": Answer(Word.NO, verdict.reason)}


def exit_status(found: Sequence[Qualification]) -> int:
    """That of a command: whether every kernel came to its first process."""
    return (Outcome.PASS if all(each.boots for each in found) else Outcome.FAIL).exit_code


_UP = b"relay: sysa: up under "


class Relay(msgspec.Struct, frozen=True):
    """How the relay went with the kernel as its seed."""

    verdict: Verdict  # what came of it
    to_init: float | None  # CPU seconds from power-on to the first line of sysa's init
    to_prompt: float | None  # CPU seconds to the prompt of sysc, behind kexec; None if it never came
    record: str  # the directory of its record; "" if it left none


@contextmanager
def relay_beside(
    options: Sequence[str], runs: Path, cache: Path, progress: Progress
) -> Iterator[Callable[[], Relay]]:
    """Begin the relay in a process of its own; what is given waits for its end."""
    with TemporaryDirectory(prefix="relay-") as logs:
        log = Path(logs, "relay.log")
        place = local.Place(runs=runs, cache=cache, logs=Path(logs))
        with local.Child(local.run_words(["relay"], options, place, {}), log) as child:

            def ended() -> Relay:
                with progress.task("the relay beside them"):
                    child.process.wait()
                return _relay(child.result(), runs)

            yield ended


def _relay(result: Result, runs: Path) -> Relay:
    if not result.run:
        return Relay(Verdict(result.outcome, "start", result.reason), None, None, "")
    reading = read_run(runs / result.run)
    verdict = reading.document.verdict or Verdict(result.outcome, "start", result.reason)
    done: dict[str, float] = {}
    cpu = 0.0
    for stage in reading.document.stages:
        cpu += stage.cpu
        if stage.status == StageStatus.PASSED:
            done[stage.name] = cpu
    up = _UP in reading.raw.read_bytes()
    return Relay(verdict, done.get("sysa") if up else None, done.get("sysc"), str(reading.directory))


# In MiB: steps of an eighth to a third, since a run at each bound costs a boot.
LADDER = (8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 384, 512)


class Bounds(msgspec.Struct, frozen=True):
    """Where the limit lies, in MiB."""

    least: int | None  # with so much it works; None if with none that was tried
    too_little: int | None  # with so much it does not; None if with any that was tried


def smallest(
    works: Callable[[int], bool], ladder: Sequence[int] = LADDER, *, guess: float | None = None
) -> Bounds:
    """Find the least rung that works, where all above one that works do.

    Args:
        works: Whether it works with so much; called at most once for a rung.
        ladder: Candidates, rising.
        guess: What is probably enough: two calls if it is, and few if it is nearly so. From there, steps that
            double lead past the limit, and halving leads back to it. Without a guess, all is halved.
    """
    low, high = -1, len(ladder)  # ladder[low] fails, ladder[high] works, as far as these exist
    at = (low + high) // 2 if guess is None else min(bisect_left(ladder, guess), high - 1)
    step = None if guess is None else 1
    while high - low > 1:
        if works(ladder[at]):
            high = at
        else:
            low = at
        if step is not None and (low < 0 or high == len(ladder)):
            at = max(high - step, low + 1) if low < 0 else min(low + step, high - 1)
            step *= 2
        else:
            at = (low + high) // 2
    return Bounds(
        least=ladder[high] if high < len(ladder) else None, too_little=ladder[low] if low >= 0 else None
    )
