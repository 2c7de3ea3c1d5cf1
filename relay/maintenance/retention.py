"""Delete old rows, in short steps that nobody waits for."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.errors import StatementRefused, TableRefused
from relay.jetstream.connection import Connection
from relay.maintenance.duty import DutyFailed, LogLine
from relay.maintenance.retention_look import RetentionLook
from relay.observe.metrics import Metrics
from relay.postgres.database import Unfinished
from relay.postgres.outbox_reader import OutboxReader
from relay.postgres.outbox_writer import OutboxWriter
from relay.postgres.rows import PrunedRow
from relay.rules.in_hand import InHand
from relay.rules.order.seq_bounds import BELOW_ALL
from relay.rules.sending.send_gate import Gate
from relay.rules.settling.deletable_dead import DeletableDead
from relay.rules.settling.undeletable_rows import UndeletableRows

if TYPE_CHECKING:
    from relay.config.sections import RetentionSection

log = logging.getLogger(__name__)

# Seqs of one step: at most this many rows are deleted at a time, in some 10 ms.
SPAN = 1000
DEAD_STEP = 500
# Between two steps while there is something to delete: 9,000 rows a second at most.
_STEP_PAUSE_S = 0.1
_IDLE_PAUSE_S = 10.0
# A few events that were delivered late must not hide that what follows them is old enough.
_LOOK_AHEAD = 10
# They, and rows that may not be deleted, are left behind until the next pass over the whole table.
_AGAIN_S = 3600.0
# After a turn in which some rows were deleted and others refused.
_REFUSED_PAUSE_S = 1.0
_NOTHING = PrunedRow(0, None, None, [])
# Where a pass over the dead letters begins.
_BEFORE_ALL = ("-infinity", BELOW_ALL)


class Retention:
    """Deletes old rows, from the lowest seq on.

    Args:
        section: How long rows are kept; 0 is for ever.
        in_hand: Knows the watermark: beyond it nothing is deleted.
        gate: While it is shut nothing is deleted: what the streams may have lost is being found out. While it is open
            each stream is looked at all the same (`RetentionLook`), for events flow without a look as well.
        deletable_dead: Which dead letters may be deleted.
        reader: Finds the next rows.
        writer: Deletes.
        metrics: Counts what was deleted.
    """

    every_s = _IDLE_PAUSE_S
    longest_pause_s = _IDLE_PAUSE_S

    def __init__(
        self,
        section: "RetentionSection",
        in_hand: InHand,
        gate: Gate,
        *,
        deletable_dead: DeletableDead,
        reader: OutboxReader,
        writer: OutboxWriter,
        metrics: Metrics,
    ) -> None:
        self._delivered_age_s = section.delivered_age_s
        self._dead_age_s = section.dead_age_s
        self._deletable_dead = deletable_dead
        self._reader = reader
        self._writer = writer
        self._metrics = metrics
        self._in_hand = in_hand
        self._gate = gate
        self._look = RetentionLook(reader, in_hand.floors, in_hand.set_backs)
        # Rows that may not be deleted; and why no row may be.
        self._kept_delivered = UndeletableRows()
        self._kept_dead = UndeletableRows()
        self._refusal = ""
        self._told: set[str] = set()
        self._begin()
        self._begin_dead()

    def _begin(self) -> None:
        """Begin a pass over the whole table."""
        self._cursor = BELOW_ALL
        self._began_at = time.monotonic()
        self._has_ended = False
        # When the oldest event was delivered that was left behind, for its stream's sake or since it was refused, Unix
        # seconds.
        self._oldest_kept: float | None = None
        self._kept_delivered.begin_pass()
        self._told.clear()

    def _begin_dead(self) -> None:
        """Begin a pass over the dead letters: it has no cursor before some may not be deleted."""
        self._behind = _BEFORE_ALL
        self._dead_began_at = time.monotonic()
        self._kept_dead.begin_pass()

    async def turn(self, connection: Connection) -> float:
        """Delete some rows; the next turn comes soon if there may be more.

        Raises:
            TableRefused: The database lets no row be deleted.
            DutyFailed: It does not let some be deleted, for a reason that is new in this pass. Others were.
        """
        busy = False
        self._kept_delivered.begin_turn()
        self._kept_dead.begin_turn()
        if self._gate.is_open:
            try:
                if self._delivered_age_s:
                    busy = await self._prune_delivered(connection)
                if self._dead_age_s:
                    busy = await self._prune_dead() or busy
            except TableRefused as error:
                self._refusal = str(error)
                raise
            self._refusal = ""
        reasons = [kept.reason for kept in self._kept() if kept.refused_now]
        if new := set(reasons) - self._told:
            self._told |= new
            raise self._undeletable(" and ".join(sorted(new)))
        if reasons and busy:
            return _REFUSED_PAUSE_S
        return _STEP_PAUSE_S if busy else _IDLE_PAUSE_S

    def _kept(self) -> tuple[UndeletableRows, UndeletableRows]:
        return self._kept_delivered, self._kept_dead

    def _undeletable(self, reason: str) -> DutyFailed:
        events, first = _sum(self._kept())
        line = LogLine(
            "error",
            "duty.refused",
            "PostgreSQL lets nobody delete some old rows; others are deleted, and these are tried again later",
            {"duty": type(self).__name__, "events": events, "first_seq": first},
        )
        return DutyFailed(reason, line)

    def undeletable(self) -> tuple[int, str]:
        """Return how many old rows cannot be deleted, at least, and what there is to say of them; 0 without any."""
        if self._refusal:
            return 1, f"no old row can be deleted: {self._refusal}"
        events, first = _sum(self._kept())
        if not events:
            return 0, ""
        reasons = " and ".join(dict.fromkeys(kept.reason for kept in self._kept() if kept.found[0]))
        return events, f"{events:,} old rows or more, from seq {first} on, cannot be deleted: {reasons}"

    def stand_down(self) -> None:
        """Say nothing of rows: what another relay deletes, that relay reports."""
        self._refusal = ""
        self._begin()
        self._begin_dead()
        for kept in self._kept():
            kept.forget()

    async def _prune_delivered(self, connection: Connection) -> bool:
        """Go through the next ranges of seqs; report whether anything was deleted."""
        try:
            return await self._pass_on(connection)
        except Unfinished:
            return False  # the next turn tries again

    async def _pass_on(self, connection: Connection) -> bool:
        if self._has_ended and time.monotonic() - self._began_at > _AGAIN_S:
            self._look.forget()
            self._begin()
        if await self._look.look_again(connection):
            self._begin()  # its rows were left behind
        cursor, total = self._cursor, 0
        oldest: list[float] = []
        young = ended = False
        for _ in range(_LOOK_AHEAD):
            following = await self._reader.next_seq(cursor)
            if following is None or following > self._in_hand.watermark():
                ended = True
                break
            refused = self._kept_delivered.refused_now
            pruned = await self._prune_span(connection, range(following, following + SPAN))
            refused = self._kept_delivered.refused_now - refused
            total += pruned.deleted
            cursor = following - 1 + SPAN
            if pruned.oldest is not None:
                oldest.append(pruned.oldest)
                if pruned.waiting or refused:
                    self._oldest_kept = min(pruned.oldest, self._oldest_kept or pruned.oldest)
            if pruned.oldest_kept is not None:
                young = True
            elif pruned.deleted or refused or not young:
                # Nothing delivered is left up to here, except what was delivered late, or cannot be deleted now.
                self._cursor = min(cursor, self._in_hand.watermark())
            if self._kept_delivered.is_spent:
                break
            if pruned.deleted:
                await asyncio.sleep(_STEP_PAUSE_S)
        self._show_oldest(oldest)
        self._has_ended = ended or young
        if self._has_ended:
            self._kept_delivered.end_pass()
        return total > 0

    def _show_oldest(self, oldest: list[float]) -> None:
        kept = [] if self._oldest_kept is None else [self._oldest_kept]
        self._metrics.oldest_delivered(min([*oldest, *kept], default=0.0), self._delivered_age_s)

    async def _prune_span(self, connection: Connection, seqs: range) -> PrunedRow:
        """Delete what is old in a range, of streams that are seen to hold what they have acknowledged."""
        pruned = await self._delete(seqs, ())
        # They are looked at after the rows were found to be old: what a stream loses before that is seen.
        due = self._look.due(pruned.waiting)
        if due:
            rows = await self._reader.delivered_to_any(seqs[0] - 1, seqs[-1])
            cleared = await self._look.cleared(connection, {stream: rows.get(stream, ()) for stream in due})
            if cleared:
                before = pruned.deleted
                pruned = await self._delete(seqs, cleared)
                pruned = pruned._replace(deleted=pruned.deleted + before)
        return pruned

    async def _delete(self, seqs: range, streams: Sequence[str]) -> PrunedRow:
        """Delete what is old in a range; rows that may not be deleted stay until the next pass.

        Raises:
            TableRefused: No row may be.
        """
        search = self._kept_delivered.search_range(seqs)
        found, reason = _NOTHING, ""
        for part in search.parts():
            try:
                pruned = await self._writer.prune_delivered(part[0] - 1, part[-1], self._delivered_age_s, streams)
            except TableRefused:
                await self._show_oldest_of(seqs)
                raise
            except StatementRefused as error:
                reason = str(error)
                search.refuse()
            else:
                self._metrics.pruned("delivered", pruned.deleted)
                found = _together(found, pruned)
        self._kept_delivered.take(search, reason, found.deleted)
        if search.refused:
            found = found._replace(oldest=await self._writer.oldest_delivered(seqs[0] - 1, seqs[-1]))
        return found

    async def _show_oldest_of(self, seqs: range) -> None:
        oldest = await self._writer.oldest_delivered(seqs[0] - 1, seqs[-1])
        self._show_oldest([] if oldest is None else [oldest])

    async def _prune_dead(self) -> bool:
        """Delete some dead letters; report whether there may be more."""
        if self._behind == _BEFORE_ALL:
            try:
                pruned = await self._writer.prune_dead(DEAD_STEP, self._dead_age_s, self._deletable_dead)
            except TableRefused:
                raise
            except StatementRefused:
                pass  # some of them may not be deleted
            else:
                self._metrics.pruned("dead", pruned)
                self._kept_dead.end_pass()
                return pruned == DEAD_STEP
        rows = await self._writer.old_dead(DEAD_STEP, self._dead_age_s, self._deletable_dead, self._behind)
        deleted = await self._delete_dead([seq for seq, _ in rows])
        if self._kept_dead.refused_now:
            seq, died_at = rows[-1]
            self._behind = died_at, seq
        if len(rows) < DEAD_STEP:
            self._kept_dead.end_pass()
            if time.monotonic() - self._dead_began_at > _AGAIN_S:
                self._begin_dead()
        return deleted > 0

    async def _delete_dead(self, seqs: Sequence[int]) -> int:
        search = self._kept_dead.search([seqs])
        deleted, reason = 0, ""
        for part in search.parts():
            try:
                pruned = await self._writer.prune_dead(len(part), self._dead_age_s, self._deletable_dead, part)
            except TableRefused:
                raise
            except StatementRefused as error:
                reason = str(error)
                search.refuse()
            else:
                self._metrics.pruned("dead", pruned)
                deleted += pruned
        self._kept_dead.take(search, reason, deleted)
        return deleted


def _sum(kept: Sequence[UndeletableRows]) -> tuple[int, int | None]:
    """Return how many rows there are at least, and the first seq at which there may be one."""
    firsts = [first for _, first in (one.found for one in kept) if first is not None]
    return sum(one.found[0] for one in kept), min(firsts, default=None)


def _together(lower: PrunedRow, upper: PrunedRow) -> PrunedRow:
    """Return what was found in two ranges as one."""
    oldest = [one.oldest for one in (lower, upper) if one.oldest is not None]
    kept = [one.oldest_kept for one in (lower, upper) if one.oldest_kept is not None]
    waiting = list(dict.fromkeys((*lower.waiting, *upper.waiting)))
    return PrunedRow(lower.deleted + upper.deleted, min(oldest, default=None), min(kept, default=None), waiting)
