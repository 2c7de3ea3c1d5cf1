"""Settle: write down what became of each event, in batches, beside the publishing of the next ones."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from relay.errors import LeaseLost, StatementRefused
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.observe.metrics import Metrics
from relay.outcomes import Buried, Delivered, Noted, Postponed
from relay.postgres.database import Unfinished
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.floors import Mark
from relay.rules.in_hand import InHand
from relay.rules.refused_rows import RefusedRows

log = logging.getLogger(__name__)

# Some 20 ms of one statement. The more of the events in hand it marks, the fewer pages are met again by the next.
_MOST = 4000
# A smaller batch waits this long for company, seconds: a mark is on nobody's way, and each one is a commit.
_LINGER_S = 0.01
_ENOUGH = 3000
# Rows that somebody else had locked are tried again after this, seconds.
_LOCKED_PAUSE_S = 1.0
# Each of the other outcomes is a statement of its own: so many at most keep the marks waiting, some 20 ms.
_OTHERS_A_TURN = 50
# If the database refuses rows, so many statements at most are spent on finding them before other work goes on.
_TRIES_A_TURN = 100


def log_refused_row(event: Event, reason: str) -> None:
    """Log that the database refuses to change the row of an event."""
    log_event(
        log,
        "error",
        "settle.refused",
        "PostgreSQL refuses to change the row of an event; it stays pending and is tried again",
        event_id=event.id,
        seq=event.seq,
        reason=reason,
    )


class Settler:
    """Marks delivered events, and writes the other outcomes in the order in which they were taken.

    What concerns a row that somebody else has locked is written when the lock is gone, and what concerns a row that the
    database refuses to change (a constraint, a trigger) is tried again from time to time. The rest waits for neither.

    Attributes:
        last_settled: When something was written last, monotonic seconds.
    """

    def __init__(self, in_hand: InHand, writer: OutboxWriter, metrics: Metrics) -> None:
        self._in_hand = in_hand
        self._writer = writer
        self._metrics = metrics
        self._others: deque[Postponed | Buried | Noted] = deque()
        self._refused = RefusedRows()
        self._tries_left = 0
        # Outcomes of events whose rows somebody else has locked, or that were refused.
        self._locked_others: list[Postponed | Buried] = []
        self._try_locked_at = 0.0
        self._work = asyncio.Event()
        self._busy = False
        self._resting = True
        self._idle = asyncio.Event()
        self.last_settled = time.monotonic()

    def take_delivered(self, delivered: Sequence[Delivered]) -> None:
        """Take acknowledged events, to be marked."""
        self._in_hand.acknowledged(delivered)
        if self._resting:
            self._work.set()

    def take(self, outcome: Postponed | Buried | Noted) -> None:
        """Take any other outcome."""
        self._others.append(outcome)
        self._work.set()

    async def drained(self) -> None:
        """Wait until everything that was taken is written."""
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
            if self._any_locked() and time.monotonic() >= self._try_locked_at:
                await self._try_locked()
            while self._others or self._in_hand.to_mark():
                for _ in range(min(_OTHERS_A_TURN, len(self._others))):
                    await self._write_or_keep(self._others.popleft())
                if waiting := self._in_hand.to_mark():
                    if waiting < _ENOUGH and not self._others:
                        await asyncio.sleep(_LINGER_S)
                    await self._mark()
            self._busy = False
            self._idle.set()

    async def _wait_for_work(self) -> None:
        """Wait for something to write, or until rows that were locked are to be tried again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOCKED_PAUSE_S if self._any_locked() else None):
                await self._work.wait()

    def _any_locked(self) -> bool:
        return bool(self._locked_others) or self._in_hand.locked() > 0

    def _any_awaited(self) -> bool:
        """Report whether something is yet to be written that the database does not refuse."""
        return len(self._locked_others) + self._in_hand.locked() > len(self._refused)

    async def _try_locked(self) -> None:
        """Write what could not be written because of locks, or because it was refused."""
        self._tries_left = _TRIES_A_TURN
        others, self._locked_others = self._locked_others, []
        for outcome in others:
            if self._tries_left > 0 and not self._refused.waits(outcome.event.seq, time.monotonic()):
                self._tries_left -= 1
                await self._write_or_keep(outcome)
            else:
                self._locked_others.append(outcome)
        if self._in_hand.try_locked():
            await self._settle_streams(locked=True)
        self._try_locked_at = time.monotonic() + _LOCKED_PAUSE_S

    async def _write_or_keep(self, outcome: Postponed | Buried | Noted) -> None:
        """Write one outcome, or keep it for later if its row is locked or refused; a note is not worth that."""
        try:
            await self.write(outcome)
        except (Unfinished, StatementRefused) as error:
            if not isinstance(outcome, Noted):
                self._locked_others.append(outcome)
                if isinstance(error, StatementRefused):
                    self._note_refusal(outcome.event, str(error))
        else:
            self._refused.accepted(outcome.event.seq)

    def _note_refusal(self, event: Event, reason: str) -> None:
        """Report that the database refuses to change a row; once for each reason."""
        if self._refused.refused(event.seq, reason, time.monotonic()):
            log_refused_row(event, reason)

    async def _mark(self) -> None:
        batch = self._in_hand.begin_marking(_MOST)
        started = time.monotonic()
        self._tries_left = _TRIES_A_TURN
        await self._settle_streams()
        self._metrics.stage("settle", time.monotonic() - started)
        self._metrics.delivered(
            [acked_at - event.created_at for event, _, _, _, acked_at in batch], sum([one[3] for one in batch])
        )

    async def _settle_streams(self, *, locked: bool = False) -> None:
        """Mark the acknowledged events whose marking was begun, stream by stream.

        Args:
            locked: Whether their rows were locked, or refused, when they were to be marked before.
        """
        batch: Sequence[Delivered] = self._in_hand.marking()
        left: set[int] = set()
        if locked and len(self._refused):
            now = time.monotonic()
            left = {one[0].seq for one in batch if self._refused.waits(one[0].seq, now)}
            batch = [one for one in batch if one[0].seq not in left]
        streams = dict.fromkeys([one[1] for one in batch])
        for stream in streams:
            part = batch if len(streams) == 1 else [one for one in batch if one[1] == stream]
            still = await self._settle(stream, part, locked=locked)
            left |= still
            if still:
                part = [one for one in part if one[0].seq not in still]
            if part:
                # A mark that comes late says nothing about the end of the stream.
                self._note_marks(stream, part, late=locked)
        self._in_hand.marked(left)
        if any(one[0].seq not in left for one in batch):
            self._wrote()

    async def _settle(self, stream: str, part: Sequence[Delivered], *, locked: bool) -> set[int]:
        """Mark events of one stream; return the seqs of those whose rows somebody else has locked."""
        if not locked:
            try:
                marked = await self._writer.settle(stream, part)
            except (Unfinished, StatementRefused):
                return await self._settle_unlocked(stream, part, is_new=True)
            if marked != len(part):
                await self._must_be_settled([one[0] for one in part])
                self._log_fewer(stream, len(part), marked)
            return set()
        return await self._settle_unlocked(stream, part, is_new=False)

    async def _settle_unlocked(self, stream: str, part: Sequence[Delivered], *, is_new: bool) -> set[int]:
        """Mark those whose rows nobody has locked and the database does not refuse; return the seqs of the others.

        Raises:
            LeaseLost: Another relay owns shards.
            DatabaseChanged: Some of their seqs belong to other events now.
        """
        if self._tries_left <= 0:
            return {one[0].seq for one in part}
        self._tries_left -= 1
        try:
            marked = await self._writer.settle_unlocked(stream, part)
        except StatementRefused as error:
            if len(part) == 1:
                self._note_refusal(part[0][0], str(error))
                return {part[0][0].seq}
            middle = len(part) // 2
            refused = await self._settle_unlocked(stream, part[:middle], is_new=is_new)
            return refused | await self._settle_unlocked(stream, part[middle:], is_new=is_new)
        if marked is None:
            raise LeaseLost(f"{len(part)} events could not be settled: another relay owns shards")
        if len(self._refused):
            for seq in marked:
                self._refused.accepted(seq)
        left = [one[0] for one in part if one[0].seq not in marked]
        if not left:
            return set()
        locked = await self._writer.still_pending(left)
        if len(left) > len(locked):
            self._log_fewer(stream, len(part) - len(locked), len(marked))
        if locked and is_new:
            log_event(
                log,
                "warning",
                "settle.locked",
                "delivered events cannot be marked: another session has locked their rows; they are tried again",
                stream=stream,
                events=len(locked),
                first_seq=min(locked),
            )
        return locked

    @staticmethod
    def _log_fewer(stream: str, acknowledged: int, marked: int) -> None:
        log_event(
            log,
            "warning",
            "settle.fewer",
            "fewer events were marked than were acknowledged",
            stream=stream,
            acknowledged=acknowledged,
            marked=marked,
        )

    async def _must_be_settled(self, events: Sequence[Event]) -> None:
        """Find out why a write changed too little: somebody else was first, or the fence kept us out.

        Nothing may be called settled that the outbox does not call so: the watermark would pass it, also that of the
        shards that are still ours.

        Raises:
            LeaseLost: Some of the events are pending yet.
            DatabaseChanged: Some of their seqs belong to other events now.
        """
        left = await self._writer.still_pending(events)
        if left:
            lowest = min(event.seq for event in events)
            raise LeaseLost(f"{len(left)} events could not be settled, from seq {lowest} on: another relay owns shards")

    def _note_marks(self, stream: str, batch: Sequence[Delivered], *, late: bool) -> None:
        stream_seqs = [one[2] for one in batch]
        highest = max(stream_seqs)
        event = batch[stream_seqs.index(highest)][0]
        duplicate = late or any(one[3] for one in batch)
        self._in_hand.floors.marked(stream, min(stream_seqs), Mark(highest, event.id), duplicate=duplicate)

    async def write(self, outcome: Postponed | Buried | Noted) -> None:
        """Write one outcome now.

        Raises:
            LeaseLost: A dead letter could not be written: another relay owns shards. The event stays pending.
            Unfinished: Somebody else has locked its row. Nothing was changed.
        """
        match outcome:
            case Postponed():
                await self._writer.postpone(outcome)
            case Buried(event=event):
                if not await self._writer.bury(outcome):
                    await self._must_be_settled([event])
                self._in_hand.unsettled.forget([event])
                self._metrics.dead(outcome.reason)
            case Noted():
                await self._writer.note(outcome)
        self._wrote()

    def _wrote(self) -> None:
        self.last_settled = time.monotonic()
        self._in_hand.room.set()
