"""Mark delivered events, whatever their rows do: locked, refused, kept as they are by a trigger, or slow to change."""

import logging
import time
from collections.abc import Sequence

from relay.errors import LeaseLost, StatementRefused
from relay.event import Event
from relay.observe.logs import event as log_event
from relay.outcomes import Delivered
from relay.postgres.database import Locked, Unfinished
from relay.postgres.outbox_writer import OutboxWriter
from relay.rules.settling.mark_batch_size import MarkSize
from relay.rules.settling.refused_rows import KEPT, RefusedRows

log = logging.getLogger(__name__)

# Some 20 ms of one statement. The more of the events in hand it marks, the fewer pages are met again by the next.
_MOST = 4000
# How long finding the rows that the database refuses may take in a turn, seconds; then other work goes on.
_SEARCH_S = 0.5
# So few rows that were refused together are tried one by one: halving them further costs more if many are refused.
_FEW = 8
# So long may be spent in a turn on rows that were refused before, seconds.
_AGAIN_S = 0.1


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


class Marker:
    """Marks the events of one stream at a time, and says which rows could not be marked yet.

    Attributes:
        refused: Rows that were refused, or not changed in time.
        is_cut: Whether rows of this turn are still to be tried, because the search for refused ones took too long.
    """

    def __init__(self, writer: OutboxWriter) -> None:
        self._writer = writer
        self._size = MarkSize(_MOST)
        # When the search for refused rows ends in this turn, monotonic seconds; None before it has begun.
        self._search_until: float | None = None
        self.refused = RefusedRows()
        self.is_cut = False

    @property
    def limit(self) -> int:
        """How many events to mark at once now."""
        return self._size.limit

    def begin_turn(self) -> None:
        """Begin a turn: the search for refused rows may take its time again."""
        self._search_until = None
        self.is_cut = False

    def note_refusal(self, event: Event, reason: str) -> None:
        """Have a row tried again later; logged once for each reason."""
        if self.refused.refused(event.seq, reason, time.monotonic()):
            log_refused_row(event, reason)

    async def mark(self, stream: str, part: Sequence[Delivered]) -> set[int]:
        """Mark acknowledged events of one stream; return the seqs of those that could not be marked yet.

        Raises:
            LeaseLost: Another relay owns shards.
            DatabaseChanged: Some of their seqs belong to other events now.
        """
        return await self._in_chunks(stream, part, is_new=True)

    async def mark_again(self, stream: str, part: Sequence[Delivered]) -> set[int]:
        """Mark events as `mark` does that could not be marked before, without waiting for any lock."""
        before = [one for one in part if one[0].seq in self.refused]
        left = await self._in_chunks(stream, [one for one in part if one[0].seq not in self.refused], is_new=False)
        return left | await self._refused_before(stream, before)

    async def _in_chunks(self, stream: str, part: Sequence[Delivered], *, is_new: bool) -> set[int]:
        left: set[int] = set()
        done = 0
        while done < len(part):
            chunk = part[done : done + self._size.limit]
            started, was_cut = time.monotonic(), self.is_cut
            try:
                still = await (self._settle(stream, chunk) if is_new else self._unlocked(stream, chunk, is_new=False))
                left |= still
            except Unfinished as error:
                self._size.too_slow(len(chunk))
                if len(chunk) > 1:
                    continue
                self.note_refusal(chunk[0][0], str(error))
                left.add(chunk[0][0].seq)
            else:
                if not self.is_cut:
                    self._size.took(len(chunk), time.monotonic() - started)
                elif not was_cut and len(still) == len(chunk):
                    # The search for what is refused would end as soon the next time: it begins with fewer then.
                    self._size.too_slow(len(chunk))
            done += len(chunk)
        return left

    async def _settle(self, stream: str, chunk: Sequence[Delivered]) -> set[int]:
        try:
            marked = await self._writer.mark(stream, chunk)
        except (Locked, StatementRefused):
            return await self._unlocked(stream, chunk, is_new=True)
        if marked == len(chunk):
            return set()
        # Somebody else was first, a trigger keeps the row, or the fence kept us out. Nothing may be called settled that
        # the outbox does not call so: the watermark would pass it, also that of the shards that are still ours.
        events = [one[0] for one in chunk]
        pending = await self._writer.still_pending(events)
        if len(chunk) - len(pending) > marked:
            _log_fewer(stream, len(chunk) - len(pending), marked)
        if pending:
            await self.must_be_ours(events)
            self._note_kept(events, pending)
        return pending

    async def must_be_ours(self, events: Sequence[Event]) -> None:
        """Find out whether the fence is why a write changed nothing.

        Raises:
            LeaseLost: It is.
        """
        if not await self._writer.owns_shards():
            lowest = min(event.seq for event in events)
            raise LeaseLost(f"what became of events from seq {lowest} on was not written: another relay owns shards")

    def _note_kept(self, events: Sequence[Event], kept: set[int]) -> None:
        for event in events:
            if event.seq in kept:
                self.note_refusal(event, KEPT)

    async def _unlocked(self, stream: str, part: Sequence[Delivered], *, is_new: bool) -> set[int]:
        """Mark those whose rows nobody has locked and the database does not refuse; return the seqs of the others.

        Raises:
            LeaseLost: Another relay owns shards.
            DatabaseChanged: Some of their seqs belong to other events now.
            Unfinished: It was not done in time; some may be marked.
        """
        now = time.monotonic()
        if self._search_until is None:
            self._search_until = now + _SEARCH_S
        elif now >= self._search_until:
            self.is_cut = True
            return {one[0].seq for one in part}
        try:
            return await self._statement(stream, part, is_new=is_new)
        except StatementRefused as error:
            if len(part) == 1:
                self.note_refusal(part[0][0], str(error))
                return {part[0][0].seq}
        step = 1 if len(part) <= _FEW else (len(part) + 1) // 2
        left: set[int] = set()
        for at in range(0, len(part), step):
            left |= await self._unlocked(stream, part[at : at + step], is_new=is_new)
        return left

    async def _statement(self, stream: str, part: Sequence[Delivered], *, is_new: bool) -> set[int]:
        """Mark those whose rows nobody has locked, in one statement; return the seqs of those that stay pending.

        Raises:
            StatementRefused: The database refuses to change one of them. None was marked.
            LeaseLost, DatabaseChanged, Unfinished: As `_unlocked`.
        """
        done = await self._writer.mark_unlocked(stream, part)
        if not done.is_ours:
            raise LeaseLost(f"{len(part)} events could not be settled: another relay owns shards")
        marked = set(done.marked)
        others = [one[0] for one in part if one[0].seq not in marked]
        pending = await self._writer.still_pending(others) if others else set()
        if len(self.refused):
            for one in part:
                if one[0].seq not in pending:
                    self.refused.accepted(one[0].seq)
        if len(others) > len(pending):
            _log_fewer(stream, len(part) - len(pending), len(marked))
        kept = pending.intersection(done.unlocked)
        self._note_kept(others, kept)
        if is_new and (locked := pending - kept):
            _log_locked(stream, locked)
        return pending

    async def _refused_before(self, stream: str, before: Sequence[Delivered]) -> set[int]:
        """Try rows that were refused before: all at once, as what refuses them may be gone, else one by one.

        Those that are not reached in time are the first next time.
        """
        if not before or self.is_cut:
            return {one[0].seq for one in before}
        rows = sorted(before, key=lambda one: self.refused.next_at(one[0].seq))[: self._size.limit]
        left = {one[0].seq for one in before}
        until = time.monotonic() + _AGAIN_S
        try:
            return left - {one[0].seq for one in rows} | await self._statement(stream, rows, is_new=False)
        except (StatementRefused, Unfinished):
            pass
        for one in rows:
            if time.monotonic() >= until:
                break
            try:
                if not await self._statement(stream, [one], is_new=False):
                    left.discard(one[0].seq)
            except (StatementRefused, Unfinished) as error:
                self.note_refusal(one[0], str(error))
        return left


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


def _log_locked(stream: str, seqs: set[int]) -> None:
    log_event(
        log,
        "warning",
        "settle.locked",
        "delivered events cannot be marked: another session has locked their rows; they are tried again",
        stream=stream,
        events=len(seqs),
        first_seq=min(seqs),
    )
