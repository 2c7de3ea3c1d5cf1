"""When producers are so busy that their inserts should not ring. Pure: no I/O, no clock.

A ring is a NOTIFY. It holds one lock of the whole server until its commit is on disk, so producers who ring commit one
after the other, while others commit together. Two signs say that this holds them up:

1. *the rate*: so many events a second cost more by their rings than by polling;
2. *the queue*: sessions wait for that lock. On a slow disk they do at any rate, and the rings keep the rate low.

One look at the queue says little, unless it is long: who waits may be there by chance. Two producers who do nothing
else are never more than one who waits, but nearly always that one. So it is the average that counts, the latest looks
most.

What the queue says is true for a while, longer each time that it says so again, and no longer than events come half as
fast as they did when it was seen: at less than that hardly anybody would wait.
"""

# Events a second from which on inserts should not ring, and how many may come at once.
RATE = 2_000.0
BURST = 100.0
# The queue holds producers up if so many sessions wait on average. Of one look `_MOST` of them count at most, and by
# `_WEIGHT`. If it has just been said, a little more than `_SAID` says it again; below `_FORGOTTEN` it never was.
_HELD_UP = 0.5
_MOST = 4
_WEIGHT = 1 / 8
_SAID = 0.4
_FORGOTTEN = 0.2
# It is looked at so often, if so many events have come since: one now and then costs no look.
_LOOK_EACH_S = 0.25
_LOOK_AFTER = 2
# Events that came at any time before say nothing of how fast they come: by so much time is divided at most.
_LONG_S = 1.0
SHORTEST_S = 10.0
LONGEST_S = 60.0
# Within this time it is known that events come no longer as fast, by so many of them at least.
_REST_S = 0.25
_FEWEST = 2.0


class _Bucket:
    """Runs empty at a rate, events a second; holds `most` of them."""

    def __init__(self, rate: float, most: float) -> None:
        self._rate = rate
        self._most = most
        self._level = 0.0
        self._at = 0.0

    def add(self, events: float, now: float) -> None:
        self._level = min(self.left(now) + events, self._most)
        self._at = now

    def left(self, now: float) -> float:
        return max(0.0, self._level - self._rate * (now - self._at))


class BusyProducers:
    """The producers of one outbox, by what one relay reads of them, its own events or not.

    All times are seconds of one clock that never goes back.
    """

    def __init__(self) -> None:
        # What has come beyond the rate. Twice a burst at most: a large backlog says no more of what comes after it.
        self._beyond = _Bucket(RATE, 2 * BURST)
        # What has come since the queue was looked at, and when that was.
        self._came = 0
        self._looked_at = 0.0
        self._waiting = 0.0
        # Until when the queue keeps inserts from ringing, and what runs empty if producers come to rest sooner.
        self._held_up_until = 0.0
        self._at_work = _Bucket(0.0, 0.0)
        self._next_pause_s = SHORTEST_S

    def came(self, events: int, now: float) -> None:
        """Note what a read has found that nobody had read before."""
        if self._held_up_until and not self._are_held_up(now):
            # From now on they ring again: how fast they were without says nothing of that.
            self._held_up_until, self._came, self._looked_at = 0.0, 0, now
        self._beyond.add(events, now)
        self._at_work.add(events, now)
        self._came += events

    def are_busy(self, now: float) -> bool:
        """Report whether inserts should not ring."""
        return self._beyond.left(now) > BURST or self._are_held_up(now)

    def _are_held_up(self, now: float) -> bool:
        return now < self._held_up_until and self._at_work.left(now) > 0

    def should_look(self, now: float) -> bool:
        """Report whether it is time to look how many sessions wait to ring, while inserts ring."""
        return self._came >= _LOOK_AFTER and now - self._looked_at >= _LOOK_EACH_S

    def looked(self, waiting: int, now: float) -> None:
        """Note how many sessions wait to ring."""
        rate = self._came / min(max(now - self._looked_at, _LOOK_EACH_S), _LONG_S)
        self._came, self._looked_at = 0, now
        self._waiting += (min(waiting, _MOST) - self._waiting) * _WEIGHT
        if self._waiting < _FORGOTTEN:
            self._next_pause_s = SHORTEST_S
        if self._waiting < _HELD_UP:
            return
        self._at_work = _Bucket(rate / 2, max(rate / 2 * _REST_S, _FEWEST))
        self._at_work.add(max(rate, _FEWEST), now)
        self._held_up_until = now + self._next_pause_s
        self._waiting, self._next_pause_s = _SAID, min(self._next_pause_s * 2, LONGEST_S)
