"""What programs need, on this host's own programs and on files that are built here."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import struct
from pathlib import Path

import pytest

from harness.core.errors import ConfigError
from harness.formats.elf import elf_class, needed_files
from harness.formats.tree import Entry

PROGRAM = stat.S_IFREG | 0o755
LINK = stat.S_IFLNK | 0o777

# The bits and EM_ numbers of the two architectures.
I386, AMD64 = (32, 3), (64, 62)


def elf(
    *libraries: str,
    interpreter: str = "",
    runpath: str = "",
    rpath: str = "",
    machine: tuple[int, int] = I386,
) -> bytes:
    """Return the smallest dynamic ELF file without sections: header, segments, dynamic table, strings."""
    bits, number = machine
    wide = bits == 64
    word = "Q" if wide else "I"
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    for tag, names in ((1, libraries), (15, [rpath]), (29, [runpath])):
        for name in filter(None, names):
            tags.append((tag, len(strings)))
            strings += os.fsencode(name) + b"\0"
    interp_at = len(strings)
    strings += os.fsencode(interpreter) + b"\0"

    header_size, segment_size = (64, 56) if wide else (52, 32)
    dynamic_at = header_size + 3 * segment_size
    dynamic_size = (len(tags) + 3) * 2 * struct.calcsize("<" + word)
    strings_at = dynamic_at + dynamic_size
    tags += [(5, strings_at), (10, len(strings)), (0, 0)]
    total = strings_at + len(strings)

    def segment(kind: int, offset: int, size: int) -> bytes:
        if wide:
            return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 1)
        return struct.pack("<IIIIIIII", kind, offset, offset, offset, size, size, 4, 1)

    header = struct.pack(
        f"<4sBBB9xHHI{word * 3}IHHHHHH",
        *(b"\x7fELF", 2 if wide else 1, 1, 1, 3, number, 1),
        *(0, header_size, 0, 0),
        *(header_size, segment_size, 3, 0, 0, 0),
    )
    segments = (
        segment(1, 0, total)
        + segment(2, dynamic_at, dynamic_size)
        + (segment(3, strings_at + interp_at, len(interpreter) + 1) if interpreter else segment(0, 0, 0))
    )
    return header + segments + b"".join(struct.pack("<" + word * 2, *tag) for tag in tags) + strings


def tree_of(files: dict[str, bytes | str]) -> dict[str, Entry]:
    """Make a tree: bytes are files, text is the target of a link."""
    return {
        path: Entry(path, PROGRAM, what) if isinstance(what, bytes) else Entry(path, LINK, target=what)
        for path, what in files.items()
    }


# --- the host's own programs ---


# --- links ---


def test_links_on_the_way_are_included() -> None:
    tree = tree_of(
        {
            "bin": "usr/bin",
            "usr/bin/sh": "/etc/alternatives/sh",
            "etc/alternatives/sh": "../../bin/dash",
            "usr/bin/dash": b"x",
            "usr/bin/other": b"y",
        }
    )
    everything = ["bin", "etc/alternatives/sh", "usr/bin/dash", "usr/bin/sh"]
    assert needed_files(tree, ["/bin/sh"]) == everything
    assert needed_files(tree, ["bin/sh", "usr/bin/dash"]) == everything
    assert needed_files(tree, ["usr/bin/dash"]) == ["usr/bin/dash"]


def test_a_link_out_of_the_tree_stays_in_it() -> None:
    assert needed_files(tree_of({"a": "../../../b", "b": b""}), ["a"]) == ["a", "b"]


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "/a"}, {"a": "a/a"}, {"a": "b/x", "b": "a"}])
def test_links_in_a_circle(links: dict[str, bytes | str]) -> None:
    with pytest.raises(ConfigError, match="a leads through more than 40 links"):
        needed_files(tree_of(links), ["a"])


def test_forty_links_and_no_more() -> None:
    links: dict[str, bytes | str] = {f"l{i}": f"l{i + 1}" for i in range(41)}
    tree = tree_of(links | {"l41": b""})
    assert len(needed_files(tree, ["l1"])) == 41
    with pytest.raises(ConfigError, match="l0 leads through more than 40 links"):
        needed_files(tree, ["l0"])


# --- interpreters and libraries ---


def test_loader_and_libraries() -> None:
    tree = tree_of(
        {
            "bin/prog": elf("liba.so.1", "libc.so.6", interpreter="/lib/ld-linux.so.2"),
            "lib/ld-linux.so.2": "i386-linux-gnu/ld-2.36.so",
            "lib/i386-linux-gnu/ld-2.36.so": elf(),
            "lib/i386-linux-gnu/libc.so.6": elf("ld-linux.so.2"),
            "usr/lib/i386-linux-gnu/liba.so.1": "liba.so.1.2",
            "usr/lib/i386-linux-gnu/liba.so.1.2": elf("libb.so.1", "libc.so.6"),
            "usr/lib/libb.so.1": elf("liba.so.1"),
            "usr/lib/libunneeded.so": elf(),
        }
    )
    assert needed_files(tree, ["bin/prog"]) == sorted(tree.keys() - {"usr/lib/libunneeded.so"})


@pytest.mark.parametrize(("machine", "directory"), [(I386, "i386"), (AMD64, "x86_64")])
def test_libraries_of_the_wrong_width_are_passed_over(machine: tuple[int, int], directory: str) -> None:
    tree = tree_of(
        {
            "prog": elf("libc.so.6", machine=machine),
            "lib/i386-linux-gnu/libc.so.6": elf(machine=I386),
            "lib/x86_64-linux-gnu/libc.so.6": elf(machine=AMD64),
        }
    )
    assert needed_files(tree, ["prog"]) == [f"lib/{directory}-linux-gnu/libc.so.6", "prog"]


def test_a_linker_script_is_no_library() -> None:
    tree = tree_of({"prog": elf("libc.so"), "lib/libc.so": b"/* GNU ld script */", "usr/lib/libc.so": elf()})
    assert needed_files(tree, ["prog"]) == ["prog", "usr/lib/libc.so"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"runpath": "/opt/lib"}, "opt/lib/libx.so"),
        ({"rpath": "/nowhere:/opt/lib"}, "opt/lib/libx.so"),
        ({"runpath": "$ORIGIN/../private"}, "usr/private/libx.so"),
        ({"runpath": "${ORIGIN}/../private"}, "usr/private/libx.so"),
        ({"runpath": "/nowhere", "rpath": "/opt/lib"}, "usr/lib/libx.so"),
        ({}, "usr/lib/libx.so"),
    ],
)
def test_run_path(options: dict[str, str], expected: str) -> None:
    tree = tree_of(
        {
            "usr/bin/prog": elf("libx.so", **options),  # type: ignore[arg-type]
            "usr/lib/libx.so": elf(),
            "usr/private/libx.so": elf(),
            "opt/lib/libx.so": elf(),
        }
    )
    assert needed_files(tree, ["usr/bin/prog"]) == sorted(["usr/bin/prog", expected])


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        (b"#!/bin/sh\n", ["bin/sh"]),
        (b"#! /bin/sh -e\n", ["bin/sh"]),
        (b"#!/bin/sh", ["bin/sh"]),
        (b"#!/usr/bin/env sh\n", ["bin/sh", "usr/bin/env"]),
        (b"#!/usr/bin/env -S A=1 sh -e\n", ["bin/sh", "usr/bin/env"]),
        (b"#!\n", []),
        (b"# no script\n", []),
        (b"", []),
    ],
)
def test_script(line: bytes, needed: list[str]) -> None:
    tree = tree_of({"init": line + b"exit", "bin/sh": elf(), "usr/bin/env": elf(), "bin/other": b""})
    if line == b"#!/bin/sh":
        tree |= tree_of({"init": line})
    assert needed_files(tree, ["init"]) == sorted(["init", *needed])


# --- what is missing or damaged ---


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "^bin/prog is not in the tree$"),
        ({"bin/prog/x": b""}, "^bin/prog is not in the tree$"),
        ({"bin/prog": "gone"}, r"^bin/prog is not in the tree \(it leads to bin/gone\)$"),
        (
            {"bin/prog": elf("libz.so.1")},
            r"^bin/prog needs libz\.so\.1 \(32-bit\), which is not in the tree$",
        ),
        (
            {"bin/prog": elf("a.so"), "lib/a.so": elf("b.so")},
            r"^lib/a\.so needs b\.so \(32-bit\), which is not in the tree$",
        ),
        ({"bin/prog": elf("a.so"), "lib/a.so": elf(machine=AMD64)}, "^bin/prog needs a.so"),
        (
            {"bin/prog": elf(interpreter="/lib/ld.so")},
            "^bin/prog needs /lib/ld.so, which is not in the tree$",
        ),
        ({"bin/prog": b"#!/bin/sh\n"}, "^bin/prog needs /bin/sh, which"),
        ({"bin/prog": b"#!/usr/bin/env perl\n", "usr/bin/env": b""}, "^bin/prog needs perl, which"),
        ({"bin/prog": elf("a.so")[:100]}, "^bin/prog is a damaged ELF file"),
    ],
)
def test_missing(files: dict[str, bytes | str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        needed_files(tree_of(files), ["bin/prog"])


def test_unreadable_content() -> None:
    with pytest.raises(ConfigError, match="cannot read /no/such, content of prog: No such file"):
        needed_files({"prog": Entry("prog", PROGRAM, Path("/no/such"))}, ["prog"])


def test_fuzzed_elf_raises_nothing_else() -> None:
    source = random.Random(1)  # noqa: S311
    good = elf("libx.so", interpreter="/lib/ld.so", runpath="/opt")
    rest = tree_of({"lib/libx.so": elf(), "lib/ld.so": elf()})
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(3):
            data[source.randrange(len(data))] = source.randrange(256)
        with contextlib.suppress(ConfigError):
            assert "prog" in needed_files(rest | tree_of({"prog": bytes(data)}), ["prog"])


# --- elf_class ---


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (elf(), 32),
        (elf(machine=AMD64), 64),
        (b"\x7fELF\x01", 32),
        (b"\x7fELF\x03", None),
        (b"\x7fELF", None),
        (b"#!/bin/sh", None),
        (b"", None),
    ],
)
def test_elf_class(data: bytes, bits: int | None) -> None:
    assert elf_class(data) == bits
