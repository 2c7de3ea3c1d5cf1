"""Let a signal end a command without a traceback, whenever it comes. Imports nothing that takes time.

Python turns SIGINT into an exception at whatever line runs. While a command works that is wanted: statements are
cancelled, and what it has opened is closed. Before, nothing is begun; afterwards, all is done. The exception would then
only show a traceback, of an import or of the end of the interpreter. So the process is ended at once there.
"""

import atexit
import os
import signal
import sys
from types import FrameType


def leave(number: int, _: FrameType | None) -> None:
    """End at once: nothing was begun, nothing is left to do, or nothing is lost by it."""
    os._exit(128 + number)


def leave_on_signals() -> None:
    """End the process at once on SIGTERM, and on SIGINT except in what `working` and `done` enclose.

    Each may be replaced by another handler, such as the daemon's. A SIGINT that is ignored, as in the background of a
    script, stays so. Call it once, before anything is imported that takes long.
    """
    # The kernel drops a signal that process 1 of a container has no handler for.
    signal.signal(signal.SIGTERM, leave)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    sys.unraisablehook = _unraisable
    # What is registered first is called last.
    atexit.register(_ignore)


def working() -> None:
    """Let SIGINT raise KeyboardInterrupt from now on, if it would end the process at once."""
    if signal.getsignal(signal.SIGINT) is leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def done() -> None:
    """Let SIGINT end the process at once again, if it would raise KeyboardInterrupt, in a process that began so."""
    if sys.unraisablehook is _unraisable and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    """End the process on an interrupt that came while an object was deleted: Python would print it and go on."""
    if issubclass(what.exc_type, KeyboardInterrupt):
        leave(signal.SIGINT, None)
    sys.__unraisablehook__(what)


def _ignore() -> None:
    """Let no signal change the exit code while the interpreter ends: it takes our handlers away."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
