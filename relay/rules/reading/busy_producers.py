"""When producers are so busy that their inserts should not ring. Pure: no I/O, no clock.

A ring is a NOTIFY. It holds one lock of the whole server until its commit is on disk, so producers who ring commit one
after the other, while others commit together. Two signs say that this holds them up:

1. *the rate*: so many events a second cost more by their rings than by polling;
2. *the queue*: sessions wait for that lock. On a slow disk they do at any rate, and the rings keep the rate low.

What the queue says is true for a while, longer each time that it says so again, and no longer than events come.
"""

# Events a second from which on inserts should not ring, and how many may come at once.
RATE = 2_000.0
BURST = 100.0
# One session that waits may be a matter of chance, and one look that finds more of them a slow write to the disk.
CROWD = 2
LOOKS = 2
# The queue is counted after so many events, and not more often than this.
_COUNT_AFTER = 25
_COUNT_EACH_S = 0.25
_SHORTEST_S = 1.0
_LONGEST_S = 30.0
# Without an event for so long, producers are at rest.
_REST_S = 0.25


class BusyProducers:
    """The producers of one outbox, by what one relay reads of them, its own events or not.

    All times are seconds of one clock that never goes back.
    """

    def __init__(self) -> None:
        # What has come beyond RATE: a bucket that runs empty at that rate.
        self._level = 0.0
        self._came_at = 0.0
        self._crowds = 0
        self._crowded_until = 0.0
        self._next_pause_s = _SHORTEST_S
        self._uncounted = 0
        self._count_at = 0.0

    def came(self, events: int, now: float) -> None:
        """Note what a read has found that nobody had read before."""
        # Twice a burst at most, so that a large backlog says no more of what comes after it.
        self._level = min(self._left(now) + events, 2 * BURST)
        self._came_at = now
        self._uncounted += events

    def _left(self, now: float) -> float:
        return max(0.0, self._level - RATE * (now - self._came_at))

    def are_busy(self, now: float) -> bool:
        """Report whether inserts should not ring."""
        if self._left(now) > BURST:
            return True
        return now < self._crowded_until and now - self._came_at < _REST_S

    def should_count(self, now: float) -> bool:
        """Report whether it is time to count the sessions that wait to ring, while inserts ring."""
        return self._uncounted >= _COUNT_AFTER and now >= self._count_at

    def counted(self, waiting: int, now: float) -> None:
        """Note how many sessions wait to ring."""
        self._uncounted = 0
        self._count_at = now + _COUNT_EACH_S
        if waiting < CROWD:
            self._crowds, self._next_pause_s = 0, _SHORTEST_S
            return
        self._crowds += 1
        if self._crowds < LOOKS:
            return
        self._crowds = 0
        self._crowded_until = now + self._next_pause_s
        self._next_pause_s = min(self._next_pause_s * 2, _LONGEST_S)
