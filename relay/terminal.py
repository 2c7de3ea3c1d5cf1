"""A picture of lines on a terminal, drawn again in the same place."""

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Self, TextIO

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[2K", "\x1b[J"


class Redraw:
    """Draws on a terminal; the last picture stays when it ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn = 0
        self._on_term: Callable[[int, FrameType | None], object] | int | None = signal.SIG_DFL

    def __enter__(self) -> Self:
        # SIGTERM ends the process at once, wherever it is.
        self._on_term = signal.signal(signal.SIGTERM, self._leave)
        self._write(_HIDE_CURSOR)
        return self

    def _leave(self, number: int, frame: FrameType | None) -> None:
        """Show the cursor and end as the process would have ended without a picture."""
        # Not by the buffered stream: the signal may have come while it was being written to.
        os.write(self._out.fileno(), f"{_WRAP}{_SHOW_CURSOR}".encode())
        if callable(self._on_term):
            self._on_term(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if self._on_term is None else self._on_term)
        self._write(_SHOW_CURSOR)

    def draw(self, lines: Sequence[str]) -> None:
        """Draw; what is too wide or too high for the terminal is left out."""
        # What is pushed out at the top, or wraps, would make the way back up too short.
        fitting = lines[: os.get_terminal_size(self._out.fileno()).lines - 1]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        body = "".join(f"\r{_CLEAR_LINE}{line}\n" for line in fitting)
        self._drawn = len(fitting)
        self._write(f"{_CUT}{up}{body}{_CLEAR_BELOW}{_WRAP}")

    def forget(self) -> None:
        """Begin below what was drawn: something else was written meanwhile."""
        self._drawn = 0

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
