"""ATerm, NAR and store paths: known answers of Nix, everything there and back, damaged and hostile files."""

from __future__ import annotations

import hashlib
import io
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.formats import aterm, nar, store_path
from harness.formats.extract import extract
from harness.formats.tree import Member

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('\\"\n\r\t(),[]'),
    max_size=20,
)
NAMES = st.text(st.sampled_from("abAB.-é\n"), min_size=1, max_size=4).filter(
    lambda name: name not in {".", ".."}
)


def sorted_rows() -> st.SearchStrategy[tuple[str, ...]]:
    return st.sets(TEXT, max_size=3).map(lambda texts: tuple(sorted(texts)))


def derivations() -> st.SearchStrategy[aterm.Derivation]:
    output = st.tuples(TEXT, TEXT, TEXT).map(lambda words: aterm.Output(*words))
    outputs = st.dictionaries(TEXT, output, max_size=3)
    inputs = st.dictionaries(TEXT, sorted_rows(), max_size=3)
    environment = st.dictionaries(TEXT, TEXT, max_size=4)
    parts = st.tuples(
        outputs, inputs, sorted_rows(), TEXT, TEXT, st.lists(TEXT, max_size=3).map(tuple), environment
    )
    return parts.map(lambda given: aterm.Derivation(*given))


@given(derivations())
def test_a_derivation_there_and_back(derivation: aterm.Derivation) -> None:
    text = aterm.serialise(derivation)
    assert aterm.parse(text) == derivation
    assert aterm.serialise(aterm.parse(text)) == text


@given(derivations(), st.data())
def test_a_cut_or_longer_derivation_is_none(derivation: aterm.Derivation, data: st.DataObject) -> None:
    text = aterm.serialise(derivation)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    for damaged in (cut, text + b")", text.replace(b"Derive([", b"Derive([s")):
        with pytest.raises(ValueError, match="is "):
            aterm.parse(damaged)


def test_a_derivation_with_bytes_that_are_no_text() -> None:
    text = b'Derive([("out","/nix/store/x","","")],[],[],"a","b",["\xff\\n"],[("A","\x01")])'
    assert aterm.serialise(aterm.parse(text)) == text


def test_known_answers_of_nix() -> None:
    # nix-hash --to-base32, nix-store --add, builtins.toFile and builtins.placeholder.
    digest = hashlib.sha256(b"").digest()
    assert store_path.base32(digest) == "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
    text = b"a text of the store\n"
    path = "/nix/store/86i9qa5bl3pwn6gzw3iaz5fs0p6anj7m-text"
    assert store_path.of_text(text, "/nix/store", "text") == path
    assert store_path.placeholder("out") == "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"


@given(st.binary(min_size=32, max_size=32))
def test_base32_there_and_back(data: bytes) -> None:
    assert store_path.any_hash(store_path.base32(data)) == data.hex()


@pytest.mark.parametrize("text", ["", "e" * 52, "z" * 52, "1" * 51, "sha1:" + "0" * 40, "x" * 64, "A" * 44])
def test_what_is_no_hash_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        store_path.any_hash(text)


@pytest.mark.parametrize(
    "path",
    ["/nix/store/x-y", f"/nix/store/{'0' * 32}-", f"/nix/store/{'e' * 32}-x", f"{'0' * 32}-x", "/../x"],
)
def test_what_is_no_store_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path in a store"):
        store_path.name_of(path)


TREES: st.SearchStrategy[object] = st.recursive(
    st.binary(max_size=20) | st.text("ab/.", min_size=1, max_size=5) | st.tuples(st.binary(max_size=9)),
    lambda below: st.dictionaries(NAMES, below, max_size=3),
    max_leaves=8,
)


def members(tree: object, path: str = "") -> list[Member]:
    """A tree of dictionaries: bytes are files, a tuple of bytes is a program, a text is a link."""
    if isinstance(tree, dict):
        below = [
            each for name, inner in tree.items() for each in members(inner, f"{path}/{name}".lstrip("/"))
        ]
        return [Member(path, stat.S_IFDIR | 0o755), *below]
    if isinstance(tree, str):
        return [Member(path, stat.S_IFLNK | 0o777, target=tree)]
    content, mode = (tree[0], 0o555) if isinstance(tree, tuple) else (tree, 0o444)
    assert isinstance(content, bytes)
    return [Member(path, stat.S_IFREG | mode, size=len(content), blocks=lambda: iter([content]))]


def written(found: list[Member]) -> bytes:
    out = io.BytesIO()
    nar.write(found, out.write)
    return out.getvalue()


@given(TREES)
def test_a_nar_there_and_back(tree: object) -> None:
    data = written(members(tree))
    assert written(nar.read(io.BytesIO(data))) == data
    assert nar.hashed(members(tree)) == hashlib.sha256(data).hexdigest()


@given(TREES, st.data())
def test_a_cut_or_changed_nar_does_no_harm(tree: object, data: st.DataObject) -> None:
    whole = written(members(tree))
    with pytest.raises(ValueError, match=r"."):
        nar.read(io.BytesIO(whole[: data.draw(st.integers(0, len(whole) - 1))]))
    place = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:place] + data.draw(st.binary(min_size=1, max_size=1)) + whole[place + 1 :]
    try:
        found = nar.read(io.BytesIO(changed))
    except ValueError:
        return
    assert written(found) == changed, "what is read is what was there"


def test_a_tree_on_disk_and_unpacked_has_the_same_hash(tmp_path: Path) -> None:
    tree = {"b": b"text", "a": {"deep": {}, "run": (b"#!",)}, "l": "b", "a.b": b"", "A": b"x" * 600_000}
    with io.BytesIO(written(members(tree))) as file:
        assert extract(nar.read(file), tmp_path / "out", note=lambda skipped: pytest.fail(str(skipped))) == 8
    assert nar.hashed(nar.of_path(tmp_path / "out")) == nar.hashed(members(tree))


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"/etc", b"a\0b"])
def test_a_hostile_name_leads_nowhere(name: bytes) -> None:
    data = written(members({"name": b"x"}))
    hostile = data.replace(
        nar._strings(b"name") + nar._strings(b"name"), nar._strings(b"name") + nar._strings(name)
    )
    with pytest.raises(ValueError, match="has the name"):
        nar.read(io.BytesIO(hostile))


@pytest.mark.parametrize("order", [("b", "a"), ("a", "a")])
def test_names_twice_or_out_of_order_are_refused(order: tuple[str, str]) -> None:
    one = [nar._strings(b"entry", b"(", b"name", name.encode(), b"node") for name in order]
    node = nar._strings(b"(", b"type", b"symlink", b"target", b"/etc", b")")
    head = nar._strings(b"nix-archive-1", b"(", b"type", b"directory")
    data = head + b"".join(each + node + nar._strings(b")") for each in one) + nar._strings(b")")
    with pytest.raises(ValueError, match="has the name"):
        nar.read(io.BytesIO(data))


def test_a_file_below_a_link_is_not_written_through_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    found = [*members({"l": str(outside)}), *members(b"x", "l/file")]
    with pytest.raises(ValueError, match="is no directory"):
        written(found)
    skipped: list[str] = []
    extract(found, tmp_path / "into", note=lambda each: skipped.append(each.path))
    assert skipped == ["l/file"]
    assert not list(outside.iterdir())


def test_deep_nests_and_long_lengths_are_refused() -> None:
    entry = nar._strings(b"(", b"type", b"directory", b"entry", b"(", b"name", b"a", b"node")
    with pytest.raises(ValueError, match="too deep"):
        nar.read(io.BytesIO(nar._strings(b"nix-archive-1") + entry * 5000))
    with pytest.raises(ValueError, match="stands a length of"):
        nar.read(io.BytesIO((1 << 60).to_bytes(8, "little")))
    huge = nar._strings(b"nix-archive-1", b"(", b"type", b"regular", b"contents") + b"\xff" * 8
    with pytest.raises(ValueError, match="cut off"):
        nar.read(io.BytesIO(huge))


def test_an_export_is_read_path_by_path() -> None:
    paths = [f"/nix/store/{letter * 32}-x" for letter in "ab"]
    data = b""
    for path in paths:
        data += (1).to_bytes(8, "little") + written(members({"f": path.encode()}))
        data += (0x4558494E).to_bytes(8, "little") + nar._strings(path.encode())
        data += (1).to_bytes(8, "little") + nar._strings(paths[0].encode())
        data += nar._strings(b"") + bytes(8)
    with io.BytesIO(data + bytes(8)) as file:
        found = list(nar.read_export(file))
    assert [path for path, _ in found] == paths
    assert [content[1].path for _, content in found] == ["f", "f"]
    for damaged in (data, data[:-300] + bytes(8), b"\x02" + bytes(7), data[:-20]):
        with pytest.raises(ValueError, match=r"."):
            list(nar.read_export(io.BytesIO(damaged)))


def test_members_that_no_nar_has_are_refused() -> None:
    device = Member("", stat.S_IFCHR | 0o600, device=(1, 3))
    with pytest.raises(ValueError, match="neither file, directory nor link"):
        written([device])
    with pytest.raises(ValueError, match="nothing"):
        written([msgspec.structs.replace(device, path="x")])
