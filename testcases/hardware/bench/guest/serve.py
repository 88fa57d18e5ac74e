"""Runs `harness flash` again and again, each time in a new process that begins with all modules loaded.

Under TCG, imports are most of what a start costs. A line in /run/flash.in has the arguments; /run/flash.out
gets what is said, /run/flash.status the exit status.
"""

import os
import shlex
from importlib import import_module
from pathlib import Path

from harness.cli import main

for name in (
    "harness.cli.flash",
    "harness.flash.session",
    "harness.flash.source",
    "harness.report.progress",
    "pyudev",
    "rich.table",
):
    import_module(name)

while True:
    arguments = shlex.split(Path("/run/flash.in").read_text())
    child = os.fork()
    if child == 0:
        out = os.open("/run/flash.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        main(["flash", *arguments])
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    Path("/run/flash.status").write_text(f"{status}\n")
