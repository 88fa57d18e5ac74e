"""Stores with derivations, as Nix or Guix would write them, made by tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from harness.formats import aterm, nar, store_path
from harness.formats.aterm import Derivation, Output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BUSYBOX = "/bin/busybox"  # in every image of the recipe


class FakeStore:
    """A directory with what a store has."""

    def __init__(self, place: Path, store: str = "/nix/store") -> None:
        self.place, self.store = place, store
        place.mkdir(parents=True, exist_ok=True)

    def on_host(self, path: str) -> Path:
        return self.place / path.rpartition("/")[2]

    def source(self, name: str, content: bytes) -> str:
        """A file that no derivation makes."""
        file = self.place / name
        file.write_bytes(content)
        file.chmod(0o555)
        path = store_path.of_source(nar.hashed(nar.of_path(file)), self.store, name)
        file.rename(self.on_host(path))
        return path

    def derive(
        self,
        name: str,
        script: str = "",
        *,
        inputs: Mapping[str, Sequence[str]] | None = None,
        sources: Sequence[str] = (),
        outputs: Sequence[str] = ("out",),
        fixed: tuple[str, str] | None = None,
        system: str = "x86_64-linux",
        builder: str = BUSYBOX,
        known: dict[str, str] | None = None,
        **environment: str,
    ) -> str:
        """A derivation whose builder is a busybox that executes a script; its path."""
        algorithm, digest = fixed or ("", "")
        derivation = Derivation(
            outputs={output: Output("", algorithm, digest) for output in outputs},
            inputs={path: tuple(names) for path, names in (inputs or {}).items()},
            sources=tuple(sources),
            system=system,
            builder=builder,
            arguments=("sh", "-euc", script),
            environment={**environment, "name": name, **dict.fromkeys(outputs, "")},
        )
        hashes = {} if known is None else known  # of derivations, so that a large closure takes no hours
        paths = self.paths(name, derivation, hashes)
        derivation = msgspec.structs.replace(
            derivation,
            outputs={output: Output(paths[output], algorithm, digest) for output in outputs},
            environment={**derivation.environment, **paths},
        )
        return self.write(name, derivation)

    def write(self, name: str, derivation: Derivation) -> str:
        """Write a derivation's file; its path."""
        text = aterm.serialise(derivation)
        references = {*derivation.inputs, *derivation.sources}
        path = store_path.of_text(text, self.store, f"{name}.drv", references)
        self.on_host(path).write_bytes(text)
        return path

    def load(self, path: str) -> Derivation:
        return aterm.parse(self.on_host(path).read_bytes())

    def output(self, path: str, name: str = "out") -> str:
        return self.load(path).outputs[name].path

    def paths(self, name: str, derivation: Derivation, known: dict[str, str]) -> dict[str, str]:
        """The paths of outputs, by the rules of the manual and not by the code under test."""
        out = derivation.outputs.get("out")
        if out is not None and out.hash:
            return {"out": store_path.of_fixed(out.algorithm, out.hash, self.store, name)}
        digest = hashlib.sha256(self._named(derivation, known)).hexdigest()
        return {
            output: store_path.of_output(digest, self.store, name, output) for output in derivation.outputs
        }

    def _named(self, derivation: Derivation, known: dict[str, str]) -> bytes:
        """A derivation's text with the hashes of its inputs in the place of their paths."""
        inputs = {self._hash(path, known): names for path, names in derivation.inputs.items()}
        return aterm.serialise(msgspec.structs.replace(derivation, inputs=inputs))

    def _hash(self, path: str, known: dict[str, str]) -> str:
        if path not in known:
            derivation = self.load(path)
            out, text = derivation.outputs.get("out"), self._named(derivation, known)
            if out is not None and out.hash:
                text = f"fixed:out:{out.algorithm}:{out.hash}:{out.path}".encode()
            known[path] = hashlib.sha256(text).hexdigest()
        return known[path]


def closure(place: Path, store: str = "/nix/store") -> tuple[FakeStore, str]:
    """A chain of two derivations with a source, two outputs and a link."""
    fake = FakeStore(place, store)
    words = fake.source("words", b"some words\n")
    first = fake.derive(
        "first",
        "busybox mkdir $out $lib; busybox cp $words $lib/words; busybox ln -s $lib/words $out/link",
        sources=[words],
        outputs=["lib", "out"],
        words=words,
        PATH="/bin",
    )
    second = fake.derive(
        "second",
        "busybox cat $first/link > $out; busybox stat -c '%a %Y %u' $first/ >> $out",
        inputs={first: ["out", "lib"]},
        first=fake.output(first),
        PATH="/bin",
    )
    return fake, second
