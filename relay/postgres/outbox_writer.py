"""What the owner of some shards writes. Each method is one statement of ``sql/queries``."""

from collections.abc import Sequence
from functools import partial

from relay.errors import BadValue, DatabaseChanged
from relay.event import Event
from relay.outcomes import Buried, DeadLetter, Delivered, Noted, Postponed
from relay.postgres.arrays import bigints, uuids
from relay.postgres.database import LOCK_TIMEOUT_S, Database
from relay.postgres.rows import PrunedRow, UnlockedRow
from relay.postgres.single_value import value
from relay.postgres.tables import Tables, array
from relay.rules.reading.row_unchanged import Digest, digest, is_still, is_still_unread, most_stored
from relay.rules.settling.deletable_dead import DeletableDead
from relay.rules.stream.stream_loss import DeliveredRow, Seen


class OutboxWriter:
    """What the owner of some shards writes, fenced by their epochs.

    A write of an owner that was replaced without its knowing changes nothing. Each one names a row by seq and id: a
    database that went back draws seqs again, for other events.

    Args:
        fence: Who owns them, as `Ownership.fence` gives it.
    """

    def __init__(self, database: Database, tables: Tables, fence: tuple[str, int]) -> None:
        self._run = database.run
        self._run_once = partial(database.run, patient=False)
        # What changes rows of the outbox, or of its companions, runs whatever triggers others have put on them.
        self._change = partial(database.run, changes_rows=True)
        self._change_once = partial(database.run, patient=False, changes_rows=True)
        self._change_unlocked = partial(self._change_once, lock_timeout_s=LOCK_TIMEOUT_S)
        self._tables = tables
        self._fence = fence

    async def mark(self, stream: str, delivered: Sequence[Delivered]) -> int:
        """Mark events that one stream acknowledged, all or none of them.

        Returns:
            How many were not marked before, and are still the events that were sent.

        Raises:
            Locked: Somebody else has locked some of their rows. None was marked.
            StatementRefused: The database refuses to change one of them. None was marked.
            TooSlow: It took too long. They may be marked, or not.
        """
        query, values = self._tables.query("delivery/mark"), self._marks(stream, delivered)
        return int(value(await self._change_once(query, values)))

    async def mark_unlocked(self, stream: str, delivered: Sequence[Delivered]) -> UnlockedRow:
        """Mark events as `mark` does, but for those whose rows somebody else has locked.

        Raises:
            StatementRefused: The database refuses to change one of them. None was marked.
            TooSlow: It took too long. They may be marked, or not.
        """
        query, values = self._tables.query("delivery/mark_unlocked"), self._marks(stream, delivered)
        return UnlockedRow._make((await self._change_once(query, values))[0])

    async def owns_shards(self) -> bool:
        """Report whether the shards are still ours."""
        return bool(value(await self._run(self._tables.query("delivery/ours"), self._fence)))

    def _marks(self, stream: str, delivered: Sequence[Delivered]) -> tuple[object, ...]:
        # One pass, since they have left the caches of the cores since they were sent.
        rows = [(event.seq, stream_seq, event.id) for event, _, stream_seq, _, _ in delivered]
        seqs, stream_seqs, ids = zip(*rows, strict=True) if rows else ((), (), ())
        try:
            numbers = bigints(seqs), bigints(stream_seqs)
        except OverflowError as error:
            raise BadValue("a sequence of the stream is out of range for type bigint") from error
        return stream, *numbers, *self._fence, uuids(ids)

    async def still_pending(self, events: Sequence[Event]) -> set[int]:
        """Return the seqs of those events that are neither delivered nor dead.

        Raises:
            DatabaseChanged: Some of their seqs belong to other events now.
        """
        values = (array([event.seq for event in events]), uuids([event.id for event in events]))
        rows = await self._run(self._tables.query("delivery/still_pending"), values)
        others = sum(is_other for _, is_other in rows)
        if others:
            raise DatabaseChanged(f"{others} seqs belong to other events than those that were read from the outbox")
        return {seq for seq, _ in rows}

    async def raise_attempts(self, suspects: Sequence[Event]) -> None:
        """Write down the attempts of pending events that are sent now."""
        await self._change(self._tables.query("delivery/raise_attempts"), self._attempts_of(suspects))

    async def lower_attempts(self, suspects: Sequence[Event]) -> None:
        """Lower the attempts of events that did not crash the relay, if they are as `raise_attempts` has left them."""
        await self._change(self._tables.query("delivery/lower_attempts"), self._attempts_of(suspects))

    def _attempts_of(self, events: Sequence[Event]) -> tuple[object, ...]:
        seqs, attempts = array([event.seq for event in events]), array([event.attempts for event in events])
        return seqs, attempts, *self._fence, uuids([event.id for event in events])

    async def postpone(self, postponed: Postponed) -> bool:
        """Write down when an event is tried again; return whether it was pending, and still what was read.

        Raises:
            Locked: Somebody else has locked its row. Nothing was changed.
            StatementRefused: The database refuses to change its row.
        """
        event = postponed.event
        outcome = (event.seq, postponed.delay_s, postponed.attempts, postponed.error)
        values = (*outcome, *self._fence, event.id, postponed.failure_class.value, *_contents(event))
        return await self._write(postponed, "delivery/postpone", values)

    async def bury(self, buried: Buried) -> bool:
        """Make an event a dead letter; return whether it was pending, and still what was read.

        Raises:
            Locked: Somebody else has locked its row. Nothing was changed.
            StatementRefused: The database refuses to change its row.
            TooSlow: It took too long to read its row again.
        """
        event, version = buried.event, None
        if event.unread or buried.version is not None:
            version = await self._version(buried)
            if version is None:
                return False
        values = (event.seq, buried.attempts, buried.error, *self._fence, event.id, buried.failure_class.value)
        return await self._write(buried, "delivery/bury", (*values, *_contents(event), version))

    async def _write(self, outcome: Postponed | Buried, name: str, values: tuple[object, ...]) -> bool:
        try:
            return bool(value(await self._change_once(self._tables.query(name), values)))
        except BadValue:
            # PostgreSQL may fail at a trigger, or at the row, which it could read before.
            if await self.is_as_read(outcome):
                raise
            return False

    async def is_as_read(self, outcome: Postponed | Buried) -> bool:
        """Report whether the row of a pending event is still what was read, and what an outcome was decided about.

        Raises:
            TooSlow: It took too long to read its row again.
        """
        event = outcome.event
        if isinstance(outcome, Buried) and (event.unread or outcome.version is not None):
            return await self._version(outcome) is not None
        return is_still(event, await self.now(event))

    async def now(self, event: Event) -> Digest | None:
        """Return what the row of an event that was read whole is now; None if it is not pending, or cannot be read.

        Raises:
            TooSlow: It took too long.
        """
        try:
            query, values = self._tables.query("delivery/digests"), (array([event.seq]), most_stored([event]))
            rows = await self._run_once(query, values)
        except BadValue:
            return None
        return Digest._make(rows[0][1:]) if rows else None

    async def _version(self, buried: Buried) -> str | None:
        """Return the version of the row of an event that was not read whole; None if it is not what was read any more.

        What is found out after the version was read is written only to that version.
        """
        event = buried.event
        rows = await self._run_once(self._tables.query("delivery/version"), (event.seq, event.id))
        if not rows:
            return None
        version = str(rows[0][0])
        if buried.version is not None:
            return version if version == buried.version else None
        try:
            sizes = await self._run_once(self._tables.query("delivery/readable"), (event.seq, event.id))
        except BadValue as error:
            return version if is_still_unread(event.unread, str(error)) else None
        return version if sizes and is_still_unread(event.unread, int(sizes[0][0])) else None

    async def dead_copied(self, dead: DeadLetter) -> None:
        """Write down that a dead letter was published to the subject for these."""
        await self._change(self._tables.query("maintenance/dead_copied"), (dead.event.seq, dead.died_at, dead.event.id))

    async def note(self, notes: Sequence[Noted]) -> int:
        """Write down why events wait whose rows are still what was read, and have no lock; return how many.

        Args:
            notes: No two of one event.

        Raises:
            StatementRefused: The database refuses to change one of their rows. Nothing was changed.
            Unfinished: It took too long.
        """
        events = [one.event for one in notes]
        values = (
            array([event.seq for event in events]),
            [one.error for one in notes],
            *self._fence,
            uuids([event.id for event in events]),
            [one.failure_class.value for one in notes],
            [event.key for event in events],
            [digest(event) for event in events],
            most_stored(events),
        )
        return int(value(await self._change_once(self._tables.query("delivery/note"), values)))

    async def save_stream_state(self, seen: Seen, identity: str, *, patient: bool = True) -> bool:
        """Save what was seen of a stream; a loss that stands open stays so until an operator has closed it.

        Args:
            seen: What to save.
            identity: The database whose marks it was made from (`DatabaseState.identity`).
            patient: Whether to wait while somebody else has locked that table.

        Returns:
            Whether it was saved. It was not if the database is another one now, or the shards are not ours any more.

        Raises:
            Unfinished: Somebody has, or it took too long; only if not patient.
            StatementRefused: The database refuses to take it.
        """
        row = (seen.stream, seen.created, seen.first_seq, seen.floor, seen.mark.stream_seq, seen.mark.event_id)
        repair = (seen.begun_at, seen.lost, seen.repaired_at)
        # Of several that others have written none is to go before a look of ours.
        looked = seen.looked[0] if len(seen.looked) == 1 else None
        look = (None, None) if looked is None else (looked.stream_seq, looked.event_id)
        values = (*row, *repair, identity, *self._fence, *look)
        run = self._change if patient else self._change_unlocked
        return bool(value(await run(self._tables.query("integrity/save_stream_state"), values, raises=True)))

    async def mark_lost(self, stream: str, rows: Sequence[DeliveredRow], due_at: float, after_delivery_s: float) -> int:
        """Have delivered events sent again that their stream has lost; return how many.

        Args:
            stream: Where they were.
            rows: Which.
            due_at: From when on, Unix seconds; events of one key leave in the order of this time, then of seq.
            after_delivery_s: And no sooner than this long after their delivery, seconds.
        """
        values = (array([row.seq for row in rows]), stream, due_at, after_delivery_s, *self._fence)
        named = "{" + ",".join(row.event_id for row in rows) + "}"
        places = array([row.stream_seq for row in rows])
        query = self._tables.query("integrity/mark_lost")
        return int(value(await self._change(query, (*values, named, places), waits=True)))

    async def prune_delivered(self, above: int, up_to: int, age_s: float, streams: Sequence[str]) -> PrunedRow:
        """Delete the old ones among the events of a small range of seqs that were delivered to some streams.

        Below the watermark alone.

        Raises:
            Unfinished: Somebody has locked a table that it needs, or it took too long.
            StatementRefused: The database lets none of them be deleted, or not one of them.
            TableRefused: It lets nobody delete any row.
        """
        values = (above, up_to, age_s, *self._fence, list(streams))
        query = self._tables.query("maintenance/prune_delivered")
        return PrunedRow._make((await self._change_unlocked(query, values, raises=True))[0])

    async def oldest_delivered(self, above: int, up_to: int) -> float | None:
        """Return when the oldest delivered event of a small range of seqs was delivered, Unix seconds; None without."""
        found = value(await self._run(self._tables.query("maintenance/oldest_delivered"), (above, up_to)))
        return None if found is None else float(found)

    async def prune_dead(
        self, limit: int, age_s: float, deletable: DeletableDead, seqs: Sequence[int] | None = None
    ) -> int:
        """Delete the oldest dead letters that may be deleted, at most `limit`, among some or all; return how many.

        Raises:
            StatementRefused: The database lets none of them be deleted, or not one of them.
            TableRefused: It lets nobody delete any row.
        """
        values = (limit, age_s, *deletable, *self._fence, None if seqs is None else array(seqs))
        query = self._tables.query("maintenance/prune_dead")
        return int(value(await self._change(query, values, raises=True)))

    async def old_dead(
        self, limit: int, age_s: float, deletable: DeletableDead, behind: tuple[str, int]
    ) -> list[tuple[int, str]]:
        """Return the oldest dead letters that `prune_dead` would delete, at most `limit`: the seq and the time of each.

        Args:
            limit: How many.
            age_s: As for `prune_dead`.
            deletable: As for `prune_dead`.
            behind: The time, as it was returned, and the seq of the one behind which they begin.
        """
        rows = await self._run(self._tables.query("maintenance/old_dead"), (limit, age_s, *deletable, *behind))
        return [(int(seq), str(died_at)) for seq, died_at in rows]


def _contents(event: Event) -> tuple[str | None, str, int]:
    """Return what the row of an event must still be: its key, the digest, and how much it may be stored in."""
    return event.key, digest(event), most_stored([event])
