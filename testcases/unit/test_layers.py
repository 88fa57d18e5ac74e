"""The rules of CONTRIBUTING.md that can be read off the source: who may import whom, and what nobody does."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2] / "harness"
FILES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py" and "_data" not in path.parts
}

# A part imports from the lines above its own, and from itself; types count like everything else.
ORDER = [
    "outcome",
    "errors",
    "places progress size compression writing",
    "store toml",
    # What is booted.
    "recipe",
    "sources",
    "kernel",
    "image",
    "payload",
    "building",
    "scripting",
    # Onto a real disk.
    "flash",
    # How it is booted and followed. The console comes first: a machine hands out a transport.
    "console",
    "machine",
    "board",
    "stages",
    "report",
    # Who takes part.
    "attendance",
    # Who puts both together.
    "checkpoints",
    "slices",
    "roots",
    "natively",
    "starting",
    "answering",
    "following",
    "pipeline",
    "boarding fitness",
    "doctor rebuild",
    "recheck",
    "matrix",
    "bisect qualify",
    "cli pytest_plugin",
    "__main__",
]
RANK = {part: rank for rank, line in enumerate(ORDER) for part in line.split()}

# Where less is allowed than the order would: part, what it takes from, and all that it may take.
NARROW = {
    ("machine", "console"): {"console.transport"},
    ("stages", "machine"): {"machine.protocol"},
    # What runs knows nothing of how things are built.
    **{
        (runs, builds): set[str]()
        for runs in ("console", "machine", "board", "stages")
        for builds in ("recipe", "sources", "kernel", "image")
    },
    # A disk takes any image, however it was made.
    ("flash", "image"): {"image.inspect.opened"},
    **{("flash", builds): set[str]() for builds in ("recipe", "sources", "kernel", "building")},
}


def imports(source: str) -> Iterator[str]:
    """The parts and modules of the package that a source imports, such as "machine.protocol"."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            words = name.split(".")
            if words[0] == "harness" and len(words) > 1 and words[1] in RANK:
                inner = (".".join(words[1:end]) for end in range(len(words), 1, -1))
                yield next(part for part in inner if part in FILES or part in RANK)


def problems(module: str, source: str) -> list[str]:
    """What a module imports against the order."""
    part = module.partition(".")[0]
    found = []
    for imported in imports(source):
        other = imported.partition(".")[0]
        backwards = other != part and RANK[other] >= RANK[part]
        if backwards or imported not in NARROW.get((part, other), {imported}):
            found.append(f"{module} imports {imported}")
    return found


@pytest.mark.parametrize("module", FILES)
def test_data_flows_one_way(module: str) -> None:
    assert problems(module, FILES[module].read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("image.disk", "from harness.machine.protocol import End"),
        ("image.disk", "from harness.machine import protocol"),
        ("image.disk", "if TYPE_CHECKING:\n    from harness import pipeline"),
        ("image.disk", "def f():\n    import harness.cli"),
        ("stages.runner", "from harness.machine.qemu import QemuMachine"),
        ("stages.runner", "from harness.machine import qemu"),
        ("machine.qemu", "from harness.console.recorder import Recorder"),
        ("console.shell", "from harness.recipe import Recipe"),
        ("errors", "from harness import places"),
    ],
)
def test_an_import_against_the_order_is_seen(module: str, source: str) -> None:
    assert len(problems(module, source)) == 1


def test_every_part_has_its_place_in_the_order() -> None:
    assert {module.partition(".")[0] for module in FILES} == set(RANK)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in imports(path.read_text("utf-8")) if name in FILES and name != module}
        for module, path in FILES.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [name for name in FILES if re.search(r"\b(utils?|helpers?|common|misc|manager)$", name)] == []


@pytest.mark.parametrize("module", FILES)
def test_no_class_is_a_manager(module: str) -> None:
    nodes = ast.walk(ast.parse(FILES[module].read_text("utf-8")))
    assert [n.name for n in nodes if isinstance(n, ast.ClassDef) and n.name.endswith("Manager")] == []


@pytest.mark.parametrize("module", FILES)
def test_a_module_has_one_job(module: str) -> None:
    assert len(FILES[module].read_text("utf-8").splitlines()) <= 350


@pytest.mark.parametrize("module", FILES)
def test_nothing_goes_through_a_shell_or_asks_for_root(module: str) -> None:
    source = FILES[module].read_text("utf-8")
    assert not re.search(r"\bsudo\b", source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword):
            assert node.arg != "shell", f"line {node.value.lineno}"
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in {"os.system", "os.popen"}, f"line {node.lineno}"


@pytest.mark.parametrize("module", FILES)
def test_no_exception_is_caught_without_a_name(module: str) -> None:
    handlers = (
        n for n in ast.walk(ast.parse(FILES[module].read_text("utf-8"))) if isinstance(n, ast.ExceptHandler)
    )
    assert [handler.lineno for handler in handlers if handler.type is None] == []


@pytest.mark.parametrize("module", FILES)
def test_only_the_command_line_ends_the_process(module: str) -> None:
    # `main` in `cli/__init__.py`; and what are programs of their own.
    if module in {"cli", "machine.enclosure", "board.keeper"}:
        return
    names = {
        ast.unparse(node)
        for node in ast.walk(ast.parse(FILES[module].read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert names.isdisjoint({"sys.exit", "os._exit", "os.abort", "SystemExit", "exit", "quit"})
