"""Opens console logs: plain, compressed, from pipes or standard input."""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
from contextlib import ExitStack, contextmanager
from html import unescape
from typing import TYPE_CHECKING, BinaryIO

from harness.core.errors import ConfigError, InfraError, explaining
from harness.formats.compression import StreamError, unpack
from harness.formats.magic import HEAD, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Longer than what the kernel looks at: text may begin with two letters that look like a stream.
_STREAMS = (b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh", b"]\0\0")
_MOST = 1 << 34  # bytes that a compressed log may unpack to
_CHUNK = 1 << 20
_SAMPLE = 1024


@contextmanager
def open_log(path: Path) -> Iterator[BinaryIO]:
    """Give the plain bytes of a console log, as a file that can be read anywhere.

    It may be a pipe, or "-" for standard input, and compressed by gzip, xz, zstd or bzip2.
    """
    name = "standard input" if str(path) == "-" else str(path)
    with ExitStack() as stack:
        with explaining(ConfigError, f"cannot read {name}"):
            log: BinaryIO = stack.enter_context(open(0 if str(path) == "-" else path, "rb"))  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(log.fileno()).st_mode):
            log = _kept(_chunks(log, name), stack)
        log.seek(0)
        if log.read(16).startswith(_STREAMS):
            log = _unpacked(log, name, stack)
        log.seek(0)
        if encoding := _encoding(log.read(_SAMPLE)):
            log.seek(0)
            decoder = codecs.getincrementaldecoder(encoding)("replace")
            log = _kept((decoder.decode(data).encode() for data in _chunks(log, name)), stack)
        log.seek(0)
        head = log.read(_CHUNK)
        if not head.strip(b"\0 \t\r\n"):
            raise ConfigError(f"{name} is empty", hint="was the console recorded, and to this file?")
        kind = kind_of(head[:HEAD])
        if kind.hint and b"\0" in head[:_SAMPLE]:
            hint = "give the text that is in it"
            raise ConfigError(f"{name} is no console log but {kind.words}", hint=hint)
        if b">" not in head and b"&gt;" in head:  # the source of a page that shows a log
            log.seek(0)
            log = _kept(
                (unescape(line.decode("latin-1")).encode("latin-1", "replace") for line in log), stack
            )
        yield log


def _encoding(sample: bytes) -> str:
    """How the characters of a log are encoded, if not as a console does; PowerShell's `>` writes UTF-16."""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    high, low = (sample[at::2].count(b"\0") / max(len(sample), 1) for at in (0, 1))
    if high > 0.4 and low < 0.1:  # of a text, one byte in two is 0
        return "utf-16-be"
    if low > 0.4 and high < 0.1:
        return "utf-16-le"
    return ""


def _chunks(source: BinaryIO, name: str) -> Iterator[bytes]:
    with explaining(ConfigError, f"cannot read {name}"):
        while data := source.read(_CHUNK):
            yield data


def _kept(chunks: Iterable[bytes], stack: ExitStack) -> BinaryIO:
    """A file that holds the chunks until the stack is closed."""
    hint = "free some space there, or set TMPDIR"
    with explaining(InfraError, f"cannot keep the log in {tempfile.gettempdir()}", hint):
        file: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        file.writelines(chunks)
        file.flush()
    return file


def _unpacked(packed: BinaryIO, name: str, stack: ExitStack) -> BinaryIO:
    plain, size, offset = _kept((), stack), packed.seek(0, os.SEEK_END), 0
    try:
        with explaining(InfraError, f"cannot unpack {name} in {tempfile.gettempdir()}"):
            while offset < size:  # a log that was appended to consists of several streams
                offset = unpack(packed, offset, plain, limit=_MOST)
            plain.flush()
    except (StreamError, ValueError) as error:
        hint = "fetch it again, or unpack by hand what is there"
        raise ConfigError(f"cannot unpack {name}: {error}", hint=hint) from error
    return plain
