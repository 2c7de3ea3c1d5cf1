"""A picture of lines on a terminal, drawn again in the same place."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TextIO

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[2K", "\x1b[J"


class Redraw:
    """Draws on a terminal; the last picture stays when it ends."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._drawn = 0

    def __enter__(self) -> Self:
        self._write(_HIDE_CURSOR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
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
