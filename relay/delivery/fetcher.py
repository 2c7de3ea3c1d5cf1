"""Fetch: from the outbox into the lanes.

One turn reads the rows above the cursor and what has appeared in the gaps below it; `relay.delivery.retries` adds what
is due. When nothing is there `relay.delivery.wakeup` says how long to sleep.
"""

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from relay.delivery.after_crash import AfterCrash
from relay.delivery.retries import Retries
from relay.delivery.wakeup import Wakeup
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.postgres.doorbell import Doorbell
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.gaps import Gaps
from relay.rules.lanes import Lanes
from relay.rules.unsettled import Books

log = logging.getLogger(__name__)

_NO_LIMIT = 2**63 - 1
# How many seqs one read may pass over while it catches up with what an earlier run has settled.
_CATCH_UP_SPAN = 100_000
# A row that commits late is found within this time.
_GAP_PAUSE_S = 0.25
# 2,000 rows/s: 5 million in 40 minutes, at 3 ms of the database every 5 s.
_SCRUB_PAUSE_S = 5.0
_SCRUB_SPAN = 10_000
_BACKFILL_PAUSE_S = 1.0


@dataclass(frozen=True)
class FetchOptions:
    """How much is fetched; the fields follow the ``[delivery]`` section."""

    fetch_batch: int = 1000
    buffer_events: int = 8000
    buffer_bytes: int = 32 * 1024 * 1024
    poll_max_s: float = 1.0
    on_dead: Literal["skip", "block"] = "skip"


class Fetcher:
    """Keeps the lanes filled.

    Args:
        watermark: Everything up to this seq is settled: where to begin.
        newest: The newest seq at that moment; up to it rows may be settled already.
        careful: Says how far may be read at first; None where the last owners ended well.
        bell: None: polling alone.
        waiting: How many of the events in memory cannot be sent now, and so take no room from the others.
        on_events: Called when the lanes have something new.
        room: Set when events were settled, so that there may be room again.
    """

    def __init__(
        self,
        options: FetchOptions,
        *,
        reader: OutboxReader,
        bell: Doorbell | None,
        waiting: Callable[[], int],
        lanes: Lanes,
        books: Books,
        metrics: Metrics,
        on_events: Callable[[], None],
        room: asyncio.Event,
        watermark: int,
        newest: int,
        careful: AfterCrash | None = None,
    ) -> None:
        self._options = options
        self._reader = reader
        self._waiting = waiting
        self._lanes = lanes
        self._books = books
        self._metrics = metrics
        self._on_events = on_events
        self._room = room
        self._gaps = Gaps()
        self._retries = Retries(reader=reader, lanes=lanes, books=books, on_dead=options.on_dead)
        self._wakeup = Wakeup(bell, options.poll_max_s)
        self._careful = careful
        self.cursor = watermark
        self.newest = newest
        self._settled_up_to = newest
        self._limit = min(100, options.fetch_batch)
        self._gaps_at = 0.0
        # How far late events were taken in, where there are more of them: nothing may overtake those.
        self._late_up_to: int | None = None
        self._backfill_at = 0.0
        # From this seq on, what was dropped from memory is being read again.
        self._backfilling: int | None = None
        self._scrub_at = time.monotonic() + _SCRUB_PAUSE_S
        self._scrubbed = 0
        self._generation = reader.generation
        self.hold_ended = False

    def watermark(self) -> int:
        """Give the seq up to which every event is settled, as far as is known now."""
        known = (
            self.cursor + 1,
            self._books.lowest(),
            self._gaps.lowest(),
            self._lanes.overflow_from,
            self._backfilling,
        )
        return min(seq for seq in known if seq is not None) - 1

    def gap_since(self) -> float | None:
        """Give since when the oldest gap is waited for, Unix seconds."""
        return self._gaps.oldest_since()

    def backlog(self) -> int:
        """Estimate how many events are neither delivered nor dead."""
        ahead = round(max(0, self.newest - self.cursor) * self._reader.ratio)
        return ahead + len(self._books.unsettled) + len(self._books.postponed)

    async def _rewind(self) -> None:
        """Begin again at the watermark where the connection is new, since the database may be another one.

        After a failover it may have lost its newest transactions, and use their seqs again. What is in memory
        stays and is not taken twice.
        """
        if self._generation == self._reader.generation:
            return
        watermark, self.newest = await self._reader.starting_point()
        self._generation = self._reader.generation
        self._gaps = Gaps()
        self._late_up_to = None
        self.cursor = min(self.cursor, watermark)
        self._settled_up_to = self.newest

    async def run(self) -> None:
        """Fetch for ever."""
        await self._retries.begin()
        if self._careful is not None:
            await self._begin_with(self._careful)
            self._careful = None
        while True:
            await self._wait_for_room()
            found = await self.turn()
            if found:
                await self._wakeup.found(found)
                self._on_events()
            else:
                await self._wakeup.sleep(self._nothing_before_s())

    async def _begin_with(self, careful: AfterCrash) -> None:
        """Send what the last owners may have had in hand, group by group."""
        while (upper := await careful.next_group(self.cursor, self._settled_up_to)) is not None:
            while self.cursor < min(upper, self._settled_up_to):
                await self._wait_for_room()
                await self._rewind()
                await self._advance(time.monotonic(), upper)
                self._on_events()
            await careful.outlived(lambda: len(self._books.unsettled) - self._waiting())
        await careful.end()

    async def _wait_for_room(self) -> None:
        while not self._has_room():
            self._room.clear()
            await self._room.wait()

    def _has_room(self) -> bool:
        return (
            len(self._books.unsettled) - self._waiting() < self._options.buffer_events
            and self._books.payload_bytes < self._options.buffer_bytes
        )

    async def turn(self) -> int:
        """Read once whatever may be there; gives how many events were taken in."""
        now = time.monotonic()
        await self._rewind()
        found = await self._backfill(now)
        found += await self._advance(now)
        found += await self._retries.turn(now, self.cursor, self._limit)
        if now >= self._scrub_at:
            self._scrub_at = now + _SCRUB_PAUSE_S
            found += await self._scrub()
        return found

    def _nothing_before_s(self) -> float:
        """Give the seconds until the next turn may find something that rings no bell."""
        due_s = max(0.0, self._retries.due_at() - time.monotonic())
        return min(due_s, _GAP_PAUSE_S) if len(self._gaps) else due_s

    async def _advance(self, now: float, upper: int = _NO_LIMIT) -> int:
        """Read what has appeared in gaps, then above the cursor up to `upper`; gives how many events."""
        found = 0
        if self._late_up_to is not None or (len(self._gaps) and now >= self._gaps_at):
            found += await self._reread()
        if self._late_up_to is None:
            found += await self._next(upper)
        return found

    async def _next(self, upper: int) -> int:
        """Read above the cursor, and note which seqs are missing."""
        started = time.monotonic()
        catching_up = self.cursor < self._settled_up_to
        if catching_up:
            upper = min(upper, self.cursor + _CATCH_UP_SPAN, self._settled_up_to)
        self._books.begin_read()
        if catching_up or self._reader.has_all:
            events = await self._reader.fetch(self.cursor, upper, self._limit)
            seqs = [event.seq for event in events]
        else:
            events, seqs = await self._reader.fetch_among(self.cursor, upper, self._limit)
        cut_short = len(seqs) == self._limit
        late = await self._take_late() if events else 0
        if self._late_up_to is not None:
            return late  # what was just read is read again when the rest of the late ones is here
        if catching_up and not cut_short:
            reached = upper
        elif seqs:
            reached = seqs[-1]
        else:
            self.newest = max(self.newest, self.cursor)
            return 0
        self._gaps.passed(self.cursor, seqs, reached, time.time())
        if catching_up and len(seqs) < reached - self.cursor:
            self._gaps.found(await self._reader.settled(self.cursor + 1, reached))
        self.cursor = reached
        self.newest = max(self.newest, reached)
        self._size_next(events)
        self._metrics.stage("fetch", time.monotonic() - started)
        self._offer(events)
        return max(len(events) + late, 1)

    def _size_next(self, events: list[Event]) -> None:
        """Ask for more next time, up to the batch, as long as it fits into a quarter of the buffer's bytes.

        The size of rows is known only when they are here, so a fetch grows step by step.
        """
        wanted = min(self._options.fetch_batch, self._limit * 2)
        if events:
            mean_bytes = sum(len(event.payload) for event in events) // len(events) + 1
            wanted = min(wanted, max(1, self._options.buffer_bytes // 4 // mean_bytes))
        self._limit = wanted

    def _offer(self, events: list[Event]) -> None:
        self._metrics.fetched(len(events))
        if self._careful is not None:
            events = [self._careful.cleared(event) for event in events]
        new = self._books.take_in(events)
        if any(event.postponed for event in new):
            new = [event for event in new if not self._retries.keep(event)]
        crowded = self._books.payload_bytes > self._options.buffer_bytes // 2
        self._books.settle(self._lanes.offer(new, crowded=crowded))

    async def _scrub(self) -> int:
        """Look for pending rows far behind the cursor, a small range at a time: a safety net.

        There are none unless seqs were not drawn in order: a sequence with a cache, a restored dump, rows
        written by hand.
        """
        if self._scrubbed >= self.cursor:
            self._scrubbed = 0
        upper = min(self._scrubbed + _SCRUB_SPAN, self.cursor)
        self._books.begin_read()
        events = await self._reader.fetch(self._scrubbed, upper, self._limit)
        self._scrubbed = events[-1].seq if len(events) == self._limit else upper
        known = self._gaps.lowest(), self._lanes.overflow_from
        lowest = min((seq for seq in known if seq is not None), default=_NO_LIMIT)
        # What waits for a retry comes back by itself, in its own order.
        lost = [
            event
            for event in events
            if event.postponed is None and not self._books.knows(event.seq) and event.seq < lowest
        ]
        if lost:
            log_event(
                log,
                "warning",
                "scrub.found",
                "pending events were found behind the cursor: is the sequence cached, or were rows written by hand?",
                events=len(lost),
                first_seq=lost[0].seq,
                event_id=lost[0].id,
            )
            self._offer(lost)
        return len(lost)

    async def _reread(self) -> int:
        """Look into the gaps again: first who could still fill them, then the rows."""
        self._gaps.observe(await self._reader.holders())
        self._books.begin_read()
        found = await self._take_late()
        self._gaps.close(self._late_up_to)
        self._gaps_at = time.monotonic() + _GAP_PAUSE_S
        return found

    async def _take_late(self, below: int = _NO_LIMIT) -> int:
        """Take in what has become visible in the gaps below a seq; gives how many events.

        It comes between each read of later events and their offer: a transaction may have one event in a gap and
        the next of the same key after it, and another transaction may follow it. All gaps are read in one statement,
        so that late events do not overtake each other either.
        """
        self._late_up_to = None
        los, his = self._gaps.ranges()
        asked = bisect_left(los, below)
        if not asked:
            return 0
        limit = self._limit
        events = await self._reader.reread(los[:asked], [min(hi, below - 1) for hi in his[:asked]], limit)
        if len(events) == limit:
            self._late_up_to = events[-1].seq
        self._gaps.found((event.seq, event.seq) for event in events)
        if events:
            self._size_next(events)
        self._offer(events)
        return len(events)

    async def _backfill(self, now: float) -> int:
        """Read again what was dropped from memory behind lanes that were stuck, and flow again."""
        if not (self._lanes.can_resume or self.hold_ended) or now < self._backfill_at:
            return 0
        self.hold_ended = False
        self._backfill_at = now + _BACKFILL_PAUSE_S
        self._backfilling = self._lanes.begin_again()
        found = 0
        while self._backfilling is not None and self._backfilling <= self.cursor:
            upper = min(self._backfilling + _CATCH_UP_SPAN, self.cursor)
            self._books.begin_read()
            limit = self._limit
            events = await self._reader.fetch(self._backfilling - 1, upper, limit)
            found += await self._take_late(self._backfilling)
            if self._late_up_to is None:
                self._offer(events)
                self._backfilling = 1 + (events[-1].seq if len(events) == limit else upper)
                found += len(events)
            self._on_events()
            await self._wait_for_room()
        self._backfilling = None
        return found
