"""TOML files: what is wrong with one is said in one sentence that names file and key."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core import paths, toml
from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.recipe import load_recipe
from harness.stages.plan_file import load_plan

if TYPE_CHECKING:
    from pathlib import Path


# As toml.Table; tables of the tests would be searched for in docs/.
class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    number: int
    some_words: tuple[str, ...] = ()
    size: Literal["small", "large"] | int = "small"


class Apple(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="fruit", tag="apple"):
    pass


class Pear(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="fruit", tag="pear"):
    taste: Outcome = Outcome.PASS


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    name: str
    inner: tuple[Inner, ...] = ()
    basket: dict[str, list[Apple | Pear]] = {}


def load(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "file.toml"
    path.write_text(text, encoding="utf-8")
    return toml.load(path, Outer)


def test_a_good_file_becomes_a_value(tmp_path: Path) -> None:
    text = 'name = "ü"\n[[inner]]\nnumber = 1\n[[inner]]\nnumber = 2\nsome-words = ["a"]\n'
    value = load(tmp_path, text)
    assert value == Outer(name="ü", inner=(Inner(number=1), Inner(number=2, some_words=("a",))))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "key name is missing"),
        ("name = 1", "key name: expected `str`, got `int`"),
        ('name = ""\nnaem = ""', "key naem is not known"),
        ('name = ""\n[[inner]]\nnumber = 1\n[[inner]]\n', "key inner[1].number is missing"),
        ('name = ""\n[[inner]]\nnumber = "1"', "key inner[0].number: expected `int`, got `str`"),
        ('name = ""\n[[inner]]\nnumber = 1\nnone = 1', "key inner[0].none is not known"),
        ('name = ""\n[[inner]]\nnumber = 1\nsome-words = [""]\nx = 1', "key inner[0].x is not known"),
        (
            'name = ""\n[[inner]]\nnumber = 1\nsome-words = ["", 2]',
            "key inner[0].some-words[1]: expected `str`, got `int`",
        ),
        (
            'name = ""\n[[inner]]\nnumber = 1\nsize = "big"',
            "key inner[0].size: 'big' is none of large, small",
        ),
        ('name = ""\nbasket.a = [{fruit = "fig"}]', "key basket[...][0].fruit: 'fig' is none of apple, pear"),
        (
            'name = ""\nbasket.a = [{fruit = "pear", taste = "SOUR"}]',
            f"key basket[...][0].taste: 'SOUR' is none of {', '.join(Outcome)}",
        ),
        ('name = ""\ninner = 3', "key inner: expected `array`, got `int`"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.message == f"{tmp_path}/file.toml: {problem}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("naem = 1", "the keys are name, inner, basket"),
        (
            'name = ""\n[[inner]]\nnumber = 1\nnone = 1',
            "the keys of inner[0] are number, some-words, size",
        ),
        # Of several kinds of table, nobody knows which one was meant.
        ('name = ""\nbasket.a = [{fruit = "pear", colour = 1}]', "docs/ describes the keys of each file"),
    ],
)
def test_who_writes_a_key_that_is_not_known_is_told_the_others(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="is not known") as caught:
        load(tmp_path, text)
    assert caught.value.hint == hint


@pytest.mark.parametrize("text", ["name =", "name = ''\nname = ''", "\0", "[a\n"])
def test_what_is_no_toml_is_named_with_the_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.toml is not valid TOML: .*(line \d|end of document)"):
        load(tmp_path, text)


def test_what_is_no_utf_8_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "file.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match=r"file\.toml is not valid TOML: .*utf-8"):
        toml.load(tmp_path / "file.toml", Outer)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.toml: No such file or directory"):
        toml.load(tmp_path / "none.toml", Outer)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"cannot read {tmp_path}: Is a directory"):
        toml.load(tmp_path, Outer)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.touch(mode=0)
    with pytest.raises(ConfigError, match=r"cannot read .*file\.toml: Permission denied"):
        toml.load(path, Outer)


# Keys that mean something reach further than random ones, and whatever stands behind them may be wrong.
WORDS = """
    summary plan debian suite architecture kernels seed second qualified boot initramfs disk memory cpu
    command-line image name kind size label contents add path source mode text target names keep drop
    kernel stage title budget silence begins prompt notes checks types hint run proves status output
    failure pattern outcome reason clue screen stages end include scale
"""
VALUES = """
    initramfs disk file text directory symlink device packages modules image relay /abs ../up 1G 640M
    sysa seed guest-shutdown FAIL {x} {x.y} { ( (?P<x>.) *
"""
KEYS = st.sampled_from(WORDS.split()) | st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)


def written(value: object) -> str:
    """A value as TOML."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {written(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(written(item) for item in value) + "]"
        case bool():
            return str(value).lower()
        case str():
            escaped = "".join(letter if letter.isalnum() else f"\\U{ord(letter):08x}" for letter in value)
            return f'"{escaped}"'
    return str(value)


SCALARS = (
    st.sampled_from(VALUES.split())
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.booleans()
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(KEYS, TREES, max_size=8).map(
    lambda document: "".join(f"{key} = {written(value)}\n" for key, value in document.items())
)


def read_or_refused(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", newline="")
    for read in (lambda: load_plan(path), lambda: load_recipe(str(path))):
        try:
            read()
        except ConfigError as error:
            assert str(path) in error.message  # noqa: PT017 - either is right


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file among all that a recipe or a plan can refer to."""
    root = tmp_path_factory.mktemp("images")
    for name in ("relay", "plans"):
        (root / name).symlink_to(paths.data_root() / "images" / name)
    (root / "recipes").mkdir()
    return root / "recipes/file.toml"


@given(text=DOCUMENTS)
def test_any_document_is_read_or_refused_by_name(place: Path, text: str) -> None:
    read_or_refused(text, place)


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_or_refused_by_name(place: Path, text: str) -> None:
    read_or_refused(text, place)


@pytest.mark.parametrize("name", ["recipes/relay", "plans/relay"])
@given(data=st.data())
def test_a_good_document_with_one_wrong_value_is_read_or_refused_by_name(
    place: Path, name: str, data: st.DataObject
) -> None:
    document = tomllib.loads((paths.data_root() / f"images/{name}.toml").read_text())
    document.pop("include", None)  # stands beside the shipped plan, not beside ours
    node: Any = document
    while True:
        key = data.draw(st.sampled_from(range(len(node)) if isinstance(node, list) else sorted(node)))
        if not (isinstance(node[key], dict | list) and node[key]) or data.draw(st.integers(0, 3)) == 0:
            break
        node = node[key]
    node[key] = data.draw(TREES)
    read_or_refused("".join(f"{key} = {written(value)}\n" for key, value in document.items()), place)
