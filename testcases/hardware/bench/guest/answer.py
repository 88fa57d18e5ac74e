"""Runs a command on a terminal of its own, and types an answer to its question when a file appears.

    answer.py NAME ANSWER COMMAND…

What it says goes to NAME.out. NAME.asked appears with its question; when NAME.go appears, ANSWER is typed;
NAME.pid has its number, NAME.status its exit status in the end.
"""

import os
import pty
import sys
import time
from pathlib import Path

name, answer, *command = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)  # noqa: S606 - as a terminal would
Path(f"{name}.pid").write_text(str(child))
said = b""
answered = False
with Path(f"{name}.out").open("wb", buffering=0) as log:
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # the command has ended
            break
        if not data:
            break
        log.write(data)
        said += data
        if b"Type the end" in said and not answered:
            answered = True
            Path(f"{name}.asked").touch()
            while not Path(f"{name}.go").exists():
                time.sleep(0.1)
            os.write(terminal, f"{answer}\r".encode())
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
Path(f"{name}.status").write_text(str(status))
