"""A guest with a shell and a virtio port, under a QEMU of its own."""

from __future__ import annotations

import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.console.recorder import Recorder
from harness.console.shell import Shell
from harness.console.transport import BULK_PORT, pipes
from harness.core.progress import Quiet
from harness.image.build import BuildOptions, build
from harness.machine.command import qemu_program
from harness.recipe import load_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPE = Path(__file__).parents[2] / "benchmarks/bulk/recipes/bulk.toml"
_LIMIT = 300.0  # seconds to the prompt on a loaded host


@contextmanager
def guest_with_port(cache: Path, directory: Path) -> Iterator[tuple[Shell, socket.socket]]:
    """Boots it, and ends it in the end; gives its shell and our end of its port."""
    built = build(load_recipe(str(RECIPE)), BuildOptions(cache=cache), Quiet())
    kernel, initramfs = built.kernels["seed"].image.path, built.images["bulk"].path
    with ExitStack() as cleanup:
        console, guest_says, guest_hears = pipes()
        port, guests_port = socket.socketpair()
        cleanup.enter_context(port)
        command = [qemu_program(), "-accel", "tcg", "-m", "512M", "-display", "none", "-nodefaults"]
        command += ["-no-user-config", "-kernel", str(kernel), "-initrd", str(initramfs)]
        command += ["-append", built.recipe.boot.command_line]
        command += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
        command += ["-chardev", f"socket,id=bulk,fd={guests_port.fileno()}", "-device", "virtio-serial-pci"]
        command += ["-device", f"virtserialport,chardev=bulk,name={BULK_PORT}"]
        process = subprocess.Popen(
            command, stdin=guest_hears, stdout=guest_says, pass_fds=[guests_port.fileno()]
        )
        cleanup.callback(process.wait)
        cleanup.callback(process.kill)
        for end in (guest_says, guest_hears, guests_port):
            end.close()
        recorder = Recorder(console, directory / "console.raw", directory / "console.idx")
        shell = Shell(recorder, _prompt(cleanup.enter_context(recorder)))
        shell.enter(timeout=_LIMIT)
        yield shell, port


def _prompt(recorder: Recorder) -> int:
    """Wait for the prompt; the raw offset behind it."""
    data = b""
    while b"\nbulk# " not in data:  # busybox asks for the cursor's place behind it
        more = recorder.read(len(data), timeout=_LIMIT)
        assert more, data[-1000:]
        data += more
    return len(data)
