"""Opens console logs: plain, compressed, from pipes or standard input."""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from harness.core.errors import ConfigError, InfraError
from harness.formats.compression import StreamError, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

# Longer than what the kernel looks at: text may begin with two letters that look like a stream.
_STREAMS = (b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"BZh")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what PowerShell writes with `>`
_MOST = 1 << 34  # bytes that a compressed log may unpack to
_CHUNK = 1 << 20


@contextmanager
def open_log(path: Path) -> Iterator[BinaryIO]:
    """Give the plain bytes of a console log, as a file that can be read anywhere.

    It may be a pipe, or "-" for standard input, and compressed by gzip, xz, zstd or bzip2.
    """
    name = "standard input" if str(path) == "-" else str(path)
    with ExitStack() as stack:
        try:
            log: BinaryIO = stack.enter_context(open(0 if str(path) == "-" else path, "rb"))  # noqa: PTH123
        except OSError as error:
            raise ConfigError(f"cannot read {name}: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(log.fileno()).st_mode):
            log = _kept(_chunks(log, name), stack)
        log.seek(0)
        if log.read(16).startswith(_STREAMS):
            log = _unpacked(log, name, stack)
        log.seek(0)
        if log.read(2) in _UTF_16:
            log.seek(0)
            decoder = codecs.getincrementaldecoder("utf-16")("replace")
            log = _kept((decoder.decode(data).encode() for data in _chunks(log, name)), stack)
        log.seek(0)
        if not log.read(_CHUNK).strip(b"\0 \t\r\n"):
            raise ConfigError(f"{name} is empty", hint="was the console recorded, and to this file?")
        yield log


def _chunks(source: BinaryIO, name: str) -> Iterator[bytes]:
    try:
        while data := source.read(_CHUNK):
            yield data
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from error


def _kept(chunks: Iterable[bytes], stack: ExitStack) -> BinaryIO:
    """A file that holds the chunks until the stack is closed."""
    try:
        file: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        file.writelines(chunks)
        file.flush()
    except OSError as error:
        raise InfraError(
            f"cannot keep the log in {tempfile.gettempdir()}: {error.strerror}",
            hint="free some space there, or set TMPDIR",
        ) from error
    return file


def _unpacked(packed: BinaryIO, name: str, stack: ExitStack) -> BinaryIO:
    plain, size, offset = _kept((), stack), packed.seek(0, os.SEEK_END), 0
    try:
        while offset < size:  # a log that was appended to consists of several streams
            offset = unpack(packed, offset, plain, limit=_MOST)
        plain.flush()
    except (StreamError, ValueError) as error:
        raise ConfigError(
            f"cannot unpack {name}: {error}", hint="fetch it again, or unpack by hand what is there"
        ) from error
    except OSError as error:
        raise InfraError(f"cannot unpack {name} in {tempfile.gettempdir()}: {error.strerror}") from error
    return plain
