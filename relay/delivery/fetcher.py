"""Fetch: from the outbox into the lanes.

One turn reads the rows above the cursor and what has appeared in the gaps below it; `relay.delivery.due_events` adds
what is due. When nothing is there `relay.delivery.wakeup` says how long to sleep.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from relay.delivery.after_crash import AfterCrash
from relay.delivery.due_events import DueEvents
from relay.delivery.scrub import SCRUB_ROWS, Scrub
from relay.delivery.scrub_care import ScrubCare
from relay.delivery.sized_reads import SizedReads
from relay.delivery.wakeup import Wakeup
from relay.errors import DatabaseChanged
from relay.event import Event
from relay.observe.metrics import Metrics
from relay.postgres.outbox_reader import OutboxReader
from relay.rules.in_hand import InHand
from relay.rules.order.seq_bounds import LARGEST
from relay.rules.reading.backfill_first import BackfillFirst
from relay.rules.reading.read_batch_size import Read, ReadSize

if TYPE_CHECKING:
    from relay.config.sections import DeliverySection

# A row that commits late is found within this time if its transaction rings no bell.
_GAP_PAUSE_S = 0.25
# Looking into gaps, or reading again what cannot flow yet, takes a fifth of the time at most.
_REST = 4
# Of many gaps, so many more are read at a time than may have changed: 0.6 ms, for which a new event may have to wait.
_SPARE_GAPS = 250
_BACKFILL_PAUSE_S = 1.0

_NOTHING_LATE = Read([], [], is_cut=False, is_crowded=False)


class Fetcher:
    """Keeps the lanes filled."""

    def __init__(
        self,
        options: "DeliverySection",
        in_hand: InHand,
        reader: OutboxReader,
        wakeup: Wakeup,
        due: DueEvents,
        metrics: Metrics,
    ) -> None:
        self._options = options
        self._in_hand = in_hand
        self._lanes = in_hand.lanes
        self._unsettled = in_hand.unsettled
        self._reader = reader
        self._wakeup = wakeup
        self._due = due
        self._metrics = metrics
        self._after_crash: AfterCrash | None = None
        # Up to this seq rows may be settled already.
        self._settled_up_to = in_hand.database.newest_drawn()
        self._reads = SizedReads(options, in_hand)
        self._gaps_at = 0.0
        # How far late events were taken in, if there are more of them: nothing may overtake those.
        self._late_up_to: int | None = None
        self._backfill_at = 0.0
        self._backfill_first = BackfillFirst()
        scrubbing = ReadSize(min(options.fetch_batch, SCRUB_ROWS), options.buffer_bytes)
        self._scrub = Scrub(in_hand, reader, self._reads.read, scrubbing)
        self._generation = reader.generation
        # Whether the turn has read everything above the cursor that was visible then.
        self._has_read_all = False

    @property
    def refusal(self) -> str | None:
        """Why nothing that is new can be read, None while it can."""
        return self._reads.refusal

    @property
    def in_vain(self) -> int:
        """How many events are pending again as soon as they are marked, and are not sent again."""
        return self._scrub.in_vain

    async def _rewind(self) -> None:
        """Begin again at the watermark if the connection is new, since the database may be another one.

        After a failover it may have lost its newest transactions, and use their seqs again. What is in memory
        stays and is not taken twice.
        """
        if self._generation == self._reader.generation:
            return
        watermark, database, _ = await self._reader.starting_point()
        change = self._in_hand.database.change_to(database)
        if change is not None:
            raise DatabaseChanged(change.value)
        self._generation = self._reader.generation
        self._in_hand.rewind(watermark, database.newest_drawn())
        self._late_up_to = None
        self._scrub.clear()
        self._settled_up_to = database.newest_drawn()

    async def run(self, after_crash: AfterCrash | None, scrub_care: ScrubCare | None) -> None:
        """Fetch for ever.

        Args:
            after_crash: Says how far may be read at first; None if the previous owners ended well.
            scrub_care: Says how far the scrub may read; None as well then.
        """
        await self._due.begin()
        if after_crash is not None:
            self._after_crash = after_crash
            await self._begin_with(after_crash)
            self._after_crash = None
        if scrub_care is not None:
            self._scrub.be_careful(scrub_care)
        woken = True
        while True:
            await self._wait_for_room()
            found = await self._take_ahead() if woken else None
            if found is None:
                found = await self.turn(woken=woken)
            woken = True
            if found:
                await self._wakeup.found()
                self._in_hand.to_send.set()
                if not (self._has_read_all and self._wakeup.hears_all):
                    continue
            woken = await self._wakeup.sleep(
                self._nothing_before_s(), self._in_hand.saw_nothing_new_at(), self._asking_ahead()
            )

    def _asking_ahead(self) -> Callable[[], None] | None:
        """Return what sends the read that a ring brings before this task wakes; None if another one may come first."""
        in_hand = self._in_hand
        if len(in_hand.gaps) or self._late_up_to is not None or not in_hand.has_room():
            return None
        # What was read already, above a cursor that came back, may be settled before the answer is taken in.
        if in_hand.cursor < in_hand.furthest or in_hand.backfilling is not None or in_hand.can_backfill():
            return None
        return self._reader.asking(in_hand.cursor, self._reads.fetching.room())

    async def _take_ahead(self) -> int | None:
        """Take in what a ring has brought, by the shortest way; return how many events, None if a turn has to read."""
        started = time.monotonic()
        if self._generation != self._reader.generation or self._needs_turn():
            return None
        with self._unsettled.reading():
            read = await self._reader.ahead(self._in_hand.cursor, self._reads.fetching.room())
            if read is None or not read.events or read.is_cut or self._generation != self._reader.generation:
                return None
            self._reads.note(self._reads.fetching, read)
            self._wakeup.came(len(read.seqs))
            self._in_hand.gaps.passed(self._in_hand.cursor, read.seqs, read.seqs[-1], time.time())
            self._in_hand.read_up_to(read.seqs[-1])
            self._has_read_all = True
            self._metrics.stage("fetch", time.monotonic() - started)
            self._offer(read.events)
        self._in_hand.to_send.set()
        await asyncio.sleep(0)
        return len(read.events)

    def _needs_turn(self) -> bool:
        """Report whether something else is to be read by now, or what was read before is not all behind the cursor."""
        in_hand = self._in_hand
        return (
            len(in_hand.gaps) > 0
            or self._late_up_to is not None
            or in_hand.cursor < max(in_hand.furthest, self._settled_up_to)
            or self._nothing_before_s() <= 0
        )

    async def _begin_with(self, after_crash: AfterCrash) -> None:
        """Send what the previous owners may have had in hand, group by group."""
        in_hand = self._in_hand
        while (upper := await after_crash.next_group(in_hand.cursor, self._settled_up_to)) is not None:
            while in_hand.cursor < min(upper, self._settled_up_to):
                await self._wait_for_room()
                await self._rewind()
                with self._unsettled.reading():
                    await self._advance(time.monotonic(), upper)
                in_hand.to_send.set()
            await after_crash.survived()
        await after_crash.end()

    async def _wait_for_room(self) -> None:
        while not self._in_hand.has_room():
            await self._wakeup.stay_awake()
            if self._in_hand.has_room():
                return
            self._in_hand.room.clear()
            await self._in_hand.room.wait()

    async def turn(self, *, woken: bool = True) -> int:
        """Read once whatever may be there.

        Args:
            woken: Whether something may be above the cursor that rang, or could not ring. Else a beat that has just
                looked there is enough.

        Returns:
            How many events were taken in.
        """
        now = time.monotonic()
        self._has_read_all = False
        await self._rewind()
        # Each of these reads, more than once if late events come first, and takes in what it has read.
        with self._unsettled.reading():
            found = await self._backfill(now)
        goes_on = found > 0 and self._in_hand.backfilling is not None
        with self._unsettled.reading():
            has_news = woken or not self._needs_no_read()
            found += await self._advance(now, has_news=has_news and not (goes_on and self._backfill_first.take_turn()))
        if found:
            # The publisher goes first: what else there is to look for, and going to sleep, takes a while.
            self._in_hand.to_send.set()
            await asyncio.sleep(0)
        with self._unsettled.reading():
            found += await self._due.turn(now, self._in_hand.cursor)
        if now >= self._scrub.due_at:
            with self._unsettled.reading():
                found += self._offer(await self._scrub.step())
        return found

    def _nothing_before_s(self) -> float:
        """Return the seconds until the next turn may find something that rings no bell."""
        at = min(self._due.due_at(), self._scrub.due_at)
        if self._in_hand.backfilling is not None or self._in_hand.can_backfill():
            at = min(at, self._backfill_at)
        wait_s = max(0.0, at - time.monotonic())
        return min(wait_s, _GAP_PAUSE_S) if len(self._in_hand.gaps) else wait_s

    def _needs_no_read(self) -> bool:
        is_up_to_date = self._in_hand.cursor >= self._settled_up_to
        return is_up_to_date and self._wakeup.needs_no_read(self._in_hand.saw_nothing_new_at())

    async def _advance(self, now: float, upper: int = LARGEST, *, has_news: bool = True) -> int:
        """Read what has appeared in gaps, then, if there is news, above the cursor up to `upper`; return how many."""
        gaps = self._in_hand.gaps
        gaps_are_due = self._late_up_to is not None or (len(gaps) > 0 and now >= self._gaps_at)
        found = await self._reread() if gaps_are_due else 0
        if self._late_up_to is None and has_news:
            found += await self._next(upper)
            if self._wakeup.rang and len(gaps) and not found and not gaps_are_due:
                # Whoever rang and shows nothing above the cursor has committed late: its rows are in a gap. A poll
                # looks into gaps no sooner than they are due: it may come each few ms, beside a great many of them.
                found += await self._take_late()
        return found

    async def _next(self, upper: int) -> int:
        """Read above the cursor, and note which seqs are missing."""
        started = time.monotonic()
        catching_up = self._in_hand.cursor < self._settled_up_to
        if catching_up:
            upper = min(upper, self._in_hand.cursor + self._reads.fetching.seqs, self._settled_up_to)
        fetch = self._reader.fetch if catching_up or self._reader.has_all else self._reader.fetch_among
        read = await self._reads.read(self._reads.fetching, partial(fetch, self._in_hand.cursor, upper))
        if read is None:
            return 1  # a smaller one comes next
        events, seqs, cut_short = read.events, read.seqs, read.is_cut
        self._wakeup.came(len(seqs))
        late = await self._take_late() if events and len(self._in_hand.gaps) else 0
        if self._late_up_to is not None:
            return late  # what was just read is read again when the rest of the late ones is here
        if catching_up and not cut_short:
            reached = upper if seqs else await self._next_row(upper)
        elif seqs:
            reached = seqs[-1]
        else:
            return int(cut_short)  # the first row is large: it is read with care next
        self._in_hand.gaps.passed(self._in_hand.cursor, seqs, reached, time.time())
        if catching_up and len(seqs) < reached - self._in_hand.cursor:
            self._in_hand.gaps.found(await self._reader.settled(self._in_hand.cursor + 1, min(reached, upper)))
        self._in_hand.read_up_to(reached)
        self._has_read_all = not (cut_short or catching_up) and self._generation == self._reader.generation
        self._metrics.stage("fetch", time.monotonic() - started)
        self._backfill_first.read(len(events), self._offer(events))
        return max(len(events) + late, 1)

    async def _next_row(self, read_up_to: int) -> int:
        """Return how far an empty read reached: up to the next row, since the cost follows rows and not their seqs."""
        following = await self._reader.next_seq(read_up_to)
        return self._settled_up_to if following is None else max(read_up_to, min(following - 1, self._settled_up_to))

    def _offer(self, events: list[Event]) -> int:
        """Take in events that were read, in their order; return how many are kept in memory."""
        self._metrics.fetched(len(events))
        if self._in_hand.backfilling is not None:
            events = [event for event in events if not self._in_hand.comes_again(event)]
        if self._after_crash is not None:
            events = [self._after_crash.cleared(event) for event in events]
        if self._unsettled.blocked:
            events = self._due.let_through(events)
        new = self._unsettled.take_in(events)
        if any(event.postponed for event in new):
            new = [event for event in new if not self._due.keep(event)]
        crowded = self._in_hand.is_crowded()
        dropped = self._lanes.offer(new, crowded=crowded)
        self._in_hand.drop(dropped)
        return len(new) - len(dropped)

    async def _reread(self) -> int:
        """Look into the gaps again: who could still fill them, unless all of these are known, then the rows."""
        started = time.monotonic()
        if not self._in_hand.gaps.are_at_rest():
            await self._observe()
        found = await self._take_late(spare=_SPARE_GAPS)
        now = time.monotonic()
        self._gaps_at = now + max(_GAP_PAUSE_S, _REST * (now - started))
        return found

    async def _observe(self) -> None:
        """Note how far the sequence has drawn, then who could still fill the gaps."""
        gaps, drawn = self._in_hand.gaps, self._in_hand.database.drawn
        # The latest beat says enough of all gaps but the newest ones.
        if drawn is not None and gaps.reach_beyond(drawn):
            drawn = await self._reader.drawn()
        gaps.observe(await self._reader.holders(), drawn)

    async def _take_late(self, below: int = LARGEST, spare: int = 0) -> int:
        """Take in what has become visible in the gaps below a seq; return how many events.

        It comes between each read of later events and their offer: a transaction may have one event in a gap and
        the next of the same key after it, and another transaction may follow it. So what is taken in is read in one
        statement, and whoever may own another gap was still at work after that: late events do not overtake each other
        either.
        """
        gaps = self._in_hand.gaps
        self._late_up_to = None
        while True:
            lows, highs = gaps.ask(below, spare)
            read = _NOTHING_LATE
            if lows:
                late = await self._reads.read(self._reads.rereading, partial(self._reader.reread, lows, highs))
                if late is None:
                    self._late_up_to = lows[0] - 1
                    return 0
                read = late
            skipped = gaps.skipped()
            if not skipped or not gaps.ended(await self._reader.ended(skipped)):
                break
            if spare:
                # So that what cannot come any more is given up by the one read that follows.
                await self._observe()
        if read.is_cut:
            self._late_up_to = read.reached(lows[0] - 1, lows[0] - 1)
        gaps.found((event.seq, event.seq) for event in read.events)
        gaps.close(below - 1 if self._late_up_to is None else self._late_up_to)
        self._offer(read.events)
        return len(read.events)

    async def _backfill(self, now: float) -> int:
        """Read again a page of what was dropped from memory behind lanes that were stuck; return how many flow again.

        It goes on beside the fetch of new events. Those of the same keys are left to it (`InHand.comes_again`).
        """
        in_hand = self._in_hand
        if now < self._backfill_at:
            return 0
        if in_hand.backfilling is None and in_hand.can_backfill():
            in_hand.begin_backfill()
            self._backfill_at = now + _BACKFILL_PAUSE_S
        if (begin := in_hand.backfilling) is None:
            return 0
        upper = min(begin + self._reads.backfilling.seqs, in_hand.cursor)
        read = await self._reads.read(self._reads.backfilling, partial(self._reader.fetch, begin - 1, upper))
        if read is None:
            return 1  # a smaller one comes next
        late = await self._take_late(begin)
        if self._late_up_to is not None:
            return late  # what was just read is read again when the rest of the late ones is here
        reached = read.reached(begin - 1, upper)
        if not read.events and reached == upper:
            following = await self._reader.next_seq(upper)
            reached = in_hand.cursor if following is None else max(upper, min(following - 1, in_hand.cursor))
        in_hand.backfilled_up_to(reached)
        kept = self._offer(read.events)
        if in_hand.backfilling is not None:
            ended = time.monotonic()
            self._backfill_at = ended if kept else ended + _REST * (ended - now)
        return kept + late
