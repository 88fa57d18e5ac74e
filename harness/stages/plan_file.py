"""Plan files: where they are, and how they are read and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from harness.core import paths, toml
from harness.core.errors import ConfigError
from harness.machine.protocol import Accelerator
from harness.stages.needs import Needs, joined
from harness.stages.plan import Failure, Native, Plan, Seconds, Stage


class _PlanDocument(toml.Table, frozen=True):
    summary: str
    stage: tuple[Stage, ...] = ()
    end: Literal["guest-shutdown", "guest-reset", "line"] | None = None
    extends: str = ""
    end_line: str = ""
    include: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    failure: tuple[Failure, ...] = ()
    needs: Needs = Needs()
    scale: Mapping[Accelerator, Seconds] = msgspec.field(default_factory=dict)
    native: Native | None = None


class _Included(toml.Table, frozen=True):
    summary: str = ""
    include: tuple[str, ...] = ()
    stage: tuple[Stage, ...] = ()
    failure: tuple[Failure, ...] = ()
    needs: Needs = Needs()


def plan_files() -> dict[str, Path]:
    """The plans that come with the project, by name; others that lie there are to be included."""
    files = sorted((paths.data_root() / "images/plans").glob("*.toml"))
    return {path.stem: path for path in files if _is_plan(path.read_text(encoding="utf-8"))}


def _is_plan(text: str) -> bool:
    return text.startswith("summary =") and ("\nend =" in text or "\nextends =" in text)


def needs_files() -> dict[str, tuple[str, Needs]]:
    """What every plan of the project needs of kernels, and every file of needs that no plan includes yet.

    Summary and needs, by name; a file of needs without a summary is a part of others. Plans that boot without
    a kernel are not among them.
    """
    plans = {name: _document(path) for name, path in plan_files().items()}
    found = {name: (document.summary, load_plan(find_plan(name)).needs) for name, document in plans.items()}
    said = {name for document in plans.values() for name in document.include}
    for path in sorted((paths.data_root() / "images/plans").glob("needs-*.toml")):
        if path.stem not in said:
            included = toml.load(path, _Included)
            found[path.stem] = (included.summary, included.needs)
    return {name: found[name] for name, (summary, needs) in found.items() if summary and needs.of_kernels}


def find_plan(name: str) -> Path:
    """A plan by name, or by the path of its TOML file."""
    if name.endswith(".toml"):
        return Path(name)
    known = plan_files()
    if name not in known:
        hint = f"known plans: {', '.join(known)}; the path of a .toml file of your own works too"
        raise ConfigError(f"there is no plan {name!r}", hint=hint)
    return known[name]


def load_plan(path: Path) -> Plan:
    """Read a plan, with the stages and failures of the files that it includes after its own."""
    document = _document(path)
    failures = list(document.failure)
    needs = [document.needs]
    _check_patterns(path, document.stage, document.failure)
    for included, more in _included(path, document.include):
        _check_patterns(included, more.stage, more.failure)
        document = msgspec.structs.replace(document, stage=(*document.stage, *more.stage))
        failures += more.failure
        needs.append(more.needs)
    if not document.stage:
        hint = "docs/plans.md describes the keys"
        raise ConfigError(f"{path}: key stage: a plan has at least one", hint=hint)
    _check_names(path, document)
    _check_end(path, document)
    return Plan(
        name=path.stem,
        stages=document.stage,
        failures=tuple(failures),
        end=document.end or "line",
        end_line=document.end_line,
        packages=document.packages,
        needs=joined(needs),
        scale={str(kind): factor for kind, factor in document.scale.items()},
        native=document.native,
    )


def _included(path: Path, names: tuple[str, ...]) -> Iterator[tuple[Path, _Included]]:
    """The files that a plan includes, each followed by those that it includes itself; each once."""
    left, seen = list(names), set[str]()
    while left:
        name = left.pop(0)
        if name not in seen:
            seen.add(name)
            file = path.with_name(f"{name}.toml")
            yield file, (more := toml.load(file, _Included))
            left = [*more.include, *left]


def _document(path: Path) -> _PlanDocument:
    """A plan's file; where it extends another plan, that one's stages come first, and it adds to the rest."""
    document = toml.load(path, _PlanDocument)
    if not document.extends:
        if document.end is None:
            raise ConfigError(f"{path}: key end: it is missing", hint="docs/plans.md describes the keys")
        return document
    for key in ("end", "end_line", "scale"):
        if getattr(document, key):
            name = key.replace("_", "-")
            raise ConfigError(
                f"{path}: key {name}: it is that of the plan {document.extends}, which this one extends"
            )
    base = _document(path.with_name(f"{document.extends}.toml"))
    return msgspec.structs.replace(
        base,
        summary=document.summary,
        stage=(*base.stage, *document.stage),
        include=(*base.include, *document.include),
        failure=(*document.failure, *base.failure),
        needs=joined([base.needs, document.needs]),
        native=document.native or base.native,
    )


def _check_names(path: Path, document: _PlanDocument) -> None:
    """What a plan calls by name must exist, or a slip shows only when a run ends."""
    names: list[str] = []
    for index, stage in enumerate(document.stage):
        if stage.name in names:
            raise ConfigError(
                f"{path}: key stage[{index}].name: {stage.name!r} is the name of an earlier stage"
            )
        names.append(stage.name)
        if stage.unheard >= stage.budget:
            raise ConfigError(f"{path}: key stage[{index}].unheard: it takes all of the stage's budget")
    lists = [index for index, stage in enumerate(document.stage) if stage.produced]
    if len(lists) > 1:
        raise ConfigError(
            f"{path}: key stage[{lists[1]}].produced: only one stage can list what was produced"
        )
    checks = [f"{stage.name}.{check.name}" for stage in document.stage for check in stage.checks]
    checks += [f"{stage.name}.produced" for stage in document.stage if stage.produced]
    left_out = document.native.not_applicable if document.native else ()
    problems = [f"there is no stage or check {name!r}" for name in left_out if name not in {*names, *checks}]
    if set(names) <= set(left_out):
        problems.append("no stage is left")
    for problem in problems:
        raise ConfigError(f"{path}: key native.not-applicable: {problem}")
    for index, failure in enumerate(document.failure):
        for name in failure.stages:
            if name not in names:
                raise ConfigError(f"{path}: key failure[{index}].stages: there is no stage {name!r}")


def _check_end(path: Path, document: _PlanDocument) -> None:
    if (document.end == "line") != bool(document.end_line):
        raise ConfigError(f'{path}: key end-line: it goes with end = "line", and that with it')
    native = document.native.end_line if document.native else ""
    _check_patterns(path, (), (), {"end-line": document.end_line, "native.end-line": native})


def _check_patterns(
    path: Path,
    stages: tuple[Stage, ...],
    failures: tuple[Failure, ...],
    others: Mapping[str, str] | None = None,
) -> None:
    patterns = {f"failure[{index}].pattern": failure.pattern for index, failure in enumerate(failures)}
    patterns |= others or {}
    for index, failure in enumerate(failures):
        patterns |= {
            f"failure[{index}].context[{number}]": text for number, text in enumerate(failure.context)
        }
    for index, stage in enumerate(stages):
        patterns[f"stage[{index}].begins"] = stage.begins
        patterns |= {f"stage[{index}].notes[{number}]": note for number, note in enumerate(stage.notes)}
        patterns |= {
            f"stage[{index}].milestones[{number}]": text for number, text in enumerate(stage.milestones)
        }
        for number, check in enumerate(stage.checks):
            # Facts stand in braces, which no fixed text of a pattern needs: fill them with anything.
            key = f"stage[{index}].checks[{number}].output"
            patterns[key] = re.sub(r"\{[a-z0-9_]+\}", "0", check.output)
    for key, pattern in patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{path}: key {key}: {pattern!r} is no pattern: {error}") from error
    for index, failure in enumerate(failures):
        key = f"failure[{index}].reason"
        try:
            failure.reason.format_map(dict.fromkeys(failure.fields, ""))
        except KeyError as error:
            name = error.args[0]
            raise ConfigError(f"{path}: key {key}: {{{name}}} is no named group of the pattern") from error
        except (ValueError, LookupError, AttributeError) as error:
            problem = f"{failure.reason!r} cannot be filled in: {error}"
            raise ConfigError(f"{path}: key {key}: {problem}") from error
