"""Up to which time everything is settled. Pure: no I/O.

A watermark in seq says nothing of time: seqs are drawn before commit. But each look at the outbox gives a time and
the newest seq that was visible then; everything whose commit had returned by that time has a seq up to it. So when
the watermark has reached that seq, all of it is settled.

A row that somebody inserts by hand far beyond the sequence would hold that up until the sequence gets there: the seqs
between are yet to be drawn, so the watermark stays below them. What will be drawn commits after the look. So for such a
look the watermark has to reach what was drawn, and of the rows beyond that each has to be settled.
"""

from collections import deque
from dataclasses import dataclass

# One look a second: an hour without progress. Beyond that every other look is forgotten.
_MOST = 3600


class SettledClock:
    """Turns a watermark in seq into one in time, by what was looked at before."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int, float]] = deque()
        self._settled_at: float | None = None
        self._last_at = float("-inf")

    def looked(self, at: float, newest: int, newest_drawn: int) -> None:
        """Remember a look.

        Args:
            at: The database's clock before the look, Unix seconds.
            newest: The newest seq that was visible then; it falls only in a failover of the database, or if rows far
                ahead are deleted.
            newest_drawn: The newest one that the sequence had reached.
        """
        if at < self._last_at:
            # The clock was set back: what is committed from now on would lie before what was said until now.
            self._looks.clear()
            self._settled_at = None
        self._last_at = at
        while self._looks and self._says_no_more(self._looks[-1], (newest_drawn, newest, at)):
            self._looks.pop()
        self._looks.append((newest_drawn, newest, at))
        if len(self._looks) > _MOST:
            self._looks = deque(list(self._looks)[::2])

    @staticmethod
    def _says_no_more(earlier: tuple[int, int, float], later: tuple[int, int, float]) -> bool:
        """Report whether the later look is reached as soon as the earlier one, and says a later time."""
        return earlier[0] >= later[0] and earlier[1] >= later[1] and earlier[2] <= later[2]

    def settled_at(self, watermark: int, rows_settled_up_to: int) -> float | None:
        """Return the time up to which every commit is settled, Unix seconds; None if no look is reached yet.

        Args:
            watermark: Every event up to this seq is settled.
            rows_settled_up_to: Every row up to this seq that is visible is settled; not below the watermark.
        """
        while self._looks and self._looks[0][0] <= watermark and self._looks[0][1] <= rows_settled_up_to:
            at = self._looks.popleft()[2]
            self._settled_at = at if self._settled_at is None else max(self._settled_at, at)
        return self._settled_at


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far everything of some shards is settled.

    Attributes:
        seq: Every event up to it is settled.
        at: Every event whose commit had returned by then is settled; Unix seconds of the database's clock, None if
            that is not known yet.
    """

    seq: int = 0
    at: float | None = None
