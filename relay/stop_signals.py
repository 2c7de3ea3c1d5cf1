"""Stop a process cleanly on SIGTERM, SIGINT or SIGHUP, however many of them come at once.

Supervisors signal a process and its group, and a terminal signals every process of a pipe: one wish comes as two
signals. asyncio's own handlers end with the event loop, and a signal that comes then kills a process that has ended
well. These handlers stay until the interpreter ends, and signals are ignored from then on.
"""

import asyncio
import atexit
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

SAME_WISH_S = 0.5
"""Signals that come within so many seconds of the first one say the same."""


class StopWish:
    """A handler of signals: the first one stops, and a later one leaves at once with 128 + its number.

    Args:
        stop: Called once, between two instructions of the main thread.
    """

    def __init__(self, stop: Callable[[], object]) -> None:
        self._stop = stop
        self._first_at: float | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Take note of a signal."""
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
            self._stop()
        elif now - self._first_at >= SAME_WISH_S:
            os._exit(128 + number)


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` at the first SIGTERM, SIGINT or SIGHUP, and leave at once at a later one; until the process ends.

    A SIGHUP that is ignored, as under nohup, stays so.
    """
    wish = StopWish(stop)
    for number in _NUMBERS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, wish)
    atexit.register(_ignore)


def stop_loop_on_signals(stop: Callable[[], object]) -> None:
    """Do as `stop_on_signals`; `stop` is called in the running event loop, and not any more once that has ended."""
    loop = asyncio.get_running_loop()

    def in_loop() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop)

    stop_on_signals(in_loop)


def _ignore() -> None:
    """Let no signal change the exit code while the interpreter ends: it takes our handlers away."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
