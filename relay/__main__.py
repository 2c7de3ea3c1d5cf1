"""The program: ``relay``, or ``python -m relay``."""

import os
import signal
from types import FrameType


def _leave(number: int, _: FrameType | None) -> None:
    """End at once: nothing was begun, or nothing is lost by it."""
    os._exit(128 + number)


def main() -> None:
    """Run the command line; SIGTERM ends it at any moment.

    The kernel drops a signal that process 1 of a container has no handler for, and loading the command line takes
    long enough for one to come. The daemon replaces the handler by its own.
    """
    signal.signal(signal.SIGTERM, _leave)
    from relay.cli import main as command_line

    command_line(prog_name="relay")


if __name__ == "__main__":
    main()
