"""Program that holds a place of labgrid until its parent ends.

    place_holder.py LIMIT CLIENT WORD…

labgrid knows users, not processes: a place stays acquired when the process that wanted it dies. This program
acquires the place, writes a line, and waits for the end of its standard input, which comes with every end of
the parent. Then it releases the place. Its status is that of the client, which has LIMIT seconds.
"""

import os
import subprocess
import sys
from contextlib import suppress


def run(client: list[str], word: str, limit: float) -> int:
    """Run labgrid's client; its status. What it complains of goes to standard error."""
    try:
        done = subprocess.run(
            [*client, word], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"it did not answer within {limit:.0f} s\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"cannot run: {client[0]}: {error.strerror}\n")
        return 1
    return done.returncode


def main(limit: str, *client: str) -> int:
    """Acquire, wait, release."""
    if status := run(list(client), "acquire", float(limit)):
        return status
    with suppress(BrokenPipeError):  # the parent may be gone already
        os.write(1, b"acquired\n")
    sys.stdin.buffer.read()
    return run(list(client), "release", float(limit))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
