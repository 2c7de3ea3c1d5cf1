"""Fetch: from the outbox into the lanes.

One turn reads the rows above the cursor, the retries that are due, and the gaps; when it finds nothing the
fetcher rests, on the bell where it can have it.
"""

import asyncio
import logging
import random
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from relay.books import Books
from relay.careful import CarefulStart
from relay.doorbell import Doorbell
from relay.event import Event
from relay.gaps import Gaps
from relay.lanes import Lanes
from relay.logs import event as log_event
from relay.metrics import Metrics
from relay.outbox import OutboxReader

log = logging.getLogger(__name__)

_NO_LIMIT = 2**63 - 1
# How many seqs one read may pass over while it catches up with what an earlier run has settled.
_CATCH_UP_SPAN = 100_000
_SHORTEST_REST_S = 0.005
# Without the bell because producers are at work: an insert waits half of this on average.
_REST_BESIDE_PRODUCERS_S = 0.1
# A row that commits late is found within this time.
_GAP_PAUSE_S = 0.25
# Retries that are due are found within the first while some are known, and those that a person has given back
# within the second.
_RETRY_PAUSE_S = 0.25
_DUE_PAUSE_S = 5.0
_BLOCKED_PAUSE_S = 5.0
# 2,000 rows/s: 5 million in 40 minutes, at 3 ms of the database every 5 s.
_SCRUB_PAUSE_S = 5.0
_SCRUB_SPAN = 10_000
_BACKFILL_PAUSE_S = 1.0
# From so many rows a turn on producers are busy, and should not have to ring.
_BUSY_ROWS = 32
_QUIET_S = 0.05


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
        careful: CarefulStart | None = None,
    ) -> None:
        self._options = options
        self._reader = reader
        self._bell = bell
        self._waiting = waiting
        self._lanes = lanes
        self._books = books
        self._metrics = metrics
        self._on_events = on_events
        self._room = room
        self._gaps = Gaps()
        self._careful = careful
        self.cursor = watermark
        self.newest = newest
        self._settled_up_to = newest
        self._limit = min(100, options.fetch_batch)
        self._rest_s = _SHORTEST_REST_S
        self._gaps_at = 0.0
        # How far late events were taken in, where there are more of them: nothing may overtake those.
        self._late_up_to: int | None = None
        self._due_asked_at = 0.0
        self._more_due = False
        self._blocked_at = 0.0
        # Events that were due and had to stay behind an earlier one of their key.
        self._left_behind = 0
        self._backfill_at = 0.0
        # From this seq on, what was dropped from memory is being read again.
        self._backfilling: int | None = None
        self._busy_until = 0.0
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
        if self._options.on_dead == "block":
            for seq, key in await self._reader.blocking():
                self._books.blocked[seq] = key
                self._lanes.bar(key)
        if self._careful is not None:
            await self._begin_with(self._careful)
        while True:
            await self._wait_for_room()
            found = await self.turn()
            if found >= _BUSY_ROWS:
                self._busy_until = time.monotonic() + _QUIET_S
                await self._wake_up()
            if found:
                self._rest_s = _SHORTEST_REST_S
                self._on_events()
            else:
                await self._rest()

    async def _begin_with(self, careful: CarefulStart) -> None:
        """Send what the last owners may have had in hand, group by group."""
        while (upper := await careful.next_group(self.cursor, self._settled_up_to)) is not None:
            while self.cursor < upper:
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
        if now >= self._due_at():
            found += await self._due(now)
        if now >= self._scrub_at:
            self._scrub_at = now + _SCRUB_PAUSE_S
            found += await self._scrub()
        if self._books.blocked and now >= self._blocked_at:
            self._blocked_at = now + _BLOCKED_PAUSE_S
            await self._unblock()
        return found

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
        new = self._books.take_in(events)
        if any(event.postponed for event in new):
            new = [event for event in new if not self._waits_for_retry(event)]
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

    def _waits_for_retry(self, event: Event) -> bool:
        """Leave an event that an earlier run has postponed in the outbox: it comes back when it is due.

        Where its key has an earlier event here it queues behind that one instead. Where its key is barred a person
        has given it back, or its head: it takes its turn among the dead letters of the key.
        """
        if not event.postponed:
            return False
        if event.key is not None and self._lanes.barred(event.key):
            self._books.settle([event])
            self._books.blocked[event.seq] = event.key
            return True
        if self._lanes.busy(event.key):
            return False
        self._lanes.stick(event)
        self._books.postpone(event)
        return True

    def _due_at(self) -> float:
        if self._more_due:
            return self._due_asked_at + _SHORTEST_REST_S
        return self._due_asked_at + (_RETRY_PAUSE_S if self._books.postponed or self._left_behind else _DUE_PAUSE_S)

    async def _due(self, now: float) -> int:
        self._books.begin_read()
        limit = self._limit + self._left_behind
        events = await self._reader.due(limit)
        self._due_asked_at = now
        self._left_behind = 0
        returned = 0
        blocked = self._books.blocked_by_key()
        for event in events:
            postponed = event.seq in self._books.postponed
            if event.seq > self.cursor:
                continue
            if event.key is not None and event.key in blocked and not postponed:
                returned += self._give_back(event, event.key, blocked[event.key])
            elif self._books.come_back(event):
                returned += 1
                if postponed:
                    self._lanes.put_back([event], alone=True)
                else:
                    # Given back by a person: it joins its key as the newest event.
                    self._books.settle(self._lanes.offer([event]))
        # Many were given back at once, as after a loss of the stream.
        self._more_due = returned > 0 and len(events) == limit
        return returned

    def _give_back(self, event: Event, key: str, blocked: set[int]) -> bool:
        """Send an event that a person has given back and whose key is barred; gives whether it is on its way.

        Not before the earlier dead letters of its key are decided about, nor while another one is out: until
        then it stays in the outbox and is found again, and what follows in its key waits for it too.
        """
        if self._books.has(event.seq):
            return False
        if any(seq < event.seq for seq in blocked) or not self._lanes.let_through(event):
            self._books.blocked[event.seq] = key
            self._left_behind += 1
            return False
        self._books.come_back(event)
        blocked.discard(event.seq)
        if not blocked:
            self._lanes.unbar(key)
        return True

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
        los, his = self._gaps.ranges(len(self._gaps))
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

    async def _unblock(self) -> None:
        """Let the keys go on whose dead letters were all discarded, or deleted."""
        seqs = list(self._books.blocked)
        undecided = await self._reader.undecided(seqs)
        decided = {seq: self._books.blocked.pop(seq) for seq in seqs if seq not in undecided}
        if decided:
            still = set(self._books.blocked.values())
            for key in set(decided.values()) - still:
                self._lanes.unbar(key)

    async def _rest(self) -> None:
        """Sleep until something may be there."""
        now = time.monotonic()
        until = min(
            self._options.poll_max_s,
            max(0.0, self._due_at() - now),
            _GAP_PAUSE_S if len(self._gaps) else self._options.poll_max_s,
        )
        if self._bell is not None and now >= self._busy_until:
            if self._bell.rings:
                await self._bell.sleep(max(until, 0.001))
                return
            if await self._bell.take():
                return  # look once more before sleeping: an insert may have committed just before
        pause_s = min(until, self._rest_s)
        self._rest_s = min(
            self._rest_s * 2,
            _REST_BESIDE_PRODUCERS_S if self._bell is not None and self._bell.hung else self._options.poll_max_s,
        )
        await asyncio.sleep(pause_s * (1 - random.random() / 4))

    async def _wake_up(self) -> None:
        if self._bell is not None:
            await self._bell.release()
