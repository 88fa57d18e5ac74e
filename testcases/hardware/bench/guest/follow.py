"""Hears a board's serial port as a run does, over an adapter that comes and goes, until it hears "over".

    follow.py BOARD.toml

All that is heard goes to /run/heard, and is answered with its length; /run/following appears when the port is
open, /run/gaps has the gaps in the end.
"""

import sys
from pathlib import Path
from select import select

from harness.machine.board.document import load_board
from harness.machine.board.line import Gap
from harness.machine.board.machine import BoardMachine

gaps: list[Gap] = []
machine = BoardMachine(load_board(Path(sys.argv[1])), ask=print, told=gaps.append)
with machine, Path("/run/heard").open("wb", buffering=0) as log:
    machine.start()
    Path("/run/following").touch()
    heard = b""
    while not heard.endswith(b"over\n"):
        machine.poll()
        if select([machine.transport.fileno()], [], [], 0.2)[0]:
            data = machine.transport.read(4096) or b""
            log.write(data)
            heard += data
            machine.transport.write(f"{len(heard)}\n".encode())
    machine.poll()
Path("/run/gaps").write_text(" ".join(f"{gap.offset}:{gap.seconds}" for gap in gaps))
