"""Program that connects a guest to a server on this host.

    python3 forward.py PORT

QEMU starts it for each connection, so it imports little.

Its standard input and output are the guest's end.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_PIECE = 1 << 16


def main(port: int) -> None:
    """Copy in both directions until both have ended."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        onwards = threading.Thread(target=_onwards, args=(server,), daemon=True)
        onwards.start()
        while piece := server.recv(_PIECE):
            while piece:
                piece = piece[os.write(1, piece) :]


def _onwards(server: socket.socket) -> None:
    while piece := os.read(0, _PIECE):
        server.sendall(piece)
    server.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(int(sys.argv[1]))
