"""Entry point of `harness` and of `python -m harness`."""

from __future__ import annotations

import gc

# A start makes a hundred thousand objects, and nearly all of them stay: to look for garbage among them after
# every 700, as Python does by itself, takes a twentieth of its time.
_OBJECTS = 20_000


def main() -> None:
    """Run the command line, which ends the process."""
    gc.set_threshold(_OBJECTS)
    from harness.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
