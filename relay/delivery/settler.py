"""Settle: write down what became of each event, in batches, beside the publishing of the next ones."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter

from relay.delivery.marker import Marker
from relay.errors import StatementRefused
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import Buried, Delivered, Noted, Postponed
from relay.postgres.database import Unfinished
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.in_hand import InHand
from relay.rules.settling.refused_rows import KEPT
from relay.rules.stream.stream_floors import Mark

log = logging.getLogger(__name__)

# Of a `Delivered`.
_STREAM, _STREAM_SEQ, _DUPLICATE = itemgetter(1), itemgetter(2), itemgetter(3)

# A smaller batch waits this long for company, seconds: a mark is on nobody's way, and each one is a commit.
_LINGER_S = 0.01
_ENOUGH = 3000
# And a few events longer, seconds: at 50 events a second five of them share a commit.
_LINGER_OF_FEW_S = 0.1
_FEW = 64
# Rows that somebody else had locked are tried again after this, seconds.
_LOCKED_PAUSE_S = 1.0
# Each of the other outcomes is a statement of its own: at most this many keep the marks waiting, some 20 ms.
_OTHERS_A_TURN = 50
# So many notes on why events wait share a statement, and so many bytes of their events, which are hashed: some 5 ms.
_NOTES_AT_ONCE = 50
_NOTED_BYTES = 1 << 20
# At most this many outcomes of rows that were locked or refused are tried at once.
_TRIES_A_TURN = 100


class Settler:
    """Marks delivered events, and writes the other outcomes in the order in which they were taken.

    What concerns a row that somebody else has locked is written when the lock is gone, and what concerns a row that the
    database refuses to change (a constraint, a trigger) is tried again from time to time. The rest waits for neither.

    Attributes:
        last_settled: When something was written last, or new events were set aside because they could not be marked;
            monotonic seconds.
    """

    def __init__(self, in_hand: InHand, writer: OutboxWriter, metrics: Metrics) -> None:
        self._in_hand = in_hand
        self._writer = writer
        self._metrics = metrics
        self._others: deque[Postponed | Buried | Noted] = deque()
        self._marker = Marker(writer)
        self._refused = self._marker.refused
        # Outcomes of events whose rows somebody else has locked, or that were refused.
        self._locked_others: list[Postponed | Buried] = []
        self._try_locked_at = 0.0
        self._work = asyncio.Event()
        self._busy = False
        self._resting = True
        # Set if marks are not to wait for company any longer.
        self._company = asyncio.Event()
        self._is_lingering = False
        self._is_draining = False
        self._idle = asyncio.Event()
        self.last_settled = time.monotonic()

    def take_delivered(self, delivered: Sequence[Delivered]) -> None:
        """Take acknowledged events, to be marked."""
        self._in_hand.acknowledged(delivered)
        if self._resting:
            self._work.set()
        elif self._is_lingering and not self._may_linger():
            self._company.set()

    def take(self, outcome: Postponed | Buried | Noted) -> None:
        """Take any other outcome."""
        self._others.append(outcome)
        self._work.set()
        self._company.set()

    def refusal(self, now: float) -> str | None:
        """Return why nothing can flow because marks are not made, None while it can; `now` is monotonic."""
        aside, reason = self._in_hand.aside, self._refused.accepts_none(now)
        if aside.is_full:
            why = self._refused.reason or "other sessions have locked their rows"
            return f"{len(aside)} stored events cannot be marked, and nothing more is read: {why}"
        return None if reason is None else f"no event can be marked: {reason}"

    def refused_rows(self) -> tuple[int, str]:
        """Return how many rows the database refuses to change, for a mark or another outcome, and why the last one."""
        return len(self._refused), self._refused.reason

    async def drained(self) -> None:
        """Wait until everything that was taken is written; from now on nothing waits for company."""
        self._is_draining = True
        self._company.set()
        while self._in_hand.to_mark() or self._others or self._busy or self._any_awaited():
            self._idle.clear()
            await self._idle.wait()

    async def run(self) -> None:
        """Write for ever.

        Raises:
            LeaseLost: Other relays own some of the shards; what could not be written stays as it is.
            DatabaseChanged: Some of the events are others now.
        """
        while True:
            self._resting = True
            await self._wait_for_work()
            self._work.clear()
            self._resting = False
            self._busy = True
            while self._others or self._in_hand.to_mark() or self._is_locked_due():
                if self._is_locked_due():
                    await self._try_locked()
                await self._write_others()
                if waiting := self._in_hand.to_mark():
                    if waiting < _ENOUGH and not self._others:
                        await self._linger()
                        if self._others:
                            continue  # the key of a dead letter waits until it is written
                    await self._mark()
            self._busy = False
            self._idle.set()

    async def _linger(self) -> None:
        """Wait for more to mark: a little, and longer if it is little and nobody waits for it."""
        if not self._may_linger():
            await asyncio.sleep(_LINGER_S)
            return
        self._company.clear()
        self._is_lingering = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_OF_FEW_S):
                await self._company.wait()
        self._is_lingering = False

    def _may_linger(self) -> bool:
        few = self._in_hand.to_mark() < _FEW
        return few and not (self._is_draining or self._others or self._in_hand.marks_are_awaited())

    async def _wait_for_work(self) -> None:
        """Wait for something to write, or until rows that were locked are to be tried again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._try_locked_at - time.monotonic() if self._any_locked() else None):
                await self._work.wait()

    def _any_locked(self) -> bool:
        return bool(self._locked_others) or len(self._in_hand.aside) > 0

    def _is_locked_due(self) -> bool:
        return self._any_locked() and time.monotonic() >= self._try_locked_at

    def _any_awaited(self) -> bool:
        """Report whether something is yet to be written that the database does not refuse."""
        return len(self._locked_others) + len(self._in_hand.aside) > len(self._refused)

    async def _try_locked(self) -> None:
        """Write what could not be written because of locks, or because it was refused."""
        tries_left = _TRIES_A_TURN
        others, self._locked_others = self._locked_others, []
        for outcome in others:
            if tries_left > 0 and not self._refused.waits(outcome.event.seq, time.monotonic()):
                tries_left -= 1
                await self._write_or_keep(outcome)
            else:
                self._locked_others.append(outcome)
        if self._in_hand.mark_again():
            await self._settle_streams(locked=True)
        self._try_later()

    def _try_later(self) -> None:
        """Choose when rows that were locked or refused are tried again: at once if the search for these was cut."""
        self._try_locked_at = time.monotonic() + (0 if self._marker.is_cut else _LOCKED_PAUSE_S)

    async def _write_others(self) -> None:
        """Write some of the other outcomes, in their order."""
        for _ in range(_OTHERS_A_TURN):
            if not self._others:
                return
            outcome = self._others[0]
            if isinstance(outcome, Noted):
                await self._note(self._next_notes())
            else:
                self._others.popleft()
                await self._write_or_keep(outcome)

    def _next_notes(self) -> list[Noted]:
        """Take the notes that come before any other outcome, as many as share a statement; of one event the last."""
        notes: dict[int, Noted] = {}
        size = 0
        while self._others and len(notes) < _NOTES_AT_ONCE and size < _NOTED_BYTES:
            outcome = self._others[0]
            if not isinstance(outcome, Noted):
                break
            notes[outcome.event.seq] = outcome
            size += outcome.event.size
            self._others.popleft()
        return list(notes.values())

    async def _note(self, notes: list[Noted]) -> None:
        """Write why events wait; what cannot be written at once is left out: it is not worth more."""
        try:
            written = await self._writer.note(notes)
        except Unfinished:
            return
        except StatementRefused:
            if len(notes) > 1:
                for one in notes:
                    await self._note([one])
            return
        if written:
            self._wrote()

    async def _write_or_keep(self, outcome: Postponed | Buried) -> None:
        """Write one outcome, or keep it for later if its row is locked or refused."""
        try:
            if not await self.write(outcome):
                await self._read_again(outcome.event)
        except (Unfinished, StatementRefused) as error:
            if not self._any_locked():
                self._try_later()
            self._locked_others.append(outcome)
            if isinstance(error, StatementRefused):
                self._marker.note_refusal(outcome.event, str(error))
        else:
            self._refused.accepted(outcome.event.seq)

    async def _mark(self) -> None:
        batch = self._in_hand.begin_marking(self._marker.limit)
        started = time.monotonic()
        had_locked = self._any_locked()
        await self._settle_streams()
        if self._marker.is_cut or not had_locked:
            self._try_later()
        self._metrics.stage("settle", time.monotonic() - started)
        self._metrics.delivered(
            [acked_at - event.created_at for event, _, _, _, acked_at in batch], sum(map(_DUPLICATE, batch))
        )

    async def _settle_streams(self, *, locked: bool = False) -> None:
        """Mark the acknowledged events whose marking was begun, stream by stream.

        Args:
            locked: Whether their rows were locked, or refused, when they were to be marked before.
        """
        self._marker.begin_turn()
        batch: Sequence[Delivered] = self._in_hand.marking()
        left: set[int] = set()
        if locked and len(self._refused):
            now = time.monotonic()
            left = {one[0].seq for one in batch if self._refused.waits(one[0].seq, now)}
            batch = [one for one in batch if one[0].seq not in left]
        streams = dict.fromkeys(map(_STREAM, batch))
        for stream in streams:
            part = batch if len(streams) == 1 else [one for one in batch if one[1] == stream]
            still = await (self._marker.mark_again if locked else self._marker.mark)(stream, part)
            left |= still
            if still:
                self._in_hand.floors.stored(stream, min(one[2] for one in part if one[0].seq in still))
                part = [one for one in part if one[0].seq not in still]
            if part:
                self._note_marks(stream, part)
        self._in_hand.marked(left)
        if any(one[0].seq not in left for one in batch):
            self._wrote()
        elif not locked:
            # What is stored and set aside has flowed: a restart would not have it marked.
            self.last_settled = time.monotonic()

    def _note_marks(self, stream: str, batch: Sequence[Delivered]) -> None:
        stream_seqs = list(map(_STREAM_SEQ, batch))
        highest = max(stream_seqs)
        event = batch[stream_seqs.index(highest)][0]
        self._in_hand.floors.marked(stream, min(stream_seqs), Mark(highest, event.id))

    async def write(self, outcome: Postponed | Buried) -> bool:
        """Write one outcome now.

        Returns:
            Whether it is written, or the event is settled in another way. It is not if the row is no longer what was
            read: what was decided about that is not written. Nothing was changed then, and the event stays pending.

        Raises:
            LeaseLost: It could not be written: another relay owns shards. The event stays pending.
            DatabaseChanged: The event's seq is another event now.
            Unfinished: Somebody else has locked its row. Nothing was changed.
            StatementRefused: The database refuses to change its row, or keeps it as it is.
        """
        match outcome:
            case Postponed():
                if not await self._writer.postpone(outcome) and await self._has_changed(outcome):
                    return False
            case Buried(event=event):
                if not await self._writer.bury(outcome) and await self._has_changed(outcome):
                    return False
                self._in_hand.buried(event)
                self._metrics.dead(outcome.reason)
        self._wrote()
        return True

    async def _has_changed(self, outcome: Postponed | Buried) -> bool:
        """Find out why a write changed nothing: report whether the row is no longer what was read.

        If it is settled somebody else was first.

        Raises:
            LeaseLost: The fence kept us out.
            DatabaseChanged: The event's seq is another event now.
            StatementRefused: The row stays as it is.
            TooSlow: It took too long to read the row again.
        """
        event = outcome.event
        if not await self._writer.still_pending([event]):
            return False
        await self._marker.must_be_ours([event])
        if await self._writer.is_as_read(outcome):
            raise StatementRefused(KEPT)
        return True

    async def _read_again(self, event: Event) -> None:
        """Have an event read again whose row is no longer what was decided about."""
        now = None if event.unread else await self._writer.now(event)
        keys = set() if now is None or now.key is None else {now.key}
        again = self._in_hand.read_decided_again(event, keys)
        if again:
            log_event(
                log,
                "info",
                "settle.changed",
                "the row of a refused event was changed before what became of it was written; it is read again",
                event_id=event.id,
                seq=event.seq,
                read_again=again,
            )

    def _wrote(self) -> None:
        self.last_settled = time.monotonic()
        self._refused.accepted_any()
        self._in_hand.room.set()
