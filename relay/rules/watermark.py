"""Up to which time everything is settled. Pure: no I/O.

A watermark in seq says nothing of time: seqs are drawn before commit. But each look at the outbox gives a time and
the newest seq that was visible then; everything whose commit had returned by that time has a seq up to it. So when
the watermark has reached that seq, all of it is settled.
"""

from collections import deque
from dataclasses import dataclass

# One look a second: an hour without progress. Beyond that every other look is forgotten.
_MOST = 3600


class SettledClock:
    """Turns a watermark in seq into one in time, by what was looked at before."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, float]] = deque()
        self._settled_at: float | None = None

    def looked(self, at: float, newest: int) -> None:
        """Remember a look.

        Args:
            at: The database's clock before the look, Unix seconds.
            newest: The newest seq that was visible then; it falls only in a failover of the database.
        """
        while self._looks and self._looks[-1][0] >= newest and self._looks[-1][1] <= at:
            self._looks.pop()  # the later look says more about the same seq
        self._looks.append((newest, at))
        if len(self._looks) > _MOST:
            self._looks = deque(list(self._looks)[::2])

    def settled_at(self, watermark: int) -> float | None:
        """Return the time up to which every commit is settled, Unix seconds; None if no look is reached yet."""
        while self._looks and self._looks[0][0] <= watermark:
            at = self._looks.popleft()[1]
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
