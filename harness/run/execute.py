"""Executes a prepared run: machine, console and plan, to a verdict."""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import msgspec

from harness.console.recorder import Recorder
from harness.core.architecture import load_architecture
from harness.core.errors import Interrupted, explained
from harness.core.files import write_atomically
from harness.core.outcome import Outcome
from harness.core.progress import Progress, Quiet
from harness.machine.admission import admitted
from harness.machine.kinds.kind import Surroundings
from harness.record.record import ImageRecord, KernelRecord, ResumedRecord, RunRecord
from harness.run import checkpoints
from harness.run.amendments import amended, announced, by_hand
from harness.stages.events import Audience, Gap, Listener, ProducedRecord, Resumed, Saved
from harness.stages.verdict import RunResult, StageResult, StageStatus, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from harness.machine.protocol import Machine
    from harness.machine.spec import MachineSpec
    from harness.record.packages import PackageWatch
    from harness.run.interactive import InteractiveRun
    from harness.run.prepare import PreparedRun
    from harness.stages.plan import Plan
    from harness.stages.verdict import Boundary


class Run(msgspec.Struct, frozen=True):
    """A run that has ended."""

    result: RunResult  # what came of it
    directory: Path  # its record


def execute(
    prepared: PreparedRun,
    listeners: Sequence[Listener] = (),
    progress: Progress | None = None,
    person: InteractiveRun | None = None,
) -> Run:
    """Let the machine run, follow the plan to a verdict, and leave a record. The person listens, too.

    Raises:
        ConfigError: The machine cannot be made as asked for.
        InfraError: The machine does not start.
        Interrupted: Ctrl-C or SIGTERM; the record says so.
    """
    progress = progress or Quiet()
    record = _record(prepared)
    audience, packages = Audience([record, *listeners]), None
    if (expected := prepared.plan.packages or prepared.payload.packages) is not None:
        from harness.record.packages import PackageWatch

        packages = PackageWatch(audience, expected)
        audience = Audience([record, *listeners, packages])
    session = _Session(prepared, record, audience, progress, packages, person)
    try:
        with record:
            try:
                result = session.result()
            except BaseException as error:
                session.finish(_aborted(prepared.followed, record, error))
                raise
            session.finish(result)
    finally:
        from harness.record import index

        index.remember(record.directory)
    _write_film(record, progress)
    if result.verdict.outcome == Outcome.INTERRUPTED:
        raise Interrupted(result.verdict.reason, hint=f"the record is in {record.directory}")
    return Run(result, record.directory)


class _Session(msgspec.Struct, frozen=True):
    """A run whose record is open."""

    run: PreparedRun  # what was prepared
    record: RunRecord  # where it is written down
    listener: Listener  # told of everything that happens
    progress: Progress  # where waiting and cleaning up are shown
    packages: PackageWatch | None  # learns the payload's packages from the console, where it has any
    person: InteractiveRun | None  # the person who takes part

    def result(self) -> RunResult:
        """Wait for a place on this host, follow the plan there, and say what came of it."""
        run = self.run

        def wait() -> None:
            self.progress.note("waiting until other guests leave room for this one")

        guests, memory = run.store.cache / "guests", run.spec.memory
        with admitted(guests, memory, waiting=wait) if run.kind.places(memory) else nullcontext():
            result = self._follow()
        result = amended(
            result,
            self.record.directory,
            run.followed,
            expected=run.payload.expected,
            packages=self.packages,
            start=run.start,
            taken=self.person.taken_over if self.person else None,
        )
        if run.payload.derivation is not None:
            from harness.run import store_outputs  # and readers of archives, which few runs need

            result = store_outputs.judged(result, run.payload.derivation, self.record.directory)
        return announced(result, self.listener)

    def finish(self, result: RunResult) -> None:
        """Write how the run ended."""
        seen = self.packages
        self.record.finish(
            result, **({"packages": seen.records, "checksums": seen.checksums} if seen else {})
        )

    def _follow(self) -> RunResult:
        """Make the machine, and follow the plan to its end."""
        directory, start = self.record.directory, self.run.start
        with (
            self.run.kind.machine(self.run.spec, self._surroundings()) as machine,
            Recorder(
                machine.transport,
                directory / "console.raw",
                directory / "console.idx",
                typed=self.record.typed,
                earlier=start.path / checkpoints.CONSOLE if start else None,
                pace=machine.pace,
            ) as recorder,
        ):
            self.record.watch(recorder)
            if self.packages is not None:
                self.packages.watch(recorder.seconds_at)
            self.record.update(machine=machine.describe())
            if start is not None:
                self.listener.event(Resumed(start.id, start.state.run, start.state.boundary.stage))
            with self.person.at(recorder, self.listener) if self.person else nullcontext():
                return self._judge(machine, recorder)

    def _judge(self, machine: Machine, recorder: Recorder) -> RunResult:
        """Follow the plan to a verdict; a person may have a guest that failed."""
        from harness.stages.runner import Runner  # and all that a guest which is just starting has no use for

        run, person = self.run, self.person
        runner = Runner(
            run.followed,
            machine,
            recorder,
            accelerator=run.spec.accelerator,
            facts={
                "expected_target": load_architecture(run.built.recipe.architecture).target,
                **{
                    f"expected_{role}_kernel": kernel.image.version
                    for role, kernel in run.built.kernels.items()
                },
            },
            listener=self.listener,
            person=person,
            patience=run.request.patience * run.kind.budgets,
            resumed=run.start.state.boundary if run.start else None,
            reached=self._saver(machine, recorder),
        )
        try:
            result = runner.follow()
        except Interrupted:
            reason = f"the run was interrupted in stage {runner.stage}"
            return runner.result(Verdict(Outcome.INTERRUPTED, runner.stage, reason, "run it again"))
        if result.verdict.outcome != Outcome.PASS:
            machine.screenshot(self.record.directory / "screenshot.png")
            if person is not None and person.wants_broken:
                told = by_hand(result, person.taken_over)
                self.record.decide(told)  # in case we are killed from here on
                with suppress(Interrupted):  # it is decided
                    gone = machine.poll() is not None or recorder.ended
                    prompt = None if gone else runner.restore_shell()
                    person.use_broken(told.verdict, gone=gone, prompt=prompt)
        return result

    def _saver(self, machine: Machine, recorder: Recorder) -> Callable[[Boundary], bool] | None:
        """Save the machine where the user said so; None for a machine that cannot be saved."""
        run, snapshots = self.run, machine.snapshots
        if snapshots is None:
            return None

        def save(directory: Path) -> None:
            snapshots.pause()
            recorder.settle()
            snapshots.save(directory)
            # Not before: what QEMU still held back for the console is not in what it saved.
            recorder.settle()
            shutil.copyfile(recorder.raw, directory / checkpoints.CONSOLE)
            snapshots.start()

        def reached(boundary: Boundary) -> bool:
            part, stage = run.request.part, boundary.stage
            if stage not in {*part.save, part.until}:
                return False
            began = time.monotonic()
            known = checkpoints.identity(run.built, cast("MachineSpec", run.spec), run.plan, stage)
            state = checkpoints.State(
                run=self.record.document.id,
                saved=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                seconds=sum(before.wall for before in boundary.stages)
                + (run.start.state.seconds if run.start else 0.0),
                boundary=boundary,
            )
            there = checkpoints.save(run.store, known, state, save)
            seconds, new = round(time.monotonic() - began, 3), there.state == state
            self.listener.event(Saved(there.id, stage, seconds=seconds, size=there.size, new=new))
            return stage == part.until

        return reached

    def _surroundings(self) -> Surroundings:
        run = self.run
        return Surroundings(
            directory=self.record.directory,
            cache=run.store.cache,
            saved=run.start.path if run.start else None,
            offered=run.payload.offered,
            quiet=run.followed.unheard * run.request.patience,
            note=self.progress.note,
            gap=lambda seconds, offset: self.listener.event(Gap(seconds, offset)),
            watched=self._watched,
        )

    @contextmanager
    def _watched(self, root: Path) -> Iterator[None]:
        """List what is new in a root, unless the payload's shell has listed what the plan says."""
        from harness.record import gathering
        from harness.stages import products

        before = gathering.look(root)
        yield
        directory, began = self.record.directory, time.monotonic()
        if (directory / products.SUMS).exists():
            return
        if (derivation := self.run.payload.derivation) is not None:
            from harness.run import store_outputs

            files = store_outputs.of_root(derivation, root, directory)
        else:
            files = gathering.gathered(root, before)
            products.write(files, directory)
        size, seconds = sum(file.size for file in files), round(time.monotonic() - began, 3)
        self.record.update(produced=ProducedRecord("", len(files), size, seconds, fast=False))


def _record(run: PreparedRun) -> RunRecord:
    """The record, with all that is known beforehand."""
    recipe, start = run.built.recipe, run.start
    record = RunRecord(
        run.request.runs,
        f"{recipe.name}-{run.variant}",
        recipe=recipe.name,
        plan=run.plan.name,
        recipe_sha256=hashlib.sha256(recipe.path.read_bytes()).hexdigest(),
        plan_sha256=hashlib.sha256(recipe.plan.read_bytes()).hexdigest(),
        kernels=tuple(
            KernelRecord(
                role, kernel.name, image.version, image.bits, image.sha256, str(kernel.package or "")
            )
            for role, kernel in run.built.kernels.items()
            for image in [kernel.image]
        ),
        images=tuple(
            ImageRecord(image.name, image.kind, image.size, image.sha256, image.digest)
            for image in run.built.images.values()
        ),
        resumed=ResumedRecord(start.id, start.state.run, start.state.boundary.stage, start.state.saved)
        if start
        else None,
        labels=dict(run.request.labels),
        instrumented=run.request.payload.instrument,
        notes=run.payload.notes,
    )
    write_atomically(record.directory / "inputs.lock.json", run.built.lock.to_json())
    return record


def _aborted(plan: Plan, record: RunRecord, error: BaseException) -> RunResult:
    """The result of a run that never came to a verdict of its own."""
    from harness.stages.runner import all_stages

    known = explained(error)
    verdict = Verdict(known.outcome, record.stage, known.message, known.hint)
    ended = {stage.name: stage for stage in record.document.stages}
    broken = {record.stage: StageResult(record.stage, StageStatus.FAILED)}
    stages = all_stages(plan, (broken | ended).values())
    return RunResult(verdict, stages, not_applicable=plan.not_applicable)


def _write_film(record: RunRecord, progress: Progress) -> None:
    from harness.console.cast import write_cast

    name, directory = record.document.id, record.directory
    try:
        write_cast(
            directory / "console.raw", directory / "console.idx", directory / "console.cast", title=name
        )
    except OSError as error:  # the run is over, and its verdict recorded
        progress.note(f"no film: {error.strerror}; `harness replay {name} --cast FILE` makes one elsewhere")
