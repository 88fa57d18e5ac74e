"""Calls the command line in this process, as if its words had been typed."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import ExitStack, chdir
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING
from unittest.mock import patch

from harness.cli import main, printing

if TYPE_CHECKING:
    from collections.abc import Mapping


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def typed(
    *words: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """What `harness WORD...` prints and its exit code; there is no terminal and no input.

    Args:
        cwd: The working directory; this process's if there is none.
        environment: All variables of the environment; this process's if there are none.
    """
    usual = [(number, signal.getsignal(number)) for number in _SIGNALS]
    with ExitStack() as stack:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        variables = {**(os.environ if environment is None else environment), "COLUMNS": "80"}
        stack.enter_context(patch.dict(os.environ, variables, clear=True))
        stack.enter_context(chdir(cwd or "."))
        nothing = stack.enter_context(Path(os.devnull).open(encoding="utf-8"))
        for name, stream in (("stdout", out), ("stderr", err), ("stdin", nothing)):
            stack.enter_context(patch.object(sys, name, stream))
        stack.enter_context(patch.object(sys, "argv", ["harness", *words]))
        stack.enter_context(patch.object(sys.modules["__main__"], "__package__", ""))
        for console in (printing.out, printing.err):  # they keep what they know of a terminal
            console.cache_clear()
            stack.callback(console.cache_clear)
        try:
            main(words)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        finally:
            for number, handler in usual:
                signal.signal(number, handler)
        said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return CompletedProcess(["harness", *words], status, *said)
