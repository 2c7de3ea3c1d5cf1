"""Which events to look at so that each is seen settled, without an index of delivered events. Pure: no I/O, no clock.

New events are found above a cursor. What is not settled when it is first seen, and what was passed over and may still
be committed, is open: it is looked at by its seq, some of it at each look, in turn.
"""

import math
from collections.abc import Collection, Iterable

# A seq that is still missing after this time was rolled back, or its transaction takes longer, seconds.
LATE_S = 600.0


class Following:
    """What was seen, and what is looked for.

    Args:
        cursor: The highest seq that was looked at.
    """

    def __init__(self, cursor: int) -> None:
        self.cursor = cursor
        # Each with the moment until which it is looked for; the longest not looked at first.
        self._open: dict[int, float] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def passed(self, up_to: int, pending: Iterable[int], missing: Iterable[int], now: float) -> None:
        """Move on: everything up to a seq was looked at.

        Args:
            up_to: The cursor from now on.
            pending: What is not settled.
            missing: What was not visible.
            now: Monotonic time, seconds.
        """
        for seq in missing:
            self._open.setdefault(seq, now + LATE_S)
        self.open(pending)
        self.cursor = max(self.cursor, up_to)

    def open(self, pending: Iterable[int]) -> None:
        """Look for events until they are settled."""
        for seq in pending:
            self._open[seq] = math.inf

    def turn(self, limit: int, now: float) -> list[int]:
        """Return at most `limit` open seqs, the longest not looked at first; forget those that never came."""
        alive = []
        for seq in list(self._open)[:limit]:
            until = self._open.pop(seq)
            if until > now:
                self._open[seq] = until
                alive.append(seq)
        return alive

    def settled(self, seqs: Collection[int]) -> None:
        """Forget events that are settled."""
        for seq in seqs:
            self._open.pop(seq, None)
