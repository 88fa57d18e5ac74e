"""Derivations: what is read and refused, what is built, and how builders are called."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.errors import ConfigError
from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.derivation import graph, payload, replay, script
from harness.derivation.payload import DerivationRequest
from harness.formats import aterm, nar, store_path
from harness.machine.admission import check_holds
from harness.recipe import Modules, StorePath, contents_of
from harness.run import store_outputs
from harness.stages.verdict import RunResult, Verdict
from testcases.support.derivations import FakeStore, closure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.derivation.replay import Replay


def opened(fake: FakeStore, path: str, *take: str) -> Replay:
    return replay.choose(graph.read(fake.on_host(path)), take)


def prepared(fake: FakeStore, path: str, place: Path, **said: object) -> payload.Prepared:
    wanted = msgspec.structs.replace(DerivationRequest(path=fake.on_host(path)), **said)
    return payload.prepare(wanted, place / "cache", Quiet())


def refusal(fake: FakeStore, path: str, place: Path, **said: object) -> str:
    with pytest.raises(ConfigError) as caught:
        prepared(fake, path, place, **said)
    assert caught.value.message.count(". ") == 0
    return caught.value.message


def test_a_closure_is_built_from_its_sources_up(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    found = prepared(fake, second, tmp_path)
    assert [path.partition("-")[2] for path in found.replay.build] == ["first.drv", "second.drv"]
    assert [path.partition("-")[2] for path in found.replay.inputs] == ["words"]
    assert list(found.phases) == ["first", "second"]
    number = re.compile(found.phases["second"])
    assert number.search(f"derivation: 2/2 {second.rpartition('/')[2]}")
    assert not found.expected
    added = [each for each in contents_of(found.recipe.image("root")) if isinstance(each, StorePath)]
    assert [each.path for each in added] == [found.replay.inputs[0][1:]]


def test_phases_of_one_name_have_their_hashes(tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    one, other = fake.derive("same", "1"), fake.derive("same", "2")
    last = fake.derive("outputs", inputs={one: ["out"], other: ["out"]})
    names = payload.phases(opened(fake, last))
    assert set(names) == {path.rpartition("/")[2] for path in (one, other, last)}


def test_what_is_taken_needs_no_inputs_but_what_it_refers_to(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    first = next(iter(fake.load(second).inputs))
    out, lib = fake.output(first), fake.output(first, "lib")
    assert f"is missing, which {first} makes" in refusal(fake, second, tmp_path, take=(out,))
    fake.on_host(lib).write_bytes(b"lib")
    fake.on_host(out).symlink_to(f"{lib}/words")
    found = opened(fake, second, first.rpartition("/")[2])
    assert (found.build, set(found.taken), found.sources) == ((second,), {out, lib}, ())
    other = fake.derive("other", inputs={first: ["out"]})
    assert set(opened(fake, other, out).taken) == {out, lib}
    with pytest.raises(ConfigError, match="is not built from it"):
        opened(fake, second, "/nix/store/nothing")


def test_a_download_is_taken_and_its_hash_checked(tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    content = b"what was fetched\n"
    digest = hashlib.sha256(content).hexdigest()
    fetch = fake.derive("tarball", fixed=("sha256", digest), url="https://example.org/tarball")
    daemon = fake.derive("seed", fixed=("sha256", digest), builder="builtin:fetchurl", url="https://a/seed")
    last = fake.derive("last", inputs={fetch: ["out"], daemon: ["out"]})
    found = opened(fake, last)
    assert "from https://example.org/tarball with the sha256" in found.problems[0] + found.problems[1]
    assert "in its daemon (builtin:fetchurl)" in found.problems[0] + found.problems[1]
    for path in (fetch, daemon):
        fake.on_host(fake.output(path)).write_bytes(content)
    assert prepared(fake, last, tmp_path).replay.build == (last,)
    fake.on_host(fake.output(fetch)).write_bytes(b"another\n")
    assert f"and {fetch} says {digest}" in refusal(fake, last, tmp_path)


def test_an_expected_list_counts_before_the_store(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    out = fake.output(second)
    fake.on_host(out).write_bytes(b"")
    have = nar.hashed(nar.of_path(fake.on_host(out)))
    assert prepared(fake, second, tmp_path).expected == {out: have}
    listed = tmp_path / "list"
    for text in ("0" * 64, "sha256:" + "0" * 52, "sha256-" + "A" * 43 + "="):
        listed.write_text(f"# hashes\n\n{out} {text}\n")
        assert prepared(fake, second, tmp_path, expect=listed).expected == {out: "0" * 64}
    listed.write_text(f"{out}\n")
    said = refusal(fake, second, tmp_path, expect=listed)
    assert "list:1: " in said
    assert "is no store path with the sha256 of its NAR" in said


def first_of(fake: FakeStore, path: str) -> Path:
    return fake.on_host(next(iter(fake.load(path).inputs)))


def words(fake: FakeStore) -> Path:
    return next(fake.place.glob("*-words"))


def write(file: Path, content: bytes) -> None:
    file.chmod(0o755)
    file.write_bytes(content)


def cycle(fake: FakeStore, path: str) -> None:
    first = first_of(fake, path)
    circle = msgspec.structs.replace(aterm.parse(first.read_bytes()), inputs={path: ("out",)})
    write(first, aterm.serialise(circle))


def changed(change: Callable[[bytes], bytes]) -> Callable[[FakeStore, str], None]:
    def apply(fake: FakeStore, path: str) -> None:
        fake.on_host(path).write_bytes(change(fake.on_host(path).read_bytes()))

    return apply


BAD = {
    "cut off": (changed(lambda text: text[:-20]), "is cut off"),
    "foreign": (changed(lambda _: b"\x7fELF"), "is no derivation"),
    "NUL": (changed(lambda text: text.replace(b"busybox", b"\0")), "has a NUL"),
    "dynamic": (changed(lambda text: b'DrvWithVersion("xp-dyn-drv",' + text[7:]), "is a dynamic derivation"),
    "escape": (changed(lambda text: text.replace(b"busybox", b"\\xbox")), r"a string has the escape \x"),
    "changed": (changed(lambda text: text.replace(b"cat", b"tac")), "is not what its path stands for"),
    "circle": (cycle, "a circle"),
    "no file": (lambda fake, path: fake.on_host(path).unlink(), "cannot read"),
    "missing input": (lambda fake, path: first_of(fake, path).unlink(), "-first.drv, which is not in"),
    "missing source": (lambda fake, _: words(fake).unlink(), "-words is missing in"),
    "wrong source": (lambda fake, _: write(words(fake), b"x"), "-words is not proved by its path"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name: str, tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    spoil, said = BAD[name]
    spoil(fake, second)
    message = refusal(fake, second, tmp_path)
    assert said in message
    assert re.search(r"-(first|second)\.drv|-words", message)


def test_a_text_is_proved_by_references_that_it_contains_or_by_its_hash(tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    words = fake.source("words", b"some words\n")

    def using(content: str, *references: str) -> tuple[str, str]:
        text = store_path.of_text(content.encode(), fake.store, "text", references)
        fake.on_host(text).write_text(content)
        return text, fake.derive("last", content, sources=[words, text])

    for references in ((), (words,)):
        _, last = using(f"see {words}", *references)
        prepared(fake, last, tmp_path)
    assert words in opened(fake, fake.derive("through", sources=[using(f"see {words}", words)[0]])).sources
    text, last = using("see nothing", words)
    assert f"the source {text} is not proved by its path" in refusal(fake, last, tmp_path)
    (listed := tmp_path / "list").write_text(f"{text} {nar.hashed(nar.of_path(fake.on_host(text)))}\n")
    prepared(fake, last, tmp_path, expect=listed)
    fake.on_host(text).write_text("see else")
    assert "and --expect says" in refusal(fake, last, tmp_path, expect=listed)


def test_a_path_that_no_store_has_is_named(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    renamed = fake.on_host(second).rename(fake.place / "copy.drv")
    assert "copy.drv: '//copy.drv' is no path in a store" in refusal(fake, str(renamed), tmp_path)
    odd = fake.derive("odd", sources=["/nix/store/../../etc/passwd"])
    assert "/etc/passwd' is no path in a store" in refusal(fake, odd, tmp_path)


def test_a_hash_of_an_unknown_kind_is_named(tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    odd = fake.derive("odd", fixed=("git:sha1", "0" * 40))
    assert "a hash of an unknown kind: 'git:sha1'" in refusal(fake, odd, tmp_path)


def test_a_run_that_stops_at_a_stage_has_no_outputs_to_judge(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    stopped = RunResult(Verdict(Outcome.PASS, "second", "stopped"), ())
    assert store_outputs.judged(stopped, prepared(fake, second, tmp_path), tmp_path) is stopped


ODD = {
    "another system": ({"system": "aarch64-linux"}, "is for aarch64-linux"),
    "impure": ({"__impure": "1"}, "is an impure derivation"),
    "the database": ({"exportReferencesGraph": "x y"}, "exportReferencesGraph"),
    "no JSON": ({"__json": "{"}, "are no JSON"),
    "no table": ({"__json": "[]"}, "are no table"),
    "built by the daemon": ({"builder": "builtin:buildenv"}, "in its daemon (builtin:buildenv)"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_built_is_named(name: str, tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    given, said = ODD[name]
    odd = fake.derive("odd", **given)  # type: ignore[arg-type]
    message = refusal(fake, fake.derive("last", inputs={odd: ["out"]}), tmp_path)
    assert said in message
    assert "-odd" in message


def test_other_stores_and_floating_outputs_are_refused(tmp_path: Path) -> None:
    other = FakeStore(tmp_path / "other", "/opt/store")
    assert "is of the store /opt/store" in refusal(other, other.derive("x"), tmp_path)
    fake = FakeStore(tmp_path / "store")
    known = fake.load(fake.derive("floating"))
    floating = msgspec.structs.replace(known, outputs={"out": aterm.Output("", "r:sha256", "")})
    assert "paths depend on their content" in refusal(fake, fake.write("floating", floating), tmp_path)
    foreign = msgspec.structs.replace(known, inputs={f"/gnu/store/{'0' * 32}-x.drv": ("out",)})
    assert "of another store than /nix/store" in refusal(fake, fake.write("mixed", foreign), tmp_path)


def test_a_forged_output_path_is_seen(tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "store")
    known = fake.load(fake.derive("forged"))
    other = known.outputs["out"].path.replace("forged", "other")
    forged = fake.write("forged", msgspec.structs.replace(known, outputs={"out": aterm.Output(other)}))
    assert "by its content it should be" in refusal(fake, forged, tmp_path)


def test_an_unknown_key_of_the_daemon_is_named(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    assert "`shel`" in refusal(fake, second, tmp_path, daemon={"shel": "1"})
    assert "cores" in refusal(fake, second, tmp_path, daemon={"cores": "many"})


def called(fake: FakeStore, path: str, **daemon: str) -> script.Call:
    return script.call(path, fake.load(path), script.daemon_of(fake.store, daemon))


def test_the_environment_is_that_of_each_daemon(tmp_path: Path) -> None:
    nix = FakeStore(tmp_path / "nix")
    call = called(nix, nix.derive("one", one="1"), cores="4")
    top = dict.fromkeys(("NIX_BUILD_TOP", "TMPDIR", "TEMPDIR", "TMP", "TEMP", "PWD"), "/build")
    common = {"PATH": "/path-not-set", "HOME": "/homeless-shelter", "name": "one", "one": "1"}
    assert {key: value for key, value in call.environment.items() if key != "out"} == {
        **top, **common, "NIX_STORE": "/nix/store", "NIX_BUILD_CORES": "4", "NIX_LOG_FD": "2",
        "TERM": "xterm-256color",
    }  # fmt: skip
    guix = FakeStore(tmp_path / "guix", "/gnu/store")
    call = called(guix, guix.derive("one", one="1"))
    top = dict.fromkeys(top, "/tmp/guix-build-one.drv-0")
    assert {key: value for key, value in call.environment.items() if key != "out"} == {
        **top, **common, "NIX_STORE": "/gnu/store", "NIX_BUILD_CORES": "0",
    }  # fmt: skip


def test_memory_is_for_outputs_that_are_known(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    before = prepared(fake, second, tmp_path).recipe.boot
    with fake.on_host(fake.output(second)).open("wb") as out:
        out.truncate(1 << 28)
    boot = prepared(fake, second, tmp_path).recipe.boot
    assert (before.memory, before.work) == ("1024M", 0)
    assert boot.memory_bytes > 5 << 28
    with pytest.raises(ConfigError, match="what is unpacked and built in it need"):
        check_holds(1 << 30, 30 << 20, 5 << 20, boot.work)
    on_disk = prepared(fake, second, tmp_path, disk="2G").recipe
    assert (on_disk.boot.memory, on_disk.boot.disk) == ("1024M", "work")
    modules = [each.names for each in contents_of(on_disk.image("boot")) if isinstance(each, Modules)]
    assert "ext4?" in modules[1]


def test_a_kernel_that_cannot_run_the_builders_is_refused(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    found = prepared(fake, second, tmp_path)
    found.check_kernel("debian-6.1-x86_64", 64)
    with pytest.raises(
        ConfigError, match=r"-second.drv has builders for x86_64-linux, and the kernel small is"
    ):
        found.check_kernel("small", 32)
    older = prepared(fake, fake.derive("older", system="i686-linux"), tmp_path)
    older.check_kernel("small", 32)
    assert older.programs == ("i386-programs",)


def test_the_runner_takes_what_has_no_blanks(tmp_path: Path) -> None:
    fake, second = closure(tmp_path / "store")
    assert "-first.drv has the argument" in refusal(fake, second, tmp_path, bare=True)
    plain = fake.derive("plain", "x")
    known = msgspec.structs.replace(fake.load(plain), arguments=("a", "b"))
    path = fake.write("plain", known)
    steps = script.steps(opened(fake, path), script.daemon_of(fake.store, {}))
    name = path.rpartition("/")[2]
    assert steps == f"= derivation: 1/1 {name}\n/bin/busybox a b\n"
    no_text = fake.write("plain", msgspec.structs.replace(known, arguments=("\udcff",)))
    with pytest.raises(ConfigError, match=r"has the argument '\\udcff'"):
        script.steps(opened(fake, no_text), script.daemon_of(fake.store, {}))
    attributes = fake.write("plain", msgspec.structs.replace(known, environment={"__json": "{}"}))
    with pytest.raises(ConfigError, match="has files, or too many arguments"):
        script.steps(opened(fake, attributes), script.daemon_of(fake.store, {}))


def test_placeholders_and_files_are_filled_in_for_nix(tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "nix")
    here = store_path.placeholder("lib")
    path = fake.derive(
        "it", f"x {here} {store_path.placeholder('none')}", outputs=["lib", "out"], text=f"<{here}>",
        passAsFile="text", twice=here + here,
    )  # fmt: skip
    call, lib = called(fake, path), fake.output(path, "lib")
    assert call.arguments[2] == f"x {lib} {store_path.placeholder('none')}"
    file = f".attr-{store_path.base32(hashlib.sha256(b'text').digest())}"
    assert call.files == {file: f"<{lib}>"}
    assert call.environment["textPath"] == f"/build/{file}"
    assert call.environment["twice"] == lib + lib
    assert "text" not in call.environment
    guix = FakeStore(tmp_path / "guix", "/gnu/store")
    assert called(guix, guix.derive("it", text="t", passAsFile="text")).environment["text"] == "t"


def test_structured_attributes_are_files(tmp_path: Path) -> None:
    fake = FakeStore(tmp_path / "nix")
    attributes = {"b": [1, "it's", True], "a": {"k": None}, "f": 1.5, "deep": [[1]], "no": False, "a-b": 1}
    path = fake.derive("it", __json=json.dumps(attributes))
    call, out = called(fake, path), fake.output(path)
    assert call.files[".attrs.sh"] == (
        f"declare -A a=(['k']='' )\ndeclare -a b=(1 'it'\\''s' 1 )\ndeclare no=\n"
        f"declare -A outputs=(['out']='{out}' )\n"
    )
    assert json.loads(call.files[".attrs.json"]) == {**attributes, "outputs": {"out": out}}
    assert call.environment["NIX_ATTRS_SH_FILE"] == "/build/.attrs.sh"
    assert "__json" not in call.environment
    assert "name" not in call.environment
