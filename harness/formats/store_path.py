"""Store paths of Nix and Guix: how they follow from hashes.

A path is `STORE/HASH-NAME`, where HASH is the folded SHA-256 of `TYPE:sha256:HEX:STORE:NAME`. Nix' manual
describes it under "Complete Store Path Calculation".
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LETTERS = "0123456789abcdfghijklmnpqrsvwxyz"
_FOLDED = 20  # bytes of a hash in a path
HASH = 32  # letters of it
_PATH = re.compile(rf"/.*/[{_LETTERS}]{{{HASH}}}-([0-9A-Za-z+?=._-]{{1,211}})")
ALGORITHMS = ("md5", "sha1", "sha256", "sha512")


def base32(data: bytes) -> str:
    """A hash in the letters of Nix, the last byte first."""
    number = int.from_bytes(data, "little")
    count = -(-len(data) * 8 // 5)
    return "".join(_LETTERS[number >> 5 * place & 31] for place in reversed(range(count)))


def any_hash(text: str) -> str:
    """A SHA-256 in hexadecimal, from hexadecimal, base32 or base64, behind `sha256:` or `sha256-` or not.

    Raises:
        ValueError: It is none.
    """
    bare = text.removeprefix("sha256:").removeprefix("sha256-")
    if len(bare) == 64:
        data = bytes.fromhex(bare)
    elif len(bare) == 52:
        number = 0
        for letter in bare:
            number = number << 5 | _LETTERS.index(letter)
        data = number.to_bytes(33, "little").removesuffix(b"\0")  # 52 letters have 4 bits more than 32 bytes
    else:
        data = base64.b64decode(bare, validate=True)
    if len(data) != 32:
        raise ValueError(f"{text!r} is no sha256")
    return data.hex()


def name_of(path: str) -> str:
    """The name of what has a path, without store and hash.

    Raises:
        ValueError: It is no store path.
    """
    match = _PATH.fullmatch(path)
    if match is None or match[1] in {".", ".."}:
        raise ValueError(f"{path!r} is no path in a store: /STORE/HASH-NAME")
    return match[1]


def base(path: str) -> str:
    """HASH-NAME of a path."""
    return path.rpartition("/")[2]


def make(kind: str, digest: str, store: str, name: str) -> str:
    """The path of what has a type and a SHA-256 (hexadecimal)."""
    full = hashlib.sha256(f"{kind}:sha256:{digest}:{store}:{name}".encode()).digest()
    folded = bytearray(_FOLDED)
    for place, byte in enumerate(full):
        folded[place % _FOLDED] ^= byte
    return f"{store}/{base32(bytes(folded))}-{name}"


def of_source(nar: str, store: str, name: str, references: Iterable[str] = ()) -> str:
    """The path of a file or directory that was added, by the hash of its NAR."""
    return make(":".join(["source", *sorted(references)]), nar, store, name)


def of_text(content: bytes, store: str, name: str, references: Iterable[str] = ()) -> str:
    """The path of a text, such as a derivation, that refers to other paths."""
    return make(":".join(["text", *sorted(references)]), hashlib.sha256(content).hexdigest(), store, name)


def of_fixed(algorithm: str, digest: str, store: str, name: str) -> str:
    """The path of an output whose hash is known beforehand, with "r:" where that is the NAR's."""
    if algorithm == "r:sha256":
        return of_source(digest, store, name)
    inner = hashlib.sha256(f"fixed:out:{algorithm}:{digest}:".encode()).hexdigest()
    return make("output:out", inner, store, name)


def of_output(digest: str, store: str, name: str, output: str) -> str:
    """The path of an output of a derivation with this hash."""
    return make(f"output:{output}", digest, store, name if output == "out" else f"{name}-{output}")


def placeholder(output: str) -> str:
    """What stands for an output's path in a derivation that does not know it."""
    return "/" + base32(hashlib.sha256(f"nix-output:{output}".encode()).digest())
