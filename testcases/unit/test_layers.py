"""Rules of CONTRIBUTING.md that can be read off the source: the order of imports, and what no module does."""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2] / "harness"
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or path.name != "__init__.py"]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
    for path in FILES
    if "_data" not in path.parts
}


@cache
def parsed() -> dict[str, list[ast.AST]]:
    """The nodes of each module, read by the tests that ask for them: every worker imports this file."""
    return {module: list(ast.walk(ast.parse(source))) for module, source in SOURCES.items()}


# The packages from the lowest to the highest. Each imports from the lines above its own, and from itself;
# imports for types count like all others.
ORDER = [
    "core",
    "formats",
    "store",
    "recipe",
    "sources console",
    "kernel flash derivation",
    "payload",
    "image",
    "machine",
    "stages",
    "record",
    "report",
    "run",
    "matrix",
    "bisect qualify",
    "cli pytest_plugin",
    "__main__",
]
RANK = {package: rank for rank, line in enumerate(ORDER) for package in line.split()}

# Where less is allowed than the order would: package, what it takes from, and all that it may take.
NARROW = {
    # A machine hands over its end of the console, and a board's serial port takes only so many characters.
    ("machine", "console"): {"console.transport", "console.pacing"},
    ("stages", "machine"): {"machine.protocol"},
    # What runs knows nothing of how things are built; `machine.kinds` makes machines of what was built.
    **{
        (runs, builds): set[str]()
        for runs in ("console", "machine", "stages")
        for builds in ("recipe", "sources", "kernel", "image")
    },
    # A disk takes any image, however it was made.
    ("flash", "formats"): {"formats.opened"},
}


def imports(nodes: list[ast.AST]) -> Iterator[str]:
    """The packages and modules of the harness that a module imports, such as "machine.protocol"."""
    for node in nodes:
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
                yield next(part for part in inner if part in SOURCES or part in RANK)


def problems(module: str, nodes: list[ast.AST]) -> list[str]:
    """What a module imports against the order."""
    package = module.partition(".")[0]
    found = []
    for imported in imports(nodes):
        other = imported.partition(".")[0]
        backwards = other != package and RANK[other] >= RANK[package]
        narrow = {} if module.startswith("machine.kinds") else NARROW
        if backwards or imported not in narrow.get((package, other), {imported}):
            found.append(f"{module} imports {imported}")
    return found


def test_imports_go_down() -> None:
    assert [problem for module, nodes in parsed().items() for problem in problems(module, nodes)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("image.disk", "from harness.machine.protocol import End"),
        ("image.disk", "from harness.machine import protocol"),
        ("image.disk", "if TYPE_CHECKING:\n    from harness.run import prepare"),
        ("image.disk", "def f():\n    import harness.cli"),
        ("stages.runner", "from harness.machine.qemu import QemuMachine"),
        ("stages.runner", "from harness.machine import qemu"),
        ("machine.qemu", "from harness.console.recorder import Recorder"),
        ("console.shell", "from harness.recipe import Recipe"),
        ("formats.elf", "from harness.image.ingredients import Artifact"),
        ("core.errors", "from harness import store"),
    ],
)
def test_an_import_against_the_order_is_seen(module: str, source: str) -> None:
    assert len(problems(module, list(ast.walk(ast.parse(source))))) == 1


def test_every_package_has_its_place_in_the_order() -> None:
    assert {module.partition(".")[0] for module in SOURCES} == set(RANK)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        module: {name for name in imports(nodes) if name in SOURCES and name != module}
        for module, nodes in parsed().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


def test_names_say_something() -> None:
    empty = re.compile(r"\b(utils?|helpers?|common|misc|manager)$")
    classes = [
        f"{module}.{node.name}"
        for module, nodes in parsed().items()
        for node in nodes
        if isinstance(node, ast.ClassDef) and node.name.endswith("Manager")
    ]
    assert [*filter(empty.search, SOURCES), *classes] == []


def test_a_module_has_one_job() -> None:
    assert [module for module, source in SOURCES.items() if source.count("\n") > 350] == []


# Most lines of a function, and most parameters; a command's options are its parameters, and count as neither.
LINES, PARAMETERS = 60, 12


def oversized(module: str, nodes: list[ast.AST]) -> Iterator[str]:
    """The functions of a module that are too long, or take too much."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            command = module.startswith("cli.")
            lines = node.end_lineno - (node.body[0].lineno if command else node.lineno) + 1
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if lines > LINES or (len(given) > PARAMETERS and not command):
                yield f"{module}.{node.name} has {lines} lines and {len(given)} parameters"


def test_functions_are_of_a_size_to_be_read() -> None:
    assert [each for module, nodes in parsed().items() for each in oversized(module, nodes)] == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("image.disk", "def f():\n" + "    a()\n" * 59, 0),
        ("image.disk", "def f():\n" + "    a()\n" * 60, 1),
        ("image.disk", f"async def f({', '.join(f'a{i}' for i in range(13))}): ...", 1),
        ("cli.build", f"def f({', '.join(f'a{i}' for i in range(13))}): ...", 0),
        ("cli.build", "def f(\n" + "".join(f"    a{i},\n" for i in range(40)) + "):\n" + "    a()\n" * 61, 1),
    ],
)
def test_an_oversized_function_is_seen(module: str, source: str, found: int) -> None:
    assert len([*oversized(module, list(ast.walk(ast.parse(source))))]) == found


def test_nothing_goes_through_a_shell_or_asks_for_root() -> None:
    found = [module for module, source in SOURCES.items() if re.search(r"\bsudo\b", source)]
    for module, nodes in parsed().items():
        for node in nodes:
            if isinstance(node, ast.keyword) and node.arg == "shell":
                found.append(f"{module}: shell= in line {node.value.lineno}")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.system", "os.popen"}:
                found.append(f"{module}: line {node.lineno}")
    assert found == []


def test_no_exception_is_caught_without_a_name() -> None:
    assert [
        f"{module}: line {node.lineno}"
        for module, nodes in parsed().items()
        for node in nodes
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ] == []


def test_only_the_command_line_ends_the_process() -> None:
    # `main` in `cli/__init__.py`; and what are programs of their own.
    programs = {"cli", "machine.namespaces", "machine.board.place_holder"}
    ends = {"sys.exit", "os._exit", "os.abort", "SystemExit", "exit", "quit"}
    assert [
        f"{module}: line {node.lineno}"
        for module, nodes in parsed().items()
        if module not in programs
        for node in nodes
        if isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in ends
    ] == []
