"""Checkouts of stage0-posix: what is missing is named first, and what they make is compared."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import ConfigError
from harness.payload import stage0
from harness.recipe import Checkout, Initramfs, Text
from harness.record import gathering
from harness.stages import products
from testcases.support.mini_stage0 import builder, chosen, seed, tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return tree(tmp_path / "tree", seed())


def load(checkout: Path, **options: object) -> object:
    given = {"arch": "x86", "builder": None, "instrument": False} | options
    return stage0.load("stage0-posix", checkout, **given)  # type: ignore[arg-type]


def test_submodules_that_are_not_checked_out_are_named_with_the_command(checkout: Path) -> None:
    for name in ("M2libc", "x86"):
        shutil.rmtree(checkout / name)
        (checkout / name).mkdir()
    with pytest.raises(ConfigError, match=r"not checked out: M2libc, x86$") as caught:
        load(checkout)
    assert caught.value.hint == f"git -C {checkout} submodule update --init M2libc x86"
    assert caught.value.outcome.exit_code == 2
    shutil.rmtree(checkout / ".git")
    with pytest.raises(ConfigError, match="not checked out") as caught:
        load(checkout)
    assert "has no .git" in caught.value.hint


def test_what_is_no_checkout_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no kaem\.x86 and no x86\.answers and no after\.kaem"):
        load(tmp_path)


def test_recipes_that_run_a_checkout_want_one_and_others_do_not(checkout: Path) -> None:
    with pytest.raises(ConfigError, match="none is named"):
        chosen("stage0-posix", None, "x86", None, instrument=False)
    with pytest.raises(ConfigError, match="of no era that is known"):
        chosen("relay", checkout, "x86", None, instrument=False)
    with pytest.raises(ConfigError, match="no use for --instrument"):
        chosen("relay", None, "x86", None, instrument=True)
    with pytest.raises(ConfigError, match="needs a checkout of builder-hex0"):
        chosen("builder-hex0", checkout, "x86", None, instrument=False)
    with pytest.raises(ConfigError, match="for x86 only"):
        chosen("builder-hex0", checkout, "AMD64", None, instrument=False)


def test_what_the_scripts_make_is_read_from_them(checkout: Path) -> None:
    assert stage0.products(checkout, "x86") == ("x86/artifact/M2", "x86/bin/mini")


def test_instrumented_is_said_and_replaces_the_hook_alone(checkout: Path) -> None:
    recipe, _ = chosen("stage0-posix", checkout, "x86", None, instrument=True)
    [image] = recipe.images
    assert isinstance(image, Initramfs)
    [given_tree] = [content for content in image.contents if isinstance(content, Checkout)]
    assert "after.kaem" in given_tree.drop
    [hook] = [content for content in image.contents if isinstance(content, Text)]
    assert hook.text.splitlines()[-1] == "./x86/bin/sha256sum ./x86/bin/mini"
    plain, _ = chosen("stage0-posix", checkout, "x86", None, instrument=False)
    assert not any(isinstance(content, Text) for content in plain.images[0].contents)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "no sum at all\n", f"{'0' * 63}  x86/bin/mini\n"])
def test_answers_that_answer_nothing_are_refused(checkout: Path, text: str) -> None:
    (checkout / "x86.answers").write_text(text)
    with pytest.raises(ConfigError, match="answers"):
        stage0.expected(checkout, "x86")


def test_the_tree_goes_in_without_what_other_architectures_need(checkout: Path, tmp_path: Path) -> None:
    """A real submodule that is not checked out stays out where it is not needed, and is named where it is."""
    other = tmp_path / "other"
    shutil.copytree(checkout, other)
    git = ["git", "-C", str(checkout), "-c", "protocol.file.allow=always"]
    for name in ("armv7l", "mescc-tools/M2libc"):
        subprocess.run([*git, "submodule", "add", "-q", str(other), name], check=True, capture_output=True)
        shutil.rmtree(checkout / name)
        (checkout / name).mkdir()
    from harness.formats.names import matches
    from harness.sources import checkout as sources

    recipe, _ = chosen("stage0-posix", checkout, "x86", None, instrument=False)
    drop = recipe.images[0].contents[0].drop  # type: ignore[union-attr]
    found = sources.look(checkout, leave=lambda path: matches(path, drop))
    assert "x86/kaem-minimal.hex0" in {file.path for file in found.files}
    with pytest.raises(ConfigError, match=r"the submodule .*armv7l is not checked out"):
        sources.look(checkout)


def test_the_disk_without_linux_has_both_checkouts(checkout: Path, tmp_path: Path) -> None:
    own = builder(tmp_path / "builder", "x")
    recipe, expected = chosen("builder-hex0", checkout, "x86", own, instrument=False)
    assert recipe.images[0].stage1 == f"{own}/builder-hex0-x86-stage1.hex0"  # type: ignore[union-attr]
    assert list(expected) == ["/x86/bin/mini"]


SUM, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("sums", "approved", "told"),
    [
        ({"x": SUM}, set(), ""),
        ({}, {"x"}, ""),
        ({"x": OTHER}, {"x"}, "x has the sha256 b"),
        ({"y": SUM}, {"x"}, "was not made or not checked"),
        ({}, set(), "was not made or not checked"),
    ],
)
def test_what_the_harness_sees_counts_more_than_what_the_payload_says(
    sums: dict[str, str], approved: set[str], told: str
) -> None:
    assert told in products.disproved({"x": SUM}, sums, approved)
    assert bool(told) == bool(products.disproved({"x": SUM}, sums, approved))


@given(st.dictionaries(st.from_regex(r"x86/(bin|artifact)/[\w.+-]{1,60}", fullmatch=True), st.just(SUM)))
def test_sums_on_a_wrapped_console_are_read_as_they_were_printed(sums: dict[str, str]) -> None:
    import tempfile
    from pathlib import Path

    lines = [f"{digest}  ./{path}" for path, digest in sums.items()] + [
        "x86/bin/ok: OK",
        "x86/bin/bad: FAILED",
    ]
    # As a BIOS does it: a line that is full goes on in the next one, also when nothing follows.
    pieces = [line[start : start + 80] for line in lines for start in range(0, len(line) + 1, 80)]
    with tempfile.TemporaryDirectory() as place:
        raw = Path(place) / "console.raw"
        raw.write_bytes("".join(f"{piece}\r\n" for piece in pieces).encode())
        shown, approved = gathering.shown(raw, wraps=80)
        assert shown == {f"/{path}": digest for path, digest in sums.items()}
        assert approved == {"/x86/bin/ok"}
        products.write_sums(shown, Path(place))
        assert products.read(Path(place)) == shown
