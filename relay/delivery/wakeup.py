"""Wakeup: how long the fetcher sleeps when it finds nothing, and whether an insert may wake it."""

import asyncio
import random
import time
from collections.abc import Callable

from relay.postgres.doorbell import Doorbell
from relay.rules.reading.busy_producers import BusyProducers

_SHORTEST_S = 0.005
# Without the bell because producers are at work: an insert waits half of this on average.
_BESIDE_PRODUCERS_S = 0.1
# A beat may come later than the longest pause by this factor, and still replaces a read.
_BEAT_IS_LATE = 1.1


class Wakeup:
    """Sleeps until the bell rings, or without the bell longer and longer.

    Args:
        bell: None: polling alone.
        longest_s: The longest sleep, seconds.

    Attributes:
        rang: Whether the latest sleep ended by a ring, and nothing was found since.
    """

    def __init__(self, bell: Doorbell | None, longest_s: float) -> None:
        self._bell = bell
        self._longest_s = longest_s
        self._pause_s = _SHORTEST_S
        self._producers = BusyProducers()
        self.rang = False

    @property
    def hears_all(self) -> bool:
        """Whether each insert that the previous turn has not seen rings, since the bell was ours all along."""
        return self._bell is not None and self._bell.held and not self._producers.are_busy(time.monotonic())

    def came(self, rows: int) -> None:
        """Note what a read has found above the cursor, rows of other relays with it: producers ring for each."""
        self._producers.came(rows, time.monotonic())

    async def found(self) -> None:
        """Note that a turn has found something; give the bell back if producers are busy: they should not ring."""
        self._pause_s = _SHORTEST_S
        rang, self.rang = self.rang, False
        if self._bell is None:
            return
        now = time.monotonic()
        if (rang or self._bell.some_ring) and self._producers.should_look(now):
            self._producers.looked(await self._bell.waiting(), now)
        if self._producers.are_busy(now):
            await self._bell.release()
        # It may not sleep for long: there is always more.
        await self._bell.keep()

    async def stay_awake(self) -> None:
        """Give the bell back: what inserts would ring for is not read for now."""
        if self._bell is not None:
            await self._bell.release()

    async def sleep(self, at_most_s: float, looked_at: float | None, at_ring: Callable[[], None] | None) -> bool:
        """Sleep until something may be there, `at_most_s` seconds; not at all if the bell was just taken.

        Args:
            at_most_s: The longest sleep, whatever the configuration says.
            looked_at: When a beat saw that nothing is there, monotonic seconds. While an insert rings, that replaces a
                read: the sleep ends a little after the next beat is due, however late it began.
            at_ring: Called as soon as it rings, before the caller wakes.

        Returns:
            Whether something may be there that the latest beat has not seen.
        """
        self.rang = False
        longest_s = min(at_most_s, self._longest_s)
        are_busy = self._bell is not None and self._producers.are_busy(time.monotonic())
        if self._bell is not None and not are_busy:
            if self._bell.rings:
                if looked_at is not None and (left_s := self._next_look(looked_at) - time.monotonic()) > 0:
                    longest_s = min(at_most_s, left_s)
                self.rang = await self._bell.sleep(max(longest_s, 0.001), at_ring)
                return self.rang
            if await self._bell.take():
                return True  # look once more before sleeping: an insert may have committed just before
        pause_s = min(longest_s, self._pause_s)
        beside_producers = self._bell is not None and (self._bell.hung or self._bell.coming)
        # That they are busy is soon over if nothing comes.
        if not are_busy:
            self._pause_s = min(self._pause_s * 2, _BESIDE_PRODUCERS_S if beside_producers else self._longest_s)
        if self._bell is not None and self._bell.rings_for_later:
            self.rang = await self._bell.sleep(max(pause_s, 0.001), at_ring)
        else:
            await asyncio.sleep(pause_s * (1 - random.random() / 4))
        return True

    def needs_no_read(self, looked_at: float | None) -> bool:
        """Report whether a beat has seen that nothing is there, no longer ago than a read may be."""
        return looked_at is not None and time.monotonic() < self._next_look(looked_at)

    def _next_look(self, looked_at: float) -> float:
        return looked_at + self._longest_s * _BEAT_IS_LATE
