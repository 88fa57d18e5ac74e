"""Features that plans need of kernels: `kernels/features/*.toml`."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

import msgspec

from harness.core import paths, toml
from harness.core.errors import ConfigError
from harness.core.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.kernel.bzimage import KernelImage


class Feature(toml.Table, frozen=True):
    """Something that a kernel can do."""

    name: str  # by which plans ask for it
    what: str  # what it is, in words that follow "lacks"
    symbols: tuple[str, ...]  # symbols of the configuration that must all be set; "A|B": one of them
    without: str  # what happens without it
    unless: tuple[str, ...] = ()  # symbols that must not be set
    off: tuple[str, ...] = ()  # words on the command line that switch it off
    bits: Literal[0, 32, 64] = 0  # only kernels of this width need the symbols, others have it; 0: all do
    only: str = ""  # the architecture that it is part of: kernels for others lack it
    architectures: tuple[str, ...] = ()  # only kernels for these need the symbols, others have it; (): all do
    # upstream series that brought the first symbol; kernels before it always have the feature
    since: str = ""
    above: str = ""  # it is only needed with more memory than this
    strict: bool = True  # whether a run fails without it; otherwise it is a remark


class _FeatureDocument(toml.Table, frozen=True):
    feature: tuple[Feature, ...]


class Lack(msgspec.Struct, frozen=True):
    """A feature that a kernel lacks."""

    feature: str  # its name
    what: str  # one sentence: what is missing, and what comes of it
    hint: str  # what to switch on
    strict: bool  # whether a run fails for it


@cache
def load_features() -> Mapping[str, Feature]:
    """All features that there are, by name."""
    known: dict[str, Feature] = {}
    for path in sorted((paths.data_root() / "kernels/features").glob("*.toml")):
        for number, feature in enumerate(toml.load(path, _FeatureDocument).feature):
            key = f"{path}: key feature[{number}]"
            if feature.name in known:
                raise ConfigError(f"{key}.name: {feature.name!r} is the name of an earlier feature")
            if not all(
                re.fullmatch(r"[A-Z0-9_]+(\|[A-Z0-9_]+)*", each)
                for each in (*feature.symbols, *feature.unless)
            ):
                raise ConfigError(f"{key}: symbols are capitals, digits and _, without CONFIG_")
            try:
                parse_size(feature.above or "0")
            except ValueError as error:
                raise ConfigError(f"{key}.above: {error}") from error
            known[feature.name] = feature
    return known


def lacking(
    image: KernelImage,
    symbols: Mapping[str, str] | None,
    *,
    built_in: Sequence[str] = (),
    modular: Sequence[str] = (),
    memory: int = 0,
    command_line: str = "",
) -> list[Lack]:
    """Find out which features a kernel lacks.

    Args:
        image: The kernel.
        symbols: Its configuration, without CONFIG_; None where it is not known: then only what the file
            itself and the command line say is judged.
        built_in: Names of features that must be in the kernel itself.
        modular: Names of those that may be modules.
        memory: Bytes of memory of the machine; 0: not known.
        command_line: The kernel's command line.
    """
    found: list[Lack] = []
    known = load_features()
    for name in (*built_in, *modular):
        if name not in known:
            raise ConfigError(f"there is no kernel feature {name!r}", hint=f"features: {', '.join(known)}")
    for names, module in ((built_in, False), (modular, True)):
        for name in names:
            found += _judge(known[name], image, symbols, module=module, command_line=command_line)
    for feature in known.values():
        if feature.above and memory > parse_size(feature.above):
            found += _judge(feature, image, symbols, module=False, command_line=command_line)
    return found


def _judge(
    feature: Feature,
    image: KernelImage,
    symbols: Mapping[str, str] | None,
    *,
    module: bool,
    command_line: str,
) -> Iterator[Lack]:
    if feature.only not in {"", image.architecture}:
        what = f"it is for {image.architecture}, and runs no {feature.what}"
        yield Lack(feature.name, what, f"take a kernel for {feature.only}", feature.strict)
        return
    if feature.name == "x86_64-programs" and image.bits == 64:
        return
    if feature.bits not in {0, image.bits} or image.architecture not in (
        feature.architectures or (image.architecture,)
    ):
        return
    what = f"it lacks {feature.what}: {feature.without}"
    for word in command_line.split():
        if word in feature.off:
            yield Lack(feature.name, what, f"take {word} off the kernel's command line", feature.strict)
            return
    if symbols is None or _older(image.version, feature.since):
        return
    good = {"y", "m"} if module else {"y"}
    missing = [
        group for group in feature.symbols if not any(symbols.get(s) in good for s in group.split("|"))
    ]
    wrong = [symbol for symbol in feature.unless if symbols.get(symbol) == "y"]
    if not missing and not wrong:
        return
    if missing and any(symbols.get(s) == "m" for group in missing for s in group.split("|")):
        what = f"it has {feature.what} as a module only, and nothing loads modules there: {feature.without}"
    value = "y or m" if module else "y"
    steps = [" or ".join(f"CONFIG_{symbol}={value}" for symbol in group.split("|")) for group in missing]
    steps += [f"CONFIG_{symbol}=n" for symbol in wrong]
    yield Lack(feature.name, what, f"build it with {', '.join(steps)}", feature.strict)


def _older(version: str, since: str) -> bool:
    """Whether a release comes before an upstream series; one that says nothing does not."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if not since or numbers is None:
        return False
    major, _, minor = since.partition(".")
    return (int(numbers[1]), int(numbers[2])) < (int(major), int(minor))
