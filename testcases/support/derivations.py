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
        **environment: str,
    ) -> str:
        """A derivation whose builder is a busybox that executes a script; its path."""
        algorithm, digest = fixed or ("", "")
        known = Derivation(
            outputs={output: Output("", algorithm, digest) for output in outputs},
            inputs={path: tuple(names) for path, names in (inputs or {}).items()},
            sources=tuple(sources),
            system=system,
            builder=builder,
            arguments=("sh", "-euc", script),
            environment={**environment, "name": name, **dict.fromkeys(outputs, "")},
        )
        paths = self.paths(name, known)
        known = msgspec.structs.replace(
            known,
            outputs={output: Output(paths[output], algorithm, digest) for output in outputs},
            environment={**known.environment, **paths},
        )
        return self.write(name, known)

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

    def paths(self, name: str, derivation: Derivation) -> dict[str, str]:
        """The paths of outputs, by the rules of the manual and not by the code under test."""
        out = derivation.outputs.get("out")
        if out is not None and out.hash:
            return {"out": store_path.of_fixed(out.algorithm, out.hash, self.store, name)}
        named = msgspec.structs.replace(
            derivation, inputs={self._hash(path): names for path, names in derivation.inputs.items()}
        )
        digest = hashlib.sha256(aterm.serialise(named)).hexdigest()
        return {
            output: store_path.of_output(digest, self.store, name, output) for output in derivation.outputs
        }

    def _hash(self, path: str) -> str:
        derivation = self.load(path)
        out = derivation.outputs.get("out")
        if out is not None and out.hash:
            text = f"fixed:out:{out.algorithm}:{out.hash}:{out.path}"
            return hashlib.sha256(text.encode()).hexdigest()
        named = msgspec.structs.replace(
            derivation, inputs={self._hash(each): names for each, names in derivation.inputs.items()}
        )
        return hashlib.sha256(aterm.serialise(named)).hexdigest()


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
