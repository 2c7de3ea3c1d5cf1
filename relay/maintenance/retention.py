"""Delete old rows, in short steps that nobody waits for."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relay.errors import StatementRefused
from relay.jetstream.connection import Connection
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
# So many statements of a turn may be refused while rows are searched for that may not be deleted; one row takes 11.
_MOST_REFUSED = 100
# They are left behind until the next pass over the whole table.
_AGAIN_S = 3600.0


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
        self._begin()

    def _begin(self) -> None:
        """Begin a pass over the whole table."""
        self._cursor = BELOW_ALL
        self._began_at = time.monotonic()
        # When the oldest event was delivered that was left behind for its stream's sake, Unix seconds.
        self._oldest_kept: float | None = None
        # What was refused in this turn.
        self._refused: list[StatementRefused] = []

    async def turn(self, connection: Connection) -> float:
        """Delete some rows; the next turn comes soon if there may be more.

        Raises:
            StatementRefused: The database does not let a row be deleted. The others were, unless many are refused.
        """
        busy = False
        self._refused = []
        if self._gate.is_open:
            if self._delivered_age_s:
                busy = await self._prune_delivered(connection)
            if self._dead_age_s:
                busy = await self._prune_dead() or busy
        if self._refused:
            raise self._refused[-1]
        return _STEP_PAUSE_S if busy else _IDLE_PAUSE_S

    def stand_down(self) -> None:
        """Do nothing: what another relay deletes, that relay reports."""

    async def _prune_delivered(self, connection: Connection) -> bool:
        """Go through the next ranges of seqs; report whether anything was deleted."""
        try:
            return await self._pass_on(connection)
        except Unfinished:
            return False  # the next turn tries again

    async def _pass_on(self, connection: Connection) -> bool:
        if time.monotonic() - self._began_at > _AGAIN_S:
            self._look.forget()
            self._begin()
        if await self._look.look_again(connection):
            self._begin()  # its rows were left behind
        cursor, total = self._cursor, 0
        oldest: list[float] = []
        young = False
        for _ in range(_LOOK_AHEAD):
            following = await self._reader.next_seq(cursor)
            if following is None or following > self._in_hand.watermark():
                break
            cursor = following - 1
            pruned = await self._prune_span(connection, cursor)
            total += pruned.deleted
            cursor += SPAN
            if pruned.oldest is not None:
                oldest.append(pruned.oldest)
                if pruned.waiting:
                    self._oldest_kept = min(pruned.oldest, self._oldest_kept or pruned.oldest)
            if pruned.oldest_kept is not None:
                young = True
            elif pruned.deleted or not young:
                # Nothing delivered is left up to here, except what was delivered late, or cannot be deleted now.
                self._cursor = min(cursor, self._in_hand.watermark())
            if pruned.deleted:
                await asyncio.sleep(_STEP_PAUSE_S)
        if self._oldest_kept is not None:
            oldest.append(self._oldest_kept)
        self._metrics.oldest_delivered(min(oldest, default=0.0), self._delivered_age_s)
        return total > 0

    async def _prune_span(self, connection: Connection, above: int) -> PrunedRow:
        """Delete what is old in a range, of streams that are seen to hold what they have acknowledged."""
        pruned = await self._delete(above, above + SPAN, ())
        # They are looked at after the rows were found to be old: what a stream loses before that is seen.
        due = self._look.due(pruned.waiting)
        if due:
            rows = await self._reader.delivered_to_any(above, above + SPAN)
            cleared = await self._look.cleared(connection, {stream: rows.get(stream, ()) for stream in due})
            if cleared:
                before = pruned.deleted
                pruned = await self._delete(above, above + SPAN, cleared)
                pruned = pruned._replace(deleted=pruned.deleted + before)
        return pruned

    async def _delete(self, above: int, up_to: int, streams: Sequence[str]) -> PrunedRow:
        """Delete what is old in a range; a row that may not be deleted stays alone, until the next pass."""
        try:
            pruned = await self._writer.prune_delivered(above, up_to, self._delivered_age_s, streams)
        except StatementRefused as error:
            self._refused.append(error)
            if len(self._refused) > _MOST_REFUSED:
                raise
            middle = (above + up_to) // 2
            if middle == above:
                return PrunedRow(0, None, None, [])
            return _together(await self._delete(above, middle, streams), await self._delete(middle, up_to, streams))
        self._metrics.pruned("delivered", pruned.deleted)
        return pruned

    async def _prune_dead(self) -> bool:
        """Delete some dead letters; report whether there may be more."""
        pruned = await self._writer.prune_dead(DEAD_STEP, self._dead_age_s, self._deletable_dead)
        self._metrics.pruned("dead", pruned)
        return pruned == DEAD_STEP


def _together(lower: PrunedRow, upper: PrunedRow) -> PrunedRow:
    """Return what was found in two ranges as one."""
    oldest = [one.oldest for one in (lower, upper) if one.oldest is not None]
    kept = [one.oldest_kept for one in (lower, upper) if one.oldest_kept is not None]
    waiting = list(dict.fromkeys((*lower.waiting, *upper.waiting)))
    return PrunedRow(lower.deleted + upper.deleted, min(oldest, default=None), min(kept, default=None), waiting)
