"""How many log lines of one kind are written: the first of a window each, the others as one count. Pure."""

from collections import Counter


class LineBudget:
    """Keeps one cause that concerns thousands of things from writing thousands of lines.

    A window begins with a line, and ends some time later; what was left out of it is told before the next one begins.

    Args:
        lines: So many of each kind are written in a window.
        window_s: Length of a window, seconds.
    """

    def __init__(self, lines: int, window_s: float) -> None:
        self._lines = lines
        self._window_s = window_s
        self._ends_at = float("-inf")
        self._written: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()

    def takes(self, kind: str, now: float) -> bool:
        """Report whether a line of a kind is to be written now; if not, it is counted."""
        if now >= self._ends_at and not self._left_out:
            self._ends_at = now + self._window_s
            self._written.clear()
        if self._written[kind] < self._lines:
            self._written[kind] += 1
            return True
        self._left_out[kind] += 1
        return False

    def left_out(self, now: float) -> dict[str, int]:
        """Take how many lines of each kind were left out of the window that has ended; nothing before its end."""
        if now < self._ends_at or not self._left_out:
            return {}
        told = dict(self._left_out)
        self._left_out.clear()
        return told
