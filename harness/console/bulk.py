"""File transfer out of a guest: virtio serial port, or console.

A serial port under emulation carries 0.4 MB/s, a virtio port a hundred times as much. What comes through
either is believed only when a checksum by the guest says the same of the file. Emulated processors are slow
at those: busybox's md5sum does 76 MB/s under TCG, its sha256sum 24.
"""

from __future__ import annotations

import hashlib
import os
import select
import shlex
from threading import Thread
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from harness.console.cksum import Cksum
from harness.console.transport import BULK_PORT
from harness.core.errors import InfraError

if TYPE_CHECKING:
    import socket

    from harness.console.shell import Shell

SMALL = 1 << 14  # bytes; up to so many a file comes with its description, over the console
_PIECE = 1 << 19  # bytes that the guest keeps a second time while they cross the console
_READ_LIMIT = 1 << 18
_LAST_BYTES_TIMEOUT = 10.0  # seconds that the last bytes may take after the guest has handed them over


class Fetched(msgspec.Struct, frozen=True):
    """A file that was fetched."""

    size: int  # its bytes
    fast: bool  # whether they came through the port


def fetch(
    shell: Shell, path: str, out: BinaryIO, *, timeout: float, port: socket.socket | None = None
) -> Fetched:
    """Copy a file of the guest into a file of the host, in bounded memory.

    Args:
        shell: Entered.
        path: The guest's file, which must not change meanwhile.
        out: Where to; written from its position on.
        timeout: Seconds of the shell's clock for each of the steps: a checksum, the way through the port,
            or one piece of 512 KiB over the console.
        port: The host's end of the virtio port, if the machine has one.

    Raises:
        FileNotFoundError: The guest cannot read such a file.
        InfraError: What arrived is not what the guest has.
    """
    expected, content = _described(shell, path, timeout)
    fast = port is not None and bool(expected.device) and expected.size > SMALL
    if fast and port is not None:
        arrived = _through_port(shell, path, out, expected, timeout, port=port)
    else:
        arrived = _over_console(shell, path, out, expected, timeout, content=content)
    if arrived.size != expected.size or arrived.checksum != expected.checksum:
        raise InfraError(
            f"{path} did not arrive as the guest has it: {arrived.size} of {expected.size} bytes, "
            f"{expected.kind or 'checksum'} {arrived.checksum}, wanted {expected.checksum}",
            hint="does the guest still write to it?",
        )
    return Fetched(arrived.size, fast)


class _Expected(msgspec.Struct, frozen=True):
    """What the guest says of a file: its size, and its checksum if it has a program for that.

    The port's device is there if the guest's kernel has the port.
    """

    size: int
    device: str
    checksum: str
    kind: str


class _Arrived:
    """What has arrived of a file, with the checksum that the guest's program prints."""

    def __init__(self, kind: str) -> None:
        self.size = 0
        self._summer: hashlib._Hash | Cksum | None = None
        if kind:
            self._summer = Cksum() if kind == "cksum" else hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self.size += len(data)
        if self._summer:
            self._summer.update(data)

    @property
    def checksum(self) -> str:
        return self._summer.hexdigest() if self._summer else ""


# Prints size, port, checksum and the program that made it, and then what little there may be of the file: a
# script that is typed costs half a second of an emulated processor. Makes the port's node where no devtmpfs
# does; a kernel without virtio has no such files. `wc` comes last: busybox's reads byte by byte.
_DESCRIBE = f"""
f=@FILE@
test -f "$f" && test -r "$f" || exit
size=`stat -L -c %s "$f" 2>/dev/null || wc -c <"$f"` || exit
find_port() {{
    for port in /sys/class/virtio-ports/*; do
        read -r name <$port/name && test "$name" = {BULK_PORT} || continue
        device=/dev/${{port##*/}}
        test -c $device ||
            {{ IFS=: read -r major minor <$port/dev && mknod $device c $major $minor; }} || return
        echo $device
    done 2>/dev/null
}}
device=`find_port`
for program in md5sum cksum ''; do
    test "$program" || break
    sum=`$program <"$f" 2>/dev/null` && break
done
echo $size "${{device:--}}" ${{sum%%[!0-9a-f]*}} $program
test $size -gt {SMALL} || cat "$f"
"""


def _described(shell: Shell, path: str, timeout: float) -> tuple[_Expected, bytes]:
    """What the guest says of a file, and the content of a small one."""
    reply = shell.run(_DESCRIBE.replace("@FILE@", shlex.quote(path)), timeout=timeout)
    line, _, content = reply.output.partition(b"\n")
    words = line.decode("ascii", "replace").split()
    if reply.status != 0 or len(words) < 2:
        raise FileNotFoundError(path)
    size, device, checksum, kind = (*words, "", "")[:4]
    return _Expected(int(size), device.strip("-"), checksum, kind), content


def _over_console(
    shell: Shell, path: str, out: BinaryIO, expected: _Expected, timeout: float, *, content: bytes
) -> _Arrived:
    arrived = _Arrived(expected.kind)
    for piece in range(-(-expected.size // _PIECE)):
        if expected.size > SMALL:
            command = f"dd if={shlex.quote(path)} bs={_PIECE} skip={piece} count=1 2>/dev/null"
            content = shell.run(command, timeout=timeout).output
        try:
            out.write(content)
        except OSError as error:
            raise _not_copied(error) from error
        arrived.update(content)
    return arrived


def _through_port(
    shell: Shell, path: str, out: BinaryIO, expected: _Expected, timeout: float, *, port: socket.socket
) -> _Arrived:
    """Have the guest write into the port while a thread reads."""
    word = os.urandom(16).hex()  # tells it from what a transfer before left behind
    with _Drain(port, out, f"\n{word}\n".encode(), expected) as drain:
        command = f"{{ printf '\\n{word}\\n' && cat {shlex.quote(path)}; }} >{expected.device}"
        shell.run(command, timeout=timeout)
        drain.finish()
    return drain.arrived


def _not_copied(error: OSError) -> InfraError:
    return InfraError(f"cannot copy a file out of the guest: {error.strerror}", hint="free some space")


class _Drain:
    """Copies what comes behind a word from a socket to a file, in a thread; a context manager."""

    def __init__(self, port: socket.socket, out: BinaryIO, word: bytes, expected: _Expected) -> None:
        self.arrived = _Arrived(expected.kind)
        self._port = port
        self._out = out
        self._word = word
        self._size = expected.size
        self._error: OSError | None = None
        self._stopped, self._stop = os.pipe()
        self._thread = Thread(target=self._copy, name="bulk-drain", daemon=True)

    def __enter__(self) -> _Drain:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._stop, b"x")
        self._thread.join()
        os.close(self._stop)
        os.close(self._stopped)

    def finish(self) -> None:
        """Wait for what is still on its way."""
        self._thread.join(_LAST_BYTES_TIMEOUT)
        if self._error is not None:
            raise _not_copied(self._error) from self._error

    def _copy(self) -> None:
        before = b""
        while self._word not in before:
            if not (data := self._read()):
                return
            before = before[-len(self._word) :] + data
        data = before.partition(self._word)[2]
        while True:
            data = data[: self._size - self.arrived.size]
            self._write(data)
            self.arrived.update(data)
            if self.arrived.size == self._size or not (data := self._read()):
                return

    def _write(self, data: bytes) -> None:
        """Write; where that fails, the guest, which waits for us, gets rid of the rest all the same."""
        try:
            self._out.write(data)
        except OSError as error:
            self._error = error

    def _read(self) -> bytes:
        """The next bytes; b"" at the end of the port and when we are told to stop."""
        ready, _, _ = select.select([self._port.fileno(), self._stopped], [], [])
        return b"" if self._stopped in ready else self._port.recv(_READ_LIMIT)
