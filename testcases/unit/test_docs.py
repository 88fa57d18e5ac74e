"""The documents stay true: keys, fields, outcomes, commands, options, files and links."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from urllib.parse import urlsplit

import msgspec
import pytest
import typer.main

from harness import recipe
from harness.cli import program
from harness.core import architecture, toml
from harness.core.outcome import Outcome
from harness.kernel import catalogue, features, stock
from harness.machine.board import document as board
from harness.machine.protocol import MachineRecord
from harness.matrix import document as matrix
from harness.payload import era
from harness.qualify import questions
from harness.record import record
from harness.sources import packages
from harness.stages import events, needs, plan, plan_file, products, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text("utf-8")

Structs = tuple[type[msgspec.Struct], ...]

# Where the keys of TOML files are: page, the line that begins the part, and what the part describes.
TABLES: list[tuple[str, str, Structs]] = [
    ("recipes", "## Top level", (recipe.RecipeDocument,)),
    ("recipes", "### `[debian]`", (recipe.Debian,)),
    ("recipes", "### `[kernels]`", (recipe.Kernels,)),
    ("recipes", "### `[boot]`", (recipe.Boot,)),
    ("recipes", "### `[native]`", (recipe.Native,)),
    ("recipes", "Keys of `[[native.then]]`", (recipe.NativeCall,)),
    ("recipes", "Keys of `[[boot.drive]]`", (recipe.Drive,)),
    *(("recipes", f"### `{kind.__struct_config__.tag}`", (kind,)) for kind in get_args(recipe.Image)),
    ("recipes", "#### `[[image.partition]]`", (recipe.Partition,)),
    ("recipes", "#### `[[image.menu]]`", (recipe.MenuEntry,)),
    *(("recipes", f"**`{kind.__struct_config__.tag}`**", (kind,)) for kind in get_args(recipe.Content)),
    ("live-bootstrap", "## An era of your own", (era._EraDocument,)),
    ("live-bootstrap", "`[[submodule]]`:", (era.Submodule,)),
    ("live-bootstrap", "`[[distfiles]]`:", (era.Distfiles,)),
    ("live-bootstrap", "`[config]`:", (era.Config,)),
    ("live-bootstrap", "`[mode.NAME]`:", (era.Mode,)),
    ("live-bootstrap", "`[mode.NAME.instrument]`:", (era.Instrument,)),
    ("kernels", "## The catalogue", (catalogue.KernelLine,)),
    ("kernels", "Keys of `[debian]`", (stock.DebianKernel,)),
    ("kernels", "Keys of `[file]`", (catalogue.KernelFile,)),
    ("kernel-build", "Keys of `[build]`", (catalogue.KernelBuild,)),
    ("kernels", "## Features", (features.Feature,)),
    ("kernels", "## Architectures", (architecture.Architecture,)),
    ("kernels", "Keys of its table `[qemu]`", (architecture.Qemu,)),
    ("qualify", "## Questions", (questions.Question,)),
    ("plans", "## `[needs]`", (needs.Needs,)),
    ("plans", "Keys of `seed` and `second`:", (needs.KernelNeeds,)),
    ("plans", "## Top level", (plan_file._PlanDocument,)),
    ("plans", "## `[native]`", (plan.Native,)),
    ("plans", "## `[[stage]]`", (plan.Stage,)),
    ("plans", "## `[[stage.checks]]`", (plan.Check,)),
    ("plans", "## `[[failure]]`", (plan.Failure,)),
    ("boards", "## A board's file", (board.BoardDocument,)),
    ("boards", "### `[serial]`", (board.Serial,)),
    ("boards", "### `[power]`", (board.Power,)),
    ("boards", "### `[labgrid]`", (board.Labgrid,)),
    ("boards", "### `[medium]`", (board.BoardMedium,)),
    ("matrix", "## The file", (matrix.MatrixDocument,)),
    ("matrix", "### `[axes]`", (matrix.Axes,)),
    ("matrix", "### `[checkout.NAME]`", (matrix.Checkout,)),
    ("matrix", "### `[[include]]`", (matrix.Include,)),
    ("matrix", "### `[[exclude]]`", (matrix.Exclude,)),
    ("matrix", "### `[[rule]]`", (matrix.Rule,)),
]
SAID_IN_PROSE: Structs = (
    plan_file._Included,
    features._FeatureDocument,
    questions._QuestionsDocument,
    era.Era,  # the document, with where it lies
    matrix.Match,
)

FIELDS: list[tuple[str, type[msgspec.Struct]]] = [
    ("## run.json", record.RunDocument),
    ("`host`:", record.HostRecord),
    ("Each of `kernels`:", record.KernelRecord),
    ("Each of `images`:", record.ImageRecord),
    ("`machine`:", MachineRecord),
    ("`resumed`:", record.ResumedRecord),
    ("Each of `checkpoints`:", events.CheckpointRecord),
    ("`taken_over`:", events.TakenOverRecord),
    ("`produced`:", events.ProducedRecord),
    ("Each of `fetched`:", events.FetchedRecord),
    ("`verdict`:", verdict.Verdict),
    ("Each of `evidence`:", verdict.Evidence),
    ("Each of `stages`:", verdict.StageResult),
    ("Each of `checks`:", verdict.CheckResult),
    ("Each of the run's `packages`:", record.PackageRecord),
    ("## inputs.lock.json", packages.Lock),
    ("Each of `resolutions`:", packages.Resolution),
    ("Each of `packages`:", packages.Package),
    ("Each of `files` there:", packages.SourceFile),
]


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text("utf-8")


def rows(text: str, start: str) -> list[list[str]]:
    """The cells of the first table behind the line that begins so, without its head."""
    lines = iter(text.splitlines())
    assert any(line.startswith(start) for line in lines), f"no line begins with {start!r}"
    found: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif found:
            break
    return found[2:]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def id_of(value: object) -> str | None:
    return value.strip("#*: `") if isinstance(value, str) else None


def subclasses(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


IN_WORDS: dict[type, str] = {
    needs.Needs: "none asked",
    needs.KernelNeeds: "none asked",
    board.Serial: "that of the place",
    board.Power: "that of the place",
}


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None:
        return "none"
    if type(value) in IN_WORDS:
        return IN_WORDS[type(value)]
    if field.encode_name == "mode":
        return f"`0o{value:o}`"
    if isinstance(value, str) and value and field.encode_name == "output":
        return f"`'{value}'`"  # as it is written in a plan
    return f"`{json.dumps(value)}`"


@pytest.mark.parametrize(("name", "start", "structs"), TABLES, ids=id_of)
def test_every_key_is_described_with_its_default(name: str, start: str, structs: Structs) -> None:
    fields = [field for struct in structs for field in msgspec.structs.fields(struct)]
    wanted = {field.encode_name: default_of(field) for field in fields}
    assert {words(row[0])[0]: row[2] for row in rows(page(name), start)} == wanted


def test_no_kind_of_table_is_forgotten() -> None:
    described = {struct for _, _, structs in TABLES for struct in structs}
    assert described | set(SAID_IN_PROSE) == set(subclasses(toml.Table))
    tags = {struct.__struct_config__.tag for struct in subclasses(toml.Table)}
    contents = {json.loads(words(row[0])[0]) for row in rows(page("recipes"), "### Contents")}
    kinds = {json.loads(words(row[0])[0]) for row in rows(page("recipes"), "## `[[image]]`")}
    assert contents | kinds | {None} == tags


def test_the_example_has_one_of_each_content_and_is_a_recipe() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", page("recipes"), re.DOTALL | re.MULTILINE)
    [example] = [block for block in blocks if "One of each" in block]
    document = msgspec.convert(tomllib.loads(example), recipe.RecipeDocument)
    added = {type(content) for image in document.image for content in recipe.contents_of(image)}
    assert added == set(get_args(recipe.Content))


@pytest.mark.parametrize(("start", "struct"), FIELDS, ids=id_of)
def test_every_field_of_a_record_is_described(start: str, struct: type[msgspec.Struct]) -> None:
    described = [word for row in rows(page("records"), start) for word in words(row[0])]
    assert sorted(described) == sorted(struct.__struct_encode_fields__)


def test_every_struct_in_a_record_is_described() -> None:
    def within(kind: object) -> set[type[msgspec.Struct]]:
        if isinstance(kind, msgspec.inspect.StructType):
            inner = (within(field.type) for field in kind.fields)
            return {kind.cls}.union(*inner)
        parts: list[object] = [
            *getattr(kind, "types", ()),
            *([kind.item_type] if hasattr(kind, "item_type") else []),
        ]
        return set().union(*map(within, parts))

    found = within(msgspec.inspect.type_info(record.RunDocument)) | within(
        msgspec.inspect.type_info(packages.Lock)
    )
    assert found == {struct for _, struct in FIELDS}


def test_every_event_is_described_with_its_fields() -> None:
    described = {words(row[0])[0]: row[1] for row in rows(page("records"), "## events.jsonl")}
    kinds = {
        kind.__name__: kind.__struct_encode_fields__
        for kind in subclasses(events.Event)
        if kind.__module__ == events.__name__  # others read one of these back
    }
    assert described.keys() == kinds.keys()
    for name, fields in kinds.items():
        assert set(fields) <= set(words(described[name])), name


def test_every_file_of_a_record_is_described() -> None:
    described = {words(row[0])[0] for row in rows(page("records"), "## Files")}
    written = {"run.json", products.SUMS, products.TREE}
    for path in (
        path
        for part in ("run", "record", "stages", "machine")
        for path in (ROOT / "harness" / part).rglob("*.py")
    ):
        text = path.read_text("utf-8")
        written |= set(re.findall(r'directory / "([\w.-]+)"', text))
    removed, cached = {"screen.bin"}, {"gate.lock", "remarks.json"}
    assert written - removed - cached == described


def test_known_facts_are_described() -> None:
    text = (ROOT / "harness/stages/runner.py").read_text("utf-8")
    given = re.search(r"facts \|= \{(.*)\*\*facts", text)
    assert given
    known = {
        *re.findall(r'"(\w+)":', given[1]),
        "expected_seed_kernel",
        "expected_second_kernel",
        "expected_target",
    }
    assert {words(row[0])[0] for row in rows(page("plans"), "## Patterns, lines and facts")} == known


@pytest.mark.parametrize("text", [page("commands"), page("architecture")], ids=["commands", "architecture"])
def test_every_outcome_has_its_exit_code(text: str) -> None:
    pairs = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", text, re.MULTILINE)
    pairs += [(code, name) for name, code in re.findall(r"^\| ([A-Z]+) \| (\d+) \|", text, re.MULTILINE)]
    assert sorted(pairs) == sorted((str(outcome.exit_code), outcome.value) for outcome in Outcome)


@cache
def commands() -> dict[str, set[str]]:
    """The program's commands and their options."""
    root = typer.main.get_command(program())
    found: dict[str, set[str]] = {}
    for name, command in getattr(root, "commands", {}).items():
        inner = [command, *getattr(command, "commands", {}).values()]
        found[name] = {option for each in inner for parameter in each.params for option in parameter.opts}
    found[""] = {option for parameter in root.params for option in parameter.opts}
    return found


def code_of(text: str) -> Iterator[str]:
    """Code spans, and the lines of code blocks."""
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from words(line)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_and_targets_exist(path: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for code in code_of(path.read_text("utf-8")):
        if match := re.search(r"(?:^|[ /])harness (?:--\S+ )*([a-z]+)", code):
            assert match[1] in commands(), code
        if match := re.match(r" *make ([a-z]+)", code):
            assert match[1] in targets, code


def test_all_commands_are_described() -> None:
    table = [words(row[0])[0].split()[1] for row in rows(page("commands"), "## Commands")]
    assert sorted(table) == sorted(commands().keys() - {""})


@pytest.mark.parametrize(
    "name",
    [
        "README",
        "commands",
        "interactive",
        "recipes",
        "images",
        "plans",
        "records",
        "checkpoints",
        "flashing",
        "boards",
        "benchmarks",
        "bisect",
        "history",
        "matrix",
        "report",
    ],
)
def test_options_exist(name: str) -> None:
    text = README if name == "README" else page(name)
    of_dask = {"--nthreads", "--resources"}
    known = {*set().union(*commands().values()), "--help", *of_dask}
    for code in code_of(text):
        if "benchmarks/" not in code and not code.lstrip().startswith("pytest "):  # programs of their own
            assert set(re.findall(r"(?:^|[ \"])(--[a-z][a-z-]+)", code)) <= known, code


def test_readme_shows_every_folder() -> None:
    shown = re.findall(r"^ *([\w./]+)  ", README.partition("## Where things lie")[2], re.MULTILINE)
    inside = {f"{path.name}/" for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()}
    assert inside <= set(shown)
    for name in shown:
        assert name == "runs/" or (ROOT / name).exists() or (ROOT / "harness" / name).exists(), name


def anchors(text: str) -> set[str]:
    """The anchors that headings get: small letters, no punctuation, hyphens for spaces."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if urlsplit(target).scheme:
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    folders = ("harness", "images", "kernels", "docs", "ci", "testcases")
    for code in code_of(path.read_text("utf-8")):
        if re.fullmatch(rf"(?:{'|'.join(folders)})/[a-z\d_./-]+", code):
            assert (ROOT / code).exists(), code


def test_pages_are_plain_text() -> None:
    for path in PAGES:
        text = path.read_text("utf-8")
        assert text.endswith("\n"), path.name
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), path.name
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        broken = [line for line in prose.splitlines() if line.count("`") % 2]
        assert broken == [], path.name  # a code span over two lines cannot be copied
