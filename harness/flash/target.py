"""The open disk: exclusive access, without the page cache."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.core.errors import ConfigError, InfraError, explaining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.flash.device import Device

# linux/fs.h
_BLKROGET = 0x125E
_BLKRRPART = 0x125F
_BLKFLSBUF = 0x1261
_BLKSSZGET = 0x1268
_BLKDISCARD = 0x1277
_BLKZEROOUT = 0x127F
_BLKGETSIZE64 = 0x80081272
_BLKGETDISKSEQ = 0x80081280

BLOCK = 4096  # writes begin and end at multiples of this; memory for them too
_ZEROS = 1 << 20

RULES = "ci/60-harness-flash.rules"

_GONE = {errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM, errno.EBADF}


class Target(msgspec.Struct, frozen=True):
    """What is written to."""

    path: str  # for people
    descriptor: int  # open for reading and writing; with O_DIRECT, so all is aligned to `BLOCK`
    size: int  # in bytes
    present: Callable[[], bool] = lambda: True  # whether the disk is still there

    def write(self, data: memoryview, offset: int) -> None:
        """Write all of `data`, whose length and offset are multiples of `BLOCK`."""
        self._put(data, offset)

    def _put(self, data: memoryview, offset: int) -> None:
        while data:
            try:
                done = os.pwritev(self.descriptor, [data], offset)
            except OSError as error:
                raise self.failure("written", offset, error) from error
            data, offset = data[done:], offset + done

    def read(self, into: memoryview, offset: int) -> None:
        """Fill `into` from the disk."""
        while into:
            try:
                done = os.preadv(self.descriptor, [into], offset)
            except OSError as error:
                raise self.failure("read back", offset, error) from error
            if not done:
                raise self.failure("read back", offset, OSError(errno.ENXIO, "it ends there"))
            into, offset = into[done:], offset + done

    def zero(self, offset: int, length: int) -> None:
        """Make a range all zeros: by the disk itself where it can."""
        try:
            fcntl.ioctl(self.descriptor, _BLKZEROOUT, struct.pack("=QQ", offset, length))
        except OSError as error:
            if error.errno not in {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL}:
                raise self.failure("written", offset, error) from error
        else:
            return
        import mmap

        zeros = memoryview(mmap.mmap(-1, _ZEROS))
        for start in range(offset, offset + length, _ZEROS):
            self._put(zeros[: min(_ZEROS, offset + length - start)], start)

    def discard(self, offset: int, length: int) -> None:
        """Tell the disk that a range is not needed any more."""
        try:
            fcntl.ioctl(self.descriptor, _BLKDISCARD, struct.pack("=QQ", offset, length))
        except OSError as error:
            raise self.failure("discarded", offset, error) from error

    def flush(self) -> None:
        """Wait until all is on the disk, and forget what the kernel has of it."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            raise self.failure("written", self.size, error) from error
        with suppress(OSError):  # only root may; what is read with O_DIRECT comes from the disk all the same
            fcntl.ioctl(self.descriptor, _BLKFLSBUF, 0)
        os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def reread_partitions(self) -> None:
        """Have the kernel look at the new partition table; for who is not root, udev does so on closing."""
        with suppress(OSError):
            fcntl.ioctl(self.descriptor, _BLKRRPART, 0)

    def failure(self, what: str, offset: int, error: OSError) -> InfraError:
        """What an error of the disk means to a person."""
        place = f"at byte {offset} of {self.size}"
        if error.errno in _GONE or not self.present():
            return InfraError(
                f"{self.path} was unplugged, or fell off the bus, while it was {what}, {place}",
                hint="plug it in again, directly and not through a hub, and start over",
            )
        return InfraError(
            f"{self.path} could not be {what} {place}: {error.strerror}",
            hint="`dmesg` has the kernel's words; the disk may be worn out, or smaller than it says",
        )


@contextmanager
def opened(device: Device, *, check: Callable[[], None], present: Callable[[], bool]) -> Iterator[Target]:
    """Open a disk for ourselves alone, and make sure that what was opened is what was looked at.

    `check` looks again, now that the disk is open, and raises ConfigError when it must not be written to.
    """
    # Without O_CREAT: where no such node is, none appears.
    flags = os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(device.path, flags)
    except OSError as error:
        raise _not_opened(device, error) from error
    try:
        _check_descriptor(device, descriptor)
        check()
        yield Target(device.path, descriptor, device.identity.size, present)
    finally:
        with suppress(OSError):  # what it still had to say was said by `flush`
            os.close(descriptor)


def _check_descriptor(device: Device, descriptor: int) -> None:
    """Compare what the descriptor itself says with what was looked at."""
    status = os.fstat(descriptor)
    identity = device.identity
    if not stat.S_ISBLK(status.st_mode) or identity.number != (
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
    ):
        raise _exchanged(device, "its node is that of another device")
    with explaining(InfraError, f"{device.path} does not answer", "plug it in again"):
        size = struct.unpack("=Q", fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8)))[0]
        sector = struct.unpack("=i", fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)))[0]
        read_only = struct.unpack("=i", fcntl.ioctl(descriptor, _BLKROGET, bytes(4)))[0]
    if size != identity.size:
        raise _exchanged(device, f"it had {identity.size} bytes and has {size}")
    if read_only:
        raise ConfigError(
            f"{device.path} is write-protected", hint="many sticks and SD cards have a switch for that"
        )
    if sector > BLOCK or size % sector:
        raise ConfigError(f"{device.path} has sectors of {sector} bytes", hint="take another disk")
    if identity.sequence:
        with suppress(OSError):  # Linux before 5.15 does not count
            sequence = struct.unpack("=Q", fcntl.ioctl(descriptor, _BLKGETDISKSEQ, bytes(8)))[0]
            if sequence != identity.sequence:
                raise _exchanged(device, f"its sequence number was {identity.sequence} and is {sequence}")


def _exchanged(device: Device, how: str) -> ConfigError:
    message = f"{device.path} is no longer the disk that was confirmed: {how}; nothing was written"
    return ConfigError(message, hint="it was exchanged; look again with `harness flash --list`")


def _not_opened(device: Device, error: OSError) -> ConfigError | InfraError:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return ConfigError(
                f"you may not write to {device.path}",
                hint=f"{_group(device.path)}or install the udev rule {RULES}, and plug the disk in again",
            )
        case errno.EBUSY:
            return ConfigError(
                f"{device.path} is in use by another program or another mount namespace",
                hint=f"`lsblk {device.path}` and `fuser -v {device.path}` may say by whom",
            )
        case errno.EROFS:
            return ConfigError(
                f"{device.path} is write-protected", hint="many sticks and SD cards have a switch for that"
            )
        case errno.ENOENT | errno.ENXIO | errno.ENODEV | errno.ENOMEDIUM:
            return ConfigError(
                f"{device.path} is gone; nothing was written", hint="plug it in again, and start over"
            )
    return InfraError(f"cannot open {device.path}: {error.strerror}", hint="`dmesg` has the kernel's words")


def _group(path: str) -> str:
    """Which group to join, if the node is one of a group that may write."""
    import grp

    status = Path(path).stat()
    if not status.st_mode & stat.S_IWGRP:
        return ""
    try:
        name = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        name = str(status.st_gid)
    return f"join the group {name} (`usermod -a -G {name} NAME`, and log in again), "
